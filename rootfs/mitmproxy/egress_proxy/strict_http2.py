# SPDX-License-Identifier: Apache-2.0
"""mitmproxy's HTTP/2 server: early answers, errors as JSON, refusals in the log.

The frames are read by the h2 library, which refuses upper case, connection-specific fields, repeated
pseudo-fields and bodies that belie their length. It does not look into field values; `decision`
does.
"""

import h2.errors
import h2.exceptions
from mitmproxy.proxy import commands
from mitmproxy.proxy.layers import http as layer_http
from mitmproxy.proxy.layers.http import _events, _http2

from egress_proxy import answer
from egress_proxy.strict_http1 import ANSWERED_EARLY, SILENT, Hooks


CLIENT_SIDE = "client side: "


class ClientError(_events.RequestProtocolError):
    """Says which side it was: mitmproxy words a closed or reset stream alike on both."""

    def __init__(self, stream_id, message, code=_events.RequestProtocolError.code):
        super().__init__(stream_id, CLIENT_SIDE + message, code)


class Server(_http2.Http2Server):
    ReceiveProtocolError = ClientError

    def _handle_event(self, event):
        if isinstance(event, _events.ResponseProtocolError):
            yield from self._end_stream(event)
        else:
            yield from super()._handle_event(event)

    def _end_stream(self, event):
        """Ends a stream whose request may not be whole. RFC 9113, 8.1: NO_ERROR after a whole
        answer, which the client then must not throw away."""
        stream_id = event.stream_id
        if self.is_closed(stream_id):
            return
        code = h2.errors.ErrorCodes.INTERNAL_ERROR
        if event.code == ANSWERED_EARLY:
            code = h2.errors.ErrorCodes.NO_ERROR
        try:
            stream = self.h2_conn.streams[stream_id]
            if event.code not in SILENT and not stream.state_machine.headers_sent:
                self._send_json(event)
                code = h2.errors.ErrorCodes.NO_ERROR
            elif event.code == ANSWERED_EARLY and self.is_open_for_us(stream_id):
                self.h2_conn.end_stream(stream_id)
            if not self.is_closed(stream_id):
                self.h2_conn.reset_stream(stream_id, code)
        except h2.exceptions.ProtocolError:
            pass  # the client was faster
        self.streams.pop(stream_id, None)
        if data := self.h2_conn.data_to_send():
            yield commands.SendData(self.conn, data)

    def _send_json(self, event):
        reason, status = answer.sort_upstream_error(event.message)
        payload = answer.body(status, reason, "the server's side failed")
        fields = [(b":status", b"%d" % status), (b"content-type", b"application/json")]
        self.h2_conn.send_headers(event.stream_id, fields)
        self.h2_conn.send_data(event.stream_id, payload, end_stream=True)

    def protocol_error(self, message, error_code=h2.errors.ErrorCodes.PROTOCOL_ERROR):
        Hooks.refused(self.context, "bad_http2", message, 400)
        yield from super().protocol_error(message, error_code)


def install():
    layer_http.Http2Server = Server

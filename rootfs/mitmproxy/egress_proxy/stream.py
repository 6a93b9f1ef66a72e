# SPDX-License-Identifier: Apache-2.0
"""One request in mitmproxy's core, made to answer at once where the proxy itself answers.

mitmproxy reads the whole body of a request, into memory, before it sends an answer that an addon
made; a refused upload of a gigabyte would be a gigabyte of memory. Here the answer goes out
when it is known, and the rest of the request is thrown away.
"""

from mitmproxy import flow as mitm_flow
from mitmproxy.proxy.layers import http as layer_http
from mitmproxy.proxy.layers.http import (
    DropStream,
    GetHttpConnection,
    HttpStream,
    ResponseProtocolError,
    SendHttp,
)

from egress_proxy.strict_http1 import ANSWERED_EARLY


class Stream(HttpStream):
    upstream_failed = None  # set by `install`: (flow, sentence) → sets flow.response

    def state_wait_for_request_headers(self, event):
        event.request.egress_has_body = not event.end_stream
        # The original overwrites the scheme, or, where it does not know it, answers by itself.
        event.request.egress_scheme = event.request.data.scheme
        if event.request.is_http2:
            event.request.data.scheme = b"https"
        yield from super().state_wait_for_request_headers(event)

    def start_request_stream(self):
        """The addon sets `stream` on every request that it lets through, and on those it answers
        while a body may follow."""
        if self.flow.response:
            yield from self._answer_early()
        else:
            yield from super().start_request_stream()

    def _answer_early(self):
        self.client_state = self.state_errored  # takes and drops what is still to come
        yield from self.send_response()
        self.flow.live = False
        yield SendHttp(
            ResponseProtocolError(self.stream_id, "answered early", ANSWERED_EARLY),
            self.context.client,
        )
        yield DropStream(self.stream_id)

    def make_server_connection(self):
        connection, err = yield GetHttpConnection(
            (self.flow.request.host, self.flow.request.port),
            self.flow.request.scheme == "https",
            self.flow.server_conn.via,
        )
        if err:
            self.flow.error = mitm_flow.Error(err)
            type(self).upstream_failed(self.flow, err)
            yield from self._answer_early()
            return False
        self.context.server = self.flow.server_conn = connection
        return True

    def handle_connect_finish(self):
        if self.flow.response and not 200 <= self.flow.response.status_code < 300:
            yield from self._answer_early()
        else:
            yield from super().handle_connect_finish()


def install(upstream_failed):
    Stream.upstream_failed = staticmethod(upstream_failed)
    layer_http.HttpStream = Stream

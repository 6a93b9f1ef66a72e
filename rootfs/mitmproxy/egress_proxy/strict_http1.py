# SPDX-License-Identifier: Apache-2.0
"""mitmproxy's HTTP/1 connections with http1_grammar as their reader.

mitmproxy 8.1.1 reads heads leniently (folded fields, bare LF, two Hosts, any spacing), throws away
line breaks before what follows a CONNECT, raises on trailers, takes an interim answer (1xx) for the
final one, and sends the body of an HTTP/2 request without a length to an HTTP/1 server without any
framing, where it would be read as the next request. Each of these is replaced here.

Closing: what is closed while its peer still sends is reset by the kernel, and the peer may lose
the answer it was just sent. So the sending half is closed, what comes is thrown away, and
the rest is closed when the peer has closed or after a moment.
"""

from mitmproxy import http
from mitmproxy.connection import ConnectionState
from mitmproxy.net.http import status_codes
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.layers import http as layer_http
from mitmproxy.proxy.layers.http import _events, _http1
from mitmproxy.proxy.layers.http._base import ReceiveHttp

from egress_proxy import answer, http1_grammar
from egress_proxy.authority import DEFAULT_PORT
from egress_proxy.http1_grammar import BadRequest, ChunkedBody

LINGER_SECONDS = 2.0
# The code of a ResponseProtocolError that means: the answer is whole, the request is not, close.
ANSWERED_EARLY = -2
SILENT = (ANSWERED_EARLY, status_codes.NO_RESPONSE, status_codes.CLIENT_CLOSED_REQUEST)


class Hooks:
    """What the layers tell the addon; set by `install`."""

    refused = None  # (context, reason, detail, status): bytes that are no request


class _ChunkedReader:
    """ChunkedBody with the interface of h11's readers, which mitmproxy expects."""

    def __init__(self, of_response):
        self._body = ChunkedBody(of_response)

    def __call__(self, buf):
        taken = self._body.take(buf._data)
        if taken is None:
            return None
        if taken is True:
            return _http1.h11.EndOfMessage()
        return _http1.h11.Data(data=taken)

    def read_eof(self):
        raise BadRequest("incomplete_body", "closed in the middle of a body")


class _LengthReader(_http1.ContentLengthReader):
    def read_eof(self):
        raise BadRequest("incomplete_body", "closed in the middle of a body")


def _request_reader(length):
    return _ChunkedReader(False) if length is None else _LengthReader(length)


_response_readers = _http1.make_body_reader


def _response_reader(length):
    return _ChunkedReader(True) if length is None else _response_readers(length)


def to_request(head):
    """Head → mitmproxy's Request, with the head kept beside it for the addon."""
    host, port = head.authority or ("", 0)
    scheme = head.scheme or ""
    request = http.Request(
        host=host,
        port=port or DEFAULT_PORT.get(scheme, 0),
        method=head.method,
        scheme=scheme.encode(),
        authority=b"",
        path=head.target,
        http_version=head.version,
        headers=http.Headers(head.fields),
        content=None,
        trailers=None,
        timestamp_start=0.0,
        timestamp_end=None,
    )
    request.egress_head = head
    return request


class Server(_http1.Http1Server):
    """The client's side."""

    def read_headers(self, event):
        if not isinstance(event, events.DataReceived):
            yield from super().read_headers(event)
            return
        try:
            head = http1_grammar.take_request_head(self.buf._data)
            if head and head.method == b"CONNECT" and self.context.client.tls:
                raise BadRequest("nested_connect", "a CONNECT inside a CONNECT")
        except BadRequest as err:
            yield from self._refuse(err)
            return
        if head is None:
            return
        self.request = to_request(head)
        self.body_reader = _request_reader(head.body_length)
        self.state = self.read_body
        yield ReceiveHttp(
            _events.RequestHeaders(self.stream_id, self.request, head.body_length == 0)
        )
        if self.state == self.read_body:
            yield from self.state(event)

    def read_body(self, event):
        try:
            yield from super().read_body(event)
        except BadRequest as err:
            # The request's head may be upstream already; its body never becomes whole there.
            error = _events.RequestProtocolError(self.stream_id, err.reason, 400)
            answered = self.response is not None
            yield ReceiveHttp(error)
            if isinstance(event, events.ConnectionClosed):
                yield commands.CloseConnection(self.conn)
            else:
                yield from self._refuse(err, answered=answered, audited=True)

    def _refuse(self, err, answered=False, audited=False):
        if not audited:
            Hooks.refused(self.context, err.reason, err.detail, err.status)
        if not answered:
            payload = answer.body(err.status, err.reason, err.detail)
            yield commands.SendData(self.conn, answer.raw_http1(err.status, "Bad Request", payload))
        yield from self._start_linger()

    def _start_linger(self):
        self.state = self.linger
        self.buf = _http1.ReceiveBuffer()
        if self.conn.state & ConnectionState.CAN_WRITE:
            yield commands.CloseConnection(self.conn, half_close=True)
        yield commands.RequestWakeup(LINGER_SECONDS)

    def linger(self, event):
        if isinstance(event, events.DataReceived):
            self.buf = _http1.ReceiveBuffer()
        else:
            yield commands.CloseConnection(self.conn)
            self.state = self.done

    def send(self, event):
        if isinstance(event, _events.ResponseTrailers):
            return
        if isinstance(event, _events.ResponseProtocolError):
            yield from self._send_error(event)
            return
        yield from super().send(event)

    def _send_error(self, event):
        if self.state in (self.linger, self.done):
            return
        if event.code not in SILENT and not self.response:
            reason, status = answer.sort_upstream_error(event.message)
            payload = answer.body(status, reason, "the server's side failed")
            yield commands.SendData(self.conn, answer.raw_http1(status, "Bad Gateway", payload))
        yield from self._start_linger()

    def make_pipe(self):
        """As the original, but what follows a CONNECT is passed on as it came."""
        self.state = self.passthrough
        if self.buf:
            already = self.buf.maybe_extract_at_most(len(self.buf))
            yield from self.state(events.DataReceived(self.conn, bytes(already)))


class Client(_http1.Http1Client):
    """The side of a server outside."""

    def send(self, event):
        if isinstance(event, _events.RequestTrailers):
            return
        if isinstance(event, _events.RequestHeaders):
            event = _with_framing(event)
        yield from super().send(event)

    def read_headers(self, event):
        if isinstance(event, events.DataReceived) and self.request:
            try:
                self._check_response_head()
            except BadRequest as err:
                yield commands.CloseConnection(self.conn)
                message = f"{err.reason}: {err.detail}"
                yield ReceiveHttp(_events.ResponseProtocolError(self.stream_id, message, 502))
                self.state = self.done
                return
        yield from super().read_headers(event)

    def _check_response_head(self):
        """Drops interim answers, refuses a 101 that nobody asked for."""
        while peeked := http1_grammar.peek_response_head(self.buf._data):
            status, fields, length = peeked
            if status >= 200:
                return
            if status == 101:
                asked = self.request.headers.get("upgrade") == "websocket"
                upgrades = [value.lower() for name, value in fields if name.lower() == b"upgrade"]
                if not asked or upgrades != [b"websocket"]:
                    raise BadRequest("bad_response", "a 101 that was not asked for", 502)
                return
            del self.buf._data[:length]

    def read_body(self, event):
        try:
            yield from super().read_body(event)
        except BadRequest as err:
            yield commands.CloseConnection(self.conn)
            yield ReceiveHttp(_events.ResponseProtocolError(self.stream_id, f"bad_response: {err}"))
            self.state = self.done


def _with_framing(event):
    """An HTTP/2 request needs no length; its HTTP/1 form does."""
    request = event.request
    unframed = "content-length" not in request.headers and "transfer-encoding" not in request.headers
    if not request.is_http2 or not getattr(request, "egress_has_body", True) or not unframed:
        return event
    request = request.copy()
    request.headers["transfer-encoding"] = "chunked"
    return _events.RequestHeaders(event.stream_id, request, event.end_stream)


def install(refused):
    Hooks.refused = staticmethod(refused)
    layer_http.Http1Server = Server
    layer_http.Http1Client = Client
    _http1.make_body_reader = _response_reader

# SPDX-License-Identifier: Apache-2.0
"""mitmproxy's hooks. Each asks `decision` and carries out what it said; none decides by itself.

Runs in: the proxy process, on its one thread. Holds: the tokens, the CA's key, the audit log.

Which protocol may follow which is decided here too (`next_layer`): a connection begins with an
HTTP/1 request in the clear; what follows a CONNECT is a TLS ClientHello; what comes out of that TLS is
HTTP. Anything else is closed. mitmproxy's own guess, which ends in a raw tunnel, is not asked.
"""

import re
import sys

from mitmproxy import http
from mitmproxy.proxy import commands, events, layer, layers
from mitmproxy.proxy.layers import modes
from mitmproxy.proxy.layers.http import HTTPMode
from OpenSSL import SSL

from egress_proxy import answer, paths
from egress_proxy.addresses import judge_literal
from egress_proxy.authority import BadAuthority, canonical_host, parse_authority, render_authority
from egress_proxy.decision import Request, decide, decide_connect
from egress_proxy.routes import BadRoutes, parse_routes
from egress_proxy.strict_http2 import CLIENT_SIDE

# A handshake record whose first message is a ClientHello, or the beginning of one.
CLIENT_HELLO_START = re.compile(
    rb"\x16?|\x16\x03|\x16\x03[\x00-\x03].{0,2}|\x16\x03[\x00-\x03]..\x01", re.DOTALL
)


class Close(layer.Layer):
    """Closes the client's connection and drops what it sends."""

    def _handle_event(self, event):
        if isinstance(event, events.Start):
            yield commands.CloseConnection(self.context.client)


class Exchange:
    """What is known of one request, until its line is written."""

    def __init__(self, flow):
        self.flow = flow
        self.fields = {"event": "request", "verdict": "allow", "reason": ""}
        self.up = 0
        self.down = 0
        self.is_written = False

    def count_up(self, data):
        self.up += len(data)
        return data

    def count_down(self, data):
        self.down += len(data)
        return data

    def update(self, **fields):
        self.fields.update(fields)


class Addon:
    def __init__(self, settings, routes, leaves, trust, audit):
        self.settings = settings
        self.routes = routes
        self.leaves = leaves
        self.trust = trust
        self.audit = audit
        self.exchanges = set()  # begun and not yet written

    # Routes

    def reload(self):
        """SIGHUP. A table that does not parse changes nothing."""
        try:
            with open(self.settings.routes_path, "rb") as file:
                self.routes = parse_routes(file.read())
        except (BadRoutes, OSError) as err:
            print(f"egress-proxy: routes kept as they were: {err}", file=sys.stderr)
            self.audit.write("reload", verdict="error", reason="bad_routes", detail=str(err)[:512])
        else:
            self.audit.write("reload", verdict="allow", routes=len(self.routes.items))

    # Layers

    def next_layer(self, nextlayer):
        context = nextlayer.context
        if not context.layers:
            nextlayer.layer = modes.HttpProxy(context)
        elif isinstance(context.layers[-1], layers.ClientTLSLayer):
            nextlayer.layer = layers.HttpLayer(context, HTTPMode.transparent)
        elif len(context.layers) == 1:
            mode = HTTPMode.upstream if self.settings.upstream else HTTPMode.regular
            nextlayer.layer = layers.HttpLayer(context, mode)
        else:
            nextlayer.layer = self._after_connect(nextlayer)

    def _after_connect(self, nextlayer):
        context, data = nextlayer.context, nextlayer.data_client()
        if not CLIENT_HELLO_START.fullmatch(data[:6]):
            host, port = context.server.address
            self.audit.write("connection", verdict="deny", reason="not_tls", host=host, port=port)
            return Close(context)
        if len(data) < 6:
            return None  # wait for more
        server_tls = layers.ServerTLSLayer(context)
        server_tls.child_layer = layers.ClientTLSLayer(context)
        return server_tls

    def refused(self, context, reason, detail, status):
        """Bytes that are no request: there is no flow."""
        host, port = context.server.address or (None, None)
        self.audit.write(
            "request", verdict="deny", reason=reason, detail=detail, host=host, port=port,
            status=status,
        )  # fmt: skip

    # TLS

    def tls_start_client(self, data):
        host = data.context.client.sni or data.context.server.address[0]
        try:
            name = canonical_host(host)
        except BadAuthority:
            return  # mitmproxy closes a connection that gets no TLS object
        data.ssl_conn = SSL.Connection(self.leaves.context(name))
        data.ssl_conn.set_accept_state()

    def tls_start_server(self, data):
        """Speaks outward what the client speaks: a conversion from HTTP/1 to HTTP/2 would have
        to be trusted, the one from 2 to 1 is `strict_http1._with_framing`."""
        server, upstream = data.conn, self.settings.upstream
        is_proxy = bool(upstream) and server.via is None and self._is_upstream(server.address)
        h2 = data.context.client.alpn == b"h2" and not is_proxy
        server.alpn_offers = (b"h2", b"http/1.1") if h2 else (b"http/1.1",)
        host = server.address[0]
        server.sni = host
        through = is_proxy or server.via is not None
        data.ssl_conn = self.trust.connection(host, server.alpn_offers, through)

    def tls_failed_client(self, data):
        """Most often: a program inside that does not trust the bottle's CA."""
        host, port = data.context.server.address or (None, None)
        self.audit.write(
            "connection", verdict="error", reason="client_tls", host=host, port=port,
            detail=str(data.conn.error)[:256],
        )  # fmt: skip

    # Connections

    def _is_upstream(self, address):
        upstream = self.settings.upstream
        return bool(upstream) and address[:2] == (upstream.host, upstream.port)

    def server_connect(self, data):
        """The last check before a socket opens: nothing is dialled that no route names."""
        address = data.server.address
        if self._is_upstream(address):
            return
        if not self.routes.find(address[0], address[1]):
            data.server.error = "refused: on no route"
        elif not self.settings.gate_relays:
            data.server.error = judge_literal(address[0], self.settings)

    # Requests

    def http_connect(self, flow):
        head = flow.request.egress_head
        host, port = head.authority
        exchange = self._begin(flow, host=host, port=port, method="CONNECT")
        if head.host and (head.host[0] != host or head.host[1] not in (None, port)):
            self._answer(exchange, 421, "authority_mismatch", "CONNECT and Host name two hosts")
            return
        verdict = decide_connect(host, port, self.routes)
        exchange.update(rule=verdict.rule)
        if not verdict.allowed:
            self._answer(exchange, verdict.status, verdict.reason, verdict.detail)
            return
        # The requests inside have lines of their own.
        self.exchanges.discard(exchange)
        exchange.is_written = True
        flow.request.data.host, flow.request.data.port = host, port

    def http_connect_upstream(self, flow):
        flow.request.headers["Host"] = flow.request.authority
        if self.settings.upstream.authorization:
            flow.request.headers["Proxy-Authorization"] = self.settings.upstream.authorization

    def requestheaders(self, flow):
        request = flow.request
        # `tls` is set only by the ClientTLSLayer that a CONNECT leads to.
        inside = flow.client_conn.tls
        exchange = self._begin(
            flow,
            method=request.data.method.decode("latin-1"),
            protocol="h2" if request.is_http2 else "http/1.1",
        )  # fmt: skip
        if inside:
            host, port = flow.server_conn.address
            exchange.update(host=host, port=port)
        try:
            asked = self._asked(flow, inside)
        except BadAuthority as err:
            self._answer(exchange, 400, "bad_authority", str(err))
            return
        path, _, query = asked.target.partition(b"?")
        exchange.update(path=path.decode("latin-1"), query=paths.query_names(query))
        if not inside and request.egress_head.authority is None:
            self._answer(exchange, 400, "not_a_proxy_request", "a path without a host")
            return
        verdict = decide(asked, self.routes, self.settings.tokens)
        exchange.update(rule=verdict.rule)
        if verdict.host:
            exchange.update(host=verdict.host, port=verdict.port)
        if verdict.allowed:
            self._admit(exchange, asked, verdict)
        else:
            self._answer(exchange, verdict.status, verdict.reason, verdict.detail)

    def _asked(self, flow, inside):
        """mitmproxy's request as `decision` wants it. HTTP/2 gives raw pseudo-fields."""
        request = flow.request
        scheme = "https" if inside else "http"
        if request.is_http2:
            if request.egress_scheme != b"https":
                raise BadAuthority(":scheme is not https")
            named = [request.data.authority] + request.headers.get_all("host")
            authorities = [parse_authority(_raw(name)) for name in named if name]
            target = request.data.path
        else:
            head = request.egress_head
            if head.scheme not in (None, scheme):
                raise BadAuthority(f"a URL with {head.scheme}: where {scheme}: is spoken")
            authorities = [name for name in (head.authority, head.host) if name]
            target = head.target
        return Request(
            scheme=scheme,
            method=request.data.method,
            target=target,
            authorities=tuple(authorities),
            connect=flow.server_conn.address[:2] if inside else None,
            sni=flow.client_conn.sni if inside else None,
            fields=request.headers.fields,
            is_http2=request.is_http2,
            is_http11=request.data.http_version == b"HTTP/1.1",
        )

    def _admit(self, exchange, asked, verdict):
        """Writes the request that goes out."""
        flow, request = exchange.flow, exchange.flow.request
        authority = render_authority(verdict.host, verdict.port, asked.scheme).encode()
        request.data.host, request.data.port = verdict.host, verdict.port
        request.data.scheme = asked.scheme.encode()
        request.data.path = asked.target
        upstream = self.settings.upstream
        direct = upstream is None or not upstream.serves(verdict.host)
        if direct:
            flow.server_conn.via = None
        fields = verdict.fields
        if request.is_http2:
            request.data.authority = authority
        else:
            fields = ((b"Host", authority), *fields)
            # Absolute form only goes to a proxy.
            absolute = asked.scheme == "http" and not direct
            request.data.authority = authority if absolute else b""
            if absolute and upstream.authorization:
                fields = (*fields, (b"Proxy-Authorization", upstream.authorization))
        request.headers = http.Headers(fields)
        request.stream = exchange.count_up

    def responseheaders(self, flow):
        exchange = flow.metadata.get("exchange")
        if not exchange or exchange.fields["verdict"] != "allow":
            return
        flow.response.stream = exchange.count_down
        if flow.response.status_code == 403 and flow.server_conn.via:
            exchange.update(reason="denied_upstream")

    def response(self, flow):
        exchange = flow.metadata.get("exchange")
        if exchange:
            if flow.response.status_code == 101:
                exchange.update(protocol="websocket")
            self._write(exchange)

    def error(self, flow):
        exchange = flow.metadata.get("exchange")
        if exchange and exchange.fields["verdict"] == "allow":
            message = flow.error.msg
            if "lient disconnected" in message or message.startswith(CLIENT_SIDE):
                reason, status = "client_closed", None
            elif message in ("incomplete_body", "bad_chunk"):
                reason, status = message, 400
            else:
                reason, status = answer.sort_upstream_error(message)
            exchange.update(verdict="error", reason=reason)
            self._write(exchange, status)
        elif exchange:
            self._write(exchange)

    def upstream_failed(self, flow, message):
        """No connection outward could be had."""
        exchange = flow.metadata["exchange"]
        reason, status = answer.sort_upstream_error(message)
        exchange.update(verdict="deny" if status == 403 else "error")
        self._respond(exchange, status, reason, message)

    def websocket_message(self, flow):
        exchange, message = flow.metadata["exchange"], flow.websocket.messages[-1]
        if message.from_client:
            exchange.up += len(message.content)
        else:
            exchange.down += len(message.content)
        flow.websocket.messages.clear()

    def websocket_end(self, flow):
        exchange = flow.metadata["exchange"]
        fields = {key: exchange.fields.get(key) for key in ("rule", "host", "port", "path")}
        self.audit.write("websocket_end", bytes_up=exchange.up, bytes_down=exchange.down, **fields)

    # Answers and lines

    def _begin(self, flow, **fields):
        exchange = Exchange(flow)
        exchange.update(**fields)
        flow.metadata["exchange"] = exchange
        self.exchanges.add(exchange)
        return exchange

    def _answer(self, exchange, status, reason, detail):
        exchange.update(verdict="error" if status == 502 else "deny")
        self._respond(exchange, status, reason, detail)
        request = exchange.flow.request
        request.headers.pop("expect", None)
        if exchange.flow.request.data.method != b"CONNECT":
            # See stream.py: answered at once when a body may follow.
            request.stream = request.egress_has_body

    def _respond(self, exchange, status, reason, detail):
        exchange.update(reason=reason, detail=detail)
        fields, flow = exchange.fields, exchange.flow
        payload = answer.body(
            status, reason, detail,
            fields.get("host"), fields.get("port"), fields.get("path"), fields.get("rule"),
        )  # fmt: skip
        if flow.request.data.method == b"HEAD":
            payload = b""
        headers = {"content-type": "application/json", "cache-control": "no-store"}
        if status == 400 or flow.request.egress_has_body or fields["method"] == "CONNECT":
            headers["connection"] = "close"
        flow.response = http.Response.make(status, payload, headers)

    def _write(self, exchange, status=None):
        if exchange.is_written:
            return
        exchange.is_written = True
        self.exchanges.discard(exchange)
        if status is None and exchange.flow.response:
            status = exchange.flow.response.status_code
        self.audit.write(
            **exchange.fields, status=status, bytes_up=exchange.up, bytes_down=exchange.down
        )

    def finish(self):
        """The process ends: what is under way gets its line."""
        for exchange in list(self.exchanges):
            if exchange.fields["verdict"] == "allow":
                exchange.update(verdict="error", reason="proxy_ended")
            self._write(exchange)


def _raw(name):
    return name if isinstance(name, bytes) else name.encode("utf-8", "surrogateescape")

# SPDX-License-Identifier: Apache-2.0
"""The one decision: may this request go out, and what is changed in it?

Pure: a request, the routes and the tokens in, a verdict out. The steps and their order are those of
docs/architecture.md and the same in every proxy; tests/conformance holds each of them fast.
"""

import base64
import binascii
from dataclasses import dataclass

from egress_proxy import paths
from egress_proxy.authority import BadAuthority, canonical_host
from egress_proxy.http1_grammar import FIELD_VALUE, TOKEN

HOP_BY_HOP = frozenset(
    (b"connection", b"keep-alive", b"te", b"trailer", b"upgrade", b"http2-settings")
)
# Fields that every recipient needs: whoever asks a proxy to drop them wants to be misread.
NEVER_NAMED = frozenset((b"host", b"content-length", b"transfer-encoding"))


@dataclass(frozen=True)
class Request:
    """What the client asked, nothing resolved or defaulted."""

    scheme: str  # "https" inside CONNECT, else "http"
    method: bytes
    target: bytes  # origin form, or `*`
    authorities: tuple  # every (host, port or None) that the client named, except CONNECT's and SNI
    connect: tuple | None  # (host, port) of the CONNECT around it
    sni: str | None
    fields: tuple  # ((name, value), …)
    is_http2: bool = False
    is_http11: bool = True


@dataclass(frozen=True)
class Verdict:
    allowed: bool
    status: int = 0
    reason: str = ""
    detail: str = ""
    host: str | None = None
    port: int | None = None
    rule: str | None = None  # host of the route
    fields: tuple = ()  # what goes out, without Host
    is_websocket: bool = False


class Refused(Exception):
    def __init__(self, status, reason, detail):
        super().__init__(reason)
        self.status, self.reason, self.detail = status, reason, detail


def decide_connect(host, port, routes):
    """CONNECT: only the pair can be judged yet."""
    known = {"host": host, "port": port}
    try:
        route = _route_for(host, port, routes)
    except Refused as no:
        return Verdict(False, no.status, no.reason, no.detail, **known)
    return Verdict(True, 200, "", **known, rule=route.host)


def decide(request, routes, tokens):
    """`tokens`: slot name → value, without the slots that have none."""
    host, port = _place(request)
    known = {"host": host, "port": port}
    try:
        _check_fields(request)
        _check_place(request, host, port)
        named = _named_by_connection(request.fields)
        if request.method.upper() == b"TRACE":
            raise Refused(403, "trace", "TRACE would send the credentials back")
        route = _route_for(host, port, routes)
        known["rule"] = route.host
        _check_method_and_path(request, route)
        websocket = _asks_websocket(request, named)
        fields = _clean_fields(request, route, named, websocket)
        fields += _credential(request, route, tokens)
    except Refused as no:
        return Verdict(False, no.status, no.reason, no.detail, **known)
    return Verdict(True, fields=tuple(fields), is_websocket=websocket, **known)


def _place(request):
    """Where the request is for as far as one can tell, so that a refusal by any step says where.
    → (host, port)"""
    if request.connect:
        return request.connect
    if not request.authorities:
        return None, None
    host, port = request.authorities[0]
    return host, port or 80


def _check_fields(request):
    """Step 1, for what did not come through the HTTP/1 grammar: HTTP/2 can carry any byte in a
    field, and the next hop may speak HTTP/1."""
    if not TOKEN.fullmatch(request.method):
        raise Refused(400, "bad_field", "a method that is no token")
    for name, value in request.fields:
        if not TOKEN.fullmatch(name) or not FIELD_VALUE.fullmatch(value):
            raise Refused(400, "bad_field", "a header field with a control character")


def _check_place(request, host, port):
    """Step 2: CONNECT target, SNI, Host and URL name one place."""
    if host is None:
        raise Refused(400, "no_host", "no host is named")
    for other_host, other_port in request.authorities:
        if other_host != host or other_port not in (None, port):
            raise Refused(421, "authority_mismatch", "URL, Host and CONNECT name several hosts")
    if request.sni is not None:
        try:
            sni = canonical_host(request.sni)
        except BadAuthority:
            sni = None
        if sni != host:
            raise Refused(421, "sni_mismatch", "the TLS server name is not the CONNECT host")


def _named_by_connection(fields):
    """Step 3: the names in `Connection`, lower case."""
    named = set()
    for name, value in fields:
        if name.lower() in (b"connection", b"proxy-connection"):
            named.update(part.strip(b" \t").lower() for part in value.split(b","))
    named.discard(b"")
    if named & NEVER_NAMED:
        raise Refused(400, "bad_connection", "Connection names a field that frames the message")
    return named


def _route_for(host, port, routes):
    """Step 4."""
    route = routes.find(host, port)
    if route:
        return route
    if routes.for_host(host):
        raise Refused(403, "port_not_allowed", f"port {port} of this host is on no route")
    raise Refused(403, "host_not_allowed", "the host is on no route")


def _check_method_and_path(request, route):
    """Steps 5 and 6."""
    if route.methods and request.method not in route.methods:
        raise Refused(403, "method_not_allowed", "the route does not list the method")
    if request.target == b"*":
        if route.path_allowlist:
            raise Refused(403, "path_not_allowed", "the route lists paths")
        return
    try:
        path, query = paths.split_target(request.target)
        forms = paths.path_forms(path)
        push = paths.is_git_push(forms, query)
    except paths.BadPath as err:
        raise Refused(400, "bad_path", str(err)) from None
    if not paths.allowed(route.path_allowlist, forms):
        raise Refused(403, "path_not_allowed", "a reading of the path is on no path_allowlist")
    if push and not route.git_push:
        raise Refused(403, "git_push", "the route does not allow `git push`")


def _asks_websocket(request, named):
    fields = {}
    for name, value in request.fields:
        fields.setdefault(name.lower(), []).append(value)
    return (
        not request.is_http2
        and request.is_http11
        and request.method == b"GET"
        and b"upgrade" in named
        and [value.lower() for value in fields.get(b"upgrade", [])] == [b"websocket"]
        and fields.get(b"sec-websocket-version") == [b"13"]
        and len(fields.get(b"sec-websocket-key", [])) == 1
        and not (b"content-length" in fields or b"transfer-encoding" in fields)
    )


def _clean_fields(request, route, named, websocket):
    """Step 3: what the client may not say. Names are compared with `_` as `-` too, which CGI
    and its heirs do not tell apart."""
    stripped = {b"authorization"}
    if route.auth_header:
        stripped.add(route.auth_header.replace("_", "-").encode())
    kept = []
    for name, value in request.fields:
        lower = name.lower()
        alias = lower.replace(b"_", b"-")
        if lower == b"te" and request.is_http2 and value == b"trailers":
            kept.append((name, value))  # gRPC servers insist on it
        elif not (
            lower == b"host"
            or lower in HOP_BY_HOP
            or lower in named
            or alias in stripped
            or (alias in NEVER_NAMED and alias != lower)
            or alias.startswith(b"proxy-")
            or (lower == b"expect" and value.lower() != b"100-continue")
        ):
            kept.append((name, value))
    if websocket:
        kept += [(b"Connection", b"Upgrade"), (b"Upgrade", b"websocket")]
    elif b"close" in named:
        kept.append((b"Connection", b"close"))
    return kept


def basic_credentials(token):
    """A token for Basic is `user:password`, its base64, or a bare token, which then is the password
    of `x-access-token` (what GitHub wants; other forges take any user)."""
    try:
        decoded = base64.b64decode(token, validate=True)
    except (binascii.Error, ValueError):
        decoded = b""
    if b":" not in token and b":" in decoded and decoded.isascii() and decoded.decode().isprintable():
        return token
    return base64.b64encode(token if b":" in token else b"x-access-token:" + token)


def credential_value(scheme, token):
    """`scheme` None: the token alone."""
    if scheme is None:
        return token
    if scheme == "Basic":
        token = basic_credentials(token)
    return scheme.encode() + b" " + token


def _credential(request, route, tokens):
    """Step 7. A preflight (OPTIONS) carries no credentials in a browser, and gets none here."""
    if not route.auth_header:
        return []
    if request.scheme != "https":
        raise Refused(403, "auth_needs_tls", "this route has a credential; use https")
    if request.method.upper() == b"OPTIONS":
        return []
    if not (token := tokens.get(route.token_env)):
        raise Refused(502, "no_token", "the route's token slot has no value")
    return [(route.auth_header.encode(), credential_value(route.auth_scheme, token))]

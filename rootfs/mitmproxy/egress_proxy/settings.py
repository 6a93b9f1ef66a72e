# SPDX-License-Identifier: Apache-2.0
"""The environment, read once: the image's contract as values, and the tokens.

The tokens' variables are taken out of os.environ, and their bytes are overwritten where the kernel
put them at exec, so that /proc/PID/environ shows none of them even to a process that may read it.
"""

import ctypes
import os
import re
from dataclasses import dataclass, field

from egress_proxy import stdin_secrets
from egress_proxy.authority import BadAuthority, canonical_host, parse_authority
from egress_proxy.decision import credential_value

PR_SET_DUMPABLE = 4
TOKEN_NAME = re.compile(r"EGRESS_PROXY_TOKEN_(?:0|[1-9][0-9]*)")
PROXY_URL = re.compile(r"(https?)://([^/?#]+)/?")
HOME = "/home/mitmproxy/.mitmproxy"


class BadSetting(ValueError):
    pass


@dataclass(frozen=True)
class Upstream:
    scheme: str
    host: str
    port: int
    ca: str | None
    authorization: bytes | None = field(repr=False)  # value of Proxy-Authorization
    no_proxy: tuple = ()

    def serves(self, host):
        """Whether a host is reached through it."""
        return not any(
            host == name or name == "*" or host.endswith("." + name) for name in self.no_proxy
        )


@dataclass(frozen=True)
class Settings:
    routes_path: str
    ca_path: str
    trust_store: str
    extra_ca: tuple
    listen_host: str | None
    port: int
    audit_fd: int
    ready_fd: int | None
    upstream: Upstream | None
    gate_relays: bool  # addresses are the gate's to judge
    allow_private: tuple  # hosts that are reached at any address, where there is no gate
    tokens: dict = field(repr=False)  # slot → bytes


def close_memory():
    """No other process of this uid may read our memory or environment, nor is a core written."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0):
        raise BadSetting("prctl(PR_SET_DUMPABLE): " + os.strerror(ctypes.get_errno()))


def _wipe_initial_environment(names):
    """proc(5): fields 50 and 51 of /proc/self/stat are where the environment began and ended at
    exec. setenv(3) and unsetenv(3) leave those bytes as they are."""
    try:
        with open("/proc/self/stat", "rb") as stat:
            fields = stat.read().rpartition(b")")[2].split()
    except OSError:
        return  # no /proc here, so nobody reads an environment there
    start, end = int(fields[47]), int(fields[48])
    if not 0 < start < end:
        return
    at = start
    for entry in ctypes.string_at(start, end - start).split(b"\0"):
        name, equals, value = entry.partition(b"=")
        if equals and name.decode("ascii", "replace") in names:
            ctypes.memset(at + len(name) + 1, 0, len(value))
        at += len(entry) + 1


def take_tokens(environ):
    """Every EGRESS_PROXY_TOKEN_n, removed from `environ`. → {name: bytes}"""
    names = [name for name in environ if TOKEN_NAME.fullmatch(name)]
    tokens = {name: os.fsencode(environ.pop(name)) for name in names}
    if names and environ is os.environ:
        _wipe_initial_environment(set(names))
    return _checked(tokens)


def _checked(tokens):
    for name, token in tokens.items():
        if any(byte in token for byte in b"\r\n\0"):
            raise BadSetting(f"{name} holds a CR, LF or NUL")
        if any(byte < 0x20 or byte > 0x7E for byte in token):
            raise BadSetting(f"{name} holds a byte that no header field may have")
    return {name: token for name, token in tokens.items() if token}


def _all_tokens(environ):
    """Those of the environment, or those that come with the other secrets on standard input."""
    tokens = take_tokens(environ)
    way = environ.get("EGRESS_PROXY_SECRETS", "")
    if way not in ("", "stdin"):
        raise BadSetting("EGRESS_PROXY_SECRETS is not stdin")
    if not way:
        return tokens
    if tokens:
        raise BadSetting("EGRESS_PROXY_TOKEN_… in the environment, and EGRESS_PROXY_SECRETS")
    close_memory()
    try:
        tokens = stdin_secrets.receive()
    except stdin_secrets.BadArchive as err:
        raise BadSetting(str(err)) from None
    stdin_secrets.close_stdin()
    return _checked(tokens)


def _number(environ, name, default, low, high):
    text = environ.get(name, "")
    if not text:
        return default
    if not re.fullmatch(r"[0-9]{1,10}", text) or not low <= int(text) <= high:
        raise BadSetting(f"{name} is no number between {low} and {high}")
    return int(text)


def _proxy_url(environ):
    """mitmproxy knows one upstream proxy, so HTTPS_PROXY and HTTP_PROXY must not differ."""
    urls = {environ[name] for name in ("HTTPS_PROXY", "HTTP_PROXY") if environ.get(name)}
    if not urls:
        return None
    if len(urls) > 1:
        raise BadSetting("HTTPS_PROXY and HTTP_PROXY name two proxies; one is supported")
    match = PROXY_URL.fullmatch(urls.pop())
    if not match or "@" in match[2]:
        raise BadSetting("HTTPS_PROXY is not http(s)://host[:port] without user information")
    try:
        host, port = parse_authority(match[2].encode())
    except (BadAuthority, UnicodeEncodeError) as err:
        raise BadSetting(f"HTTPS_PROXY: {err}") from None
    return match[1], host, port or (443 if match[1] == "https" else 80)


def _upstream(environ, tokens):
    url = _proxy_url(environ)
    slot = environ.get("EGRESS_PROXY_UPSTREAM_TOKEN") or None
    ca = environ.get("EGRESS_PROXY_UPSTREAM_CA") or None
    if not url:
        if slot or ca:
            raise BadSetting("EGRESS_PROXY_UPSTREAM_… without HTTPS_PROXY")
        return None
    authorization = None
    if slot:
        scheme = environ.get("EGRESS_PROXY_UPSTREAM_SCHEME") or "Basic"
        if scheme not in ("Basic", "Bearer", "token"):
            raise BadSetting("EGRESS_PROXY_UPSTREAM_SCHEME is not Basic, Bearer or token")
        if slot not in tokens:
            raise BadSetting(f"{slot}, the upstream proxy's token, has no value")
        authorization = credential_value(scheme, tokens[slot])
    names = [name.strip().lstrip(".").lower() for name in environ.get("NO_PROXY", "").split(",")]
    return Upstream(*url, ca, authorization, tuple(filter(None, map(_no_proxy_name, names))))


def _no_proxy_name(name):
    try:
        return name if name in ("", "*") else canonical_host(name)
    except BadAuthority:
        raise BadSetting(f"NO_PROXY: {name!r} is no host") from None


def _gate_relays(environ):
    way = environ.get("EGRESS_PROXY_GATE", "")
    if way not in ("", "relay"):
        raise BadSetting("EGRESS_PROXY_GATE is not relay")
    return way == "relay"


def _allow_private(environ):
    names = environ.get("EGRESS_PROXY_ALLOW_PRIVATE", "").split(",")
    try:
        return tuple(canonical_host(name) for name in map(str.strip, names) if name)
    except BadAuthority:
        raise BadSetting("EGRESS_PROXY_ALLOW_PRIVATE holds what is no host") from None


def read_settings(environ):
    tokens = _all_tokens(environ)
    extra = environ.get("EGRESS_PROXY_EXTRA_CA", "")
    # mitmproxy would write every session's keys there.
    environ.pop("SSLKEYLOGFILE", None)
    environ.pop("MITMPROXY_SSLKEYLOGFILE", None)
    return Settings(
        routes_path=environ.get("EGRESS_PROXY_ROUTES") or "/etc/egress-proxy/routes.yaml",
        ca_path=environ.get("EGRESS_PROXY_CA") or HOME + "/mitmproxy-ca.pem",
        trust_store=environ.get("EGRESS_PROXY_TRUST_STORE")
        or "/etc/ssl/certs/ca-certificates.crt",
        extra_ca=tuple(path for path in extra.split(":") if path),
        listen_host=environ.get("EGRESS_PROXY_LISTEN_HOST") or None,
        port=_number(environ, "EGRESS_PROXY_PORT", 9099, 1, 65535),
        audit_fd=_number(environ, "EGRESS_PROXY_AUDIT_FD", 1, 1, 1 << 20),
        ready_fd=_number(environ, "EGRESS_PROXY_READY_FD", None, 1, 1 << 20),
        upstream=_upstream(environ, tokens),
        gate_relays=_gate_relays(environ),
        allow_private=_allow_private(environ),
        tokens=tokens,
    )

#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Takes: 120
"""The two proxies say the same: generated questions to the pure parts of proxy/ (by way of
tests/tools/proxy_pure.c) and of rootfs/mitmproxy/egress_proxy. Run: test_same.py [-v]

Seeds are fixed; SAME_SEED and SAME_COUNT (a factor) ask for others and for more.
"""

import ipaddress
import os
import random
import struct
import subprocess
import sys
import unittest

sys.dont_write_bytecode = True
TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
sys.path.insert(0, os.path.join(TOP, "rootfs/mitmproxy"))

from egress_proxy import addresses, answer  # noqa: E402
from egress_proxy.authority import BadAuthority, parse_authority, render_authority  # noqa: E402
from egress_proxy.decision import Request, credential_value, decide, decide_connect  # noqa: E402
from egress_proxy.routes import parse_routes  # noqa: E402

SEED = int(os.environ.get("SAME_SEED", "1"))
FACTOR = int(os.environ.get("SAME_COUNT", "1"))
BUILD = os.environ.get("BOTTLE_TEST_BUILD") or os.path.join(TOP, "build/release")
TOKENS = {"EGRESS_PROXY_TOKEN_0": b"t0ken", "EGRESS_PROXY_TOKEN_2": b"user:pass", "EGRESS_PROXY_TOKEN_10": b"~ !"}

HOSTS = ("a.test", "b.a.test", "c.b.a.test", "x.test", "test", "1.2.3.4", "2001:db8::1")
SUFFIXES = ("*.a.test", "*.b.a.test", "*.x.test", "*.1.2.a", "*.c.b.a.test")
RULES = ("/", "/a", "/a/", "/a/b", "/v1/", "/info/", "/%", "/a?x", "/A", "/g.git")
METHODS = ("GET", "POST", "OPTIONS", "PUT", "M-SEARCH")
PATH_PIECES = (
    "/", "/", "/", "a", "b", "v1", "A", "g.git", "info", "refs", "/info/refs", "git-receive-pack", "GIT-Receive-Pack",
    ".", "..", "...", "/../", "/.", "%2e", "%2E", "%252e", "%25", "%", "%2", "%zz", "%2f", "%5c", "\\", "%00", "%0a",
    "%7f", "%c0%ae", "%e0%80%ae", "%e0%a0", "%f0%8f", "%f0%90", "%c3%a9", "%3f", "%23", "%3b", "?", ";", ";x", "#",
    "&", "=", "service=", "service=git-receive-pack", "+service+=+git-receive-pack", "%73ervice=git-receive-pack",
    "?service=git-upload-pack", "?service=git-receive-pack", "\x00", "\x7f", "\xff", " ", "*", "+", "%2525",
)  # fmt: skip
NAMES = (
    "host", "Host", "Connection", "connection", "Proxy-Connection", "Keep-Alive", "TE", "te", "Trailer", "Upgrade",
    "upgrade", "HTTP2-Settings", "Authorization", "authorization", "X-Api-Key", "x_api_key", "X-API_KEY", "x-own_key",
    "Proxy-Authorization", "proxy_x", "proxy", "proxy-", "Expect", "Content-Length", "content_length", "Content_Type",
    "transfer_encoding", "Transfer-Encoding", "Sec-WebSocket-Key", "Sec-WebSocket-Version", "Accept", "cookie", "x",
    "keep_alive", "close",
)  # fmt: skip
VALUES = (
    "close", "keep-alive", "Upgrade", "upgrade, X", "host", "x, accept", " ,,\tX ,close", "content-length",
    "Transfer-Encoding", "websocket", "WebSocket", "13", "8", "trailers", "100-continue", "100-Continue", "200-ok", "0",
    "", "a b", "\xe9", "x-api-key,authorization", "te",
)  # fmt: skip
HOST_PIECES = (
    "a", "b.c", "EXAMPLE", "-", "_", ".", "..", "1", "0", "255", "256", "0x7f", "0X", "x1", "127.0.0.1", "[", "]", "::",
    "::1", ":", "fe80::", "ffff", "00001", "1:2:3:4:5:6:7:8", "1:2:3", "%", ":443", ":80", ":0", ":65535", ":65536",
    ":080", "@", "/", "\0", "\xff", "a" * 63, "a" * 64, ("a" * 61 + ".") * 3, "::ffff:1.2.3.4", "0:0", "[::1]",
)  # fmt: skip


def pack(texts):
    parts = [struct.pack("<I", len(texts))]
    for text in texts:
        raw = text if isinstance(text, bytes) else str(text).encode("latin-1")
        parts += [struct.pack("<I", len(raw)), raw]
    return b"".join(parts)


class Native:
    def __init__(self, tokens):
        env = {name: token.decode() for name, token in tokens.items()}
        self.process = subprocess.Popen([os.path.join(BUILD, "tools/proxy_pure")], env=env,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # fmt: skip

    def _number(self):
        return struct.unpack("<I", self.process.stdout.read(4))[0]

    def ask(self, questions):
        """→ an answer, a list of bytes, for each; one at a time, so that no pipe fills up."""
        answers = []
        for question in questions:
            self.process.stdin.write(pack(question))
            self.process.stdin.flush()
            answers.append([self.process.stdout.read(self._number()) for _ in range(self._number())])
        return answers

    def close(self):
        self.process.stdin.close()
        self.process.stdout.close()
        return self.process.wait()


def some(rng, pieces, low, high):
    return "".join(rng.choice(pieces) for _ in range(rng.randint(low, high)))


def routes_text(rng):
    lines, seen = ["version: 1", "routes:"], set()
    for _ in range(rng.randint(1, 12)):
        host = rng.choice(HOSTS + SUFFIXES)
        ports = [p for p in rng.sample((80, 443, 8443, 1), rng.randint(1, 3)) if (host, p) not in seen]
        if not ports:
            continue
        seen.update((host, port) for port in ports)
        lines += [f'  - host: "{host}"', f"    ports: [{', '.join(map(str, ports))}]"]
        rules = [r for r in rng.sample(RULES, rng.choice((0, 0, 1, 1, 2, 3))) if not set("?%") & set(r)]
        for key, items in (("path_allowlist", rules), ("methods", rng.sample(METHODS, rng.choice((0, 0, 0, 1, 3))))):
            if items:
                lines.append(f"    {key}: [" + ", ".join(f'"{item}"' for item in items) + "]")
        auth = rng.choice(("", "", "Bearer", "token", "Basic", "x-api-key", "x-own_key", "authorization"))
        if auth in ("Bearer", "token", "Basic"):
            lines += [f'    auth_scheme: "{auth}"', '    auth_header: "authorization"']
        elif auth:
            lines.append(f'    auth_header: "{auth}"')
        if auth:
            lines.append(f'    token_env: "EGRESS_PROXY_TOKEN_{rng.choice((0, 0, 2, 10, 1))}"')
        lines.append(f"    git_push: {rng.choice(('true', 'false'))}")
    return "\n".join(lines).encode() + b"\n"


def encode_more(rng, text):
    """Some bytes of a text percent-encoded, up to ten times."""
    for _ in range(rng.choice((0, 0, 0, 1, 2, 7, 8, 9, 10))):
        at = rng.randrange(len(text) or 1)
        text = text[:at] + "".join(f"%{ord(c):02x}" for c in text[at : at + 1]) + text[at + 1 :]
        text = text.replace("%", "%25") if rng.random() < 0.8 else text
    return text


def target_of(rng):
    kind = rng.random()
    if kind < 0.02:
        return "*"
    if kind < 0.3:
        return rng.choice(("/", "/a", "/a/b", "/a?x=y", "/v1/x", "/g.git/info/refs?service=git-receive-pack"))
    text = ("/" if rng.random() < 0.95 else "") + some(rng, PATH_PIECES, 0, 6)
    if rng.random() < 0.2:
        text = f"/g.git/info/refs?service={encode_more(rng, 'git-receive-pack')}{some(rng, PATH_PIECES, 0, 2)}"
    text = encode_more(rng, text) if rng.random() < 0.4 else text
    return text + "x" * rng.choice((0, 0, 0, 0, 2000))


def place_of(rng):
    return rng.choice(HOSTS + ("z.a.test", "y.b.a.test", "evil.test", "x.c.b.a.test")), rng.choice((80, 443, 443, 8443))


def fields_of(rng):
    fields = [(rng.choice(NAMES), rng.choice(VALUES)) for _ in range(rng.choice((0, 1, 2, 4, 8)))]
    if rng.random() < 0.3:
        fields += [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"),
                   ("Sec-WebSocket-Key", "x")]  # fmt: skip
        rng.shuffle(fields)
        fields = fields[rng.randrange(2) :]
    if rng.random() < 0.02:
        fields.append(rng.choice((("x", "a\rb"), ("x", "a\0"), ("x y", ""), ("", "a"), ("\xe9", ""), ("a:", "\x7f"))))
    return tuple((name.encode("latin-1"), value.encode("latin-1")) for name, value in fields)


def request_of(rng):
    place = place_of(rng)
    connect = place if rng.random() < 0.7 else None
    named = []
    for _ in range(rng.choice((0, 1, 1, 1, 2))):
        host, port = place if rng.random() < 0.95 else place_of(rng)
        named.append((host, rng.choice((port, port, None))))
    sni = None
    if connect and rng.random() < 0.7:
        sni = place[0] if rng.random() < 0.9 else rng.choice((place[0].upper(), place[0] + ".", "", "-", "evil.test"))
    method = rng.choice(METHODS + ("GET", "GET", "get", "TRACE", "trace", "options")) if rng.random() < 0.99 else "G T"
    return Request(
        scheme="https" if connect or rng.random() < 0.1 else "http",
        method=method.encode(), target=target_of(rng).encode("latin-1"), authorities=tuple(named), connect=connect,
        sni=sni, fields=fields_of(rng), is_http2=rng.random() < 0.3, is_http11=rng.random() < 0.9,
    )  # fmt: skip


def question_of(request):
    flags = ("s" if request.scheme == "https" else "") + ("2" if request.is_http2 else "")
    flags += ("1" if request.is_http11 else "") + ("c" if request.connect else "")
    flags += "n" if request.sni is not None else ""
    texts = ["decide", flags, request.method, request.target, *(request.connect or ("", 0)), request.sni or "",
             len(request.authorities)]  # fmt: skip
    for host, port in request.authorities:
        texts += [host, port or 0]
    return texts + [text for field in request.fields for text in field]


def answer_of(verdict):
    texts = [int(verdict.allowed), verdict.status, verdict.reason, verdict.detail, verdict.host or "", verdict.port or 0,
             verdict.rule or ""]  # fmt: skip
    return [str(text).encode() for text in texts]


def fields_out(request, verdict):
    """The fields as C has them: Connection as flags, framing left to who serialises."""
    fields = list(verdict.fields)
    close = any(
        name.lower() in (b"connection", b"proxy-connection") and b"close" in [p.strip(b" \t").lower() for p in value.split(b",")]
        for name, value in request.fields
    )  # fmt: skip
    added = [(b"Connection", b"Upgrade"), (b"Upgrade", b"websocket")] if verdict.is_websocket else []
    added = [(b"Connection", b"close")] if close and not added else added
    for field in added:
        fields.remove(field)
    kept = [text for name, value in fields for text in (name, value)
            if name.lower() not in (b"content-length", b"transfer-encoding")]  # fmt: skip
    return [str(int(verdict.is_websocket)).encode(), str(int(close)).encode(), *kept]


class Same(unittest.TestCase):
    def setUp(self):
        self.native = Native(TOKENS)
        self.rng = random.Random(f"{SEED} {self._testMethodName}")

    def tearDown(self):
        self.assertEqual(self.native.close(), 0)

    def compare(self, questions, wanted):
        for question, got, want in zip(questions, self.native.ask(questions), wanted):
            self.assertEqual(got, want, question)

    def test_decision(self):
        allowed = set()
        for _ in range(200 * FACTOR):
            text = routes_text(self.rng)
            routes = parse_routes(text)
            self.compare([["routes", text]], [[str(len(routes.items)).encode()]])
            requests = [request_of(self.rng) for _ in range(100)]
            verdicts = [decide(request, routes, TOKENS) for request in requests]
            wanted = [answer_of(verdict) + (fields_out(request, verdict) if verdict.allowed else [])
                      for request, verdict in zip(requests, verdicts)]  # fmt: skip
            self.compare([question_of(request) for request in requests], wanted)
            allowed.update((verdict.allowed, verdict.reason, verdict.is_websocket) for verdict in verdicts)
        # The generator reaches what there is to reach.
        reasons = {reason for _, reason, _ in allowed}
        self.assertLessEqual(
            {"", "bad_field", "no_host", "authority_mismatch", "sni_mismatch", "bad_connection", "trace", "host_not_allowed",
             "port_not_allowed", "method_not_allowed", "path_not_allowed", "bad_path", "git_push", "auth_needs_tls", "no_token"},
            reasons)  # fmt: skip
        self.assertIn((True, "", True), allowed)

    def test_connect(self):
        for _ in range(20 * FACTOR):
            text = routes_text(self.rng)
            routes = parse_routes(text)
            self.native.ask([["routes", text]])
            places = [place_of(self.rng) for _ in range(50)]
            self.compare([["connect", *place] for place in places],
                         [answer_of(decide_connect(*place, routes)) for place in places])  # fmt: skip

    def test_authority(self):
        raws = [some(self.rng, HOST_PIECES, 1, 6).encode("latin-1") for _ in range(10000 * FACTOR)]
        hextets = ("0", "0", "0", "1", "ab", "", "00a0", "1.2.3.4")
        for _ in range(5000 * FACTOR):
            text = ":".join(self.rng.choice(hextets) for _ in range(self.rng.randint(2, 9)))
            raws.append((f"[{text}]" if self.rng.random() < 0.9 else text).encode())
        self.compare([["authority", raw] for raw in raws], [self._authority(raw) for raw in raws])

    def _authority(self, raw):
        try:
            host, port = parse_authority(raw)
        except BadAuthority as err:
            return [str(err).encode()]
        shown = [render_authority(host, port or default, scheme) for scheme, default in (("http", 80), ("https", 443))]
        return [host.encode(), str(port or 0).encode(), *map(str.encode, shown)]

    def test_answer(self):
        questions, wanted = [], []
        for _ in range(2000 * FACTOR):
            status = self.rng.choice((400, 403, 421, 431, 502, 504))
            reason = self.rng.choice((*answer.HINTS, "bad_path", "upstream_tls"))
            detail = "".join(chr(self.rng.randrange(1, 256)) for _ in range(self.rng.randrange(20)))
            path = "".join(chr(self.rng.randrange(256)) for _ in range(self.rng.choice((0, 5, 30, 1100))))
            host, port = self.rng.choice((("a.test", 443), ("2001:db8::1", 80)))
            questions.append(["answer", status, reason, detail, host, port, path, "*.a.test"])
            wanted.append([answer.body(status, reason, detail, host, port, path, "*.a.test")])
        self.compare(questions, wanted)

    def test_address(self):
        texts = []
        for text, _, _ in addresses.RANGES:  # both ends of each row, and one beyond
            network = ipaddress.ip_network(text)
            first, last = int(network[0]), int(network[-1])
            texts += [type(network[0])(at) for at in (first - 1, first, first + 1, last, last + 1)
                      if 0 <= at < 1 << network.max_prefixlen]  # fmt: skip
        inner = [ip.packed for ip in texts if ip.version == 4]
        for value, _, places, invert, _ in addresses.EMBEDDINGS:
            for packed in inner:
                outer = bytearray(ipaddress.IPv6Address(value).packed)
                for at, byte in zip(places, packed):
                    outer[at] = byte ^ invert
                texts.append(ipaddress.IPv6Address(bytes(outer)))
        texts += [ipaddress.IPv6Address(self.rng.randbytes(16)) for _ in range(1000 * FACTOR)]
        texts += [ipaddress.IPv4Address(self.rng.randbytes(4)) for _ in range(1000 * FACTOR)]
        self.compare([["address", str(ip)] for ip in texts],
                     [[str(kind).encode(), name.encode()] for kind, name in map(addresses.classify, map(str, texts))])  # fmt: skip

    def test_credential(self):
        pieces = ("a", "b", ":", "YTpi", "YTpiYw==", "YQ==", "x-access-token", "=", "~", "AAAA", "Og==", "OjE=", "/+", " ")
        tokens = [some(self.rng, pieces, 1, 4).encode() for _ in range(5000 * FACTOR)]
        # CPython 3.11 forgives padding after a whole group.
        tokens = [token for token in tokens if not (token.endswith(b"=") and len(token) % 4)]
        for scheme in ("Basic", "Bearer", "token", None):
            self.compare([["credential", scheme or "", token] for token in tokens],
                         [[credential_value(scheme, token)] for token in tokens])  # fmt: skip


if __name__ == "__main__":
    unittest.main()

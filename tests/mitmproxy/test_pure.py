#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Units of the mitmproxy addon that take values and give values. Run: test_pure.py [-v]"""

import os
import posixpath
import random
import re
import sys
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../rootfs/mitmproxy"))

from egress_proxy import answer, audit, authority, paths, settings  # noqa: E402
from egress_proxy.decision import basic_credentials  # noqa: E402
from egress_proxy.http1_grammar import BadRequest, ChunkedBody, take_request_head  # noqa: E402
from egress_proxy.routes import BadRoutes, parse_routes  # noqa: E402

GOOD = """version: 1
routes:
  - host: "api.example.com"
    ports: [443]
    path_allowlist: ["/v1/"]
    methods: ["GET", "POST"]
    auth_scheme: "Bearer"
    auth_header: "authorization"
    token_env: "EGRESS_PROXY_TOKEN_0"
    git_push: false
  - host: "*.example.net"
    ports: [80, 443]
    git_push: true
  - host: "2001:db8::1"
    ports: [8443]
    auth_header: "x-api-key"
    token_env: "EGRESS_PROXY_TOKEN_1"
    git_push: false
"""
MINIMAL = 'version: 1\nroutes:\n  - host: "a.test"\n    ports: [443]\n'


class RoutesTest(unittest.TestCase):
    def test_the_documented_example(self):
        routes = parse_routes(GOOD.encode())
        self.assertEqual(len(routes.items), 3)
        first = routes.items[0]
        self.assertEqual(first.path_allowlist, (b"/v1/",))
        self.assertEqual(first.methods, {b"GET", b"POST"})
        self.assertEqual((first.auth_scheme, first.token_env), ("Bearer", "EGRESS_PROXY_TOKEN_0"))
        self.assertTrue(routes.items[1].git_push)
        self.assertEqual(routes.items[2].auth_header, "x-api-key")

    def test_lookup(self):
        routes = parse_routes(
            MINIMAL.encode()
            + b'  - host: "*.b.test"\n    ports: [443]\n  - host: "*.c.b.test"\n    ports: [80]\n'
            + b'  - host: "x.b.test"\n    ports: [8443]\n'
        )
        found = lambda host, port: getattr(routes.find(host, port), "host", None)  # noqa: E731
        self.assertEqual(found("a.test", 443), "a.test")
        self.assertIsNone(found("a.test", 80))
        self.assertIsNone(found("b.test", 443))
        self.assertEqual(found("y.b.test", 443), "*.b.test")
        self.assertEqual(found("y.z.b.test", 443), "*.b.test")
        self.assertEqual(found("y.c.b.test", 80), "*.c.b.test")
        self.assertIsNone(found("y.c.b.test", 443))
        self.assertIsNone(found("x.b.test", 443))
        self.assertIsNone(found("yb.test", 443))

    def refused(self, text, says=""):
        with self.assertRaises(BadRoutes, msg=text) as caught:
            parse_routes(text if isinstance(text, bytes) else text.encode())
        self.assertIn(says, str(caught.exception))

    def test_yaml_tricks(self):
        head = "version: 1\nroutes:\n"
        for text, says in (
            ("", ""),
            ("- a\n", ""),
            (head + '  - &a {host: "a.test", ports: [443]}\n', "anchor"),
            (head + '  - {host: &h "a.test", ports: [443]}\n  - {host: *h, ports: [80]}\n', "anchor"),
            (head + '  - {host: !!str "a.test", ports: [443]}\n', "tag"),
            (head + '  - {host: "a.test", host: "b.test", ports: [443]}\n', "twice"),
            (head + '  - {"host": "a.test", ports: [443]}\n', "plain word"),
            (head + '  - {host: a.test, ports: [443]}\n', "quotes"),
            (head + '  - {host: "a.test", ports: [0x1bb]}\n', "quotes"),
            (head + '  - {host: "a.test", ports: [0443]}\n', "quotes"),
            (head + '  - {host: "a.test", ports: [+443]}\n', "quotes"),
            (head + '  - {host: "a.test", ports: ["443"]}\n', "integers"),
            (head + '  - {host: "a.test", ports: [true]}\n', "integers"),
            (head + '  - {host: "a.test", ports: [443], git_push: yes}\n', "quotes"),
            (head + '  - {host: "a.test", ports: [443], git_push: "true"}\n', "true or false"),
            (head + '  - {host: "a.test", ports: [443], methods: }\n', ""),
            (head + '  - {host: "a.test", ports: []}\n', "not empty"),
            (head + '  - {host: |\n      a.test\n    , ports: [443]}\n', ""),
            ("%YAML 1.1\n---\n" + MINIMAL, "directive"),
            (MINIMAL + "---\nversion: 1\n", "second document"),
            (MINIMAL.replace("version: 1", 'version: "1"'), "version"),
            (MINIMAL.replace("version: 1", "version: 2"), "version"),
            (MINIMAL.replace("version: 1\n", ""), "version"),
            ("routes: []\nversion: 1\n", "keys"),
            (MINIMAL + "extra: 1\n", "keys"),
            (MINIMAL + "    \xe4: 1\n", "ASCII"),
            ("a: [" * 5000, ""),
            (b"#" * (1 << 20) + MINIMAL.encode(), "1 MiB"),
        ):
            self.refused(text, says)

    def test_values(self):
        for change, says in (
            ('host: "A.test"', "canonical"),
            ('host: "a.test."', "ASCII form"),
            ('host: "*.test"', "two labels"),
            ('host: "*"', "ASCII form"),
            ('host: "a.*.test"', "ASCII form"),
            ('host: "[::1]"', "canonical"),
            ('host: "::0001"', "canonical"),
            ('host: "127.1"', "IPv4"),
            ('host: ""', ""),
        ):
            self.refused(MINIMAL.replace('host: "a.test"', change), says)
        for line, says in (
            ("auth_scheme: \"Bearer\"", "auth_scheme goes with"),
            ("auth_header: \"x-api-key\"", "go together"),
            ("token_env: \"EGRESS_PROXY_TOKEN_0\"", "go together"),
            ("auth_header: \"X-Api-Key\"", "lower case"),
            ("token_env: \"EGRESS_PROXY_TOKEN_00\"", "EGRESS_PROXY_TOKEN"),
            ("methods: [\"TRACE\"]", "never pass"),
            ("methods: [\"get\"]", "upper case"),
            ("path_allowlist: [\"v1\"]", "begins with"),
            ("path_allow: [\"/\"]", "unknown key"),
            ("auth_header: \"host\"\n    token_env: \"EGRESS_PROXY_TOKEN_0\"", "credential"),
        ):
            self.refused(MINIMAL + f"    {line}\n", says)
        self.refused(MINIMAL.replace("443", "0"), "1–65535")
        self.refused(MINIMAL.replace("443", "65536"), "1–65535")
        self.refused(MINIMAL + '  - host: "a.test"\n    ports: [80, 443]\n', "two routes")

    def test_says_where(self):
        self.refused(MINIMAL + "    git_push: yes\n", "5:15: ")
        self.refused("version: 1\n\troutes:\n", "2:1: ")


class AuthorityTest(unittest.TestCase):
    def test_one_form(self):
        for raw, wanted in (
            (b"Example.COM", ("example.com", None)),
            (b"example.com:8443", ("example.com", 8443)),
            (b"[2001:DB8:0::1]:443", ("2001:db8::1", 443)),
            (b"127.0.0.1:80", ("127.0.0.1", 80)),
            (b"xn--bcher-kva.example", ("xn--bcher-kva.example", None)),
            (b"a_b.example", ("a_b.example", None)),
        ):
            self.assertEqual(authority.parse_authority(raw), wanted)

    def test_refused(self):
        for raw in (
            b"", b":443", b"a.test:", b"a.test:0", b"a.test:080", b"a.test:65536", b"a.test:+1",
            b"a.test.", b".a.test", b"a..test", b"-a.test", b"a.test-", b"a.test:80:80", b"::1",
            b"[::1", b"[::1]x", b"[::1%25eth0]", b"[a.test]", b"127.1", b"1", b"0x7f.1", b"a.0x7f",
            b"127.0.0.01", b"127.0.0.256", b"a b.test", b"a\xe4.test", b"u@a.test", b"a/b",
            b"a" * 64 + b".test", b"a." * 130 + b"test", b"*.test", b"a.test\n",
        ):  # fmt: skip
            with self.assertRaises(authority.BadAuthority, msg=raw):
                authority.parse_authority(raw)

    def test_written(self):
        self.assertEqual(authority.render_authority("a.test", 443, "https"), "a.test")
        self.assertEqual(authority.render_authority("a.test", 443, "http"), "a.test:443")
        self.assertEqual(authority.render_authority("::1", 8443, "https"), "[::1]:8443")


class PathsTest(unittest.TestCase):
    def test_forms(self):
        self.assertEqual(paths.path_forms(b"/a%252fb"), [b"/a%252fb", b"/a%2fb", b"/a/b"])
        self.assertEqual(paths.path_forms(b"/100%25"), [b"/100%25", b"/100%"])

    def test_tricks(self):
        for raw in (
            b"/..", b"/.", b"/a/..", b"/../a", b"/a/./b", b"/%2e%2e", b"/%2E./a", b"/..;a=b/", b"/..%3b",
            b"/a%2f..%2fb", b"/%25%32%65%25%32%65/", b"/a\\b", b"/%5c", b"/%255c", b"/%00", b"/%0a",
            b"/%7f", b"/%c0%af", b"/%e0%80%af", b"/%f0%80%80%af", b"/%", b"/%4", b"/%u002e", b"a",
        ):  # fmt: skip
            with self.assertRaises(paths.BadPath, msg=raw):
                paths.path_forms(raw)
        for raw in (b"/a b", b"/a\tb", b"/a#b", b"/?#", b"/\xc3\xa4", b"/a\x00"):
            with self.assertRaises(paths.BadPath, msg=raw):
                paths.split_target(raw)
        for raw in (b"/...", b"/.a", b"/a.", b"/a/..b/c", b"/%2e%2e%2e", b"/a;..", b"/%e2%82%ac", b"//"):
            self.assertTrue(paths.path_forms(raw))

    def test_rules(self):
        for rule, path, wanted in (
            (b"/a", b"/a", True), (b"/a", b"/a/b", True), (b"/a", b"/ab", False),
            (b"/a", b"/", False), (b"/a/", b"/a", False), (b"/a/", b"/a/", True),
            (b"/a/", b"/a/b", True), (b"/", b"/x", True), (b"/a", b"/A", False),
        ):  # fmt: skip
            self.assertEqual(paths.rule_matches(rule, path), wanted, (rule, path))
        self.assertFalse(paths.allowed((b"/a",), paths.path_forms(b"/%61")))
        self.assertFalse(paths.allowed((b"/a%2fb",), paths.path_forms(b"/a%2fb")))
        self.assertTrue(paths.allowed((b"/a%2fb", b"/a/b"), paths.path_forms(b"/a%2fb")))

    def test_whatever_a_server_makes_of_it(self):
        """Random paths, read as servers do: decoded up to four times, with any of the usual
        clean-ups after each. One that was let through stays where it was allowed."""
        cleanups = (
            lambda p: p,
            lambda p: p.replace(b"\\", b"/"),
            lambda p: b"/".join(part.split(b";")[0] for part in p.split(b"/")),
            lambda p: re.sub(rb"/+", b"/", p),
            lambda p: p.split(b"#")[0].split(b"?")[0],
            lambda p: p.split(b"\0")[0],
            lambda p: p.replace(b"\xc0\xae", b".").replace(b"\xc0\xaf", b"/"),
        )
        pieces = [b"/", b"/", b"..", b".", b"%2e", b"%2f", b"%25", b"2e", b"2f", b";", b"%3b", b"\\", b"%5c",
                  b"a", b"v1", b"%00", b"#", b"?", b"%23", b"%3f", b"%c0%ae", b"%c0%af", b"%"]  # fmt: skip
        rng, admitted = random.Random(7), 0
        for _ in range(20_000):
            raw = b"/v1/" + b"".join(rng.choices(pieces, k=rng.randrange(1, 9)))
            try:
                path, _ = paths.split_target(raw)
                forms = paths.path_forms(path)
            except paths.BadPath:
                continue
            if not paths.allowed((b"/v1/",), forms):
                continue
            admitted += 1
            for cleanup in cleanups:
                read = path
                for _ in range(5):
                    kept = posixpath.normpath(cleanup(read)).replace(b"//", b"/")
                    self.assertTrue((kept + b"/").startswith(b"/v1/"), (raw, read, kept))
                    read = paths.decode_once(read)
        self.assertGreater(admitted, 500)

    def test_query_names(self):
        self.assertEqual(paths.query_names(b"a=secret&b&c="), ["a", "*", "c"])


class GrammarTest(unittest.TestCase):
    HEAD = b"GET /x HTTP/1.1\r\nHost: a.test\r\nX: y\r\n\r\n"

    def test_every_cut(self):
        """However the bytes arrive, the head is the same, or there is none yet."""
        for cut in range(1, len(self.HEAD)):
            buffer = bytearray(self.HEAD[:cut])
            self.assertIsNone(take_request_head(buffer), self.HEAD[:cut])
            buffer += self.HEAD[cut:] + b"rest"
            head = take_request_head(buffer)
            self.assertEqual((head.method, head.target, head.host), (b"GET", b"/x", ("a.test", None)))
            self.assertEqual(bytes(buffer), b"rest")

    def test_every_stray_byte(self):
        """A CR, LF or NUL put in anywhere is refused or is not yet a head."""
        for at in range(len(self.HEAD) - 3):
            for stray in (b"\r", b"\n", b"\0"):
                raw = bytearray(self.HEAD[:at] + stray + self.HEAD[at:])
                try:
                    head = take_request_head(raw)
                except BadRequest:
                    continue
                self.assertIsNone(head, (at, stray))

    def chunks(self, raw, step):
        body, buffer, out = ChunkedBody(), bytearray(), b""
        for at in range(0, len(raw), step):
            buffer += raw[at : at + step]
            while (taken := body.take(buffer)) is not None:
                if taken is True:
                    return out, bytes(buffer) + raw[at + step :]
                out += taken
        return None

    def test_chunks_in_any_pieces(self):
        raw = b"5\r\nhello\r\nA;x=y\r\n0123456789\r\n0\r\nT: 1\r\n\r\nnext"
        for step in range(1, len(raw)):
            self.assertEqual(self.chunks(raw, step), (b"hello0123456789", b"next"))

    def test_bad_chunks(self):
        for raw in (
            b"\r\nhello", b"x\r\n", b"5 \r\nhello", b" 5\r\nhello", b"5\nhello\n", b"5;\x01\r\n", b"5\r\nhelloX",
            b"5\r\nhello\n0\r\n", b"0\r\nbad trailer\r\n\r\n", b"0\r\nA: b\n\r\n", b"1" * 16 + b"\r\n",
            b"0" * 2000, b"0\r\n" + b"A: " + b"b" * 2000,
        ):  # fmt: skip
            with self.assertRaises(BadRequest, msg=raw):
                self.chunks(raw, len(raw))


class CredentialsTest(unittest.TestCase):
    def test_basic(self):
        self.assertEqual(basic_credentials(b"user:pass"), b"dXNlcjpwYXNz")
        self.assertEqual(basic_credentials(b"dXNlcjpwYXNz"), b"dXNlcjpwYXNz")
        self.assertEqual(basic_credentials(b"abcd"), b"eC1hY2Nlc3MtdG9rZW46YWJjZA==")


class SettingsTest(unittest.TestCase):
    def test_tokens_leave_the_environment(self):
        environ = {"EGRESS_PROXY_TOKEN_0": "a", "EGRESS_PROXY_TOKEN_1": "", "OTHER": "b"}
        self.assertEqual(settings.take_tokens(environ), {"EGRESS_PROXY_TOKEN_0": b"a"})
        self.assertEqual(environ, {"OTHER": "b"})

    def test_bad_tokens(self):
        for token in ("a\r\nX: y", "a\nb", "a\0b", "a\x7f", "\u00e4"):
            with self.assertRaises(settings.BadSetting):
                settings.take_tokens({"EGRESS_PROXY_TOKEN_0": token})

    def test_upstream(self):
        environ = {
            "HTTPS_PROXY": "http://proxy.test:3128", "HTTP_PROXY": "http://proxy.test:3128",
            "NO_PROXY": "localhost,127.0.0.1,.corp.test", "EGRESS_PROXY_TOKEN_1": "u:p",
            "EGRESS_PROXY_UPSTREAM_TOKEN": "EGRESS_PROXY_TOKEN_1",
        }  # fmt: skip
        read = settings.read_settings(environ)
        self.assertEqual((read.upstream.host, read.upstream.port), ("proxy.test", 3128))
        self.assertEqual(read.upstream.authorization, b"Basic dTpw")
        self.assertNotIn("dTpw", repr(read))
        self.assertFalse(read.upstream.serves("x.corp.test"))
        self.assertTrue(read.upstream.serves("xcorp.test"))

    def test_refused(self):
        for environ in (
            {"HTTPS_PROXY": "http://u:p@proxy.test"},
            {"HTTPS_PROXY": "socks5://proxy.test"},
            {"HTTPS_PROXY": "http://a.test", "HTTP_PROXY": "http://b.test"},
            {"EGRESS_PROXY_UPSTREAM_CA": "/x"},
            {"EGRESS_PROXY_PORT": "0"},
            {"EGRESS_PROXY_PORT": "9099 "},
            {"HTTPS_PROXY": "http://a.test", "EGRESS_PROXY_UPSTREAM_TOKEN": "EGRESS_PROXY_TOKEN_5"},
        ):
            with self.assertRaises(settings.BadSetting, msg=environ):
                settings.read_settings(environ)


class AuditTest(unittest.TestCase):
    def test_a_line_is_bounded(self):
        for path in ("/" + "a" * 100_000, "/" + "\U0001f600" * 50_000, "\x00" * 60_000):
            line = audit.encode({"ts": "t", "event": "request", "path": path, "query": ["q"] * 9999})
            self.assertLessEqual(len(line), audit.MAX_LINE)
            self.assertEqual(line.count(b"\n"), 1)
            self.assertIn(b'"truncated":true', line)


class AnswerTest(unittest.TestCase):
    def test_sorted(self):
        for message, wanted in (
            ("Upstream proxy x refused HTTP CONNECT request: 403 Forbidden", ("upstream_proxy_refused", 403)),
            ("Upstream proxy x refused HTTP CONNECT request: 407 Auth", ("upstream_proxy_refused", 502)),
            ("Certificate verify failed: hostname mismatch", ("upstream_tls_verify", 502)),
            ("[Errno -2] Name or service not known", ("upstream_dns", 502)),
            ("[Errno 111] Connect call failed ('127.0.0.1', 1)", ("upstream_connect", 502)),
            ("server closed connection", ("upstream_closed", 502)),
            ("what?", ("upstream_error", 502)),
        ):
            self.assertEqual(answer.sort_upstream_error(message), wanted, message)

    def test_braces_in_a_host(self):
        self.assertIn(b"{0.x}", answer.body(403, "host_not_allowed", "d", host="{0.x}"))


if __name__ == "__main__":
    unittest.main()

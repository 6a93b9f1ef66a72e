#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The proxy's HTTP/2 towards clients, held to RFC 9113 and RFC 7541 frame by frame: what must end the
connection, what must end one stream, what must be let be, and that nothing of it reaches a server.

Run: test_server.py [-v]
"""

import os
import ssl
import struct
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "../faults")]

import faults  # noqa: E402
import frames  # noqa: E402
from faults import world  # noqa: E402
from frames import (  # noqa: E402
    ACK, CANCEL, COMPRESSION_ERROR, CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR, GOAWAY, HEADERS, PADDED, PING, PRIORITY, PRIORITY_FLAG,
    PROTOCOL_ERROR, PUSH_PROMISE, REFUSED_STREAM, RST_STREAM, SETTINGS, STREAM_CLOSED, WINDOW_UPDATE,
    block, frame, request, request_block, settings, window,
)  # fmt: skip

POST = END_HEADERS  # the flags of a head whose body is to come
WHOLE = END_HEADERS | END_STREAM
CODE = struct.pack(">I", CANCEL)
# An odd number of bytes of a block, for frames that cut it.
HEAD = request_block()


def setUpModule():
    faults.set_up_world()


def tearDownModule():
    faults.tear_down_world()


# What each client says after its preface and SETTINGS → the codes with which the connection may end.
BREAKS = {
    # 4.1, 4.2: frames
    "a frame above 16 KiB": (frame(DATA, 0, 1, bytes(16385)), {FRAME_SIZE_ERROR}),
    "HEADERS above 16 KiB": (frame(HEADERS, WHOLE, 1, bytes(16385)), {FRAME_SIZE_ERROR}),
    # 4.3: compression is one state for all
    "a block with an index beyond the tables": (frame(HEADERS, WHOLE, 1, b"\xff\x80\x01"), {COMPRESSION_ERROR}),
    "a block with index 0": (frame(HEADERS, WHOLE, 1, b"\x80"), {COMPRESSION_ERROR}),
    "a block that ends in a literal": (frame(HEADERS, WHOLE, 1, b"\x00\x05ab"), {COMPRESSION_ERROR}),
    "a Huffman code with EOS": (frame(HEADERS, WHOLE, 1, b"\x00\x84\xff\xff\xff\xff\x01a"), {COMPRESSION_ERROR}),
    "Huffman padding of zeros": (frame(HEADERS, WHOLE, 1, b"\x00\x81\x18\x01a"), {COMPRESSION_ERROR}),
    "Huffman padding above 7 bits": (frame(HEADERS, WHOLE, 1, b"\x00\x82\x1f\xff\x01a"), {COMPRESSION_ERROR}),
    "an integer without an end": (frame(HEADERS, WHOLE, 1, b"\x3f" + b"\xff" * 12), {COMPRESSION_ERROR}),
    "a table size above ours": (frame(HEADERS, WHOLE, 1, b"\x3f\xe2\x1f" + HEAD), {COMPRESSION_ERROR}),
    "a table size behind a field": (frame(HEADERS, WHOLE, 1, HEAD + b"\x20"), {COMPRESSION_ERROR}),
    # 5.1: the states of a stream
    "DATA of an idle stream": (frame(DATA, 0, 1, b"x"), {PROTOCOL_ERROR}),
    "RST_STREAM of an idle stream": (frame(RST_STREAM, 0, 1, CODE), {PROTOCOL_ERROR}),
    "WINDOW_UPDATE of an idle stream": (window(1, 1), {PROTOCOL_ERROR}),
    "CONTINUATION of an idle stream": (frame(CONTINUATION, END_HEADERS, 1, HEAD), {PROTOCOL_ERROR}),
    "DATA of an ended stream": (request() + frame(DATA, 0, 1, b"x"), {STREAM_CLOSED}),
    "HEADERS of an ended stream": (request() + request(), {STREAM_CLOSED}),
    "DATA behind its RST_STREAM": (
        request(flags=POST, method="POST") + frame(RST_STREAM, 0, 1, CODE) + frame(DATA, 0, 1, b"x"), {STREAM_CLOSED}),
    "HEADERS behind its RST_STREAM": (
        request(flags=POST, method="POST") + frame(RST_STREAM, 0, 1, CODE) + request(), {STREAM_CLOSED}),
    # 5.1.1: identifiers
    "a stream of an even number": (request(2), {PROTOCOL_ERROR}),
    "a stream that was passed over": (request(5) + request(3), {PROTOCOL_ERROR}),
    "a request on no stream": (request(0), {PROTOCOL_ERROR}),
    # 6.1, 6.2: DATA, HEADERS
    "DATA on no stream": (frame(DATA, 0, 0, b"x"), {PROTOCOL_ERROR}),
    "padding longer than DATA": (
        request(flags=POST, method="POST") + frame(DATA, PADDED | END_STREAM, 1, b"\x05abcd"), {PROTOCOL_ERROR}),
    "padding longer than HEADERS": (frame(HEADERS, WHOLE | PADDED, 1, b"\xff" + HEAD), {PROTOCOL_ERROR}),
    "padded DATA of nothing": (
        request(flags=POST, method="POST") + frame(DATA, PADDED, 1), {PROTOCOL_ERROR, FRAME_SIZE_ERROR}),
    "HEADERS without room for its priority": (
        frame(HEADERS, WHOLE | PRIORITY_FLAG, 1, b"\0\0"), {FRAME_SIZE_ERROR, PROTOCOL_ERROR}),
    # 6.3, 6.4: PRIORITY, RST_STREAM
    "PRIORITY of no stream": (frame(PRIORITY, 0, 0, bytes(5)), {PROTOCOL_ERROR}),
    "PRIORITY of 4 bytes": (frame(PRIORITY, 0, 1, bytes(4)), {FRAME_SIZE_ERROR}),
    "RST_STREAM of no stream": (frame(RST_STREAM, 0, 0, CODE), {PROTOCOL_ERROR}),
    "RST_STREAM of 3 bytes": (request(flags=POST) + frame(RST_STREAM, 0, 1, CODE[:3]), {FRAME_SIZE_ERROR}),
    # 6.5: SETTINGS
    "SETTINGS of a stream": (frame(SETTINGS, 0, 1), {PROTOCOL_ERROR}),
    "an acknowledgement with content": (frame(SETTINGS, ACK, 0, bytes(6)), {FRAME_SIZE_ERROR}),
    "SETTINGS of 5 bytes": (frame(SETTINGS, 0, 0, bytes(5)), {FRAME_SIZE_ERROR}),
    "ENABLE_PUSH of 2": (settings((2, 2)), {PROTOCOL_ERROR}),
    "INITIAL_WINDOW_SIZE above 2^31-1": (settings((4, 1 << 31)), {FLOW_CONTROL_ERROR}),
    "MAX_FRAME_SIZE below 16 KiB": (settings((5, 16383)), {PROTOCOL_ERROR}),
    "MAX_FRAME_SIZE above 2^24-1": (settings((5, 1 << 24)), {PROTOCOL_ERROR}),
    "NO_RFC7540_PRIORITIES of 2": (settings((9, 2)), {PROTOCOL_ERROR}),
    # 6.6: PUSH_PROMISE
    "PUSH_PROMISE of a client": (request(flags=POST) + frame(PUSH_PROMISE, END_HEADERS, 1, b"\0\0\0\2" + HEAD), {PROTOCOL_ERROR}),
    # 6.7, 6.8: PING, GOAWAY
    "PING of 7 bytes": (frame(PING, 0, 0, bytes(7)), {FRAME_SIZE_ERROR}),
    "PING of a stream": (frame(PING, 0, 1, bytes(8)), {PROTOCOL_ERROR}),
    "GOAWAY of a stream": (frame(GOAWAY, 0, 1, bytes(8)), {PROTOCOL_ERROR}),
    "GOAWAY of 7 bytes": (frame(GOAWAY, 0, 0, bytes(7)), {FRAME_SIZE_ERROR}),
    # 6.9: windows
    "WINDOW_UPDATE of 0": (window(0, 0), {PROTOCOL_ERROR}),
    "WINDOW_UPDATE of 3 bytes": (frame(WINDOW_UPDATE, 0, 0, bytes(3)), {FRAME_SIZE_ERROR}),
    "a window above 2^31-1": (window(0, (1 << 31) - 1), {FLOW_CONTROL_ERROR}),
    # 6.10: a block is in one piece
    "CONTINUATION on no stream": (frame(HEADERS, 0, 1, HEAD[:9]) + frame(CONTINUATION, 4, 0, HEAD[9:]), {PROTOCOL_ERROR}),
    "CONTINUATION of another stream": (frame(HEADERS, 0, 1, HEAD[:9]) + frame(CONTINUATION, 4, 3, HEAD[9:]), {PROTOCOL_ERROR}),
    "CONTINUATION behind the end": (request() + frame(CONTINUATION, END_HEADERS, 1, b""), {PROTOCOL_ERROR}),
    "DATA in a block": (frame(HEADERS, 0, 1, HEAD[:9]) + frame(DATA, 0, 1, b"x"), {PROTOCOL_ERROR}),
    "PING in a block": (frame(HEADERS, 0, 1, HEAD[:9]) + frame(PING, 0, 0, bytes(8)), {PROTOCOL_ERROR}),
    "an unknown frame in a block": (frame(HEADERS, 0, 1, HEAD[:9]) + frame(0x55, 0, 1, b"x"), {PROTOCOL_ERROR}),
    "another request in a block": (frame(HEADERS, 0, 1, HEAD[:9]) + request(3), {PROTOCOL_ERROR}),
    # 10.5: floods
    "resets without an end": (
        b"".join(request(n) + frame(RST_STREAM, 0, n, CODE) for n in range(1, 2201, 2)), {ENHANCE_YOUR_CALM}),
    "CONTINUATION without an end": (
        frame(HEADERS, 0, 1, HEAD) + frame(CONTINUATION, 0, 1, b"") * 1000, {ENHANCE_YOUR_CALM}),
    "PING without an end": (frame(PING, 0, 0, bytes(8)) * 10100, {ENHANCE_YOUR_CALM}),
    "SETTINGS without an end": (settings() * 10100, {ENHANCE_YOUR_CALM, None}),  # nghttp2 says nothing more
    "PRIORITY without an end": (frame(PRIORITY, 0, 1, bytes(5)) * 10100, {ENHANCE_YOUR_CALM}),
    "empty DATA without an end": (
        request(flags=POST, method="POST") + frame(DATA, 0, 1) * 10100, {ENHANCE_YOUR_CALM}),
    "unknown frames without an end": (frame(0x77, 0, 0, b"x") * 10100, {ENHANCE_YOUR_CALM}),
    "a field list without an end": (
        frame(HEADERS, 0, 1, request_block(more=[("x", "y" * 15000)]))
        + frame(CONTINUATION, 0, 1, block(("x", "y" * 16000))) * 8, {ENHANCE_YOUR_CALM}),
}  # fmt: skip

# Heads and bodies that are malformed (8.1.1): answered with 400 or reset, and never sent on.
MALFORMED = {
    "a name in upper case": [(":method", "GET"), (":scheme", "https"), (":authority", "tls.test"), (":path", "/ok"), ("X-A", "b")],
    "an unknown pseudo-field": [(":method", "GET"), (":scheme", "https"), (":authority", "tls.test"), (":path", "/ok"), (":x", "b")],
    "a pseudo-field of answers": [(":method", "GET"), (":scheme", "https"), (":authority", "tls.test"), (":path", "/ok"), (":status", "200")],
    "a pseudo-field behind a field": [(":method", "GET"), (":scheme", "https"), ("x-a", "b"), (":authority", "tls.test"), (":path", "/ok")],
    "no :method": [(":scheme", "https"), (":authority", "tls.test"), (":path", "/ok")],
    "no :scheme": [(":method", "GET"), (":authority", "tls.test"), (":path", "/ok")],
    "no :path": [(":method", "GET"), (":scheme", "https"), (":authority", "tls.test")],
    "no :authority and no host": [(":method", "GET"), (":scheme", "https"), (":path", "/ok")],
    "an empty :path": [(":method", "GET"), (":scheme", "https"), (":authority", "tls.test"), (":path", "")],
    "two of :method": [(":method", "GET"), (":method", "GET"), (":scheme", "https"), (":authority", "tls.test"), (":path", "/ok")],
    "two of :path": [(":method", "GET"), (":scheme", "https"), (":authority", "tls.test"), (":path", "/ok"), (":path", "/ok")],
    "connection": [(":method", "GET"), (":scheme", "https"), (":authority", "tls.test"), (":path", "/ok"), ("connection", "x")],
    "keep-alive": [(":method", "GET"), (":scheme", "https"), (":authority", "tls.test"), (":path", "/ok"), ("keep-alive", "x")],
    "proxy-connection": [(":method", "GET"), (":scheme", "https"), (":authority", "tls.test"), (":path", "/ok"), ("proxy-connection", "x")],
    "transfer-encoding": [(":method", "GET"), (":scheme", "https"), (":authority", "tls.test"), (":path", "/ok"), ("transfer-encoding", "chunked")],
    "upgrade": [(":method", "GET"), (":scheme", "https"), (":authority", "tls.test"), (":path", "/ok"), ("upgrade", "websocket")],
    "te of more than trailers": [(":method", "GET"), (":scheme", "https"), (":authority", "tls.test"), (":path", "/ok"), ("te", "trailers, gzip")],
    "a value that ends in a space": [(":method", "GET"), (":scheme", "https"), (":authority", "tls.test"), (":path", "/ok"), ("x-a", "b ")],
    "a CR in a value": [(":method", "GET"), (":scheme", "https"), (":authority", "tls.test"), (":path", "/ok"), ("x-a", "b\rc")],
    "an empty name": [(":method", "GET"), (":scheme", "https"), (":authority", "tls.test"), (":path", "/ok"), ("", "b")],
    "two lengths": [(":method", "GET"), (":scheme", "https"), (":authority", "tls.test"), (":path", "/ok"), ("content-length", "1"), ("content-length", "2")],
    "a length, and no body": [(":method", "POST"), (":scheme", "https"), (":authority", "tls.test"), (":path", "/ok"), ("content-length", "5")],
}  # fmt: skip


class ServerTest(faults.FaultTest):
    def peer(self):
        context = ssl.create_default_context(cafile=self.proxy.ca_file)
        context.set_alpn_protocols(["h2"])
        sock = self.tunnel("tls.test", context=context)
        self.addCleanup(sock.close)
        self.assertEqual(sock.selected_alpn_protocol(), "h2")
        return frames.Peer(sock).start()

    def goes_on(self, peer, stream):
        """The connection serves as if nothing had been."""
        peer.send(request(stream))
        self.assertEqual((peer.status(stream), peer.body(stream)), (200, b"ok"))


class BreakTest(ServerTest):
    def test_what_ends_the_connection(self):
        for name, (data, codes) in BREAKS.items():
            with self.subTest(name):
                faults.TLS.heads.clear()
                peer = self.peer()
                peer.send(data)
                self.assertIn(peer.goaway(), codes)
                self.assertTrue(peer.at_end(), "the connection stayed open")
                self.assertIn("bad_http2", [line.get("reason") for line in self.lines(1)])
                for head in faults.TLS.heads:
                    self.assertTrue(head.startswith(b"GET /ok HTTP/1.1\r\n") or b"POST /ok" in head, head)
        self.goes_on(self.peer(), 1)

    def test_bytes_that_are_no_preface(self):
        for data in (b"GET /ok HTTP/1.1\r\nHost: tls.test\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\r" + settings(),
                     frames.PREFACE + frame(PING, 0, 0, bytes(8))):  # fmt: skip
            with self.subTest(data=data[:30]):
                context = ssl.create_default_context(cafile=self.proxy.ca_file)
                context.set_alpn_protocols(["h2"])
                with self.tunnel("tls.test", context=context) as sock:
                    peer = frames.Peer(sock)
                    peer.send(data)
                    self.assertTrue(peer.at_end())
        self.assertEqual(faults.TLS.heads, [])

    def test_what_is_malformed(self):
        for name, fields in MALFORMED.items():
            with self.subTest(name):
                peer = self.peer()
                peer.send(frame(HEADERS, WHOLE, 1, block(*fields)))
                self.assertIn(peer.status(), (400, None))
                self.assertEqual(faults.TLS.heads, [], "it reached a server")
                self.assertIn("deny", [line.get("verdict") for line in self.lines(1)])

    def test_bodies_and_trailers_that_are_malformed(self):
        def post(*more):
            return request(flags=POST, method="POST", more=more)

        length = ("content-length", "5")
        for name, data in {
            "longer": post(length) + frame(DATA, END_STREAM, 1, b"123456"),
            "shorter": post(length) + frame(DATA, END_STREAM, 1, b"1234"),
            "trailers that do not end it": post() + frame(DATA, 0, 1, b"x") + frame(HEADERS, 4, 1, block(("x", "y"))),
            "a pseudo-field in trailers": post() + frame(HEADERS, WHOLE, 1, block((":method", "GET"))),
            "shorter, with trailers": post(length) + frame(DATA, 0, 1, b"1") + frame(HEADERS, WHOLE, 1, block(("x", "y"))),
        }.items():  # fmt: skip
            with self.subTest(name):
                faults.TLS.heads.clear()
                faults.TLS.serve = faults.read_to_end  # it must not be told that the body is whole
                peer = self.peer()
                peer.send(data)
                self.assertEqual(peer.goaway(), PROTOCOL_ERROR)
                self.assertIn("bad_http2", [line.get("reason") for line in self.lines(1)])


class StreamTest(ServerTest):
    """What ends one stream, or nothing at all."""

    def test_a_stream_ends_alone(self):
        upload = request(flags=POST, method="POST")
        for name, data, code in (
            ("WINDOW_UPDATE of 0", upload + window(1, 0), PROTOCOL_ERROR),
            ("a window above 2^31-1", upload + window(1, (1 << 31) - 1), FLOW_CONTROL_ERROR),
            # Of the connection, says 6.9.2; nghttp2 resets those that it concerns.
            ("the same by SETTINGS", upload + window(1, (1 << 31) - 1 - 65535) + settings((4, 70000)), FLOW_CONTROL_ERROR),
        ):
            with self.subTest(name):
                peer = self.peer()
                peer.send(data)
                # RFC 9113, 6.9: of a stream, or of the connection where the frame alone is wrong.
                self.assertIn(code, (peer.reset(), peer.frames[-1].__dict__.get("error_code")))

    def test_what_is_let_be(self):
        for name, data in {
            "an unknown frame": frame(0x42, 0xFF, 0, b"whatever"),
            "an unknown frame of a stream": frame(0x42, 0, 9, b""),
            "an unknown setting": settings((0x5A5A, 7)),
            "unknown flags of PING": frame(PING, 0xFE, 0, bytes(8)),
            "PRIORITY of an idle stream": frame(PRIORITY, 0, 101, struct.pack(">IB", 3, 16)),
            "GREASE in SETTINGS, and then others": settings((0x0A0A, 1), (1, 0), (3, 1000), (6, 99)),
            "a PING that nobody asked for": frame(PING, ACK, 0, bytes(8)),
            "the reserved bit": frame(PING, 0, 1 << 31, bytes(8)),
            "a smaller table": settings((1, 0)) + settings((1, 4096)),
        }.items():
            with self.subTest(name):
                peer = self.peer()
                peer.send(data)
                self.assertTrue(peer.is_alive())
                self.goes_on(peer, 1)

    def test_the_forms_of_a_head(self):
        cut = [HEAD[:1], HEAD[1:20], b"", HEAD[20:]]
        whole = {
            "padded": frame(HEADERS, WHOLE | PADDED, 1, b"\x07" + HEAD + bytes(7)),
            "with a priority": frame(HEADERS, WHOLE | PRIORITY_FLAG, 1, struct.pack(">IB", 0, 255) + HEAD),
            "padded, with a priority": frame(HEADERS, WHOLE | PADDED | PRIORITY_FLAG, 1, b"\x01" + bytes(5) + HEAD + b"\0"),
            "in pieces": frame(HEADERS, END_STREAM, 1, cut[0]) + frame(CONTINUATION, 0, 1, cut[1])
            + frame(CONTINUATION, 0, 1, cut[2]) + frame(CONTINUATION, END_HEADERS, 1, cut[3]),
            "with a smaller table first": frame(HEADERS, WHOLE, 1, b"\x20\x3f\xe1\x1f" + HEAD),
            "ended by empty DATA": request(flags=POST) + frame(DATA, END_STREAM, 1),
            "ended by padded DATA": request(flags=POST) + frame(DATA, END_STREAM | PADDED, 1, b"\x03\0\0\0"),
            "ended by trailers": request(flags=POST) + frame(HEADERS, WHOLE, 1, block(("x-t", "1"))),
        }  # fmt: skip
        for name, data in whole.items():
            with self.subTest(name):
                peer = self.peer()
                peer.send(data)
                self.assertEqual((peer.status(), peer.body()), (200, b"ok"))
                self.goes_on(peer, 3)

    def test_the_longest_head_of_an_answer(self):
        """Of 64 KiB by HTTP/1: it counts for more as a list of HTTP/2, and still arrives."""
        def serve(conn):
            faults.TLS.take_head(conn)
            head = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n"
            head += b"".join(b"x-%03d: v\r\n" % i for i in range(190)) + b"x-pad: "
            conn.sendall(head + b"p" * (65535 - len(head) - 4) + b"\r\n\r\n")

        faults.TLS.serve = serve
        peer = self.peer()
        peer.send(request(path="/ok"))
        self.assertEqual(peer.status(1), 200)
        self.assertGreater(len(peer.frames[-1].fields["x-pad"]), 60000)
        faults.TLS.serve = faults.TLS.answer_ok
        self.goes_on(peer, 3)

    def test_a_byte_at_a_time(self):
        peer = self.peer()
        for byte in request():
            peer.send(bytes([byte]))
        self.assertEqual((peer.status(), peer.body()), (200, b"ok"))

    def test_more_streams_than_were_offered(self):
        faults.TLS.serve = lambda conn: faults.read_to_end(conn)  # none is answered
        peer = self.peer()
        peer.send(b"".join(request(n) for n in range(1, 2 * 101 + 1, 2)))
        self.assertEqual(peer.reset(2 * 101 - 1), REFUSED_STREAM)
        self.assertTrue(peer.is_alive())

    def test_windows_are_kept(self):
        """Of 100 bytes no more go out than the client has room for; more room, more bytes."""
        def serve(conn):
            faults.TLS.take_head(conn)
            conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\nConnection: close\r\n\r\n" + b"x" * 100)

        faults.TLS.serve = serve
        peer = self.peer()
        peer.send(settings((4, 10)) + request())
        self.assertEqual(peer.status(), 200)
        self.assertIsNone(peer.until(lambda f: "END_STREAM" in f.flags, 0.5))
        self.assertEqual(self.received(peer), 10)
        peer.send(settings((4, 25)))
        self.assertIsNone(peer.until(lambda f: "END_STREAM" in f.flags, 0.5))
        self.assertEqual(self.received(peer), 25)
        peer.send(window(1, 75))
        self.assertEqual(peer.body(), b"x" * 100)

    @staticmethod
    def received(peer):
        return sum(len(f.data) for f in peer.frames if hasattr(f, "flow_controlled_length"))

    def test_a_reset_leaves_the_others(self):
        peer = self.peer()
        peer.send(request(1, flags=POST, method="POST") + frame(RST_STREAM, 0, 1, CODE))
        self.goes_on(peer, 3)

    def test_what_comes_late_for_a_stream_that_was_reset_here(self):
        """Its sender could not know: RFC 9113, 5.1, `closed`."""
        peer = self.peer()
        peer.send(request(1, flags=POST, method="POST", path="/no"))
        self.assertEqual(peer.status(1), 403)
        for _ in range(100):
            peer.send(frame(DATA, 0, 1, bytes(16384)))  # beyond what is thrown away, and then some
        self.assertTrue(peer.is_alive())
        self.goes_on(peer, 3)


if __name__ == "__main__":
    world.enter_namespaces()
    unittest.main()

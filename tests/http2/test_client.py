#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The proxy as a client of HTTP/2 servers that break the rules: the client behind it gets a 502, or an answer
that is visibly cut, never a part as the whole; the next request is served by a new connection.

Run: test_client.py [-v]
"""

import json
import os
import socket
import ssl
import struct
import sys
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "../faults")]

import faults  # noqa: E402
import frames  # noqa: E402
from faults import world  # noqa: E402
from frames import (  # noqa: E402
    CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, INTERNAL_ERROR, PADDED, PING,
    PRIORITY, PROTOCOL_ERROR, PUSH_PROMISE, REFUSED_STREAM, RST_STREAM, SETTINGS,
    block, frame, settings, window,
)  # fmt: skip

WHOLE = END_HEADERS | END_STREAM
HOST = "h2.test:9443"


def setUpModule():
    faults.set_up_world()


def tearDownModule():
    faults.tear_down_world()


def head(*more, status="200", flags=END_HEADERS, stream=1):
    return frame(HEADERS, flags, stream, block((":status", status), *more))


def data(payload, flags=END_STREAM, stream=1):
    return frame(DATA, flags, stream, payload)


def reset(code, stream=1):
    return frame(RST_STREAM, 0, stream, struct.pack(">I", code))


OK = head(("content-length", "2")) + data(b"ok")

# Instead of an answer's head: 502.
NO_ANSWER = {
    "GOAWAY with an error": frame(GOAWAY, 0, 0, struct.pack(">II", 0, PROTOCOL_ERROR)),
    "RST_STREAM": reset(INTERNAL_ERROR),
    "RST_STREAM without an error": reset(0),
    "an end before a head": frame(HEADERS, WHOLE, 1, b""),
    "no :status": frame(HEADERS, WHOLE, 1, block(("x-a", "b"))),
    "two of :status": frame(HEADERS, WHOLE, 1, block((":status", "200"), (":status", "200"))),
    "a :status of letters": head(status="abc", flags=WHOLE),
    "a :status of two digits": head(status="20", flags=WHOLE),
    "a :status of four digits": head(status="2000", flags=WHOLE),
    "101": head(status="101", flags=WHOLE),
    "a pseudo-field of requests": frame(HEADERS, WHOLE, 1, block((":status", "200"), (":path", "/"))),
    ":status behind a field": frame(HEADERS, WHOLE, 1, block(("x-a", "b"), (":status", "200"))),
    "a name in upper case": head(("X-A", "b"), flags=WHOLE),
    "a name with a colon": head(("x:a", "b"), flags=WHOLE),
    "a CR and LF in a value": head(("x-a", "b\r\nset-cookie: c"), flags=WHOLE),
    "a NUL in a value": head(("x-a", "b\0"), flags=WHOLE),
    "connection": head(("connection", "close"), flags=WHOLE),
    "transfer-encoding": head(("transfer-encoding", "chunked"), flags=WHOLE),
    "two lengths": head(("content-length", "1"), ("content-length", "2")),
    "a negative length": head(("content-length", "-1")),
    "a hint that ends the stream": head(status="103", flags=WHOLE),
    "DATA before a head": data(b"ok"),
    "a hint too many": head(status="103") * 33 + OK,
    "hints without an end": head(status="103") * 20000,
    "PUSH_PROMISE": frame(PUSH_PROMISE, END_HEADERS, 1, struct.pack(">I", 2) + block((":method", "GET"))) + OK,
    "a stream of its own": head(stream=2) + OK,
    "DATA of an idle stream": data(b"x", stream=3) + OK,
    "a frame above 16 KiB": frame(DATA, 0, 1, bytes(16385)) + OK,
    "an index beyond the tables": frame(HEADERS, WHOLE, 1, b"\xff\x80\x01"),
    "CONTINUATION without an end": frame(HEADERS, 0, 1, block((":status", "200")))
    + frame(CONTINUATION, 0, 1, b"") * 1000,
    "a head that is cut short": frame(HEADERS, 0, 1, block((":status", "200"))) + data(b"x"),
    "WINDOW_UPDATE of 0": window(0, 0) + OK,
    "a window above 2^31-1": window(0, (1 << 31) - 1) + OK,
    "SETTINGS of 5 bytes": frame(SETTINGS, 0, 0, bytes(5)) + OK,
    "ENABLE_PUSH of a server": settings((2, 1)) + OK,
    "MAX_FRAME_SIZE of 1": settings((5, 1)) + OK,
    "PING of 7 bytes": frame(PING, 0, 0, bytes(7)) + OK,
    "PING without an end": frame(PING, 0, 0, bytes(8)) * 10100,
    "bytes of HTTP/1": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" * 10,
    "nothing": b"",
}  # fmt: skip

# Of these, what ends the connection as the server's fault.
NAMED = ("CONTINUATION without an end", "bytes of HTTP/1", "SETTINGS of 5 bytes", "MAX_FRAME_SIZE of 1")

# Behind an answer's head, and some of its body: visibly cut.
CUT = {
    "RST_STREAM": head() + data(b"part", 0) + reset(INTERNAL_ERROR),
    "GOAWAY that counts it not": head() + data(b"part", 0) + frame(GOAWAY, 0, 0, struct.pack(">II", 0, 0)),
    "the end of the connection": head() + data(b"part", 0),
    "a body longer than its length": head(("content-length", "2")) + data(b"more"),
    "a body shorter than its length": head(("content-length", "9")) + data(b"less"),
    "padding longer than DATA": head() + data(b"part", 0) + frame(DATA, PADDED | END_STREAM, 1, b"\x09ab"),
    "more than the window": head() + data(bytes(16384), 0) * 9 + data(b""),
    "trailers that do not end it": head() + data(b"part", 0) + frame(HEADERS, END_HEADERS, 1, block(("x", "y"))),
    "a pseudo-field in trailers": head() + data(b"part", 0)
    + frame(HEADERS, WHOLE, 1, block((":status", "200"))),
    "a second head": head() + data(b"part", 0) + head(flags=WHOLE),
    "empty DATA without an end": head() + data(b"part", 0) + data(b"", 0) * 10100,
    "a broken block in trailers": head() + data(b"part", 0) + frame(HEADERS, WHOLE, 1, b"\xff\x80\x01"),
}  # fmt: skip

# Odd and legal.
FINE = {
    "an answer": OK,
    "hints before it": head(("link", "</a>"), status="103") + OK,
    "as many as may be": head(status="103") * 32 + OK,
    "padding": head() + frame(DATA, PADDED | END_STREAM, 1, b"\x03ok\0\0\0"),
    "unknown frames between": head() + frame(0x42, 0, 1, b"x") + frame(0x43, 0, 0, b"") + data(b"ok"),
    "an unknown setting": settings((0x5A5A, 1)) + OK,
    "PRIORITY of its stream": frame(PRIORITY, 0, 1, bytes(5)) + OK,
    "empty DATA at the end": head() + data(b"ok", 0) + data(b""),
    "trailers": head() + data(b"ok", 0) + frame(HEADERS, WHOLE, 1, block(("x-t", "1"))),
    "GOAWAY that counts it": head() + frame(GOAWAY, 0, 0, struct.pack(">II", 1, 0)) + data(b"ok"),
    "a head in pieces": frame(HEADERS, 0, 1, block((":status", "200"))) + frame(CONTINUATION, 0, 1, b"")
    + frame(CONTINUATION, END_HEADERS, 1, block(("x-a", "b"))) + data(b"ok"),
    "an end before the request's": OK + reset(0),
}  # fmt: skip


class ClientTest(faults.FaultTest):
    def client(self):
        context = ssl.create_default_context(cafile=self.proxy.ca_file)
        context.set_alpn_protocols(["h2"])
        sock = self.tunnel("h2.test", 9443, context)
        self.addCleanup(sock.close)
        return frames.Peer(sock).start()

    def serve(self, serve):
        """Of this test, and its connections end with it: none stays in the pool for the next."""
        def served(conn):
            self.conns.append(conn)
            serve(conn)

        self.conns = []
        faults.H2.serve = served

    def end_servers(self):
        for conn in self.conns:
            try:
                conn.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # it ended by itself

    def answer_to(self, answer, ends=True):
        """→ (status, body; None: cut) for a client where the server says `answer` to the first request"""
        self.streams = []

        def serve(conn):
            peer = frames.Peer(conn, is_server=True)
            peer.send(settings())
            got = peer.until(lambda f: type(f).__name__ == "HeadersFrame")
            self.streams.append(got.fields)
            peer.send(answer)
            if ends:
                peer.sock = conn.unwrap()
            peer.until(lambda f: False)

        self.serve(serve)
        peer = self.client()
        peer.send(frames.request(host=HOST))
        got = peer.status(), peer.body()
        self.end_servers()
        return got

    def test_no_answer(self):
        for name, answer in NO_ANSWER.items():
            with self.subTest(name):
                status, body = self.answer_to(answer)
                self.assertEqual(status, 502)
                self.assertIn(json.loads(body)["reason"], ("upstream_closed", "upstream_protocol"))
                if name in NAMED:
                    self.assertEqual(json.loads(body)["reason"], "upstream_protocol")
                self.assertEqual(self.streams[0]["authorization"], f"Bearer {faults.TOKEN}")
                self.assertEqual(self.lines(1)[-1]["verdict"], "error")
        self.assertEqual(self.answer_to(OK, ends=False), (200, b"ok"))

    def test_a_part_is_not_the_whole(self):
        for name, answer in CUT.items():
            with self.subTest(name):
                status, body = self.answer_to(answer)
                self.assertTrue(status == 502 or body is None, (status, body))
                self.assertEqual(self.lines(1)[-1]["verdict"], "error")
        self.assertEqual(self.answer_to(OK, ends=False), (200, b"ok"))

    def test_what_is_let_be(self):
        for name, answer in FINE.items():
            with self.subTest(name):
                self.assertEqual(self.answer_to(answer, ends=False), (200, b"ok"))
                self.assertEqual(self.lines(1)[-1]["verdict"], "allow")

    def test_a_refused_stream_is_sent_once_more(self):
        status, _ = self.answer_to(reset(REFUSED_STREAM), ends=False)
        self.assertEqual(status, 502)
        self.assertEqual(len(self.streams), 2)

    def test_a_server_of_one_stream_at_a_time(self):
        """Requests beyond what it allows wait, or go by connections of their own."""
        def serve(conn):
            peer = frames.Peer(conn, is_server=True)
            peer.send(settings((3, 1)))
            while got := peer.until(lambda f: type(f).__name__ == "HeadersFrame"):
                peer.send(head(("content-length", "2"), stream=got.stream_id) + data(b"ok", stream=got.stream_id))

        self.serve(serve)
        self.addCleanup(self.end_servers)
        peer = self.client()
        numbers = range(1, 61, 2)
        peer.send(b"".join(frames.request(n, host=HOST) for n in numbers))
        for n in numbers:
            self.assertEqual(peer.status_seen(n), 200)

    @unittest.skipUnless(faults.LONG, "takes 310 s; BOTTLE_FAULTS_LONG=1")
    def test_a_stream_that_stalls_beside_one_that_does_not(self):
        """Its deadline is its own: it ends after 300 s, and the other goes on."""
        def serve(conn):
            peer = frames.Peer(conn, is_server=True)
            peer.send(settings())
            heads = [peer.until(lambda f: type(f).__name__ == "HeadersFrame") for _ in range(2)]
            busy = next(got.stream_id for got in heads if got.fields[":path"] == "/busy")
            peer.send(head(stream=1) + head(stream=3) + data(b"part", 0, 4 - busy))
            while not peer.ended:
                peer.send(data(b".", 0, busy))
                peer.until(lambda f: False, 5)

        self.serve(serve)
        self.addCleanup(self.end_servers)
        peer = self.client()
        peer.send(frames.request(1, host=HOST, path="/stalled") + frames.request(3, host=HOST, path="/busy"))
        self.assertEqual((peer.status_seen(1), peer.status_seen(3)), (200, 200))
        started = time.monotonic()
        ended = peer.until(lambda f: f.stream_id in (1, 3) and frames.is_reset(f), 330)
        self.assertEqual(ended.stream_id, 1)
        self.assertTrue(295 < time.monotonic() - started < 320, time.monotonic() - started)
        self.assertTrue(peer.until(lambda f: f.stream_id == 3, 10), "the busy one goes on")

    def test_the_window_of_a_server(self):
        """An upload waits for room, and takes no more than there is."""
        pieces = []

        def serve(conn):
            peer = frames.Peer(conn, is_server=True)
            peer.send(settings((4, 10)))
            while sum(pieces) < 100:
                piece = peer.until(lambda f: type(f).__name__ == "DataFrame")
                pieces.append(len(piece.data))
                peer.send(window(1, len(piece.data)) + window(0, len(piece.data)))
            peer.send(OK)
            peer.until(lambda f: False)

        self.serve(serve)
        self.addCleanup(self.end_servers)
        peer = self.client()
        peer.send(frames.request(flags=END_HEADERS, method="POST", host=HOST) + data(b"x" * 100))
        self.assertEqual((peer.status(), peer.body()), (200, b"ok"))
        # What went before the SETTINGS were there may be more; no piece after it is.
        self.assertEqual(sum(pieces), 100)
        self.assertLessEqual(max(pieces[1:] or [0]), 10)


if __name__ == "__main__":
    world.enter_namespaces()
    unittest.main()

#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A server that breaks off, stalls, or speaks nonsense: the client is never told that a part is the
whole, the proxy goes on, and each request has its line.

Run: test_upstream.py [-v]
"""

import random
import socket
import time
import unittest

import faults
from faults import FaultTest, end_by_reset, is_whole, read_to_end, reason_of, status_of, world

LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\nX-A: b\r\n\r\nhello, world"
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n7;x=y\r\n, world\r\n0\r\nX-T: 1\r\n\r\n"
)
HINT = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
GARBAGE = {
    "nothing of HTTP": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "zero bytes": bytes(64) + b"\r\n\r\n",
    "a TLS alert": b"\x15\x03\x01\x00\x02\x02\x28",
    "HTTP/0.9": b"<html>hello</html>",
    "HTTP/2's preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "another version": b"HTTP/3.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    "a status of two digits": b"HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n",
    "a status of four digits": b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n",
    "a negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    "a length beyond 64 bits": b"HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551617\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "a length and chunks": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a field without a colon": b"HTTP/1.1 200 OK\r\nContent-Length 0\r\n\r\n",
    "a space before the colon": b"HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n",
    "a NUL in a value": b"HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n",
    "a bare CR in a value": b"HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 0\r\n\r\n",
    "a coding that nobody knows": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "a head without an end": b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20000,
    "a line without an end": b"HTTP/1.1 200 " + b"x" * 100000,
    "a hint too many": HINT * 33 + LENGTH,
    "hints without an end": HINT * 20000,
}
ANSWERS_KNOWN = {"HTTP/0.9", "a TLS alert"}  # shorter than a head: the end of the connection decides
BAD_CHUNKS = [b"zz\r\n", b"-1\r\n", b"5 \r\nhello\r\n", b"5\nhello\r\n", b"5\r\nhelloX", b"0x5\r\nhello\r\n",
              b"\r\n", b"FFFFFFFFFFFFFFFFF\r\n", b"5;" + b"x" * 70000]  # fmt: skip


def setUpModule():
    faults.set_up_world()


def tearDownModule():
    faults.tear_down_world()


def send_and_end(data, end):
    def serve(conn):
        faults.PLAIN.take_head(conn)
        conn.sendall(data)
        end(conn)

    return serve


def finish(conn):
    """A FIN and no more; what is unread goes, so that no reset comes of it."""
    conn.shutdown(socket.SHUT_WR)
    read_to_end(conn)


class CutTest(FaultTest):
    """The server ends at each byte of its answer."""

    def cut_everywhere(self, whole, end):
        head_end = whole.index(b"\r\n\r\n") + 4
        for count in range(len(whole)):
            faults.PLAIN.serve = send_and_end(whole[:count], end)
            answer = self.ask_plain()
            with self.subTest(count=count):
                if count < head_end:
                    self.assertEqual(status_of(answer), 502, answer)
                    self.assertEqual(reason_of(answer), "upstream_closed")
                else:
                    # A reset may overtake the head.
                    self.assertIn(status_of(answer), (200, 502) if end is end_by_reset else (200,))
                    self.assertFalse(status_of(answer) == 200 and is_whole(answer), answer)
        lines = self.lines(len(whole))
        self.assertEqual(len(lines), len(whole))
        self.assertEqual({line["reason"] for line in lines}, {"upstream_closed"})
        self.serves()
        self.lines(1)

    def test_length_fin(self):
        self.cut_everywhere(LENGTH, finish)

    def test_length_reset(self):
        self.cut_everywhere(LENGTH, end_by_reset)

    def test_chunked_fin(self):
        self.cut_everywhere(CHUNKED, finish)

    def test_chunked_reset(self):
        self.cut_everywhere(CHUNKED, end_by_reset)

    def test_nothing_is_left_open(self):
        self.serves()
        before = self.descriptors()
        for count in range(0, len(CHUNKED), 7):
            faults.PLAIN.serve = send_and_end(CHUNKED[:count], end_by_reset)
            self.ask_plain()
        self.assert_descriptors(before)

    def test_within_tls(self):
        """A FIN without close_notify does not end an answer that only the end of the connection ends."""
        body = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil closed"

        def serve_cut(conn):
            faults.TLS.take_head(conn)
            conn.sendall(body)
            socket.socket(fileno=conn.detach()).close()

        faults.TLS.serve = serve_cut
        self.ask(faults.tls_request(), self.tunnel("tls.test"))
        line = self.lines(1)[0]
        self.assertEqual((line["verdict"], line["reason"]), ("error", "upstream_closed"))


class GarbageTest(FaultTest):
    def test_no_answer(self):
        for name, data in GARBAGE.items():
            with self.subTest(name):
                faults.PLAIN.serve = send_and_end(data, finish)
                answer = self.ask_plain()
                self.assertEqual(status_of(answer), 502, answer[:200])
                known = ("upstream_closed", "upstream_protocol") if name in ANSWERS_KNOWN else ("upstream_protocol",)
                self.assertIn(reason_of(answer), known)
        self.assertEqual(len(self.lines(len(GARBAGE))), len(GARBAGE))
        self.serves()

    def test_some_hints(self):
        faults.PLAIN.serve = send_and_end(HINT * 32 + LENGTH, finish)
        self.assertEqual(status_of(self.ask_plain()), 200)

    def test_100_without_an_end(self):
        """The client that waits for it gets one."""
        request = b"POST http://plain.test/ok HTTP/1.1\r\nHost: plain.test\r\nContent-Length: 1\r\n"
        for count, last in ((32, b"HTTP/1.1 200 "), (20000, b"HTTP/1.1 502 ")):
            faults.PLAIN.serve = send_and_end(b"HTTP/1.1 100 Continue\r\n\r\n" * count + LENGTH, finish)
            answer = self.ask(request + b"Expect: 100-continue\r\nConnection: close\r\n\r\n")
            with self.subTest(count=count):
                self.assertEqual(answer.count(b"HTTP/1.1 100 "), 1)
                self.assertIn(last, answer)

    def test_an_answer_instead_of_100(self):
        """The client need not send the body now: nothing else can follow on the connection."""
        request = b"POST http://plain.test/ok HTTP/1.1\r\nHost: plain.test\r\nContent-Length: 12\r\n"
        faults.PLAIN.serve = send_and_end(LENGTH, finish)
        answer = self.ask(request + b"Expect: 100-continue\r\n\r\n")
        self.assertIn(b"\r\nConnection: close\r\n", answer)
        self.assertTrue(is_whole(answer), answer)

    def test_the_length_of_a_204(self):
        for status, says in ((b"204", False), (b"304", True)):
            faults.PLAIN.serve = send_and_end(b"HTTP/1.1 " + status + b" A\r\nContent-Length: 5\r\n\r\n", finish)
            answer = self.ask_plain()
            self.assertEqual(status_of(answer), int(status))
            self.assertEqual(b"\r\nContent-Length: 5\r\n" in answer, says, answer)

    def test_bad_chunks(self):
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        for data in BAD_CHUNKS:
            with self.subTest(data=data[:20]):
                faults.PLAIN.serve = send_and_end(head + data + b"\r\n0\r\n\r\n", finish)
                answer = self.ask_plain()
                self.assertFalse(status_of(answer) == 200 and is_whole(answer), answer[:200])
        self.assertEqual(len(self.lines(len(BAD_CHUNKS))), len(BAD_CHUNKS))
        self.serves()

    def test_noise(self):
        """Answers with some bytes changed, the same in each run: whole, or visibly not."""
        rng = random.Random(1)
        count = 2000 if faults.LONG else 300
        for _ in range(count):
            data = bytearray(rng.choice((LENGTH, CHUNKED)))
            for _ in range(rng.randint(1, 4)):
                data[rng.randrange(len(data))] = rng.choice(b"\r\n\0 :;0123456789aZ\xff\x80")
            faults.PLAIN.serve = send_and_end(bytes(data), finish)
            answer = self.ask_plain()
            self.assertIn(status_of(answer) // 100, (1, 2, 3, 4, 5, 6, 7, 8, 9), (bytes(data), answer))
        self.assertEqual(len(self.lines(count)), count)
        self.serves()

    def test_more_than_was_said(self):
        """What follows an answer that nobody asked for is not the next answer."""
        def serve(conn):
            while faults.PLAIN.take_head(conn):
                conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
                             b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")  # fmt: skip

        faults.PLAIN.serve = serve
        for _ in range(5):
            answer = self.ask_plain()
            self.assertTrue(answer.endswith(b"ok"), answer)
        self.assertEqual(len(self.lines(5)), 5)


class StallTest(FaultTest):
    def test_others_go_on(self):
        """A hundred servers say nothing, a hundred stop in the middle of a body."""
        def silent(conn):
            faults.PLAIN.take_head(conn)
            read_to_end(conn)

        def half(conn):
            faults.PLAIN.take_head(conn)
            conn.sendall(LENGTH[:-5])
            read_to_end(conn)

        self.serves()
        before = self.descriptors()
        waiting = []
        for serve in (silent, half):
            faults.PLAIN.serve = serve
            for _ in range(100):
                waiting.append(self.connect())
                waiting[-1].sendall(faults.plain_request())
            deadline = time.monotonic() + faults.PATIENCE
            while len(faults.PLAIN.heads) < len(waiting) and time.monotonic() < deadline:
                time.sleep(0.01)
        faults.PLAIN.serve = faults.PLAIN.answer_ok
        started = time.monotonic()
        self.serves()
        self.assertLess(time.monotonic() - started, 2)
        used = self.cpu_seconds()
        time.sleep(0.5)
        self.assertLess(self.cpu_seconds() - used, 0.1, "it does not spin")
        self.lines()
        # A FIN alone may be a client that still listens.
        for sock in waiting:
            end_by_reset(sock)
        self.assertEqual({line["reason"] for line in self.lines(len(waiting))}, {"client_closed"})
        self.assert_descriptors(before + 2)


class ChainTest(FaultTest):
    """The second proxy answers CONNECT: as little to be believed as a server."""

    environment = {"HTTPS_PROXY": "http://127.0.0.1:80"}

    def ask_by(self, data):
        """→ what the agent gets where the second proxy answers its tunnel so"""
        faults.PLAIN.serve = send_and_end(data, finish)
        with self.tunnel("tls.test") as sock:
            sock.sendall(faults.tls_request())
            return read_to_end(sock)

    def test_no_answer(self):
        body_only = {"two lengths", "a length and chunks", "a coding that nobody knows"}
        for name, data in GARBAGE.items():
            with self.subTest(name):
                answer = self.ask_by(data)
                self.assertEqual(status_of(answer), 502, answer[:200])
                self.assertIn(reason_of(answer), ("upstream_closed", "upstream_protocol"))
                if name not in ANSWERS_KNOWN | body_only:
                    self.assertEqual(reason_of(answer), "upstream_protocol")
        self.assertEqual(len(self.lines(len(GARBAGE))), len(GARBAGE))

    def test_some_hints(self):
        """As many as a server may send: then a tunnel, in which nobody speaks TLS."""
        answer = self.ask_by(HINT * 32 + b"HTTP/1.1 200 OK\r\n\r\n")
        self.assertEqual((status_of(answer), reason_of(answer)), (502, "upstream_tls"), answer)
        answer = self.ask_by(HINT * 33 + b"HTTP/1.1 200 OK\r\n\r\n")
        self.assertEqual((status_of(answer), reason_of(answer)), (502, "upstream_protocol"), answer)

    def test_a_refusal(self):
        """A 403 is the second proxy's own word and goes to the agent; any other is a failure."""
        for status in (301, 407, 500):
            answer = self.ask_by(b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n" % status)
            self.assertEqual((status_of(answer), reason_of(answer)), (502, "upstream_proxy_refused"), answer)
        answer = self.ask_by(b"HTTP/1.1 403 No\r\nContent-Length: 4\r\n\r\nscan")
        self.assertEqual((status_of(answer), answer[-8:]), (403, b"\r\n\r\nscan"), answer)
        self.assertEqual({line["reason"] for line in self.lines(4)}, {"upstream_proxy_refused"})

    def test_bytes_before_the_tls(self):
        answer = self.ask_by(b"HTTP/1.1 200 OK\r\n\r\n" + LENGTH)
        self.assertEqual((status_of(answer), reason_of(answer)), (502, "upstream_protocol"), answer)
        self.assertFalse(faults.TLS.heads)

    def test_no_token_goes_to_it(self):
        self.ask_by(b"HTTP/1.1 200 OK\r\n\r\n")
        self.assertTrue(faults.PLAIN.heads)
        self.assertFalse([head for head in faults.PLAIN.heads if faults.TOKEN.encode() in head])


if __name__ == "__main__":
    world.enter_namespaces()
    unittest.main()

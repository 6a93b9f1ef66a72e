#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Clients that go, at every byte of what they say, or hardly say anything: each is forgotten, none holds
up another, and what was not a whole request never reaches a server.

Run: test_clients.py [-v]
"""

import socket
import ssl
import threading
import time
import unittest

import faults
from faults import FaultTest, end_by_reset, read_head, read_to_end, world

CONNECT = b"CONNECT tls.test:443 HTTP/1.1\r\nHost: tls.test:443\r\n\r\n"
STEP = 1 if faults.LONG else 7  # of the places within a TLS flight


def setUpModule():
    faults.set_up_world()


def tearDownModule():
    faults.tear_down_world()


class Flights:
    """TLS in memory, so that a test has each flight's bytes in its hand."""

    def __init__(self, ca_file, sock):
        context = ssl.create_default_context(cafile=ca_file)
        self.sock = sock
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname="tls.test")

    def hello(self):
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            pass
        return self.outgoing.read()

    def finished(self):
        """The client's last flight, once the server's was read."""
        while True:
            self.incoming.write(self.sock.recv(65536))
            try:
                self.tls.do_handshake()
                return self.outgoing.read()
            except ssl.SSLWantReadError:
                pass

    def request(self):
        self.tls.write(faults.tls_request())
        return self.outgoing.read()


class VanishTest(FaultTest):
    def vanish_everywhere(self, data, end, step=1, reach=None):
        """`reach(sock)` → the bytes to be cut, where they depend on the connection."""
        before = self.descriptors()
        for count in range(0, len(data), step):
            sock = self.connect()
            part = reach(sock) if reach else data
            sock.sendall(part[:count])
            end(sock)
        self.serves()
        self.assert_descriptors(before + 2)
        self.assertEqual(len(faults.PLAIN.heads), 1, "part of a request reached a server")
        self.assertEqual(faults.TLS.heads, [], "part of a request reached a server")

    def test_in_a_plain_head(self):
        for end in (socket.socket.close, end_by_reset):
            faults.PLAIN.heads.clear()
            self.vanish_everywhere(faults.plain_request(), end)

    def test_in_a_connect(self):
        for end in (socket.socket.close, end_by_reset):
            faults.PLAIN.heads.clear()
            self.vanish_everywhere(CONNECT, end)

    def test_in_each_flight_of_tls(self):
        lengths = {}

        def reach(stage):
            def bytes_of(sock):
                sock.sendall(CONNECT)
                read_head(sock)
                flights = Flights(self.proxy.ca_file, sock)
                data = flights.hello()
                if stage != "hello":
                    sock.sendall(data)
                    data = flights.finished()
                if stage == "request":
                    sock.sendall(data)
                    data = flights.request()
                return data

            return bytes_of

        for stage in ("hello", "finished", "request"):
            with self.connect() as sock:
                lengths[stage] = len(reach(stage)(sock))
            for end in (socket.socket.close, end_by_reset):
                faults.PLAIN.heads.clear()
                self.vanish_everywhere(bytes(lengths[stage]), end, STEP, reach(stage))

    def test_in_an_upload(self):
        """The server sees that it is not whole."""
        before = self.descriptors()
        head = b"POST http://plain.test/ok HTTP/1.1\r\nHost: plain.test\r\n"
        bodies = (b"Content-Length: 10\r\n\r\n0123456789",
                  b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n5\r\nworld\r\n0\r\n\r\n")  # fmt: skip
        seen = []

        def serve(conn):
            data = faults.PLAIN.take_head(conn)
            seen.append(data + read_to_end(conn))

        faults.PLAIN.serve = serve
        total = 0
        for body in bodies:
            start = body.index(b"\r\n\r\n") + 4
            for count in range(start, len(body)):
                sock = self.connect()
                sock.sendall(head + body[:count])
                end_by_reset(sock) if count % 2 else sock.close()
                total += 1
        self.lines(total)
        self.assert_descriptors(before)
        for data in seen:
            begun, _, arrived = data.partition(b"\r\n\r\n")
            is_chunked = b"chunked" in begun
            self.assertFalse(arrived.endswith(b"0\r\n\r\n") if is_chunked else len(arrived) == 10, data)
        self.serves()

    def test_in_an_upload_within_tls(self):
        """A FIN without close_notify, and close_notify itself, in the middle of it: it is not whole."""
        head = b"POST /ok HTTP/1.1\r\nHost: tls.test\r\n"
        bodies = (b"Content-Length: 10\r\n\r\n0123456", b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        seen = []

        def serve(conn):
            data = faults.TLS.take_head(conn)
            begun.release()
            seen.append(data + read_to_end(conn))
            ended.release()

        def cut(sock):
            socket.socket(fileno=sock.detach()).close()

        def notify(sock):
            try:
                sock.unwrap()
            except OSError:
                pass  # it has an answer for us

        begun, ended = threading.Semaphore(0), threading.Semaphore(0)
        faults.TLS.serve = serve
        for body in bodies:
            for end in (cut, notify):
                sock = self.tunnel("tls.test")
                sock.sendall(head + body)
                self.assertTrue(begun.acquire(timeout=faults.PATIENCE))
                end(sock)
                self.assertTrue(ended.acquire(timeout=faults.PATIENCE))
                sock.close()
        lines = self.lines(4)
        self.assertEqual(len(lines), 4)
        self.assertNotIn("allow", {line["verdict"] for line in lines})
        for data in seen:
            self.assertFalse(data.endswith((b"0\r\n\r\n", b"0123456789")), data)

    def test_in_an_upload_that_waits(self):
        """The server takes nothing: a reset is noticed though there is no room to read it."""
        held = threading.Event()
        self.addCleanup(held.set)

        def serve(conn):
            faults.PLAIN.take_head(conn)
            held.wait(4 * faults.PATIENCE)

        head = b"POST http://plain.test/ok HTTP/1.1\r\nHost: plain.test\r\nContent-Length: 100000000\r\n\r\n"
        before = self.descriptors()
        faults.PLAIN.serve = serve
        sock = self.connect()
        sock.settimeout(1)
        with self.assertRaises(TimeoutError):
            sock.sendall(head + bytes(100000000))
        end_by_reset(sock)
        self.assertEqual([line["reason"] for line in self.lines(1)], ["client_closed"])
        self.assert_descriptors(before)

    def test_in_a_download(self):
        def serve(conn):
            faults.PLAIN.take_head(conn)
            conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n" + bytes(10000000))

        before = self.descriptors()
        faults.PLAIN.serve = serve
        for count in (1, 100, 100000, 5000000):
            sock = self.connect()
            sock.sendall(faults.plain_request())
            got = 0
            while got < count:
                got += len(sock.recv(65536))
            end_by_reset(sock)
        self.assertEqual({line["reason"] for line in self.lines(4)}, {"client_closed"})
        self.assert_descriptors(before)
        self.serves()


class DeafTest(FaultTest):
    """Clients that say all they have before they listen get a refusal like others."""

    def upload(self, sock, host):
        """→ the answer to a refused upload of 100 MB"""
        length = 100 * 1000 * 1000
        place = f"http://{host}" if host == "plain.test" else ""
        with sock:
            sock.sendall(f"POST {place}/no HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n\r\n".encode())
            for _ in range(length // 1000000):
                sock.sendall(bytes(1000000))
            return read_to_end(sock)

    def test_a_refused_upload(self):
        self.ask(faults.tls_request(), self.tunnel("tls.test"))
        memory = self.rss_kb()
        for sock, host in ((self.connect(), "plain.test"), (self.tunnel("tls.test"), "tls.test")):
            self.assertEqual(faults.status_of(self.upload(sock, host)), 403)
        self.assertLess(self.rss_kb() - memory, 2048)
        self.serves()


class SlowTest(FaultTest):
    def test_many_that_hardly_speak(self):
        """300 clients in the middle of a head, a CONNECT, a ClientHello: the others do not notice."""
        self.serves()
        before, memory = self.descriptors(), self.rss_kb()
        slow = []
        for part in (b"GET http://plain.test/ok HTTP/1.1\r\nHo", CONNECT[:20], CONNECT + b"\x16\x03\x01\x02"):
            for _ in range(100):
                slow.append(self.connect())
                slow[-1].sendall(part)
        for _ in range(10):
            started = time.monotonic()
            self.serves()
            self.assertLess(time.monotonic() - started, 1)
            for sock in slow[:100]:
                sock.sendall(b"x")
        used = self.cpu_seconds()
        time.sleep(0.5)
        self.assertLess(self.cpu_seconds() - used, 0.1, "it does not spin")
        self.assertLess(self.rss_kb() - memory, 300 * 24, "24 kB for each")
        for sock in slow:
            sock.close()
        self.assert_descriptors(before + 2)

    @unittest.skipUnless(faults.LONG, "takes 40 s; BOTTLE_FAULTS_LONG=1")
    def test_they_are_ended(self):
        """A head has 30 s, a handshake 10, whether or not a byte comes now and then."""
        head = b"GET http://plain.test/ok HTTP/1.1\r\nX: "
        hello = Flights(self.proxy.ca_file, None).hello()
        for part, drops, limit in ((head, b"x" * 60, 30), (CONNECT + hello[:4], hello[4:64], 10)):
            sock = self.connect()
            sock.sendall(part)
            started = time.monotonic()
            sock.settimeout(1)
            for i in range(limit + 10):
                try:
                    while sock.recv(65536):
                        pass
                    break
                except TimeoutError:
                    sock.sendall(drops[i : i + 1])
                except OSError:
                    break
            self.assertLess(abs(time.monotonic() - started - limit), 5)
            sock.close()


if __name__ == "__main__":
    world.enter_namespaces()
    unittest.main()

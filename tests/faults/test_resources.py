#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Too few descriptors, no memory, and very many requests: the proxy goes on, and keeps nothing.

Run: test_resources.py [-v]
"""

import json
import os
import signal
import socket
import struct
import tempfile
import threading
import time
import unittest

import faults
from faults import FaultTest, end_by_reset, read_head, status_of, world

MANY = 100000 if faults.LONG else 5000
FLAT_KB = 1024


def setUpModule():
    faults.set_up_world()


def tearDownModule():
    faults.tear_down_world()


class ManyTest(FaultTest):
    def rounds(self, count):
        """Requests of each kind, in turns: kept alive, denied, with a body, cut off."""
        kept = self.connect()
        for number in range(count // 4):
            if number % 50 == 0:
                kept.close()
                kept = self.connect()
            kept.sendall(b"GET http://plain.test/ok HTTP/1.1\r\nHost: plain.test\r\n\r\n")
            self.read_answer(kept)
            self.assertEqual(status_of(self.ask_plain("/no")), 403)
            self.ask(b"POST http://plain.test/ok HTTP/1.1\r\nHost: plain.test\r\nConnection: close\r\n"
                     b"Content-Length: 4\r\n\r\nbody")  # fmt: skip
            gone = self.connect()
            gone.sendall(faults.plain_request())
            end_by_reset(gone)
        kept.close()

    def read_answer(self, sock):
        data = read_head(sock)
        while not data.endswith(b"ok"):
            piece = sock.recv(100)
            self.assertTrue(piece, data)
            data += piece

    def test_nothing_grows(self):
        self.rounds(800)
        self.lines(600)
        time.sleep(0.5)
        self.lines()
        memory, descriptors = self.rss_kb(), self.descriptors()
        self.rounds(MANY)
        self.assert_descriptors(descriptors)
        self.assertLess(self.rss_kb() - memory, FLAT_KB)
        # One that is reset may be gone before its bytes are looked at; each other has one line.
        count = len(self.lines(MANY * 3 // 4))
        self.assertLessEqual(MANY * 3 // 4, count)
        self.assertLessEqual(count, MANY)
        self.serves()


class DescriptorTest(FaultTest):
    prefix = ("prlimit", "--nofile=64:64")

    def test_more_clients_than_descriptors(self):
        """They wait in the backlog; who is in is served; nothing spins; and all is well afterwards."""
        self.serves()
        before = self.descriptors()
        clients = [self.connect() for _ in range(150)]
        time.sleep(0.3)
        used = self.cpu_seconds()
        time.sleep(1)
        self.assertLess(self.cpu_seconds() - used, 0.2)
        for sock in clients:
            sock.close()
        self.assert_descriptors(before + 2)
        self.serves()

    def test_none_left_for_the_server(self):
        """Each client that is in asks: those for whose server there is no descriptor are told."""
        clients = [self.connect() for _ in range(40)]
        for sock in clients:
            sock.sendall(faults.plain_request())
        statuses = [status_of(faults.read_to_end(sock)) for sock in clients]
        self.assertLessEqual(set(statuses), {200, 502, 0})
        self.assertIn(200, statuses)
        for sock in clients:
            sock.close()
        self.serves()


class SignerTest(unittest.TestCase):
    def test_lost_with_a_request_under_way(self):
        """The proxy ends, and the request has its line."""
        with tempfile.TemporaryDirectory() as folder:
            proxy = world.Proxy(folder, faults.DATA, program=world.native(FaultTest.path), trust=faults.folder())
            came = threading.Event()

            def serve(conn):
                read_head(conn)
                came.set()
                faults.read_to_end(conn)

            faults.PLAIN.serve = serve
            with socket.create_connection(("127.0.0.1", proxy.port)) as sock:
                sock.sendall(faults.plain_request())
                self.assertTrue(came.wait(faults.PATIENCE))
                with open(f"/proc/{proxy.process.pid}/task/{proxy.process.pid}/children", encoding="ascii") as file:
                    os.kill(int(file.read()), signal.SIGKILL)
                self.assertEqual(proxy.process.wait(faults.PATIENCE), 1)
            with open(proxy.audit_path, encoding="utf-8") as file:
                self.assertEqual([json.loads(line)["reason"] for line in file], ["proxy_ended"])


class MemoryTest(FaultTest):
    path = os.path.join(faults.BUILD, "faults/egress-proxy")

    @classmethod
    def setUpClass(cls):
        cls.switch_path = f"{faults.folder()}/fail"
        cls.environment = {"BOTTLE_FAIL_FILE": cls.switch_path}
        cls.set_failing(0)
        super().setUpClass()

    @classmethod
    def set_failing(cls, every):
        fd = os.open(cls.switch_path, os.O_RDWR | os.O_CREAT, 0o600)
        os.pwrite(fd, struct.pack("I", every), 0)
        os.close(fd)

    def tearDown(self):
        self.set_failing(0)

    def attempts(self):
        """→ status of each kind of request; 0 where it came to none"""
        yield self.attempt(self.ask_plain)
        yield self.attempt(lambda: self.ask_plain("/no"))
        yield self.attempt(lambda: self.ask(faults.tls_request(), self.tunnel("tls.test")))
        yield self.attempt(lambda: self.ask(faults.tls_request(path="/no"), self.tunnel("tls.test")))

    def attempt(self, ask):
        try:
            return status_of(ask())
        except (OSError, AssertionError, ValueError):
            return 0  # closed, or the tunnel was refused

    def test_each_nth_call_fails(self):
        self.assertEqual(list(self.attempts()), [200, 403, 200, 403])
        self.lines(4)
        memory, descriptors = self.rss_kb(), self.descriptors()
        sequence = range(1, 400) if faults.LONG else (*range(1, 30), *range(31, 400, 16))
        failed = 0
        for every in sequence:
            self.set_failing(every)
            plain, plain_denied, tls, tls_denied = self.attempts()
            with self.subTest(every=every):
                self.assertIn(plain, (0, 200, 502))
                self.assertIn(tls, (0, 200, 502))
                self.assertIn(plain_denied, (0, 403, 502))
                self.assertIn(tls_denied, (0, 403, 502))
                self.assertIsNone(self.proxy.process.poll(), "it ended")
            failed += (plain, tls) != (200, 200)
        self.assertGreater(failed, 10, "the allocator did not fail where it matters")
        self.set_failing(0)
        for server in (faults.PLAIN, faults.TLS):
            for head in server.heads:
                self.assertTrue(head.startswith(b"GET /ok "), "a request that was not allowed went out")
        for head in faults.TLS.heads:
            self.assertIn(faults.TOKEN.encode(), head, "a request went out without its credential")
        self.assertEqual(list(self.attempts()), [200, 403, 200, 403])
        self.assert_descriptors(descriptors + 4)
        self.assertLess(self.rss_kb() - memory, 2 * FLAT_KB)


if __name__ == "__main__":
    world.enter_namespaces()
    unittest.main()

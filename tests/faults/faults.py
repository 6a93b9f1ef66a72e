# SPDX-License-Identifier: Apache-2.0
"""What the tests of this folder share: the native proxy in a world of its own, servers that answer as
a test says, and the judgement that nothing was lost or left.

Runs in: the test's own namespaces (tests/conformance/world.py). The proxy is bin/egress-proxy of
BOTTLE_TEST_BUILD, or of build/release; BOTTLE_FAULTS_LONG=1 also runs what takes minutes.
"""

import json
import os
import socket
import ssl
import struct
import sys
import tempfile
import threading
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(HERE, "../conformance"))

import world  # noqa: E402

BUILD = os.environ.get("BOTTLE_TEST_BUILD", os.path.join(HERE, "../../build/release"))
LONG = bool(os.environ.get("BOTTLE_FAULTS_LONG"))
TOKEN = "tok-fault-0123456789"
DATA = {
    "tokens": {"EGRESS_PROXY_TOKEN_0": TOKEN},
    "routes": [
        {"host": "plain.test", "ports": [80], "path_allowlist": ["/ok"]},
        {"host": "tls.test", "ports": [443], "path_allowlist": ["/ok"], "auth_scheme": "Bearer",
         "auth_header": "authorization", "token_env": "EGRESS_PROXY_TOKEN_0"},
        {"host": "h2.test", "ports": [9443], "auth_scheme": "Bearer", "auth_header": "authorization",
         "token_env": "EGRESS_PROXY_TOKEN_0"},
        {"host": "*.bad.test", "ports": [443, 8443], "auth_scheme": "Bearer",
         "auth_header": "authorization", "token_env": "EGRESS_PROXY_TOKEN_0"},
    ],
}  # fmt: skip
PATIENCE = 15.0


def end_by_reset(conn):
    conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    conn.close()


def read_head(conn):
    """→ the bytes up to the end of a head and what came with it, or less where the peer ended"""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = conn.recv(65536)
        if not piece:
            break
        data += piece
    return data


class Server:
    """Listens; each connection is `serve(conn)`'s in a thread of its own. `heads` is what arrived."""

    def __init__(self, port, context=None):
        self.context = context
        self.serve = self.answer_ok
        self.heads = []
        self.listener = socket.create_server(("127.0.0.1", port), backlog=512)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            conn, _ = self.listener.accept()
            threading.Thread(target=self._one, args=(conn,), daemon=True).start()

    def _one(self, conn):
        try:
            conn.settimeout(60)
            if self.context:
                conn = self.context.wrap_socket(conn, server_side=True)
            self.serve(conn)
        except (OSError, ValueError):
            pass
        finally:
            conn.close()

    def take_head(self, conn):
        head = read_head(conn)
        if head:
            self.heads.append(head)
        return head

    def answer_ok(self, conn):
        """Once: a connection that the proxy kept would go on as it began."""
        self.take_head(conn)
        conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")


class FaultTest(unittest.TestCase):
    """A proxy for each class; a test leaves it as it found it."""

    prefix = ()
    path = os.path.join(BUILD, "bin/egress-proxy")
    environment = {}

    @classmethod
    def setUpClass(cls):
        cls.holder = tempfile.TemporaryDirectory()
        cls.proxy = world.Proxy(cls.holder.name, DATA, cls.environment, prefix=cls.prefix,
                                program=world.native(cls.path), trust=folder())  # fmt: skip
        cls.audit = open(cls.proxy.audit_path, "rb")
        cls.pid = cls.proxy.process.pid

    @classmethod
    def tearDownClass(cls):
        alive = cls.proxy.process.poll()
        if alive is None:
            cls.proxy.process.terminate()
            cls.proxy.process.wait(20)  # what is under way may take ten to end
        cls.audit.close()
        with open(cls.proxy.error_path, encoding="utf-8", errors="replace") as file:
            said = file.read()
        cls.holder.cleanup()
        if alive is not None or said:
            raise AssertionError(f"the proxy ended with {alive} and said {said!r}")

    def setUp(self):
        PLAIN.serve, TLS.serve, H2.serve = PLAIN.answer_ok, TLS.answer_ok, read_to_end
        PLAIN.heads.clear()
        TLS.heads.clear()
        self.lines()

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.proxy.port), timeout=PATIENCE)

    def tunnel(self, host, port=443, context=None):
        """→ TLS through the proxy"""
        context = context or ssl.create_default_context(cafile=self.proxy.ca_file)
        sock = self.connect()
        try:
            sock.sendall(f"CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
            self.assertIn(b" 200 ", read_head(sock))
            return context.wrap_socket(sock, server_hostname=host)
        except BaseException:
            sock.close()
            raise

    def ask(self, request, sock=None):
        """→ everything that comes back until the proxy ends the connection"""
        with sock or self.connect() as sock:
            sock.sendall(request)
            return read_to_end(sock)

    def ask_plain(self, path="/ok"):
        return self.ask(plain_request(path))

    def lines(self, count=0):
        """The audit lines that were added, `count` at least."""
        found, deadline = [], time.monotonic() + PATIENCE
        while True:
            found += [json.loads(line) for line in self.audit.read().splitlines()]
            if len(found) >= count or time.monotonic() > deadline:
                return found
            time.sleep(0.01)

    def serves(self):
        """It does its work as if nothing had been."""
        PLAIN.serve = PLAIN.answer_ok
        answer = self.ask_plain()
        self.assertTrue(answer.startswith(b"HTTP/1.1 200"), answer)
        self.assertTrue(answer.endswith(b"ok"), answer)

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def assert_descriptors(self, count):
        """So many again, once what is over was closed."""
        deadline = time.monotonic() + PATIENCE
        while self.descriptors() > count and time.monotonic() < deadline:
            time.sleep(0.02)
        self.assertLessEqual(self.descriptors(), count)

    def rss_kb(self):
        with open(f"/proc/{self.pid}/status", encoding="ascii") as file:
            return int(file.read().split("VmRSS:")[1].split()[0])

    def cpu_seconds(self):
        with open(f"/proc/{self.pid}/stat", encoding="ascii") as file:
            fields = file.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def plain_request(path="/ok", fields="Connection: close\r\n"):
    return f"GET http://plain.test{path} HTTP/1.1\r\nHost: plain.test\r\n{fields}\r\n".encode()


def tls_request(host="tls.test", path="/ok"):
    return f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()


def read_to_end(sock):
    data = b""
    try:
        while piece := sock.recv(65536):
            data += piece
    except TimeoutError:
        raise
    except OSError:
        pass  # a reset is an end too
    return data


def status_of(answer):
    return int(answer.split(b" ")[1]) if answer.startswith(b"HTTP/") else 0


def reason_of(answer):
    return json.loads(answer.partition(b"\r\n\r\n")[2])["reason"]


def is_whole(answer):
    """Whether a client would take it for complete."""
    head, end, body = answer.partition(b"\r\n\r\n")
    if not end:
        return False
    lower = head.lower()
    if b"\r\ntransfer-encoding: chunked" in lower:
        return body.endswith(b"0\r\n\r\n")
    at = lower.find(b"\r\ncontent-length: ")
    return at < 0 or len(body) == int(lower[at + 18 :].split(b"\r\n")[0])


def folder():
    return _holder.name


def set_up_world():
    """For setUpModule: names, certificates, the servers: in the clear, TLS, and TLS with HTTP/2."""
    global _holder, PLAIN, TLS, H2
    _holder = tempfile.TemporaryDirectory()
    world.NAMES[:] = ["plain.test", "tls.test", "h2.test", *(f"{name}.bad.test" for name in BAD_NAMES)]
    world.name_hosts(folder())
    world.make_ca(folder(), "outside-ca")
    cert = world.make_leaf(folder(), "outside", "outside-ca", ["tls.test", "h2.test"])
    contexts = [ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) for _ in range(2)]
    for context in contexts:
        context.load_cert_chain(cert)
    contexts[1].set_alpn_protocols(["h2"])
    PLAIN, TLS, H2 = Server(80), Server(443, contexts[0]), Server(9443, contexts[1])


def tear_down_world():
    _holder.cleanup()


_holder = PLAIN = TLS = H2 = None
BAD_NAMES = []

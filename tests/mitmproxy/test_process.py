#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The proxy as a process: start, secrets, reload, end, memory, the upstream proxy.

Makes network namespaces of its own, as the conformance runner does. Run: test_process.py [-v]
"""

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(HERE, "../conformance"))

import world  # noqa: E402
from client import Client, Http1Reader  # noqa: E402
from run import take_recorded  # noqa: E402

with open(os.path.join(HERE, "../conformance/cases.json"), encoding="utf-8") as cases_file:
    DATA = json.load(cases_file)
CONTROL = ("127.0.0.1", world.CONTROL_PORT)
FLAT_KB = 24 * 1024  # that a proxy may grow by while 100 MB pass
BIG = 100 * 1000 * 1000


def setUpModule():
    global folder, recorder, holder
    holder = tempfile.TemporaryDirectory()
    folder = holder.name
    world.name_hosts(folder)
    recorder = world.start_recorder(folder)


def tearDownModule():
    holder.cleanup()


def case(request, **more):
    return {"request": request, "expect": {}, **more}


class ProcessTest(unittest.TestCase):
    def start(self, environment=None, port=9099, data=DATA, prefix=()):
        proxy = world.Proxy(folder, data, environment, port, prefix=prefix)
        self.addCleanup(lambda: proxy.process.poll() is None and proxy.stop())
        proxy.client = Client(("127.0.0.1", port), proxy.ca_file)
        proxy.audit = open(proxy.audit_path, "rb")
        self.addCleanup(proxy.audit.close)
        proxy.audit.seek(0, os.SEEK_END)
        take_recorded(CONTROL)
        return proxy

    def lines(self, proxy, count=1, patience=3.0):
        found, deadline = [], time.monotonic() + patience
        while len(found) < count and time.monotonic() < deadline:
            found += [json.loads(line) for line in proxy.audit.read().splitlines()]
            time.sleep(0.02)
        return found

    def fails_to_start(self, environment, says, data=DATA):
        with self.assertRaises(RuntimeError) as caught:
            world.Proxy(folder, data, environment, 9098)
        self.assertIn(says, str(caught.exception))
        self.assertEqual(str(caught.exception).count("\n"), 1, "one line, no traceback")

    def rss_kb(self, proxy):
        with open(f"/proc/{proxy.process.pid}/status", encoding="ascii") as file:
            return int(file.read().split("VmRSS:")[1].split()[0])


class StartTest(ProcessTest):
    def test_says_ready_when_it_accepts(self):
        proxy = self.start()
        socket.create_connection(("127.0.0.1", 9099)).close()
        print(f"# from exec to READY: {proxy.boot_seconds * 1000:.0f} ms", file=sys.stderr)
        self.assertLess(proxy.boot_seconds, 8)

    def test_one_line_when_it_cannot(self):
        self.fails_to_start({"EGRESS_PROXY_ROUTES": "/nonexistent"}, "No such file")
        self.fails_to_start({"EGRESS_PROXY_CA": "/etc/hosts"}, "CA: no PEM")
        self.fails_to_start({"EGRESS_PROXY_TOKEN_0": "a\nb"}, "EGRESS_PROXY_TOKEN_0 holds")
        self.fails_to_start({"EGRESS_PROXY_EXTRA_CA": "/etc/hosts"}, "no certificate")
        self.fails_to_start({"HTTPS_PROXY": "ftp://x"}, "HTTPS_PROXY")
        bad = {**DATA, "routes": [{"host": "a.test", "ports": [443], "path_allow": ["/"]}]}
        self.fails_to_start({}, "unknown key 'path_allow'", bad)

    def test_a_token_is_named_but_not_said(self):
        with self.assertRaises(RuntimeError) as caught:
            world.Proxy(folder, DATA, {"EGRESS_PROXY_TOKEN_0": "hidden\nX: y"}, 9098)
        self.assertNotIn("hidden", str(caught.exception))

    def test_port_in_use(self):
        self.start()
        self.fails_to_start({"EGRESS_PROXY_PORT": "9099"}, "in use")


class SecretsTest(ProcessTest):
    def test_the_environment_is_wiped(self):
        proxy = self.start()
        with open(f"/proc/{proxy.process.pid}/environ", "rb") as file:
            environ = file.read()
        self.assertIn(b"EGRESS_PROXY_ROUTES=", environ)
        for token in DATA["tokens"].values():
            self.assertNotIn(token.encode(), environ)
        with open(f"/proc/{proxy.process.pid}/cmdline", "rb") as file:
            self.assertNotIn(b"tok-", file.read())

    def test_memory_is_closed_to_the_same_uid(self):
        """Both without capabilities, as in a bottle; `sleep` shows that the attack works where
        nothing is done against it."""
        powerless = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]
        proxy = self.start(prefix=powerless)
        with subprocess.Popen([*powerless, "sleep", "60"]) as other:
            self.addCleanup(other.kill)
            time.sleep(0.3)
            attack = [*powerless, "cat"]
            seen = subprocess.run([*attack, f"/proc/{other.pid}/environ"], capture_output=True)
            other.kill()
        self.assertEqual(seen.returncode, 0, seen.stderr)
        for name in ("environ", "mem", "maps"):
            path = f"/proc/{proxy.process.pid}/{name}"
            refused = subprocess.run([*attack, path], capture_output=True)
            self.assertNotEqual(refused.returncode, 0, name)
            self.assertIn(b"Permission denied", refused.stderr, name)

    def test_session_keys_are_not_logged(self):
        path = f"{folder}/keys"
        proxy = self.start({"SSLKEYLOGFILE": path, "MITMPROXY_SSLKEYLOGFILE": path})
        self.assertEqual(proxy.client.run(case("GET /v1/x")).status, 200)
        self.assertFalse(os.path.exists(path))


class ReloadTest(ProcessTest):
    def test_good_bad_good(self):
        proxy = self.start()
        reach = lambda: proxy.client.run(case("GET /", connect="evil.test:443")).status  # noqa: E731
        self.assertEqual(reach(), 403)
        self.lines(proxy)
        more = DATA["routes"] + [{"host": "evil.test", "ports": [443]}]
        proxy.write_routes(world.render_routes(more))
        proxy.process.send_signal(signal.SIGHUP)
        self.assertEqual(self.lines(proxy)[0]["verdict"], "allow")
        self.assertEqual(reach(), 200)
        self.lines(proxy)
        for bad in ("version: 1\nroutes: []\n", "", "version: 1\nroutes:\n  - host: &a x\n"):
            proxy.write_routes(bad)
            proxy.process.send_signal(signal.SIGHUP)
            line = self.lines(proxy)[0]
            self.assertEqual((line["event"], line["verdict"]), ("reload", "error"))
            self.assertEqual(reach(), 200, "the old table is in force")
            self.lines(proxy)
        os.unlink(proxy.routes_path)
        proxy.process.send_signal(signal.SIGHUP)
        self.assertEqual(self.lines(proxy)[0]["verdict"], "error")
        proxy.write_routes(world.render_routes(DATA["routes"]))
        proxy.process.send_signal(signal.SIGHUP)
        self.lines(proxy)
        self.assertEqual(reach(), 403)

    def test_a_kept_connection_meets_the_new_table(self):
        proxy = self.start()
        with self.tunnel(proxy, "any.test:443") as tls:
            reader = Http1Reader(tls)
            tls.sendall(b"GET /a HTTP/1.1\r\nHost: any.test\r\n\r\n")
            self.assertEqual(reader.answer()[0], 200)
            self.lines(proxy)
            rest = [route for route in DATA["routes"] if route["host"] != "any.test"]
            proxy.write_routes(world.render_routes(rest))
            proxy.process.send_signal(signal.SIGHUP)
            self.lines(proxy)
            tls.sendall(b"GET /b HTTP/1.1\r\nHost: any.test\r\n\r\n")
            self.assertEqual(reader.answer()[0], 403)

    def tunnel(self, proxy, target):
        sock = socket.create_connection(("127.0.0.1", proxy.port), timeout=10)
        sock.sendall(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
        self.assertIn(b" 200 ", sock.recv(4096))
        context = ssl.create_default_context(cafile=proxy.ca_file)
        return context.wrap_socket(sock, server_hostname=target.partition(":")[0])


class EndTest(ProcessTest):
    def test_a_signal_ends_it_at_once(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            proxy = self.start()
            proxy.client.run(case("GET /v1/x"))
            started = time.monotonic()
            proxy.process.send_signal(number)
            self.assertEqual(proxy.process.wait(5), 0)
            took = time.monotonic() - started
            print(f"# from signal to end: {took * 1000:.0f} ms", file=sys.stderr)
            self.assertLess(took, 1)

    def test_what_is_under_way_gets_its_line(self):
        proxy = self.start()
        with socket.create_connection(("127.0.0.1", 9099)) as sock:
            sock.sendall(b"POST http://any.test/p HTTP/1.1\r\nHost: any.test\r\n"
                         b"Content-Length: 10\r\n\r\nhalf")  # fmt: skip
            time.sleep(0.5)
            self.assertEqual(self.lines(proxy, patience=0.1), [])
            proxy.process.terminate()
            proxy.process.wait(5)
            line = self.lines(proxy)[0]
        self.assertEqual((line["reason"], line["bytes_up"]), ("proxy_ended", 4))

    def test_no_log_no_proxy(self):
        read_fd, write_fd = os.pipe()
        proxy = world.Proxy(folder, DATA, audit_fd=write_fd)  # takes the descriptor
        os.close(read_fd)
        Client(("127.0.0.1", 9099), proxy.ca_file).run(case("GET /v1/x"))
        self.assertEqual(proxy.process.wait(5), 74)


class MemoryTest(ProcessTest):
    def upload(self, target, host):
        """→ (status, bytes that could be sent)"""
        sent = 0
        with socket.create_connection(("127.0.0.1", 9099), timeout=30) as sock:
            sock.sendall(f"POST {target} HTTP/1.1\r\nHost: {host}\r\n"
                         f"Content-Length: {BIG}\r\n\r\n".encode())  # fmt: skip
            piece = bytes(1 << 20)
            try:
                while sent < BIG:
                    sock.sendall(piece[: BIG - sent])
                    sent += len(piece[: BIG - sent])
            except OSError:
                pass
            return Http1Reader(sock).answer(patience=30)[0], sent

    def test_a_denied_upload(self):
        proxy = self.start()
        self.upload("http://evil.test/p", "evil.test")
        before = self.rss_kb(proxy)
        for _ in range(3):
            status, _ = self.upload("http://evil.test/p", "evil.test")
            self.assertIn(status, (403, 0))
        self.assertLess(self.rss_kb(proxy) - before, FLAT_KB)
        self.assertEqual(take_recorded(CONTROL), [])

    def test_an_allowed_upload(self):
        proxy = self.start()
        self.upload("http://any.test/p", "any.test")
        before = self.rss_kb(proxy)
        status, sent = self.upload("http://any.test/p", "any.test")
        self.assertEqual((status, sent), (200, BIG))
        self.assertLess(self.rss_kb(proxy) - before, FLAT_KB)
        self.assertEqual(self.lines(proxy, 2)[-1]["bytes_up"], BIG)

    def test_many_requests(self):
        proxy = self.start()
        for _ in range(100):
            proxy.client.run(case("GET http://any.test/p", plain=True, host="any.test"))
        before = self.rss_kb(proxy)
        for _ in range(400):
            proxy.client.run(case("GET http://any.test/p", plain=True, host="any.test"))
        self.assertLess(self.rss_kb(proxy) - before, 4 * 1024)


class CertificateTest(ProcessTest):
    def test_leaves_pass_strict_verifiers(self):
        proxy = self.start()
        with socket.create_connection(("127.0.0.1", 9099), timeout=10) as sock:
            sock.sendall(b"CONNECT api.test:443 HTTP/1.1\r\nHost: api.test:443\r\n\r\n")
            sock.recv(4096)
            context = ssl.create_default_context(cafile=proxy.ca_file)
            context.verify_flags |= ssl.VERIFY_X509_STRICT
            with context.wrap_socket(sock, server_hostname="api.test") as tls:
                leaf = ssl.DER_cert_to_PEM_cert(tls.getpeercert(True))
        path = f"{folder}/leaf.crt"
        with open(path, "w") as file:
            file.write(leaf)
        verify = ["openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-verify_hostname",
                  "api.test", "-CAfile", proxy.ca_file, path]  # fmt: skip
        subprocess.run(verify, check=True, stdout=subprocess.DEVNULL)
        shown = subprocess.run(["openssl", "x509", "-in", path, "-noout", "-text"],
                               check=True, capture_output=True, text=True).stdout  # fmt: skip
        self.assertIn("Authority Key Identifier", shown)
        self.assertIn("CA:FALSE", shown)


class AddressTest(ProcessTest):
    """Without a gate: every name here leads to loopback."""

    def refused(self, proxy, request):
        outcome = proxy.client.run(request)
        self.assertEqual(outcome.status, 502, outcome.answer)
        said = json.loads(outcome.answer)
        self.assertEqual(said["reason"], "upstream_connect")
        self.assertEqual(take_recorded(CONTROL), [])
        return said["detail"]

    def test_private_addresses_are_not_dialled_unless_the_host_may(self):
        proxy = self.start({"EGRESS_PROXY_GATE": "", "EGRESS_PROXY_ALLOW_PRIVATE": "any.test"})
        self.assertEqual(self.refused(proxy, case("GET /v1/x")), "127.0.0.1: private_address (loopback)")
        literal = case("GET http://127.0.0.77/p", plain=True, host="127.0.0.77")
        self.assertIn("127.0.0.77: private_address (loopback)", self.refused(proxy, literal))
        outcome = proxy.client.run(case("GET /", connect="any.test:443"))
        self.assertEqual(outcome.status, 200, outcome.answer)

    def test_a_gate_that_is_none(self):
        self.fails_to_start({"EGRESS_PROXY_GATE": "other"}, "EGRESS_PROXY_GATE is not relay")
        self.fails_to_start({"EGRESS_PROXY_ALLOW_PRIVATE": "a b"}, "EGRESS_PROXY_ALLOW_PRIVATE holds what is no host")

    def test_the_upstream_proxy_is_dialled_wherever_it_stands(self):
        behind = self.start(port=9100, data={**DATA, "routes": [{"host": "any.test", "ports": [443]}]})
        url = "http://127.0.0.1:9100"
        front = self.start({"EGRESS_PROXY_GATE": "", "HTTPS_PROXY": url, "EGRESS_PROXY_UPSTREAM_CA": behind.ca_file})
        outcome = front.client.run(case("GET /", connect="any.test:443"))
        self.assertEqual(outcome.status, 200, outcome.answer)


class UpstreamTest(ProcessTest):
    """The second hop is this proxy once more, with a CA of its own that no store knows."""

    def chain(self, **environment):
        second = [{"host": "any.test", "ports": [80, 443]}, {"host": "api.test", "ports": [443]}]
        behind = self.start(port=9100, data={**DATA, "routes": second})
        url = "http://127.0.0.1:9100"
        front = self.start({
            "HTTPS_PROXY": url, "HTTP_PROXY": url, "NO_PROXY": "localhost,127.0.0.1,push.test,key.test",
            "EGRESS_PROXY_UPSTREAM_CA": behind.ca_file, **environment,
        })  # fmt: skip
        return front, behind

    def test_through_it(self):
        front, behind = self.chain()
        self.assertEqual(front.client.run(case("GET /v1/x")).status, 200)
        self.assertEqual(self.lines(behind)[0]["host"], "api.test")
        head = take_recorded(CONTROL)[0]["head"]
        self.assertNotIn("authorization", head.lower(), "the second hop strips as well")
        plain = case("GET http://any.test/p", plain=True, host="any.test")
        self.assertEqual(front.client.run(plain).status, 200)
        self.assertEqual(self.lines(behind)[0]["path"], "/p")
        with_h2 = case("POST /p", connect="any.test:443", h2={}, body="x")
        self.assertEqual(front.client.run(with_h2).status, 200)

    def test_its_refusal_is_told_and_logged(self):
        front, _ = self.chain()
        outcome = front.client.run(case("GET /p", connect="git.test:443"))
        self.assertEqual(outcome.status, 403)
        line = self.lines(front)[0]
        self.assertEqual((line["verdict"], line["reason"]), ("deny", "upstream_proxy_refused"))

    def test_no_proxy_goes_around_it(self):
        front, behind = self.chain()
        self.assertEqual(front.client.run(case("GET /p", connect="push.test:443")).status, 200)
        self.assertEqual(self.lines(behind, patience=0.3), [])

    def test_its_ca_vouches_for_nothing_else(self):
        front, _ = self.chain()
        forged = world.make_leaf(folder, "forged", "bottle-ca-9100", ["key.test"])
        recorder._contexts["key.test"] = recorder._context("key.test", forged)
        self.addCleanup(recorder._contexts.pop, "key.test")
        outcome = front.client.run(case("GET /p", connect="key.test:443"))
        self.assertEqual(outcome.status, 502)
        self.assertEqual(self.lines(front)[0]["reason"], "upstream_tls_verify")
        self.assertEqual(take_recorded(CONTROL), [])

    def test_without_its_ca(self):
        front, _ = self.chain(EGRESS_PROXY_UPSTREAM_CA="")
        self.assertEqual(front.client.run(case("GET /v1/x")).status, 502)
        self.assertEqual(self.lines(front)[0]["reason"], "upstream_tls_verify")

    def test_its_token(self):
        """The recorder in the place of the proxy: what would a proxy be told?"""
        url = "http://127.0.0.1:80"
        front = self.start({
            "HTTPS_PROXY": url, "HTTP_PROXY": url, "EGRESS_PROXY_UPSTREAM_TOKEN": "EGRESS_PROXY_TOKEN_2",
            "EGRESS_PROXY_UPSTREAM_SCHEME": "Basic",
        })  # fmt: skip
        front.client.run(case("GET http://any.test/p?q", plain=True, host="any.test"))
        head = take_recorded(CONTROL)[0]["head"]
        self.assertTrue(head.startswith("GET http://any.test/p?q HTTP/1.1\r\n"), head)
        self.assertIn("Proxy-Authorization: Basic dXNlcjpzZWNyZXQtcGFzcw==", head)
        front.client.run(case("GET /v1/x"))
        head = take_recorded(CONTROL)[0]["head"]
        self.assertTrue(head.startswith("CONNECT api.test:443 HTTP/1.1\r\n"), head)
        self.assertIn("Proxy-Authorization: Basic dXNlcjpzZWNyZXQtcGFzcw==", head)
        self.assertNotIn("tok-api", head)


if __name__ == "__main__":
    world.enter_namespaces()
    unittest.main()

# SPDX-License-Identifier: Apache-2.0
"""A world of its own for the cases: a network namespace with nothing but loopback, names for every
host in it, certificates, and the recorder behind all of them.

Runs in: the test process, which must already stand in new user, mount and network namespaces
(`enter_namespaces`). Needs: unshare, ip, mount, openssl.
"""

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass

from recorder import Recorder

NAMES = """api.test any.test key.test basic.test bare.test encoded.test word.test slot.test
plainauth.test git.test push.test wild.test x.wild.test x.y.wild.test x.a.wild.test own.wild.test
h2.test badcert.test down.test evil.test xapi.test""".split()
MARK = "BOTTLE_CONFORMANCE_WORLD"
CONTROL_PORT = 7777


def enter_namespaces():
    """Executes this program anew inside; returns there."""
    if os.environ.pop(MARK, None):
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        return
    os.environ[MARK] = "1"
    os.execvp("unshare", ["unshare", "-Urnm", sys.executable, *sys.argv])


def _openssl(*args):
    subprocess.run(["openssl", *args], check=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)  # fmt: skip


def _join(whole, *parts):
    with open(whole, "wb") as file:
        for part in parts:
            with open(part, "rb") as piece:
                file.write(piece.read())


def make_ca(folder, name):
    """→ (certificate, file with key and certificate)"""
    key, cert, both = (f"{folder}/{name}.{end}" for end in ("key", "crt", "pem"))
    _openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key)
    _openssl("req", "-x509", "-new", "-key", key, "-subj", f"/CN={name}", "-days", "3", "-out", cert,
             "-addext", "basicConstraints=critical,CA:TRUE,pathlen:0",
             "-addext", "keyUsage=critical,keyCertSign,cRLSign")  # fmt: skip
    _join(both, key, cert)
    return cert, both


def make_leaf(folder, name, ca, names):
    """→ file with key and certificate, valid for `names`"""
    key, request, cert = (f"{folder}/{name}.{end}" for end in ("key", "csr", "crt"))
    extensions = f"{folder}/{name}.ext"
    with open(extensions, "w") as file:
        file.write("subjectAltName=" + ",".join(f"DNS:{n}" for n in names) + "\n")
    _openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key)
    _openssl("req", "-new", "-key", key, "-subj", f"/CN={name}", "-out", request)
    _openssl("x509", "-req", "-in", request, "-CA", f"{folder}/{ca}.crt", "-CAkey",
             f"{folder}/{ca}.key", "-CAcreateserial", "-days", "2", "-extfile", extensions,
             "-out", cert)  # fmt: skip
    both = f"{folder}/{name}.pem"
    _join(both, key, cert)
    return both


def name_hosts(folder):
    with open(f"{folder}/hosts", "w") as file:
        file.write("127.0.0.1 localhost\n" + "".join(f"127.0.0.1 {name}\n" for name in NAMES))
    with open(f"{folder}/resolv.conf", "w") as file:
        file.write("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
    with open(f"{folder}/nsswitch.conf", "w") as file:
        file.write("hosts: files dns\n")
    for name in ("hosts", "resolv.conf", "nsswitch.conf"):
        subprocess.run(["mount", "--bind", f"{folder}/{name}", f"/etc/{name}"], check=True)


def render_routes(routes):
    """routes.yaml from the routes of cases.json: each value in JSON is the same in YAML."""
    lines = ["version: 1", "routes:"]
    for route in routes:
        lead = "  - "
        for key, value in route.items():
            lines.append(f"{lead}{key}: {json.dumps(value)}")
            lead = "    "
    return "\n".join(lines) + "\n"


def start_recorder(folder):
    make_ca(folder, "outside-ca")
    good = make_leaf(folder, "outside", "outside-ca", NAMES)
    bad = make_leaf(folder, "other", "outside-ca", ["other.test"])
    recorder = Recorder({"": good, "badcert.test": bad, "h2.test": good})
    for port, tls in ((443, True), (8443, True), (80, False)):
        recorder.listen("0.0.0.0", port, tls)
    recorder.control("127.0.0.1", CONTROL_PORT)
    return recorder


@dataclass(frozen=True)
class Program:
    """A proxy that keeps the image's contract. `name`: as in the `not_for` of cases.json."""

    name: str
    path: str


MITMPROXY = Program("mitmproxy", os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                              "../../rootfs/mitmproxy/entrypoint"))  # fmt: skip


def native(path):
    return Program("native", os.path.abspath(path))


class Proxy:
    """One proxy, by default that of rootfs/mitmproxy from the source tree. `audit_fd`: where its log
    goes instead of a file; `prefix`: what executes it; `trust`: the folder of outside-ca.crt, if another."""

    def __init__(self, folder, data, environment=None, port=9099, audit_fd=None, prefix=(),
                 program=MITMPROXY, trust=None):  # fmt: skip
        self.program = program
        self.port = port
        self.audit_path = f"{folder}/audit-{port}.jsonl"
        self.routes_path = f"{folder}/routes-{port}.yaml"
        self.error_path = f"{folder}/stderr-{port}"
        self.ca_file, ca = make_ca(folder, f"bottle-ca-{port}")
        self.write_routes(render_routes(data["routes"]))
        ready, ready_fd = os.pipe()
        audit = audit_fd
        if audit is None:
            audit = os.open(self.audit_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        env = {
            "PATH": os.environ["PATH"],
            "EGRESS_PROXY_ROUTES": self.routes_path,
            "EGRESS_PROXY_CA": ca,
            "EGRESS_PROXY_TRUST_STORE": f"{trust or folder}/outside-ca.crt",
            "EGRESS_PROXY_PORT": str(port),
            "EGRESS_PROXY_AUDIT_FD": str(audit),
            "EGRESS_PROXY_READY_FD": str(ready_fd),
            # The names here lead to loopback, which a proxy without a gate refuses to dial.
            "EGRESS_PROXY_GATE": "relay",
            **data["tokens"],
            **(environment or {}),
        }
        started = time.monotonic()
        with open(self.error_path, "wb") as errors:
            self.process = subprocess.Popen([*prefix, program.path], env=env, stdin=subprocess.DEVNULL,
                                            stdout=errors, stderr=errors,
                                            pass_fds=[audit, ready_fd])  # fmt: skip
        os.close(audit)
        os.close(ready_fd)
        said = os.read(ready, 64)
        os.close(ready)
        self.boot_seconds = time.monotonic() - started
        if said != b"READY=1\n":
            self.process.wait(10)
            with open(self.error_path, encoding="utf-8") as file:
                raise RuntimeError(f"the proxy did not start: {file.read()}")

    def write_routes(self, text):
        with open(self.routes_path, "w") as file:
            file.write(text)

    def stop(self):
        self.process.terminate()
        return self.process.wait(10)

# SPDX-License-Identifier: Apache-2.0
"""The proxies that bench.py compares, each doing the same: bench.test and what lies below it, four path
prefixes, Authorization replaced by a token.

Runs in: bench.py's namespace.
"""

import os
import shutil
import socket
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../../conformance"))

import world  # noqa: E402

PORT = 9099
TOKEN = "bench-token"
PATHS = ["/1k", "/1g", "/auth", "/post"]
ROUTES = [
    {"host": host, "ports": [443], "path_allowlist": PATHS, "auth_scheme": "Bearer",
     "auth_header": "authorization", "token_env": "EGRESS_PROXY_TOKEN_0"}
    for host in ("bench.test", "*.bench.test")
]  # fmt: skip


def fill(template, folder):
    """→ the path of a configuration file with @DIR@ replaced"""
    with open(os.path.join(HERE, template), encoding="ascii") as file:
        text = file.read().replace("@DIR@", folder)
    path = os.path.join(folder, template)
    with open(path, "w", encoding="ascii") as file:
        file.write(text)
    return path


def await_port(port, process):
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.02)
    raise RuntimeError(f"{process.args[:4]} does not listen on {port}")


def descendants(pid):
    """The process and all below it."""
    found = [pid]
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/children", encoding="ascii") as file:
            for child in file.read().split():
                found += descendants(int(child))
    return found


class Peer:
    """One proxy, started and ended; `through`: whether a proxy stands between."""

    through = True

    def __init__(self, name, folder, cpu):
        self.name, self.folder, self.cpu = name, folder, cpu
        self.process = None
        self.prepare()

    def prepare(self):
        """What is there before the first start, not timed."""

    def command(self):
        """→ (argv, environment)"""
        raise NotImplementedError

    def argv(self):
        argv, environment = self.command()
        return ["taskset", "-c", str(self.cpu), "env", "-i",
                *(f"{k}={v}" for k, v in environment.items()), *argv]  # fmt: skip

    def start(self):
        # Its log, which is also the audit log, is begun anew: it does not fill the disk.
        with open(f"{self.folder}/{self.name}.log", "wb") as log:
            self.process = subprocess.Popen(self.argv(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        await_port(PORT, self.process)

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def pids(self):
        return descendants(self.process.pid)

    def memory_kb(self, what="Pss"):
        """Of all its processes; Pss counts a shared page once."""
        total = 0
        for pid in self.pids():
            with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
                total += sum(int(line.split()[1]) for line in file if line.startswith(what + ":"))
        return total


class Contract(Peer):
    """A proxy that keeps the image's contract, with its audit log."""

    program = None

    def prepare(self):
        self.ca, both = world.make_ca(self.folder, f"{self.name}-ca")
        routes = f"{self.folder}/routes.yaml"
        with open(routes, "w", encoding="ascii") as file:
            file.write(world.render_routes(ROUTES))
        self.environment = {
            "PATH": os.environ["PATH"], "EGRESS_PROXY_ROUTES": routes, "EGRESS_PROXY_CA": both,
            "EGRESS_PROXY_TRUST_STORE": f"{self.folder}/trust.crt", "EGRESS_PROXY_PORT": str(PORT),
            "EGRESS_PROXY_TOKEN_0": TOKEN, "EGRESS_PROXY_GATE": "relay",
        }  # fmt: skip

    def command(self):
        return [self.program], self.environment


class Native(Contract):
    @property
    def program(self):
        return os.environ["BENCH_NATIVE"]


class Image(Contract):
    program = world.MITMPROXY.path


class Bare(Peer):
    def prepare(self):
        self.home = f"{self.folder}/mitmproxy"
        os.makedirs(self.home)
        self.ca, both = world.make_ca(self.folder, f"{self.name}-ca")
        shutil.copy(both, f"{self.home}/mitmproxy-ca.pem")

    def command(self):
        options = {
            "confdir": self.home, "listen_host": "127.0.0.1", "listen_port": PORT, "flow_detail": 0,
            "termlog_verbosity": "error", "connection_strategy": "lazy", "upstream_cert": "false",
            "ssl_verify_upstream_trusted_ca": f"{self.folder}/trust.crt",
        }  # fmt: skip
        argv = ["/usr/bin/mitmdump", "-q", "-s", os.path.join(HERE, "bare_addon.py")]
        for name, value in options.items():
            argv += ["--set", f"{name}={value}"]
        return argv, {"PATH": os.environ["PATH"], "HOME": self.home, "PYTHONDONTWRITEBYTECODE": "1"}


class Squid(Peer):
    def prepare(self):
        self.ca, _ = world.make_ca(self.folder, "squid-ca")
        os.makedirs(f"{self.folder}/squid")
        subprocess.run(["/usr/lib/squid/security_file_certgen", "-c", "-s",
                        f"{self.folder}/squid/certificates", "-M", "4MB"],
                       check=True, stdout=subprocess.DEVNULL)  # fmt: skip
        self.config = fill("squid.conf", self.folder)

    def command(self):
        # It gives its rights away where it is root; of this namespace's users there is only one.
        lower = ["unshare", "-U", "--map-user=1000", "--map-group=1000"]
        return [*lower, "/usr/sbin/squid", "-N", "-n", "bottlebench", "-f", self.config], {"PATH": os.environ["PATH"]}


class Direct(Peer):
    """No proxy: what the server and the load tool can do alone. CPU time is the server's."""

    through = False

    def __init__(self, name, folder, cpu, server):
        super().__init__(name, folder, cpu)
        self.process = server
        self.ca = f"{folder}/outside-ca.crt"

    def start(self):
        pass

    def stop(self):
        pass


KINDS = {"native": Native, "squid": Squid, "mitmproxy": Bare, "mitmproxy-image": Image}

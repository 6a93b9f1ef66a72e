#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What an egress proxy costs: nginx alone, the native proxy, squid with ssl-bump, and mitmproxy, each
doing the same work, in one run on one machine.

usage: bench.py --tools DIR [--native PATH] [--only NAME,...] [--runs N] [--seconds N] [--json FILE]

The proxy has one core, the server (nginx) and the load tool (load.c) another. Judged is the CPU time
of the proxy for each request: it moves least. A run beside which other processes took over a tenth of
a core is dropped and done again, three times at most; then it counts, and the figure is marked `!`.
Every figure is the median of the runs.

Runs in: new user, network and mount namespaces, in which loopback is all there is.
"""

import argparse
import json
import os
import resource
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path.insert(0, HERE)

import peers  # noqa: E402
from peers import world  # noqa: E402

DOWNLOAD_BYTES = 1 << 30
BUSY_SHARE = 0.10  # of a core, taken by others: such a run is dropped
ATTEMPTS = 3
HOSTS = 1000
TICK = 1 / os.sysconf("SC_CLK_TCK")

# name, what load is asked, path. The download is one request, all others are timed.
LOADS = {
    "kept": (["-m", "keep", "-c", "16"], "/1k"),
    "one": (["-m", "keep", "-c", "1"], "/1k"),
    "new": (["-m", "new", "-c", "8"], "/1k"),
    "resumed": (["-m", "resume", "-c", "8"], "/1k"),
    "post": (["-m", "keep", "-c", "16", "-b", "16384"], "/post"),
    "download": (["-m", "keep", "-n", "1"], "/1g"),
    "hosts": (["-m", "hosts", "-c", "8", "-n", str(HOSTS)], "/1k"),
}


def cpu_seconds_of_all():
    """→ what every process of the machine has used, and what its host took away"""
    with open("/proc/stat", encoding="ascii") as file:
        user, nice, system, _, _, irq, softirq, steal = map(int, file.readline().split()[1:9])
    return (user + nice + system + irq + softirq + steal) * TICK


def cpu_seconds_of(pids):
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            fields = file.read().rpartition(")")[2].split()
        total += (int(fields[11]) + int(fields[12])) * TICK
    return total


def own_cpu_seconds():
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


class Bench:
    def __init__(self, options, folder, cpus):
        self.options, self.folder = options, folder
        self.proxy_cpu, self.load_cpu = cpus
        self.server = self.start_server()

    def start_server(self):
        world.make_ca(self.folder, "outside-ca")
        world.make_leaf(self.folder, "server", "outside-ca", ["bench.test", "*.bench.test"])
        # The distribution's own store with the bench's CA added: to load it is part of the work.
        world._join(f"{self.folder}/trust.crt", "/etc/ssl/certs/ca-certificates.crt",
                    f"{self.folder}/outside-ca.crt")  # fmt: skip
        os.mkdir(f"{self.folder}/www")
        with open(f"{self.folder}/www/1k", "wb") as file:
            file.write(b"x" * 1024)
        with open(f"{self.folder}/www/1g", "wb") as file:
            file.truncate(DOWNLOAD_BYTES)
        config = peers.fill("nginx.conf", self.folder)
        server = subprocess.Popen(["taskset", "-c", str(self.load_cpu), "/usr/sbin/nginx", "-e",
                                   f"{self.folder}/nginx.err", "-p", self.folder, "-c", config])  # fmt: skip
        peers.await_port(443, server)
        return server

    def peer(self, name):
        if name == "direct":
            return peers.Direct(name, self.folder, self.load_cpu, self.server)
        return peers.KINDS[name](name, self.folder, self.proxy_cpu)

    def load_argv(self, peer, args, path):
        argv = ["taskset", "-c", str(self.load_cpu), f"{self.options.tools}/load"]
        if peer.through:
            argv += ["-x", f"127.0.0.1:{peers.PORT}"]
        return argv + [*args, "-p", str(peer.process.pid), "bench.test", path]

    def cpu_seconds_of_others(self, peer):
        ours = {*peer.pids(), *peers.descendants(self.server.pid)}
        return cpu_seconds_of_all() - cpu_seconds_of(ours) - own_cpu_seconds()

    def one_run(self, peer, args, path):
        """→ (what load said, whether others kept the machine busy)"""
        before = self.cpu_seconds_of_others(peer)
        began = time.monotonic()
        done = subprocess.run(self.load_argv(peer, args, path), capture_output=True, text=True, check=False)
        took = time.monotonic() - began
        if done.returncode:
            raise RuntimeError(f"{peer.name}: {' '.join(args)}: {done.stdout}{done.stderr}")
        others = self.cpu_seconds_of_others(peer) - before
        said = json.loads(done.stdout)
        if said["not_ok"] or said["failed"] > said["requests"] * 0.001:
            print(f"# {peer.name}: {' '.join(args)}: {done.stdout}", file=sys.stderr)
        return said, others > BUSY_SHARE * took

    def measure(self, peer, name):
        """→ medians of the runs, with `busy`: whether a run had to count although others ran"""
        args, path = LOADS[name]
        if "-n" not in args:
            args = [*args, "-w", "0.3", "-t", str(self.options.seconds)]
        runs, busy = [], False
        for _ in range(self.options.runs):
            for attempt in range(ATTEMPTS):
                said, is_busy = self.one_run(peer, args, path)
                if not is_busy:
                    break
            busy |= is_busy
            runs.append(figures(said))
        return {**{key: statistics.median(run[key] for run in runs) for key in runs[0]}, "busy": busy}

    def measure_hosts(self, peer):
        """Each name for the first time, so of a proxy that was just started."""
        runs = []
        for _ in range(self.options.runs):
            if peer.through:
                peer.stop()
                peer.start()
            runs.append(figures(self.one_run(peer, *LOADS["hosts"])[0]))
        return {key: statistics.median(run[key] for run in runs) for key in runs[0]}

    def measure_idle(self, peer, clients):
        """→ kB for each of so many TLS clients that had one answer each, and how many were kept"""
        before = peer.memory_kb()
        args = self.load_argv(peer, ["-m", "idle", "-c", str(clients)], "/1k")
        with subprocess.Popen(args, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as load:
            said = load.stdout.readline()
            after = peer.memory_kb() if said else before
            rest, _ = load.communicate()
        if not said or load.returncode:
            return {"kb": None, "open": 0}
        return {"kb": (after - before) / clients, "open": json.loads(rest)["open"]}

    def boot_us(self, argv, port):
        argv = ["taskset", "-c", str(self.load_cpu), f"{self.options.tools}/boot",
                str(self.options.runs * 2 + 1), str(port), *argv]  # fmt: skip
        with open(os.devnull, "w", encoding="ascii") as null, tempfile.TemporaryFile("w+") as out:
            # What the program writes goes to stderr's file, the figure is the last line.
            subprocess.run(argv, check=True, stdout=out, stderr=null)
            out.seek(0)
            return float(out.read().splitlines()[-1])


def figures(said):
    requests = said["requests"]
    return {
        "per_s": requests / said["seconds"], "cpu_us": said["cpu_us"] / requests,
        "p50_us": said["p50_us"], "p99_us": said["p99_us"], "mb_per_s": said["bytes"] / said["seconds"] / 1e6,
        "resumed": said["resumed"] / max(1, said["handshakes"]),
    }  # fmt: skip


def ask(peer, path, host="bench.test"):
    """→ (status, body) of one request with a client that verifies"""
    port = peers.PORT if peer.through else 443
    with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
        if peer.through:
            sock.sendall(f"CONNECT {host}:443 HTTP/1.1\r\nHost: {host}:443\r\n\r\n".encode())
            if b" 200 " not in sock.recv(4096).split(b"\r\n")[0]:
                return 0, b""
        context = ssl.create_default_context(cafile=peer.ca)
        try:
            with context.wrap_socket(sock, server_hostname=host) as tls:
                tls.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n"
                            f"Authorization: Bearer mine\r\n\r\n".encode())  # fmt: skip
                answer = b""
                while piece := tls.recv(65536):
                    answer += piece
        except OSError:
            return 0, b""
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]) if head else 0, body


def prove(peer):
    """That it does the work which it is measured for."""
    if not peer.through:
        return
    status, body = ask(peer, "/auth")
    if (status, body.strip()) != (200, f"Bearer {peers.TOKEN}".encode()):
        raise RuntimeError(f"{peer.name} put in no credential: {status} {body[:200]!r}")
    if ask(peer, "/1k", "h1.bench.test")[0] != 200:
        raise RuntimeError(f"{peer.name} does not serve h1.bench.test")
    for path, host in (("/no", "bench.test"), ("/1k", "evil.test")):
        if ask(peer, path, host)[0] == 200:
            raise RuntimeError(f"{peer.name} let {host}{path} through")


def measure_peer(bench, name):
    peer = bench.peer(name)
    found = {}
    if peer.through:
        found["boot_us"] = bench.boot_us(peer.argv(), peers.PORT)
    peer.start()
    try:
        prove(peer)
        if peer.through:
            peer.stop()
            peer.start()
            found["boot_kb"] = {what: peer.memory_kb(what) for what in ("Pss", "Rss")}
            found["idle"] = bench.measure_idle(peer, bench.options.idle)
            peer.stop()
            peer.start()
        for load in LOADS:
            if load != "hosts":
                found[load] = bench.measure(peer, load)
                print(f"# {name} {load}: " + " ".join(f"{k}={v:.1f}" for k, v in found[load].items()),
                      file=sys.stderr, flush=True)  # fmt: skip
        if peer.through:
            found["loaded_kb"] = {what: peer.memory_kb(what) for what in ("Pss", "Rss")}
        found["hosts"] = bench.measure_hosts(peer)
        if name == "native":
            found["idle_10000"] = bench.measure_idle(peer, 10000)
    finally:
        peer.stop()
    return found


def name_hosts(folder):
    """bench.test and the names below it that LOADS["hosts"] asks for."""
    names = ["bench.test", *(f"h{i}.bench.test" for i in range(HOSTS))]
    world.NAMES[:] = names
    world.name_hosts(folder)


# title, how it is taken from what was found of one proxy, format
ROWS = [
    ("kept alive, 16 connections: req/s", lambda f: f["kept"]["per_s"], "{:.0f}"),
    ("  CPU µs", lambda f: f["kept"]["cpu_us"], "{:.1f}"),
    ("POST 16 KiB, kept alive: req/s", lambda f: f["post"]["per_s"], "{:.0f}"),
    ("  CPU µs", lambda f: f["post"]["cpu_us"], "{:.1f}"),
    ("new connection each, full handshake: req/s", lambda f: f["new"]["per_s"], "{:.0f}"),
    ("  CPU µs", lambda f: f["new"]["cpu_us"], "{:.0f}"),
    ("new connection each, session offered: req/s", lambda f: f["resumed"]["per_s"], "{:.0f}"),
    ("  CPU µs", lambda f: f["resumed"]["cpu_us"], "{:.0f}"),
    ("  resumed, %", lambda f: f["resumed"]["resumed"] * 100, "{:.0f}"),
    ("one connection: p50 µs", lambda f: f["one"]["p50_us"], "{:.0f}"),
    ("  p99 µs", lambda f: f["one"]["p99_us"], "{:.0f}"),
    ("1 GiB download: MB/s", lambda f: f["download"]["mb_per_s"], "{:.0f}"),
    ("  CPU s", lambda f: f["download"]["cpu_us"] / 1e6, "{:.2f}"),
    (f"{HOSTS} hosts, each for the first time: CPU µs", lambda f: f["hosts"]["cpu_us"], "{:.0f}"),
    ("boot until the port accepts: ms", lambda f: f["boot_us"] / 1e3, "{:.1f}"),
    ("memory after boot (PSS): MB", lambda f: f["boot_kb"]["Pss"] / 1e3, "{:.1f}"),
    ("  RSS, shared pages counted each time", lambda f: f["boot_kb"]["Rss"] / 1e3, "{:.1f}"),
    ("memory after the load (PSS): MB", lambda f: f["loaded_kb"]["Pss"] / 1e3, "{:.1f}"),
    ("  RSS", lambda f: f["loaded_kb"]["Rss"] / 1e3, "{:.1f}"),
    ("an idle TLS client: kB", lambda f: f["idle"]["kb"], "{:.1f}"),
    ("  clients still there", lambda f: f["idle"]["open"], "{:.0f}"),
    ("with 10,000 idle clients: kB each", lambda f: f["idle_10000"]["kb"], "{:.1f}"),
    ("  clients still there", lambda f: f["idle_10000"]["open"], "{:.0f}"),
]
# What the native proxy is to reach: title, figure, factors against mitmproxy and squid.
RATIOS = [
    ("kept alive", "kept"), ("POST 16 KiB", "post"), ("full handshake", "new"), ("session offered", "resumed"),
    ("download", "download"), (f"{HOSTS} hosts", "hosts"),
]  # fmt: skip


def cell(found, take, form):
    try:
        return form.format(take(found))
    except (KeyError, TypeError):
        return ""


def busy_loads(found):
    return [name for name, value in found.items() if isinstance(value, dict) and value.get("busy")]


def print_table(all_found):
    names = list(all_found)
    print("| | " + " | ".join(names) + " |")
    print("| --- |" + " ---: |" * len(names))
    for title, take, form in ROWS:
        print(f"| {title} | " + " | ".join(cell(all_found[n], take, form) for n in names) + " |")
    for name in names:
        if loads := busy_loads(all_found[name]):
            print(f"! {name}: other processes ran beside {', '.join(loads)}")


def print_ratios(all_found):
    """How many times the CPU time of the native proxy the others need for a request."""
    ours = all_found.get("native")
    others = [name for name in all_found if name not in ("native", "direct")]
    if not ours or not others:
        return
    print("\n| CPU time for a request, times native's | " + " | ".join(others) + " |")
    print("| --- |" + " ---: |" * len(others))
    for title, load in RATIOS:
        ratios = [all_found[name][load]["cpu_us"] / ours[load]["cpu_us"] for name in others]
        print(f"| {title} | " + " | ".join(f"{ratio:.1f}" for ratio in ratios) + " |")
    if "direct" in all_found:
        direct = all_found["direct"]
        print(f"\nnative to direct: p50 {ours['one']['p50_us'] / direct['one']['p50_us']:.2f} times, download "
              f"{ours['download']['mb_per_s'] / direct['download']['mb_per_s']:.0%} of the throughput for "
              f"{ours['download']['cpu_us'] / direct['download']['cpu_us']:.2f} times the CPU time")  # fmt: skip


def parse_arguments():
    parser = argparse.ArgumentParser(description="compares egress proxies")
    parser.add_argument("--tools", required=True, type=os.path.abspath, help="where load, boot, empty are")
    parser.add_argument("--native", type=os.path.abspath, help="the native proxy's binary")
    parser.add_argument("--only", default="", help="direct, native, squid, mitmproxy, mitmproxy-image")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--idle", type=int, default=1000, help="idle clients")
    parser.add_argument("--json", help="write everything that was found here")
    return parser.parse_args()


def main():
    options = parse_arguments()
    world.enter_namespaces()
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        sys.exit("bench.py: needs two cores, one for the proxy, one for server and load")
    os.sched_setaffinity(0, {cpus[1]})
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    names = options.only.split(",") if options.only else ["direct", *peers.KINDS]
    if options.native:
        os.environ["BENCH_NATIVE"] = options.native
    elif "native" in names:
        sys.exit("bench.py: --native PATH is missing")
    all_found = {}
    with tempfile.TemporaryDirectory(prefix="bottle-bench.", dir="/var/tmp") as folder:
        name_hosts(folder)
        bench = Bench(options, folder, cpus[:2])
        try:
            empty = bench.boot_us(["taskset", "-c", str(cpus[0]), f"{options.tools}/empty"], 0)
            for name in names:
                all_found[name] = measure_peer(bench, name)
        finally:
            bench.server.terminate()
            bench.server.wait()
    print_table(all_found)
    print_ratios(all_found)
    print(f"\nFrom exec to exit of an empty static program: {empty / 1e3:.1f} ms")
    if options.json:
        with open(options.json, "w", encoding="ascii") as file:
            json.dump(all_found, file, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())

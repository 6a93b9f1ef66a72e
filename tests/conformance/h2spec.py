#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Runs h2spec (github.com/summerwind/h2spec) against the native proxy's HTTP/2 server.

usage: h2spec.py PROXY [H2SPEC]       H2SPEC: by default the one on PATH; without one there is a skip

h2spec knows no proxy, so a bridge stands before ours: each connection to it becomes a CONNECT. The server
behind is the recorder. Prints TAP, one line a case.
"""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import xml.etree.ElementTree as ElementTree

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.dont_write_bytecode = True

import world  # noqa: E402

HOST, PORT, BRIDGE = "any.test", 9443, "127.0.0.2"
DATA = {"tokens": {}, "routes": [{"host": HOST, "ports": [PORT]}]}
# By RFC 7540 alone.
GONE = {"Sends PRIORITY frame that depend on itself": "RFC 9113 has no dependencies (5.3.2)"}


def copy(source, sink):
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        for sock in (source, sink):
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


def bridge(client, proxy):
    """The bytes of one connection, through a CONNECT."""
    with client, socket.create_connection(proxy) as server:
        server.sendall(f"CONNECT {HOST}:{PORT} HTTP/1.1\r\nHost: {HOST}:{PORT}\r\n\r\n".encode())
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += server.recv(1)
        back = threading.Thread(target=copy, args=(server, client))
        back.start()
        copy(client, server)
        back.join()


def serve(listener, proxy):
    while True:
        client, _ = listener.accept()
        threading.Thread(target=bridge, args=(client, proxy), daemon=True).start()


def run_h2spec(program, folder):
    """→ path of its report. Its name for the host is the bridge."""
    with open(f"{folder}/bridge", "w") as file:
        file.write(f"{BRIDGE} {HOST}\n")
    report = f"{folder}/report.xml"
    subprocess.run(["unshare", "-m", "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"', f"{folder}/bridge",
                    program, "-t", "-k", "-h", HOST, "-p", str(PORT), "-S", "-j", report],
                   stdout=subprocess.DEVNULL, check=False)  # fmt: skip
    return report


def say(report):
    cases = list(ElementTree.parse(report).iter("testcase"))
    failed = 0
    print(f"1..{len(cases)}")
    for number, case in enumerate(cases, 1):
        name = f"{case.get('package')}: {case.get('classname')}"
        problem = next((case.find(word) for word in ("failure", "error") if case.find(word) is not None), None)
        reason = "by h2spec" if case.find("skipped") is not None else GONE.get(case.get("classname"))
        problem = None if reason else problem
        note = f" # SKIP {reason}" if reason else ""
        print(f"{'ok' if problem is None else 'not ok'} {number} - {name}{note}")
        if problem is not None:
            failed += 1
            print("\n".join(f"# {line}" for line in (problem.text or "").splitlines()))
    return 1 if failed or not cases else 0


def main():
    program = sys.argv[2] if len(sys.argv) > 2 else shutil.which("h2spec")
    if not program:
        print("1..0 # SKIP h2spec is not on PATH; Debian has no package of it")
        return 0
    world.enter_namespaces()
    with tempfile.TemporaryDirectory() as folder:
        world.NAMES[:] = [HOST]
        world.name_hosts(folder)
        world.make_ca(folder, "outside-ca")
        cert = world.make_leaf(folder, "outside", "outside-ca", [HOST])
        world.Recorder({"": cert}).listen("127.0.0.1", PORT, True)
        listener = socket.create_server((BRIDGE, PORT), backlog=512)
        proxy = world.Proxy(folder, DATA, program=world.native(sys.argv[1]))
        threading.Thread(target=serve, args=(listener, ("127.0.0.1", proxy.port)), daemon=True).start()
        try:
            return say(run_h2spec(os.path.abspath(program), folder))
        finally:
            proxy.stop()


if __name__ == "__main__":
    sys.exit(main())

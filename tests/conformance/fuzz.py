#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Requests with bytes put in, taken out and doubled, against a running proxy of its own world.

usage: fuzz.py [--seed N] [--count N]

What must hold for every one of them: upstream sees only whole heads in the strict grammar, for the
route's host, below the route's path (which the second, hidden request of a seed is not), without
what the client may not say. What the client is answered is not judged.
"""

import argparse
import json
import os
import random
import re
import socket
import ssl
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.dont_write_bytecode = True

import world  # noqa: E402
from run import take_recorded  # noqa: E402

SEEDS = (
    "GET /v1/x HTTP/1.1\r\nHost: api.test\r\nAuthorization: Bearer mine\r\n\r\n",
    "POST /v1/x HTTP/1.1\r\nHost: api.test\r\nContent-Length: 44\r\n\r\n"
    "GET /hidden HTTP/1.1\r\nHost: api.test\r\nX: y\r\n\r\n",
    "POST /v1/x HTTP/1.1\r\nHost: api.test\r\nTransfer-Encoding: chunked\r\n\r\n"
    "2c\r\nGET /hidden HTTP/1.1\r\nHost: api.test\r\nX: y\r\n\r\n\r\n0\r\n\r\n",
    "GET /v1/../hidden HTTP/1.1\r\nHost: api.test\r\n\r\n",
    "GET https://api.test/v1/x HTTP/1.1\r\nHost: api.test\r\nConnection: close, x\r\nX: y\r\n\r\n",
    "GET /v1/a HTTP/1.1\r\nHost: api.test\r\n\r\nGET /hidden HTTP/1.1\r\nHost: api.test\r\n\r\n",
    "GET /v1/a?x=y HTTP/1.1\r\nHost: evil.test\r\nProxy-Authorization: Basic bWluZQ==\r\n\r\n",
)
PIECES = (
    "\r\n", "\n", "\r", "\0", " ", "\t", "\x0b", "\x0c", "\x85", "\xa0", ":", "/", "//", "..", "/../", "%2e",
    "%2f", "%0d%0a", "%00", "%5c", "\\", "#", "?", ";", "@", ",", "HTTP/1.1", "HTTP/1.0", "HTTP/2.0",
    "Host: evil.test\r\n", "Host: api.test\r\n", "Content-Length: 0\r\n", "Content-Length: 5\r\n",
    "Transfer-Encoding: chunked\r\n", "Transfer-Encoding:\x0bchunked\r\n", "transfer-encoding: x\r\n",
    "Connection: host\r\n", "Connection: authorization\r\n", " folded\r\n", "0\r\n\r\n", "CONNECT ",
    "GET /hidden HTTP/1.1\r\n", "\r\n\r\n", "\x16\x03\x01", "evil.test", "\u00ff",
)  # fmt: skip
HEAD_LINE = re.compile(r"[!#-'*+.^_`|~0-9A-Za-z-]+ (/v1/[\x21-\x7e]*) HTTP/1\.[01]")
FIELD = re.compile(r"[!#-'*+.^_`|~0-9A-Za-z-]+: [\t\x20-\x7e\x80-\xff]*")
NEVER = ("bearer mine", "proxy-", "bwluzq")  # in the fields that it may not say


def mutate(rng, text):
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 5))):
        at = rng.randrange(len(text) + 1)
        kind = rng.randrange(5)
        if kind <= 2:
            text = text[:at] + rng.choice(PIECES) + text[at:]
        elif kind == 3:
            text = text[:at] + text[at + rng.randrange(1, 5) :]
        else:
            end = at + rng.randrange(1, 40)
            text = text[:end] + text[at:end] + text[end:]
    return text.encode("latin-1")


def wrong(entry):
    """→ what a head upstream breaks, or None"""
    line, *fields = entry["head"].split("\r\n")
    match = HEAD_LINE.fullmatch(line)
    if not match:
        return f"the request line {line!r}"
    for field in fields:
        if not FIELD.fullmatch(field):
            return f"the field {field!r}"
    names = [field.split(":")[0].lower() for field in fields]
    if names.count("host") != 1 or "Host: api.test" not in fields:
        return "the Host"
    lengths = names.count("content-length") + names.count("transfer-encoding")
    if lengths > 1:
        return "two lengths"
    if {".", ".."} & {part.split(";")[0] for part in match[1].split("?")[0].split("/")}:
        return "a dot segment"
    heads = " ".join(f for f in fields if f.lower().startswith(("authorization", "proxy"))).lower()
    return next((f"{word!r}" for word in NEVER if word in heads), None)


def send(proxy, raw, context):
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as sock:
        sock.sendall(b"CONNECT api.test:443 HTTP/1.1\r\nHost: api.test:443\r\n\r\n")
        sock.recv(4096)
        with context.wrap_socket(sock, server_hostname="api.test") as tls:
            tls.settimeout(0.15)
            try:
                tls.sendall(raw)
                while tls.recv(65536):
                    pass
            except OSError:
                pass


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=500)
    options = parser.parse_args()
    world.enter_namespaces()
    with open(os.path.join(HERE, "cases.json"), encoding="utf-8") as file:
        data = json.load(file)
    data["routes"] = [route for route in data["routes"] if route["host"] == "api.test"]
    with tempfile.TemporaryDirectory() as folder:
        world.name_hosts(folder)
        world.start_recorder(folder)
        proxy = world.Proxy(folder, data)
        context = ssl.create_default_context(cafile=proxy.ca_file)
        rng, bad, seen = random.Random(options.seed), 0, 0
        control = ("127.0.0.1", world.CONTROL_PORT)
        for _ in range(options.count):
            raw = mutate(rng, rng.choice(SEEDS))
            send(proxy, raw, context)
            for entry in take_recorded(control):
                seen += 1
                if problem := wrong(entry):
                    bad += 1
                    print(f"not ok: {problem}\n  sent {raw!r}\n  upstream {entry['head']!r}")
        alive = proxy.process.poll() is None
        proxy.stop()
        with open(proxy.error_path, encoding="utf-8") as file:
            errors = file.read()
    print(errors, end="")
    bad += (not alive) + bool(errors)
    print(f"# {seen} requests reached upstream")
    print(f"{options.count - bad} passed, {bad} failed")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())

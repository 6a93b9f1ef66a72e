#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Request smuggling: the corpus of smuggling_cases.py against an egress proxy, whichever it is.

usage: smuggling.py, with the arguments of run.py

Judged is what reaches the server, byte by byte: each request there is read again, strictly, and must
have one reading, end where it was taken to end, and be the one that was meant. A request that two
readers could read differently must not arrive at all. Where some arrive, one more is sent on the same
connection: were anything left over in between, it would not arrive as it was sent.
"""

import json
import os
import re
import socket
import ssl
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.dont_write_bytecode = True

import world  # noqa: E402
from client import Http1Reader  # noqa: E402
from run import check_proxy_is_quiet, parse_arguments, take_recorded  # noqa: E402
from smuggling_cases import CUT_OFF, UNFINISHED, every_case  # noqa: E402

PATIENCE = 5.0
UNFINISHED_PATIENCE = 0.3  # how long nothing whole may arrive
REFUSALS = (0, 400, 403, 421, 431)  # 0: closed without an answer

TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
REQUEST_LINE = re.compile(rf"({TOKEN}) (/[\x21-\x7e]*) HTTP/1\.[01]")
FIELD = re.compile(rf"({TOKEN}): ?([\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?")
CHUNK = re.compile(r"([0-9a-fA-F]{1,15})\r\n")
BARE = re.compile(r"(?<!\r)\n|\r(?!\n)|\0")


class Ambiguous(Exception):
    """The bytes upstream have no single reading."""


def read_chunks(text):
    """→ (content, rest)"""
    content = ""
    while True:
        match = CHUNK.match(text)
        if not match:
            raise Ambiguous(f"the chunk {text[:40]!r}")
        size = int(match[1], 16)
        text = text[match.end() :]
        if text[size : size + 2] != "\r\n":
            raise Ambiguous(f"the end of a chunk of {size} bytes: {text[size:size + 10]!r}")
        content, text = content + text[:size], text[size + 2 :]
        if not size:
            return content, text


def read_head(head, host):
    """→ (method, target, its lengths)"""
    if BARE.search(head):
        raise Ambiguous("a bare CR or LF, or NUL")
    line, *lines = head.split("\r\n")
    match = REQUEST_LINE.fullmatch(line)
    if not match:
        raise Ambiguous(f"the request line {line!r}")
    fields = []
    for text in lines:
        if not (field := FIELD.fullmatch(text)):
            raise Ambiguous(f"the field {text!r}")
        fields.append((field[1].lower().replace("_", "-"), field[2] or ""))
    if [value for name, value in fields if name == "host"] != [host]:
        raise Ambiguous("the Host")
    framing = [pair for pair in fields if pair[0] in ("content-length", "transfer-encoding")]
    return match[1], match[2], framing


def read_request(wire, host):
    """What exactly one request, and nothing behind it, says. → (method, target, body)"""
    head, end, rest = wire.partition("\r\n\r\n")
    method, target, framing = read_head(head, host)
    if not end:
        raise Ambiguous("a head without its end")
    if not framing:
        body = ""
    elif len(framing) > 1:
        raise Ambiguous(f"two lengths: {framing}")
    elif framing[0][0] == "content-length":
        if not re.fullmatch("[0-9]{1,18}", framing[0][1]):
            raise Ambiguous(f"the length {framing[0][1]!r}")
        body, rest = rest[: int(framing[0][1])], rest[int(framing[0][1]) :]
        if len(body) != int(framing[0][1]):
            raise Ambiguous("a body shorter than its length")
    elif framing[0][1].lower() == "chunked":
        body, rest = read_chunks(rest)
    else:
        raise Ambiguous(f"the coding {framing[0][1]!r}")
    if framing and rest:
        raise Ambiguous(f"{rest!r} behind the request")
    if not framing and rest:
        raise Ambiguous(f"{rest!r} behind a request without a body")
    return method, target, body


class Sender:
    def __init__(self, proxy, ca_file):
        self.proxy = proxy
        self.context = ssl.create_default_context(cafile=ca_file)

    def _open(self, case):
        sock = socket.create_connection(self.proxy, timeout=PATIENCE)
        if case.plain:
            return sock
        sock.sendall(b"CONNECT api.test:443 HTTP/1.1\r\nHost: api.test:443\r\n\r\n")
        reader = Http1Reader(sock)
        deadline = time.monotonic() + PATIENCE
        while b"\r\n\r\n" not in reader.buffer and reader._more(deadline):
            pass
        if reader.buffer.split(b" ")[1:2] != [b"200"]:
            raise AssertionError(f"the CONNECT was answered {reader.buffer[:100]!r}")
        return self.context.wrap_socket(sock, server_hostname="api.test")

    def send(self, case):
        """→ (statuses, whether the connection ended)"""
        with self._open(case) as sock:
            reader = Http1Reader(sock)
            put(sock, case.raw)
            if case.want == UNFINISHED:
                return [reader.answer(patience=UNFINISHED_PATIENCE)[0]], reader.ended
            count = len(case.want) if isinstance(case.want, list) else 1
            statuses = [reader.answer(patience=PATIENCE)[0] for _ in range(count)]
            if isinstance(case.want, list):
                put(sock, probe(case))
            elif statuses[0] not in (0, 400, 431):
                return statuses, reader.ended  # the next request is welcome
            return statuses, reader.at_end()


def put(sock, text):
    try:
        sock.sendall(text.encode("latin-1"))
    except OSError:
        pass  # closed before all was sent; the answer may be there


def probe_target(case):
    return "/v1/probe" if case.host == "api.test" else "/probe"


def probe(case):
    target = f"http://{case.host}{probe_target(case)}" if case.plain else probe_target(case)
    return f"GET {target} HTTP/1.1\r\nHost: {case.host}\r\nConnection: close\r\n\r\n"


def check_arrived(case, recorded):
    arrived = []
    for entry in recorded:
        try:
            if entry["whole"]:
                arrived.append(read_request(entry["wire"], case.host))
            else:
                read_head(entry["head"], case.host)
        except Ambiguous as err:
            yield f"upstream saw {err}: {entry}"
    unfinished = len(recorded) - sum(entry["whole"] for entry in recorded)
    if unfinished and case.want not in (CUT_OFF, UNFINISHED):
        yield f"{unfinished} requests began upstream and did not end: {recorded}"
    if not isinstance(case.want, list):
        if arrived:
            yield f"upstream saw {arrived}"
        return
    last = ("GET", probe_target(case), "")
    if arrived not in (case.want, [*case.want, last]):
        yield f"upstream saw {arrived}, not {case.want}"


def check_answer(case, statuses, ended):
    if isinstance(case.want, list):
        if statuses != [200] * len(case.want):
            yield f"the answers were {statuses}"
        if not ended:
            yield "the connection stayed open after `Connection: close`"
    elif case.want == UNFINISHED:
        if statuses[0] not in REFUSALS:
            yield f"the answer was {statuses[0]}"
    elif statuses[0] not in REFUSALS:
        yield f"the answer was {statuses[0]}"
    elif statuses[0] in (0, 400, 431) and not ended:
        yield f"the connection stayed open after status {statuses[0]}"


def run_case(case, sender, recorder):
    take_recorded(recorder)
    try:
        statuses, ended = sender.send(case)
    except Exception as err:  # noqa: BLE001 - a case that breaks is a failed case
        return [f"{type(err).__name__}: {err}"]
    return [*check_answer(case, statuses, ended), *check_arrived(case, take_recorded(recorder))]


def run_cases(cases, name, sender, recorder, proxy=None):
    print(f"1..{len(cases) + bool(proxy)}")
    passed = failed = skipped = 0
    for number, case in enumerate(cases, 1):
        if case.not_for == name:
            skipped += 1
            print(f"ok {number} - {case.id} # SKIP {name} waits for the head's end", flush=True)
            continue
        problems = run_case(case, sender, recorder)
        print(f"{'not ok' if problems else 'ok'} {number} - {case.id}", flush=True)
        for problem in problems:
            print(f"# {problem[:1000]}\n# sent {case.raw[:300]!r}", flush=True)
        failed += bool(problems)
        passed += not problems
    if proxy:
        quiet = check_proxy_is_quiet(proxy)
        print(f"{'ok' if quiet else 'not ok'} {len(cases) + 1} - the proxy lives and said nothing")
        passed, failed = passed + quiet, failed + (not quiet)
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed or not passed else 0


def main():
    options = parse_arguments()
    cases = [case for case in every_case() if options.k in case.id]
    if not options.start:
        sender = Sender(options.proxy, options.ca)
        return run_cases(cases, options.name, sender, options.recorder)
    world.enter_namespaces()
    with tempfile.TemporaryDirectory() as folder:
        folder = options.keep or folder
        world.name_hosts(folder)
        world.start_recorder(folder)
        with open(os.path.join(HERE, "cases.json"), encoding="utf-8") as file:
            proxy = world.Proxy(folder, json.load(file), program=options.start)
        try:
            sender = Sender(("127.0.0.1", proxy.port), proxy.ca_file)
            recorder = ("127.0.0.1", world.CONTROL_PORT)
            return run_cases(cases, options.start.name, sender, recorder, proxy)
        finally:
            proxy.stop()


if __name__ == "__main__":
    sys.exit(main())

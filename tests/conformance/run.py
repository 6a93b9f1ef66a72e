#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Runs cases.json against an egress proxy, whichever it is.

usage: run.py --start-mitmproxy [-k WORD]
       run.py --start-native PATH [-k WORD]
       run.py --start-docker IMAGE --name NAME [-k WORD]
       run.py --proxy HOST:PORT --ca FILE --recorder HOST:PORT --audit FILE [--name NAME] [-k WORD]

The first two make a world of their own (world.py). The third starts a container (docker_proxy.py) and stands
in the network namespace of its daemon. The fourth takes a running proxy with the routes and tokens of cases.json,
whose names lead to a running recorder. Prints TAP and a count.
"""

import argparse
import json
import os
import socket
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.dont_write_bytecode = True

import world  # noqa: E402
from client import Client  # noqa: E402
from docker_proxy import DockerProxy  # noqa: E402

AUDIT_PATIENCE = 1.5
# Of an audit line: from one run to the next, and words for people, which name addresses and resolvers.
VARYING = ("ts", "us", "request_id", "detail")
SECRET_WORDS = ("secret-value", "tok-api", "tok-key", "secret-pass", "ghp_raw")


class Audit:
    """The lines that a case added; `all`: those of every case."""

    def __init__(self, path):
        self.file = open(path, "rb")
        self.rest = b""
        self.all = []

    def take(self):
        self.rest += self.file.read()
        whole, newline, self.rest = self.rest.rpartition(b"\n")
        lines = [json.loads(line) for line in whole.split(b"\n") if newline and line]
        self.all += lines
        return lines


def take_recorded(address):
    with socket.create_connection(address, timeout=5) as sock, sock.makefile("rw") as file:
        file.write("take\n")
        file.flush()
        return json.loads(file.readline())


def field_count(head, name):
    return sum(line.lower().startswith(name + ":") for line in head.split("\r\n")[1:])


def check_answer(expect, outcome):
    if "status" in expect:
        wanted = expect["status"]
        wanted = wanted if isinstance(wanted, list) else [wanted]
        if outcome.status not in wanted:
            yield f"status {outcome.status}, not {expect['status']}: {outcome.answer[:200]!r}"
    if expect.get("closed") and not outcome.closed:
        yield "the connection stayed open"
    if "second_status" in expect and outcome.second_status != expect["second_status"]:
        yield f"second status {outcome.second_status}, not {expect['second_status']}"
    if "answer" in expect and outcome.answer != expect["answer"].encode():
        yield f"the answer was {outcome.answer!r}"
    if "echo" in expect and outcome.echo != expect["echo"].encode():
        yield f"the WebSocket echoed {outcome.echo!r}"
    if "reason" in expect or "json" in expect:
        try:
            said = json.loads(outcome.answer)
        except ValueError:
            yield f"the answer is no JSON: {outcome.answer[:200]!r}"
            return
        for key, value in {"reason": expect.get("reason"), **expect.get("json", {})}.items():
            if value is not None and said.get(key) != value:
                yield f"the answer's {key} is {said.get(key)!r}, not {value!r}"


def check_upstream(expect, recorded):
    whole = [entry for entry in recorded if entry.get("whole")]
    wanted = expect.get("upstream")
    if wanted is None and expect.get("status") == 200:
        wanted = 1
    if wanted is not None and len(recorded) != wanted:
        yield f"{len(recorded)} requests upstream, not {wanted}: {recorded}"
        return
    if "upstream_whole" in expect and len(whole) != expect["upstream_whole"]:
        yield f"{len(whole)} whole requests upstream, not {expect['upstream_whole']}"
    head = recorded[0]["head"] if recorded else ""
    if "line" in expect and head.split("\r\n")[0] != expect["line"]:
        yield f"upstream saw {head.split(chr(13))[0]!r}"
    for text in expect.get("has", []):
        if text.lower() not in head.lower():
            yield f"upstream did not see {text!r}: {head!r}"
    for text in expect.get("lacks", []):
        if any(text.lower() in entry["head"].lower() for entry in recorded):
            yield f"upstream saw {text!r}: {head!r}"
    for name, count in expect.get("count", {}).items():
        if field_count(head, name) != count:
            yield f"upstream saw {field_count(head, name)} fields {name}, not {count}"
    for key in ("body", "length"):
        if key in expect and (not whole or whole[0].get(key) != expect[key]):
            yield f"upstream's {key} is {whole[0].get(key) if whole else None!r}"


def check_audit(expect, lines):
    text = json.dumps(lines)
    for word in SECRET_WORDS:
        if word in text:
            yield f"the audit log holds {word!r}"
    if "audit" not in expect:
        return
    wanted = expect["audit"]
    if not any(all(line.get(k) == v for k, v in wanted.items()) for line in lines):
        yield f"no audit line with {wanted}: {lines}"
    for line in lines:
        if missing := {"ts", "event"} - line.keys():
            yield f"an audit line without {missing}"


def run_case(case, client, recorder, audit):
    take_recorded(recorder)
    audit.take()
    outcome = client.run(case)
    # The proxy says its line and the recorder reads its bytes after the client has its answer.
    deadline = time.monotonic() + AUDIT_PATIENCE
    lines, recorded = [], []
    while True:
        lines += audit.take()
        recorded += take_recorded(recorder)
        problems = list(check_answer(case["expect"], outcome))
        problems += check_upstream(case["expect"], recorded)
        problems += check_audit(case["expect"], lines)
        if not problems or time.monotonic() > deadline:
            return problems
        time.sleep(0.05)


def check_proxy_is_quiet(proxy):
    """What the proxy has to say on stderr is a crash of its own."""
    with open(proxy.error_path, encoding="utf-8") as file:
        said = file.read()
    for line in said.splitlines():
        print(f"# proxy: {line[:2000]}")
    return not said and proxy.process.poll() is None


def note_lines(log, audit):
    """Once the proxy has ended; fit to be compared, sorted, with another run's."""
    audit.take()
    for line in audit.all:
        kept = {key: value for key, value in line.items() if key not in VARYING}
        print(json.dumps(kept, sort_keys=True), file=log)


def leave_out(cases, name, word):
    """The cases that are not for `word` are not for `name` either."""
    for case in cases:
        if word in case.get("not_for", {}):
            case["not_for"][name] = case["not_for"][word]


def run_cases(cases, name, client, recorder, audit, proxy=None):
    """`proxy`: where we started it ourselves, it must be alive and silent at the end."""
    print(f"1..{len(cases) + bool(proxy)}")
    passed = failed = skipped = 0
    for number, case in enumerate(cases, 1):
        if name in case.get("not_for", {}):
            skipped += 1
            print(f"ok {number} - {case['id']} # SKIP {case['not_for'][name]}", flush=True)
            continue
        try:
            problems = run_case(case, client, recorder, audit)
        except Exception as err:  # noqa: BLE001 - a case that breaks is a failed case
            problems = [f"{type(err).__name__}: {err}"]
        print(f"{'not ok' if problems else 'ok'} {number} - {case['id']}", flush=True)
        for problem in problems:
            print(f"# {problem}", flush=True)
        failed += bool(problems)
        passed += not problems
    if proxy:
        quiet = check_proxy_is_quiet(proxy)
        print(f"{'ok' if quiet else 'not ok'} {len(cases) + 1} - the proxy lives and said nothing")
        passed, failed = passed + quiet, failed + (not quiet)
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed or not passed else 0


def address(text):
    host, _, port = text.rpartition(":")
    return host, int(port)


def parse_arguments():
    parser = argparse.ArgumentParser(description="runs cases.json against an egress proxy")
    start = parser.add_mutually_exclusive_group()
    start.add_argument("--start-mitmproxy", action="store_const", dest="start", const=world.MITMPROXY)
    start.add_argument("--start-native", type=world.native, dest="start", metavar="PATH")
    start.add_argument("--start-docker", dest="image", metavar="IMAGE")
    parser.add_argument("--proxy", type=address)
    parser.add_argument("--ca")
    parser.add_argument("--recorder", type=address)
    parser.add_argument("--audit")
    parser.add_argument("--name", default="mitmproxy", help="whose `not_for` counts")
    parser.add_argument("-k", default="", help="only cases whose id holds this")
    parser.add_argument("--log", type=argparse.FileType("w"), help="the audit lines go here")
    parser.add_argument("--not-for", default="", help="leave out the cases that are not for this, either")
    parser.add_argument("--keep", help="the folder for logs (default: one that goes)")
    return parser.parse_args()


def run_in_docker(options, data, cases):
    leave_out(cases, options.name, "docker")
    with tempfile.TemporaryDirectory() as folder:
        folder = options.keep or folder
        world.start_recorder(folder)
        proxy = DockerProxy(folder, data, options.image, f"{folder}/outside-ca.crt")
        audit = Audit(proxy.audit_path)
        try:
            client = Client((proxy.host, proxy.port), proxy.ca_file)
            recorder = ("127.0.0.1", world.CONTROL_PORT)
            return run_cases(cases, options.name, client, recorder, audit, proxy)
        finally:
            proxy.stop()
            if options.log:
                note_lines(options.log, audit)


def main():
    options = parse_arguments()
    with open(os.path.join(HERE, "cases.json"), encoding="utf-8") as file:
        data = json.load(file)
    cases = [case for case in data["cases"] if options.k in case["id"]]
    if options.image:
        return run_in_docker(options, data, cases)
    if not options.start:
        client = Client(options.proxy, options.ca)
        return run_cases(cases, options.name, client, options.recorder, Audit(options.audit))
    leave_out(cases, options.start.name, options.not_for)
    world.enter_namespaces()
    with tempfile.TemporaryDirectory() as folder:
        folder = options.keep or folder
        world.name_hosts(folder)
        world.start_recorder(folder)
        proxy = world.Proxy(folder, data, program=options.start)
        audit = Audit(proxy.audit_path)
        try:
            client = Client(("127.0.0.1", proxy.port), proxy.ca_file)
            recorder = ("127.0.0.1", world.CONTROL_PORT)
            return run_cases(cases, options.start.name, client, recorder, audit, proxy)
        finally:
            proxy.stop()
            if options.log:
                note_lines(options.log, audit)


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Takes: 60
"""The two readers of HTTP/1 say the same: broken requests and bodies to proxy/http1*.c (by way of
tests/tools/http1_pure.c) and to rootfs/mitmproxy/egress_proxy/http1_grammar.py. Run:
test_same_http1.py [-v]

What one takes for whole the other does, with the same parts. Where both refuse, the first fault counts
in C and the first rule in Python, so the reasons are compared only for the corpus of one fault each. C
may refuse where Python still waits for the end of a head, never the other way. SAME_SEED and SAME_COUNT
(a factor) ask for others and for more.
"""

import os
import random
import struct
import subprocess
import sys
import unittest

sys.dont_write_bytecode = True
TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
sys.path[:0] = [os.path.join(TOP, "rootfs/mitmproxy"), os.path.join(TOP, "tests/conformance")]

from egress_proxy.http1_grammar import BadRequest, ChunkedBody, take_request_head  # noqa: E402
from smuggling_cases import every_case  # noqa: E402

SEED = int(os.environ.get("SAME_SEED", "1"))
FACTOR = int(os.environ.get("SAME_COUNT", "1"))
BUILD = os.environ.get("BOTTLE_TEST_BUILD") or os.path.join(TOP, "build/release")
PIECES = (
    "\r\n", "\n", "\r", "\0", " ", "\t", "\x0b", "\x7f", "\x80", "\xff", ":", "/", "?", "#", ";", ",", "@", "%", "\\", "[",
    "HTTP/1.1", "HTTP/1.0", "http://", "HTTPS://a.test:81", "Host: a.test\r\n", "Content-Length: 7\r\n", "0", "5", "a", "G",
    "Transfer-Encoding: chunked\r\n", " folded\r\n", "0\r\n\r\n", "\r\n\r\n", "CONNECT a.test:443 ", "OPTIONS * ",
)  # fmt: skip


def span(raw):
    return raw.hex() + "."


def named(pair):
    return f"{pair[0]}|{pair[1] or 0}"


def python_request(raw):
    buffer = bytearray(raw)
    try:
        head = take_request_head(buffer)
    except BadRequest as err:
        return f"no {err.status} {err.reason}"
    if head is None:
        return "more"
    words = ["ok", len(raw) - len(buffer), span(head.method), span(head.target), int(head.version == b"HTTP/1.1")]
    words += [int(head.scheme is not None), int(head.scheme == "https")]
    words += [named(pair) for pair in (head.authority, head.host) if pair]
    words.append("chunked" if head.body_length is None else head.body_length)
    words += [span(text) for pair in head.fields for text in pair]
    return " ".join(map(str, words))


def python_body(raw, of_response):
    buffer, body, content = bytearray(raw), ChunkedBody(of_response), b""
    try:
        while (taken := body.take(buffer)) is not None:
            if taken is True:
                return f"ok {len(raw) - len(buffer)} {span(content)}"
            content += taken
    except BadRequest as err:
        return f"no {err.status if not of_response else 502} {err.reason}"
    return "more"


def python_says(kind, raw):
    return python_request(raw) if kind == "R" else python_body(raw, kind == "b")


def native_says(questions):
    asked = b"".join(kind.encode() + struct.pack("<I", len(raw)) + raw for kind, raw in questions)
    run = subprocess.run([os.path.join(BUILD, "tools/http1_pure")], input=asked, stdout=subprocess.PIPE, check=True)
    return run.stdout.decode().split("\n")[:-1]


def is_same(native, python, with_reason):
    if native.startswith("no ") and python == "more":
        return True
    if native.startswith("no ") and python.startswith("no ") and not with_reason:
        return True
    return native == python


def mutate(rng, text):
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 5))):
        at = rng.randrange(len(text) + 1)
        kind = rng.randrange(4)
        if kind <= 1:
            text = text[:at] + rng.choice(PIECES) + text[at:]
        elif kind == 2:
            text = text[:at] + text[at + rng.randrange(1, 5) :]
        else:
            end = at + rng.randrange(1, 40)
            text = text[:end] + text[at:end] + text[end:]
    return text


def bytes_of(text):
    return text.encode("latin-1")


class Same(unittest.TestCase):
    def compare(self, questions, with_reason=False):
        answers = native_says(questions)
        self.assertEqual(len(answers), len(questions))
        whole = 0
        for (kind, raw), native in zip(questions, answers):
            python = python_says(kind, raw)
            self.assertTrue(is_same(native, python, with_reason),
                            f"{kind} {raw[:400]!r}\nnative: {native}\npython: {python}")  # fmt: skip
            whole += native.startswith("ok")
        self.assertGreater(whole, len(questions) // 50)

    def test_the_corpus_of_smuggling_heads(self):
        self.compare([("R", bytes_of(case.raw)) for case in every_case()])

    def test_mutated_heads(self):
        rng = random.Random(SEED)
        seeds = [case.raw for case in every_case() if isinstance(case.want, list) and len(case.raw) < 1000]
        seeds += ["CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
                  "GET http://a.test?q HTTP/1.0\r\n\r\n"]  # fmt: skip
        self.compare([("R", bytes_of(mutate(rng, rng.choice(seeds)))) for _ in range(20000 * FACTOR)])

    def test_mutated_bodies(self):
        rng = random.Random(SEED)
        seeds = [case.raw.partition("\r\n\r\n")[2] for case in every_case() if case.id.startswith(("chunk-", "trailer-"))]
        seeds = [seed for seed in seeds if len(seed) < 500]
        for kind in "Bb":
            questions = [(kind, bytes_of(seed)) for seed in seeds]
            questions += [(kind, bytes_of(mutate(rng, rng.choice(seeds)))) for _ in range(10000 * FACTOR)]
            self.compare(questions)

    def test_reasons_of_heads_with_one_fault(self):
        single = ("te-value-good", "length-value", "two-lengths", "name-byte", "value-byte", "host-good", "no-host",
                  "connect-")  # fmt: skip
        cases = [case for case in every_case() if case.id.startswith(single)]
        self.compare([("R", bytes_of(case.raw)) for case in cases], with_reason=True)


if __name__ == "__main__":
    unittest.main()

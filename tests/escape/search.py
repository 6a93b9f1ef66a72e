# SPDX-License-Identifier: Apache-2.0
"""usage: search.py TOKEN KEY.pem <FAMILY: looks for both in the memory of a bottle's processes

The key is searched for as it stands in its file and as the 32 bytes that it is. FAMILY is what
family.py prints. The launcher and the proxy may hold them; of all others, what can be
read is searched: the environment, the arguments and, where the kernel lets us, the whole memory.
"""

import base64
import sys

ALLOWED = ("launcher", "proxy")


def regions(pid):
    with open(f"/proc/{pid}/maps", encoding="ascii", errors="replace") as file:
        for line in file:
            span, rights = line.split()[:2]
            if rights.startswith("r") and "[vvar" not in line and "[vsyscall" not in line:
                low, high = (int(word, 16) for word in span.split("-"))
                yield low, high - low, line.split()[-1]


def memory(pid):
    with open(f"/proc/{pid}/mem", "rb") as file:
        for low, size, name in regions(pid):
            try:
                file.seek(low)
                yield name, file.read(size)
            except OSError:
                continue


def key_words(path):
    with open(path, encoding="ascii") as file:
        lines = [line.strip() for line in file]
    lines = lines[1 : lines.index("-----END PRIVATE KEY-----")]
    der = base64.b64decode("".join(lines))
    start = der.index(b"\x04\x20") + 2
    return [lines[1].encode(), der[start : start + 32]]


def main(token, key_path):
    words = [token.encode(), *key_words(key_path)]
    for line in sys.stdin:
        pid, _, what = line.strip().partition(" ")
        hits = 0
        for name in ("environ", "cmdline"):
            try:
                with open(f"/proc/{pid}/{name}", "rb") as file:
                    data = file.read()
                hits += any(word in data for word in words)
            except OSError:
                pass
        try:
            size = 0
            for name, data in memory(pid):
                size += len(data)
                hits += any(word in data for word in words)
            state = f"searched {size} bytes"
        except OSError as error:
            state = f"not readable ({error.strerror})"
        verdict = "FOUND" if hits and what not in ALLOWED else "holds it, as it may" if hits else "clean"
        print(f"{pid} {what}: {state}, {verdict}")


main(*sys.argv[1:])

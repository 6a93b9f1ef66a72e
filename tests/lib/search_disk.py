#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""usage: search_disk.py TOKEN KEY.pem FOLDER: names every file below that holds either. Ends with how many it read.

The token is searched for as it is and in base64, at each of the three places where that can begin; the key by the
lines of its file and as the 32 bytes that it is.
"""

import base64
import mmap
import os
import stat
import sys


def token_words(token):
    raw = token.encode()
    words = [raw]
    for lead in range(3):  # what a byte before it changes is cut off, at both ends
        words.append(base64.b64encode(b"\0" * lead + raw)[(lead * 8 + 5) // 6 : -4])
    return words


def key_words(path):
    with open(path, encoding="ascii") as file:
        lines = [line.strip() for line in file]
    first = next(i for i, line in enumerate(lines) if "PRIVATE KEY" in line) + 1
    last = next(i for i, line in enumerate(lines) if i >= first and "PRIVATE KEY" in line)
    der = base64.b64decode("".join(lines[first:last]))
    start = der.index(b"\x04\x20") + 2
    return [*(line.encode() for line in lines[first:last] if len(line) > 16), der[start : start + 32]]


def files_below(folder):
    for top, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(top, name)
            if stat.S_ISREG(os.lstat(path).st_mode):
                yield path


def holds(path, words):
    with open(path, "rb") as file:
        if os.fstat(file.fileno()).st_size == 0:
            return False
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return any(data.find(word) >= 0 for word in words)


def main():
    token, key, folder = sys.argv[1:]
    words = {"token": token_words(token), "key": key_words(key)}
    count = 0
    for path in files_below(folder):
        count += 1
        for what, list_of in words.items():
            if holds(path, list_of):
                print(f"FOUND the {what} in {path}")
    print(f"{count} files read")


if __name__ == "__main__":
    main()

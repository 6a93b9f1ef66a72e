# SPDX-License-Identifier: Apache-2.0
"""The secrets by standard input (EGRESS_PROXY_SECRETS=stdin): the archive that docs/proxy.md describes.

Runs in: the proxy process, before the settings are read. The archive is read to its end and no further.
Its files are laid below tmpfs mounts and nowhere else, so that no key reaches a container's writable layer;
its tokens stay in memory.
"""

import os
import re

ROUTES = "etc/egress-proxy/routes.yaml"
CA = "home/mitmproxy/.mitmproxy/mitmproxy-ca.pem"
TOKENS = "run/egress-proxy/tokens"
NAMES = (
    ROUTES,
    CA,
    "home/mitmproxy/.mitmproxy/pipelock-ca.pem",
    "etc/egress-proxy/extra-ca.pem",
    TOKENS,
)
BLOCK = 512
MAX_BYTES = 4 << 20  # headers and padding with it
MAGIC = b"ustar\x0000"
OCTAL = re.compile(rb"([0-7]+)[\0 ]+")
TOKEN_LINE = re.compile(rb"(EGRESS_PROXY_TOKEN_(?:0|[1-9][0-9]*))=(.*)")
IN_MEMORY = ("tmpfs", "ramfs")


class BadArchive(ValueError):
    pass


def _octal(field):
    match = OCTAL.fullmatch(field)
    if not match:
        raise BadArchive("a number of a header is none")
    return int(match[1], 8)


def read_header(block):
    """→ (name, size)"""
    if block[257:265] != MAGIC:
        raise BadArchive("a block is no header of a POSIX ustar archive")
    if _octal(block[148:156]) != sum(block[:148]) + sum(block[156:]) + 8 * ord(" "):
        raise BadArchive("a header's checksum is wrong")
    if block[99] or any(block[345:500]):
        raise BadArchive("a name is too long")
    name = block[:100].partition(b"\0")[0].decode("ascii", "backslashreplace")
    if name not in NAMES:
        raise BadArchive(f"{name!r} is none of the files that may come")
    if block[156:157] != b"0":
        raise BadArchive(f"{name!r} is no regular file")
    return name, _octal(block[124:136])


def read_archive(read):
    """`read`: a function that gives exactly so many bytes. → {name: bytes}"""
    files, at, following = {}, 0, 0
    while any(block := read(BLOCK)):
        name, size = read_header(block)
        if NAMES.index(name) < following:
            raise BadArchive(f"{name!r} comes twice, or not in its turn")
        if size > MAX_BYTES - 3 * BLOCK - at:
            raise BadArchive(f"more than {MAX_BYTES} bytes")
        padded = -(-size // BLOCK) * BLOCK
        files[name] = read(padded)[:size]
        at += BLOCK + padded
        following = NAMES.index(name) + 1
    if any(read(BLOCK)):
        raise BadArchive("something follows the archive's first end block")
    for name in (ROUTES, CA):
        if name not in files:
            raise BadArchive(f"{name!r} is missing")
    return files


def read_tokens(text):
    """→ {name: bytes}"""
    tokens = {}
    lines = text.split(b"\n")
    if lines.pop():
        raise BadArchive("the tokens' last line has no end")
    for number, line in enumerate(lines, 1):
        match = TOKEN_LINE.fullmatch(line)
        if not match:
            raise BadArchive(f"line {number} of the tokens is none")
        tokens.setdefault(match[1].decode(), match[2])
    return tokens


def _reader(fd):
    def read(count):
        data = bytearray()
        while len(data) < count:
            piece = os.read(fd, count - len(data))
            if not piece:
                raise BadArchive("the archive ends too early")
            data += piece
        return bytes(data)

    return read


def _is_in_memory(folder_fd):
    """Whether nothing that is written there reaches a disk: proc(5), /proc/pid/mountinfo."""
    device = os.fstat(folder_fd).st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as mounts:
        kinds = {
            line.partition(" - ")[2].split()[0] for line in mounts if line.split()[2] == wanted
        }
    return bool(kinds) and kinds <= set(IN_MEMORY)


def _lay(root, name, data):
    folder, base = os.path.split(f"{root}{name}")
    folder_fd = os.open(folder, os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if not _is_in_memory(folder_fd):
            raise BadArchive(f"{folder} is no tmpfs: mount one there")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with open(os.open(base, flags, 0o400, dir_fd=folder_fd), "wb") as file:
            os.fchmod(file.fileno(), 0o400)
            file.write(data)
    finally:
        os.close(folder_fd)


def receive(fd=0, root="/"):
    """Lays the files. → the tokens, {name: bytes}"""
    try:
        files = read_archive(_reader(fd))
        tokens = read_tokens(files.pop(TOKENS, b""))
        for name, data in files.items():
            _lay(root, name, data)
    except BadArchive as err:
        raise BadArchive(f"secrets on standard input: {err}") from None
    except OSError as err:
        what = f"{err.filename}: " if err.filename else ""
        raise BadArchive(f"secrets on standard input: {what}{err.strerror}") from None
    return tokens


def close_stdin():
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    os.dup2(null, 0)
    os.close(null)

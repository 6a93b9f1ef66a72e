#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The archive of secrets on standard input: what is taken, what is refused, where its files come to lie.

Each archive goes to the native proxy as well, where there is one: what one refuses, the other does."""

import io
import os
import subprocess
import sys
import tarfile
import tempfile
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../rootfs/mitmproxy"))

from egress_proxy import stdin_secrets  # noqa: E402

ROUTES, CA, UPSTREAM, EXTRA, TOKENS = stdin_secrets.NAMES
NATIVE = os.path.join(os.environ.get("BOTTLE_TEST_BUILD", "build/release"), "bin/egress-proxy")
GOOD = [(ROUTES, b"version: 1\n"), (CA, b"-----BEGIN"), (TOKENS, b"EGRESS_PROXY_TOKEN_0=one\n")]
LEAST = GOOD[:2]


def archive(members, tail=b"\0" * 1024, **changes):
    """The members' archive, without the padding to a record that tar(1) adds."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=changes.pop("format", tarfile.USTAR_FORMAT)) as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size, info.mode, info.uid, info.gid = len(data), 0o400, 1000, 1000
            for key, value in changes.items():
                setattr(info, key, value)
            tar.addfile(info, io.BytesIO(data))
        end = out.tell()
    return out.getvalue()[:end] + tail


def receive(data, root, rest=b""):
    """Through a pipe that stays open. → (tokens, what was left in the pipe)"""
    reader, writer = os.pipe()
    try:
        os.write(writer, data + rest)
        tokens = stdin_secrets.receive(reader, root)
        left = os.read(reader, 4096) if rest else b""
    finally:
        os.close(reader)
        os.close(writer)
    return tokens, left


def what_native_says(data):
    """Its folders are not tmpfs here: a good archive is refused for that, and no file is made."""
    run = subprocess.run([NATIVE], input=data, capture_output=True, check=False, timeout=20,
                         env={"EGRESS_PROXY_SECRETS": "stdin"})  # fmt: skip
    assert run.returncode == 1, run
    return run.stderr.decode()


class ArchiveTest(unittest.TestCase):
    def refused(self, data, words, native_words=None):
        reader, writer = os.pipe()
        os.write(writer, data)
        os.close(writer)
        with self.assertRaises(stdin_secrets.BadArchive) as caught:
            stdin_secrets.receive(reader, "/nowhere/")
        os.close(reader)
        self.assertIn(words, str(caught.exception))
        if os.path.exists(NATIVE):
            self.assertIn(native_words or words.replace("\\\\", "\\"), what_native_says(data))

    def test_names(self):
        for name in ("etc/passwd", "/" + ROUTES, "./" + ROUTES, "etc/egress-proxy/../passwd"):
            self.refused(archive([(name, b"")] + LEAST), f"{name!r} is none of the files that may come")

    def test_types(self):
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE):
            data = archive([(ROUTES, b"")], type=kind)
            self.refused(data, f"{ROUTES!r} is no regular file" if kind != tarfile.DIRTYPE else "is none of")

    def test_order(self):
        self.refused(archive(LEAST[::-1]), "comes twice, or not in its turn")
        self.refused(archive(LEAST + LEAST[1:]), "comes twice, or not in its turn")
        self.refused(archive(LEAST[1:]), f"{ROUTES!r} is missing")
        self.refused(archive(LEAST[:1]), f"{CA!r} is missing")

    def test_forms(self):
        good = archive(GOOD)
        self.refused(archive(GOOD, format=tarfile.GNU_FORMAT), "no header of a POSIX ustar archive")
        self.refused(good[:148] + b"0000000\0" + good[156:], "checksum is wrong")
        self.refused(good[:700], "ends too early")
        self.refused(good[:-512], "ends too early")
        self.refused(good[:-1] + b"x", "something follows")
        self.refused(b"", "ends too early")

    def test_size(self):
        big = archive([(ROUTES, bytes(4 << 20))])[:1024]
        self.refused(big, "more than 4194304 bytes")

    def test_tokens(self):
        for text in (b"EGRESS_PROXY_TOKEN_0=a", b"A=b\n", b"\n", b"EGRESS_PROXY_TOKEN_01=a\n"):
            with self.assertRaises(stdin_secrets.BadArchive):
                stdin_secrets.read_tokens(text)


class FilesTest(unittest.TestCase):
    def root(self, parent):
        folder = tempfile.TemporaryDirectory(prefix="bottle-test-", dir=parent)
        self.addCleanup(folder.cleanup)
        for name in ("etc/egress-proxy", "home/mitmproxy/.mitmproxy"):
            os.makedirs(f"{folder.name}/{name}")
        return folder.name + "/"

    def test_laid_for_the_owner_alone_and_read_no_further(self):
        root = self.root("/dev/shm")
        tokens, left = receive(archive(GOOD), root, rest=b"later")
        self.assertEqual((tokens, left), ({"EGRESS_PROXY_TOKEN_0": b"one"}, b"later"))
        self.assertEqual(os.stat(root + CA).st_mode, 0o100400)
        with open(root + ROUTES, "rb") as file:
            self.assertEqual(file.read(), b"version: 1\n")
        self.assertFalse(os.path.exists(root + TOKENS))
        with self.assertRaisesRegex(stdin_secrets.BadArchive, "File exists"):
            receive(archive(GOOD), root)

    def test_a_disk_is_refused(self):
        root = self.root("/var/tmp")
        device = subprocess.run(["stat", "-fc", "%T", root], capture_output=True, text=True, check=True).stdout
        if device.strip() in stdin_secrets.IN_MEMORY:
            self.skipTest("/var/tmp is a tmpfs here")
        with self.assertRaisesRegex(stdin_secrets.BadArchive, "etc/egress-proxy is no tmpfs"):
            receive(archive(GOOD), root)
        self.assertFalse(os.path.exists(root + ROUTES))


if __name__ == "__main__":
    unittest.main()

# SPDX-License-Identifier: Apache-2.0
"""The other end of a terminal, for tests: types, looks, resizes, asks for the modes."""

import fcntl
import os
import pty
import re
import select
import struct
import termios
import time

ESCAPES = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|[@-Z\\-_]|\][^\x07]*\x07)|\r")


class Terminal:
    def __init__(self, *argv, rows=24, columns=80, **environment):
        self.seen = ""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
            os.execvpe(argv[0], argv, {**os.environ, "TERM": "xterm", "PS1": "ready%", **environment})

    def _read(self, deadline):
        """Adds what comes next to `seen`. → False when nobody has the other end open any more."""
        left = deadline - time.monotonic()
        assert left > 0 and select.select([self.fd], [], [], left)[0], f"in vain; there is {self.seen!r}"
        try:
            piece = os.read(self.fd, 65536)
        except OSError:  # EIO
            piece = b""
        self.seen = ESCAPES.sub("", self.seen + piece.decode("utf-8", "replace"))
        return bool(piece)

    def expect(self, regex, seconds=20):
        """Waits until the screen's text, without escape sequences, matches; what matched is used up."""
        deadline = time.monotonic() + seconds
        while not (match := re.search(regex, self.seen)):
            assert self._read(deadline), f"the terminal ended before {regex!r}, there is {self.seen!r}"
        self.seen = self.seen[match.end():]
        return match

    def send(self, text):
        os.write(self.fd, text.encode())

    def line(self, text):
        """Types a line into a shell and waits until its echo was seen."""
        self.send(text + "\n")
        self.expect(re.escape(text[:40]))

    def resize(self, rows, columns):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def modes(self):
        return termios.tcgetattr(self.fd)[:4]

    def wait(self, seconds=20):
        """→ exit status; 128 + n for signal n."""
        deadline = time.monotonic() + seconds
        while self._read(deadline):
            pass
        _, status = os.waitpid(self.pid, 0)
        return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)

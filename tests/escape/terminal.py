# SPDX-License-Identifier: Apache-2.0
"""usage: terminal.py COMMAND: COMMAND in an interactive shell on a pseudo-terminal of its own

Whatever COMMAND types into the terminal is read by that shell. Prints what came out of the terminal,
and then whether the shell goes on, whether the terminal's modes are the same as before, and whether the
shell is in its foreground again.
"""

import os
import pty
import select
import sys
import termios
import time


def read_until(master, word, seconds):
    data, end = b"", time.monotonic() + seconds
    while word not in data and (left := end - time.monotonic()) > 0:
        if not select.select([master], [], [], left)[0]:
            break
        try:
            data += os.read(master, 65536)
        except OSError:
            break
    return data


def main(command):
    pid, master = pty.fork()
    if pid == 0:
        os.environ["PS1"] = "prompt>"
        os.execv("/bin/sh", ["sh", "-i"])
    read_until(master, b"prompt>", 5)
    before = termios.tcgetattr(master)
    os.write(master, command.encode() + b"\n")
    # The echoed command line ends in a prompt only when the command has ended.
    said = read_until(master, b"prompt>", 30)
    time.sleep(0.3)
    after = termios.tcgetattr(master)
    os.write(master, b"echo shell goe''s on\n")
    said += read_until(master, b"shell goes on", 5)
    print(said.decode("utf-8", "replace"))
    print("modes are the same:", before == after)
    print("foreground is ours:", os.tcgetpgrp(master) == pid)
    os.close(master)
    os.waitpid(pid, 0)


main(sys.argv[1])

# SPDX-License-Identifier: Apache-2.0
"""usage: subreaper.py [--strict] COMMAND...: runs COMMAND, and then says which processes it left behind

Orphans of COMMAND and of whatever it started become children of this process (PR_SET_CHILD_SUBREAPER),
so that none is missed and nobody else's is counted. They have a moment to end; what is then left is
printed, killed and makes the exit status 1; with --strict, also what has ended and was left for somebody
else to reap. Otherwise the status is COMMAND's.
"""

import ctypes
import os
import signal
import subprocess
import sys
import time

PR_SET_CHILD_SUBREAPER = 36


def children():
    with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as file:
        return [int(pid) for pid in file.read().split()]


def reap():
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def title(pid):
    with open(f"/proc/{pid}/cmdline", "rb") as file:
        return file.read().replace(b"\0", b" ").decode("latin-1").strip()


def title_or_state(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        return title(pid) or file.read().rsplit(")", 1)[0] + ")"


def main(command):
    if ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        sys.exit("PR_SET_CHILD_SUBREAPER is refused")
    strict = command[0] == "--strict"
    status = subprocess.call(command[strict:])
    if strict and children():
        print("left unreaped:", *map(title_or_state, children()))
        status = 1
    end = time.monotonic() + 5
    reap()
    while children() and time.monotonic() < end:
        time.sleep(0.02)
        reap()
    for pid in children():
        print("left behind:", pid, title(pid))
        os.kill(pid, signal.SIGKILL)
        status = 1
    return status


sys.exit(main(sys.argv[1:]))

# SPDX-License-Identifier: Apache-2.0
"""usage: family.py LAUNCHER: the launcher and all below it, a line "PID WHAT" each

WHAT is `launcher`, the title of a helper, or `proxy` and `agent` for what their reapers run (the
proxy's reaper is the one whose child has the proxy's port in its environment; where that cannot be
read, the one that was made first).
"""

import glob
import os
import sys


def children():
    found = {}
    for path in glob.glob("/proc/[0-9]*/stat"):
        try:
            with open(path, encoding="latin-1") as file:
                words = file.read().rpartition(")")[2].split()
        except OSError:
            continue
        found.setdefault(int(words[1]), []).append(int(path.split("/")[2]))
    return {parent: sorted(pids) for parent, pids in found.items()}


def title(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().replace(b"\0", b" ").strip().decode("latin-1")
    except OSError:
        return ""


def walk(tree, pid, what):
    print(pid, what)
    reapers = ["proxy", "agent"]
    for child in tree.get(pid, []):
        name = title(child)
        if what in ("proxy", "agent"):
            walk(tree, child, what)
        elif what.endswith("reaper proxy") or what.endswith("reaper agent"):
            walk(tree, child, what.split()[-1])
        elif name.startswith("bottle: reaper") and reapers:
            walk(tree, child, f"bottle: reaper {reapers.pop(0)}")
        else:
            walk(tree, child, name or "?")


if os.path.exists(f"/proc/{sys.argv[1]}"):
    walk(children(), int(sys.argv[1]), "launcher")

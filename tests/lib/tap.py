# SPDX-License-Identifier: Apache-2.0
"""Reads the Test Anything Protocol as criterion, bats and our own programs write it."""

import re

LINE = re.compile(r"^(not )?ok\b(?: +\d+)?(?: *- *| +)?(.*)$")
PLAN = re.compile(r"^1\.\.(\d+)(?: *# *[Ss][Kk][Ii][Pp]\S*(.*))?$")
SKIP = re.compile(r"^(.*?) *# *[Ss][Kk][Ii][Pp]\S*[: ]*(.*)$")


class Result:
    """What one job did: passed (a count), failed [(test, output)], skipped [(test, reason)]."""

    def __init__(self, name):
        self.name = name
        self.passed = 0
        self.failed = []
        self.skipped = []
        self.seconds = 0.0

    def fail(self, test, output):
        self.failed.append((test, output))


def _skip(result, test, reason):
    if reason.strip():
        result.skipped.append((test, reason.strip()))
    else:
        result.fail(test, "skipped without a reason")


def parse(result, text):
    """Adds the tests in `text` to `result`. → the number of tests that were planned, or None."""
    planned, failing = None, None
    for line in text.splitlines():
        plan = PLAN.match(line)
        test = LINE.match(line)
        if plan:
            planned = int(plan[1])
            if planned == 0:
                _skip(result, "all", plan[2] or "")
        elif test:
            failing = None
            name = re.sub(r" *\(\d+\.\d+s\)$", "", test[2])
            skip = SKIP.match(name)
            if test[1]:
                failing = [name, []]
                result.failed.append(failing)
            elif skip:
                _skip(result, skip[1], skip[2])
            else:
                result.passed += 1
        elif failing:
            failing[1].append(line)
    for entry in result.failed:
        if isinstance(entry, list):
            entry[1] = "\n".join(entry[1])
    return planned

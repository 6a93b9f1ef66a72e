# SPDX-License-Identifier: Apache-2.0
"""The audit log: one JSON object on one line for each event (docs/audit.md has the fields).

A record is one write(2) of at most 16 KiB. It never holds a token, a query's values or a body. A
proxy that cannot write its log does not go on: requests that nobody sees are what it is there to
prevent.
"""

import datetime
import json
import os
import sys

MAX_LINE = 16 * 1024
MAX_TEXT = 4096  # of one field; a path can be as long as a head
EXIT_AUDIT_LOST = 74  # EX_IOERR


def timestamp():
    now = datetime.datetime.now(datetime.timezone.utc)
    return now.strftime("%Y-%m-%dT%H:%M:%S.") + f"{now.microsecond // 1000:03d}Z"


def _shorten(value):
    if isinstance(value, str):
        return value[:MAX_TEXT]
    if isinstance(value, list):
        return [str(item)[:128] for item in value[:32]]
    return value


def encode(record):
    """→ the line, with its newline. Pure ASCII: JSON escapes the rest."""
    line = json.dumps(record, separators=(",", ":"))
    if len(line) >= MAX_LINE:
        record = {key: _shorten(value) for key, value in record.items()} | {"truncated": True}
        line = json.dumps(record, separators=(",", ":"))
    if len(line) >= MAX_LINE:  # escapes make one character up to twelve
        record = {key: record[key] for key in ("ts", "event", "verdict", "reason") if key in record}
        line = json.dumps(record | {"truncated": True}, separators=(",", ":"))
    return line.encode("ascii") + b"\n"


class AuditLog:
    def __init__(self, fd):
        self._fd = fd

    def write(self, event, **fields):
        record = {"ts": timestamp(), "event": event}
        record.update((key, value) for key, value in fields.items() if value is not None)
        left = encode(record)
        try:
            while left:
                left = left[os.write(self._fd, left) :]
        except BlockingIOError:
            os.set_blocking(self._fd, True)
            self.write(event, **fields)
        except OSError as err:
            print(f"egress-proxy: the audit log is lost: {err.strerror}", file=sys.stderr)
            os._exit(EXIT_AUDIT_LOST)

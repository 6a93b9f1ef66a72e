# SPDX-License-Identifier: Apache-2.0
"""Names and ports: the one form in which hosts are compared, dialled and written.

Pure. A host is a lower-case name of A-labels without a final dot, or an IP literal in its shortest
form without brackets. What does not have exactly one reading is refused: `127.1`, `0x7f.0.0.1`,
`example.com.`, user information, a zone id, raw non-ASCII.
"""

import ipaddress
import re

LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
# A last label of digits (or 0x…) makes browsers and libcs read the name as an IPv4 address.
NUMBER = re.compile(r"(?:[0-9]+|0x[0-9a-f]*)")
PORT = re.compile(rb"[1-9][0-9]{0,4}")
DEFAULT_PORT = {"http": 80, "https": 443}


class BadAuthority(ValueError):
    pass


def canonical_host(text):
    """`text`: str, a v6 literal with or without brackets. → the canonical form."""
    if text.startswith("[") and text.endswith("]"):
        text = text[1:-1]
        if ":" not in text:
            raise BadAuthority("brackets hold an IPv6 address")
    if ":" in text:
        return _ipv6(text)
    text = text.lower()
    labels = text.split(".")
    if NUMBER.fullmatch(labels[-1]):
        return _ipv4(text)
    if len(text) > 253 or not all(LABEL.fullmatch(label) for label in labels):
        raise BadAuthority("no host name in ASCII form")
    return text


def _ipv4(text):
    try:
        return str(ipaddress.IPv4Address(text))
    except ValueError:
        raise BadAuthority("no IPv4 address in dotted form") from None


def _ipv6(text):
    if "%" in text:
        raise BadAuthority("an IPv6 address with a zone")
    try:
        return str(ipaddress.IPv6Address(text))
    except ValueError:
        raise BadAuthority("no IPv6 address") from None


def parse_authority(raw):
    """`host`, `host:port`, `[v6]` or `[v6]:port` as bytes. → (host, port or None)"""
    if raw.startswith(b"["):
        end = raw.find(b"]") + 1
        host, rest = raw[:end], raw[end:]
    else:
        colon = raw.find(b":")
        host, rest = (raw, b"") if colon < 0 else (raw[:colon], raw[colon:])
    if not host:
        raise BadAuthority("no host")
    port = None
    if rest:
        if not PORT.fullmatch(rest[1:]) or rest[:1] != b":" or int(rest[1:]) > 65535:
            raise BadAuthority("no port between 1 and 65535 after the host")
        port = int(rest[1:])
    try:
        text = host.decode("ascii")
    except UnicodeDecodeError:
        raise BadAuthority("a host with bytes beyond ASCII") from None
    return canonical_host(text), port


def render_authority(host, port, scheme):
    """What stands in `Host` and `:authority`: the port only where it is not the scheme's own."""
    shown = f"[{host}]" if ":" in host else host
    return shown if port == DEFAULT_PORT[scheme] else f"{shown}:{port}"

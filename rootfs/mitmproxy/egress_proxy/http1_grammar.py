# SPDX-License-Identifier: Apache-2.0
"""HTTP/1 as RFC 9112 writes it and nothing beside it.

Pure: bytes in, values or a refusal out. Where the RFC lets a recipient be lenient this one is not,
since the next recipient may be lenient in another way: no bare CR or LF, no folded field, no
space before a colon, no empty line before a request, one Host, one length.
"""

import re
from dataclasses import dataclass

from egress_proxy.authority import BadAuthority, parse_authority

MAX_HEAD = 64 * 1024
MAX_CHUNK_LINE = 1024
MAX_TRAILERS = 16 * 1024

TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
REQUEST_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+) ([\x21-\x7e\x80-\xff]+) HTTP/1\.([01])")
STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-9][0-9]{2})(?: [\t\x20-\x7e\x80-\xff]*)?")
FIELD = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([\t\x20-\x7e\x80-\xff]*?)[ \t]*")
FIELD_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
ABSOLUTE = re.compile(rb"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)([/?#].*)?", re.DOTALL)
LENGTH = re.compile(rb"[0-9]{1,18}")
CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:[ \t]*;[\t\x20-\x7e\x80-\xff]*)?")
# Old servers pad the size; h11, which mitmproxy uses, forgives them as well.
PADDED_CHUNK_LINE = re.compile(CHUNK_LINE.pattern + rb"[ \t]*")
BARE_NEWLINE = re.compile(rb"(?<!\r)\n|\r(?!\n|\Z)")


class BadRequest(ValueError):
    """`status` is what the client is told, `reason` what the log and the answer say."""

    def __init__(self, reason, detail, status=400):
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
        self.status = status


@dataclass(frozen=True)
class Head:
    method: bytes
    scheme: str | None  # of an absolute-form target
    authority: tuple | None  # (host, port or None) of an absolute- or authority-form target
    target: bytes  # in origin form; `*`; empty for CONNECT
    version: bytes  # b"HTTP/1.0" or b"HTTP/1.1"
    host: tuple | None  # (host, port or None) of the Host field
    fields: tuple  # ((name, value), …) as sent
    body_length: int | None  # None: chunked


def take_request_head(buffer):
    """Takes a head off the front of a bytearray. → Head, or None when it is not yet whole.

    Refuses as soon as what is there cannot become a head: who never sends an empty line must not
    be waited for."""
    if buffer[:1] in (b"\r", b"\n", b" ", b"\t"):
        raise BadRequest("bad_request_line", "white space before the request line")
    if buffer[:1] and not TOKEN.match(buffer[:1]):
        raise BadRequest("bad_request_line", "the bytes are no HTTP request")
    end = buffer.find(b"\r\n\r\n")
    if BARE_NEWLINE.search(buffer, 0, len(buffer) if end < 0 else end + 4):
        raise BadRequest("bare_cr_or_lf", "a line ends with CR LF and holds no other CR or LF")
    if end < 0:
        if len(buffer) > MAX_HEAD:
            raise BadRequest("head_too_large", f"more than {MAX_HEAD} bytes", 431)
        return None
    if end > MAX_HEAD:
        raise BadRequest("head_too_large", f"more than {MAX_HEAD} bytes", 431)
    raw = bytes(buffer[:end])
    del buffer[: end + 4]
    return parse_request_head(raw)


def parse_request_head(raw):
    """The head without its final empty line."""
    first, *lines = raw.split(b"\r\n")
    match = REQUEST_LINE.fullmatch(first)
    if not match:
        raise BadRequest("bad_request_line", "not `METHOD target HTTP/1.1`")
    method, target, minor = match.groups()
    fields = tuple(parse_field(line) for line in lines)
    scheme, authority, path = _parse_target(method, target)
    head = Head(
        method, scheme, authority, path, b"HTTP/1." + minor,
        _host_of(fields, minor, method), fields, _body_length(fields, minor),
    )  # fmt: skip
    if method == b"CONNECT" and head.body_length != 0:
        raise BadRequest("bad_framing", "a CONNECT with a body")
    return head


def parse_field(line):
    if line[:1] in (b" ", b"\t"):
        raise BadRequest("obs_fold", "a folded header field")
    match = FIELD.fullmatch(line)
    if not match:
        raise BadRequest("bad_field", "not `name: value` without control characters")
    return match.groups()


def _parse_target(method, target):
    if method == b"CONNECT":
        authority = _authority(target)
        if authority[1] is None:
            raise BadRequest("bad_authority", "CONNECT without a port")
        return None, authority, b""
    if method.upper() == b"CONNECT":
        raise BadRequest("bad_request_line", "methods are case-sensitive")
    if target.startswith(b"/") or (target == b"*" and method == b"OPTIONS"):
        return None, None, target
    match = ABSOLUTE.fullmatch(target)
    if not match or match[1].lower() not in (b"http", b"https"):
        raise BadRequest("bad_target", "neither a path nor an http(s) URL")
    path = match[3] or b"/"
    if not path.startswith(b"/"):
        path = b"/" + path
    return match[1].lower().decode(), _authority(match[2]), path


def _authority(raw):
    if b"@" in raw:
        raise BadRequest("userinfo", "user information in a URL")
    try:
        return parse_authority(raw)
    except BadAuthority as err:
        raise BadRequest("bad_authority", str(err)) from None


def _host_of(fields, minor, method):
    hosts = [value for name, value in fields if name.lower() == b"host"]
    if len(hosts) > 1:
        raise BadRequest("two_hosts", "more than one Host field")
    if not hosts:
        # RFC 9112, 3.2, also where the target is a URL. Not so for a CONNECT: it goes no further
        # than here, and there are clients that send nothing but its line.
        if minor == b"1" and method != b"CONNECT":
            raise BadRequest("no_host", "HTTP/1.1 without a Host field")
        return None
    return _authority(hosts[0])


def _body_length(fields, minor):
    lengths = [value for name, value in fields if name.lower() == b"content-length"]
    codings = [value for name, value in fields if name.lower() == b"transfer-encoding"]
    if codings and lengths:
        raise BadRequest("length_and_chunked", "Content-Length with Transfer-Encoding")
    if len(lengths) > 1:
        raise BadRequest("two_lengths", "more than one Content-Length")
    if codings:
        if len(codings) > 1 or codings[0].lower() != b"chunked" or minor == b"0":
            raise BadRequest("bad_transfer_encoding", "only `chunked`, once, in HTTP/1.1")
        return None
    if not lengths:
        return 0
    if not LENGTH.fullmatch(lengths[0]):
        raise BadRequest("bad_length", "a Content-Length that is no decimal number")
    return int(lengths[0])


def peek_response_head(buffer):
    """A whole response head at the front of a bytearray, without taking it.
    → (status, fields, its length) or None. Refuses a head that two readers could read
    differently."""
    end = buffer.find(b"\r\n\r\n")
    if BARE_NEWLINE.search(buffer, 0, len(buffer) if end < 0 else end + 4):
        raise BadRequest("bad_response", "a bare CR or LF in the head", 502)
    if end < 0:
        if len(buffer) > MAX_HEAD:
            raise BadRequest("bad_response", f"a head of more than {MAX_HEAD} bytes", 502)
        return None
    first, *lines = bytes(buffer[:end]).split(b"\r\n")
    match = STATUS_LINE.fullmatch(first)
    if not match:
        raise BadRequest("bad_response", "no HTTP/1 status line", 502)
    fields = []
    for line in lines:
        if not (field := FIELD.fullmatch(line)):
            raise BadRequest("bad_response", "a malformed or folded header field", 502)
        fields.append(field.groups())
    names = [name.lower() for name, _ in fields]
    if b"transfer-encoding" in names and b"content-length" in names:
        raise BadRequest("bad_response", "Content-Length with Transfer-Encoding", 502)
    if names.count(b"content-length") > 1 or names.count(b"transfer-encoding") > 1:
        raise BadRequest("bad_response", "two lengths", 502)
    return int(match[1]), fields, end + 4


class ChunkedBody:
    """A chunked body, piece by piece. Trailers are checked and dropped."""

    def __init__(self, of_response=False):
        self._size_line = PADDED_CHUNK_LINE if of_response else CHUNK_LINE
        self._left = 0  # bytes of the chunk that are still to come
        self._after_chunk = False  # the CR LF that closes a chunk is still to come
        self._in_trailers = False
        self._trailer_bytes = 0

    def take(self, buffer):
        """Takes what can be had off a bytearray. → bytes, True at the end, or None: wait."""
        while True:
            if self._left:
                data = bytes(buffer[: self._left])
                del buffer[: len(data)]
                self._left -= len(data)
                self._after_chunk = self._left == 0
                return data or None
            if self._after_chunk and not b"\r\n".startswith(buffer[:2]):
                raise BadRequest("bad_chunk", "a chunk longer than it said")
            line = self._line(buffer)
            if line is None:
                return None
            if self._after_chunk:
                self._after_chunk = False
            elif self._in_trailers:
                if not line:
                    return True
                parse_field(line)
            else:
                self._open_chunk(line)

    def _open_chunk(self, line):
        match = self._size_line.fullmatch(line)
        if not match:
            raise BadRequest("bad_chunk", "a chunk size that is no hexadecimal number")
        self._left = int(match[1], 16)
        self._in_trailers = self._left == 0

    def _line(self, buffer):
        end = buffer.find(b"\r\n", 0, MAX_CHUNK_LINE + 2)
        if BARE_NEWLINE.search(buffer, 0, len(buffer[:MAX_CHUNK_LINE]) if end < 0 else end + 2):
            raise BadRequest("bad_chunk", "a bare CR or LF between chunks")
        if end < 0:
            if len(buffer) > MAX_CHUNK_LINE:
                raise BadRequest("bad_chunk", "a line too long between chunks")
            return None
        line = bytes(buffer[:end])
        del buffer[: end + 2]
        if self._in_trailers:
            self._trailer_bytes += end + 2
            if self._trailer_bytes > MAX_TRAILERS:
                raise BadRequest("bad_chunk", "trailers too long")
        return line


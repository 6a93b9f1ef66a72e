# SPDX-License-Identifier: Apache-2.0
"""HTTP/2 by the frame: bytes are made here, whatever they say, and what comes back is taken apart with
hyperframe and hpack, which know nothing of nghttp2.
"""

import struct
import time

import hpack
import hyperframe.exceptions
import hyperframe.frame

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM = ACK = 0x1
END_HEADERS, PADDED, PRIORITY_FLAG = 0x4, 0x8, 0x20
NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR, SETTINGS_TIMEOUT, STREAM_CLOSED = range(6)
FRAME_SIZE_ERROR, REFUSED_STREAM, CANCEL, COMPRESSION_ERROR, CONNECT_ERROR, ENHANCE_YOUR_CALM = range(6, 12)


def frame(kind, flags=0, stream=0, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def settings(*pairs):
    return frame(SETTINGS, 0, 0, b"".join(struct.pack(">HI", *pair) for pair in pairs))


def window(stream, increment):
    return frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", increment))


def block(*fields):
    """Literals without an index, so that a block says the same wherever it stands."""
    out = b""
    for name, value in fields:
        out += b"\0"
        for text in (name.encode("latin-1"), value.encode("latin-1")):
            out += hpack.hpack.encode_integer(len(text), 7) + text
    return out


def request_block(path="/ok", method="GET", host="tls.test", more=()):
    return block((":method", method), (":scheme", "https"), (":authority", host), (":path", path), *more)


def request(stream=1, flags=END_STREAM | END_HEADERS, **what):
    return frame(HEADERS, flags, stream, request_block(**what))


def is_reset(got):
    return isinstance(got, hyperframe.frame.RstStreamFrame)


class Peer:
    """One end of an HTTP/2 connection over a connected TLS socket."""

    def __init__(self, sock, is_server=False):
        self.sock = sock
        self.buffer = b""
        self.frames = []  # that came, SETTINGS acknowledged
        self.decoder = hpack.Decoder(max_header_list_size=1 << 20)
        self.ended = False
        if is_server:
            preface = b""
            while len(preface) < len(PREFACE):
                preface += self._recv(len(PREFACE) - len(preface))
            assert preface == PREFACE, preface

    def _recv(self, size=65536):
        data = self.sock.recv(size)
        if not data:
            raise ConnectionError("the peer ended the connection")
        return data

    def start(self, *pairs):
        """A client's first words."""
        self.send(PREFACE + settings(*pairs))
        return self

    def send(self, data):
        """A peer that has closed takes nothing more; what it said before is what counts."""
        try:
            self.sock.sendall(data)
        except OSError:
            self.ended = True

    def _whole_block(self, got):
        """HEADERS with what CONTINUATION brought; None: not all of it is here, and the buffer is as it was"""
        at = 0
        while "END_HEADERS" not in got.flags:
            length = int.from_bytes(self.buffer[at : at + 3], "big")
            if len(self.buffer) < at + 9 + length:
                return None
            more, _ = hyperframe.frame.Frame.parse_frame_header(memoryview(self.buffer[at : at + 9]))
            assert isinstance(more, hyperframe.frame.ContinuationFrame), more
            got.data += self.buffer[at + 9 : at + 9 + length]
            got.flags |= more.flags
            at += 9 + length
        self.buffer = self.buffer[at:]
        return got

    def _parse(self):
        if len(self.buffer) < 9:
            return None
        length = int.from_bytes(self.buffer[:3], "big")
        if len(self.buffer) < 9 + length:
            return None
        got, _ = hyperframe.frame.Frame.parse_frame_header(memoryview(self.buffer[:9]))
        got.parse_body(memoryview(self.buffer[9 : 9 + length]))
        before, self.buffer = self.buffer, self.buffer[9 + length :]
        if isinstance(got, hyperframe.frame.HeadersFrame):
            if not self._whole_block(got):
                self.buffer = before
                return None
            got.fields = dict(self.decoder.decode(got.data))
        if isinstance(got, hyperframe.frame.SettingsFrame) and "ACK" not in got.flags:
            self.send(frame(SETTINGS, ACK))
        return got

    def until(self, wanted, seconds=5.0):
        """→ the first frame for which `wanted` holds; None where the connection ends, or time does."""
        deadline = time.monotonic() + seconds
        while True:
            while (got := self._parse()) is not None:
                self.frames.append(got)
                if wanted(got):
                    return got
            left = deadline - time.monotonic()
            if left <= 0 or self.ended:
                return None
            self.sock.settimeout(left)
            try:
                self.buffer += self._recv()
            except TimeoutError:
                return None
            except OSError:
                self.ended = True

    def goaway(self):
        """→ the code of the GOAWAY that ends it, or None"""
        got = self.until(lambda f: isinstance(f, hyperframe.frame.GoAwayFrame) and f.error_code != NO_ERROR)
        return got.error_code if got else None

    def reset(self, stream=1):
        got = self.until(lambda f: is_reset(f) and f.stream_id == stream)
        return got.error_code if got else None

    def status(self, stream=1):
        got = self.until(lambda f: isinstance(f, hyperframe.frame.HeadersFrame) and f.stream_id == stream)
        return int(got.fields[":status"]) if got and ":status" in got.fields else None

    def status_seen(self, stream):
        """As `status`, also where it came while another stream was waited for."""
        seen = [f for f in self.frames if isinstance(f, hyperframe.frame.HeadersFrame) and f.stream_id == stream]
        return int(seen[0].fields[":status"]) if seen else self.status(stream)

    def body(self, stream=1):
        """→ the body, once its stream has ended as it should; None otherwise"""
        done = self.until(lambda f: f.stream_id == stream and ("END_STREAM" in f.flags or is_reset(f)))
        pieces = [f.data for f in self.frames if isinstance(f, hyperframe.frame.DataFrame) and f.stream_id == stream]
        return b"".join(pieces) if done and not is_reset(done) else None

    def is_alive(self):
        self.send(frame(PING, 0, 0, b"are you?"))
        return self.until(lambda f: isinstance(f, hyperframe.frame.PingFrame) and "ACK" in f.flags) is not None

    def at_end(self):
        self.until(lambda f: False)
        return self.ended

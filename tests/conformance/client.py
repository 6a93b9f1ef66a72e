# SPDX-License-Identifier: Apache-2.0
"""A client that can say anything: raw bytes, TLS with any server name, HTTP/2 with any field.

Each case opens connections of its own. A status of 0 means: closed without an answer.
"""

import socket
import ssl
import time

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions

PATIENCE = 6.0  # for an answer
CLOSE_PATIENCE = 3.5  # for the end of a connection; longer than the proxy lingers


class Outcome:
    def __init__(self):
        self.status = 0
        self.answer = b""  # body of the first answer
        self.second_status = 0
        self.closed = False
        self.echo = None
        self.raw = b""


def build_request(case):
    """The bytes of a case's request in HTTP/1."""
    if "raw" in case:
        return case["raw"].encode("latin-1")
    if "raw_repeat" in case:
        first, middle, count, last = case["raw_repeat"]
        return (first + middle * count + last).encode("latin-1")
    method, target = split_request(case)
    fields = [f"Host: {host_of(case)}"] + case.get("fields", [])
    if "body" in case:
        fields.append(f"Content-Length: {len(case['body'])}")
    body = case.get("body", case.get("raw_body", ""))
    head = f"{method} {target} HTTP/1.1\r\n" + "".join(f + "\r\n" for f in fields) + "\r\n"
    return (head + body).encode("latin-1")


def split_request(case):
    request = case["request"]
    return request.split(" ", 1) if isinstance(request, str) else request


def connect_target(case):
    return case.get("connect", "api.test:443")


def host_of(case):
    if "host" in case:
        return case["host"]
    return connect_target(case).rpartition(":")[0] if not case.get("plain") else ""


def read_some(sock, deadline):
    """→ bytes, b"" at the end (a reset counts as one), None when it is too late."""
    left = deadline - time.monotonic()
    if left <= 0:
        return None
    sock.settimeout(left)
    try:
        return sock.recv(65536)
    except (TimeoutError, ssl.SSLWantReadError):
        return None
    except OSError:
        return b""


class Http1Reader:
    """Answers off a socket, as many as there are."""

    def __init__(self, sock):
        self.sock = sock
        self.buffer = b""
        self.ended = False

    def _more(self, deadline):
        data = read_some(self.sock, deadline)
        if data == b"":
            self.ended = True
        self.buffer += data or b""
        return bool(data)

    def answer(self, is_head=False, patience=PATIENCE):
        """→ (status, body); status 0 when the connection ends first"""
        deadline = time.monotonic() + patience
        while b"\r\n\r\n" not in self.buffer:
            if not self._more(deadline):
                return 0, b""
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        status = int(head.split(b" ")[1])
        if status == 100:
            return self.answer(is_head, patience)
        fields = dict(line.lower().split(b":", 1) for line in head.split(b"\r\n")[1:])
        if is_head or status in (101, 204, 304):
            return status, b""
        if b"chunked" in fields.get(b"transfer-encoding", b""):
            return status, self._chunks(deadline)
        if b"content-length" in fields:
            length = int(fields[b"content-length"])
            while len(self.buffer) < length and self._more(deadline):
                pass
            body, self.buffer = self.buffer[:length], self.buffer[length:]
            return status, body
        while self._more(deadline):
            pass
        return status, self.buffer

    def _chunks(self, deadline):
        body = b""
        while True:
            while b"\r\n" not in self.buffer:
                if not self._more(deadline):
                    return body
            line, _, self.buffer = self.buffer.partition(b"\r\n")
            size = int(line, 16)
            while len(self.buffer) < size + 2:
                if not self._more(deadline):
                    return body + self.buffer
            body, self.buffer = body + self.buffer[:size], self.buffer[size + 2 :]
            if not size:
                return body

    def at_end(self):
        deadline = time.monotonic() + CLOSE_PATIENCE
        while not self.ended and self._more(deadline):
            pass
        return self.ended


class Client:
    def __init__(self, proxy, ca_file):
        self.proxy = proxy
        self.ca_file = ca_file

    def run(self, case):
        outcome = Outcome()
        with socket.create_connection(self.proxy, timeout=PATIENCE) as sock:
            if case.get("plain"):
                self._http1(sock, case, outcome)
                return outcome
            target = connect_target(case)
            sock.sendall(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode("latin-1"))
            reader = Http1Reader(sock)
            status, body = self._connect_answer(reader)
            if status != 200:
                outcome.status, outcome.answer = status, body
                outcome.closed = reader.at_end() if case["expect"].get("closed") else False
                return outcome
            if "raw_after_connect" in case:
                self._raw(sock, case, outcome)
                return outcome
            try:
                tls = self._tls(sock, case)
            except OSError:
                outcome.closed = True
                return outcome
            with tls:
                if "h2" in case:
                    self._http2(tls, case, outcome)
                else:
                    self._http1(tls, case, outcome)
        return outcome

    def _connect_answer(self, reader):
        """A 200 to CONNECT has no body, whatever it says."""
        deadline = time.monotonic() + PATIENCE
        while b"\r\n\r\n" not in reader.buffer:
            if not reader._more(deadline):
                return 0, b""
        if reader.buffer.split(b" ")[1] == b"200":
            return 200, b""
        return reader.answer()

    def _raw(self, sock, case, outcome):
        sock.sendall(case["raw_after_connect"].encode("latin-1"))
        if case.get("half_close"):
            sock.shutdown(socket.SHUT_WR)
        reader = Http1Reader(sock)
        outcome.closed = reader.at_end()
        outcome.raw = reader.buffer
        if reader.buffer.startswith(b"HTTP/"):
            outcome.status = int(reader.buffer.split(b" ")[1])

    def _tls(self, sock, case):
        context = ssl.create_default_context(cafile=self.ca_file)
        name = connect_target(case).rpartition(":")[0].strip("[]").lower()
        sni = case.get("sni", name)
        # The certificate is judged by the name that is sent; without one, by the CONNECT host.
        context.check_hostname = sni is not None and not sni.replace(".", "").isdigit()
        context.set_alpn_protocols(case.get("alpn", ["h2"] if "h2" in case else ["http/1.1"]))
        return context.wrap_socket(sock, server_hostname=sni)

    def _http1(self, sock, case, outcome):
        reader = Http1Reader(sock)
        try:
            sock.sendall(build_request(case))
        except OSError:
            pass  # refused before it was all sent; the answer may be there
        is_head = build_request(case).startswith(b"HEAD")
        outcome.status, outcome.answer = reader.answer(is_head)
        if "then" in case:
            sock.sendall(case["then"].encode("latin-1"))
            deadline = time.monotonic() + PATIENCE
            while len(reader.buffer) < 4 and reader._more(deadline):
                pass
            outcome.echo = reader.buffer[2 : 2 + reader.buffer[1]] if reader.buffer else None
        if "second_status" in case["expect"] or case["expect"].get("upstream") == 2:
            outcome.second_status, _ = reader.answer() if "then" not in case else (0, b"")
        if case["expect"].get("closed"):
            outcome.closed = reader.at_end()

    def _http2(self, tls, case, outcome):
        if tls.selected_alpn_protocol() != "h2":
            raise AssertionError("the proxy does not speak HTTP/2")
        state = h2.connection.H2Connection(
            h2.config.H2Configuration(
                client_side=True, header_encoding="latin-1", validate_outbound_headers=False,
                normalize_outbound_headers=False,
            )  # fmt: skip
        )
        state.initiate_connection()
        wanted = case["h2"]
        method, target = split_request(case)
        fields = [
            (":method", method),
            (":scheme", wanted.get("scheme", "https")),
            (":authority", wanted.get("authority", host_of(case))),
            (":path", target),
        ]
        fields += [tuple(f.split(": ", 1)) for f in case.get("fields", [])]
        fields += [tuple(pair) for pair in case.get("fields_raw", [])]
        body = case.get("body", "").encode("latin-1")
        state.send_headers(1, fields, end_stream=not body)
        if body:
            last = not (wanted.get("unfinished") or wanted.get("trailers"))
            state.send_data(1, body, end_stream=last)
        if trailers := wanted.get("trailers"):
            state.send_headers(1, [tuple(pair) for pair in trailers], end_stream=True)
        tls.sendall(state.data_to_send())
        self._http2_answer(tls, state, outcome, bool(case["expect"].get("closed")))

    def _http2_answer(self, tls, state, outcome, until_closed):
        deadline = time.monotonic() + (CLOSE_PATIENCE if until_closed else PATIENCE)
        while (data := read_some(tls, deadline)) is not None:
            if not data:
                outcome.closed = True
                return
            try:
                happened = state.receive_data(data)
            except h2.exceptions.ProtocolError:
                return
            for event in happened:
                if isinstance(event, h2.events.ResponseReceived):
                    outcome.status = int(dict(event.headers)[":status"])
                elif isinstance(event, h2.events.DataReceived):
                    outcome.answer += event.data
                elif isinstance(event, h2.events.ConnectionTerminated):
                    outcome.closed = True
                    return
                elif isinstance(event, h2.events.StreamReset):
                    if event.error_code != h2.errors.ErrorCodes.NO_ERROR:
                        outcome.status = outcome.status or 0
                    if not until_closed:
                        return
                elif isinstance(event, h2.events.StreamEnded) and not until_closed:
                    return

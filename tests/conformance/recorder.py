# SPDX-License-Identifier: Apache-2.0
"""The server behind the proxy: answers every name, and remembers every byte that reached it.

Also the names that no route has: a request that gets past the proxy must be seen, not time out.

Runs in: the test's network namespace, or any host that the names of cases.json resolve to.
Control: one line in, one JSON line out, on a port of its own: `take` gives and forgets what was
recorded.
"""

import hashlib
import json
import socket
import ssl
import threading
import time

try:
    import h2.config
    import h2.connection
    import h2.events
except ImportError:
    h2 = None


class Wire:
    """A connection that keeps what arrived on it, to the byte."""

    LIMIT = 16 * 1024

    def __init__(self, conn):
        self._conn = conn
        self._log = bytearray()
        self.sendall = conn.sendall

    def recv(self, size):
        data = self._conn.recv(size)
        self._log += data
        return data

    def take(self, left):
        """What came since the last time, without the last `left` bytes; long ones are cut."""
        end = len(self._log) - left
        taken = bytes(self._log[: min(end, self.LIMIT)])
        del self._log[:end]
        return taken.decode("latin-1")


class Recorder:
    def __init__(self, certs):
        """`certs`: name → PEM file with certificate and key; "" is for every other name."""
        self._lock = threading.Lock()
        self._seen = []
        self._default_cert = certs[""]
        self._contexts = {name: self._context(name, path) for name, path in certs.items()}

    def _context(self, name, path):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        context.set_alpn_protocols(["h2"] if name == "h2.test" else ["http/1.1"])
        return context

    def record(self, **what):
        with self._lock:
            self._seen.append(what)

    def take(self):
        with self._lock:
            seen, self._seen = self._seen, []
        return seen

    # Listening

    def listen(self, address, port, tls):
        listener = socket.create_server((address, port), backlog=64, reuse_port=False)
        threading.Thread(target=self._accept, args=(listener, port, tls), daemon=True).start()

    def _accept(self, listener, port, tls):
        while True:
            conn, _ = listener.accept()
            threading.Thread(target=self._serve, args=(conn, port, tls), daemon=True).start()

    def _serve(self, conn, port, tls):
        names = []
        conn.settimeout(20)
        try:
            if tls:
                default = self._contexts[""]

                def choose(sock, name, _):
                    names.append(name)
                    sock.context = self._contexts.get(name, default)

                outer = self._context("", self._default_cert)
                outer.sni_callback = choose
                conn = outer.wrap_socket(conn, server_side=True)
            sni = names[0] if names else None
            if tls and conn.selected_alpn_protocol() == "h2":
                self._serve_http2(conn, port, sni)
            else:
                self._serve_http1(conn, port, sni)
        except (OSError, ValueError):
            pass
        finally:
            conn.close()

    # HTTP/1

    def _serve_http1(self, conn, port, sni):
        """Each entry's `wire` is what was read as that request, head and framing and all."""
        buffer = bytearray()
        conn = Wire(conn)
        while True:
            while (end := buffer.find(b"\r\n\r\n")) < 0:
                data = conn.recv(65536)
                if not data:
                    if buffer:
                        self.record(port=port, sni=sni, head=buffer.decode("latin-1"), whole=False,
                                    wire=conn.take(0))  # fmt: skip
                    return
                buffer += data
            head = bytes(buffer[:end])
            del buffer[: end + 4]
            entry = {"port": port, "sni": sni, "head": head.decode("latin-1"), "whole": False}
            with self._lock:
                self._seen.append(entry)
            body = self._body(conn, head, buffer)
            entry["wire"] = conn.take(len(buffer))
            entry.update(whole=True, length=len(body), sha256=hashlib.sha256(body).hexdigest())
            if len(body) <= 1024:
                entry["body"] = body.decode("latin-1")
            if not self._answer(conn, head):
                return

    def _body(self, conn, head, buffer):
        lower = head.lower()

        def need(count):
            while len(buffer) < count:
                data = conn.recv(65536)
                if not data:
                    raise ValueError("closed in a body")
                buffer.extend(data)

        def line():
            while (end := buffer.find(b"\r\n")) < 0:
                need(len(buffer) + 1)
            text = bytes(buffer[:end])
            del buffer[: end + 2]
            return text

        if b"\r\ntransfer-encoding: chunked" in lower:
            body = b""
            while size := int(line().split(b";")[0], 16):
                need(size + 2)
                body += bytes(buffer[:size])
                del buffer[: size + 2]
            while line():
                pass
            return body
        at = lower.find(b"\r\ncontent-length:")
        if at < 0:
            return b""
        length = int(lower[at + 17 :].split(b"\r\n")[0])
        need(length)
        body = bytes(buffer[:length])
        del buffer[:length]
        return body

    def _answer(self, conn, head):
        """The path says how to answer. → whether the connection goes on"""
        line = head.split(b"\r\n")[0]
        path = line.partition(b" ")[2].partition(b" ")[0].partition(b"?")[0]
        for end, special in ANSWERS.items():
            if path.endswith(end):
                conn.sendall(special)
                if end == b"/websocket":
                    self._echo_websocket(conn)
                return False
        body = b"" if line.startswith(b"HEAD ") else b"recorded"
        conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\nX-From: recorder\r\n\r\n" + body)
        return True

    def _echo_websocket(self, conn):
        """One text frame of fewer than 126 bytes, unmasked and sent back."""
        frame = conn.recv(4096)
        if len(frame) < 6:
            return
        mask, body = frame[2:6], frame[6 : 6 + (frame[1] & 0x7F)]
        text = bytes(byte ^ mask[i % 4] for i, byte in enumerate(body))
        self.record(port=0, sni=None, head="websocket " + text.decode("latin-1"), whole=True)
        conn.sendall(bytes([frame[0], len(text)]) + text)
        time.sleep(0.2)

    # HTTP/2

    def _serve_http2(self, conn, port, sni):
        config = h2.config.H2Configuration(client_side=False, header_encoding="latin-1")
        state = h2.connection.H2Connection(config)
        state.initiate_connection()
        conn.sendall(state.data_to_send())
        heads, sizes = {}, {}
        while data := conn.recv(65536):
            for event in state.receive_data(data):
                if isinstance(event, h2.events.RequestReceived):
                    heads[event.stream_id] = event.headers
                    sizes[event.stream_id] = 0
                elif isinstance(event, h2.events.DataReceived):
                    sizes[event.stream_id] += len(event.data)
                    state.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                elif isinstance(event, h2.events.StreamEnded):
                    head = "\r\n".join(f"{name}: {value}" for name, value in heads[event.stream_id])
                    self.record(port=port, sni=sni, head=head, whole=True,
                                length=sizes[event.stream_id], http2=True)  # fmt: skip
                    state.send_headers(event.stream_id, [(":status", "200")])
                    state.send_data(event.stream_id, b"recorded", end_stream=True)
            conn.sendall(state.data_to_send())

    # Control

    def control(self, address, port):
        listener = socket.create_server((address, port))

        def serve():
            while True:
                conn, _ = listener.accept()
                with conn, conn.makefile("rw") as file:
                    if file.readline().strip() == "take":
                        json.dump(self.take(), file)
                        file.write("\n")

        threading.Thread(target=serve, daemon=True).start()


WEBSOCKET = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)
ANSWERS = {
    b"/websocket": WEBSOCKET,
    b"/switch": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: raw\r\nConnection: Upgrade\r\n\r\n",
    b"/hints": b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nafter",
    b"/fold": b"HTTP/1.1 200 OK\r\nX-A: b\r\n c\r\nContent-Length: 0\r\n\r\n",
    b"/both-lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5\r\nhello\r\n0\r\n\r\n",
    b"/trailers": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n"
    b"5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n",
    b"/bad-chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n",
    b"/to-the-end": b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil closed",
    b"/hang-up": b"",
    b"/not-http": b"SSH-2.0-test\r\n\r\n",
    b"/refused": b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno",
}

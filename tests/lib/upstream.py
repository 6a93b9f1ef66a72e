#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A plain HTTP server on the loopback for what nginx cannot do alone. usage: upstream.py PORT

POST /echo     the body comes back while it still arrives
POST /count    "BYTES SHA256" of the body
GET /bytes/N   N zero bytes
GET /cut/N     half of the N bytes that it announces, then the connection ends
GET /drip/N    N lines, one every 0.3 seconds, with the server's clock at which each was sent
"""

import hashlib
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PIECE = 65536


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def body(self):
        """The body's pieces, whichever way its length is told."""
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            while size := int(self.rfile.readline().split(b";")[0], 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return
        left = int(self.headers.get("content-length", 0))
        while left:
            piece = self.rfile.read1(min(left, PIECE))
            if not piece:
                raise ConnectionError("the body ended early")
            left -= len(piece)
            yield piece

    def head(self, status, **fields):
        self.send_response(status)
        for name, value in fields.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()

    def chunked(self, pieces):
        self.head(200, transfer_encoding="chunked")
        for piece in pieces:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        self.wfile.write(b"0\r\n\r\n")

    def text(self, status, text):
        data = text.encode()
        self.head(status, content_length=len(data))
        self.wfile.write(data)

    def do_POST(self):
        if self.path == "/echo":
            self.chunked(self.body())
        elif self.path == "/count":
            digest, count = hashlib.sha256(), 0
            for piece in self.body():
                digest.update(piece)
                count += len(piece)
            self.text(200, f"{count} {digest.hexdigest()}\n")
        else:
            self.text(404, "no such thing\n")

    def do_GET(self):
        word, _, number = self.path[1:].partition("/")
        if word in ("bytes", "cut"):
            self.head(200, content_length=number)
            left = int(number) // (2 if word == "cut" else 1)
            self.close_connection = word == "cut"
            while left:
                left -= self.wfile.write(bytes(min(left, PIECE)))
        elif word == "drip":
            self.chunked(self.drops(int(number)))
        else:
            self.text(404, "no such thing\n")

    @staticmethod
    def drops(count):
        for number in range(count):
            yield f"{number} {time.time():.3f}\n".encode()
            time.sleep(0.3)


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        """A client that went away is what some tests are about."""


Server(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()

# SPDX-License-Identifier: Apache-2.0
"""usage: host.py FOLDER

What the attacks must not reach, and the servers that the allowed way leads to. Each listener stands
on a free port of every address of the host; FOLDER/ports tells which, as assignments for a shell,
and FOLDER/seen has one line for whatever arrived:

    tls PEER-BYTES | https METHOD TARGET HEADERS | http … | raw BYTES | udp BYTES | abstract BYTES

`raw` is also what a route may lead to: whoever opens a tunnel and speaks no TLS would be seen there.
"""

import json
import os
import socket
import ssl
import sys
import threading

FOLDER = sys.argv[1]
ABSTRACT = f"bottle-escape-{os.getpid()}"
LOCK = threading.Lock()


def note(*words):
    with LOCK, open(f"{FOLDER}/seen", "a", encoding="ascii") as file:
        print(*words, file=file)


def read_request(stream):
    """→ (the request line's words, [(name, value)], the body) or None at the end"""
    line = stream.readline(65536)
    if not line.strip():
        return None
    headers = []
    while (header := stream.readline(65536)).strip():
        name, _, value = header.decode("latin-1").partition(":")
        headers.append((name.lower(), value.strip()))
    body = stream.read(int(dict(headers).get("content-length", "0")))
    return line.decode("latin-1").split(), headers, body


def serve_http(kind, connection):
    stream = connection.makefile("rwb")
    while request := read_request(stream):
        words, headers, _ = request
        note(kind, *(ascii(word)[1:-1] for word in words[:2]), json.dumps(headers))
        answer = json.dumps({"request": words, "headers": headers}).encode()
        stream.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
                     b"content-length: %d\r\n\r\n%s" % (len(answer), answer))  # fmt: skip
        stream.flush()


def serve_tls(context, connection):
    first = connection.recv(1, socket.MSG_PEEK)
    note("tls", "handshake" if first == b"\x16" else ascii(connection.recv(4096, socket.MSG_PEEK)))
    with context.wrap_socket(connection, server_side=True) as inner:
        note("sni", inner.sni or "-")
        serve_http("https", inner)


def serve_raw(kind, connection):
    note(kind, "connected")
    while data := connection.recv(65536):
        note(kind, ascii(data))
        connection.sendall(b"reached " + data)


def accept_all(listener, serve, *args):
    def one(connection):
        with connection:
            connection.settimeout(30)
            try:
                serve(*args, connection)
            except (OSError, ValueError):
                pass

    while True:
        connection, _ = listener.accept()
        threading.Thread(target=one, args=(connection,), daemon=True).start()


def listen(serve, *args):
    """On a free port of every address, of both families. → the port"""
    listener = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True, backlog=512)
    threading.Thread(target=accept_all, args=(listener, serve, *args), daemon=True).start()
    return listener.getsockname()[1]


def listen_udp():
    sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    sock.bind(("::", 0))

    def loop():
        while True:
            data, peer = sock.recvfrom(65536)
            note("udp", ascii(data))
            sock.sendto(b"reached " + data, peer)

    threading.Thread(target=loop, daemon=True).start()
    return sock.getsockname()[1]


def listen_abstract():
    listener = socket.socket(socket.AF_UNIX)
    listener.bind("\0" + ABSTRACT)
    listener.listen()
    threading.Thread(target=accept_all, args=(listener, serve_raw, "abstract"), daemon=True).start()


def main():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f"{FOLDER}/server.pem", f"{FOLDER}/server.key")

    def remember(sock, name, _):
        sock.sni = name

    context.sni_callback = remember
    context.sslobject_class.sni = context.sslsocket_class.sni = None
    open(f"{FOLDER}/seen", "w", encoding="ascii").close()
    listen_abstract()
    ports = {"tls_port": listen(serve_tls, context), "http_port": listen(serve_http, "http"),
             "raw_port": listen(serve_raw, "raw"), "udp_port": listen_udp()}  # fmt: skip
    text = "".join(f"{name}={port}\n" for name, port in ports.items()) + f"abstract={ABSTRACT}\n"
    with open(f"{FOLDER}/ports.new", "w", encoding="ascii") as file:
        file.write(text)
    os.rename(f"{FOLDER}/ports.new", f"{FOLDER}/ports")
    threading.Event().wait()


main()

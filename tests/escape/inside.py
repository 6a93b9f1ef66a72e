# SPDX-License-Identifier: Apache-2.0
"""Tools of the attacker inside: raw words with the proxy, tunnels, TLS with any name, any socket."""

import ctypes
import errno
import os
import select
import socket
import ssl

PROXY = ("egress-proxy", 9099)
libc = ctypes.CDLL(None, use_errno=True)


def said(data):
    """The status of an HTTP answer, or what came instead."""
    words = data.split(b" ", 2)
    return words[1].decode() if data.startswith(b"HTTP/1.") and len(words) > 1 else ascii(data[:80])


def read_all(sock, seconds=4):
    """All that comes until the end, or until nothing has come for so long."""
    sock.settimeout(seconds)
    data = b""
    try:
        while piece := sock.recv(65536):
            data += piece
    except socket.timeout:
        data += b"<silence>"
    except OSError as error:
        data += b"<%s>" % errno.errorcode.get(error.errno or 0, type(error).__name__).encode()
    return data


def say(data, seconds=4):
    """Raw bytes to the proxy. → raw bytes"""
    with socket.create_connection(PROXY, timeout=10) as sock:
        sock.sendall(data)
        return read_all(sock, seconds)


def get(target, host, extra=b"", seconds=4):
    """A GET with the proxy, not a byte of it judged or bettered. → the status"""
    return said(say(b"GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n%s\r\n"
                    % (target.encode("latin-1"), host.encode("latin-1"), extra), seconds))  # fmt: skip


def tunnel(target):
    """CONNECT. → (socket, status); the socket is None when there is no tunnel"""
    sock = socket.create_connection(PROXY, timeout=10)
    sock.sendall(b"CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n" % (target.encode(), target.encode()))
    data = b""
    while b"\r\n\r\n" not in data:
        piece = sock.recv(4096)
        if not piece:
            break
        data += piece
    status = said(data)
    return (sock, status) if status == "200" else (None, status)


def tls(sock, name, verify=True):
    context = ssl.create_default_context()
    if not verify or name is None:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1"])
    return context.wrap_socket(sock, server_hostname=name)


def https(path, connect="up.test:443", sni="up.test", host="up.test", method="GET", headers=(), body=b""):
    """One request through a tunnel, each of the three names by choice. → (status, the whole answer)"""
    sock, status = tunnel(connect)
    if not sock:
        return f"no tunnel: {status}", b""
    try:
        with tls(sock, sni, verify=False) as inner:
            head = [f"{method} {path} HTTP/1.1", f"Host: {host}", "Connection: close", *headers]
            if body:
                head.append(f"Content-Length: {len(body)}")
            inner.sendall("\r\n".join([*head, "", ""]).encode("latin-1") + body)
            data = read_all(inner)
            return said(data), data
    except OSError as error:
        return f"tls: {type(error).__name__}", b""


def begin(address, port, device=None, kind=socket.SOCK_STREAM):
    """A connection on its way, or a datagram that was sent. → (socket, "") or (None, the error's name)"""
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind | socket.SOCK_NONBLOCK)
    try:
        if device:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode() + b"\0")
        code = sock.connect_ex((address, port))
        if code not in (0, errno.EINPROGRESS):
            raise OSError(code, "connect")
        if kind == socket.SOCK_DGRAM:
            sock.send(b"datagram from inside")
        return sock, ""
    except OSError as error:
        sock.close()
        return None, errno.errorcode.get(error.errno, "?")


def connect_all(tries, seconds=1.0):
    """All of them at once, and then that long a silence. → {try: "open", "answered" or what went wrong}

    A try is (address, port, device or None, socket.SOCK_STREAM or SOCK_DGRAM).
    """
    results, poll, pending = {}, select.poll(), {}
    for one in tries:
        sock, results[one] = begin(*one)
        if sock:
            results[one] = "silence"
            pending[sock.fileno()] = (sock, one)
            poll.register(sock, select.POLLOUT if one[3] == socket.SOCK_STREAM else select.POLLIN)
    while pending and (events := poll.poll(seconds * 1000)):
        for fd, _ in events:
            sock, one = pending.pop(fd)
            poll.unregister(fd)
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            good = "open" if one[3] == socket.SOCK_STREAM else "answered"
            results[one] = errno.errorcode[code] if code else good
            sock.close()
    for sock, _ in pending.values():
        sock.close()
    return results


def connects(address, port, seconds=1.0, device=None, kind=socket.SOCK_STREAM):
    """→ "open", "answered" or the name of the error"""
    one = (address, port, device, kind)
    return connect_all([one], seconds)[one]


def call(number, *args):
    """A raw system call. → "ok" or the name of the error"""
    ctypes.set_errno(0)
    result = libc.syscall(ctypes.c_long(number), *args)
    return "ok" if result >= 0 else errno.errorcode[ctypes.get_errno()]


def writes(path):
    try:
        with open(path, "ab") as file:
            file.write(b"written from inside\n")
        return "written"
    except OSError as error:
        return errno.errorcode[error.errno]


__all__ = [name for name in dir() if not name.startswith("_")] + ["os", "socket", "ssl"]

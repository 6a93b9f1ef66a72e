#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""An attack on what listens on every address of a container host, from a container on an internal network.

usage: docker_reach.py listen FILE            on the host: writes a line for whoever arrives, and answers
       docker_reach.py attack ADDRESS...      inside: tries to reach each address, and all at once
"""

import selectors
import socket
import sys

TCP, UDP = 7001, 7002
SO_BINDTODEVICE = 25
SECONDS = 1.0
WORD = b"from the host\n"


def listen(path):
    ready = selectors.DefaultSelector()
    for family, every in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
        for kind, port in ((socket.SOCK_STREAM, TCP), (socket.SOCK_DGRAM, UDP)):
            sock = socket.socket(family, kind)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind((every, port))
            if kind == socket.SOCK_STREAM:
                sock.listen()
            ready.register(sock, selectors.EVENT_READ)
    with open(path, "a", encoding="ascii", buffering=1) as seen:
        print("listening", file=seen)
        while True:
            for key, _ in ready.select():
                take(key.fileobj, seen)


def take(sock, seen):
    if sock.type == socket.SOCK_STREAM:
        connection, peer = sock.accept()
        print("tcp", peer[0], file=seen)
        connection.sendall(WORD)
        connection.close()
        return
    what, peer = sock.recvfrom(512)
    print("udp", peer[0], what.decode("ascii", "backslashreplace"), file=seen)
    try:
        sock.sendto(WORD, peer)
    except OSError as err:
        print("no answer:", err.strerror, file=seen)


def target(address, port):
    if ":" in address:
        return socket.AF_INET6, (address, port, 0, socket.if_nametoindex("eth0"))
    return socket.AF_INET, (address, port)


def attempt(kind, address, port, by_device):
    """→ whether the host answered"""
    name = f"{'tcp' if kind == socket.SOCK_STREAM else 'udp'} {address} {'by device' if by_device else 'by route'}"
    family, place = target(address, port)
    try:
        with socket.socket(family, kind) as sock:
            sock.settimeout(SECONDS)
            if by_device:
                sock.setsockopt(socket.SOL_SOCKET, SO_BINDTODEVICE, b"eth0\0")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            sock.connect(place)
            if kind == socket.SOCK_DGRAM:
                sock.send(name.encode())
            answer = sock.recv(64)
    except OSError as err:
        print(f"{name}: {err}")
        return
    print(f"{name}: REACHED {answer!r}")


def shout(address):
    """A datagram to all: whoever hears it answers to where it came from."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(SECONDS)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        sock.setsockopt(socket.SOL_SOCKET, SO_BINDTODEVICE, b"eth0\0")
        try:
            sock.sendto(f"to all {address}".encode(), (address, UDP))
            print(f"to all {address}: REACHED {sock.recv(64)!r}")
        except OSError as err:
            print(f"to all {address}: {err}")


def would_be_gateways():
    """The first address of each network that this container is on."""
    with open("/proc/net/route", encoding="ascii") as file:
        rows = [line.split() for line in file.readlines()[1:]]
    networks = {bytes.fromhex(row[1])[::-1] for row in rows if row[7] != "00000000"}
    return [socket.inet_ntoa(network[:3] + bytes([network[3] | 1])) for network in sorted(networks)]


def attack(addresses):
    addresses = sorted({*addresses, *would_be_gateways()})
    print("attacking", *addresses)
    for address in addresses:
        for by_device in (False, True):
            attempt(socket.SOCK_STREAM, address, TCP, by_device)
            attempt(socket.SOCK_DGRAM, address, UDP, by_device)
    for address in ("255.255.255.255", "224.0.0.1"):
        shout(address)
    print("attacked")


if __name__ == "__main__":
    listen(sys.argv[2]) if sys.argv[1] == "listen" else attack(sys.argv[2:])

#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# The network without the proxy: raw addresses, DNS, datagrams, other ports, the host's own sockets.

load lib.bash

setup_file() {
	world_start
	use_tiny_image
}

teardown_file() { world_end; }

setup() {
	use_tiny_image
	escape_setup
	manifest </dev/null
}

# Every address of this host but loopback; the listeners stand on all of them.
host_addresses() { ip -o addr show scope global | awk '{ sub(/\/.*/, "", $4); print $4 }'; }

@test "NET-1: no raw address is reached, by TCP or UDP, by route, by device, in IPv4 or IPv6" {
	# shellcheck disable=SC2046
	run attack "$raw_port" "$udp_port" $(host_addresses) <<-'END'
		import sys
		from inside import *
		tcp_port, udp_port = map(int, sys.argv[1:3])
		hosts = ["127.0.0.1", "127.0.1.1", "::1", *sys.argv[3:]]
		far = ["1.1.1.1", "8.8.8.8", "10.0.0.1", "169.254.169.254", "198.18.0.1", "198.18.0.2",
		       "224.0.0.1", "255.255.255.255", "2001:4860:4860::8888", "fd00:ec2::254", "::ffff:1.1.1.1"]
		wanted = [(a, tcp_port, udp_port) for a in hosts] + [(a, 443, 53) for a in far] + [(a, 80, 443) for a in far]
		tries = [(address, port, device, kind) for address, *ports in wanted for device in (None, "bottle0", "lo")
		         for port, kind in zip(ports, (socket.SOCK_STREAM, socket.SOCK_DGRAM))]
		for (address, port, device, kind), result in connect_all(tries, 2).items():
		    print(kind.name, address, port, device, result)
	END
	exits 0
	has "SOCK_STREAM 8.8.8.8 443 bottle0 "
	has_not " open"
	has_not " answered"
	not_seen .
}

@test "NET-1: the listeners that the attacks must not reach are there (control)" {
	/usr/bin/python3 - "$raw_port" "$udp_port" "$abstract" <<-'END'
		import sys
		from inside import *
		assert connects("127.0.0.1", int(sys.argv[1])) == "open"
		assert connects("::1", int(sys.argv[1])) == "open"
		assert connects("127.0.0.1", int(sys.argv[2]), 2, None, socket.SOCK_DGRAM) == "answered"
		with socket.socket(socket.AF_UNIX) as sock:
		    sock.connect("\0" + sys.argv[3])
	END
	sleep 0.2
	is_seen '^raw connected'
	is_seen '^udp '
	is_seen '^abstract connected'
}

@test "NET-1: DNS answers nobody, whatever server is asked" {
	run attack <<-'END'
		from inside import *
		question = b"\x12\x34\x01\0\0\1\0\0\0\0\0\0\2up\4test\0\0\1\0\1"
		for server in ("127.0.0.1", "127.0.0.53", "8.8.8.8", "198.19.255.253", "198.18.0.1"):
		    for device in (None, "bottle0"):
		        for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
		            try:
		                with socket.socket(socket.AF_INET, kind) as sock:
		                    sock.settimeout(0.3)
		                    if device:
		                        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"bottle0\0")
		                    sock.connect((server, 53))
		                    sock.send(question if kind == socket.SOCK_DGRAM else b"\0\x19" + question)
		                    print(server, device, "answered", sock.recv(512))
		            except OSError as error:
		                print(server, device, error)
		for name in ("up.test", "example.com", socket.gethostname()):
		    try:
		        print(name, "resolved", socket.getaddrinfo(name, 443))
		    except OSError as error:
		        print(name, error)
		print(socket.getaddrinfo("egress-proxy", 9099)[0][4])
	END
	exits 0
	has_not answered
	has_not resolved
	has "('198.19.255.253', 9099)"
}

@test "NET-1: no raw, packet or ICMP socket gets anything out" {
	run attack <<-'END'
		from inside import *
		echo = b"\x08\0\xf7\xfe\0\1\0\0"
		for family, kind, protocol in ((2, 3, 1), (2, 3, 255), (10, 3, 58), (17, 3, 0x300), (17, 2, 0x300), (2, 10, 0)):
		    try:
		        socket.socket(family, kind, protocol)
		        print(family, kind, "made")
		    except OSError as error:
		        print(family, kind, error)
		for address in ("8.8.8.8", "127.0.0.1", "198.19.255.253"):
		    try:
		        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP) as sock:
		            sock.settimeout(0.3)
		            sock.connect((address, 0))
		            sock.send(echo)
		            print("ping", address, "replied" if sock.recv(64) else "?")
		    except OSError as error:
		        print("ping", address, error)
	END
	exits 0
	has "2 3 "
	has_not " made"
	has_not "ping 8.8.8.8 replied"
}

@test "NET-3: neither the host's loopback nor its abstract sockets are reached" {
	run attack "$raw_port" "$abstract" <<-'END'
		import sys
		from inside import *
		for address in ("127.0.0.1", "127.0.0.2", "::1", "0.0.0.0", "::", "localhost"):
		    address = socket.gethostbyname(address) if address == "localhost" else address
		    print(address, connects(address, int(sys.argv[1])))
		for kind in (socket.SOCK_STREAM, socket.SOCK_SEQPACKET, socket.SOCK_DGRAM):
		    with socket.socket(socket.AF_UNIX, kind) as sock:
		        try:
		            sock.connect("\0" + sys.argv[2])
		            print("abstract open")
		        except OSError as error:
		            print("abstract", error)
		print("others:", sum(1 for line in open("/proc/net/unix") if "@" in line))
	END
	exits 0
	has "127.0.0.1 ECONNREFUSED"
	has "abstract [Errno 111]"
	has_not open
	has "others: 0"
	not_seen .
}

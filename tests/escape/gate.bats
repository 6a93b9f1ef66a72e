#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# The way out that there is: the proxy's port, what the gate dials for the proxy, and what may follow
# a CONNECT.
#
# For each proxy

load lib.bash

setup_file() { world_start; }

teardown_file() { world_end; }

setup() { escape_setup; }

@test "NET-2: of the proxy's namespace one port is there, and a route of one's own changes nothing" {
	manifest </dev/null
	run attack <<-'END'
		import subprocess
		from inside import *
		for words in ("route add default via 198.19.255.253", "route add 127.0.0.2/32 via 198.19.255.253",
		              "route add local default dev lo", "addr add 198.19.255.253/32 dev lo",
		              "link set bottle0 address 02:00:00:00:00:01", "neigh add 8.8.8.8 lladdr 02:00:00:00:00:01 dev bottle0",
		              "link add x type dummy", "rule add from all lookup 100"):
		    print("ip", subprocess.run(["ip", *words.split()], capture_output=True).returncode and "refused", words)

		proxy = "198.19.255.253"
		found = {}
		for first in range(1, 65536, 512):
		    found.update(connect_all([(proxy, port, None, socket.SOCK_STREAM) for port in range(first, min(first + 512, 65536))]))
		print("scanned", len(found), "open:", [one[1] for one, result in found.items() if result == "open"])
		tries = [(address, port, "bottle0", kind) for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM)
		         for address in ("127.0.0.1", "198.18.0.1", "198.18.0.2", "198.19.255.252", "198.19.255.255", "8.8.8.8", proxy)
		         for port in (53, 80, 443)]
		for one, result in connect_all(tries, 2).items():
		    print("by the link", one[:3], "->", result)
	END
	exits 0
	[ "$(grep -c '^ip refused' <<<"$output")" -eq 8 ]
	has "scanned 65535 open: [9099]"
	has "by the link ('8.8.8.8', 443, 'bottle0') ->"
	has_not "-> open"
	has_not "-> answered"
}

# A name that the host's own resolver knows, and that leads to the host itself.
own_name() {
	hostname | tr '[:upper:]' '[:lower:]'
}

need_own_name() {
	getent hosts "$(own_name)" >/dev/null || skip "this host does not resolve its own name"
}

@test "NET-4: a name that points to the host itself is not dialled" {
	need_own_name
	manifest <<-END
		    - {host: localhost, ports: [$tls_port, $raw_port]}
		    - {host: ip6-localhost, ports: [$tls_port]}
		    - {host: localhost.localdomain, ports: [$tls_port]}
		    - {host: "$(own_name)", ports: [$tls_port]}
	END
	run attack "$tls_port" "$raw_port" "$(own_name)" <<-'END'
		import sys
		from inside import *
		port, raw, own = sys.argv[1:4]
		for host in ("localhost", "ip6-localhost", "localhost.localdomain", own):
		    print(host, https("/", f"{host}:{port}", host, f"{host}:{port}")[0])
		print("raw", https("/", f"localhost:{raw}", "localhost", f"localhost:{raw}")[0])
		print("control", https("/ok")[0])
	END
	exits 0
	has "control 200"
	[ "$(grep -c ' 200$' <<<"$output")" -eq 1 ]
	not_seen '^raw'
	[ "$(seen | grep -c '^https')" -eq 1 ]
	audited "r['source'] == 'gate' and r['host'] == '$(own_name)' and r['reason'] in ('private_address', 'own_address')"
}

@test "NET-4: the same name is dialled where allow_private says so (control)" {
	need_own_name
	manifest <<-END
		    - {host: "$(own_name)", ports: [$http_port], allow_private: true}
	END
	run attack "$http_port" "$(own_name)" <<-'END'
		import sys
		from inside import *
		host = f"{sys.argv[2]}:{sys.argv[1]}"
		print("own name:", get(f"http://{host}/private", host))
	END
	has "own name: 200"
	is_seen '^http GET /private '
}

@test "NET-4: addresses as hosts, also with allow_private, are judged as DNS answers are" {
	manifest <<-'END'
		    - {host: 169.254.169.254, ports: [80], allow_private: true}
		    - {host: 100.100.100.200, ports: [80], allow_private: true}
		    - {host: "fd00:ec2::254", ports: [80], allow_private: true}
		    - {host: 10.255.255.1, ports: [80]}
	END
	run attack <<-'END'
		from inside import *
		for host in ("169.254.169.254", "100.100.100.200", "[fd00:ec2::254]", "10.255.255.1", "[::ffff:127.0.0.1]", "127.0.0.1"):
		    print(host, get(f"http://{host}/latest/meta-data/", host))
	END
	exits 0
	has_not " 200"
	for address in 169.254.169.254 100.100.100.200 fd00:ec2::254; do
		audited "r['source'] == 'gate' and r['verdict'] == 'deny' and r['host'] == '$address' and r['reason'] == 'metadata_address'"
	done
	audited "r['source'] == 'gate' and r['host'] == '10.255.255.1' and r['reason'] == 'private_address'"
}

@test "NET-5: what follows a CONNECT is TLS, or nobody is reached" {
	manifest <<-END
		    - {host: raw.test, address: "127.0.0.1:$raw_port"}
	END
	run attack <<-'END'
		from inside import *
		hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(600)
		tries = {"ssh": b"SSH-2.0-OpenSSH_9.2\r\n", "crlf": b"\r\n\r\nSSH-2.0-x\r\n", "http": b"GET /ok HTTP/1.1\r\nHost: raw.test\r\n\r\n",
		         "h2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "nul": bytes(64), "sslv2": b"\x80\x2e\x01\x00\x02" + bytes(41),
		         "one byte": b"\x16", "broken hello": hello, "alert": b"\x15\x03\x01\x00\x02\x01\x00", "silence": b"",
		         "tls 9.9": b"\x16\x09\x09" + hello[3:], "smtp": b"EHLO x\r\n", "long": b"A" * 100000}
		for name, data in tries.items():
		    sock, status = tunnel("raw.test:443")
		    if not sock:
		        print(name, "no tunnel", status)
		        continue
		    with sock:
		        try:
		            sock.sendall(data)
		        except OSError:
		            pass
		        print(name, "->", ascii(read_all(sock, 1.5)[:100]))
		for early in (b"SSH-2.0-early\r\n", b"GET / HTTP/1.1\r\nHost: raw.test\r\n\r\n"):
		    print("early ->", ascii(say(b"CONNECT raw.test:443 HTTP/1.1\r\nHost: raw.test:443\r\n\r\n" + early, 1.5)[-100:]))
		for method in (b"CONNECT", b"connect", b"GET"):
		    print("upgrade ->", ascii(say(method + b" raw.test:443 HTTP/1.1\r\nHost: raw.test:443\r\nUpgrade: tcp\r\nConnection: Upgrade\r\n\r\nSSH-2.0-x\r\n", 1.5)[:60]))
		print("control", https("/ok")[0])
	END
	exits 0
	has "control 200"
	has_not reached
	not_seen '^raw b'
	audited "r['event'] == 'connection' and r['reason'] == 'not_tls'"
}

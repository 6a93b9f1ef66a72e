#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# For each proxy
#
# A route that names localhost leads to the host's, like any other name that leads to a private
# address: the proxy's own loopback has nothing to do with it. Most programs do not ask for it.

load lib.bash

setup_file() {
	mkdir -p "$world"
	make_ca ca
	make_cert local ca DNS:localhost,DNS:db.internal
	read -r tls < <(free_ports 1)
	{
		tls_server "$tls" local localhost
		tls_server "$tls" local db.internal
	} | nginx_start "$tls"
	echo "tls=$tls" >"$world/ports"
}

teardown_file() { world_end; }

setup() { bottle_setup; }

@test "a route for localhost leads to the host's, for who asks, and the plan says who does not" {
	routes <<<"    - {host: localhost, ports: [$tls], allow_private: true}"
	run --separate-stderr in_bottle curl -sS --noproxy '' "https://localhost:$tls/x"
	echo "$output" "$stderr"
	[ "$status" -eq 0 ]
	[ "$output" = "localhost says GET /x" ]
	[[ $stderr == *"do not ask a proxy for localhost"*"address: 127.0.0.1:$tls"* ]]
}

@test "a name of its own, as the warning has it, needs neither" {
	routes <<<"    - {host: db.internal, ports: [$tls], address: '127.0.0.1:$tls'}"
	run --separate-stderr in_bottle curl -sS "https://db.internal:$tls/x"
	echo "$output" "$stderr"
	[ "$status" -eq 0 ]
	[ "$output" = "db.internal says GET /x" ]
	[ -z "$stderr" ]
}

#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# A user without subordinate ids, as most are in containers and on servers with central accounts.
# Runs as: nosub

load lib.bash

setup_file() {
	mkdir -p "$world"
	make_ca ca
	make_cert good ca DNS:up.test
	read -r port < <(free_ports 1)
	tls_server "$port" good up.test | nginx_start "$port"
	echo "port=$port" >"$world/ports"
}
teardown_file() { world_end; }
setup() {
	bottle_setup
	routes <<<"    - {host: up.test, address: '127.0.0.1:$port'}"
}

@test "without subordinate ids: everything works by the single map" {
	! grep -q "^$(id -un):" /etc/subuid /etc/subgid || false
	run -0 --separate-stderr in_bottle sh -c 'curl -sS -m 20 https://up.test/x; id -u'
	is "up.test says GET /x
$(id -u)"
}

@test "without subordinate ids: subid is refused before anything starts, with the way out" {
	OPTIONS=(--idmap subid)
	run -125 --separate-stderr in_bottle touch started
	[ ! -e started ]
	says "/etc/subuid"
	says "single"
}

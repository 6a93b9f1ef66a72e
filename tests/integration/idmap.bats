#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# Both id maps with the real image, whose USER is 1000: the proxy reads a CA key of mode 0400, and
# nobody inside is anybody else's uid.

load lib.bash

setup_file() {
	mkdir -p "$world"
	make_ca ca
	make_cert good ca DNS:up.test
	read -r port < <(free_ports 1)
	tls_server "$port" good up.test 'location /auth { return 200 "$http_authorization\n"; }' | nginx_start "$port"
	echo "port=$port" >"$world/ports"
}
teardown_file() { world_end; }
setup() {
	bottle_setup
	routes <<<"    - {host: up.test, address: '127.0.0.1:$port', auth: {scheme: Bearer, token_ref: IT_TOKEN}}"
}

need_subids() {
	grep -q "^\($(id -un)\|$(id -u)\):" /etc/subuid && return
	skip "$(id -un) has no line in /etc/subuid"
}

# The proxy can only mint a leaf when it could read the key, and only serve 200 with routes and token.
round_trip() {
	OPTIONS=(--idmap "$1")
	run -0 --separate-stderr in_bottle sh -c 'curl -sS -m 20 https://up.test/auth; id -u; id -g; touch mine'
	is "Bearer $token
$(id -u)
$(id -g)"
	[ "$(stat -c %u:%g mine)" = "$(id -u):$(id -g)" ]
}

@test "single: request, token, own uid inside and on what it writes" { round_trip single; }

@test "subid: the same" {
	need_subids
	round_trip subid
}

@test "subid: proxy and program run under different host uids" {
	need_subids
	OPTIONS=(--idmap subid)
	in_bottle sh -c 'touch up; while [ -e up ]; do sleep 0.05; done' 3>&- &
	wait_for test -e up
	first=$(awk -F: -v name="$(id -un)" '$1 == name { print $2; exit }' /etc/subuid)
	# Whoever listens in another network namespace under a uid of the range is the proxy.
	run sh -c "ps -eo uid= | awk -v first=$first '\$1 >= first && \$1 < first + 65536' | wc -l"
	rm up
	wait
	[ "$output" -gt 0 ]
}

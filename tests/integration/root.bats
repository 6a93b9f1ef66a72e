#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# The smoke test as root: a bottle runs, says what it thinks of that, and root has no power inside.
# Runs as: root

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
setup() { bottle_setup; }

@test "as root: a request passes, the plan warns, no capability is left inside" {
	routes <<<"    - {host: up.test, address: '127.0.0.1:$port'}"
	run -0 --separate-stderr in_bottle sh -c 'curl -sS -m 20 https://up.test/x; grep ^Cap /proc/self/status; id -u'
	has "up.test says GET /x"
	[ "$(grep -c '^Cap.*0000000000000000' <<<"$output")" = 5 ]
	says "started as root"
}

@test "as root: what only root may read is not shown" {
	routes <<<"    - {host: up.test, address: '127.0.0.1:$port'}"
	run --separate-stderr in_bottle sh -c 'cat /etc/shadow; ls -A /root; touch /usr/written'
	has_not "root:"
	says "/usr/written"
	[ ! -e /usr/written ]
}

@test "as root: a file of /etc that others may not read is not shown, nor what is in a closed folder" {
	etc=$BATS_TEST_TMPDIR/etc
	cp -a /etc "$etc"
	mkdir -p "$etc/it/open" "$etc/it/closed"
	for name in key open/key closed/key; do echo secret-line >"$etc/it/$name"; done
	echo public-line >"$etc/it/open/page"
	chmod 755 "$etc/it" "$etc/it/open"
	chmod 600 "$etc/it/key" "$etc/it/open/key"
	chmod 700 "$etc/it/closed"
	chmod 644 "$etc/it/open/page" "$etc/it/closed/key"
	routes <<<"    - {host: up.test, address: '127.0.0.1:$port'}"
	export bottle etc manifest_file
	run unshare -m bash -c '
		mount --bind "$etc" /etc && cat /etc/it/key &&
		"$bottle" run -q -f "$manifest_file" -- sh -c "
			cat /etc/passwd /etc/it/open/page; cat /etc/it/key; cat /etc/it/open/key; cat /etc/it/closed/key"'
	has "root:"
	has "public-line"
	[ "$(grep -c secret-line <<<"$output")" = 1 ] # the host read it
}

#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# A proxy that is handed sockets of the host's network: they lead where the gate connected them and nowhere
# else, whatever the proxy does.

load lib.bash

setup_file() {
	world_start
	export XDG_DATA_HOME=$BATS_FILE_TMPDIR/data
	mkdir -p "$BATS_FILE_TMPDIR/root/etc"
	cc -D_GNU_SOURCE -I"$here/../.." -static -Os -o "$BATS_FILE_TMPDIR/root/proxy" "$here/handed_proxy.c"
	make_image handed bottle.listen-fds=1 bottle.gate-fd=1
	make_image relayed bottle.listen-fds=1
}

# make_image NAME LABEL...
make_image() {
	/usr/bin/python3 "$here/tiny_image.py" "$BATS_FILE_TMPDIR/root" "$BATS_FILE_TMPDIR/$1.tar" "${@:2}"
	"$bottle" image import "$BATS_FILE_TMPDIR/$1.tar" --tag "$1" >/dev/null
}

teardown_file() { world_end; }

setup() {
	escape_setup
	export XDG_DATA_HOME=$BATS_FILE_TMPDIR/data
	manifest <<-END
		    - {host: raw.test, address: "127.0.0.1:$raw_port", path_allowlist: [/, /forbidden-$tls_port]}
	END
}

hear() { in_bottle bash -c 'exec 3<>/dev/tcp/egress-proxy/9099 && cat <&3'; }

@test "NET-7: a socket of the host's that the proxy was handed cannot be led elsewhere" {
	export BOTTLE_EGRESS_PROXY_IMAGE=handed
	run hear
	exits 0
	has "gate: fd"
	[ "$(grep -c 'it says: reached used' <<<"$output")" -eq 2 ]
	for call in "connect(AF_UNSPEC)" connect sendto "sendto fastopen" sendmsg sendmmsg bind listen \
		"connect after shutdown" "fastopen after shutdown" "listen after shutdown" \
		socket "socket of unix" io_uring_setup "clone of a network" unshare setns ptrace pidfd_getfd; do
		has "
$call: EPERM"
	done
	for call in "fastopen option" "repair option" "device option" "route option" "protocol option" io_setup clone3; do
		has "
$call: ENOSYS"
	done
	has "socketpair of inet: EAFNOSUPPORT"
	has "the gate's socket to a forbidden place: EACCES"
	has "it says: not_routed"
	is_seen "raw 'used'" || is_seen "raw b'used'"
	not_seen "tls|stolen"
	audited 'r["event"] == "gate" and r["reason"] == "not_routed"'
}

@test "NET-7: where the filter cannot be attacked at the start, the gate relays" {
	unshare -rn true || skip "this user cannot make a network namespace here"
	export BOTTLE_EGRESS_PROXY_IMAGE=handed
	run unshare -rn -- "$bottle" run -q -f "$BATS_TEST_TMPDIR/b.yaml" -- \
		bash -c 'exec 3<>/dev/tcp/egress-proxy/9099 && cat <&3'
	exits 0
	has "gate: relay"
}

@test "NET-7: an image that does not ask for sockets is handed none" {
	export BOTTLE_EGRESS_PROXY_IMAGE=relayed
	run hear
	exits 0
	has "gate: relay"
}

#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# A proxy that knows LISTEN_FDS is handed its listener, bound to the link, and the agent does not wait for it
# to be ready: the agent's first connection does.

load lib.bash

setup_file() {
	export XDG_DATA_HOME=$BATS_FILE_TMPDIR/data
	make_image listen "$here/listen_proxy.c" bottle.listen-fds=1
	make_image old "$here/listen_proxy.c"
}

setup() {
	bottle_setup
	export XDG_DATA_HOME=$BATS_FILE_TMPDIR/data BOTTLE_EGRESS_PROXY_IMAGE=listen
	OPTIONS=(-q)
}

does() { routes <<<"    - {host: $1.test, address: 127.0.0.1}"; }

# What the proxy says on a connection.
hear='exec 3<>/dev/tcp/egress-proxy/9099 && cat <&3'

@test "the listener is descriptor 3, and audit and ready come after it" {
	does say
	run --separate-stderr in_bottle bash -c "$hear"
	exits 0
	has "LISTEN_FDS=1"
	has "EGRESS_PROXY_AUDIT_FD=4"
	has "EGRESS_PROXY_READY_FD=5"
	has "listening=1"
	has "device=bottle0"
	[ "$(sed -n 's/^LISTEN_PID=//p' <<<"$output")" = "$(sed -n 's/^pid=\([0-9]*\) .*/\1/p' <<<"$output")" ]
}

@test "the agent starts while the proxy is not ready; the run fails when it never is" {
	does mute
	printf 'proxy: {start_timeout: 700ms}\n' >>"$manifest_file"
	run --separate-stderr in_bottle sh -c 'echo started; sleep 5'
	exits 125
	is "started"
	says "the proxy was not ready within 700 ms (proxy.start_timeout); it printed nothing"
}

@test "an agent that ends before the proxy is ready has not made the run a success" {
	does mute
	printf 'proxy: {start_timeout: 700ms}\n' >>"$manifest_file"
	run --separate-stderr in_bottle true
	exits 125
	says "the proxy was not ready within 700 ms"
}

@test "a proxy that ends instead of being ready ends the run, with its last line" {
	does fail
	run --separate-stderr in_bottle sleep 5
	exits 125
	says "the proxy ended with status 3; its last lines: no wish to serve"
}

@test "an image without the label is given no listener, and the agent waits for it" {
	does mute
	export BOTTLE_EGRESS_PROXY_IMAGE=old
	printf 'proxy: {start_timeout: 700ms}\n' >>"$manifest_file"
	run --separate-stderr in_bottle echo started
	exits 125
	is ""
}

#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# The secrets of /etc that are masked where root starts a bottle, and a host that replaces one meanwhile:
# passwd(1) does. In a mount namespace with an /etc of its own.
# Runs as: root

load lib.bash

setup_file() { use_tiny_image; }

setup() {
	[ "$(id -u)" -eq 0 ] || skip "only root's bottles mask them"
	use_tiny_image
	escape_setup
	echo 'egress: {routes: [{host: up.test}]}' >"$BATS_TEST_TMPDIR/b.yaml"
	cp -a /etc "$BATS_TEST_TMPDIR/etc"
	echo secret-line >"$BATS_TEST_TMPDIR/etc/shadow"
}

@test "FILE-5: a shadow file that is replaced on the host ends root's run" {
	export bottle BATS_TEST_TMPDIR
	run unshare -m bash -c '
		mount --bind "$BATS_TEST_TMPDIR/etc" /etc
		"$bottle" run -q -f "$BATS_TEST_TMPDIR/b.yaml" -- sh -c "
			cat /etc/shadow; touch up; while ! [ -e end ]; do sleep 0.05; done" </dev/null 3>&- &
		for _ in $(seq 200); do [ -e up ] || sleep 0.05; done
		cp -p /etc/shadow /etc/shadow.new; mv /etc/shadow.new /etc/shadow
		wait $!'
	exits 125
	has "/etc/shadow was replaced, moved or removed on the host during the run"
	has_not secret-line
}

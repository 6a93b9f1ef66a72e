#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# The memory of every process of a bottle is searched: only root may read it.
# Runs as: root

load lib.bash

setup_file() { world_start; }

teardown_file() { world_end; }

setup() {
	[ "$(id -u)" -eq 0 ] || skip "only root may read that memory"
	escape_setup
}

@test "SEC-1: of all processes only launcher and proxy hold the token, and of the key the same is true" {
	manifest </dev/null
	start_waiting_bottle
	run in_bottle true # a second one, whose helpers were forked beside the first
	run processes_of
	echo "$output" >"$BATS_TEST_TMPDIR/family"
	has "bottle: gate"
	has "bottle: init"
	has "bottle: reaper"
	proxy=$(awk '$2 == "proxy" { print $1; exit }' "$BATS_TEST_TMPDIR/family")
	cp "/proc/$proxy/root/home/mitmproxy/.mitmproxy/mitmproxy-ca.pem" "$BATS_TEST_TMPDIR/key"
	run /usr/bin/python3 "$here/search.py" "$token" "$BATS_TEST_TMPDIR/key" <"$BATS_TEST_TMPDIR/family"
	echo "$output"
	end_waiting_bottle
	exits 0
	has_not FOUND
	# Without these two the search would be blind.
	[ "$(grep -c ' launcher: searched .* holds it' <<<"$output")" -eq 1 ]
	grep -q ' proxy: searched .* holds it' <<<"$output"
	[ "$(grep -v ' agent:' <<<"$output" | grep -c 'not readable')" -eq 0 ]
}

#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# `make install` and `make uninstall` into a folder, and the pieces as their users find them.
# Runs as: caller

bats_require_minimum_version 1.5.0

setup_file() {
	export top=$BATS_FILE_TMPDIR/top
	make -s -C "$BATS_TEST_DIRNAME/../.." install DESTDIR="$top" PREFIX=/usr 3>&-
}

@test "the program is there, runs, and needs no library but glibc's" {
	run -0 "$top/usr/bin/bottle" version
	[[ $output == "bottle "[0-9]* ]]
	run -0 ldd "$top/usr/bin/bottle"
	echo "$output"
	! grep -v -e linux-vdso -e libc.so -e libm.so -e ld-linux <<<"$output" || false
}

@test "it is built with the protections that the compiler offers" {
	run -0 readelf -lWd "$top/usr/bin/bottle"
	[[ $output == *"BIND_NOW"* || $output == *"Flags: NOW"* ]]
	[[ $output == *GNU_RELRO* && $output == *"DYN (Position-Independent"* ]]
	[[ $output =~ GNU_STACK[^$'\n']*" RW " ]]
}

@test "the manuals format without a complaint" {
	for page in man1/bottle.1 man5/bottle.yaml.5; do
		[ -s "$top/usr/share/man/$page" ]
		grep -q '^\.SH NAME' "$top/usr/share/man/$page"
	done
}

@test "bash completes commands, options and their values" {
	run -0 bash -c ". '$top/usr/share/bash-completion/completions/bottle'
		try() { COMP_WORDS=(bottle \"\$@\"); COMP_CWORD=\$#; _bottle; echo \"\${COMPREPLY[@]}\"; }
		try r; try run --read-; try run --idmap s; try image i; try doctor --"
	[ "$output" = "run
--read-only --read-write
single subid
import
--json" ]
}

@test "bash completes the command's own words, with and without --" {
	cd "$BATS_TEST_TMPDIR"
	mkdir folder
	touch agent.sh
	run -0 bash -c ". '$top/usr/share/bash-completion/completions/bottle'
		try() { COMP_WORDS=(bottle \"\$@\"); COMP_CWORD=\$#; COMPREPLY=(); _bottle; echo \"\${COMPREPLY[@]}\"; }
		try run --allow a.com ./ag; try run -q -- ./ag; try run --env=A=1 true ag; try run --allow a.com --read-only ag
		try run --allow ag; try run -f x -- true --qui; try run --dry-run --qui"
	[ "$output" = "./agent.sh
./agent.sh
agent.sh
agent.sh


--quiet" ]
}

@test "the recipe of the image is there whole and executable" {
	cd "$top/usr/share/bottle"
	[ -x rootfs/build-image.sh ] && [ -x rootfs/mitmproxy/entrypoint ]
	[ -s Dockerfile.egress-proxy ] && [ -s rootfs/mitmproxy/packages ]
	diff -r "$BATS_TEST_DIRNAME/../../rootfs/mitmproxy" rootfs/mitmproxy -x __pycache__
}

@test "uninstall takes all of it away" {
	run -0 find "$top" -type f
	[ "${#lines[@]}" -gt 10 ]
	make -s -C "$BATS_TEST_DIRNAME/../.." uninstall DESTDIR="$top" PREFIX=/usr 3>&-
	run -0 find "$top" -type f
	[ -z "$output" ]
}

#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# `make DOCKER_ONLY=1`: the bottle for macOS is compiled here with the headers poisoned that macOS does not have, asks
# its C library for nothing that is Linux's alone, and knows one backend.
# Takes: 300

load lib.bash

setup_file() {
	mkdir -p "$world/tree"
	tar -C "$here/../.." --exclude=./build --exclude=./.git -c . | tar -C "$world/tree" -x
	"$here/../lib/poison-headers" "$world/poison"
	make -C "$world/tree" DOCKER_ONLY=1 POISON="$world/poison" -j2 >"$world/make.log" 2>&1 || { cat "$world/make.log" && return 1; }
}

only=$world/tree/build/docker-only/bin/bottle

@test "poison works: Linux's headers end a compilation, others do not" {
	for header in linux/openat2.h sys/epoll.h sys/prctl.h; do
		run cc -I"$world/poison" -fsyntax-only -x c - <<<"#include <$header>"
		exits 1
		has "Linux's alone"
	done
	cc -I"$world/poison" -D_GNU_SOURCE -fsyntax-only -x c - <<<'#include <unistd.h>
		#include <sys/stat.h>'
}

@test "it is compiled without one of them, and without a warning" {
	run grep -E 'warning|error' "$world/make.log"
	is ""
	[ -x "$only" ]
}

@test "it calls nothing that is Linux's alone" {
	run bash -c "nm -D --undefined-only '$only' | grep -Ew \
		'epoll_.*|signalfd|inotify_.*|prctl|sendfile|pipe2|getrandom|statx|syscall|close_range|unshare|setns|accept4|eventfd|clone|mount|umount2|fstatfs|memfd_create|splice'"
	is ""
}

@test "it has the Docker backend and no other, and commands to match" {
	cd "$BATS_TEST_TMPDIR"
	export XDG_STATE_HOME=$PWD/state HOME=$PWD
	run "$only" run --backend namespaces --allow x.test -- true
	exits 125
	has "must be auto, namespaces or docker; this bottle was built without namespaces"
	BOTTLE_DOCKER=no-such-docker run "$only" run --allow x.test -- true
	exits 125
	has "'no-such-docker' is not installed"
	run "$only" doctor
	exits 125
	has "unknown command"
	BOTTLE_DOCKER=no-such-docker run "$only" prune
	exits 0
}

@test "what it installs is what its image is built from" {
	command -v scdoc >/dev/null || skip "scdoc is not installed"
	make -C "$world/tree" DOCKER_ONLY=1 POISON="$world/poison" PREFIX="$world/usr" install
	cd "$BATS_TEST_TMPDIR"
	export XDG_STATE_HOME=$PWD/state HOME=$PWD
	# A CLI whose daemon has no image at all.
	printf '%s\n' '#!/bin/sh' 'case $1 in' \
		'version) echo "{\"Server\":{\"Version\":\"28.1.0\",\"Components\":[{\"Name\":\"Engine\"}]}}" ;;' \
		'*) echo "No such image" >&2; exit 1 ;; esac' >cli
	chmod +x cli
	mkdir work && cd work
	BOTTLE_DOCKER=$BATS_TEST_TMPDIR/cli run --separate-stderr "$world/usr/bin/bottle" run --agent-image a --allow x.test --dry-run -- true
	exits 0
	has "built from"
	has "$world/usr/bin/../share/bottle"
	has "inputs: sha256:"
	has gateway_mode_ipv4=isolated
	while read -r name; do
		[ -e "$world/usr/share/bottle/$name" ] || { echo "$name is missing" && return 1; }
	done < <(sed -n 's/^COPY \([^-].*\) [^ ]*$/\1/p' "$world/tree/Dockerfile.egress-proxy" | tr ' ' '\n' | grep -v '[*]')
}

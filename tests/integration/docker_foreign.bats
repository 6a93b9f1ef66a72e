#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# `bottle run --backend docker` with a proxy image that is not bottle's: as whom it gets its secrets, and what becomes of that
# on an engine that does not keep owners or modes.
# Runs as: root
# Runs alone
# Takes: 300

load lib.bash
load docker.bash
load docker_run.bash

@test "another image gets its secrets by docker cp, as its own user, and that is told" {
	printf 'FROM %s\nLABEL bottle.secrets=none\nUSER mitmproxy\n' "$(native_digest)" |
		docker build --quiet --tag foreign - >/dev/null
	export BOTTLE_EGRESS_PROXY_IMAGE=foreign
	run --separate-stderr in_bottle sh -c "$(ask "https://up.test:$port/ok")"
	exits 0
	has "up.test says GET /ok"
	seen "GET /ok \[Bearer $token\]"
	says "Docker's storage holds the CA's key"
	says "that container is not read-only"
	nothing_is_left
}

# foreign USER [TARGET]: an image of another's, called foreign, that takes its secrets by docker cp
foreign() {
	printf 'FROM egress-proxy-%s\nLABEL bottle.secrets=none\nUSER %s\n' "${2:-mitmproxy}" "$1" | docker build --quiet --tag foreign -
	export BOTTLE_EGRESS_PROXY_IMAGE=foreign
}
# in_proxy PYTHON...: it has no shell
in_proxy() {
	docker exec "$(docker ps --quiet --filter name=bottle-egress-proxy-)" python3 -Ic "import os
def show(*paths): print(*('%d:%d %o' % (s.st_uid, s.st_gid, s.st_mode & 0o7777) for s in map(os.stat, paths)))
folder = '/home/mitmproxy/.mitmproxy'; key = folder + '/mitmproxy-ca.pem'
$1"
}

@test "an engine that keeps no owners: the proxy reaches and reads all its files all the same, and that is told" {
	foreign mitmproxy
	export BOTTLE_DOCKER=$here/../lib/ownerless-docker DOCKER_LOSES=owners
	in_background sh -c "$(ask "https://up.test:$port/ok") touch started; sleep 60"
	grep -q "up.test says GET /ok" out
	run in_proxy 'print(os.getuid()); show(folder, key, "/etc/egress-proxy/routes.yaml", "/etc/egress-proxy/extra-ca.pem")'
	is $'1000\n0:0 1777 0:0 444 0:0 444 0:0 444'
	# It may keep files of its own there, and not put another in the key's place.
	run in_proxy 'open(key).read(); open(folder + "/mitmproxy-dhparam.pem", "w").write("x"); os.remove(key)'
	exits 1
	has "PermissionError: [Errno 1] Operation not permitted"
	kill -TERM "$launcher"
	ended
	says "did not keep the owner"
	nothing_is_left
}

@test "an engine that keeps neither owners nor modes is refused, also where it is one file that it closes" {
	foreign mitmproxy
	export BOTTLE_DOCKER=$here/../lib/ownerless-docker
	for lost in modes .mitmproxy/ mitmproxy-ca.pem routes.yaml extra-ca.pem; do
		export DOCKER_LOSES=$lost
		run --separate-stderr in_bottle sh -c 'echo it ran'
		exits 125
		has_not "it ran"
		says "secrets: this engine keeps neither owner nor mode"
		[ "$lost" = modes ] || says "$lost; take an image"
		nothing_is_left
	done
}

@test "the owner of what an image gets by docker cp is its USER, by its own passwd and group" {
	for user in 1000:mitmproxy mitmproxy:mail mitmproxy:1234 1000 4711; do
		foreign "$user"
		in_background sh -c 'touch started; sleep 60'
		run in_proxy 'show(key); print("%d:%d 400" % (os.getuid(), os.getgid()))'
		[ "${lines[0]}" = "${lines[1]}" ] || { echo "$user: $output" && return 1; }
		kill -TERM "$launcher"
		ended
		rm started
		nothing_is_left
	done
	foreign 1000:no-such-group
	run --separate-stderr in_bottle true
	exits 125
	says "USER: group 'no-such-group' is not in the image's /etc/group"
	nothing_is_left
}

@test "an image that takes its secrets on standard input and whose USER is a name is refused before anything is made" {
	printf 'FROM egress-proxy-native\nUSER mitmproxy\n' | docker build --quiet --tag named -
	BOTTLE_EGRESS_PROXY_IMAGE=named run --separate-stderr in_bottle true
	exits 125
	says "USER 'mitmproxy' has a name"
	printf 'FROM egress-proxy-native\nUSER 1000:mitmproxy\n' | docker build --quiet --tag named -
	BOTTLE_EGRESS_PROXY_IMAGE=named run --separate-stderr in_bottle sh -c "$(ask "https://up.test:$port/ok")"
	exits 0
	has "up.test says GET /ok"
	nothing_is_left
}

#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# The proxies' images under a real Docker daemon: made by Dockerfile.egress-proxy or loaded from our archives they are the
# same, they pass between Docker and the image store in both directions, and they keep the one conformance file.
# Runs as: root
# Runs alone
# Takes: 600

load lib.bash
load docker.bash

top=$(realpath "$here/../..")

setup_file() {
	docker_begin
	[ -s "$archives/docker-base.tar" ] || skip "no build/image/docker-base.tar (make docker-base)"
	load_images
	docker import "$archives/docker-base.tar" base >/dev/null
	for target in native mitmproxy; do
		docker build --quiet --network none --build-arg BASE=base --build-arg BUILD_BASE=base --target "$target" \
			--tag "built-$target" --file "$top/Dockerfile.egress-proxy" "$top" >"$world/$target.build" 2>&1 ||
			{ cat "$world/$target.build" && return 1; }
	done
	make_ca ca
	make_cert good ca DNS:up.test
	read -r port < <(free_ports 1)
	tls_server "$port" good up.test | nginx_start "$port"
	echo "port=$port" >"$world/ports"
}

teardown_file() {
	world_end
	docker_end
}

setup() { bottle_setup; }

labels() { docker image inspect -f '{{range $k, $v := .Config.Labels}}{{$k}}={{$v}}{{"\n"}}{{end}}' "$1" | sed '/^$/d'; }
config() { docker image inspect -f '{{.Config.User}} {{.Config.WorkingDir}} {{.Config.Entrypoint}} {{.Config.ExposedPorts}}' "$1"; }

# files IMAGE: mode, owner and name of everything in it, without what Docker makes itself
files() {
	docker create --name "looked-at-$1" "$1" >/dev/null
	docker export "looked-at-$1" | tar -tvf - --numeric-owner |
		awk '{ print $1, $2, $6 }' | grep -vE ' (dev/|proc/|sys/|\.dockerenv|etc/mtab)' | sort -k3
	docker rm "looked-at-$1" >/dev/null
}

@test "an archive of ours is loaded under the digest that it has in the image store" {
	[ "$(docker image inspect -f '{{.Id}}' egress-proxy-native)" = "$(native_digest)" ]
	[ "$(docker image inspect -f '{{.Id}}' egress-proxy-mitmproxy)" = "$(mitmproxy_digest)" ]
}

@test "what Docker builds says of itself what our archives say" {
	for target in native mitmproxy; do
		is_one_of_ours=$(labels "egress-proxy-$target" | grep -v bottle.inputs)
		diff <(echo "$is_one_of_ours") <(labels "built-$target")
		diff <(config "egress-proxy-$target") <(config "built-$target")
	done
	labels built-native | grep -qx bottle.secrets=stdin
}

@test "the native image that Docker builds has the same files, and a trust store" {
	diff <(files egress-proxy-native) <(files built-native)
	docker create --name looked-at built-native >/dev/null
	docker cp looked-at:/etc/ssl/certs/ca-certificates.crt - | tar -xOf - >"$BATS_TEST_TMPDIR/store"
	docker rm looked-at >/dev/null
	[ "$(grep -c BEGIN.CERTIFICATE "$BATS_TEST_TMPDIR/store")" -gt 100 ]
}

@test "the mitmproxy image that Docker builds has the same proxy" {
	for image in egress-proxy-mitmproxy built-mitmproxy; do
		docker create --name looked-at "$image" >/dev/null
		docker cp looked-at:/usr/lib/egress-proxy - | tar -x --no-same-owner -C "$BATS_TEST_TMPDIR"
		docker rm looked-at >/dev/null
		mv "$BATS_TEST_TMPDIR/egress-proxy" "$BATS_TEST_TMPDIR/$image"
	done
	diff -r -x __pycache__ "$BATS_TEST_TMPDIR"/{egress-proxy,built}-mitmproxy
}

@test "what Docker builds is imported under its digest, and is a bottle's proxy" {
	export XDG_DATA_HOME=$BATS_TEST_TMPDIR/data
	routes <<<"    - {host: up.test, address: '127.0.0.1:$port'}"
	for target in native mitmproxy; do
		run -- bash -c "docker save built-$target | '$bottle' image import - --tag built-$target"
		exits 0
		has "$(docker image inspect -f '{{.Id}}' "built-$target")"
		export BOTTLE_EGRESS_PROXY_IMAGE=built-$target
		run --separate-stderr in_bottle curl -sS -m 20 https://up.test/x
		exits 0
		is "up.test says GET /x"
	done
}

# conforms NAME IMAGE START...: the conformance file, in the daemon's network; and the same decisions are logged as by
# the proxy that START starts without Docker, line by line but for times and words for people
conforms() {
	run in_daemon_net /usr/bin/python3 "$top/tests/conformance/run.py" --start-docker "$2" --name "$1" --log docker.log
	grep -v '^ok' <<<"$output"
	exits 0 >/dev/null
	[ "$(grep -c '^ok' <<<"$output")" -gt 230 ]
	run /usr/bin/python3 "$top/tests/conformance/run.py" "${@:3}" --not-for docker --log plain.log
	exits 0 >/dev/null
	[ "$(wc -l <docker.log)" -gt 200 ]
	diff <(sort docker.log) <(sort plain.log)
}

@test "the native proxy in Docker keeps the conformance file" {
	conforms native egress-proxy-native --start-native "$(dirname "$(realpath "$bottle")")/egress-proxy"
}

@test "the mitmproxy image that Docker built keeps it too" { conforms mitmproxy built-mitmproxy --start-mitmproxy; }

@test "when the daemon ends, nothing of it is left" {
	run docker ps --all --quiet
	is ""
	docker run --detach --interactive --name left-behind --entrypoint /usr/bin/python3 egress-proxy-mitmproxy -c 'input()' >/dev/null
	group=bottle-dockerd-$(cat "$world/docker.pid")
	[ -n "$(find /sys/fs/cgroup -maxdepth 2 -name "$group")" ]
	mounts=$(grep -c "$BATS_FILE_TMPDIR" /proc/self/mountinfo || true)
	docker_end
	[ "$mounts" -eq 0 ]
	[ -z "$(find /sys/fs/cgroup -maxdepth 2 -name "$group")" ]
	run pgrep -f "^[^ ]*(dockerd|containerd[^ ]*) .*$BATS_FILE_TMPDIR/d/"
	is ""
	[ ! -e /run/docker/netns ] || [ -z "$(find /run/docker/netns -newer "$world/ports")" ]
}

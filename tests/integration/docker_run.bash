# shellcheck shell=bash disable=SC2034,SC2154
# SPDX-License-Identifier: Apache-2.0
#
# What the tests of `bottle run --backend docker` share, beside docker.bash: an upstream in the daemon's
# network, and what a run left.

# In the daemon's network, where a container can reach it.
start() {
	local log=$1
	shift
	nsenter --target "$(cat "$BATS_FILE_TMPDIR/d/pid")" --net -- "$@" >"$log" 2>&1 </dev/null 3>&- &
	echo $! >>"$world/pids"
}
listens() { in_daemon_net bash -c "(: </dev/tcp/127.0.0.1/$1)" 2>/dev/null; }

setup_file() {
	docker_begin
	load_images
	make_agent_image docker
	make_ca ca
	make_cert good ca DNS:up.test
	read -r port < <(free_ports 1)
	tls_server "$port" good up.test | sed 's/listen 127.0.0.1/listen 0.0.0.0/' | nginx_start "$port"
	host=$(in_daemon_net ip -4 -o address show docker0 | sed 's/.*inet \([0-9.]*\).*/\1/')
	printf 'port=%s\nhost=%s\n' "$port" "$host" >"$world/ports"
}

teardown_file() {
	world_end
	docker_end
}

setup() {
	bottle_setup
	export BOTTLE_BACKEND=docker
	one_route
}

# A test that failed in the middle is not the next one's trouble.
teardown() {
	[ -z "${launcher:-}" ] || kill -KILL "$launcher" 2>/dev/null || true
	docker ps --all --quiet --filter label=stranger | xargs -r docker rm --force >/dev/null
	[ -z "$(left)" ] || "$bottle" prune
}

one_route() {
	routes <<-END
		    - {host: up.test, ports: [$port], address: "$host", path_allowlist: [/ok],
		       auth: {scheme: Bearer, token_ref: IT_TOKEN}}
	END
	printf 'agent: {image: agent}\n' >>"$manifest_file"
}

# What is of bottle's in Docker.
left() {
	docker ps --all --quiet --filter label=bottle.slug
	docker network ls --quiet --filter label=bottle.slug
}
nothing_is_left() {
	local left
	left=$(left)
	[ -z "$left" ] && [ -z "$(ls "$XDG_RUNTIME_DIR/bottle-runs" 2>/dev/null)" ] && return
	echo "left: $left" && docker ps --all && docker network ls && ls "$XDG_RUNTIME_DIR"
	return 1
}
agent_runs() { [ -e started ]; }

# in_background COMMAND...: a bottle, $launcher, whose agent has begun
in_background() {
	"$bottle" run -n -f "$manifest_file" -- "$@" >out 2>err 3>&- &
	launcher=$!
	wait_for agent_runs
}

# The launcher's status, for exits
ended() {
	status=0
	wait "$launcher" || status=$?
	output=$(cat out) stderr=$(cat err)
}

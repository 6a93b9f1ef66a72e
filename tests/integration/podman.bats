#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# `bottle run --backend docker` with podman as its CLI, rootless, without a daemon: with what differs from Docker, a run
# does the same and leaves as little.
# Takes: 300

load lib.bash
load docker.bash

# Podman's store, networks and processes: of this file alone.
export HOME=$world/home XDG_DATA_HOME=$world/data CONTAINERS_CONF=$world/containers.conf
podman_dir=$world/run

# What podman starts for longer than itself must not hold bats' own descriptors.
in_podman_net() { podman unshare --rootless-netns "$@"; }
without_descriptors() (
	for fd in /proc/$BASHPID/fd/*; do
		fd=${fd##*/}
		[ "$fd" -le 2 ] || eval "exec $fd>&-"
	done
	"$@"
)

# crun(1) does not work with every hierarchy of cgroups.
use_runtime() {
	printf '[engine]\nevents_logger = "file"\ncgroup_manager = "cgroupfs"\nruntime = "%s"\n' "$1" >"$CONTAINERS_CONF"
}

# A container, with its network and an init, is what it is all for.
runs_a_container() {
	use_runtime "$1"
	without_descriptors podman run --rm --init agent /usr/bin/id >"$world/podman.log" 2>&1
}

# Prints what is in the way of this file's tests, or nothing.
obstacle() {
	command -v podman >/dev/null || { echo "no podman here" && return; }
	use_runtime crun
	{ make_agent_image podman >"$world/podman.log" 2>&1 && { runs_a_container crun || runs_a_container runc; }; } ||
		echo "podman runs no container here: $(tail -n 1 "$world/podman.log")"
}

setup_file() {
	mkdir -p "$HOME" "$podman_dir"
	chmod 700 "$podman_dir"
	export XDG_RUNTIME_DIR=$podman_dir
	obstacle >"$world/obstacle"
	[ ! -s "$world/obstacle" ] || return 0
	make_ca ca
	make_cert good ca DNS:up.test
	# Podman's network lasts as long as a container is on it.
	without_descriptors podman run --detach --init --network podman agent sleep infinity >"$world/podman.log"
	without_descriptors podman unshare --rootless-netns hostname -I >"$world/podman.log"
	host=$(cut -d' ' -f1 "$world/podman.log")
	tls_server 8443 good up.test | sed "s/listen 127.0.0.1/listen 0.0.0.0/" >"$world/server"
	without_descriptors podman unshare --rootless-netns bash -c ". '$here/lib.bash'; world='$world'; nginx_start 8443 <'$world/server'"
	printf 'host=%s\n' "$host" >"$world/ports"
}

teardown_file() {
	world_end
	[ -d "$world/data" ] || return 0
	export XDG_RUNTIME_DIR=$podman_dir
	{ podman rm --all --force --time 0 && podman system reset --force && podman system migrate; } >"$world/podman.log" 2>&1
}

setup() {
	[ ! -s "$world/obstacle" ] || skip "$(cat "$world/obstacle")"
	bottle_setup
	export XDG_RUNTIME_DIR=$podman_dir BOTTLE_DOCKER=podman BOTTLE_BACKEND=docker
	routes <<-END
		    - {host: up.test, ports: [8443], address: "$host", path_allowlist: [/ok],
		       auth: {scheme: Bearer, token_ref: IT_TOKEN}}
	END
	printf 'agent: {image: agent}\n' >>"$manifest_file"
}

left() { podman ps --all --quiet --filter label=bottle.slug && podman network ls --quiet --filter label=bottle.slug; }
nothing_is_left() {
	[ -z "$(left)" ] && [ -z "$(ls "$XDG_RUNTIME_DIR/bottle-runs" 2>/dev/null)" ] && return
	podman ps --all && podman network ls && ls "$XDG_RUNTIME_DIR"
	return 1
}
agent_runs() { [ -e started ]; }

@test "a routed request gets through with its token, another is refused and audited, nothing is left" {
	run --separate-stderr in_bottle sh -c "$(ask https://up.test:8443/ok) $(ask https://up.test:8443/no)"
	exits 0
	has "up.test says GET /ok"
	has 200
	has path_not_allowed
	seen "GET /ok \[Bearer $token\]"
	not_seen /no
	audited "r['source'] == 'proxy' and r['verdict'] == 'deny' and r['reason'] == 'path_not_allowed'"
	says "1 request refused"
	nothing_is_left
}

@test "the agent is the caller, without power, and reaches no other address" {
	in_podman_net bash -c ": </dev/tcp/$host/8443"
	run --separate-stderr in_bottle bash -c "
		id -u; while read -r line; do case \$line in CapBnd*|NoNewPrivs*) echo \$line ;; esac; done </proc/self/status; touch made; touch /usr/x || echo image-is-read-only
		for at in $host/8443 10.0.2.2/22 10.0.2.3/53 192.0.2.1/53; do
			timeout 3 bash -c \"</dev/tcp/\$at\" && echo REACHED \$at; done
		getent hosts example.org || echo no-name
		while read -r dev to gateway rest; do [ \$gateway != 00000000 ] && echo route \$to; done </proc/net/route; exit 7"
	exits 7
	has "$(id -u)"
	has "CapBnd: 0000000000000000"
	has "NoNewPrivs: 1"
	has image-is-read-only
	has no-name
	has_not REACHED
	[ "$(stat -c %u made)" = "$(id -u)" ]
	nothing_is_left
}

@test "no token is in podman's storage or records; a killed bottle is pruned" {
	"$bottle" run -n -f "$manifest_file" -- sh -c 'touch started; exec sleep 300' >out 2>err 3>&- &
	launcher=$!
	wait_for agent_runs
	run podman inspect "$(podman ps --quiet --filter label=bottle.slug | head -1)"
	has bottle.slug
	has_not "$token"
	run podman unshare grep -rslF "$token" "$world/data" "$podman_dir"
	is ""
	run podman unshare grep -rslF bottle-agent-it "$world/data"
	has /containers.json
	kill -KILL "$launcher"
	wait "$launcher" || true
	[ -n "$(left)" ]
	run "$bottle" prune
	exits 0
	nothing_is_left
}

@test "stop ends it; the run says by which signal" {
	"$bottle" run -n -f "$manifest_file" -- sh -c 'touch started; exec sleep 300' >out 2>err 3>&- &
	launcher=$!
	wait_for agent_runs
	run "$bottle" stop it
	exits 0
	status=0
	wait "$launcher" || status=$?
	[ "$status" = 143 ]
	nothing_is_left
}

# shellcheck shell=bash disable=SC2034,SC2154
# SPDX-License-Identifier: Apache-2.0
#
# What the tests with a Docker daemon share, beside lib.bash. A file's setup_file calls docker_begin and its
# teardown_file docker_end; between them DOCKER_HOST names a daemon that nobody else has (tests/lib/start-dockerd).

archives=$(realpath "$here/../../build/image")

docker_begin() {
	command -v dockerd >/dev/null || skip "no dockerd here (Debian's docker.io)"
	mkdir -p "$world"
	mkfifo "$world/docker.says"
	"$here/../lib/start-dockerd" "$BATS_FILE_TMPDIR/d" >"$world/docker.says" 2>"$world/docker.log" </dev/null 3>&- &
	echo $! >"$world/docker.pid"
	# Its one line, or its end.
	read -r DOCKER_HOST <"$world/docker.says" || { cat "$world/docker.log" && return 1; }
	export DOCKER_HOST
	# The CLI's own settings are the caller's; and the legacy builder is what every engine has.
	export DOCKER_CONFIG=$world/docker.config DOCKER_BUILDKIT=0
}

# Its starter holds the FIFO open for as long as it lives.
docker_end() {
	local pid gone
	pid=$(cat "$world/docker.pid" 2>/dev/null) || return 0
	rm "$world/docker.pid"
	kill -0 "$pid" || return
	exec {gone}<"$world/docker.says"
	kill "$pid"
	cat <&"$gone"
	exec {gone}<&-
	rm -rf "$BATS_FILE_TMPDIR/d/data"
}

# In the daemon's network, processes and mounts: its pids, its /run, its bridges.
in_daemon() { nsenter --target "$(cat "$BATS_FILE_TMPDIR/d/pid")" --net --mount --pid -- "$@"; }
in_daemon_net() { nsenter --target "$(cat "$BATS_FILE_TMPDIR/d/pid")" --net -- "$@"; }

native_digest() { tar -xOf "$(dirname "$(realpath "$bottle")")/native.oci.tar" manifest.json | config_digest; }
mitmproxy_digest() { tar -xOf "$archives/egress-proxy-mitmproxy.oci.tar" manifest.json | config_digest; }
config_digest() { sed 's/.*"Config":"blobs.sha256.\([0-9a-f]*\)".*/sha256:\1/'; }

# load_images: both of ours, as egress-proxy-native and egress-proxy-mitmproxy
load_images() {
	docker load -q <"$(dirname "$(realpath "$bottle")")/native.oci.tar"
	docker load -q <"$archives/egress-proxy-mitmproxy.oci.tar"
}

# make_network NAME [OPTION]...: internal, and without an address of the host's on it
make_network() {
	docker network create --internal --ipv6=false \
		--opt com.docker.network.bridge.inhibit_ipv4=true "${@:2}" "$1" >/dev/null
}

# The options of a container that gives nothing away, and of one of ours that wants its secrets.
least=(--cap-drop ALL --security-opt no-new-privileges --read-only --log-driver none --pids-limit 256
	--memory 512m --memory-swap 512m)
own=rw,noexec,nosuid,nodev,uid=1000,gid=1000,mode=0700
by_stdin=(--interactive -e EGRESS_PROXY_SECRETS=stdin -e EGRESS_PROXY_READY_FD=1
	--tmpfs "/etc/egress-proxy:$own,size=1m" --tmpfs "/home/mitmproxy/.mitmproxy:$own,size=1m"
	--tmpfs "/tmp:$own,size=64m")

# A program of the host's with its libraries, for the agent's image.
add_program() {
	local root=$1 program
	for program in "${@:2}"; do
		program=$(realpath "$(command -v "$program")")
		ldd "$program" 2>/dev/null | grep -o '/[^ ]*' | cat - <(echo "$program") | while read -r file; do
			mkdir -p "$root$(dirname "$file")"
			cp -L "$file" "$root$file"
		done
	done
}

# make_agent_image CLI: "agent", with a shell and a few programs
make_agent_image() {
	local root=$BATS_FILE_TMPDIR/agent.root
	mkdir -p "$root"/{tmp,etc,run,bin,var/tmp} "$root/usr/bin"
	add_program "$root" bash dash cat env id ls sleep curl getent touch stat timeout
	cp "$(realpath "$(command -v dash)")" "$root/bin/sh"
	echo 'not a program' >"$root/usr/bin/broken"
	tar -C "$root" -c . | "$1" import - agent >/dev/null
}

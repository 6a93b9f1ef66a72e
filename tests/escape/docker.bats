#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# The promises under Docker, against a real daemon: what of the secrets is on its disk, and where a container on an
# internal network comes to. The containers are made by plain docker commands, as the Docker backend makes them.
# Runs as: root
# Runs alone
# Takes: 600

load ../integration/lib.bash
load ../integration/docker.bash

setup_file() {
	docker_begin
	load_images
	make_ca outside
	make_ca bottle
	cat "$world/bottle.key" >>"$world/bottle.pem"
	cat >"$world/routes.yaml" <<-END
		version: 1
		routes:
		  - host: "up.test"
		    ports: [443]
		    auth_scheme: "Bearer"
		    auth_header: "authorization"
		    token_env: "EGRESS_PROXY_TOKEN_0"
	END
	echo "EGRESS_PROXY_TOKEN_0=$token" >"$world/tokens"
	"$here/../lib/secrets_archive.py" "$world"/{routes.yaml,bottle.pem,tokens} >"$world/secrets"
}

teardown_file() {
	world_end
	docker_end
}

# proxy_start IMAGE [OPTION]...: a container `proxy` that was given its secrets and said READY=1; what it says
# further comes from descriptor $says
proxy_start() {
	docker create --name proxy "${least[@]}" "${by_stdin[@]}" "${@:2}" \
		-v "$world/outside.pem:/etc/ssl/certs/ca-certificates.crt:ro" "$1" >/dev/null
	rm -f "$world/says" && mkfifo "$world/says"
	docker start --attach --interactive proxy <"$world/secrets" >"$world/says" 2>"$world/proxy.err" 3>&- &
	exec {says}<"$world/says"
	read -r line <&"$says"
	[ "$line" = READY=1 ] || { cat "$world/proxy.err" && return 1; }
}

proxy_end() {
	docker rm --force proxy >/dev/null
	wait || true
	exec {says}<&-
}

search() { "$here/../lib/search_disk.py" "$token" "$world/bottle.key" "$BATS_FILE_TMPDIR/d/data"; }

nothing_is_found() {
	run search
	has_not FOUND
	[ "$(sed -n 's/ files read//p' <<<"$output")" -gt 100 ]
}

for_each_image() {
	for image in egress-proxy-native egress-proxy-mitmproxy; do
		echo "with $image:"
		"$@"
	done
}

on_no_disk() {
	proxy_start "$image"
	nothing_is_found
	run docker inspect proxy
	has_not "$token"
	has EGRESS_PROXY_SECRETS=stdin
	pid=$(docker inspect -f '{{.State.Pid}}' proxy)
	run in_daemon stat -c '%u %g %a' "/proc/$pid/root/home/mitmproxy/.mitmproxy/mitmproxy-ca.pem" \
		"/proc/$pid/root/etc/egress-proxy/routes.yaml"
	is "1000 1000 400
1000 1000 400"
	run in_daemon grep -E '^(Uid|CapEff|CapBnd|NoNewPrivs)' "/proc/$pid/status"
	has "Uid:	1000	1000	1000	1000"
	has "CapEff:	0000000000000000"
	has "CapBnd:	0000000000000000"
	has "NoNewPrivs:	1"
	run in_daemon sh -c "tr '\0' '\n' </proc/$pid/environ; readlink /proc/$pid/fd/0"
	has_not "$token"
	has /dev/null
	docker stop --time 10 proxy >/dev/null
	nothing_is_found # the container is still there
	proxy_end
	nothing_is_found
}

@test "DOCK-1: with either image neither token nor key is on Docker's disk, during a run and after it" {
	for_each_image on_no_disk
}

@test "DOCK-1: the search finds what is there: a token in the environment, a key that was copied (control)" {
	docker create --name foreign -e "EGRESS_PROXY_TOKEN_0=$token" egress-proxy-native >/dev/null
	docker cp "$world/bottle.pem" foreign:/home/mitmproxy/.mitmproxy/mitmproxy-ca.pem
	run search
	docker rm foreign >/dev/null
	has "FOUND the token in "
	has "FOUND the key in "
	nothing_is_found
}

# Without one of its tmpfs the image must not write a byte, and says which.
refuses_a_disk() {
	docker create --name proxy --cap-drop ALL --interactive -e EGRESS_PROXY_SECRETS=stdin \
		--tmpfs "/etc/egress-proxy:$own" --log-driver none "$image" >/dev/null
	run -- docker start --attach --interactive proxy <"$world/secrets"
	[ "$status" -ne 0 ]
	has "egress-proxy: secrets on standard input: /home/mitmproxy/.mitmproxy is no tmpfs"
	[ "$(docker inspect -f '{{.State.ExitCode}}' proxy)" -ne 0 ]
	run docker diff proxy
	has_not mitmproxy-ca.pem
	nothing_is_found
	docker rm proxy >/dev/null
}

@test "DOCK-1: a key is not written where it would reach a disk" {
	for_each_image refuses_a_disk
}

refuses_half_of_it() {
	docker create --name proxy "${least[@]}" "${by_stdin[@]}" "$image" >/dev/null
	run -- docker start --attach --interactive proxy < <(head -c 700 "$world/secrets")
	[ "$status" -ne 0 ]
	has "egress-proxy: secrets on standard input: the archive ends too early"
	docker rm proxy >/dev/null
}

@test "DOCK-1: half of the secrets are none, and the proxy does not start" {
	for_each_image refuses_half_of_it
}

# --- the network --------------------------------------------------------------------------------

listener_start() {
	[ ! -e "$world/reached" ] || return 0
	: >"$world/reached"
	start "$world/listener.log" nsenter --net="/proc/$(cat "$BATS_FILE_TMPDIR/d/pid")/ns/net" \
		/usr/bin/python3 "$here/../escape/docker_reach.py" listen "$world/reached"
	wait_for grep -q listening "$world/reached"
}

# Every address of the host; what would be the network's gateway the attack finds out itself.
host_addresses() { in_daemon_net ip -o addr | awk '$2 != "lo" { sub("/.*", "", $4); print $4 }'; }

# attack NETWORK: from a container on it
attack() {
	listener_start
	: >"$world/reached"
	# shellcheck disable=SC2046
	run docker run --rm --interactive "${least[@]}" --network "$1" --entrypoint /usr/bin/python3 \
		egress-proxy-mitmproxy - attack $(host_addresses) <"$here/../escape/docker_reach.py"
	docker network rm "$1" >/dev/null
	echo "$output"
	has attacked
	sed 's/^/the host: /' "$world/reached"
}

host_was_not_reached() {
	has_not REACHED
	run cat "$world/reached"
	has_not tcp
	has_not "by route"
	has_not "by device"
}

@test "DOCK-2: no address of the host gives a container on the internal network an answer" {
	make_network quiet
	attack quiet
	host_was_not_reached
}

@test "DOCK-2: on a network that is only --internal the host is reached (control)" {
	docker network create --internal plain >/dev/null
	attack plain
	has "REACHED b'from the host"
	run cat "$world/reached"
	has tcp
}

# --- a bottle -----------------------------------------------------------------------------------

docker_bottle() {
	bottle_setup
	OPTIONS=(--backend docker --quiet --no-stdin)
	routes <<<"    - {host: up.test, auth: {scheme: Bearer, token_ref: IT_TOKEN}}"
	echo 'agent: {image: egress-proxy-mitmproxy}' >>"$manifest_file"
}

@test "DOCK-2: nor does it give one to the agent of a bottle" {
	docker_bottle
	listener_start
	: >"$world/reached"
	cp "$here/../escape/docker_reach.py" .
	# shellcheck disable=SC2046
	run in_bottle /usr/bin/python3 docker_reach.py attack $(host_addresses)
	exits 0
	has attacked
	host_was_not_reached
}

@test "DOCK-1: of a bottle neither token nor key is on Docker's disk, while it runs and when it has ended" {
	docker_bottle
	"$bottle" run "${OPTIONS[@]}" -f "$manifest_file" -- \
		/usr/bin/python3 -c 'import time; open("started", "w").close(); time.sleep(600)' 3>&- &
	launcher=$!
	wait_for [ -e started ]
	pid=$(docker inspect -f '{{.State.Pid}}' "$(docker ps -q --filter ancestor=egress-proxy-native)")
	in_daemon cat "/proc/$pid/root/home/mitmproxy/.mitmproxy/mitmproxy-ca.pem" >"$world/bottle.key"
	grep -q "PRIVATE KEY" "$world/bottle.key"
	nothing_is_found
	kill "$launcher"
	wait "$launcher" || true
	nothing_is_found
	run docker ps --all --quiet
	is ""
}

# ask_by ADDRESS [OPTION]...: the host's user asks the proxy there
ask_by() { in_daemon_net curl "${@:2}" -sS -k -m 5 -o /dev/null -w ' CONNECT:%{http_connect}' -x "http://$1:9099" https://up.test/; }

@test "DOCK-3: a user of the host gets no connection to a bottle's proxy" {
	for image in egress-proxy-native egress-proxy-mitmproxy; do
		docker_bottle
		rm -f started
		BOTTLE_EGRESS_PROXY_IMAGE=$image "$bottle" run "${OPTIONS[@]}" -f "$manifest_file" -- /usr/bin/python3 -c \
			'import socket, time; socket.create_connection(("egress-proxy", 9099)); open("started", "w").close(); time.sleep(600)' 3>&- &
		launcher=$!
		wait_for [ -e started ]
		proxy=$(docker ps -q --filter "name=bottle-egress-proxy-")
		read -ra addresses < <(docker inspect -f '{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}' "$proxy")
		[ "${#addresses[@]}" -eq 2 ]
		for address in "${addresses[@]}"; do
			run ask_by "$address"
			[ "$status" -eq 7 ] || [ "$status" -eq 28 ] || { echo "$address: $status $output" && false; }
			has CONNECT:000
			for bridge in $(in_daemon_net ip -o link show type bridge | sed 's/^[0-9]*: \([^:@]*\).*/\1/'); do
				run ask_by "$address" --interface "$bridge"
				has CONNECT:000
			done
		done
		kill "$launcher"
		wait "$launcher" || true
	done
}

@test "DOCK-3: one that listens everywhere is reached (control)" {
	docker network create outer >/dev/null
	proxy_start egress-proxy-native --network outer
	run ask_by "$(docker inspect -f '{{.NetworkSettings.Networks.outer.IPAddress}}' proxy)"
	has CONNECT:200
	run ask_by "$(docker inspect -f '{{.NetworkSettings.Networks.outer.IPAddress}}' proxy)" \
		--interface "br-$(docker network inspect -f '{{.Id}}' outer | cut -c1-12)"
	has CONNECT:200
	proxy_end
	docker network rm outer >/dev/null
}

#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# `bottle run --backend docker` with a real daemon: what a run does, what its end leaves, and that a fault in any of its
# steps leaves nothing.
# Runs as: root
# Runs alone
# Takes: 1800

load lib.bash
load docker.bash
load docker_run.bash

@test "a routed request gets through with its token, another is refused and audited, nothing is left" {
	run --separate-stderr in_bottle sh -c "$(ask "https://up.test:$port/ok") $(ask "https://up.test:$port/no") echo made >made"
	exits 0
	has "up.test says GET /ok"
	has 200
	has 403
	seen "GET /ok \[Bearer $token\]"
	not_seen /no
	audited "r['source'] == 'proxy' and r['verdict'] == 'deny' and r['reason'] == 'path_not_allowed'"
	says "1 request refused"
	[ "$(cat made)" = made ]
	nothing_is_left
}

@test "the agent has no power, the caller's uid, its own trust, every proxy variable and no other address" {
	mkdir -p "$DOCKER_CONFIG"
	echo '{"proxies": {"default": {"httpProxy": "http://192.0.2.9:1", "ftpProxy": "http://192.0.2.9:1"}}}' >"$DOCKER_CONFIG/config.json"
	run --separate-stderr in_bottle sh -c "
		while read -r line; do case \$line in Cap*|NoNewPrivs*) echo \$line ;; esac; done </proc/self/status
		env; id -u; touch /usr/x || echo image-is-read-only; touch /tmp/x && echo tmp
		getent hosts example.org || echo no-name; getent hosts egress-proxy
		set -- \$(cat /proc/sys/net/ipv4/tcp_wmem); echo sends into \$2
		curl --noproxy '*' -k -m 3 https://$host:$port/ok || echo host-is-far"
	rm "$DOCKER_CONFIG/config.json"
	exits 0
	has "CapBnd: 0000000000000000"
	has "NoNewPrivs: 1"
	has "HTTPS_PROXY=http://egress-proxy:9099"
	has "http_proxy=http://egress-proxy:9099"
	has "SSL_CERT_FILE=/run/bottle/ca-bundle.pem"
	has_not 192.0.2.9
	has image-is-read-only
	has tmp
	has no-name
	has egress-proxy
	has host-is-far
	has "sends into 1048576"
	has_not "up.test says"
}

@test "neither token nor key is in what Docker knows or stores while the bottle runs" {
	touch before
	in_background sh -c 'touch started; sleep 60'
	docker ps --all --quiet | xargs docker inspect >inspected
	for secret in "$token" "PRIVATE KEY"; do
		run grep -c -- "$secret" inspected
		is 0
		# The image of mitmproxy has other keys in it: looked at is what was written since.
		find "$BATS_FILE_TMPDIR/d/data" -type f -newer before -print0 >written
		[ -s written ]
		run xargs -0 grep -lF -- "$secret" <written
		is ""
	done
	kill -TERM "$launcher"
	ended
	nothing_is_left
}

@test "exit statuses are those of the other backend" {
	for want in 0 3; do
		run in_bottle sh -c "exit $want"
		exits "$want"
	done
	run in_bottle sh -c 'kill -9 $$'
	exits 137
	run -127 in_bottle no-such-program
	run in_bottle /usr/bin/broken
	exits 126
	OPTIONS=(--fail-on-denied)
	run in_bottle sh -c "$(ask "https://up.test:$port/no")"
	exits 123
	nothing_is_left
}

@test "a pipe goes in and comes out, byte for byte" {
	head -c 3000000 /dev/urandom >in
	in_bottle cat <in >out
	cmp in out
}

@test "a token that is not set ends the run before anything is made" {
	: >calls
	unset IT_TOKEN
	BOTTLE_DOCKER=$here/../lib/failing-docker DOCKER_FAULT_LOG=$PWD/calls run in_bottle sh -c true
	exits 125
	has IT_TOKEN
	run grep -E 'create|start|load|build|run' calls
	is ""
}

@test "--dry-run prints what will be done, and does nothing" {
	docker rmi --force "$(native_digest)" >/dev/null
	OPTIONS=(--dry-run)
	run --separate-stderr in_bottle sh -c true
	exits 0
	has "backend: docker"
	has "loaded from"
	has "--cap-drop=ALL"
	has "--internal"
	has_not "$token"
	run docker image inspect "$(native_digest)"
	exits 1
	nothing_is_left
}

@test "a variable that is passed on reaches the agent, and no argv, whatever its name" {
	sed -i 's/^agent: .*/agent: {image: agent, pass_env: [GOOGLE_API_KEY, DOCKER_PASSWORD], env: {LANG: xx_XX}}/' "$manifest_file"
	export GOOGLE_API_KEY=google-$BATS_ROOT_PID DOCKER_PASSWORD=docker-$BATS_ROOT_PID LANG=C.UTF-8
	run --separate-stderr in_bottle sh -c 'echo "$GOOGLE_API_KEY $DOCKER_PASSWORD $LANG"'
	exits 0
	is "google-$BATS_ROOT_PID docker-$BATS_ROOT_PID xx_XX"
	OPTIONS=(--dry-run --json)
	run --separate-stderr in_bottle true
	exits 0
	has "--env=GOOGLE_API_KEY"
	has_not "google-$BATS_ROOT_PID"
	has_not "docker-$BATS_ROOT_PID"
}

@test "a variable that the CLI itself reads reaches the agent, not the CLI, and no argv" {
	sed -i 's/^agent: .*/agent: {image: agent, pass_env: [XDG_KEY, GODEBUG], env: {DOCKER_HOST: "tcp:\/\/192.0.2.7:1", DOCKER_CONFIG: " a=b # c "}}/' "$manifest_file"
	export XDG_KEY=xdg-$BATS_ROOT_PID GODEBUG=go-$BATS_ROOT_PID
	run --separate-stderr in_bottle sh -c 'echo "$XDG_KEY $GODEBUG $DOCKER_HOST <$DOCKER_CONFIG>"'
	exits 0
	is "xdg-$BATS_ROOT_PID go-$BATS_ROOT_PID tcp://192.0.2.7:1 < a=b # c >"
	OPTIONS=(--dry-run --json)
	run --separate-stderr in_bottle true
	exits 0
	has "--env-file=/dev/stdin"
	for value in "xdg-$BATS_ROOT_PID" "go-$BATS_ROOT_PID" 192.0.2.7; do has_not "$value"; done
	XDG_KEY=$'two\nlines' run in_bottle true
	exits 125
	has "XDG_KEY has a line break"
}

@test "a proxy of the CLI's own configuration does not take the place of the agent's" {
	sed -i 's/^agent: .*/agent: {image: agent, env: {ftp_proxy: "http:\/\/192.0.2.7:1"}}/' "$manifest_file"
	mkdir -p "$DOCKER_CONFIG"
	echo '{"proxies": {"default": {"ftpProxy": "http://192.0.2.9:1"}}}' >"$DOCKER_CONFIG/config.json"
	run --separate-stderr in_bottle sh -c 'echo $ftp_proxy'
	rm "$DOCKER_CONFIG/config.json"
	exits 0
	is http://192.0.2.7:1
}

@test "the native image is loaded where it is missing, and an image with its name is not taken for it" {
	docker rmi --force "$(native_digest)" >/dev/null
	docker tag agent egress-proxy-native
	run in_bottle sh -c "$(ask "https://up.test:$port/ok")"
	exits 0
	has "up.test says GET /ok"
	docker image inspect "$(native_digest)" >/dev/null
}

# image_in_plan KEY: of the proxy's image
image_in_plan() {
	"$bottle" run --dry-run --json -f "$manifest_file" -- true |
		/usr/bin/python3 -c 'import json, sys; print(json.load(sys.stdin)["docker"]["proxy_image"][sys.argv[1]])' "$1"
}

@test "an image that was built of these files is taken, one of others is built anew" {
	export BOTTLE_EGRESS_PROXY_IMAGE=mitmproxy
	inputs=$(image_in_plan inputs)
	docker build --quiet --label bottle.inputs=sha256:other --tag bottle-egress-proxy-mitmproxy - <<<"FROM egress-proxy-mitmproxy"
	[ "$(image_in_plan how)" = "built from" ]
	docker build --quiet --label "bottle.inputs=$inputs" --tag bottle-egress-proxy-mitmproxy - <<<"FROM egress-proxy-mitmproxy"
	[ "$(image_in_plan how)" = there ]
	run --separate-stderr in_bottle sh -c "$(ask "https://up.test:$port/ok") $(ask "https://up.test:$port/no")"
	exits 0
	has "up.test says GET /ok"
	seen "GET /ok \[Bearer $token\]"
	not_seen /no
	audited "r['verdict'] == 'deny' and r['reason'] == 'path_not_allowed'"
	nothing_is_left
}

@test "an ordinary user's agent has that user's uid, and writes the work folder" {
	user=$(stat -c %U "$BATS_TEST_TMPDIR")
	[ "$user" != root ] || user=nobody
	for folder in "$BATS_TEST_TMPDIR" "$(dirname "${DOCKER_HOST#unix://}")"; do # and all of the run's above it
		while [[ $folder == *@(bottle-test.|bats-run-)* ]]; do
			chmod a+rx "$folder"
			folder=$(dirname "$folder")
		done
	done
	cp "$bottle" "$BATS_TEST_TMPDIR/bottle" # the tree may lie in root's home
	chown -R "$user" "$BATS_TEST_TMPDIR"
	chmod 666 "${DOCKER_HOST#unix://}"
	mkdir -p "$DOCKER_CONFIG"
	run --separate-stderr setpriv --reuid "$user" --regid "$(id -g "$user")" --clear-groups \
		env HOME="$BATS_TEST_TMPDIR" "$BATS_TEST_TMPDIR/bottle" run -f "$manifest_file" -- sh -c 'id -u; touch made'
	exits 0
	is "$(id -u "$user")"
	[ "$(stat -c %U made)" = "$user" ]
}

@test "a signal is the agent's, and the end leaves nothing" {
	in_background sh -c 'trap "echo asked; exit 9" TERM; touch started; while :; do sleep 0.1; done'
	kill -TERM "$launcher"
	ended
	exits 9
	grep -qx asked out
	nothing_is_left
}

@test "two signals end an agent that does not mind them" {
	in_background sh -c 'trap "" TERM; touch started; while :; do sleep 0.1; done'
	kill -TERM "$launcher"
	sleep 1
	kill -TERM "$launcher"
	ended
	exits 143
	nothing_is_left
}

@test "a signal during the start takes down what was made" {
	"$bottle" run -n -f "$manifest_file" -- sleep 60 >out 2>err 3>&- &
	launcher=$!
	wait_for eval '[ -n "$(left)" ]'
	kill -TERM "$launcher"
	ended
	exits 143
	nothing_is_left
}

@test "a proxy that ends takes the bottle with it" {
	in_background sh -c 'touch started; sleep 60'
	docker kill "$(docker ps --quiet --filter name=bottle-egress-proxy-)" >/dev/null
	ended
	exits 125
	grep -q 'the proxy\|proxy:' err
	nothing_is_left
}

@test "bottle stop ends a bottle by its name; once more is no error" {
	in_background sh -c 'touch started; sleep 60'
	run "$bottle" stop it
	exits 0
	has "stopped: 1"
	ended
	exits 143
	nothing_is_left
	run "$bottle" stop it
	exits 0
	has "no bottle of that name"
}

@test "what a killed launcher left goes with stop or prune, and a live bottle stays" {
	in_background sh -c 'touch started; sleep 60'
	kill -KILL "$launcher"
	ended
	rm started
	in_background sh -c 'touch started; sleep 60'
	[ "$(left | wc -l)" -eq 8 ]
	run "$bottle" prune
	exits 0
	[ "$(left | wc -l)" -eq 4 ]
	kill -KILL "$launcher"
	ended
	run "$bottle" stop another
	exits 0
	[ "$(left | wc -l)" -eq 4 ]
	run "$bottle" stop it
	exits 0
	[ -z "$(left)" ]
	run "$bottle" prune
	exits 0
	nothing_is_left
}

# stranger NAME [OPTION]...: a container that no bottle made, with what a dead one's would have for labels
stranger() {
	local slug=it-aaaaaaaaaa
	docker create --name "$1" --label stranger --label bottle.slug=$slug --label bottle.name=it --label "bottle.uid=$(id -u)" \
		--label bottle.pid=4194305 --label "bottle.host=$host_id" --label "bottle.boot-id=$(cat /proc/sys/kernel/random/boot_id)" \
		--label "bottle.lock=/no/such/bottle-runs/$slug/lock" "${@:2}" agent sleep 1 >/dev/null
}
own_host() {
	host_id=$("$bottle" run --dry-run -f "$manifest_file" -- true | grep -o 'bottle.host=[0-9a-f]*' | head -n 1 | cut -d= -f2)
	[ ${#host_id} -eq 16 ]
}
names() { docker ps --all --format '{{.Names}}' | sort | tr '\n' ' '; }

@test "labels alone make nothing a bottle's: what prune removes has its name too" {
	own_host
	# Of an image, as any container made of it has them.
	printf 'FROM agent\nLABEL bottle.slug=it-aaaaaaaaaa bottle.name=it bottle.uid=%s bottle.pid=4194305 bottle.host=%s %s\n' \
		"$(id -u)" "$host_id" bottle.lock=/no/such/bottle-runs/it-aaaaaaaaaa/lock |
		docker build --quiet --tag labelled - >/dev/null
	docker create --name of-image --label stranger labelled sleep 1
	docker create --name victim --label stranger agent sleep 1
	# The row that this would be in a listing by tabs.
	stranger forger --label bottle.name=$'x\nvictim\tit\t'"$(id -u)"$'\t/no/such/lock\nvictim'
	stranger bottle-agent-it-aaaaaaaaab
	stranger bottle-agent-it-AAAAAAAAAA --label bottle.slug=it-AAAAAAAAAA
	stranger bottle-egress-proxy-it-aaaaaaaaaa --label bottle.lock=/no/such/lock
	before=$(names)
	for command in prune "stop it"; do
		# shellcheck disable=SC2086
		run "$bottle" $command
		exits 0
		[[ $output == *"nothing was left"* || $output == *"no bottle of that name"* ]]
		[ "$(names)" = "$before" ]
	done
	# Without one of these faults it goes.
	stranger bottle-agent-it-aaaaaaaaaa
	run "$bottle" prune
	exits 0
	has "removed: 1"
	[ "$(names)" = "$before" ]
}

@test "what is another host's, or may be alive, is named and left" {
	own_host
	stranger bottle-agent-it-aaaaaaaaaa --label bottle.host=0123456789abcdef
	stranger bottle-agent-it-bbbbbbbbbb --label bottle.host= --label bottle.slug=it-bbbbbbbbbb \
		--label bottle.lock=/no/such/bottle-runs/it-bbbbbbbbbb/lock
	stranger bottle-agent-it-cccccccccc --label "bottle.pid=$$" --label bottle.slug=it-cccccccccc \
		--label bottle.lock=/no/such/bottle/.run/it-cccccccccc/lock
	before=$(names)
	run --separate-stderr "$bottle" prune
	exits 0
	has "nothing was left"
	says "bottle-agent-it-aaaaaaaaaa was left alone: it is another host's"
	says "docker rm --force --volumes bottle-agent-it-aaaaaaaaaa"
	says "bottle-agent-it-bbbbbbbbbb was left alone: it does not say which host's"
	says "process $$ is there; to remove it by hand: docker rm --force --volumes bottle-agent-it-cccccccccc"
	[ "$(names)" = "$before" ]
	# With a process of before the last start the same one is dead.
	stranger bottle-agent-it-dddddddddd --label "bottle.pid=$$" --label bottle.boot-id=another --label bottle.slug=it-dddddddddd \
		--label bottle.lock=/no/such/bottle/.run/it-dddddddddd/lock
	run --separate-stderr "$bottle" prune
	has "removed: 1"
	[ "$(names)" = "$before" ]
}

@test "a daemon that does not answer fails stop and prune only where Docker was asked for" {
	for command in prune "stop it"; do
		unset BOTTLE_BACKEND
		# shellcheck disable=SC2086
		DOCKER_HOST=unix:///no/such.sock run --separate-stderr "$bottle" $command
		exits 0
		says "not looked for what docker has left"
		[ "$(wc -l <<<"$stderr")" -eq 1 ]
		export BOTTLE_BACKEND=docker
		# shellcheck disable=SC2086
		DOCKER_HOST=unix:///no/such.sock run --separate-stderr "$bottle" $command
		exits 125
		says "not looked for what docker has left"
	done
}

# try_fault N HOW: one run whose Nth call fails
try_fault() {
	: >calls
	BOTTLE_DOCKER=$here/../lib/failing-docker DOCKER_FAULT_LOG=$PWD/calls DOCKER_FAULT_AT=$1 DOCKER_FAULT_HOW=$2 \
		run --separate-stderr in_bottle sh -c 'exit 0'
	nothing_is_left
}

# fault_everywhere HOW: every call of a whole run fails once
fault_everywhere() {
	local calls n call
	try_fault "" "$1"
	exits 0
	cp calls whole
	calls=$(wc -l <whole)
	[ "$calls" -ge 14 ]
	for n in $(seq "$calls"); do
		call=$(sed -n "${n}p" whole)
		# One that only asks, or takes away, has done nothing that could be left.
		[ "$1" = before ] || [[ $call =~ create|connect|start ]] || continue
		# The agent has run by then, and how it ended the daemon knows.
		[ "$1 $n" != "after $(grep -n 'start --attach' whole | tail -n 1 | cut -d: -f1)" ] || call="agent's own"
		try_fault "$n" "$1" || { echo "at call $n ($call)" && return 1; }
		case $call in
		# Of a part that is taken away the removal is tried again; a proxy that is not asked to end is killed.
		"rm --force" | "network rm" | "stop -t" | "agent's own")
			exits 0 || { echo "at call $n ($call)" && return 1; }
			;;
		*)
			exits 125 || { echo "at call $n ($call)" && return 1; }
			# The line that says so, with the step.
			grep -Eq '^bottle: [a-z ]+: .*(fault that was asked for|ended with status 1|lost its connection)' <<<"$stderr" ||
				{ echo "at call $n ($call): $stderr" && return 1; }
			;;
		esac
	done
}

@test "a call that fails, whichever it is, is told with its step and leaves nothing" { fault_everywhere before; }

@test "a call that did its work and then failed leaves nothing either" { fault_everywhere after; }

@test "auto takes Docker where no namespace can be made, and says so" {
	unset BOTTLE_BACKEND
	# shellcheck disable=SC2016
	run --separate-stderr unshare --user --map-root-user sh -c \
		'echo 0 >/proc/sys/user/max_user_namespaces; exec "$@"' sh \
		"$bottle" run --dry-run -f "$manifest_file" -- sh
	exits 0
	has "backend: docker"
	says "backend: docker, since namespaces does not work here"
	run --separate-stderr "$bottle" run --dry-run -f "$manifest_file" -- sh
	has "backend: namespaces"
	BOTTLE_BACKEND=docker run "$bottle" run --backend namespaces --dry-run -f "$manifest_file" -- sh
	has "backend: namespaces"
}

@test "without daemon or CLI the error says which" {
	BOTTLE_DOCKER=no-such-docker run in_bottle true
	exits 125
	has "'no-such-docker' is not installed"
	DOCKER_HOST=unix:///no/such.sock run in_bottle true
	exits 125
	has "engine: docker version"
}

@test "what Docker cannot do is refused by name" {
	mkdir -p ../a:b
	HOME=$(realpath ../a:b) run in_bottle true
	exits 125
	has "a:b has a colon in it"
	sed -i "s/address: \"$host\"/address: \"127.0.0.1:$port\"/" "$manifest_file"
	run in_bottle true
	exits 125
	has "another port than the one asked for"
	sed -i "s/127.0.0.1:$port/127.0.0.1/" "$manifest_file"
	run in_bottle true
	exits 125
	has "the host's loopback"
	sed -i /agent:/d "$manifest_file"
	run in_bottle true
	exits 125
	has "agent.image"
}

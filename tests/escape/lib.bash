# shellcheck shell=bash disable=SC2154
# SPDX-License-Identifier: Apache-2.0
#
# What the attacks share. A file's setup_file calls world_start: a CA, a server certificate and the
# host's listeners (host.py), which write down whoever reaches them. Each test has a work folder of
# its own, the current one, with inside.py in it, and a state and a runtime folder of its own.
#
# An attack is judged from outside where that can be done: by what the listeners saw, by the host's
# files, by the audit log. What the program inside says of itself is the second witness.

bats_require_minimum_version 1.5.0

here=$(dirname "${BASH_SOURCE[0]}")
bottle=${BOTTLE:-$(realpath "$here/../../build/bin/bottle")}
world=$BATS_FILE_TMPDIR/world
token=tok-$BATS_ROOT_PID-5f2e9c61b7d84a3f

certificate() {
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 \
		-subj "/CN=escape test CA" -keyout "$world/ca.key" -out "$world/ca.pem" 2>/dev/null
	openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=up.test" \
		-keyout "$world/server.key" -out "$world/server.csr" 2>/dev/null
	printf 'subjectAltName=DNS:up.test,DNS:other.test,DNS:localhost\n' >"$world/san"
	openssl x509 -req -in "$world/server.csr" -CA "$world/ca.pem" -CAkey "$world/ca.key" \
		-CAcreateserial -days 2 -extfile "$world/san" -out "$world/server.pem" 2>/dev/null
}

# Makes $world and starts the listeners; sets tls_port, http_port, raw_port, udp_port, abstract.
world_start() {
	mkdir -p "$world"
	certificate
	/usr/bin/python3 "$here/host.py" "$world" 3>&- >"$world/host.log" 2>&1 &
	echo $! >"$world/pid"
	for _ in $(seq 200); do
		[ ! -s "$world/ports" ] || return 0
		sleep 0.05
	done
	echo "the host's listeners did not start:" && cat "$world/host.log"
	return 1
}

world_end() {
	[ ! -s "$world/pid" ] || kill "$(cat "$world/pid")"
}

# A work folder, which becomes the current one, and folders of its own for what bottle keeps.
escape_setup() {
	if [ -s "$world/ports" ]; then
		# shellcheck disable=SC1091
		. "$world/ports"
		: >"$world/seen"
	fi
	work=$BATS_TEST_TMPDIR/work
	mkdir -p "$work" "$BATS_TEST_TMPDIR/state" "$BATS_TEST_TMPDIR/run"
	chmod 700 "$BATS_TEST_TMPDIR/run"
	export XDG_STATE_HOME=$BATS_TEST_TMPDIR/state XDG_RUNTIME_DIR=$BATS_TEST_TMPDIR/run
	export ESCAPE_TOKEN=$token
	cp "$here/inside.py" "$work/"
	cd "$work" || return 1
}

# What the listeners of the host saw since the test began.
seen() { cat "$world/seen"; }

# Fails, and says so, when a listener saw a line that matches $1.
not_seen() {
	if grep -E -- "$1" "$world/seen"; then
		echo "^ this reached the host"
		return 1
	fi
}

is_seen() {
	grep -E -q -- "$1" "$world/seen" && return
	echo "no listener saw /$1/, only:"
	seen
	return 1
}

# The manifest of most tests: up.test with a path and a token, and what is given on stdin.
manifest() {
	cat >"$BATS_TEST_TMPDIR/b.yaml" <<-END
		name: escape
		egress:
		  extra_ca: ["$world/ca.pem"]
		  routes:
		    - host: up.test
		      address: "127.0.0.1:$tls_port"
		      path_allowlist: [/ok]
		      auth: {scheme: Bearer, token_ref: ESCAPE_TOKEN}
	END
	cat >>"$BATS_TEST_TMPDIR/b.yaml"
}

# The program in a bottle, with the test's manifest. OPTIONS are bottle's own.
in_bottle() { "$bottle" run -q -f "$BATS_TEST_TMPDIR/b.yaml" "${OPTIONS[@]}" -- "$@"; }

# The same in the background, so that $! is the launcher and no shell around it.
exec_bottle() { exec "$bottle" run -q -f "$BATS_TEST_TMPDIR/b.yaml" "${OPTIONS[@]}" -- "$@"; }

# Python from stdin in a bottle; it may say `from inside import *`.
attack() { in_bottle /usr/bin/python3 - "$@"; }

audit() { cat "$XDG_STATE_HOME"/bottle/*/egress.jsonl; }

# $1: python expression over one audit record `r`; fails when none is true.
audited() {
	audit | /usr/bin/python3 -c '
import json, sys
rows = [json.loads(line) for line in sys.stdin]
if not any(eval(sys.argv[1], {"r": r}) for r in rows):
    print("no audit record with", sys.argv[1], *rows, sep="\n")
    sys.exit(1)' "$1"
}

has() {
	[[ $output == *"$1"* ]] && return
	printf 'missing: %s\nin:\n%s\n' "$1" "$output"
	return 1
}

has_not() {
	[[ $output != *"$1"* ]] && return
	printf 'should not be there: %s\nin:\n%s\n' "$1" "$output"
	return 1
}

# No line of the output that matches $1 (of those that match $2 as well).
no_line() {
	if grep -E -- "$1" <<<"$output" | grep -E -- "${2-}"; then
		echo "^ these lines should not be there"
		return 1
	fi
}

# exits N: the status of the `run` before.
exits() {
	[ "$status" -eq "$1" ] && return
	printf 'exit status %s, not %s; output:\n%s\n' "$status" "$1" "$output"
	return 1
}

# An image whose proxy says that it is ready and then does nothing: a bottle of it starts in a tenth
# of the time, for attacks that need no proxy. It lies in an image store of this file's own.
use_tiny_image() {
	export XDG_DATA_HOME=$BATS_FILE_TMPDIR/data BOTTLE_EGRESS_PROXY_IMAGE=escape-tiny
	[ ! -e "$BATS_FILE_TMPDIR/tiny.tar" ] || return 0
	mkdir -p "$BATS_FILE_TMPDIR/root/etc"
	cc -static -Os -o "$BATS_FILE_TMPDIR/root/proxy" "$here/tiny_proxy.c"
	/usr/bin/python3 "$here/tiny_image.py" "$BATS_FILE_TMPDIR/root" "$BATS_FILE_TMPDIR/tiny.tar"
	"$bottle" image import "$BATS_FILE_TMPDIR/tiny.tar" --tag escape-tiny >/dev/null
}

# A bottle that runs until the file `end` is made; sets launcher.
start_waiting_bottle() {
	exec_bottle sh -c 'echo up >up; until [ -e end ]; do sleep 0.05; done' </dev/null >out 2>&1 3>&- &
	launcher=$!
	for _ in $(seq 200); do
		[ ! -e up ] || return 0
		sleep 0.05
	done
	cat out
	return 1
}

end_waiting_bottle() {
	touch end
	wait "$launcher"
}

# The processes of a bottle, by their titles, as "PID TITLE"; the proxy and the agent by their programs.
processes_of() {
	/usr/bin/python3 "$here/family.py" "$launcher"
}

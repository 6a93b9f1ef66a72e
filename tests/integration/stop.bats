#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# `bottle stop` and `bottle prune` with bottles made of namespaces. With Docker: docker.bats.

load lib.bash

setup() {
	bottle_setup
	use_tiny_image
	export BOTTLE_BACKEND=namespaces
	routes <<<'    - {host: up.test, address: 127.0.0.1}'
}

has_begun() { [ -e "$1" ]; }

# in_background NAME SCRIPT: a bottle of that name whose agent has begun; $launcher
in_background() {
	"$bottle" run -q -n --name "$1" -f "$manifest_file" -- sh -c "touch $1.begun; $2" >/dev/null 2>&1 3>&- &
	launcher=$!
	wait_for has_begun "$1.begun"
}

ended() {
	status=0
	wait "$launcher" || status=$?
}

@test "stop ends the bottles of its name and no other; once more is no error" {
	in_background one 'sleep 60'
	one=$launcher
	in_background two 'sleep 60'
	two=$launcher
	run "$bottle" stop one
	exits 0
	is "stopped: 1"
	launcher=$one
	ended
	exits 143
	run "$bottle" stop one
	exits 0
	is "no bottle of that name was running"
	kill -0 "$two"
	kill -KILL "$two"
}

@test "stop waits for an agent that takes its time" {
	in_background slow 'trap "sleep 2; touch finished; exit 5" TERM; while :; do sleep 0.1; done'
	run "$bottle" stop slow
	exits 0
	[ -e finished ]
	ended
	exits 5
}

@test "prune removes the folder of a killed run, leaves a live one alone, and says so" {
	in_background dead 'sleep 60'
	kill -KILL "$launcher"
	ended
	cp -r "$XDG_RUNTIME_DIR/bottle-runs/"dead-* "$XDG_RUNTIME_DIR/kept"
	in_background live 'sleep 60' # which has swept the dead one already
	cp -r "$XDG_RUNTIME_DIR/kept" "$XDG_RUNTIME_DIR/bottle-runs/dead-aaaaaaaaaa"
	run "$bottle" prune
	exits 0
	is "removed: 1"
	[[ $(ls "$XDG_RUNTIME_DIR/bottle-runs") == live-* ]]
	kill -0 "$launcher"
	run "$bottle" prune
	exits 0
	is "nothing was left to remove"
	kill -KILL "$launcher"
}

@test "stop removes the folder of a killed run of its name, in either place, and of no other" {
	in_background dead 'sleep 60'
	kill -KILL "$launcher"
	ended
	local runs=$XDG_RUNTIME_DIR/bottle-runs kept=$XDG_STATE_HOME/bottle/.run
	(umask 077 && mkdir -p "$kept")
	cp -r "$runs/"dead-* "$kept/dead-aaaaaaaaaa"
	cp -r "$runs/"dead-* "$runs/.dead-dead-bbbbbbbbbb" # of a sweep that was killed
	cp -r "$runs/"dead-* "$runs/dead-aaaaaaaaaa-aaaaaaaaaa"
	run "$bottle" stop dead
	exits 0
	is "stopped: 3"
	[ "$(ls -A "$runs")" = dead-aaaaaaaaaa-aaaaaaaaaa ]
	[ -z "$(ls -A "$kept")" ]
	run "$bottle" stop dead
	exits 0
	is "no bottle of that name was running"
}

# held_by_other NAME PID MORE: a run's folder that somebody else holds the lock of; $holder
held_by_other() {
	local folder=$XDG_RUNTIME_DIR/bottle-runs/$1-aaaaaaaaaa
	(umask 077 && mkdir -p "$folder")
	echo "{\"name\":\"$1\",\"run\":\"aaaaaaaaaa\",\"pid\":$2$3}" >"$folder/info.json"
	flock --no-fork "$folder/lock" sleep 60 >/dev/null 3>&- &
	holder=$!
	wait_for is_held "$folder/lock"
}
is_held() { [ -e "$1" ] && ! flock --nonblock "$1" true; }

@test "the pid of a bottle of another host is not signalled: the folder may be shared" {
	sleep 60 3>&- &
	bystander=$!
	held_by_other far "$bystander" ',"host":"0123456789abcdef"'
	run --separate-stderr "$bottle" stop far
	exits 0
	is "no bottle of that name was running"
	says "runs on another host"
	kill -0 "$bystander" "$holder"
	kill -KILL "$bystander" "$holder"
}

@test "a launcher that is not there, though its lock is held, is told" {
	held_by_other gone 4194305 ""
	run --separate-stderr "$bottle" stop gone
	exits 125
	says "bottle gone does not end (No such process)"
	kill -KILL "$holder"
}

@test "stop and prune look where a bottle with another environment keeps its run" {
	in_background away 'sleep 60'
	chmod 0755 "$XDG_RUNTIME_DIR" # another bottle would not keep its run there now
	run "$bottle" stop away
	chmod 0700 "$XDG_RUNTIME_DIR"
	exits 0
	is "stopped: 1"
	ended
	exits 143
	XDG_RUNTIME_DIR='' in_background home 'sleep 60' # in the state folder
	run "$bottle" stop home
	exits 0
	is "stopped: 1"
	ended
	exits 143
	local folder=$XDG_STATE_HOME/bottle/.run/dead-aaaaaaaaaa
	(umask 077 && mkdir "$folder" && : >"$folder/lock")
	run "$bottle" prune
	exits 0
	is "removed: 1"
	[ ! -e "$folder" ]
}

@test "bad usage is said" {
	for name in ../x 'A B' '' $'a\nb'; do
		run "$bottle" stop "$name"
		exits 125
		has "is no name of a bottle"
		[ "${#lines[@]}" -eq 1 ]
	done
	run "$bottle" stop
	exits 125
	has "usage: bottle stop NAME"
	run "$bottle" prune now
	exits 125
	has "usage: bottle prune"
}

@test "an odd umask of prune's closes no folder to the next command" {
	export XDG_STATE_HOME=$BATS_TEST_TMPDIR/fresh
	run bash -c 'umask 277; exec "$1" prune' - "$bottle"
	exits 0
	[ "$(stat -c %a "$XDG_STATE_HOME" "$XDG_STATE_HOME/bottle" | sort -u)" = 700 ]
}

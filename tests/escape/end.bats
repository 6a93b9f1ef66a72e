#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# What is left when something dies first: no process, no folder, no mount.
# Runs alone
# Takes: 600

load lib.bash

setup_file() { use_tiny_image; }

setup() {
	use_tiny_image
	escape_setup
	echo 'egress: {routes: [{host: up.test}]}' >"$BATS_TEST_TMPDIR/b.yaml"
	mounts=$(mounted)
}

mounted() { cut -d' ' -f2- </proc/self/mountinfo | sort; }

start() {
	exec_bottle sh -c 'echo up >up; (setsid sleep 1000 &); trap "" TERM HUP INT; while :; do sleep 0.05; done' \
		</dev/null >out 2>&1 &
	launcher=$!
}

start_and_wait() {
	rm -f up
	start
	for _ in $(seq 200); do
		[ ! -e up ] || return 0
		sleep 0.05
	done
	cat out && return 1
}

kill_launcher() {
	kill -9 "$launcher" 2>/dev/null || true
	wait "$launcher" 2>/dev/null || true
}

# Shell code in a process that adopts all orphans; fails when one is left.
watched() {
	/usr/bin/python3 "$here/subreaper.py" bash -c "
		$(declare -f in_bottle exec_bottle start start_and_wait kill_launcher processes_of)
		bottle='$bottle' here='$here'
		$1" 3>&-
}

nothing_stays() {
	[ "$(mounted)" = "$mounts" ]
	run in_bottle echo next # which sweeps what a killed one could not
	exits 0
	run find "$XDG_RUNTIME_DIR/bottle-runs" -mindepth 1 -maxdepth 1 -type d
	[ -z "$output" ] || { echo "$output"; false; }
}

@test "END-1: the launcher is killed 300 times, at any moment of its start and of the run" {
	# The span of the kills: a whole start and half as much again.
	begin=$(date +%s%N)
	in_bottle true
	export span=$((($(date +%s%N) - begin) * 3 / 2000))
	run watched '
		for round in $(seq 300); do
			start
			sleep "$(printf "0.%06d" $(((span * (round % 100) + RANDOM) / 100)))"
			kill -9 "$launcher" || { echo "round $round: it had ended by itself: $(cat out)" && exit 1; }
			wait "$launcher"
		done 2>killed
		true'
	echo "$output"
	exits 0
	[ -e up ] # some of them did get as far as the agent
	nothing_stays
}

# A relay is not among those that end the run: who loses its stream sees it end, and may go on.
@test "END-1: whichever helper is killed, the run ends with 125 and nothing is left" {
	names=$(watched 'start_and_wait && processes_of; kill_launcher' | sed 's/^[0-9]* //' | sort -u | grep -v -x 'launcher\|agent')
	[[ $names == *gate* && $names == *init* && $names == *"reaper agent"* && $names == *"reaper proxy"* && $names == *$'\nproxy'* ]]
	while read -r name; do
		export name
		run watched '
			start_and_wait || exit 1
			kill -9 "$(processes_of | grep -x "[0-9]* $name" | head -1 | cut -d" " -f1)"
			for _ in $(seq 100); do
				kill -0 "$launcher" 2>/dev/null || break
				sleep 0.05
			done
			if kill -9 "$launcher" 2>/dev/null; then
				echo "five seconds later the launcher still ran"
			fi
			wait "$launcher" 2>/dev/null || echo "exit status $?: $(cat out)"'
		echo "$name: $output"
		has_not "left behind"
		[ "$name" = "bottle: relay" ] || has "exit status 125"
	done <<<"$names"
	nothing_stays
}

@test "END-1: an agent that ignores every signal, forks and detaches is gone with its first process" {
	cat >detach.py <<-'END'
		import os, signal, time
		for number in range(1, 65):
		    try:
		        signal.signal(number, signal.SIG_IGN)
		    except (OSError, ValueError):
		        pass
		for _ in range(50):
		    if os.fork() == 0:
		        os.setsid()
		        if os.fork() == 0:
		            os.close(0), os.close(1), os.close(2)
		            while True:
		                time.sleep(1)
		        os._exit(0)
		print("first process ends")
	END
	run watched 'in_bottle /usr/bin/python3 detach.py'
	exits 0
	has "first process ends"
	nothing_stays
}

@test "END-1: the launcher is told to end, and killed when the agent does not care" {
	for signal in TERM INT HUP QUIT; do
		export signal
		run watched 'start_and_wait && kill "-$signal" "$launcher"; sleep 0.2; kill_launcher'
		echo "$signal: $output"
		exits 0
	done
	run watched 'timeout -s TERM 3 "$bottle" run -q -f "$BATS_TEST_TMPDIR/b.yaml" -- sleep 100'
	exits 124
	nothing_stays
}

@test "END-1: what is left behind would be seen (control)" {
	run watched 'sleep 1000 & exit 0'
	exits 1
	has "left behind"
}

@test "END-1: a run reaps all that it started, also where pid 1 reaps nothing" {
	run /usr/bin/python3 "$here/subreaper.py" --strict "$bottle" run -q -f "$BATS_TEST_TMPDIR/b.yaml" -- true
	echo "$output"
	exits 0
}

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
	before=$(ours)
	mounts=$(mounted)
}

# Processes of a bottle of this user's: those with a title of ours, and all that live in a pid
# namespace below this one. Those of other people's bottles are among them: compared with `before`.
ours() {
	/usr/bin/python3 - <<-'END'
		import glob, os
		for folder in glob.glob("/proc/[0-9]*"):
		    try:
		        status = dict(line.split(":", 1) for line in open(f"{folder}/status", encoding="latin-1"))
		        words = open(f"{folder}/cmdline", "rb").read().replace(b"\0", b" ").decode("latin-1").strip()
		    except (OSError, ValueError):
		        continue
		    nested = len(status["NSpid"].split()) > len(dict(line.split(":", 1) for line in open("/proc/self/status"))["NSpid"].split())
		    if (nested or words.startswith("bottle: ")) and status["State"].split()[0] != "Z":
		        print(folder.rpartition("/")[2], words)
	END
}

mounted() { cut -d' ' -f2- </proc/self/mountinfo | sort; }

# Waits, but not for long, until no process is there that was not before.
nothing_is_left() {
	local now
	for _ in $(seq 100); do
		now=$(comm -13 <(sort <<<"$before") <(ours | sort))
		[ -n "$now" ] || break
		sleep 0.05
	done
	[ -z "$now" ] || { echo "still there:" && echo "$now" && return 1; }
	[ "$(mounted)" = "$mounts" ]
}

run_folders() { find "$XDG_RUNTIME_DIR/bottle" -mindepth 1 -maxdepth 1 -type d 2>/dev/null; }

start() {
	exec_bottle sh -c 'echo up >up; (setsid sleep 1000 &); trap "" TERM HUP INT; while :; do sleep 0.05; done' \
		</dev/null >out 2>&1 3>&- &
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

@test "END-1: the launcher is killed 300 times, at any moment of its start and of the run" {
	# The span of the kills: a whole start and half as much again.
	begin=$(date +%s%N)
	in_bottle true
	span=$((($(date +%s%N) - begin) * 3 / 2000))
	for round in $(seq 300); do
		start
		sleep "$(printf '0.%06d' $(((span * (round % 100) + RANDOM) / 100)))"
		kill -9 "$launcher" || { echo "round $round: it had ended by itself: $(cat out)" && return 1; }
		wait "$launcher" || true
	done 2>"$BATS_TEST_TMPDIR/killed"
	[ -e up ] # some of them did get as far as the agent
	nothing_is_left
	run in_bottle echo next
	exits 0
	[ -z "$(run_folders)" ] || { run_folders; false; }
}

# A relay is not among them that end the run: who loses its stream sees it end, and may go on.
@test "END-1: whichever helper is killed, the run ends with 125 and nothing is left" {
	start_and_wait
	names=$(/usr/bin/python3 "$here/family.py" "$launcher" | sed 's/^[0-9]* //' | sort -u | grep -v -x 'launcher\|agent')
	kill -9 "$launcher"
	wait "$launcher" 2>/dev/null || true
	[[ $names == *gate* && $names == *init* && $names == *"reaper agent"* && $names == *"reaper proxy"* && $names == *$'\nproxy'* ]]
	while read -r name; do
		start_and_wait
		victim=$(processes_of | grep -x "[0-9]* $name" | head -1 | cut -d' ' -f1)
		kill -9 "$victim"
		for _ in $(seq 100); do
			kill -0 "$launcher" 2>/dev/null || break
			sleep 0.05
		done
		if kill -9 "$launcher" 2>/dev/null && [ "$name" != "bottle: relay" ]; then
			echo "$name was killed, and five seconds later the launcher still ran"
			failed=1
		fi
		status=0
		wait "$launcher" 2>/dev/null || status=$?
		echo "$name: exit status $status, $(cat out)"
		nothing_is_left
		[ "$status" -eq 125 ] || [ "$name" = "bottle: relay" ] || failed=1
	done <<<"$names"
	[ -z "${failed-}" ]
}

@test "END-1: an agent that ignores every signal, forks and detaches is gone with its first process" {
	run in_bottle /usr/bin/python3 - <<-'END'
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
	exits 0
	has "first process ends"
	nothing_is_left
	[ -z "$(run_folders)" ]
}

@test "END-1: the launcher's group is interrupted, or its terminal goes away" {
	for signal in TERM INT HUP QUIT; do
		start_and_wait
		kill "-$signal" "$launcher"
		sleep 0.2
		kill -9 "$launcher" 2>/dev/null || true # QUIT ended the agent, the others it ignores
		wait "$launcher" 2>/dev/null || true
		nothing_is_left
	done
	run timeout -s TERM 3 "$bottle" run -q -f "$BATS_TEST_TMPDIR/b.yaml" -- sleep 100
	[ "$status" -ge 124 ]
	nothing_is_left
}

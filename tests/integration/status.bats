#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# `bottle run` in a script: exit statuses, stdin, stdout, stderr, signals, and what is left.

load lib.bash

setup() {
	bottle_setup
	use_tiny_image
	routes <<<'    - {host: up.test, address: 127.0.0.1}'
	OPTIONS=(-q)
}

# A number of seconds to sleep that nobody else sleeps, to find the sleeper by.
nap() { echo "9$BATS_ROOT_PID$BATS_TEST_NUMBER"; }
sleeps() { grep -zxqs -- "$(nap)" /proc/[0-9]*/cmdline; }
does_not_sleep() { ! sleeps; }

@test "the command's own status is bottle's" {
	for code in 0 1 7 122 123 124 125 255; do
		run --separate-stderr in_bottle sh -c "exit $code"
		exits "$code"
		[ -z "$output$stderr" ]
	done
}

@test "a signal that ends the command is 128 + n" {
	for sig in 9 11 15; do
		run --separate-stderr in_bottle sh -c "kill -$sig \$\$; sleep 5"
		exits $((128 + sig))
	done
}

@test "127 where there is no such command, with the way to show it when the host has it" {
	run -127 --separate-stderr in_bottle no-such-command
	is ""
	says "bottle: no-such-command: not found, neither inside nor on this host's PATH"
	mkdir "$BATS_TEST_TMPDIR/bin"
	printf '#!/bin/sh\necho it ran\n' >"$BATS_TEST_TMPDIR/bin/own-tool"
	chmod 755 "$BATS_TEST_TMPDIR/bin/own-tool"
	PATH=$PATH:$BATS_TEST_TMPDIR/bin
	run -127 --separate-stderr in_bottle own-tool
	says "own-tool: not found inside; on this host it is $BATS_TEST_TMPDIR/bin/own-tool. To show it: --read-only $BATS_TEST_TMPDIR/bin"
	mkdir "$BATS_TEST_TMPDIR/bin/own-folder"
	run -127 --separate-stderr in_bottle own-folder
	says "bottle: own-folder: not found, neither inside nor on this host's PATH"
	run -127 --separate-stderr in_bottle "$BATS_TEST_TMPDIR/bin/own-folder"
	says "neither inside nor on this host's PATH"
	OPTIONS+=(--read-only "$BATS_TEST_TMPDIR/bin")
	run --separate-stderr in_bottle own-tool
	exits 0
	is "it ran"
}

# shown_by: the options that the last run proposed, one word a line
shown_by() { sed -n 's/.*To show it: \(.*\) (in the manifest.*/\1/p' <<<"$stderr" | tr ' ' '\n'; }

@test "what shows a program that is a link, when followed, makes it run" {
	local at=$BATS_FILE_TMPDIR/$BATS_TEST_NUMBER # a link below the work folder would be refused
	mkdir -p "$at/lb" "$at/share/versions"
	printf '#!/bin/sh\necho it ran\n' >"$at/share/versions/1.0.5"
	chmod 755 "$at/share/versions/1.0.5"
	ln -s ../share/versions/1.0.5 "$at/lb/own-tool"
	PATH=$PATH:$at/lb
	run -127 --separate-stderr in_bottle own-tool
	says "To show it: --read-only $at/lb --read-only $at/share/versions (in"
	mapfile -t proposed < <(shown_by)
	OPTIONS=(-q "${proposed[@]}")
	run --separate-stderr in_bottle own-tool
	exits 0
	is "it ran"
	OPTIONS=(-q --read-only "$at/lb/own-tool") # the link's name alone does it as well
	run --separate-stderr in_bottle own-tool
	exits 0
	is "it ran"
}

@test "what shows a program in a home or in /tmp is the file alone" {
	local at=$BATS_FILE_TMPDIR/$BATS_TEST_NUMBER # a link below the work folder would be refused
	mkdir -p "$at/home"
	printf '#!/bin/sh\necho it ran\n' >"$at/home/real-tool"
	chmod 755 "$at/home/real-tool"
	ln -s real-tool "$at/home/own-tool"
	export HOME=$at/home
	PATH=$PATH:$HOME
	for tool in real-tool own-tool; do
		OPTIONS=(-q)
		run -127 --separate-stderr in_bottle "$tool"
		says "To show it: --read-only $HOME/$tool (in the manifest: agent.read_only: [\"$HOME/$tool\"])"
		mapfile -t proposed < <(shown_by)
		OPTIONS=(-q "${proposed[@]}")
		run --separate-stderr in_bottle "$tool"
		exits 0
		is "it ran"
	done
}

@test "a path that is named by a link is there under that name" {
	local at=$BATS_FILE_TMPDIR/$BATS_TEST_NUMBER # a link below the work folder would be refused
	mkdir -p "$at/dot"
	echo settings >"$at/dot/gitconfig"
	ln -s dot/gitconfig "$at/gc"
	OPTIONS=(-q --read-only "$at/gc")
	run --separate-stderr in_bottle cat "$at/gc" "$at/dot/gitconfig"
	exits 0
	is "settings"$'\n'"settings"
}

@test "127 for an interpreter that is not there, 126 for what cannot be executed" {
	printf '#!/no/such/interpreter\n' >script
	chmod 755 script
	run -127 --separate-stderr in_bottle ./script
	says "the interpreter that it names is not found inside"
	run --separate-stderr in_bottle /etc/passwd
	exits 126
	says "/etc/passwd: cannot be executed inside: Permission denied"
	run --separate-stderr in_bottle /
	exits 126
}

@test "125 is bottle's own failure, one line, nothing started" {
	for words in "--no-such-option -- true" "-f /nowhere.yaml -- touch started" "-f $manifest_file" \
		"-f $manifest_file --workdir /nowhere -- touch started" "-f $manifest_file --idmap fourfold -- touch started"; do
		# shellcheck disable=SC2086
		run --separate-stderr "$bottle" run $words
		exits 125
		is ""
		[[ $stderr == "bottle: "* ]]
		[ "$(wc -l <<<"$stderr")" -eq 1 ]
		[ ! -e started ]
	done
	run --separate-stderr "$bottle" rum
	exits 125
	says "did you mean 'run'"
}

@test "a gigabyte passes through stdin and stdout" {
	run bash -c "head -c 1G /dev/zero | '$bottle' run -q -f '$manifest_file' -- cat | wc -c"
	is 1073741824
}

@test "bytes are left as they are, from a file, from a pipe, to a file" {
	head -c 3000000 /dev/urandom >data
	in_bottle cat <data >out
	cmp data out
	# shellcheck disable=SC2002
	cat data | in_bottle cat >out
	cmp data out
	in_bottle cat data >>out
	[ "$(stat -c %s out)" -eq 6000000 ]
	run --separate-stderr in_bottle sh -c 'echo out; echo err >&2'
	is out
	[ "$stderr" = err ]
}

@test "what the command did not read of a file is there for the next" {
	seq 100000 >numbers
	run bash -c "exec <numbers; '$bottle' run -q -f '$manifest_file' -- sh -c 'read a; read b; echo \$b'; read c; echo \$c"
	is $'2\n3'
}

@test "2>&1 keeps the order" {
	run bash -c "'$bottle' run -q -f '$manifest_file' -- sh -c 'i=0; while [ \$i -lt 500 ]; do
		echo \$i; i=\$((i+1)); echo \$i >&2; i=\$((i+1)); done' 2>&1"
	is "$(seq 0 499)"
}

@test "closed descriptors are empty, and no others are handed in" {
	run --separate-stderr bash -c "'$bottle' run -q -f '$manifest_file' -- sh -c 'cat; echo \$?' <&-"
	is 0
	[ -z "$stderr" ]
	in_bottle sh -c 'echo lost; echo lost >&2; cat; touch ran; exit 5' <&- >&- 2>&- || closed=$?
	[ "$closed" -eq 5 ]
	[ -e ran ]
	# shellcheck disable=SC2094
	run --separate-stderr in_bottle sh -c 'ls /proc/self/fd | tr "\n" " "' 7</etc/passwd 9<>rw </dev/null
	is "0 1 2 3 "
}

@test "a reader that leaves ends a command that writes for ever" {
	run timeout 20 bash -c "'$bottle' run -q -f '$manifest_file' -- yes | head -n 2; echo \${PIPESTATUS[0]}"
	is $'y\ny\n141'
}

@test "output that could not be written makes a run that went well fail" {
	run --separate-stderr bash -c "'$bottle' run -q -f '$manifest_file' -- sh -c 'echo hi' >/dev/full"
	exits 125
	[ "$stderr" = "bottle: stdout: No space left on device; the output after that is lost" ]
	run --separate-stderr bash -c "'$bottle' run -q -f '$manifest_file' -- sh -c 'echo hi; exit 3' >/dev/full"
	exits 3
	says "No space left on device"
}

@test "a signal that ends the command ends the run also where nobody takes its output" {
	mkfifo out
	exec 4<>out # a reader that is there and takes nothing
	before=$SECONDS
	# shellcheck disable=SC2016
	run -124 --separate-stderr bash -c 'timeout -k 30 1 "$@" >out' _ "$bottle" run -q -f "$manifest_file" -- yes
	exec 4<&-
	says "stdout: its reader had not taken all when the run was to end; the rest is lost"
	[ $((SECONDS - before)) -lt 20 ]
}

@test "a loop that reads its words from a pipe keeps them with -n" {
	# shellcheck disable=SC2016
	run bash -c 'seq 3 | while read -r word; do "$@"; echo "$word"; done' _ "$bottle" run -q -n -f "$manifest_file" -- cat
	is $'1\n2\n3'
	# Control: without it the first run takes them all.
	# shellcheck disable=SC2016
	run bash -c 'seq 3 | while read -r word; do "$@"; echo "$word"; done' _ "$bottle" run -q -f "$manifest_file" -- cat
	is $'2\n3\n1'
}

@test "signals that the caller ignores stay ignored, by bottle and by the command" {
	for sig in HUP INT QUIT TERM; do
		rm -f ready go
		env --default-signal --ignore-signal=$sig "$bottle" run -q -f "$manifest_file" -- \
			sh -c 'touch ready; until [ -e go ]; do sleep 0.05; done; kill -'$sig' $$; echo lived' >out 3>&- &
		pid=$!
		wait_for test -e ready
		kill -$sig $pid
		touch go
		wait $pid
		[ "$(cat out)" = lived ]
	done
}

# killed PROGRAM TEXT: a run whose PROGRAM ends by SIGKILL says TEXT
killed() {
	rm -f ready
	"$bottle" run -f "$manifest_file" -- sh -c "touch ready; exec sleep $(nap)" 2>err 3>&- &
	launcher=$!
	wait_for test -e ready
	init=$(for child in $(cat /proc/$launcher/task/$launcher/children); do
		! grep -qa 'bottle: init' "/proc/$child/cmdline" || echo "$child"
	done)
	# shellcheck disable=SC2034,SC2046
	read -r proxy agent < <(echo $(cat "/proc/$init/task/$init/children"))
	kill -KILL "${!1}"
	status=0
	wait $launcher || status=$?
	exits 125
	contains stderr "$(cat err)" "$2"
	[ "$(wc -l <err)" -eq 1 ]
}

@test "the error names the process that was killed" {
	killed init "the bottle's init was killed by signal 9"
	killed agent "the agent's reaper was killed by signal 9"
	killed proxy "the proxy's reaper was killed by signal 9"
}

@test "stdin that was cut off by the end of its relay makes a run that went well fail" {
	mkfifo in
	"$bottle" run -q -f "$manifest_file" -- sh -c "touch ready; wc -c" <in >out 2>err 3>&- &
	launcher=$!
	exec 4>in
	echo a line >&4
	wait_for test -e ready
	kill -KILL "$(pgrep -P $launcher -f '^bottle: relay' | head -n 1)" # stdin's is the first
	exec 4>&-
	status=0
	wait $launcher || status=$?
	exits 125
	[ "$(cat err)" = "bottle: stdin: its relay was ended by signal 9; the command may not have had all of its input" ]
}

@test "what fails while the agent's files are laid out is said with its own name and advice" {
	unshare -Ur sh -c 'echo 0 >/proc/sys/user/max_inotify_instances' || skip "no user namespace of its own here"
	touch .envrc
	# shellcheck disable=SC2016
	run --separate-stderr unshare -Ur sh -c 'echo 0 >/proc/sys/user/max_inotify_instances; exec "$@"' _ \
		"$bottle" run -q -f "$manifest_file" -- true
	exits 125
	says "watch the guarded files (sysctl fs.inotify.max_user_instances): Too many open files"
}

@test "TERM, INT, HUP, QUIT and USR1 reach the command, which answers as it likes" {
	for sig in TERM INT HUP QUIT USR1; do
		rm -f ready
		env --default-signal=INT,QUIT "$bottle" run -q -f "$manifest_file" -- \
			bash -c "trap 'echo got $sig; exit 42' $sig; touch ready; while :; do sleep 0.05; done" >out 3>&- &
		pid=$!
		wait_for test -e ready
		kill "-$sig" $pid
		status=0
		wait $pid || status=$?
		exits 42
		[ "$(cat out)" = "got $sig" ]
	done
}

@test "TERM ends a command that does nothing about it, and bottle says so by its status" {
	"$bottle" run -q -f "$manifest_file" -- sh -c "touch ready; exec sleep $(nap)" 3>&- &
	pid=$!
	wait_for test -e ready
	wait_for sleeps
	kill -TERM $pid
	status=0
	wait $pid || status=$?
	exits 143
	does_not_sleep
}

@test "what the command left running ends with it" {
	run --separate-stderr in_bottle sh -c "setsid sh -c 'trap \"\" TERM HUP INT; sleep $(nap); sleep 1' >/dev/null 2>&1 </dev/null &
		until grep -zxqs $(nap) /proc/[0-9]*/cmdline; do sleep 0.02; done; echo it runs; exit 3"
	exits 3
	is "it runs"
	does_not_sleep
}

@test "a child that keeps stdout open does not hold bottle up" {
	run timeout 20 bash -c "'$bottle' run -q -f '$manifest_file' -- sh -c 'sleep $(nap) & exit 4' | cat; exit \${PIPESTATUS[0]}"
	exits 4
	does_not_sleep
}

@test "SIGKILL of the launcher ends everything inside" {
	"$bottle" run -q -f "$manifest_file" -- sh -c "touch ready; exec sleep $(nap)" 3>&- &
	pid=$!
	wait_for test -e ready
	wait_for sleeps
	kill -KILL $pid
	wait_for does_not_sleep
	run ! pgrep -g $pid
	run ! pgrep -P $pid
	# The next run tidies what it left in the runtime folder.
	run --separate-stderr in_bottle true
	exits 0
	[ -z "$(find "$XDG_STATE_HOME" "$XDG_RUNTIME_DIR" -path '*/bottle-runs/*' -print -quit)" ]
}

@test "two bottles at a time, of one folder, do not know of each other" {
	in_bottle sh -c "touch ready; until [ -e done ]; do sleep 0.05; done; echo first" >first 3>&- &
	pid=$!
	wait_for test -e ready
	run --separate-stderr "$bottle" run -q -f "$manifest_file" --name other -- sh -c 'ls /proc | grep -c "^[0-9]"; touch done'
	exits 0
	[ "$output" -lt 6 ]
	wait $pid
	[ "$(cat first)" = first ]
}

@test "each command says what it is for, and nothing else is taken for one" {
	for command in run trust stop prune image doctor version help; do
		run --separate-stderr "$bottle" "$command" --help
		exits 0
		has "usage: bottle $command"
	done
	run --separate-stderr "$bottle" help nope
	exits 125
	[ "$stderr" = "bottle: nope: unknown command; 'bottle help' lists them" ]
	run --separate-stderr "$bottle" version extra
	exits 125
}

@test "an image is not blamed for a limit of open files" {
	for files in 7 8 9; do
		run bash -c "ulimit -n $files; '$bottle' run --dry-run -f '$manifest_file' -- true"
		exits 125
		has "open files"
		has_not "import it again"
	done
}

@test "doctor says which limit is in the way" {
	run bash -c "ulimit -n 64; '$bottle' doctor"
	exits 125
	has "fail  open files"
	has "the simplest run needs"
	# In a user namespace of its own, where it may be set.
	run unshare -Ur sh -c "echo 0 >/proc/sys/user/max_inotify_instances && '$bottle' doctor"
	exits 125
	has "fail  inotify"
	has "fs.inotify.max_user_instances"
	[ "$(id -u)" -ne 0 ] || skip "the limit of processes does not hold for root"
	run bash -c "ulimit -u 1; exec '$bottle' doctor"
	exits 125
	has "starting the check's process: Resource temporarily unavailable (the limit of processes"
}

@test "doctor asks for as many open files as the simplest run" {
	run bash -c "ulimit -n 64; '$bottle' doctor"
	[[ $output =~ the\ simplest\ run\ needs\ ([0-9]+) ]]
	local files=${BASH_REMATCH[1]}
	run bash -c "ulimit -n $((files - 1)); '$bottle' run -q -n -f '$manifest_file' -- true"
	exits 125
	has "this run needs at least $files"
	run bash -c "ulimit -n $files; '$bottle' run -q -n -f '$manifest_file' -- true"
	exits 0
	run bash -c "ulimit -n $files; '$bottle' doctor"
	has "ok    open files"
}

@test "doctor starts as many processes as a run has, and a run names their limit" {
	[ "$(id -u)" -ne 0 ] || skip "the limit of processes does not hold for root"
	# In a user namespace of its own, where nobody else's count.
	for limit in 2 4 6 8; do
		run unshare -Ur bash -c "ulimit -u $limit; exec '$bottle' run -q -n -f '$manifest_file' -- true"
		exits 125
		has "the limit of processes: \`ulimit -u\`, or a cgroup's pids.max"
	done
	run unshare -Ur bash -c "ulimit -u 11; exec '$bottle' doctor"
	exits 125
	has "fail  processes           11 at once, of the 12 that a run has"
	run unshare -Ur bash -c "ulimit -u 12; exec '$bottle' doctor"
	has "ok    processes"
	run unshare -Ur bash -c "ulimit -u 12; exec '$bottle' run -q -n -f '$manifest_file' -- true"
	exits 0
}

@test "doctor tries whether the folders can be made and written in" {
	XDG_STATE_HOME=/proc/none run "$bottle" doctor
	exits 125
	has "fail  folders             /proc/none/bottle: nothing can be made in /proc"
	has "set XDG_STATE_HOME to a folder you can write"
	XDG_DATA_HOME=/proc/none run "$bottle" doctor
	exits 125
	has "set XDG_DATA_HOME to a folder you can write"
	mkdir -p closed open/bottle
	chmod 0777 open/bottle
	XDG_STATE_HOME=$PWD/open run "$bottle" doctor
	exits 125
	has "others may write there"
	[ "$(ls -A open/bottle)" = "" ]
	run unshare -Urm sh -c "mount -o bind,ro closed closed && HOME=\$PWD/closed XDG_STATE_HOME= XDG_DATA_HOME= '$bottle' doctor"
	exits 125
	has "fail  folders"
	has "Read-only file system; set XDG_STATE_HOME"
}

@test "doctor lets no folder's name draw on the terminal" {
	local folder
	folder=$(printf '%s/a\033[2Jb' "$BATS_TEST_TMPDIR")
	mkdir "$folder"
	XDG_DATA_HOME=$folder run "$bottle" doctor
	has '/a\x1b[2Jb/bottle'
	[[ $output != *$'\033'* ]]
}

@test "what is printed and cannot be written is not taken for written" {
	for command in version help doctor "run --dry-run --allow a.example.com true"; do
		# shellcheck disable=SC2086
		run bash -c "'$bottle' $command >/dev/full"
		exits 125
		has "bottle: stdout: not all of it could be written"
	done
}

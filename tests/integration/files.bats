#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# The files that a program inside works with: its own folder, what it is shown beside it, the rest of
# the system, and what is its own and gone at the end. (What it must not do to them: tests/escape.)

load lib.bash

setup() {
	bottle_setup
	use_tiny_image
	routes <<<'    - {host: up.test, address: 127.0.0.1}'
	OPTIONS=(-q)
}

# Can a file be made there? Says so for each path.
tries() {
	cat >"$BATS_TEST_TMPDIR/tries.sh" <<-'END'
		for folder; do
			if (echo x >"$folder/it-was-here") 2>/dev/null; then echo "written $folder"; else echo "refused $folder"; fi
		done
	END
	in_bottle sh -c "$(cat "$BATS_TEST_TMPDIR/tries.sh")" tries "$@"
}

@test "the work folder is the caller's own: what is there is seen, what is made stays, as the caller's" {
	mkdir -p deep/er
	echo before >deep/er/file
	run --separate-stderr in_bottle sh -ec 'pwd; cat deep/er/file; echo after >>deep/er/file; mkdir new; echo made >new/file
		ln -s file new/link; mv new/file new/moved; chmod 750 new/moved; rm -r new/link; touch gone; rm gone'
	exits 0
	is "$PWD
before"
	[ "$(cat deep/er/file)" = $'before\nafter' ]
	[ "$(stat -c '%a %u %g' new/moved)" = "750 $(id -u) $(id -g)" ]
	[ "$(ls new)" = moved ]
	[ ! -e gone ]
}

@test "--workdir is another folder, and the current one is then not shown" {
	mkdir "$BATS_TEST_TMPDIR/other"
	touch here
	run --separate-stderr "$bottle" run -q --workdir "$BATS_TEST_TMPDIR/other" -f "$manifest_file" -- \
		sh -c "pwd; touch made; ls '$PWD'"
	[ "$status" -ne 0 ]
	is "$BATS_TEST_TMPDIR/other"
	[ -e "$BATS_TEST_TMPDIR/other/made" ]
}

@test "the system is read-only; scratch folders are there and gone at the end" {
	run --separate-stderr tries / /usr /usr/lib /etc /opt /proc /proc/sys /dev/pts "$PWD" /tmp /var/tmp /dev/shm "$HOME"
	exits 0
	is "refused /
refused /usr
refused /usr/lib
refused /etc
refused /opt
refused /proc
refused /proc/sys
refused /dev/pts
written $PWD
written /tmp
written /var/tmp
written /dev/shm
written $HOME"
	[ -e it-was-here ]
	for folder in /tmp /var/tmp /dev/shm "$HOME"; do
		[ ! -e "$folder/it-was-here" ]
	done
	run --separate-stderr in_bottle sh -c 'echo x >>/run/bottle/ca.pem; rm -f /run/bottle/ca.pem; grep -c BEGIN /run/bottle/ca.pem'
	is 1
	run --separate-stderr in_bottle ls /tmp /var/tmp /dev/shm
	[[ $output != *it-was-here* ]]
}

@test "read_only is read and not written, read_write is both, what is not named is not there" {
	mkdir "$BATS_TEST_TMPDIR"/{reading,writing,hidden}
	touch "$BATS_TEST_TMPDIR"/{reading,writing,hidden}/file "$BATS_TEST_TMPDIR/single"
	cat >>"$manifest_file" <<-END
		agent:
		  read_only: [reading, "$BATS_TEST_TMPDIR/single"]
		  read_write: [writing]
	END
	run --separate-stderr tries "$BATS_TEST_TMPDIR"/{reading,writing,hidden}
	exits 0
	is "refused $BATS_TEST_TMPDIR/reading
written $BATS_TEST_TMPDIR/writing
refused $BATS_TEST_TMPDIR/hidden"
	[ -e "$BATS_TEST_TMPDIR/writing/it-was-here" ]
	run --separate-stderr in_bottle ls "$BATS_TEST_TMPDIR"
	is $'reading\nsingle\nwork\nwriting'
	run --separate-stderr in_bottle sh -c "cat '$BATS_TEST_TMPDIR/reading/file' && ! echo x 2>/dev/null >'$BATS_TEST_TMPDIR/single'"
	exits 0
	rm -rf "$BATS_TEST_TMPDIR/writing"
	run --separate-stderr in_bottle touch started
	exits 125
	says "agent.read_write"
	says "$BATS_TEST_TMPDIR/writing"
	[ ! -e started ]
	mkdir "$BATS_TEST_TMPDIR/writing"
	for option in --read-only --read-write; do # what was said on the command line is called so
		run --separate-stderr "$bottle" run -q "$option" gone -f "$manifest_file" -- touch started
		exits 125
		says "$option $PWD/gone: No such file or directory"
		[ ! -e started ]
	done
}

@test "paths of the work folder written in other ways mean the same" {
	mkdir data
	echo content >data/file
	cp "$manifest_file" here.yaml
	for spelling in data ./data data/ data/../data; do
		{ cat "$manifest_file"; printf 'agent: {read_only: ["%s"]}\n' "$spelling"; } >here.yaml
		run --separate-stderr "$bottle" run -q -f here.yaml -- sh -c 'cat data/file; touch data/new 2>/dev/null || echo read-only'
		exits 0
		is $'content\nread-only'
	done
	[ ! -e data/new ]
}

@test "files that the caller's tools obey are read-only in the work folder, all others are not" {
	git init -q .
	mkdir .vscode
	echo "name: x" >bottle.yaml
	echo "export A=1" >.envrc
	touch .gitignore
	run --separate-stderr in_bottle sh -c 'for f in bottle.yaml .envrc .git/config .git/hooks/post-commit .vscode/tasks.json .gitignore .git/own; do
		if (echo x >>$f) 2>/dev/null; then echo "written $f"; else echo "refused $f"; fi; done'
	exits 0
	is "refused bottle.yaml
refused .envrc
refused .git/config
refused .git/hooks/post-commit
refused .vscode/tasks.json
written .gitignore
written .git/own"
}

@test "the caller's ids and names inside, and no other" {
	run --separate-stderr in_bottle sh -c 'id -u; id -g; id -un; echo ~; stat -c "%u %g" .; stat -c %u /usr/bin/env; cat /proc/self/uid_map'
	exits 0
	is "$(id -u)
$(id -g)
$(id -un)
$HOME
$(id -u) $(id -g)
65534
$(printf '%10u %10u %10u' "$(id -u)" 0 1)"
}

@test "limits.tmp bounds the scratch folders, limits.open_files the descriptors" {
	echo "limits: {tmp: 2M, open_files: 100}" >>"$manifest_file"
	run --separate-stderr in_bottle sh -c 'head -c 1M /dev/zero >/tmp/a && echo fits
		head -c 4M /dev/zero >/tmp/b || echo full; ulimit -n'
	exits 0
	is $'fits\nfull\n100'
	says "No space left on device"
}

@test "what is made in the home inside does not reach the home outside, and its files are not seen" {
	own=$HOME/it-home-$BATS_ROOT_PID
	echo private >"$own"
	run --separate-stderr in_bottle sh -c "cat '$own'; echo stolen >'$own'; cat '$own'"
	outside=$(cat "$own")
	rm -f "$own"
	exits 0
	is stolen
	[ "$outside" = private ]
}

@test "from / a link to the work folder is the caller's own, below the work folder it may be a run's" {
	mkdir release
	ln -s release current
	link=$PWD/current
	run "$bottle" run -q --allow up.test --workdir current -- pwd
	exits 125
	has "an earlier run may have made"
	cd /
	run "$bottle" run -q --allow up.test --workdir "$link" -- pwd
	exits 0
	is "$(realpath "$link")"
}

@test "an odd umask is the agent's, and closes nothing of bottle's own" {
	export XDG_STATE_HOME=$BATS_TEST_TMPDIR/fresh
	# bats keeps what `run` saw in files of its own.
	run --separate-stderr bash -c 'umask 777; exec "$@"' - "$bottle" run -f "$manifest_file" -- sh -c umask
	exits 0
	is 0777
	[ "$(stat -c %a "$XDG_STATE_HOME" "$XDG_STATE_HOME/bottle" | sort -u)" = 700 ]
}

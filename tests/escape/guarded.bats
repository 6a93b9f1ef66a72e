#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# Files in the work folder that the caller's own tools obey without being asked.

load lib.bash

setup_file() { use_tiny_image; }

setup() {
	use_tiny_image
	escape_setup
	echo 'egress: {routes: [{host: up.test}]}' >"$BATS_TEST_TMPDIR/b.yaml"
	rm inside.py
}

# Runs shell code from stdin inside, which may fail at every line; not quiet, for what is said at the end.
attack_sh() { "$bottle" run -f "$BATS_TEST_TMPDIR/b.yaml" -- sh -s; }

make_repository() {
	export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1
	git init -q .
	git -c user.name=t -c user.email=t@test commit -q --allow-empty -m first
	echo '{}' >bottle.yaml
	echo 'export A=1' >.envrc
	mkdir -p .vscode .git/hooks
	echo '{}' >.vscode/tasks.json
	echo 'exit 0' >.git/hooks/pre-commit
}

# What a git of the caller's would do next. Nothing of the agent's may run by that, which would make the
# file `pwned`, unless the run said at its end that the file $1 has to be looked at first.
git_obeys_nothing() {
	git status >/dev/null 2>&1 || true
	git -c user.name=t -c user.email=t@test commit -q --allow-empty -m second >/dev/null 2>&1 || true
	git log -1 >/dev/null 2>&1 || true
	[ -e pwned ] || return 0
	[[ -n ${1-} && $output == *"$work/$1 was made inside the bottle"* ]] && return
	echo "git ran a program of the agent's, and nothing had warned of it:"
	echo "$output"
	return 1
}

@test "FILE-3: guarded files are not modified, replaced, renamed or removed" {
	make_repository
	before=$(sha256sum bottle.yaml .envrc .vscode/tasks.json .git/config .git/hooks/*)
	run attack_sh <<-'END'
		for f in bottle.yaml .envrc .vscode/tasks.json .git/config .git/hooks/pre-commit; do
			echo evil >>$f; echo evil >$f; rm -f $f; mv $f moved; ln -f /etc/passwd $f; cp /etc/passwd $f; chmod 777 $f
			echo evil >new; mv -f new $f; ln -sf /etc/passwd $f; truncate -s 0 $f
		done
		for d in .git .git/hooks .vscode; do
			mv $d moved; rm -rf $d; rmdir $d; mkdir evil; mv -T evil $d; echo evil >$d/new-file
		done
		git config core.fsmonitor 'touch pwned'; git config core.hooksPath evil
		/usr/bin/python3 -c 'import ctypes; ctypes.CDLL(None).renameat2(-100, b".git", -100, b"evil", 2)'
		mkdir other; mv .git/hooks other/; touch .git/hooks/post-checkout
		echo all tried
	END
	has "all tried"
	[ "$before" = "$(sha256sum bottle.yaml .envrc .vscode/tasks.json .git/config .git/hooks/*)" ]
	[ ! -L bottle.yaml ] && [ -d .git ] && [ ! -L .git ] && [ ! -e .git/hooks/new-file ] && [ ! -e .vscode/new-file ]
	git_obeys_nothing
}

@test "FILE-3: the agent may still work with git (control)" {
	make_repository
	run attack_sh <<-'END'
		export GIT_CONFIG_GLOBAL=/dev/null
		echo x >file && git add file && git -c user.name=t -c user.email=t@test commit -q -m inside && echo committed
	END
	has committed
	[ "$(git log -1 --format=%s)" = inside ]
}

@test "FILE-3: git is not turned to another configuration by a commondir of the agent's" {
	make_repository
	run attack_sh <<-END
		mkdir -p evil/hooks evil/objects evil/refs
		printf '[core]\nrepositoryformatversion = 0\nfsmonitor = "touch $work/pwned; false"\nhooksPath = $work/evil/hooks\n' >evil/config
		printf '#!/bin/sh\ntouch $work/pwned\n' >evil/hooks/pre-commit; chmod +x evil/hooks/pre-commit
		cp -r .git/objects .git/refs evil/; cp .git/HEAD evil/
		echo ../evil >.git/commondir
	END
	git_obeys_nothing .git/commondir
}

@test "FILE-3: git is not turned to the work folder itself by a .git that was broken" {
	make_repository
	run attack_sh <<-END
		cp -r .git/objects .git/refs .git/HEAD .
		printf '[core]\nrepositoryformatversion = 0\nbare = false\nworktree = .\nfsmonitor = "touch $work/pwned; false"\n' >config
		rm .git/HEAD
	END
	git_obeys_nothing HEAD
}

@test "FILE-3: a .git that is a file (a worktree, a submodule) is not turned elsewhere" {
	make_repository
	mv .git ../real.git
	echo "gitdir: ../real.git" >.git
	run attack_sh <<-END
		git init -q evil; printf '[core]\nfsmonitor = "touch $work/pwned; false"\n' >>evil/.git/config
		echo "gitdir: evil/.git" >.git
	END
	[ "$(cat .git)" = "gitdir: ../real.git" ]
	git_obeys_nothing
}

@test "FILE-3: a linked worktree is not turned elsewhere, however many folders hide it" {
	make_repository
	git worktree add -q "$BATS_TEST_TMPDIR/linked"
	run attack_sh <<-'END'
		cd .git/worktrees && for i in $(seq 1 600); do mkdir "a$i" "z$i"; done
	END
	run attack_sh <<-END
		cp -r .git evil; rm -r evil/worktrees
		printf '[core]\nrepositoryformatversion = 0\nfsmonitor = "touch $work/pwned; false"\n' >evil/config
		echo "$work/evil" >.git/worktrees/linked/commondir
	END
	[[ $output == *"Read-only file system"* ]]
	git -C "$BATS_TEST_TMPDIR/linked" status
	git_obeys_nothing
}

@test "FILE-3: what was made where nothing stood is named when the run ends" {
	run "$bottle" run --quiet -f "$BATS_TEST_TMPDIR/b.yaml" -- sh -c 'echo x >.envrc; mkdir -p .git/hooks; echo x >.git/hooks/pre-commit; echo x >.git/config; echo "{}" >bottle.yaml'
	exits 0
	for name in .envrc .git/hooks .git/config bottle.yaml; do
		has "$work/$name was made inside the bottle"
	done
}

# An agent that makes the file `up` when it is at work. Sets launcher; its output goes to ../out.
start_agent() {
	exec_bottle "$@" </dev/null >../out 2>&1 3>&- &
	launcher=$!
	for _ in $(seq 200); do
		[ ! -e up ] || return 0
		sleep 0.05
	done
	cat ../out
	return 1
}

# One that tries without end to write every guarded file, and to make anew what is gone; it ends with
# status 0 when the file `end` is made.
start_writing_agent() {
	cat >writer.py <<-'END'
		import os
		names = ".git/config", ".git/hooks/pre-commit", ".envrc", "bottle.yaml", ".vscode/tasks.json"
		open("up", "w").close()
		while not os.path.exists("end"):
		    for name in names:
		        try:
		            os.makedirs(os.path.dirname(name) or ".", exist_ok=True)
		            with open(name, "a") as file:
		                file.write("evil\n")
		        except OSError:
		            pass
	END
	start_agent /usr/bin/python3 writer.py
}

# The run has ended by itself because of $1, and what the agent wrote in its last moment is named.
ended_for() {
	wait "$launcher" && status=0 || status=$?
	output=$(cat ../out)
	exits 125
	has "$work/$1 was replaced, moved or removed on the host during the run"
	for name in .git/config .git/hooks/pre-commit .envrc bottle.yaml .vscode/tasks.json; do
		grep -q evil "$name" 2>/dev/null || continue
		[[ $output == *"$work/$name was replaced or changed"* || $output == *"$work/${name%/*} was replaced or changed"* ]] ||
			{ echo "the agent wrote $name, and nothing says so: $output"; return 1; }
	done
}

@test "FILE-5: git config on the host, which renames over a guarded file, ends the run" {
	make_repository
	start_writing_agent
	git config user.name somebody
	ended_for .git/config
	has "$work/.git/config was replaced or changed during the run"
	has_not "$work/.envrc was"
}

@test "FILE-5: an editor that saves by a rename ends the run" {
	make_repository
	start_writing_agent
	sed -i s/A=1/A=2/ .envrc
	ended_for .envrc
}

@test "FILE-5: a guarded file that is removed on the host ends the run" {
	make_repository
	start_writing_agent
	rm bottle.yaml
	ended_for bottle.yaml
}

@test "FILE-5: a guarded folder, or one above it, that is moved away on the host ends the run" {
	make_repository
	start_writing_agent
	mv .git/hooks .git/hooks.old
	ended_for .git/hooks
	rm -rf up .git/hooks
	mv .git/hooks.old .git/hooks
	start_writing_agent
	mv .git .git.old
	ended_for .git
}

@test "FILE-5: an agent that keeps its pid 1 at reaping has no more time to write" {
	make_repository
	cc -O2 -o flood "$here/flood.c"
	start_agent ./flood 2000 4
	git config user.name somebody
	ended_for .git/config
	written=$(grep -c evil .git/config) || true
	[ "$written" -lt 500 ] || { echo "it wrote $written lines, one in two milliseconds"; return 1; }
}

@test "FILE-5: an agent that stops and continues itself without end is watched while its job is stopped" {
	make_repository
	cat >stopper.py <<-'END'
		import os, signal, time
		first = os.getpid()
		if os.fork():
		    while True:
		        signal.pause()
		os.setpgid(0, 0)
		for _ in range(600):
		    os.kill(first, signal.SIGSTOP)
		    time.sleep(0.0015)
		    os.kill(first, signal.SIGCONT)
		    time.sleep(0.0005)
		open("up", "w").close()
		for _ in range(3000):
		    try:
		        with open(".git/config", "a") as file:
		            file.write("evil\n")
		    except OSError:
		        pass
		    time.sleep(0.002)
		os.kill(first, signal.SIGKILL)
	END
	cat >../job.sh <<-END
		set -m
		$bottle run -f $BATS_TEST_TMPDIR/b.yaml -- /usr/bin/python3 stopper.py
		echo first status \$?
		for _ in \$(seq 200); do [ ! -e up ] || break; sleep 0.05; done
		git config user.name somebody
		sleep 1
		echo written \$(grep -c evil .git/config) lines
		fg
		echo last status \$?
	END
	run /usr/bin/python3 "$here/terminal.py" "bash $BATS_TEST_TMPDIR/job.sh"
	has "first status 147" # 128 + SIGSTOP
	has "last status 125"
	has "$work/.git/config was replaced, moved or removed on the host during the run"
	[[ $output =~ written\ [0-9]{1,2}\ lines ]]
}

@test "FILE-5: an agent that ends in the moment in which it is not guarded is no good end" {
	make_repository
	cat >writer.py <<-'END'
		import os
		open("up", "w").close()
		while True:
		    try:
		        with open(".git/config", "a") as file:
		            file.write("evil\n")
		        os._exit(0)
		    except OSError:
		        pass
	END
	for _ in $(seq 10); do
		rm -f up
		exec_bottle /usr/bin/python3 writer.py </dev/null >../out 2>&1 3>&- &
		launcher=$!
		until [ -e up ]; do sleep 0.02; done
		git config -f .git/config user.name "n$RANDOM" || true
		ended_for .git/config
		sed -i /evil/d .git/config
	done
}

@test "FILE-5: a read_only file in the work folder is guarded as long" {
	make_repository
	mkdir shown
	echo kept >shown/file
	cat >>"$BATS_TEST_TMPDIR/b.yaml" <<<"agent: {read_only: [$work/shown/file]}"
	start_writing_agent
	echo new >shown/file.new
	mv shown/file.new shown/file
	ended_for shown/file
}

@test "FILE-5: other edits on the host end nothing, and nothing is named" {
	make_repository
	/usr/bin/python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("dev.sock")'
	start_writing_agent
	echo x >file && sed -i s/x/y/ file && mv file file2 && rm file2
	mkdir -p deep/folder && mv deep deeper && rm -r deeper
	echo 'export A=3' >.envrc # in place
	echo 'exit 1' >.git/hooks/pre-push && sed -i s/1/0/ .git/hooks/pre-push
	echo '{"a": 1}' >.vscode/new && mv .vscode/new .vscode/tasks.json
	git add .envrc && git -c user.name=t -c user.email=t@test commit -q --no-verify -m more
	git branch other && git checkout -q other && git gc -q && git pack-refs --all
	rm dev.sock
	/usr/bin/python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("dev.sock")'
	touch end
	wait "$launcher" && status=0 || status=$?
	output=$(cat ../out)
	exits 0
	has_not "during the run"
	! grep -r evil .git/config .git/hooks .envrc .vscode bottle.yaml
}

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

@test "FILE-3: what was made where nothing stood is named when the run ends" {
	run "$bottle" run --quiet -f "$BATS_TEST_TMPDIR/b.yaml" -- sh -c 'echo x >.envrc; mkdir -p .git/hooks; echo x >.git/hooks/pre-commit; echo x >.git/config; echo "{}" >bottle.yaml'
	exits 0
	for name in .envrc .git/hooks .git/config bottle.yaml; do
		has "$work/$name was made inside the bottle"
	done
}

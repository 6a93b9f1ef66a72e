#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# The manifest as its writer meets it: a mistake is one line and starts nothing; what is found is not
# what is named; the plan can be seen before; what a proxy says when it does not start.

load lib.bash

setup() {
	bottle_setup
	use_tiny_image
	routes <<-'END'
		    - host: up.test
		      address: 127.0.0.1
		      auth: {scheme: Bearer, token_ref: IT_TOKEN}
	END
}

# The run before was refused: one line, and no trace of a bottle.
refused_whole() {
	exits 125
	is ""
	[[ $stderr == "bottle: "* ]]
	[ "$(wc -l <<<"$stderr")" -eq 1 ]
	[ ! -e started ]
	[ -z "$(find "$XDG_RUNTIME_DIR" -mindepth 2 -print -quit)" ]
}

@test "a mistake is one line with file, line, column, key and advice, and nothing starts" {
	while IFS='|' read -r text where what; do
		printf 'egress:\n  routes:\n    - host: up.test\n%b\n' "$text" >bad.yaml
		run --separate-stderr "$bottle" run -f bad.yaml -- touch started
		refused_whole
		says "bottle: bad.yaml:$where: "
		says "$what"
	done <<-'END'
		      path_allow: [/x]|4:7|did you mean 'path_allowlist'?
		      ports: [0443]|4:15|443
		      ports: [22:30]|4:15|base 60
		      git: {push: yes}|4:19|true
		      methods: []|4:16|empty list
		      auth: {scheme: Bearer}|4:13|token_ref
		limits: {memory: lots}|4:18|512M
		agent: &a {}|4:8|anchor
		name: one\nname: two|5:1|name
	END
}

@test "a token written in place of a variable's name is not repeated" {
	sed "s/IT_TOKEN/'$token'/" "$manifest_file" >bad.yaml
	run --separate-stderr "$bottle" run -f bad.yaml -- touch started
	refused_whole
	says token_ref
	says_not "$token"
}

@test "what was found counts when it was accepted, as it was, and what was named counts at once" {
	cp "$manifest_file" bottle.yaml
	run --separate-stderr "$bottle" run -q -- touch started
	refused_whole
	says "bottle trust"
	run --separate-stderr "$bottle" trust
	exits 0
	has "host: up.test"
	has accepted
	run --separate-stderr "$bottle" run -q -- touch started
	exits 0
	[ -e started ]
	rm started
	echo "# changed" >>bottle.yaml
	run --separate-stderr "$bottle" run -q -- touch started
	refused_whole
	says "changed"
	run --separate-stderr "$bottle" run -q -f bottle.yaml -- touch started
	exits 0
}

@test "--allow without -f: that the manifest here is not read is said" {
	cp "$manifest_file" bottle.yaml
	run --separate-stderr "$bottle" run --allow other.test -- true
	exits 0
	says "bottle.yaml is not read"
	run --separate-stderr "$bottle" run --allow other.test -f bottle.yaml -- true
	exits 0
	says_not "is not read"
}

@test "trust shows control characters, not what they do" {
	cp "$manifest_file" bottle.yaml
	printf '# \033]0;title\007 \xe2\x80\xae\n' >>bottle.yaml
	run --separate-stderr "$bottle" trust
	[[ $output != *$'\033'* && $output != *$'\007'* && $output != *$'\xe2\x80\xae'* ]]
}

@test "without any manifest, the user's own is taken; without that, it is said" {
	run --separate-stderr "$bottle" run -q -- touch started
	refused_whole
	says "--allow"
	mkdir -p "$XDG_CONFIG_HOME/bottle"
	cp "$manifest_file" "$XDG_CONFIG_HOME/bottle/bottle.yaml"
	run --separate-stderr "$bottle" run -q -- touch started
	exits 0
	[ -e started ]
}

@test "what is said of a manifest that is not taken leads on" {
	run -125 --separate-stderr "$bottle" run true --allow up.test
	says "the --allow behind 'true' is the command's; bottle's options stand before COMMAND"
	run -125 --separate-stderr "$bottle" run -f - true
	says "--file -: standard input is the command's"
	run -125 --separate-stderr "$bottle" run -f "" true
	says "--file: is empty; an unset variable?"
	cp "$manifest_file" ./kept.yaml
	ln -s kept.yaml bottle.yaml
	run -125 --separate-stderr "$bottle" run -q -- touch started
	says "bottle.yaml: is a symbolic link"
	says "(or name what it leads to: -f '$PWD/kept.yaml')"
	run --separate-stderr "$bottle" run -q -f "$PWD/kept.yaml" -- touch started
	exits 0
	[ -e started ]
}

@test "-f takes a pipe, and its relative paths begin in the current folder" {
	mkdir "$BATS_TEST_TMPDIR/shown"
	echo content >"$BATS_TEST_TMPDIR/shown/file"
	run --separate-stderr "$bottle" run -q -f <(cat "$manifest_file"; echo "agent: {read_only: [../shown]}") -- \
		cat "$BATS_TEST_TMPDIR/shown/file"
	exits 0
	is content
}

@test "the manifest's own command, variables, folder and name" {
	mkdir "$BATS_TEST_TMPDIR/elsewhere"
	cat >>"$manifest_file" <<-END
		agent:
		  command: [sh, -c, 'echo \$LEVEL \$PASSED \$PWD; hostname; echo x >made']
		  env: {LEVEL: debug}
		  pass_env: [PASSED, NOT_THERE]
		  workdir: elsewhere
	END
	sed -i '/^name:/d' "$manifest_file"
	PASSED=on run --separate-stderr "$bottle" run -q -f "$manifest_file" --name given
	exits 0
	is "debug on $(realpath "$BATS_TEST_TMPDIR/elsewhere")
given"
	[ -e "$BATS_TEST_TMPDIR/elsewhere/made" ]
	[ -e "$XDG_STATE_HOME/bottle/given/egress.jsonl" ]
	PASSED=on run --separate-stderr "$bottle" run -q -f "$manifest_file" --env LEVEL=other -- sh -c 'echo "$LEVEL"'
	is other
}

@test "--dry-run needs no token, shows no variable's value, and is JSON to any reader" {
	unset IT_TOKEN
	for option in "" --json; do
		# shellcheck disable=SC2086
		run --separate-stderr "$bottle" run --dry-run $option -f "$manifest_file" --env SECRETIVE=hidden-value -- true
		exits 0
		has IT_TOKEN
		has SECRETIVE
		has_not hidden-value
	done
	/usr/bin/python3 -m json.tool <<<"$output" >/dev/null
	run --separate-stderr in_bottle true
	exits 125 # control: the run itself needs it
}

@test "BOTTLE_EGRESS_PROXY_IMAGE and BOTTLE_EGRESS_PROXY_PORT take the manifest's place" {
	echo "proxy: {image: nowhere, port: 8888}" >>"$manifest_file"
	run --separate-stderr in_bottle sh -c 'echo "$HTTPS_PROXY"'
	exits 0
	is "http://egress-proxy:8888"
	BOTTLE_EGRESS_PROXY_PORT=7777 run --separate-stderr in_bottle sh -c 'echo "$HTTPS_PROXY"'
	exits 0
	is "http://egress-proxy:7777"
	for port in 80 99999 7777x ""; do
		BOTTLE_EGRESS_PROXY_PORT=$port run --separate-stderr in_bottle touch started
		[ "$port" = "" ] || refused_whole
	done
}

@test "a proxy that does not get ready: 125 after start_timeout, the command never ran" {
	cat >"$BATS_TEST_TMPDIR/sleeper.c" <<-'END'
		#include <stdio.h>
		#include <unistd.h>
		int main(void) { puts("still thinking"); fflush(stdout); for (;;) pause(); }
	END
	make_image sleeper "$BATS_TEST_TMPDIR/sleeper.c"
	echo "proxy: {start_timeout: 500ms}" >>"$manifest_file"
	start_ms=$(date +%s%3N)
	BOTTLE_EGRESS_PROXY_IMAGE=sleeper run --separate-stderr in_bottle touch started
	took=$(($(date +%s%3N) - start_ms))
	exits 125
	says "not ready within 500 ms (proxy.start_timeout); its last lines: still thinking"
	[ "$(wc -l <<<"$stderr")" -eq 1 ]
	[ ! -e started ]
	[ "$took" -ge 500 ]
	[ "$took" -lt 5000 ]
}

@test "a proxy that ends: its status and last lines, without what could act on a terminal" {
	cat >"$BATS_TEST_TMPDIR/failer.c" <<-'END'
		#include <stdio.h>
		int main(void) { setbuf(stdout, NULL); for (int i = 0; i < 9; i++) printf("line %d\n", i);
			fprintf(stderr, "cannot: \033]0;owned\007 \r bye\n"); return 3; }
	END
	make_image failer "$BATS_TEST_TMPDIR/failer.c"
	BOTTLE_EGRESS_PROXY_IMAGE=failer run --separate-stderr in_bottle touch started
	exits 125
	says "the proxy ended with status 3; its last lines: "
	says "cannot: "
	says_not "line 2"
	[[ $stderr != *$'\033'* && $stderr != *$'\007'* && $stderr != *$'\r'* ]]
	[ "$(wc -l <<<"$stderr")" -eq 1 ]
	[ ! -e started ]
}

@test "TERM while the proxy starts ends all, with 143, and nothing is left" {
	printf '#include <unistd.h>\nint main(void) { for (;;) pause(); }\n' >"$BATS_TEST_TMPDIR/mute.c"
	make_image mute "$BATS_TEST_TMPDIR/mute.c"
	BOTTLE_EGRESS_PROXY_IMAGE=mute "$bottle" run -q -f "$manifest_file" -- touch started 3>&- &
	pid=$!
	wait_for pgrep -P $pid
	sleep 0.3
	kill -TERM $pid
	status=0
	wait $pid || status=$?
	exits 143
	[ ! -e started ]
	[ -z "$(find "$XDG_RUNTIME_DIR" -path '*/bottle-runs/*' -print -quit)" ]
}

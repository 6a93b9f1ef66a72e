#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# What is said before anything starts: the plan, and what is wrong with a manifest, an option or the
# caller's environment. Nothing here may start or leave anything.

load lib.bash

setup() {
	bottle_setup
	use_tiny_image
	routes <<-'END'
		    - host: up.test
		      path_allowlist: [/v1/]
		      auth: {scheme: Bearer, token_ref: IT_TOKEN}
		    - {host: "*.wild.test", ports: [443, 8443], methods: [GET]}
		    - {host: v4.test, address: "127.0.0.1:8443"}
		    - {host: v6.test, address: "[::1]:8443"}
		    - {host: same.test, address: "::1"}
	END
}

teardown() {
	# Neither a plan nor a refusal made a run's folder, a log or a file.
	[ -z "$(find "$XDG_RUNTIME_DIR" "$XDG_STATE_HOME" -type f -o -name 'it*' -type d)" ]
	[ ! -e started ]
}

json() { /usr/bin/python3 -c "import json, sys; plan = json.load(sys.stdin); print(($1))"; }

# refused SENTENCE WORDS...: 125, nothing on stdout, one line on stderr that has the sentence
refused() {
	local sentence=$1
	shift
	run -125 --separate-stderr "$bottle" run "$@" -- touch started
	is ""
	says "$sentence"
	[ "$(wc -l <<<"$stderr")" -eq 1 ]
	[[ $stderr == "bottle: "* ]]
}

@test "--dry-run says for a person what would be done" {
	run -0 --separate-stderr "$bottle" run --dry-run -f "$manifest_file" -- curl https://up.test/
	for word in up.test '*.wild.test' 8443 /v1/ Bearer IT_TOKEN "$PWD" curl single "paths: every" "methods: every"; do has "$word"; done
	has_not "$token"
}

@test "--dry-run --json is one JSON object with the same" {
	run -0 --separate-stderr "$bottle" run --dry-run --json -f "$manifest_file" -- curl https://up.test/
	has_not "$token"
	[ "$(json 'plan["name"], plan["command"]' <<<"$output")" = "('it', ['curl', 'https://up.test/'])" ]
	[ "$(json '[r["host"] for r in plan["routes"]]' <<<"$output")" = "['up.test', '*.wild.test', 'v4.test', 'v6.test', 'same.test']" ]
	[ "$(json 'plan["routes"][1]["ports"], plan["routes"][1]["methods"]' <<<"$output")" = "([443, 8443], ['GET'])" ]
	[ "$(json 'plan["routes"][2]["paths"], plan["routes"][2]["methods"]' <<<"$output")" = "(None, None)" ]
	[ "$(json 'plan["tokens"], plan["work_folder"]' <<<"$output")" = "(['IT_TOKEN'], '$PWD')" ]
	[ "$(json '[r["address"] for r in plan["routes"]]' <<<"$output")" = "[None, None, '127.0.0.1:8443', '[::1]:8443', '::1']" ]
	# Of the environment it has the names alone.
	[ "$(json '[w for w in plan["environment"] if "=" in w]' <<<"$output")" = "[]" ]
}

@test "an image for the agent, which namespaces cannot use, is refused or told" {
	refused "--agent-image node:22: is for Docker alone" --backend namespaces --agent-image node:22 -f "$manifest_file"
	BOTTLE_BACKEND=namespaces refused "--agent-image node:22: is for Docker alone" --agent-image node:22 -f "$manifest_file"
	run -0 --separate-stderr "$bottle" run --dry-run --agent-image node:22 -f "$manifest_file" -- touch started
	has "--agent-image node:22: counts with Docker alone"
	echo 'agent: {image: "node:22"}' >>"$manifest_file"
	run -0 --separate-stderr "$bottle" run --dry-run --backend namespaces -f "$manifest_file" -- touch started
	has "agent.image node:22: counts with Docker alone"
}

@test "--env and --pass-env take the names that the manifest takes" {
	refused "--env: 'FOO BAR' is no name of an environment variable" --env "FOO BAR=x-$token" --allow a.test
	says_not "$token"
	refused "--env: '' is no name of an environment variable" --env =x --allow a.test
	refused "--env: 'HTTPS_PROXY' is set by bottle" --env HTTPS_PROXY=x --allow a.test
	refused "--pass-env: 'FOO BAR' is no name of an environment variable" --pass-env "FOO BAR" --allow a.test
	refused "--pass-env: '' is no name of an environment variable" --pass-env "" --allow a.test
	refused "--pass-env FOO: takes a name alone" --pass-env "FOO=$token" --allow a.test
	says_not "$token"
}

@test "an empty word is no command" {
	run -125 --separate-stderr "$bottle" run -f "$manifest_file" -- ""
	says "bottle: the command's first word is empty; give a program's name or path"
	run -125 --separate-stderr "$bottle" run --dry-run -f "$manifest_file" -- "" true
	says "the command's first word is empty"
}

@test "a relative --read-only or --read-write is one of the current folder" {
	mkdir "$BATS_TEST_TMPDIR/shown" "$BATS_TEST_TMPDIR/written"
	run -0 --separate-stderr "$bottle" run --dry-run --json --read-only ../shown --read-write ../written -f "$manifest_file" -- true
	[ "$(json '[f["how"] for f in plan["files"] if f["path"].endswith(("/shown", "/written"))]' <<<"$output")" = "['read-only', 'read-write']" ]
	refused "--workdir: is empty" --workdir "" --allow a.test
	BOTTLE_BACKEND=foo refused "BOTTLE_BACKEND foo: must be" --allow a.test
}

@test "--dry-run needs no command" {
	run -0 --separate-stderr "$bottle" run --dry-run -f "$manifest_file"
	has "command: none"
	run -0 --separate-stderr "$bottle" run --dry-run --json -f "$manifest_file"
	[ "$(json 'plan["command"]' <<<"$output")" = "[]" ]
	run -125 --separate-stderr "$bottle" run -f "$manifest_file"
	says "no command"
}

@test "--dry-run shows no token that stands in the command, and refuses it as the run does" {
	for option in --dry-run -q; do
		run -125 --separate-stderr "$bottle" run $option -f "$manifest_file" -- curl -H "X: $token"
		is ""
		says "word 3 of the command holds the value of a token"
		says_not "$token"
	done
	unset IT_TOKEN
	run -0 --separate-stderr "$bottle" run --dry-run -f "$manifest_file" -- curl -H "X: $token"
}

@test "too small a limit of open files is named before anything starts" {
	ulimit -Sn 100 && ulimit -Hn 100
	refused "the limit of open files (RLIMIT_NOFILE, \`ulimit -Hn\`) is 100; this run needs at least 1" -f "$manifest_file"
}

@test "what is not printable in a plan is escaped" {
	mkdir $'odd\e]0;title\a'
	run -0 --separate-stderr "$bottle" run --dry-run --workdir $'odd\e]0;title\a' -f "$manifest_file" -- true
	[[ $output$stderr != *$'\e'* && $output$stderr != *$'\a'* ]]
}

@test "a manifest's mistakes are named with line, column, key and the nearest word" {
	sed -i 's/path_allowlist/path_allow/' "$manifest_file"
	refused "$manifest_file:$(grep -n path_allow "$manifest_file" | cut -d: -f1):7: egress.routes[0]: unknown key 'path_allow' (did you mean 'path_allowlist'?)" \
		-f "$manifest_file"
	printf 'name: it\nname: it\n' >"$manifest_file"
	refused "$manifest_file:2:1: " -f "$manifest_file"
	printf 'name: it\n' >"$manifest_file"
	refused "routes" -f "$manifest_file"
	printf 'egress: {routes: [{host: up.test, auth: {}}]}\n' >"$manifest_file"
	refused "auth" -f "$manifest_file"
}

@test "a token whose variable is not set, or empty, is named before anything starts" {
	unset IT_TOKEN
	refused IT_TOKEN -f "$manifest_file"
	export IT_TOKEN=
	refused IT_TOKEN -f "$manifest_file"
	export IT_TOKEN=$'two\nlines'
	refused IT_TOKEN -f "$manifest_file"
	says_not "lines"
}

@test "a CA file that is missing, expired or holds a key is refused" {
	mkdir -p "$world"
	with_ca() { printf 'egress:\n  extra_ca: ["%s"]\n  routes: [{host: up.test}]\n' "$1" >"$manifest_file"; }
	with_ca "$world/none.pem"
	refused "$world/none.pem" -f "$manifest_file"
	make_ca keyed
	cat "$world/keyed.key" "$world/keyed.pem" >"$world/both.pem"
	with_ca "$world/both.pem"
	refused "$world/both.pem" -f "$manifest_file"
	says key
	openssl req -new -key "$world/keyed.key" -subj /CN=old -out "$world/old.csr"
	openssl x509 -req -in "$world/old.csr" -signkey "$world/keyed.key" -days -1 \
		-extfile <(echo basicConstraints=critical,CA:TRUE) -out "$world/old.pem" 2>/dev/null
	with_ca "$world/old.pem"
	refused expired -f "$manifest_file"
}

@test "an upstream proxy needs both its url and its ca" {
	half() { printf 'egress:\n  upstream_proxy: {%s}\n  routes: [{host: up.test}]\n' "$1" >"$manifest_file"; }
	half 'url: "http://127.0.0.1:3128"'
	refused "upstream_proxy" -f "$manifest_file"
	says "ca"
	half 'ca: none'
	refused "upstream_proxy" -f "$manifest_file"
	says "url"
}

@test "work folders that hold too much are refused" {
	HOME=$BATS_TEST_TMPDIR/home
	mkdir -p "$HOME/.config/systemd/user" "$HOME/bin"
	for folder in / "$HOME" "$XDG_STATE_HOME" "$XDG_DATA_HOME" /etc/ssl /usr/local/bin \
		"$HOME/bin" "$HOME/.config" "$HOME/.config/systemd/user"; do
		refused "$folder" -f "$manifest_file" --workdir "$folder"
	done
}

@test "an option's mistake is named, with the nearest one" {
	refused "did you mean --dry-run?" --dry-rum -f "$manifest_file"
	refused "--ca-key" --ca-key dsa -f "$manifest_file"
	refused "--json" --json -f "$manifest_file"
	refused "--allow" --allow 'up.test:http' -f "$manifest_file"
	refused "--auth" --auth 'up.test' -f "$manifest_file"
}

@test "without a manifest and without --allow it says what to do" {
	export HOME=$BATS_TEST_TMPDIR/home XDG_CONFIG_HOME=$BATS_TEST_TMPDIR/home/.config
	mkdir -p "$HOME"
	refused "--allow"
}

@test "an image that is not there is named, with the command that would import it" {
	BOTTLE_EGRESS_PROXY_IMAGE=nowhere:1 refused "bottle image import" -f "$manifest_file"
	says "nowhere:1"
	BOTTLE_EGRESS_PROXY_IMAGE=mitmproxy XDG_DATA_HOME=$BATS_TEST_TMPDIR/no-images refused "make image" -f "$manifest_file"
	says "bottle image import ARCHIVE --tag mitmproxy"
}

#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# What is let through, what is refused, and what becomes of credentials: curl in a bottle, nginx on
# the host, whose log says what arrived.
#
# For each proxy
# Takes: 240

load lib.bash

setup_file() {
	mkdir -p "$world"
	make_ca ca
	make_ca stranger
	make_cert good ca DNS:up.test,DNS:key.test,DNS:basic.test,DNS:token.test,DNS:open.test,DNS:a.wild.test,DNS:a.b.wild.test,DNS:wild.test
	make_cert elsewhere ca DNS:elsewhere.test
	make_cert foreign stranger DNS:foreign.test
	make_cert expired ca DNS:expired.test -1
	read -r tls plain name foreign expired back < <(free_ports 6)
	upstream_start "$back"
	{
		tls_server "$tls" good "up.test key.test basic.test token.test open.test *.wild.test wild.test" \
			"$(behind_nginx "$back")"
		tls_server "$name" elsewhere elsewhere.test
		tls_server "$foreign" foreign foreign.test
		tls_server "$expired" expired expired.test
		echo "server { listen 127.0.0.1:$plain; server_name plain.test;
			location / { return 200 'plain says \$uri\n'; } }"
	} | nginx_start "$tls"
	echo "tls=$tls plain=$plain name=$name foreign=$foreign expired=$expired" >"$world/ports"
}

teardown_file() { world_end; }

setup() {
	bottle_setup
	routes <<-END
		    - host: up.test
		      address: 127.0.0.1:$tls
		      path_allowlist: [/ok]
		      methods: [GET, POST]
		      auth: {scheme: Bearer, token_ref: IT_TOKEN}
	END
}

# refused N REASON: the Nth JSON object of $output is a refusal for that reason, whole and with advice
refused() {
	/usr/bin/python3 - "$output" "$@" <<-'END'
		import json, sys
		text, number, reason = sys.argv[1:4]
		at, found = 0, []
		while (at := text.find("{", at)) >= 0:
		    value, at = json.JSONDecoder().raw_decode(text, at)
		    found.append(value)
		got = found[int(number)]
		assert got["error"] == "egress_denied" and got["reason"] == reason, got
		assert got["host"] and got["hint"] and got["detail"], got
	END
}

@test "an allowed request gets its answer, and the server the token" {
	run --separate-stderr in_bottle sh -c "$(ask https://up.test/ok/x?a=1)"
	exits 0
	[[ $output == "up.test says GET /ok/x"*200 ]]
	seen "^up.test HTTP/[0-9.]+ GET /ok/x\?a=1 \[Bearer $token\] "
	[ -z "$stderr" ]
	audited 'r["verdict"] == "allow" and r["host"] == "up.test" and r["method"] == "GET" and
		r["path"] == "/ok/x" and r["query"] == ["a"] and r["status"] == 200 and r["rule"] == "up.test"'
}

@test "host, path, method and port are refused, each for its reason" {
	run --separate-stderr in_bottle sh -c "
		$(ask -p https://evil.test/ok -o /dev/null)
		$(ask http://evil.test/ok)
		$(ask https://up.test/no)
		$(ask -X DELETE https://up.test/ok)
		$(ask http://up.test:8080/ok)
		$(ask https://up.test/ok)"
	exits 0
	refused 0 host_not_allowed
	refused 1 path_not_allowed
	refused 2 method_not_allowed
	refused 3 port_not_allowed
	[ "$(grep -c '403$' <<<"$output")" -eq 4 ]
	says "CONNECT tunnel failed, response 403"
	seen "GET /ok "
	[ "$(wc -l <"$world/seen")" -eq 1 ]
	for reason in host_not_allowed path_not_allowed method_not_allowed port_not_allowed; do
		audited "r['verdict'] == 'deny' and r['reason'] == '$reason' and r['status'] == 403"
	done
}

@test "a prefix is a folder: /ok is not /okay, and no spelling gets around it" {
	run --separate-stderr in_bottle sh -c "
		$(ask https://up.test/okay)
		$(ask --path-as-is https://up.test/ok/../no)
		$(ask --path-as-is https://up.test/ok/%2e%2e/no)
		$(ask --path-as-is 'https://up.test//no')
		$(ask https://up.test/ok/fine)"
	exits 0
	refused 0 path_not_allowed
	seen "GET /ok/fine "
	[ "$(wc -l <"$world/seen")" -eq 1 ]
}

@test "the summary is the last line, counts, and says what would allow the first" {
	run --separate-stderr in_bottle sh -c "echo own >&2; $(ask http://evil.test/p) $(ask https://up.test/no)"
	exits 0
	last=${stderr##*$'\n'}
	[[ $last == "bottle: 2 requests refused; first: GET http"*"evil.test"*"(host_not_allowed)"*"--allow evil.test"* ]]
	[[ $stderr == own* ]]
	OPTIONS=(-q)
	run --separate-stderr in_bottle sh -c "$(ask http://evil.test/p)"
	exits 0
	[ -z "$stderr" ]
}

@test "--fail-on-denied makes it 123, but only where something was refused and all else was well" {
	OPTIONS=(--fail-on-denied)
	run --separate-stderr in_bottle sh -c "$(ask http://evil.test/)"
	exits 123
	run --separate-stderr in_bottle sh -c "$(ask https://up.test/ok)"
	exits 0
	run --separate-stderr in_bottle sh -c "$(ask http://evil.test/) exit 9"
	exits 9
}

@test "every way to put a credential in, and the agent's own is removed" {
	routes <<-END
		    - {host: up.test, address: "127.0.0.1:$tls", auth: {scheme: Bearer, token_ref: IT_TOKEN}}
		    - {host: token.test, address: "127.0.0.1:$tls", auth: {scheme: token, token_ref: IT_TOKEN}}
		    - {host: basic.test, address: "127.0.0.1:$tls", auth: {scheme: Basic, token_ref: IT_BASIC}}
		    - {host: key.test, address: "127.0.0.1:$tls", auth: {header: X-Api-Key, token_ref: IT_KEY}}
		    - {host: open.test, address: "127.0.0.1:$tls"}
	END
	own="-H 'Authorization: Bearer mine' -H 'X-API-KEY: mine'"
	run --separate-stderr in_bottle sh -c "for h in up token basic key open; do
		$(ask "$own" https://\$h.test/) done"
	exits 0
	seen "/ \[Bearer $token\] \[mine\] "
	seen "/ \[token $token\] \[mine\] "
	seen "/ \[Basic $basic\] \[mine\] "
	seen "/ \[-\] \[$key\] "
	seen "/ \[-\] \[mine\] " # Authorization never comes from inside, other headers may
	[ "$(wc -l <"$world/seen")" -eq 5 ]
}

@test "a client that wants its variable set gets a placeholder, the server the token" {
	routes <<-END
		    - {host: key.test, address: "127.0.0.1:$tls", auth: {header: X-Api-Key, token_ref: IT_KEY}}
	END
	OPTIONS=(-q --env IT_KEY=placeholder)
	run --separate-stderr in_bottle sh -c "$(ask '-H "X-Api-Key: \$IT_KEY"' https://key.test/) echo \$IT_KEY"
	exits 0
	has placeholder
	seen "/ \[-\] \[$key\] "
	for value in "$key" "x-$key-y"; do
		OPTIONS=(-q --env "IT_KEY=$value")
		run --separate-stderr in_bottle touch started
		exits 125
		says "the agent's variable IT_KEY would hold the value of a token"
		says_not "$key"
	done
	export IT_KEY=four # too short to be searched for
	OPTIONS=(-q --env IT_KEY=four)
	run --separate-stderr in_bottle touch started
	exits 125
	says "the agent's variable IT_KEY would hold the value of a token"
	[ ! -e started ]
}

@test "a credential goes to its host and no other" {
	routes <<-END
		    - {host: up.test, address: "127.0.0.1:$tls", auth: {scheme: Bearer, token_ref: IT_TOKEN}}
		    - {host: open.test, address: "127.0.0.1:$tls"}
	END
	run --separate-stderr in_bottle sh -c "$(ask -H "'Host: up.test'" https://open.test/a)
		$(ask https://open.test/b) $(ask https://up.test/c)"
	exits 0
	[[ $output == *421* ]]
	not_seen "/a "
	seen "/b \[-\]"
	seen "/c \[Bearer $token\]"
}

@test "the token is nowhere inside, in no log, on no screen and in no argument" {
	cat >look.sh <<-'END'
		env
		cat /proc/*/environ /proc/*/cmdline | tr '\0' '\n'
		grep -rslE 'tok-[0-9]+-8d41c07e5ba92f63' /run /tmp /var /dev/shm /etc ~ . | sed 's/^/it is in /'
		exit 0
	END
	run --separate-stderr in_bottle sh -c "$(ask https://up.test/ok) $(ask https://up.test/no)
		cat /proc/1/cmdline >/dev/null; touch here; while [ ! -e gone ]; do sleep 0.05; done; sh look.sh" &
	pid=$!
	wait_for test -e here
	run ! grep -als -- "$token" /proc/[0-9]*/cmdline
	touch gone
	wait $pid
	rm gone
	run --separate-stderr in_bottle sh -c "$(ask https://up.test/ok) $(ask https://up.test/no) sh look.sh"
	exits 0
	seen "Bearer $token" # it was in play
	has HTTPS_PROXY
	has_not "$token"
	has_not "it is in"
	has_not IT_TOKEN
	says_not "$token"
	run ! grep -r -- "$token" "$XDG_STATE_HOME" "$XDG_RUNTIME_DIR" "$PWD"
}

@test "plain HTTP where port 80 is named; a token never goes that way" {
	routes <<-END
		    - {host: plain.test, ports: [80], address: "127.0.0.1:$plain"}
		    - {host: up.test, ports: [80, 443], address: "127.0.0.1:$plain", auth: {scheme: Bearer, token_ref: IT_TOKEN}}
	END
	run --separate-stderr in_bottle sh -c "$(ask http://plain.test/p) $(ask http://up.test/ok)"
	exits 0
	has "plain says /p"
	refused 0 auth_needs_tls
	seen "GET /p "
	not_seen "/ok"
}

@test "a wildcard is what lies below, at any depth, and not the name itself" {
	routes <<-END
		    - {host: "*.wild.test", address: "127.0.0.1:$tls"}
	END
	run --separate-stderr in_bottle sh -c "
		$(ask https://a.wild.test/1) $(ask https://a.b.wild.test/2)
		$(ask http://wild.test/3) $(ask http://notwild.test/4) $(ask http://a.wild.test.evil.test/5)"
	exits 0
	seen "/1 "
	seen "/2 "
	refused 0 host_not_allowed
	refused 1 host_not_allowed
	refused 2 host_not_allowed
	[ "$(wc -l <"$world/seen")" -eq 2 ]
}

@test "--allow does without a file; an address that is not public needs allow_private in one" {
	# 127.0.0.1 stands in no_proxy, as is usual; curl is told to use the proxy all the same.
	inside="$(ask --noproxy "''" "http://127.0.0.1:$plain/ok/1")
		$(ask --noproxy "''" "http://127.0.0.1:$plain/no")
		$(ask --noproxy "''" "http://127.0.0.1:$tls/ok")"
	run --separate-stderr "$bottle" run --name it --allow "127.0.0.1:$plain/ok" -- sh -c "$inside"
	exits 0
	[ "$(grep -c "^502$" <<<"$output")" -eq 1 ]
	has path_not_allowed
	has port_not_allowed
	says "127.0.0.1:$plain (private_address); to allow it: \`allow_private: true\` on the route for 127.0.0.1"
	not_seen .
	routes <<<"    - {host: 127.0.0.1, ports: [$plain], path_allowlist: [/ok], allow_private: true}"
	run --separate-stderr in_bottle sh -c "$inside"
	exits 0
	refused 0 path_not_allowed
	refused 1 port_not_allowed
	seen "GET /ok/1 "
	[ "$(wc -l <"$world/seen")" -eq 1 ]
}

@test "--auth gives a route of the file its credential, --allow another path" {
	routes <<-END
		    - {host: up.test, address: "127.0.0.1:$tls", path_allowlist: [/ok]}
		    - {host: key.test, address: "127.0.0.1:$tls"}
	END
	OPTIONS=(--auth up.test=Bearer:IT_TOKEN --auth key.test=X-Api-Key:IT_KEY --allow up.test/more)
	run --separate-stderr in_bottle sh -c "$(ask https://up.test/ok) $(ask https://up.test/more)
		$(ask https://up.test/no) $(ask https://key.test/k)"
	exits 0
	seen "/ok \[Bearer $token\]"
	seen "/more \[Bearer $token\]"
	seen "/k \[-\] \[$key\]"
	refused 0 path_not_allowed
}

@test "a server whose certificate is wrong is not spoken to, and the check is named" {
	routes <<-END
		    - {host: up.test, address: "127.0.0.1:$tls", auth: {scheme: Bearer, token_ref: IT_TOKEN}}
		    - {host: name.test, address: "127.0.0.1:$name", auth: {scheme: Bearer, token_ref: IT_TOKEN}}
		    - {host: foreign.test, address: "127.0.0.1:$foreign", auth: {scheme: Bearer, token_ref: IT_TOKEN}}
		    - {host: expired.test, address: "127.0.0.1:$expired", auth: {scheme: Bearer, token_ref: IT_TOKEN}}
	END
	run --separate-stderr in_bottle sh -c "for h in name foreign expired up; do
		$(ask https://\$h.test/) done"
	exits 0
	[ "$(grep -c '502$' <<<"$output")" -eq 3 ]
	[ "$(grep -c upstream_tls_verify <<<"$output")" -eq 3 ]
	# Each proxy has its own words for it.
	[[ $output =~ "ostname mismatch"|"for another name" ]]
	[[ $output =~ "unable to get local issuer certificate"|"unknown issuer" ]]
	[[ $output =~ "certificate has expired"|"chain has expired" ]]
	[[ $output == *"up.test says GET /"*200 ]]
	[ "$(wc -l <"$world/seen")" -eq 1 ]
	audited 'r["verdict"] == "error" and r["reason"] == "upstream_tls_verify" and r["host"] == "name.test"'
}

@test "bodies go up and come down as they are, with and without a length, in HTTP/1.1 and 2" {
	routes <<-END
		    - {host: up.test, address: "127.0.0.1:$tls"}
	END
	head -c 3000000 /dev/urandom >big
	run --separate-stderr in_bottle sh -c "for v in --http1.1 --http2; do
		curl -sS -m 20 \$v --data-binary @big https://up.test/echo | cmp - big && echo same
		curl -sS -m 20 \$v -T - https://up.test/echo -X POST <big | cmp - big && echo same; done"
	exits 0
	is $'same\nsame\nsame\nsame'
	audited 'r["bytes_up"] == 3000000 and r["bytes_down"] == 3000000 and r["protocol"] == "h2"'
	audited 'r["bytes_up"] == 3000000 and r["bytes_down"] == 3000000 and r["protocol"] == "http/1.1"'
}

@test "an answer that comes before the upload ends is the answer" {
	# In HTTP/1.1 only: curl 7.88 waits in vain after such an answer over HTTP/2, also without a proxy.
	head -c 3000000 /dev/zero >big
	run --separate-stderr in_bottle curl -sS -m 9 --http1.1 --data-binary @big https://up.test/ok
	exits 0
	is "up.test says POST /ok"
}

@test "a limit on the size of files, which the audit log reaches, ends the run with a sentence" {
	in_bottle true # the image is in the store
	long=$(printf '%01000d' 0)
	run --separate-stderr timeout 60 bash -c "ulimit -f 1024; exec '$bottle' run -f '$manifest_file' -- sh -c '
		curl -s -o /dev/null \"http://evil.test/$long/[1-20000]\"; echo all tried'"
	exits 125
	says "the audit log could not be written ("
	[[ $output != *"all tried"* ]]
	[ -z "$(ls "$XDG_RUNTIME_DIR"/bottle-runs 2>/dev/null)" ]
}

#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# The proxy and the gate under load and when they die, in a whole bottle: what passes is not kept in
# memory, nothing waits for the end of what streams, and a bottle without its proxy ends. (Reload and
# the rest of the proxy's life: tests/mitmproxy; the gate's: tests/unit.)
#
# For each proxy
# Takes: 300

load lib.bash

setup_file() {
	mkdir -p "$world"
	make_ca ca
	make_cert good ca DNS:up.test
	read -r tls back < <(free_ports 2)
	upstream_start "$back"
	tls_server "$tls" good up.test "$(behind_nginx "$back")" | nginx_start "$tls"
	echo "tls=$tls" >"$world/ports"
}

teardown_file() { world_end; }

setup() {
	bottle_setup
	routes <<<"    - {host: up.test, address: '127.0.0.1:$tls', path_allowlist: [/count, /bytes, /drip, /cut, /ok]}"
	big=$((100 * 1000 * 1000))
}

# proxy_of LAUNCHER: the process id of its bottle's proxy
proxy_of() {
	/usr/bin/python3 - "$1" <<-'END'
		import sys
		def words(pid):
		    with open(f"/proc/{pid}/cmdline", "rb") as file:
		        return file.read().replace(b"\0", b" ").decode("ascii", "replace")
		def below(pid):
		    with open(f"/proc/{pid}/task/{pid}/children") as file:
		        for child in file.read().split():
		            yield child
		            yield from below(child)
		found = [pid for pid in below(sys.argv[1]) if "egress-proxy" in words(pid) or "mitm" in words(pid)]
		sys.exit("no proxy") if not found else print(found[0])
	END
}

rss_kb() { awk '/^VmRSS/ { print $2 }' "/proc/$1/status"; }

# stays_flat SECONDS COMMANDS: run once as warm-up and once more, each within so many seconds, while
# the proxy's memory grows by less than 24 MB, a quarter of what passes. What they print is $output.
stays_flat() {
	echo "$2" >commands
	"$bottle" run -q -f "$manifest_file" -- sh -c 'for i in 1 2; do
		touch ready$i; until [ -e go$i ]; do sleep 0.02; done; sh ./commands; done' >out 2>err 3>&- &
	local launcher=$! proxy before after began
	wait_for test -e ready1
	proxy=$(proxy_of $launcher)
	touch go1
	wait_for test -e ready2
	before=$(rss_kb "$proxy")
	began=$(date +%s%3N)
	touch go2
	# The highest that it gets, not what is left at the end.
	after=$before
	while kill -0 $launcher 2>/dev/null && now=$(rss_kb "$proxy" 2>/dev/null) && [ -n "$now" ]; do
		[ "$now" -le "$after" ] || after=$now
		sleep 0.05
	done
	wait $launcher
	took=$(($(date +%s%3N) - began))
	output=$(cat out) stderr=$(cat err)
	echo "grew by $((after - before)) kB in $took ms; printed: $output; $stderr"
	[ $((after - before)) -lt 24576 ]
	[ "$took" -lt $(($1 * 1000)) ]
}

@test "a refused upload of 100 MB is answered at once and kept nowhere" {
	for version in --http1.1 --http2; do
		rm -f ready* go*
		stays_flat 6 "head -c $big /dev/zero | curl -sS -m 20 $version -o answer -w '%{http_code} %{size_upload}\n' -T - https://up.test/no 2>/dev/null; true"
		while read -r code sent; do
			[ "$code" -eq 403 ]
			[ "$sent" -lt $((big / 4)) ]
		done <<<"$output"
		grep -q path_not_allowed answer
	done
	not_seen .
}

@test "an allowed upload of 100 MB arrives whole, through a proxy that stays small" {
	expected="$big $(head -c $big /dev/zero | sha256sum | cut -d' ' -f1)"
	stays_flat 60 "head -c $big /dev/zero | curl -sS -m 50 -X POST -T - https://up.test/count"
	is "$expected"$'\n'"$expected"
	audited "r['bytes_up'] == $big and r['status'] == 200"
}

@test "a download of 100 MB arrives whole, through a proxy that stays small, also to a slow reader" {
	stays_flat 60 "curl -sS -m 50 https://up.test/bytes/$big | { sleep 1; wc -c; }"
	is "$big"$'\n'"$big"
	audited "r['bytes_down'] == $big and r['status'] == 200"
}

@test "each piece of an answer arrives when it was sent, not when the answer ends" {
	cat >drip.py <<-'END'
		import time, urllib.request
		late = []
		for line in urllib.request.urlopen("https://up.test/drip/6"):
		    late.append(time.time() - float(line.split()[1]))
		print(len(late), "late" if max(late[1:]) > 0.25 else "in time", late if max(late[1:]) > 0.25 else "")
	END
	run --separate-stderr in_bottle /usr/bin/python3 drip.py
	exits 0
	[[ $output == "6 in time"* ]]
}

@test "two hundred requests, fifty at a time" {
	for i in $(seq 200); do
		printf 'url = "https://up.test/ok/%d"\noutput = "/dev/null"\n' "$i"
	done >urls
	run --separate-stderr in_bottle curl -sS -m 50 --http1.1 --parallel --parallel-max 50 -w '%{http_code}\n' -K urls
	exits 0
	[ "$(grep -c '^200$' <<<"$output")" -eq 200 ]
	[ "$(grep -c 'GET /ok/' "$world/seen")" -eq 200 ]
	[ "$(audit | grep -c '"verdict":"allow"')" -eq 200 ]
}

# The gate resets what it cannot dial; the reset may come before the proxy has looked at its connection.
@test "each of three hundred requests that the gate cannot dial is answered at once" {
	read -r dead < <(free_ports 1)
	routes <<<"    - {host: dead.test, address: '127.0.0.1:$dead'}"
	run --separate-stderr in_bottle sh -c \
		'seq 300 | xargs -P 10 -I{} curl -sS -m 10 -o /dev/null -w "%{http_code}\n" https://dead.test/{} | sort | uniq -c'
	exits 0
	[ "$(xargs <<<"$output")" = "300 502" ]
}

@test "a client that leaves in the middle is in the log, and others go on" {
	for version in http1.1 http2; do
		run --separate-stderr in_bottle sh -c \
			"curl -sS --$version https://up.test/bytes/$big | head -c 1000 | wc -c; $(ask https://up.test/ok/1)"
		exits 0
		[[ $output == "1000"*"up.test says GET /ok/1"*200 ]]
		audited "r['path'].startswith('/bytes') and r['protocol'] == '${version/http2/h2}'.replace('http1', 'http/1')
			and r['verdict'] == 'error' and r['reason'] == 'client_closed'"
	done
}

@test "a server that breaks off is the server's fault in the log, and the client learns of it" {
	for version in http1.1 http2; do
		run --separate-stderr in_bottle curl -sS -m 20 -o /dev/null "--$version" https://up.test/cut/500000
		[ "$status" -ne 0 ]
		says "curl: ("
		audited "r['path'] == '/cut/500000' and r['protocol'] == '${version/http2/h2}'.replace('http1', 'http/1')
			and r['verdict'] == 'error' and r['reason'].startswith('upstream_')"
	done
}

# A bottle that waits, whose launcher's id is $launcher.
waiting_bottle() {
	"$bottle" run -q -f "$manifest_file" -- sh -c 'touch ready; trap "" TERM; while :; do echo >beat; sleep 0.05; done' 2>err 3>&- &
	launcher=$!
	wait_for test -e ready
}

ends_with_125() {
	status=0
	wait $launcher || status=$?
	stderr=$(cat err)
	exits 125
	says "$1"
	[ "$(wc -l <err)" -eq 1 ]
	rm -f beat
	sleep 0.3
	[ ! -e beat ]
}

@test "a proxy that is killed ends the bottle, which says so" {
	waiting_bottle
	kill -KILL "$(proxy_of $launcher)"
	ends_with_125 "the proxy ended with signal 9"
}

@test "a gate that is killed ends the bottle, which says so" {
	waiting_bottle
	kill -KILL "$(pgrep -P $launcher -f '^bottle: gate')"
	ends_with_125 "the gate was killed by signal 9"
}

@test "an init that is killed ends the bottle, which says so" {
	waiting_bottle
	kill -KILL "$(pgrep -P $launcher -f '^bottle: init')"
	# Whoever's message of it comes first.
	ends_with_125 "bottle: the "
}

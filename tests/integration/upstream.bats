#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# A second proxy on the way, squid, as companies have them: one port opens TLS with a CA of its own,
# one only passes it on, one is itself spoken to in TLS. Behind it stands nginx.
#
# For each proxy

load lib.bash

setup_file() {
	command -v squid >/dev/null || skip "squid-openssl is not installed"
	mkdir -p "$world/squid"
	make_ca ca
	make_ca hop
	make_ca stranger
	make_cert good ca DNS:up.test
	make_cert hop-tls hop IP:127.0.0.1
	read -r tls plain bump tunnel over_tls dead < <(free_ports 6)
	{
		tls_server "$tls" good up.test
		echo "server { listen 127.0.0.1:$plain; server_name up.test; }"
	} | nginx_start "$tls"
	/usr/lib/squid/security_file_certgen -c -s "$world/squid/db" -M 4MB >/dev/null
	echo "127.0.0.1 up.test denied.test" >"$world/squid/hosts"
	squid_conf >"$world/squid.conf"
	# By a name of its own: shared memory is named by it, and a squid of this host may have the usual one.
	start "$world/squid.log" squid -N -n "bottle$$" -f "$world/squid.conf"
	await_port "$bump"
	echo "tls=$tls plain=$plain bump=$bump tunnel=$tunnel over_tls=$over_tls dead=$dead" >"$world/ports"
}

squid_conf() {
	cat <<-END
		http_port 127.0.0.1:$bump name=bump ssl-bump tls-cert=$world/hop.pem tls-key=$world/hop.key generate-host-certificates=on
		http_port 127.0.0.1:$tunnel
		https_port 127.0.0.1:$over_tls tls-cert=$world/hop-tls.pem tls-key=$world/hop-tls.key
		sslcrtd_program /usr/lib/squid/security_file_certgen -s $world/squid/db -M 4MB
		sslcrtd_children 1
		tls_outgoing_options cafile=$world/ca.pem
		acl first at_step SslBump1
		acl bumped myportname bump
		ssl_bump peek bumped first
		ssl_bump bump bumped
		ssl_bump splice all
		acl bad urlpath_regex ^/bad
		acl bad_host dstdomain denied.test
		http_access deny bad
		http_access deny bad_host
		http_access allow localhost
		hosts_file $world/squid/hosts
		logformat seen %rm %ru %>Hs [%{Proxy-Authorization}>h] [%{Authorization}>h]
		access_log stdio:$world/hop-seen seen
		cache_log $world/squid/cache.log
		pid_filename $world/squid/pid
		coredump_dir $world/squid
		cache deny all
		cache_mem 1 MB
		shutdown_lifetime 0 seconds
		pinger_enable off
		buffered_logs off
	END
}

teardown_file() { world_end; }

setup() {
	bottle_setup
	: >"$world/hop-seen"
	export IT_HOP=$basic
}

# through URL CA [AUTH]: the manifest, with the routes that all tests have
through() {
	routes <<-END
		    - host: up.test
		      ports: [$tls, $plain]
		      path_allowlist: [/ok, /bad]
		    - host: denied.test
		      ports: [$tls]
		  upstream_proxy:
		    url: $1
		    ca: $2
		    ${3:+auth: $3}
	END
}

with_token() { sed -i 's/^      path_allowlist/      auth: {scheme: Bearer, token_ref: IT_TOKEN}\n&/; s/, '"$plain"']/]/' "$manifest_file"; }

hop_saw() {
	grep -E -q -- "$1" "$world/hop-seen" && return
	echo "the second proxy did not see /$1/, only:" && cat "$world/hop-seen"
	return 1
}

@test "one that opens TLS with its own CA, and a token for it that goes no further" {
	through "http://127.0.0.1:$bump" "$world/hop.pem" "{scheme: Basic, token_ref: IT_HOP}"
	with_token
	run --separate-stderr in_bottle sh -c "$(ask "https://up.test:$tls/ok/1") env"
	exits 0
	[[ $output == "up.test says GET /ok/1"*200* ]]
	hop_saw "^CONNECT up.test:$tls 200 \[Basic $basic\] \[-\]"
	hop_saw "^GET https://up.test:$tls/ok/1 200 \[-\] \[Bearer $token\]"
	seen "GET /ok/1 \[Bearer $token\] \[-\] \[-\]"
	has_not "$basic"
	has_not IT_HOP
	run ! grep -r -- "$basic" "$XDG_STATE_HOME"
}

@test "its 403 for the host is told and logged as its own" {
	through "http://127.0.0.1:$tunnel" none
	run --separate-stderr in_bottle sh -c "$(ask "https://denied.test:$tls/ok")"
	exits 0
	# The native proxy passes that proxy's own words on; mitmproxy keeps the status of a CONNECT alone.
	case $BOTTLE_EGRESS_PROXY_IMAGE in
	native) has ERR_ACCESS_DENIED ;;
	*) has '"reason": "upstream_proxy_refused"' ;;
	esac
	has $'\n403'
	says "1 request refused"
	says "(upstream_proxy_refused)"
	audited 'r["verdict"] == "deny" and r["reason"] == "upstream_proxy_refused" and r["host"] == "denied.test"'
}

@test "a 403 that came through it is passed on as it is, and marked" {
	through "http://127.0.0.1:$bump" "$world/hop.pem"
	run --separate-stderr in_bottle sh -c "$(ask "https://up.test:$tls/bad") $(ask "https://up.test:$tls/no")"
	exits 0
	has ERR_ACCESS_DENIED
	has path_not_allowed
	hop_saw "/bad 403"
	audited 'r["verdict"] == "allow" and r["reason"] == "denied_upstream" and r["status"] == 403'
	audited 'r["verdict"] == "deny" and r["reason"] == "path_not_allowed"'
	run ! grep -F /no "$world/hop-seen"
	not_seen .
}

@test "ca: none, where it does not open TLS: the server's own certificate is verified" {
	through "http://127.0.0.1:$tunnel" none
	run --separate-stderr in_bottle sh -c "$(ask "https://up.test:$tls/ok/2")"
	exits 0
	seen "GET /ok/2 "
	hop_saw "^CONNECT up.test:$tls 200"
	run ! grep -F /ok/2 "$world/hop-seen"
}

@test "the wrong ca is a 502 that says so, and nothing goes through" {
	for ca in none "$world/stranger.pem"; do
		through "http://127.0.0.1:$bump" "$ca"
		run --separate-stderr in_bottle sh -c "$(ask "https://up.test:$tls/ok/3")"
		exits 0
		has upstream_tls_verify
		has $'\n502'
		not_seen .
	done
}

@test "an upstream proxy that is spoken to in TLS" {
	through "https://127.0.0.1:$over_tls" "$world/hop.pem" "{scheme: Basic, token_ref: IT_HOP}"
	sed -i "s|^  extra_ca.*|  extra_ca: [\"$world/ca.pem\"]|" "$manifest_file"
	run --separate-stderr in_bottle sh -c "$(ask "https://up.test:$tls/ok/4")"
	exits 0
	hop_saw "^CONNECT up.test:$tls 200 \[Basic $basic\]"
	seen "GET /ok/4 "
	through "https://127.0.0.1:$over_tls" "$world/stranger.pem"
	run --separate-stderr in_bottle sh -c "$(ask "https://up.test:$tls/ok/5")"
	exits 0
	has $'\n502'
	not_seen /ok/5
}

@test "plain HTTP goes through it in the absolute form" {
	through "http://127.0.0.1:$tunnel" none "{scheme: Basic, token_ref: IT_HOP}"
	run --separate-stderr in_bottle sh -c "$(ask "http://up.test:$plain/ok/6") $(ask "http://up.test:$plain/no")"
	exits 0
	hop_saw "^GET http://up.test:$plain/ok/6 404 \[Basic $basic\]"
	seen "GET /ok/6 \[-\] \[-\] \[-\]"
	has path_not_allowed
}

@test "nothing goes around it: not when it is gone, not by address, not by the caller's NO_PROXY" {
	through "http://127.0.0.1:$dead" none
	sed -i "s/^    - host: up.test/&\n      address: 127.0.0.1/" "$manifest_file"
	NO_PROXY=up.test,.test no_proxy=up.test run --separate-stderr in_bottle sh -c "$(ask "https://up.test:$tls/ok")"
	exits 0
	has $'\n502'
	not_seen .
	through "http://127.0.0.1:$tunnel" none
	NO_PROXY=up.test no_proxy=up.test HTTPS_PROXY=http://127.0.0.1:1 run --separate-stderr in_bottle \
		sh -c "$(ask "https://up.test:$tls/ok")"
	exits 0
	hop_saw "^CONNECT up.test:$tls 200"
}

@test "a ca that is no certificate, or not there, is said before anything starts" {
	for ca in "$world/nowhere.pem" "$world/ca.key"; do
		through "http://127.0.0.1:$bump" "$ca"
		run --separate-stderr in_bottle touch started
		exits 125
		says "egress.upstream_proxy.ca"
		says "$ca"
		[ ! -e started ]
	done
}

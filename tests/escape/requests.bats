#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# Requests that are on no route, however they are spelled; names that do not agree; credentials; git.
#
# For each proxy
# Takes: 240

load lib.bash

setup_file() { world_start; }

teardown_file() { world_end; }

setup() { escape_setup; }

@test "REQ-1: a path that is not allowed is reached by no spelling" {
	manifest </dev/null
	run attack <<-'END'
		from inside import *
		paths = ["/", "/no", "/okay", "/OK", "/ok/../no", "/ok/..", "/ok/./../no", "/ok/%2e%2e/no", "/ok/%2E%2E/no", "/ok/.%2e/no", "/ok%2f..%2fno",
		         "/ok/%252e%252e/no", "/ok/%25252e%25252e/no", "/ok/..%2fno", "/ok/..;/no", "/ok;/../no", "/ok/..\\no", "/ok\\..\\no",
		         "/ok/%5c..%5cno", "//no", "//ok/../no", "/%6eo", "/no/%2e%2e/ok/..", "/no#/ok", "/no?/ok", "/no;/ok", "/no%3f/ok", "/no%23/ok",
		         "/ok/%c0%ae%c0%ae/no", "/ok/\xc0\xae\xc0\xae/no", "/ok/%uff0e%uff0e/no", "/ok/..%00/no", "/ok/..%0d%0a/no", "/no/../ok/../no",
		         "\\no", "no", "*", "http://up.test/no", "https://up.test/ok/../no", "http://other.test/ok", "@other.test/ok", "/ok/%2e%2e%2f%2e%2e%2fno",
		         "/ok/%", "/ok/%zz/../no", "/ok /../no", "/ok\t/../no", "/./no", "/.//no", "/ok/%2e%2e%2e/%2e%2e/%2e%2e/no"]
		for path in paths:
		    print(ascii(path), "->", https(path)[0])
		for path in ("/ok", "/ok/", "/ok/x?y=/../no", "/ok/a%20b"):
		    print("control", path, "->", https(path)[0])
	END
	exits 0
	[ "$(grep -c '^control .* -> 200$' <<<"$output")" -eq 4 ]
	[ "$(grep -c -- '-> 200$' <<<"$output")" -eq 4 ] || { grep -- '-> 200$' <<<"$output"; false; }
	[ "$(seen | grep -c '^https')" -eq 4 ] || { seen; false; }
}

@test "REQ-1: a host, a port, a method that is not on the route passes in no form" {
	manifest <<-END
		    - {host: plain.test, ports: [80], address: "127.0.0.1:$http_port", methods: [GET], path_allowlist: [/ok]}
	END
	run attack "$raw_port" "$http_port" <<-'END'
		import sys
		from inside import *
		raw, http = sys.argv[1:3]
		for target in ("evil.test:443", "127.0.0.1:" + raw, "[::1]:" + raw, "0:" + raw, "0x7f000001:" + raw, "2130706433:" + raw, "127.1:" + raw, "[::ffff:127.0.0.1]:" + raw,
		               "up.test:80", "up.test:22", "up.test:" + raw, "up.test", "up.test:443:443", "up.test.:443", "up.test@evil.test:443", "evil.test@up.test:443",
		               "up.test%00.evil.test:443", "xup.test:443", "up.test.evil.test:443", "test:443", "198.18.0.1:443", "198.18.0.2:80", "localhost:9099", "egress-proxy:9099"):
		    sock, status = tunnel(target)
		    print("CONNECT", target, "->", status)
		for target, host in (("http://evil.test/ok", "evil.test"), ("http://evil.test/ok", "plain.test"), ("http://plain.test/ok", "evil.test"), ("http://plain.test:22/ok", "plain.test:22"),
		                     (f"http://127.0.0.1:{http}/ok", f"127.0.0.1:{http}"), ("http://plain.test@evil.test/ok", "plain.test"), ("http://evil.test#@plain.test/ok", "plain.test"),
		                     ("http://evil.test\\@plain.test/ok", "plain.test"), ("//evil.test/ok", "plain.test"), ("/ok", "plain.test"), ("ftp://plain.test/ok", "plain.test"),
		                     ("http://plain.test/no", "plain.test"), ("http://plain.test/ok/../no", "plain.test"), ("http:/plain.test/ok", "plain.test"), ("http:plain.test/ok", "plain.test"),
		                     ("https://up.test/no", "up.test"), ("http://up.test/ok", "up.test"), ("http://egress-proxy:9099/", "egress-proxy:9099"), ("http://mitm.it/", "mitm.it")):
		    print("GET", target, host, "->", get(target, host, seconds=2))
		for method in (b"POST", b"PUT", b"DELETE", b"TRACE", b"OPTIONS", b"get", b"PROPFIND", b"GET\tGET"):
		    print("method", method, "->", said(say(method + b" http://plain.test/ok HTTP/1.1\r\nHost: plain.test\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", 2)))
		for extra in (b"X-HTTP-Method-Override: DELETE\r\n", b"Host: evil.test\r\n", b"X-Forwarded-Host: evil.test\r\nForwarded: host=evil.test\r\n"):
		    print("extra", extra, "->", get("http://plain.test/ok", "plain.test", extra))
		print("control", get("http://plain.test/ok", "plain.test"))
	END
	exits 0
	has "control 200"
	# A header that asks an upstream for something is no business of the proxy's; a second Host is.
	no_line '-> 200$' '^(CONNECT|GET|method|extra b.Host)'
	not_seen '^(raw|tls|https)'
	[ "$(seen | grep -c '^http GET /ok ')" -eq "$(seen | grep -c '^http ')" ]
	[ "$(seen | grep -c '^http ')" -le 3 ] || { seen; false; }
}

@test "REQ-1: no second request hides in the framing of the first" {
	manifest <<-END
		    - {host: plain.test, ports: [80], address: "127.0.0.1:$http_port", path_allowlist: [/ok]}
	END
	run attack <<-'END'
		from inside import *
		head = b"POST http://plain.test/ok HTTP/1.1\r\nHost: plain.test\r\n"
		hidden = b"GET /smuggled HTTP/1.1\r\nHost: plain.test\r\n\r\n"
		length = b"Content-Length: %d\r\n" % len(hidden)
		chunks = b"0\r\n\r\n" + hidden
		tries = {
		    "cl.te": length + b"Transfer-Encoding: chunked\r\n\r\n" + chunks,
		    "te.te": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n" + chunks,
		    "te space": b"Transfer-Encoding : chunked\r\n\r\n" + chunks,
		    "te tab": b"Transfer-Encoding:\tchunked\r\nContent-Length: 5\r\n\r\n" + chunks,
		    "te x": b"Transfer-Encoding: xchunked\r\n\r\n" + chunks,
		    "te fold": b"Transfer-Encoding:\r\n chunked\r\n\r\n" + chunks,
		    "cl.cl": b"Content-Length: 0\r\n" + length + b"\r\n" + hidden,
		    "cl,cl": b"Content-Length: 0, %d\r\n\r\n" % len(hidden) + hidden,
		    "cl +": b"Content-Length: +0\r\n\r\n" + hidden,
		    "cl hex": b"Content-Length: 0x0\r\n\r\n" + hidden,
		    "bare lf": b"X: y\nContent-Length: 0\n\n" + hidden,
		    "bare cr": b"X: y\rContent-Length: 0\r\n\r\n" + hidden,
		    "nul": b"X: \0\r\nContent-Length: 0\r\n\r\n" + hidden,
		    "chunk ext": b"Transfer-Encoding: chunked\r\n\r\n0;\n\r\n\r\n" + hidden,
		    "chunk size": b"Transfer-Encoding: chunked\r\n\r\n0x0\r\n\r\n" + hidden,
		    "chunk lf": b"Transfer-Encoding: chunked\r\n\r\n0\n\n" + hidden,
		    "pipelined": b"Content-Length: 0\r\n\r\n" + hidden,
		    "pipelined absolute": b"Content-Length: 0\r\n\r\n" + hidden.replace(b"GET /", b"GET http://plain.test/"),
		    "header crlf": b"X: a\r\n\r\n" + hidden,
		}
		for name, rest in tries.items():
		    print(name, "->", said(say(head + rest, 1)))
		print("in a target", get("http://plain.test/ok HTTP/1.1\r\nX: y\r\n\r\nGET /smuggled", "plain.test", seconds=1))
		print("control", said(say(head + b"Content-Length: 2\r\nConnection: close\r\n\r\nhi")))
	END
	exits 0
	has "control 200"
	not_seen 'smuggled'
	is_seen '^http POST /ok '
}

@test "REQ-2: CONNECT's target, SNI and Host must be one name" {
	manifest <<-END
		    - {host: other.test, address: "127.0.0.1:$tls_port", path_allowlist: [/other]}
	END
	run attack <<-'END'
		from inside import *
		names = {"up": "up.test", "other": "other.test", "evil": "evil.test"}
		for connect in names.values():
		    for sni in (*names.values(), None):
		        for host in names.values():
		            if not connect == sni == host:
		                for path in ("/ok", "/other"):
		                    print(connect, sni, host, path, "->", https(path, f"{connect}:443", sni, host)[0])
		for host in ("up.test:80", "up.test:444", "up.test.", "UP.TEST.evil.test", "other.test:443", "", " ", "up.test, other.test", "up.test\r\nHost: other.test", "[up.test]", "up.test/x", "u@up.test"):
		    print("Host", ascii(host), "->", https("/ok", host=host)[0])
		for target in ("http://other.test/other", "https://other.test/other", "https://evil.test/ok"):
		    print("absolute", target, "->", https(target)[0])
		sock, _ = tunnel("up.test:443")
		with tls(sock, "up.test") as inner:
		    inner.sendall(b"CONNECT other.test:443 HTTP/1.1\r\nHost: other.test:443\r\n\r\n")
		    print("nested ->", said(read_all(inner, 2)))
		for connect, path in (("up.test", "/ok"), ("other.test", "/other")):
		    print("control", https(path, f"{connect}:443", connect, connect)[0])
		print("control", https("/ok", "UP.test:443", "up.TEST", "Up.Test:443")[0])
	END
	exits 0
	[ "$(grep -c '^control 200$' <<<"$output")" -eq 3 ]
	# Without an SNI the other two may agree: then the names do not contradict each other.
	output=$(grep -v -E '^(up.test None up.test /ok|other.test None other.test /other) ' <<<"$output")
	no_line '-> 200$'
	not_seen '^https CONNECT'
	[ "$(seen | grep '^https' | grep -v -c 'host", "\(up\|other\).test"')" -eq 0 ] || { seen; false; }
	[ "$(seen | grep -c '^https')" -le 5 ] || { seen; false; }
}

@test "REQ-3: the agent's own credentials go, the route's come, and neither without TLS" {
	manifest <<-END
		    - {host: plain.test, ports: [80], address: "127.0.0.1:$http_port", auth: {scheme: Bearer, token_ref: ESCAPE_TOKEN}}
		    - {host: other.test, address: "127.0.0.1:$tls_port", auth: {header: x-api-key, token_ref: ESCAPE_TOKEN}}
	END
	run attack <<-'END'
		from inside import *
		mine = ["Authorization: Bearer mine-1", "authorization: Basic mine-2", "AUTHORIZATION:mine-3", "Proxy-Authorization: Basic mine-4",
		        "X-Api-Key: mine-5", "x-api-key: mine-6", "X-API-KEY:mine-7"]
		print("bearer", https("/ok", headers=mine[:4])[0])
		print("key", https("/", "other.test:443", "other.test", "other.test", headers=mine[4:])[0])
		print("named in connection", https("/ok", headers=[*mine[:1], "Connection: authorization"])[0])
		print("folded", https("/ok", headers=["X: y", " Authorization: mine-8", "Authorization : mine-9"])[0])
		print("plain", get("http://plain.test/", "plain.test", b"Authorization: Bearer mine-0\r\n"))
		print("plain tunnel", ascii(tunnel("plain.test:80")[1]))
	END
	exits 0
	has "bearer 200"
	has "key 200"
	has "plain 403"
	is_seen "\"authorization\", \"Bearer $token\""
	is_seen "\"x-api-key\", \"$token\""
	not_seen 'mine-'
	not_seen '^http '
	[ "$(seen | grep -o '"authorization"' | wc -l)" -eq "$(seen | grep -c '^https GET /ok')" ]
	audited "r['host'] == 'plain.test' and r['reason'] == 'auth_needs_tls'"
	if audit | grep "$token"; then false; fi
}

@test "REQ-4: git push is refused, in every spelling of its three requests" {
	manifest <<-END
		    - {host: other.test, address: "127.0.0.1:$tls_port"}
	END
	run attack <<-'END'
		from inside import *
		git = lambda path, **more: https(path, "other.test:443", "other.test", "other.test", **more)[0]
		refs = "/r.git/info/refs"
		for query in ("?service=git-receive-pack", "?service=git%2dreceive%2Dpack", "?%73ervice=git-receive-pack", "?service=git-upload-pack&service=git-receive-pack",
		              "?x=1&service=git-receive-pack", "?service=git-receive-pack#", "?service=git-receive-pack&", "?service=git-receive-pack%20", "?service=GIT-RECEIVE-PACK",
		              "?service=git-receive-pack;x", "?;service=git-receive-pack", "?service=%67%69%74-receive-pack"):
		    print("refs", query, "->", git(refs + query))
		for path in ("/r.git/info%2frefs?service=git-receive-pack", "/r.git/info/ref%73?service=git-receive-pack", "//r.git//info//refs?service=git-receive-pack"):
		    print("refs", path, "->", git(path))
		for path in ("/r.git/git-receive-pack", "/r.git/git-receive-pack/", "/r.git/git%2dreceive-pack", "/r.git/%67it-receive-pack", "/r.git/git-receive-pack?x", "/r.git//git-receive-pack",
		             "/r.git/git-receive-pack;x", "/r.git/git-receive%252dpack"):
		    for method in ("POST", "PUT", "GET"):
		        print("pack", method, path, "->", git(path, method=method, body=b"0000", headers=["Content-Type: application/x-git-receive-pack-request"]))
		print("type", git("/r.git/innocent", method="POST", body=b"0000", headers=["Content-Type: application/x-git-receive-pack-request"]))
		print("control", git(refs + "?service=git-upload-pack"))
		print("control", git("/r.git/git-upload-pack", method="POST", body=b"0000"))
	END
	exits 0
	[ "$(grep -c '^control 200$' <<<"$output")" -eq 2 ]
	no_line '-> 200$'
	audited "r['reason'] == 'git_push'"
}

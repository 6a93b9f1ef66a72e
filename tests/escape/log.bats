#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# What stands in the audit log and on the caller's terminal of what the program inside sent.
#
# For each proxy

load lib.bash

setup_file() { world_start; }

teardown_file() { world_end; }

setup() { escape_setup; }

# Each line is one JSON object of printable ASCII, from a source of ours, of this run, not too long.
log_is_sound() {
	audit >"$BATS_TEST_TMPDIR/log"
	/usr/bin/python3 - "$BATS_TEST_TMPDIR/log" <<-'END'
		import json, sys
		data = open(sys.argv[1], "rb").read()
		assert data.endswith(b"\n") and all(0x20 <= byte < 0x7f or byte == 10 for byte in data)
		lines = data.decode().splitlines()
		rows = [json.loads(line) for line in lines]
		assert all(isinstance(row, dict) and row["source"] in ("proxy", "gate") and row["event"] for row in rows)
		assert len({row["run"] for row in rows}) == 1, "a run that was not ours"
		assert max(map(len, lines)) <= 20000
		assert not any(row.get("host") == "forged.test" and row.get("event") == "request" and row.get("verdict") == "allow" for row in rows)
		print(len(rows), "records", len(data), "bytes")
	END
}

@test "LOG-1: no request forges, breaks or colours a line" {
	manifest <<-END
		    - {host: plain.test, ports: [80], address: "127.0.0.1:$http_port", path_allowlist: [/ok]}
	END
	OPTIONS=()
	run "$bottle" run -f "$BATS_TEST_TMPDIR/b.yaml" -- /usr/bin/python3 - <<-'END'
		from inside import *
		forged = b'{"ts":"2026-01-01T00:00:00.000Z","run":"x","source":"gate","event":"request","verdict":"allow","host":"forged.test"}'
		pieces = [b"\n" + forged + b"\n", b"\r\n" + forged + b"\r\n", b'","verdict":"allow","host":"forged.test","x":"', b"\x1b[2J\x1b]0;owned\x07\x1b[31m", b"\x9b31m", b"\0", b"\x7f\x08\x08", b"\xff\xfe",
		          b"\xe2\x80\xae\xe2\x80\xa8\xe2\x80\xa9", b"\xc2\x9b31m", b"\\u001b[31m", b"%0a" + forged.replace(b'"', b"%22"), b"A" * 60000, b"\xf0\x9f\x92\xa9" * 3000, b"[" * 30000, b"\xed\xa0\x80"]
		for piece in pieces:
		    say(b"GET http://plain.test/ok/" + piece + b" HTTP/1.1\r\nHost: plain.test\r\nConnection: close\r\n\r\n", 1)
		    say(b"GET http://plain.test/ok?" + piece + b"=1 HTTP/1.1\r\nHost: plain.test\r\nConnection: close\r\n\r\n", 1)
		    say(b"GET http://" + piece + b"/ HTTP/1.1\r\nHost: " + piece + b"\r\nConnection: close\r\n\r\n", 1)
		    say(piece + b" http://plain.test/ok HTTP/1.1\r\nHost: plain.test\r\nConnection: close\r\n\r\n", 1)
		    say(b"CONNECT " + piece + b":443 HTTP/1.1\r\nHost: x\r\n\r\n", 1)
		    say(piece, 0.3)
		print(https("/ok")[0])
	END
	exits 0
	has 200
	log_is_sound
	# The summary at the end names what was refused.
	[ "$(LC_ALL=C grep -c '[^[:print:][:space:]]' <<<"$output")" -eq 0 ]
	audited "r['verdict'] == 'deny' and r['source'] == 'proxy'"
}

@test "LOG-1: names that are asked of the gate forge nothing either" {
	manifest <<-'END'
		    - {host: "*.wild.test"}
	END
	run attack <<-'END'
		from inside import *
		for name in ("a.wild.test", "a\x1b[31m.wild.test", 'a","x":".wild.test', "a\nb.wild.test", "A" * 63 + ".wild.test", "a%0a.wild.test", "-.wild.test", "a..wild.test", "*.wild.test", "\xff.wild.test"):
		    sock = socket.create_connection(PROXY)
		    sock.sendall(b"CONNECT " + name.encode("latin-1") + b":443 HTTP/1.1\r\nHost: x\r\n\r\n")
		    print(ascii(name), said(read_all(sock, 1)))
		print(https("/", "a.wild.test:443", "a.wild.test", "a.wild.test")[0])
	END
	exits 0
	log_is_sound
}

@test "LOG-1: a flood of refusals leaves a log of bounded size and the run its exit status" {
	manifest </dev/null
	run attack <<-'END'
		import threading, time
		from inside import *
		end, sent = time.monotonic() + 8, [0]
		def flood():
		    while time.monotonic() < end:
		        with socket.create_connection(PROXY) as sock:
		            for _ in range(200):
		                sock.sendall(b"GET http://" + b"a" * 200 + b".flood.test/" + b"B" * 7000 + b" HTTP/1.1\r\nHost: " + b"a" * 200 + b".flood.test\r\n\r\n")
		                sent[0] += 1
		                if not sock.recv(65536):
		                    break
		threads = [threading.Thread(target=flood) for _ in range(4)]
		[thread.start() for thread in threads]
		[thread.join() for thread in threads]
		print("sent", sent[0])
	END
	exits 0
	echo "$output"
	log_is_sound
	[ "$(stat -c %s "$XDG_STATE_HOME"/bottle/escape/egress.jsonl)" -le $((80 * 1024 * 1024)) ]
}

@test "LOG-1: the log is not where the program inside could write" {
	manifest </dev/null
	OPTIONS=(--read-write "$XDG_STATE_HOME")
	run in_bottle true
	exits 125
	OPTIONS=(--workdir "$BATS_TEST_TMPDIR")
	run in_bottle true
	exits 125
	mkdir -p "$XDG_STATE_HOME/bottle/escape"
	echo victim >"$BATS_TEST_TMPDIR/victim"
	ln -s "$BATS_TEST_TMPDIR/victim" "$XDG_STATE_HOME/bottle/escape/egress.jsonl"
	OPTIONS=()
	run in_bottle true
	exits 125
	[ "$(cat "$BATS_TEST_TMPDIR/victim")" = victim ]
}

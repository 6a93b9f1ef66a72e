#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# Sockets in the system's folders, which are shown without being named: only root may put one there.
# Runs as: root

load lib.bash

setup_file() { use_tiny_image; }

setup() {
	[ "$(id -u)" -eq 0 ] || skip "only root may put a file there"
	use_tiny_image
	escape_setup
	echo 'egress: {routes: [{host: up.test}]}' >"$BATS_TEST_TMPDIR/b.yaml"
	folder=$(mktemp -d /opt/bottle-escape-test.XXXXXX)
}

teardown() {
	[ -z "${server-}" ] || kill "$server"
	[ -z "${folder-}" ] || rm -rf "$folder"
}

@test "NET-6: a service's socket below /opt is not reached" {
	/usr/bin/python3 - "$folder/s" 3>&- <<-'END' &
		import os, socket, sys
		sock = socket.socket(socket.AF_UNIX)
		sock.bind(sys.argv[1])
		os.chmod(sys.argv[1], 0o777)
		sock.listen()
		while True:
		    sock.accept()[0].sendall(b"reached")
	END
	server=$!
	ask='
import socket, sys
try:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(sys.argv[1])
        print(sock.recv(20))
except OSError as error:
    print(error)'
	until [[ ${control-} == *reached* ]]; do
		control=$(/usr/bin/python3 -c "$ask" "$folder/s")
	done
	chmod 755 "$folder"
	run in_bottle /usr/bin/python3 -c "$ask" "$folder/s"
	exits 0
	has_not reached
}

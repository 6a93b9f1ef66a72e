#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# The host's files: what is written outside, what an earlier run left to redirect the next, the files
# that the caller's own tools obey, sockets in shown folders.

load lib.bash

setup_file() { use_tiny_image; }

setup() {
	use_tiny_image
	escape_setup
	outside=$BATS_TEST_TMPDIR/outside
	mkdir -p "$outside"
	echo secret >"$outside/secret"
	echo 'egress: {routes: [{host: up.test}]}' >"$BATS_TEST_TMPDIR/b.yaml"
}

also() { cat >>"$BATS_TEST_TMPDIR/b.yaml"; }

@test "FILE-1: nothing is written outside the work folder and read_write" {
	mkdir -p "$outside/ro/sub" "$outside/rw"
	echo kept | tee "$outside/ro/file" >"$outside/ro/sub/file"
	also <<<"agent: {read_only: [$outside/ro], read_write: [$outside/rw]}"
	run attack "$outside" "$HOME" <<-'END'
		import sys
		from inside import *
		outside, home = sys.argv[1:3]
		print("control", writes("mine"), writes(outside + "/rw/mine"))
		for path in (outside + "/ro/new", outside + "/ro/file", outside + "/ro/sub/file", "/new", "/etc/passwd", "/etc/new", "/usr/bin/new",
		             "/opt/new", "/bin/new", "/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/proc/sys/kernel/hostname", "/proc/1/oom_score_adj",
		             "/proc/self/root/etc/new", "/sys/kernel/uevent_helper", "/run/bottle/ca.pem", "/etc/hosts", "/etc/resolv.conf",
		             "/etc/ssl/certs/ca-certificates.crt", "/dev/null/x", "/proc/kmsg"):
		    print("write", path, writes(path))
		for call_, path in ((os.chmod, outside + "/ro/file"), (os.chmod, "/etc/passwd"), (os.chmod, outside + "/ro")):
		    try:
		        print("chmod", path, "done", call_(path, 0o777))
		    except OSError as error:
		        print("chmod", path, error.strerror)
		for old, new in ((outside + "/ro/file", outside + "/ro/moved"), (outside + "/ro/file", "mine2"), (outside + "/ro", outside + "/x"), ("/etc/passwd", "/etc/p")):
		    for move in (os.rename, os.link):
		        try:
		            print("move", old, "done", move(old, new))
		        except OSError as error:
		            print("move", old, error.strerror)
		for path in (outside + "/ro/file", outside + "/ro/sub/file"):
		    try:
		        print("unlink", path, "done", os.unlink(path))
		    except OSError as error:
		        print("unlink", path, error.strerror)
		# These may be written: they are the bottle's own, whatever stands there outside.
		for path in (outside + "/x-escape", "/proc/self/cwd/../x-escape", "/dev/sda", "/dev/kmsg", home + "/x-escape", "/tmp/x-escape", "/var/tmp/x-escape", "/run/x-escape", "/dev/shm/x-escape"):
		    print("own", path, writes(path))
		print("listed", sorted(os.listdir(outside)))
	END
	exits 0
	has "control written written"
	[ -s mine ] && [ -s "$outside/rw/mine" ]
	no_line '^write' ' written$'
	has_not " done "
	has "listed ['ro', 'rw', 'x-escape']"
	[ "$(cat "$outside/ro/file" "$outside/ro/sub/file")" = "$(printf 'kept\nkept')" ]
	[ "$(stat -c %a "$outside/ro/file")" != 777 ]
	[ ! -e "$outside/../x-escape" ] && [ ! -e "$HOME/x-escape" ] && [ ! -e /tmp/x-escape ] && [ ! -e /var/tmp/x-escape ] && [ ! -e /dev/shm/x-escape ]
	[ "$(find "$outside" | wc -l)" -eq 8 ] || { find "$outside"; false; }
}

@test "FILE-1: read-only mounts are not mounted anew, opened another way or left by a handle" {
	mkdir -p "$outside/ro"
	echo kept >"$outside/ro/file"
	also <<<"agent: {read_only: [$outside/ro]}"
	run attack "$outside/ro" <<-'END'
		import sys
		from inside import *
		ro = sys.argv[1].encode()
		MS_REMOUNT, MS_BIND = 32, 4096
		print("remount", call(165, None, ro, None, MS_REMOUNT | MS_BIND, None))
		print("bind", call(165, ro, b"/tmp", None, MS_BIND, None))
		print("umount", call(166, ro, 2), call(166, b"/etc/hosts", 2))
		print("open_tree", call(428, -100, ro, 1))
		print("mount_setattr", call(442, -100, ro, 0x8000, bytes(32), 32))
		fd = os.open(ro + b"/file", os.O_RDONLY)
		for flags in (os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_TRUNC):
		    try:
		        print("reopened", os.open(f"/proc/self/fd/{fd}", flags))
		    except OSError as error:
		        print("reopen", error.strerror)
		print("ftruncate", call(77, fd, 0), "truncate", call(76, ro + b"/file", 0))
		handle = ctypes.create_string_buffer((128).to_bytes(4, "little") + bytes(140))
		mount = ctypes.c_int()
		print("name_to_handle_at", call(303, -100, ro + b"/file", handle, ctypes.byref(mount), 0), "open_by_handle_at", call(304, fd, handle, os.O_RDWR))
		print("chroot", call(161, b"/tmp"), "pivot_root", call(155, b".", b"."))
		print("mknod", call(133, b"/tmp/dev", 0o60666, 0xfe00), call(133, b"disk", 0o60666, 0xfe00))
		os.chdir("/")
		print("above", os.path.samefile("/", "/.."), os.path.samefile("/", "/proc/self/root/.."))
	END
	exits 0
	for name in remount bind umount open_tree mount_setattr; do
		[[ $(grep "^$name" <<<"$output") != *ok* ]] || { echo "$output"; false; }
	done
	[ "$(grep -c '^reopen Permission denied\|^reopen Read-only' <<<"$output")" -eq 3 ] || { echo "$output"; false; }
	has "open_by_handle_at E"
	has "chroot E"
	has "pivot_root E"
	has "mknod EPERM EPERM"
	has "above True True"
	[ "$(cat "$outside/ro/file")" = kept ]
}

@test "FILE-2: a symlink that an earlier run left in the work folder redirects no bind" {
	mkdir sub
	also <<<"agent: {read_write: [$work/sub]}"
	run in_bottle touch sub/first
	exits 0
	run in_bottle sh -c 'rmdir sub; mv sub sub2; ln -s "$1" sub' - "$outside"
	rm -rf sub
	ln -s "$outside" sub
	run in_bottle sh -c 'cat sub/secret; echo changed >sub/secret; touch sub/new'
	has_not secret$'\n'
	[ "$(cat "$outside/secret")" = secret ] && [ ! -e "$outside/new" ]
	exits 125
	rm sub
	mkdir deep
	ln -s "$BATS_TEST_TMPDIR" deep/up
	printf 'egress: {routes: [{host: up.test}]}\nagent: {read_write: [%s]}\n' "$work/deep/up/outside" >"$BATS_TEST_TMPDIR/b.yaml"
	run in_bottle touch "$outside/new"
	exits 125
	[ ! -e "$outside/new" ]
}

@test "FILE-2: a symlink that an earlier run left in a read_write folder redirects no bind" {
	mkdir -p "$BATS_TEST_TMPDIR/data/cache"
	also <<<"agent: {read_write: [$BATS_TEST_TMPDIR/data]}"
	run in_bottle sh -c 'rmdir "$1/cache" && ln -s "$2" "$1/cache"' - "$BATS_TEST_TMPDIR/data" "$outside"
	exits 0
	[ -L "$BATS_TEST_TMPDIR/data/cache" ]
	# The next run's manifest names the folder in which the link now stands as well.
	printf 'egress: {routes: [{host: up.test}]}\nagent: {read_write: [%s]}\n' \
		"$BATS_TEST_TMPDIR/data, $BATS_TEST_TMPDIR/data/cache" >"$BATS_TEST_TMPDIR/b.yaml"
	run in_bottle sh -c 'cat "$1/secret"; touch "$1/new"' - "$outside"
	echo "$output"
	[ ! -e "$outside/new" ]
	has_not "secret"$'\n'
}

@test "FILE-2: a symlink that an earlier run left under the name of the next one's folder is not followed" {
	mkdir sub
	run in_bottle sh -c 'mv sub sub.old; ln -s "$1" sub' - "$outside"
	[ -L sub ]
	for option in "--workdir sub" "--read-only $work/sub" "--read-write $work/sub"; do
		# shellcheck disable=SC2086
		run "$bottle" run -q $option -f "$BATS_TEST_TMPDIR/b.yaml" -- sh -c 'cat secret sub/secret; touch new sub/new'
		exits 125
		has "an earlier run may have made"
	done
	also <<<"agent: {workdir: $work/sub}"
	run in_bottle touch new
	exits 125
	[ ! -e "$outside/new" ]
}

@test "FILE-2: guarded names that are symlinks are not followed out of the work folder" {
	ln -s "$outside/secret" bottle.yaml
	ln -s "$outside" .git
	ln -s "$outside" .vscode
	run in_bottle sh -c 'cat bottle.yaml .git/secret .vscode/secret; echo changed >bottle.yaml; echo x >.git/new'
	has_not "secret"$'\n'
	[ "$(cat "$outside/secret")" = secret ] && [ ! -e "$outside/new" ]
}

@test "NET-6: a unix socket in a shown folder is not reached" {
	mkdir -p below/deep "$outside/ro"
	also <<<"agent: {read_only: [$outside/ro]}"
	/usr/bin/python3 - below/deep/s "$outside/ro/s" below/relative 3>&- <<-'END' &
		import os, selectors, socket, sys
		select = selectors.DefaultSelector()
		for path in sys.argv[1:]:
		    os.chdir(os.path.dirname(os.path.abspath(path))) if "relative" in path else None
		    sock = socket.socket(socket.AF_UNIX)
		    sock.bind("relative" if "relative" in path else os.path.abspath(path))
		    sock.listen()
		    select.register(sock, selectors.EVENT_READ)
		open("../listening" if os.path.basename(os.getcwd()) == "below" else "listening", "w").close()
		while True:
		    for key, _ in select.select():
		        key.fileobj.accept()[0].sendall(b"reached")
	END
	server=$!
	until [ -e listening ]; do sleep 0.05; done
	ask='
import socket, sys
for path in sys.argv[1:]:
    try:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(path)
            print(path, sock.recv(20))
    except OSError as error:
        print(path, error)'
	control=$(/usr/bin/python3 -c "$ask" below/deep/s "$outside/ro/s" below/relative)
	run in_bottle /usr/bin/python3 -c "$ask" below/deep/s "$outside/ro/s" below/relative "/proc/self/cwd/below/deep/s"
	kill "$server"
	[ "$(grep -c reached <<<"$control")" -eq 3 ] || { echo "$control"; false; }
	exits 0
	has_not reached
	run in_bottle sh -c 'ln below/deep/s linked; mv below/deep/s moved; rm -f below/deep/s; mv below/deep away; ls away'
	[ ! -e linked ] && [ ! -e moved ] && [ -S away/s ]
}

@test "NET-6: a FIFO in a folder that is shown read-only is neither written nor read" {
	mkdir -p "$outside/ro/deep"
	mkfifo "$outside/ro/fifo" "$outside/ro/deep/fifo" own
	chmod 666 "$outside/ro/fifo" "$outside/ro/deep/fifo"
	also <<<"agent: {read_only: [$outside/ro]}"
	# Opened for both, so that neither side waits for the other.
	exec 8<>"$outside/ro/fifo" 9<>"$outside/ro/deep/fifo"
	run attack "$outside/ro" <<-'END'
		import sys
		from inside import *
		for path in (sys.argv[1] + "/fifo", sys.argv[1] + "/deep/fifo", "own"):
		    for flags in (os.O_WRONLY, os.O_RDWR, os.O_RDONLY):
		        try:
		            fd = os.open(path, flags | os.O_NONBLOCK)
		            print(path, "opened", flags, flags and os.write(fd, b"from inside"))
		        except OSError as error:
		            print(path, error.strerror)
	END
	got=$(timeout 1 head -c 4 <&8 || true; timeout 1 head -c 4 <&9 || true)
	exec 8>&- 9>&-
	exits 0
	[ -z "$got" ]
	no_line '/fifo' opened
	has "own opened" # its own to write
}

@test "NET-6: a path that is a socket is not shown at all" {
	/usr/bin/python3 -c 'import socket, sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])' "$outside/sock"
	for key in read_only read_write; do
		printf 'egress: {routes: [{host: up.test}]}\nagent: {%s: [%s]}\n' "$key" "$outside/sock" >"$BATS_TEST_TMPDIR/b.yaml"
		run in_bottle true
		exits 125
		has "unix socket"
	done
	ln -s "$outside/sock" "$outside/link"
	printf 'egress: {routes: [{host: up.test}]}\nagent: {read_only: [%s]}\n' "$outside/link" >"$BATS_TEST_TMPDIR/b.yaml"
	run in_bottle true
	exits 125
}

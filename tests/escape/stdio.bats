#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# The caller's descriptors and its terminal.

load lib.bash

setup_file() {
	world_start
	use_tiny_image
}

teardown_file() { world_end; }

setup() {
	use_tiny_image
	escape_setup
	echo 'egress: {routes: [{host: up.test}]}' >"$BATS_TEST_TMPDIR/b.yaml"
	export BOTTLE_COMMAND="$bottle run -q -f $BATS_TEST_TMPDIR/b.yaml --"
}

@test "FILE-4: a socket as stdin, stdout, stderr or another descriptor is no socket inside" {
	cat >look.py <<-'END'
		import socket
		from inside import *
		print("descriptors", sorted(int(name) for name in os.listdir("/proc/self/fd"))[:-1])
		for fd in list(range(3)) + [9, 10, 255]:
		    try:
		        print(fd, os.readlink(f"/proc/self/fd/{fd}").split(":")[0])
		    except OSError as error:
		        print(fd, error.strerror)
		    try:
		        with socket.socket(fileno=os.dup(fd)) as sock:
		            print("SOCKET", fd, sock.family, sock.getpeername())
		            sock.sendall(b"sent from inside")
		            sock.sendmsg([b"x"], [], 0, ("127.0.0.1", 9))
		    except (OSError, ValueError) as error:
		        print(fd, error)
	END
	# Datagrams: whoever had the socket could send one anywhere (sendto with an address).
	# shellcheck disable=SC2086
	run /usr/bin/python3 - "$raw_port" "$udp_port" $BOTTLE_COMMAND /usr/bin/python3 look.py <<-'END'
		import os, socket, subprocess, sys
		raw, udp, *command = sys.argv[1:]
		for kind, port in ((socket.SOCK_STREAM, raw), (socket.SOCK_DGRAM, udp)):
		    sock = socket.socket(socket.AF_INET, kind)
		    sock.connect(("127.0.0.1", int(port)))
		    os.dup2(sock.fileno(), 9, inheritable=True)
		    print(subprocess.run(command, stdin=sock, pass_fds=[9], capture_output=True, text=True))
		ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
		print(subprocess.run(command, stdin=theirs, capture_output=True, text=True))
		ours, theirs = socket.socketpair()
		subprocess.run(command, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs)
		theirs.close()
		print("by the socket:", b"".join(iter(lambda: ours.recv(65536), b"")).decode())
	END
	exits 0
	has "descriptors [0, 1, 2]"
	has "by the socket: descriptors"
	has_not "SOCKET"
	not_seen 'sent from inside'
}

@test "FILE-4: a file that was opened for reading is not opened for writing" {
	mkdir "$BATS_TEST_TMPDIR/outside"
	echo kept >"$BATS_TEST_TMPDIR/outside/file"
	cat >look.py <<-'END'
		from inside import *
		for fd in (0, 1, 2, 9):
		    for name in (f"/proc/self/fd/{fd}", f"/dev/fd/{fd}", "/dev/stdin"):
		        for flags in (os.O_WRONLY, os.O_RDWR, os.O_RDWR | os.O_TRUNC, os.O_RDONLY):
		            try:
		                new = os.open(name, flags | os.O_NONBLOCK)
		                os.write(new, b"written from inside")
		            except OSError:
		                pass
		    for use in (lambda: os.ftruncate(fd, 0), lambda: os.lseek(fd, 0, 0), lambda: os.pwrite(fd, b"written from inside", 0), lambda: os.write(fd, b"written from inside") if fd != 1 else 0,
		                lambda: os.fchmod(fd, 0o777), lambda: os.fchdir(fd), lambda: os.link(f"/proc/self/fd/{fd}", "linked", follow_symlinks=True)):
		        try:
		            use()
		        except OSError:
		            pass
		print("was read:", os.path.exists("linked"))
	END
	run "$bottle" run -q -f "$BATS_TEST_TMPDIR/b.yaml" -- /usr/bin/python3 look.py <"$BATS_TEST_TMPDIR/outside/file" 9<"$BATS_TEST_TMPDIR/outside" 2>>"$BATS_TEST_TMPDIR/outside/log"
	exits 0
	has "was read: False"
	[ "$(cat "$BATS_TEST_TMPDIR/outside/file")" = kept ]
	[ "$(stat -c %a "$BATS_TEST_TMPDIR/outside/file")" != 777 ]
	run "$bottle" run -q -f "$BATS_TEST_TMPDIR/b.yaml" -- sh -c 'cat; echo added' <"$BATS_TEST_TMPDIR/outside/file"
	[ "$output" = $'kept\nadded' ]
}

@test "FILE-4: an output file that is appended to is not read, cut or written elsewhere" {
	echo "old line with a secret" >"$BATS_TEST_TMPDIR/log"
	"$bottle" run -q -f "$BATS_TEST_TMPDIR/b.yaml" -- /usr/bin/python3 - >>"$BATS_TEST_TMPDIR/log" <<-'END'
		import os
		for name in ("/proc/self/fd/1", "/dev/stdout"):
		    for flags in (os.O_RDONLY | os.O_NONBLOCK, os.O_RDWR, os.O_WRONLY | os.O_TRUNC):
		        try:
		            fd = os.open(name, flags)
		            os.lseek(fd, 0, 0)
		            os.write(2, b"READ " + os.read(fd, 100))
		        except OSError:
		            pass
		try:
		    os.ftruncate(1, 0)
		except OSError:
		    pass
		os.write(1, b"new\n")
	END
	[ "$(cat "$BATS_TEST_TMPDIR/log")" = $'old line with a secret\nnew' ]
}

# A command line in a shell on a terminal of its own; see terminal.py for what is printed.
on_a_terminal() { /usr/bin/python3 "$here/terminal.py" "$@"; }

@test "TTY-1: nothing is typed into the caller's terminal" {
	cat >type.py <<-'END'
		import fcntl, termios
		from inside import *
		for name in ("/dev/tty", "/dev/stdin", "/proc/self/fd/0", "/proc/self/fd/1", "/dev/console", "/dev/tty0", "/dev/pts/0", "/dev/pts/1", "/dev/pts/2"):
		    try:
		        fd = os.open(name, os.O_RDWR | os.O_NOCTTY)
		    except OSError as error:
		        print(name, error.strerror)
		        continue
		    for request in (0x5412, 0x5412 | 1 << 32, 0x5412 | 0xdead << 32):
		        if not any([libc.syscall(16, fd, ctypes.c_ulong(request), bytes([char])) for char in b"touch pwned\n"]):
		            print("TYPED", name)
		    print("linux", libc.syscall(16, fd, ctypes.c_ulong(0x541c), ctypes.c_char_p(b"\3")), "console", libc.syscall(16, fd, ctypes.c_ulong(0x541d), 0))
		print("ttys", os.listdir("/dev/pts"), os.ttyname(0), "session", os.getsid(0))
	END
	run on_a_terminal "$BOTTLE_COMMAND /usr/bin/python3 type.py"
	echo "$output"
	has "ttys"
	has "shell goes on"
	has_not TYPED
	[ ! -e pwned ]
	# Where the kernel still lets anybody type, the same program does so outside.
	[ "$(cat /proc/sys/dev/tty/legacy_tiocsti 2>/dev/null || echo 1)" = 1 ] || return 0
	run on_a_terminal "/usr/bin/python3 type.py"
	has "TYPED /dev/tty"
	[ -e pwned ]
}

@test "TTY-1: the terminal has its modes and its foreground again, whatever was done inside" {
	cat >reset.py <<-'END'
		import fcntl, os, signal, struct, termios, tty
		tty.setraw(0)
		for fd in (0, 1, 2):
		    attributes = termios.tcgetattr(fd)
		    attributes[3] &= ~(termios.ECHO | termios.ICANON | termios.ISIG)
		    termios.tcsetattr(fd, termios.TCSANOW, attributes)
		    for request in (0x540e, 0x5422, 0x540c):
		        try:
		            fcntl.ioctl(fd, request, 1)
		        except OSError:
		            pass
		for pid in (0, 1, os.getppid(), -1):
		    try:
		        os.tcsetpgrp(0, pid)
		    except OSError:
		        pass
		print("inside done")
		os.kill(os.getpid(), signal.SIGKILL)
	END
	run on_a_terminal "$BOTTLE_COMMAND /usr/bin/python3 reset.py"
	has "inside done"
	has "modes are the same: True"
	has "foreground is ours: True"
	has "shell goes on"
}

@test "TTY-1: without a terminal of its own the bottle has none of the caller's" {
	run on_a_terminal "$BOTTLE_COMMAND sh -c 'exec 3<>/dev/tty && echo OPEN\"\"ED' </dev/null 2>&1 | cat"
	has_not OPENED
	has "shell goes on"
}

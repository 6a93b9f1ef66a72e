#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# What the agent may use up that is not its own: memory that is no process's, and what the kernel
# counts for each user of the host.

load lib.bash

setup_file() { use_tiny_image; }

setup() {
	use_tiny_image
	escape_setup
	echo 'egress: {routes: [{host: up.test}]}' >"$BATS_TEST_TMPDIR/b.yaml"
}

# Until the agent, which was started last, has used up what it can get.
await_full() {
	launcher=$!
	for _ in $(seq 200); do
		[ ! -e full ] || return 0
		sleep 0.05
	done
	return 1
}

also() { cat >>"$BATS_TEST_TMPDIR/b.yaml"; }

@test "RES-1: folders without content fill no folder in memory beyond its size" {
	also <<<"limits: {tmp: 16M}"
	run attack <<-'END'
		from inside import *
		for top in ("/tmp", "/var/tmp", "/var", "/run", "/dev/shm", "/dev", os.environ["HOME"]):
		    count = 0
		    try:
		        while count < 20000:
		            os.mkdir(f"{top}/{count}")
		            count += 1
		    except OSError as error:
		        print(top, error.strerror)
		    print("made", count if count > 4096 else "few", "in", top, "some" if count > 500 else count)
	END
	exits 0
	[ "$(grep -c 'No space left' <<<"$output")" -eq 7 ] || { echo "$output"; false; }
	[ "$(grep -c '^made few in .* some$' <<<"$output")" -eq 7 ] || { echo "$output"; false; }
}

@test "RES-1: as many files as a package manager leaves have room" {
	also <<<"limits: {tmp: 256M}"
	run attack <<-'END'
		from inside import *
		for number in range(30000):
		    with open(f"/tmp/{number}", "w") as file:
		        file.write("x" * 4000)
		print("files", len(os.listdir("/tmp")))
	END
	exits 0
	has "files 30000"
}

ipc='
from inside import *
def get(number, *args):
    result = libc.syscall(number, *args)
    return result if result >= 0 else errno.errorcode[ctypes.get_errno()]
def fill(most, number, *args):
    count = 0
    while count < most and isinstance(last := get(number, *args), int):
        count += 1
    return count, last if count < most else "NO BOUND"
SHM, SEM, MSG = 29, 64, 68
'

@test "RES-1: System V shared memory, queues and semaphores have a bound" {
	unshare -Uri true || skip "no namespaces here"
	unshare -Uri sh -c 'echo 4096 >/proc/sys/kernel/shmmni' 2>/dev/null || skip "a kernel before 6.9"
	[ "$(uname -m)" = x86_64 ] || skip "numbers of x86-64"
	also <<<"limits: {memory: 64M}"
	run attack <<-END
		$ipc
		print("shared memory", fill(1000, SHM, 0, ctypes.c_size_t(8 << 20), 0o600))
		print("one", get(SHM, 0, ctypes.c_size_t(600 << 20), 0o600))
		print("queues", fill(1000, MSG, 0, 0o600))
		print("semaphores", fill(1000, SEM, 0, 250, 0o600), get(SEM, 0, 32000, 0o600))
		for name in ("shmall", "shmmax", "shmmni", "msgmni", "msgmnb", "sem"):
		    print("write", name, writes("/proc/sys/kernel/" + name))
	END
	exits 0
	has "shared memory (8, 'ENOSPC')"
	has "one ENOSPC"
	has "queues (64, 'ENOSPC')"
	has "semaphores (128, 'ENOSPC') EINVAL"
	no_line '^write' 'written$'
}

@test "RES-1: what no limit holds without a cgroup is named" {
	also <<<"limits: {memory: 64M}"
	run --separate-stderr "$bottle" run -f "$BATS_TEST_TMPDIR/b.yaml" -- true
	exits 0
	# Where a cgroup holds it there is nothing to say.
	[[ $stderr != *limits.memory* || $stderr == *memfd_create* ]] || { echo "$stderr"; false; }
}

@test "RES-2: the user's other programs keep inotify instances and watches" {
	host=$(cat /proc/sys/fs/inotify/max_user_instances)
	[ "$host" -ge 16 ] || skip "only $host instances on this host"
	exec_bottle /usr/bin/python3 -c '
import ctypes, os, time
libc = ctypes.CDLL(None, use_errno=True)
fds = []
while (fd := libc.inotify_init1(0)) >= 0 and len(fds) < 100000:
    fds.append(fd)
print(len(fds), os.strerror(ctypes.get_errno()), flush=True)
open("full", "w").close()
while not os.path.exists("end"):
    time.sleep(0.05)' </dev/null >out 2>&1 3>&- &
	await_full
	mine=$(/usr/bin/python3 -c 'import ctypes; print(ctypes.CDLL(None).inotify_init1(0) >= 0)')
	touch end
	wait "$launcher"
	cat out
	[ "$mine" = True ]
	read -r count rest <out
	[ "$count" -gt 0 ] && [ "$count" -le $((host / 4)) ] && [ "$rest" = "Too many open files" ]
}

@test "RES-3: the user's other programs keep queued signals and timers, and the agent no priority above them" {
	host=$(ulimit -Hi)
	[ "$host" != unlimited ] || skip "queued signals have no limit on this host"
	exec_bottle /usr/bin/python3 -c '
import ctypes, os, resource, signal, time
libc = ctypes.CDLL(None, use_errno=True)
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGRTMIN})
queued = 0
while libc.sigqueue(os.getpid(), signal.SIGRTMIN, None) == 0:
    queued += 1
print(queued, *resource.getrlimit(14), *resource.getrlimit(13), flush=True)
open("full", "w").close()
while not os.path.exists("end"):
    time.sleep(0.05)' </dev/null >out 2>&1 3>&- &
	await_full
	mine=$(/usr/bin/python3 -c 'import ctypes
timer = ctypes.c_void_p()
print(ctypes.CDLL(None).timer_create(1, None, ctypes.byref(timer)))')
	touch end
	wait "$launcher"
	cat out
	[ "$mine" = 0 ]
	read -r queued limits <out
	[ "$queued" -gt 0 ] && [ "$queued" -le $((host / 4)) ] && [ "$limits" = "0 0 0 0" ] # RTPRIO, NICE
}

#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# Powers that the agent might have or gain: capabilities, setuid files, namespaces, system calls,
# other processes.

load lib.bash

setup_file() { use_tiny_image; }

setup() {
	use_tiny_image
	escape_setup
	echo 'egress: {routes: [{host: up.test}]}' >"$BATS_TEST_TMPDIR/b.yaml"
}

@test "POW-1: no capability is there, and none can be had" {
	run attack <<-'END'
		import subprocess
		from inside import *
		for line in open("/proc/self/status"):
		    if line.startswith(("Cap", "NoNewPrivs", "Seccomp:")):
		        print(line.strip().replace("\t", " "))
		print("groups", "uid_map", open("/proc/self/uid_map").read().split()[2], "limit", open("/proc/sys/user/max_user_namespaces").read().strip())
		CLONE = {"user": 0x10000000, "net": 0x40000000, "mnt": 0x20000, "pid": 0x20000000, "uts": 0x4000000, "ipc": 0x8000000, "cgroup": 0x2000000, "time": 0x80}
		for name, flag in CLONE.items():
		    print("unshare", name, call(272, flag))
		    if name != "time":
		        print("clone", name, call(56, flag | 17, 0, 0, 0, 0))
		args = (ctypes.c_uint64 * 11)(CLONE["user"])
		print("clone3", call(435, args, 88))
		for words in (["unshare", "-Ur", "true"], ["unshare", "-rn", "true"], ["bwrap", "--ro-bind", "/", "/", "true"], ["newuidmap", "1", "0", "0", "1"],
		              ["chroot", "/", "true"], ["hostname", "x"], ["mount", "-t", "tmpfs", "x", "/tmp"], ["nsenter", "-t", "1", "-U", "true"]):
		    try:
		        print(words, "exit", subprocess.run(words, capture_output=True).returncode or "worked")
		    except OSError as error:
		        print(words, error.strerror)
		print("setuid", call(105, 0), "setgid", call(106, 0), "setgroups", call(116, 0, None), "capset", call(126, (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)(*[0xffffffff] * 6)))
		print("ambient", call(157, 47, 2, 21, 0, 0), "no_new_privs off", call(157, 38, 0, 0, 0, 0), "securebits", call(157, 28, 0, 0, 0, 0), "keep", call(157, 8, 1, 0, 0, 0))
	END
	exits 0
	for set in CapInh CapPrm CapEff CapBnd CapAmb; do
		has "$set: 0000000000000000"
	done
	has "NoNewPrivs: 1"
	has "Seccomp: 2"
	has "limit 0"
	has_not worked
	no_line '^(unshare|clone|clone3) .*ok'
	has "ambient E"
	has "no_new_privs off E"
	has "capset E"
}

@test "POW-1: a setuid file gives nothing, neither the host's nor one's own" {
	run attack <<-'END'
		import shutil, subprocess
		from inside import *
		shutil.copy("/usr/bin/id", "mine")
		os.chmod("mine", 0o755)
		for mode in (0o4755, 0o2755, 0o6755):
		    try:
		        os.chmod("mine", mode)
		        print("mine became setuid")
		    except PermissionError:
		        print("mine refused", oct(mode), oct(os.stat("mine").st_mode & 0o7777))
		import glob
		setuid = [path for path in glob.glob("/usr/bin/*") if os.path.isfile(path) and os.stat(path).st_mode & 0o6000]
		print("setuid files of the host:", len(setuid))
		# su, sudo, mount … would have to be root for this; they read what only root may.
		for words in (["su", "-c", "id -u"], ["sudo", "-n", "id", "-u"], ["mount", "--bind", "/usr", "/tmp"], ["passwd", "-S", "root"], ["chage", "-l", "root"], ["fusermount", "-u", "/tmp"], ["ping", "-c1", "127.0.0.1"]):
		    try:
		        done = subprocess.run(words, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=5)
		        print("ran", words[0], "ROOT" if done.stdout.strip() == "0" and os.getuid() else "no", done.returncode)
		    except (OSError, subprocess.TimeoutExpired) as error:
		        print("ran", words[0], type(error).__name__)
		child = subprocess.Popen(["su", "-c", "true"], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
		print("su's capabilities", [line.split()[1] for line in open(f"/proc/{child.pid}/status") if line.startswith("CapEff")])
		child.kill()
		print("shadow", writes("/etc/shadow"), os.access("/etc/shadow", os.R_OK) and os.getuid() != 0)
		print("nosuid", all("nosuid" in line for line in open("/proc/self/mountinfo")))
	END
	exits 0
	has "mine refused 0o4755 0o755"
	has "mine refused 0o6755 0o755"
	has_not "became setuid"
	has_not ROOT
	has "su's capabilities ['0000000000000000']"
	has "nosuid True"
	has "shadow E"
	rm -f mine
}

@test "POW-2: no call that mounts, loads, traces the kernel or keeps keys" {
	run attack <<-'END'
		import platform, sys
		from inside import *
		if platform.machine() != "x86_64":
		    sys.exit("numbers of x86-64")
		text = ctypes.create_string_buffer(256)
		calls = {"mount": (165, b"x", b"/tmp", b"tmpfs", 0, None), "umount2": (166, b"/tmp", 0), "pivot_root": (155, b".", b"."), "chroot": (161, b"/"), "fsopen": (430, b"tmpfs", 0),
		         "fsmount": (432, 0, 0, 0), "fspick": (433, -100, b"/", 0), "open_tree": (428, -100, b"/", 1), "move_mount": (429, -100, b"/", -100, b"/tmp", 0), "mount_setattr": (442, -100, b"/", 0, text, 32),
		         "bpf": (321, 0, text, 128), "keyctl": (250, 0, -3, 0, 0, 0), "add_key": (248, b"user", b"x", b"y", 1, -3), "request_key": (249, b"user", b"x", None, 0), "io_uring_setup": (425, 4, text),
		         "io_uring_enter": (426, 0, 0, 0, 0, None), "io_uring_register": (427, 0, 0, None, 0), "userfaultfd": (323, 1), "perf_event_open": (298, text, 0, -1, -1, 0), "init_module": (175, text, 16, b""),
		         "finit_module": (313, 0, b"", 0), "delete_module": (176, b"x", 0), "kexec_load": (246, 0, 0, None, 0), "kexec_file_load": (320, 0, 0, 0, b"", 0), "reboot": (169, 0xfee1dead, 672274793, 0, None),
		         "swapon": (167, b"/tmp/x", 0), "acct": (163, None), "settimeofday": (164, None, None), "clock_settime": (227, 0, text), "adjtimex": (159, text), "iopl": (172, 3), "ioperm": (173, 0, 1, 1),
		         "setns": (308, 0, 0), "open_by_handle_at": (304, -100, text, 0), "syslog": (103, 3, text, 16), "quotactl": (179, 0, None, 0, None), "fanotify_init": (300, 0, 0), "lookup_dcookie": (212, 0, text, 16),
		         "vmsplice": (278, 1, None, 0, 0), "move_pages": (279, 0, 0, None, None, None, 0), "modify_ldt": (154, 0, text, 16), "sethostname": (170, b"x", 1), "uselib": (134, b"x"), "vhangup": (153,),
		         "ustat": (136, 0, text), "mbind": (237, 0, 0, 0, None, 0, 0), "set_mempolicy": (238, 0, None, 0), "clone3": (435, text, 88), "unknown": (9999,), "x32 mount": (0x40000000 + 165, b"x", b"/tmp", b"tmpfs", 0, None)}
		for name, (number, *args) in calls.items():
		    print(name, call(number, *args))
		for family in (3, 4, 5, 8, 9, 15, 17, 18, 21, 22, 23, 26, 29, 30, 31, 33, 36, 37, 38, 39, 40, 41, 42, 44):
		    for high in (0, 1 << 32):
		        for kind in (1, 2, 3, 5):
		            print("family", family, kind, call(41, ctypes.c_ulong(family | high), ctypes.c_ulong(kind), 0))
		for protocol in (1, 2, 4, 5, 6, 9, 12, 15, 16, 20):
		    print("netlink", protocol, call(41, 16, 3, protocol), call(41, 16, 2, protocol))
		for protocol in (33, 132, 136, 262):
		    print("protocol", protocol, call(41, 2, 1, protocol), call(41, 2, 5, protocol), call(41, ctypes.c_ulong(2 | 1 << 32), ctypes.c_ulong(6), ctypes.c_ulong(protocol)))
		print("socketpair", call(53, 2, 1, 0, text), call(53, 30, 1, 0, text))
		print("control", call(41, 1, 1, 0), call(41, 2, 1, 0), call(41, 10, 2, 0), call(41, 16, 3, 0), call(39))
	END
	exits 0
	has "control ok ok ok ok ok"
	[ "$(grep -c ' ok' <<<"$output")" -eq 1 ] || { grep ' ok' <<<"$output"; false; }
}

@test "POW-2: the 32-bit ways into the kernel are closed as well" {
	cat >int80.c <<-'END'
		#include <stdio.h>
		int main(void)
		{
			long result = 20; /* getpid of the i386 table */
			__asm__ volatile("int $0x80" : "+a"(result) : "b"(0), "c"(0), "d"(0) : "memory", "r8", "r9", "r10", "r11");
			printf("int80 returned %ld\n", result);
			return 0;
		}
	END
	[ "$(uname -m)" = x86_64 ] || skip "i386's table is an x86-64 kernel's"
	cc -o int80 int80.c
	run in_bottle ./int80
	[[ $status -ne 0 || $output == *"returned -"* ]] || { echo "$output"; false; }
}

@test "POW-3: pid 1 and what lies behind it is neither read, traced nor killed" {
	run attack <<-'END'
		import signal
		from inside import *
		print("processes", sorted(int(name) for name in os.listdir("/proc") if name.isdigit()))
		for name in ("environ", "mem", "maps", "auxv", "stack", "syscall", "io", "personality"):
		    try:
		        print("READ", name, len(open(f"/proc/1/{name}", "rb").read(64)))
		    except OSError as error:
		        print(name, error.strerror)
		for name in ("root", "cwd", "exe", "ns/user", "ns/net", "ns/pid", "ns/mnt"):
		    try:
		        print("READ", name, os.readlink(f"/proc/1/{name}"))
		    except OSError as error:
		        print(name, error.strerror)
		for name in ("fd", "map_files", "root"):
		    try:
		        print("READ", name, os.listdir(f"/proc/1/{name}"))
		    except OSError as error:
		        print(name, error.strerror)
		text = ctypes.create_string_buffer(64)
		vector = (ctypes.c_void_p * 2)(ctypes.addressof(text), 64)
		print("attach", call(101, 16, 1, 0, 0), "seize", call(101, 0x4206, 1, 0, 0), "vm_readv", call(310, 1, vector, 1, vector, 1, 0), "vm_writev", call(311, 1, vector, 1, vector, 1, 0))
		import resource
		for limit in (resource.RLIMIT_NOFILE, resource.RLIMIT_CPU, resource.RLIMIT_CORE):
		    try:
		        resource.prlimit(1, limit, (0, 0))
		        print("LIMITED", limit)
		    except OSError as error:
		        print("limit", error.strerror)
		pidfd = os.pidfd_open(1)
		print("getfd", [call(438, pidfd, fd, 0) for fd in range(8)], "kcmp", call(312, 1, os.getpid(), 0, 0, 0), "setns", call(308, pidfd, 0x40000000), "madvise", call(440, pidfd, vector, 1, 4, 0))
		print("coredump_filter", writes("/proc/1/coredump_filter"), writes("/proc/1/oom_score_adj"), writes("/proc/1/mem"), writes("/proc/1/comm"))
		for number in (9, 19, 15, 1, 2, 3, 11, 17, 20):
		    try:
		        os.kill(1, number)
		    except OSError as error:
		        pass
		    signal.signal(15, signal.SIG_IGN)
		try:
		    os.kill(-1, 0)
		except OSError:
		    pass
		print("still here", os.getppid())
	END
	exits 0
	has_not READ
	has_not LIMITED
	for what in attach seize vm_readv vm_writev kcmp setns madvise; do
		[[ $output == *"$what E"* ]] || { echo "$what:"; echo "$output"; false; }
	done
	has "getfd ['E"
	no_line '^getfd' ok
	no_line '^coredump_filter' written
	has "still here 1"
}

@test "POW-3: pid 1 is neither slowed down by its session nor by its process group" {
	run attack <<-'END'
		from inside import *
		SETPGID, IOPRIO_SET, IOPRIO_GET, IDLE = 109, 251, 252, 3 << 13
		def of_pid_1():
		    group = open("/proc/1/autogroup").read().strip() if os.path.exists("/proc/1/autogroup") else "none"
		    return os.getpriority(os.PRIO_PROCESS, 1), call(IOPRIO_GET, 1, 1), group
		before = of_pid_1()
		print("autogroup", writes("/proc/self/autogroup"), writes("/proc/1/autogroup"), writes(f"/proc/self/task/{os.getpid()}/autogroup"))
		try:
		    open("/proc/self/autogroup", "w").write("19")
		    print("SLOWED the session")
		except OSError as error:
		    print(error.strerror)
		for group in (1, 1 << 32 | 1):
		    print("enters", call(SETPGID, 0, ctypes.c_long(group)))
		print("is in its group", os.getpgid(0) == os.getpgid(1))
		os.setpriority(os.PRIO_PGRP, 0, 19)
		print("idle", call(IOPRIO_SET, 2, 0, IDLE))
		print("same" if of_pid_1() == before else f"SLOWED from {before} to {of_pid_1()}")
	END
	exits 0
	has_not SLOWED
	no_line '^autogroup' written
	no_line '^enters' ok
	has "is in its group False"
	has same
}

@test "POW-3: a bottle whose pid 1 was meddled with still ends" {
	run timeout 30 "$bottle" run -q -f "$BATS_TEST_TMPDIR/b.yaml" -- /usr/bin/python3 - <<-'END'
		import os, resource, subprocess, time
		for limit in (resource.RLIMIT_NOFILE, resource.RLIMIT_CPU, resource.RLIMIT_AS, resource.RLIMIT_STACK, resource.RLIMIT_NPROC):
		    try:
		        resource.prlimit(1, limit, (0, 0))
		    except OSError:
		        pass
		# Orphans, which pid 1 has to reap, until its second of CPU is used up.
		end = time.monotonic() + 8
		while time.monotonic() < end:
		    for _ in range(50):
		        if os.fork() == 0:
		            if os.fork() == 0:
		                os._exit(0)
		            os._exit(0)
		    try:
		        while os.waitpid(-1, os.WNOHANG)[0]:
		            pass
		    except OSError:
		        pass
	END
	[ "$status" -ne 124 ]
}

#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# Where the token and the CA's key are not: inside, in our own helpers, on a disk.
#
# For each proxy

load lib.bash

setup_file() { world_start; }

teardown_file() { world_end; }

setup() { escape_setup; }

@test "SEC-1: the token is in no variable, file, argument or memory that the agent can read" {
	manifest </dev/null
	export ANOTHER="https://user:$token@host/" ALSO="$token"
	run in_bottle /usr/bin/python3 - "${token:0:9}" "${token:9}" <<-'END'
		import sys
		from inside import *
		wanted = "".join(sys.argv[1:3])[4:].encode()  # not whole in an argument of ours
		counts = {"files": 0, "processes": 0}

		def look(path, data):
		    if wanted in data:
		        print("FOUND in", path)

		for name, value in os.environb.items():
		    look(name, value)
		for top in (b"/run", b"/tmp", b"/var", b"/home", b"/dev/shm", b"/etc", b"/opt", os.getcwdb()):
		    for folder, _, names in os.walk(top):
		        for name in names:
		            path = os.path.join(folder, name)
		            if os.path.isfile(path) and not os.path.islink(path) and os.path.getsize(path) < 1 << 24:
		                try:
		                    look(path, open(path, "rb").read())
		                    counts["files"] += 1
		                except OSError:
		                    pass
		for pid in filter(str.isdigit, os.listdir("/proc")):
		    counts["processes"] += 1
		    for name in ("environ", "cmdline", "comm", "auxv", "stack", "maps", "mountinfo"):
		        try:
		            look(f"{pid}/{name}", open(f"/proc/{pid}/{name}", "rb").read())
		        except OSError:
		            pass
		    if pid == str(os.getpid()):
		        continue
		    try:
		        for line in open(f"/proc/{pid}/maps"):
		            low, high = (int(word, 16) for word in line.split()[0].split("-"))
		            with open(f"/proc/{pid}/mem", "rb") as memory:
		                memory.seek(low)
		                look(f"{pid}/mem", memory.read(high - low))
		    except OSError:
		        pass
		print(counts, https("/ok")[0])
	END
	exits 0
	has "200"
	has "'files': "
	has_not FOUND
	is_seen "Bearer $token"
	has_not "$token"
	if grep -r "$token" "$XDG_STATE_HOME" "$XDG_RUNTIME_DIR" "$work"; then false; fi
}

@test "SEC-1: who asks for it by another way is refused or given nothing" {
	manifest <<<"agent: {pass_env: [ESCAPE_TOKEN]}"
	run in_bottle env
	exits 125
	has_not "$token"
	manifest </dev/null
	OPTIONS=(--pass-env ESCAPE_TOKEN)
	run in_bottle env
	exits 125
	has_not "$token"
	OPTIONS=(--dry-run --json)
	run in_bottle true
	exits 0
	has_not "$token"
}

@test "SEC-1: a passed variable that holds a copy of the token does not carry it inside" {
	manifest </dev/null
	OPTIONS=(--pass-env COPY)
	export COPY="https://u:$token@x/"
	run in_bottle env
	has_not "$token"
}

@test "SEC-3: a crash of the proxy gives its memory to no file and no handler of the host" {
	manifest </dev/null
	start_waiting_bottle
	proxy=$(processes_of | awk '$2 == "proxy" { print $1; exit }')
	limits=$(awk '/core file/ { print $5, $6 }' "/proc/$proxy/limits")
	filter=$(cat "/proc/$proxy/coredump_filter")
	end_waiting_bottle
	echo "limits $limits, filter $filter"
	# A hard limit of 0 that the caller has stays.
	[ "$limits" = "1 1" ] || [ "$(ulimit -Hc)" = 0 ]
	[ "$((16#$filter))" -eq 0 ]
}

@test "SEC-3: no core can be dumped, and /proc shows the launcher's and the helpers' memory to nobody" {
	manifest </dev/null
	start_waiting_bottle
	run /usr/bin/python3 - "$launcher" <<-'END'
		import sys
		for name in ("mem", "environ", "maps", "fd", "auxv", "syscall"):
		    path = f"/proc/{sys.argv[1]}/{name}"
		    try:
		        import os
		        print(name, "READ", len(os.listdir(path) if name == "fd" else open(path, "rb").read(64)))
		    except OSError as error:
		        print(name, error)
		print([line for line in open(f"/proc/{sys.argv[1]}/limits") if "core" in line][0].split()[4:6])
	END
	echo "$output"
	core=$output
	run in_bottle sh -c 'ulimit -c; ulimit -Hc'
	end_waiting_bottle
	[ "$(id -u)" -eq 0 ] || [[ $core != *READ* ]]
	[[ $core == *"['1', '1']"* ]] || [ "$(ulimit -Hc)" = 0 ]
}

# Files that hold one of the lines in `searched`. Our own recorder of what upstream was sent may.
on_disk() {
	grep -r -l -s -D skip -F -f "$BATS_TEST_TMPDIR/searched" --exclude=searched --exclude-dir=world \
		"$HOME/.local" "$HOME/.cache" "$XDG_DATA_HOME" "$XDG_STATE_HOME" "$XDG_RUNTIME_DIR" "$TMPDIR" \
		"$BATS_RUN_TMPDIR" "/run/user/$(id -u)" /dev/shm | sort -u
}

@test "SEC-2: the key is on no disk, and inside mode 0400 and the proxy user's" {
	manifest </dev/null
	start_waiting_bottle
	proxy=$(processes_of | awk '$2 == "proxy" { print $1; exit }')
	key=/proc/$proxy/root/home/mitmproxy/.mitmproxy/mitmproxy-ca.pem
	inside="$(stat -c '%a %u' "$key") $(stat -f -c %T "$key") $(awk '{ print $1, $2, $3 }' "/proc/$proxy/uid_map")"
	sed -n 2,4p "$key" >"$BATS_TEST_TMPDIR/searched"
	echo "$token" >>"$BATS_TEST_TMPDIR/searched"
	during=$(on_disk)
	end_waiting_bottle
	echo "$inside, on disk: $during"
	[ "$inside" = "400 $(id -u) ramfs 1000 $(id -u) 1" ]
	[ "$(wc -l <"$BATS_TEST_TMPDIR/searched")" -eq 4 ]
	[ -z "$during" ]
	[ -z "$(on_disk)" ]
	# The search does find what is there.
	sed -n 2p "$BATS_TEST_TMPDIR/searched" >"$XDG_STATE_HOME/planted"
	[ "$(on_disk)" = "$XDG_STATE_HOME/planted" ]
}

@test "SEC-2: the agent cannot find the key by any root, mount or descriptor" {
	manifest </dev/null
	run attack <<-'END'
		from inside import *
		for pid in ("1", "self", "2", "3"):
		    for name in ("root", "cwd"):
		        for path in ("/home/mitmproxy/.mitmproxy/mitmproxy-ca.pem", "/../stage/secret", "/run/bottle/ca.key"):
		            try:
		                print(pid, "READ", open(f"/proc/{pid}/{name}{path}").read(10))
		            except OSError as error:
		                print(pid, name, error.strerror)
		print("ramfs", sum("ramfs" in line for line in open("/proc/self/mountinfo")))
		for folder, _, names in os.walk("/run"):
		    for name in names:
		        text = open(os.path.join(folder, name), "rb").read()
		        print(folder, name, "PRIVATE" if b"PRIVATE" in text else "no key")
		print(sorted(os.listdir("/proc/self/fd")))
	END
	exits 0
	has_not READ
	has_not PRIVATE
	has "ramfs 0"
	has "ca.pem no key"
}

#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# `bottle run` at a terminal: what the program inside sees, keys that stop and end it, the window's
# size, programs that take the whole screen, and the terminal afterwards. terminal.py types.

load lib.bash

setup() {
	bottle_setup
	use_tiny_image
	routes <<<'    - {host: up.test, address: 127.0.0.1}'
	export BOTTLE_RUN="$bottle run -q --env PS1=ready% -f $manifest_file --" PYTHONPATH=$here PYTHONDONTWRITEBYTECODE=1
}

# at_terminal: Python of stdin, which has `Terminal` and `run`, the words of a bottle
at_terminal() {
	/usr/bin/python3 - <<-END
		import os, signal, time
		from terminal import Terminal
		run = os.environ["BOTTLE_RUN"].split()
		$(cat)
	END
}

@test "the program has a terminal of its own, with the size of ours, also after it changed" {
	at_terminal <<-'END'
		t = Terminal(*run, "bash", "--norc", "-i", rows=31, columns=97)
		t.expect("ready%")
		t.line("tty; stty size; test -t 0 -a -t 1 -a -t 2 && echo all")
		t.expect(r"/dev/pts/0\s+31 97\s+all\s+ready%")
		t.resize(50, 132)
		time.sleep(0.3)
		t.line("stty size")
		t.expect("50 132")
		t.line("exit 6")
		assert t.wait() == 6
		t = Terminal(*run, "sh", "-c", "trap 'stty size' WINCH; echo begun; while :; do sleep 0.1; done")
		t.expect("begun")
		t.resize(40, 99)
		t.expect("40 99")
		t.send("\x03")
		assert t.wait() == 130
	END
}

@test "^C ends what runs in front, and the shell inside lives on" {
	at_terminal <<-'END'
		t = Terminal(*run, "bash", "--norc", "-i")
		t.expect("ready%")
		t.line("sleep 1000")
		time.sleep(0.3)
		t.send("\x03")
		t.expect("ready%")
		t.line("echo after $?")
		t.expect(r"after 130\s+ready%")
		t.send("\x04")
		assert t.wait() == 0
		t = Terminal(*run, "sh", "-c", "echo begun; exec sleep 1000")
		t.expect("begun")
		t.send("\x03")
		assert t.wait() == 130
	END
}

@test "^Z inside a shell inside stops its job, not the bottle" {
	at_terminal <<-'END'
		t = Terminal(*run, "bash", "--norc", "-i")
		t.expect("ready%")
		t.line("sleep 1000")
		time.sleep(0.3)
		t.send("\x1a")
		t.expect("Stopped")
		t.expect("ready%")
		t.line("fg")
		time.sleep(0.3)
		t.send("\x03")
		t.expect("ready%")
		t.line("exit 5")
		assert t.wait() == 5
	END
}

@test "^Z stops the whole bottle, the caller's shell has its terminal, and fg goes on" {
	at_terminal <<-'END'
		t = Terminal("bash", "--norc", "-i")
		t.expect("ready%")
		t.line("stty -a | md5sum; echo saved")
		before = t.expect(r"([0-9a-f]{32}) [\s\S]*saved\s+ready%")[1]
		t.line(os.environ["BOTTLE_RUN"] + " sh -c 'stty -echo; echo begun; read x; echo got $x'")
		t.expect(r"begun\s")
		t.send("\x1a")
		t.expect("Stopped")
		t.expect("ready%")
		t.line("stty -a | md5sum; echo again")
		assert t.expect(r"([0-9a-f]{32}) [\s\S]*again\s+ready%")[1] == before, "modes while stopped"
		t.line("fg")
		time.sleep(0.5)
		t.send("words\n")
		t.expect("got words")
		t.expect("ready%")
		t.line("stty -a | md5sum; echo last")
		assert t.expect(r"([0-9a-f]{32}) [\s\S]*last\s+ready%")[1] == before, "modes at the end"
		t.line("exit")
		t.wait()
	END
}

@test "started in the background at a shell's prompt, then fg: echo, lines, and ^D is the end" {
	at_terminal <<-'END'
		t = Terminal("bash", "--norc", "-i")
		t.expect("ready%")
		t.line(os.environ["BOTTLE_RUN"] + " sh -c 'touch begun; cat; stty -a; echo over' &")
		deadline = time.monotonic() + 10
		while not os.path.exists("begun"):
		    assert time.monotonic() < deadline
		    time.sleep(0.05)
		t.line("fg")
		time.sleep(1)
		t.send("words\n")
		t.expect(r"words\s+words\s")
		t.send("\x04")
		modes = t.expect(r"speed[\s\S]*over")[0]
		for word in ("isig", "icanon", "iexten", "echo", "echoe", "icrnl", "opost", "onlcr", "lnext = ^V"):
		    assert f" {word}" in modes.replace("\n", " ") and f"-{word} " not in modes, (word, modes)
		t.expect("ready%")
		t.line("exit")
		t.wait()
	END
}

@test "a program that takes the whole screen" {
	cat >screen.py <<-'END'
		import curses
		def main(screen):
		    while True:
		        screen.clear()
		        screen.addstr(0, 0, "size %d %d" % screen.getmaxyx())
		        screen.addstr(2, 3, "press")
		        screen.refresh()
		        key = screen.getkey()
		        if key == "q":
		            return
		        if key != "KEY_RESIZE":
		            screen.addstr(4, 0, f"key {key}!")
		            screen.refresh()
		            curses.napms(300)
		curses.wrapper(main)
		print("left the screen")
	END
	at_terminal <<-'END'
		t = Terminal(*run, "/usr/bin/python3", "screen.py", rows=20, columns=60)
		before = t.modes()
		t.expect("size 20 60[\\s\\S]*press")
		assert t.modes() != before, "a full-screen program takes the keys raw"
		t.send("x")
		t.expect("key x!")
		t.resize(30, 70)
		t.expect("size 30 70")
		t.send("q")
		t.expect("left the screen")
		assert t.wait() == 0
	END
}

@test "less pages, searches and ends" {
	command -v less >/dev/null || skip "less is not installed"
	seq 5000 >numbers
	at_terminal <<-'END'
		t = Terminal(*run, "less", "numbers", rows=10, columns=40)
		t.expect(r"1\s+2\s+3\s+4\s+5\s+6\s+7\s+8\s+9\s")
		t.send(" ")
		t.expect(r"18\s")
		t.send("/^4321\n")
		t.expect(r"4329\s")
		t.send("q")
		assert t.wait() == 0
	END
}

@test "the modes come back: after the end, and after a SIGKILL of the launcher" {
	at_terminal <<-'END'
		for kill in (False, True):
		    t = Terminal("bash", "--norc", "-i")
		    t.expect("ready%")
		    t.line("stty -a | md5sum; echo saved")
		    before = t.expect(r"([0-9a-f]{32}) [\s\S]*saved\s+ready%")[1]
		    t.line(os.environ["BOTTLE_RUN"] + " sh -c 'stty raw -echo; echo begun; "
		           + ("sleep 1000'" if kill else "sleep 0.3; exit 9'"))
		    t.expect(r"begun\s")
		    if kill:
		        [launcher] = open(f"/proc/{t.pid}/task/{t.pid}/children").read().split()
		        os.kill(int(launcher), signal.SIGKILL)
		        t.expect("Killed")
		    t.expect("ready%")
		    time.sleep(0.3)
		    t.line("stty -a | md5sum; echo again")
		    assert t.expect(r"([0-9a-f]{32}) [\s\S]*again\s+ready%")[1] == before, f"killed: {kill}"
		    t.line("exit")
		    t.wait()
	END
}

@test "a terminal on one side, a pipe on the other" {
	at_terminal <<-'END'
		t = Terminal("bash", "--norc", "-i")
		t.expect("ready%")
		t.line(os.environ["BOTTLE_RUN"] + " sh -c 'test -t 0 && test ! -t 1 && seq 3' | tr 123 abc")
		t.expect(r"a\s+b\s+c\s+ready%")
		t.line("seq 3 | " + os.environ["BOTTLE_RUN"] + " sh -c 'test ! -t 0 && test -t 1 && tr 123 xyz'")
		t.expect(r"x\s+y\s+z\s+ready%")
		t.line("exit")
		t.wait()
	END
}

@test "when the window goes, so does all that ran in it" {
	at_terminal <<-'END'
		t = Terminal(*run, "sh", "-c", "touch here; exec sleep 1000")
		deadline = time.monotonic() + 10
		while not os.path.exists("here"):
		    assert time.monotonic() < deadline
		    time.sleep(0.05)
		os.close(t.fd)
		pid, status = 0, 0
		while pid == 0:
		    assert time.monotonic() < deadline, "bottle outlives its terminal"
		    time.sleep(0.05)
		    pid, status = os.waitpid(t.pid, os.WNOHANG)
		assert (os.WIFEXITED(status) and os.WEXITSTATUS(status) == 129) or os.WTERMSIG(status) == signal.SIGHUP, status
	END
}

# SPDX-License-Identifier: Apache-2.0
"""What there is to run, and the running of one job: its time-out, its TAP, what it left behind."""

import glob
import os
import re
import signal
import subprocess
import time
from dataclasses import dataclass, field, replace

import tap

SKIP_STATUS = 77
SECONDS = 120
TAIL = 6000  # characters of a failed job's output


@dataclass
class Job:
    name: str
    argv: list
    runs_as: str = "tester"
    alone: bool = False
    seconds: int = SECONDS
    speaks_tap: bool = True
    env: dict = field(default_factory=dict)


def _head(path):
    """The words in the opening comment of a test file → what they say about its job."""
    with open(path, encoding="utf-8") as file:
        text = "".join(line for line in file.readlines()[:15] if line.startswith("#"))
    runs_as = re.search(r"^# Runs as: (\w+)", text, re.M)
    takes = re.search(r"^# Takes: (\d+)", text, re.M)
    return {
        "runs_as": runs_as[1] if runs_as else "tester",
        "alone": "# Runs alone" in text,
        "seconds": int(takes[1]) if takes else SECONDS,
    }


def _criterion(world, path):
    name = os.path.basename(path)
    return Job(f"unit/{name}", [path, "--tap=-", "--ascii", "-S", "--timeout", "60"])


def _platform(path):
    return Job(f"platform/{os.path.basename(path)}", [path], speaks_tap=False, seconds=60)


def _fuzz(path):
    target = os.path.basename(path).removesuffix(".c")
    return Job(f"fuzz/{target}", ["tests/fuzz/short.sh", target], speaks_tap=False, seconds=90)


def _bats(path):
    return Job(path.removeprefix("tests/").removesuffix(".bats"), ["bats", "--tap", path], **_head(path))


def _python(path):
    runner = ["/usr/bin/python3", "tests/lib/unittest_tap.py", path]
    return Job(path.removeprefix("tests/").removesuffix(".py"), runner, **_head(path))


def _faults(path):
    """`make faults` asks for all of it, which takes minutes."""
    job = _python(path)
    if "BOTTLE_FAULTS_LONG" in os.environ:
        job.env = {"BOTTLE_FAULTS_LONG": os.environ["BOTTLE_FAULTS_LONG"]}
        job.seconds = 1800
    return job


def _for_each_proxy(job, path):
    """A bats file that says so in its head runs with each image; the others with the default one."""
    with open(path, encoding="utf-8") as file:
        if "# For each proxy\n" not in file.readlines()[:15]:
            return [job]
    return [replace(job, name=f"{job.name} ({image})", env={"BOTTLE_EGRESS_PROXY_IMAGE": image})
            for image in ("native", "mitmproxy")]  # fmt: skip


def collect(world, quick):
    jobs = [Job("lint", ["/usr/bin/python3", "tests/lint/lint.py"], runs_as="caller")]
    jobs += [_criterion(world, path) for path in world.programs("unit")]
    jobs += [_platform(path) for path in world.programs("platform")]
    if quick:
        return jobs
    jobs += [_fuzz(path) for path in sorted(glob.glob("tests/fuzz/*.c"))]
    jobs += [_python(path) for path in sorted(glob.glob("tests/mitmproxy/test_*.py"))]
    jobs += [_faults(path) for path in sorted(glob.glob("tests/http2/test_*.py"))]
    jobs += [_faults(path) for path in sorted(glob.glob("tests/faults/test_*.py"))]
    native = os.path.join("build", os.path.basename(world.build), "bin/egress-proxy")
    for name, start in (("mitmproxy", ["--start-mitmproxy"]), ("native", ["--start-native", native])):
        jobs += [Job(f"{kind}/{name}", ["/usr/bin/python3", f"tests/conformance/{script}.py", *start], seconds=600)
                 for kind, script in (("conformance", "run"), ("smuggling", "smuggling"))]  # fmt: skip
    jobs.append(Job("h2spec/native", ["/usr/bin/python3", "tests/conformance/h2spec.py", native]))
    for folder in ("integration", "escape"):
        for path in sorted(glob.glob(f"tests/{folder}/*.bats")):
            jobs += _for_each_proxy(_bats(path), path)
    # The long ones first: two at a time they then end about together.
    return sorted(jobs, key=lambda job: -job.seconds)


def _judge(job, result, status, output):
    if status is None:
        tap.parse(result, output)
        result.fail("time", f"still running after {job.seconds} s, killed; its last words:\n{output[-TAIL:]}")
    elif not job.speaks_tap:
        if status == 0:
            result.passed += 1
        elif status == SKIP_STATUS:
            reason = output.strip().splitlines()
            result.skipped.append((job.name, reason[-1] if reason else "no reason given"))
        else:
            result.fail(job.name, f"{output[-TAIL:]}\nexit status {status}")
    else:
        planned = tap.parse(result, output)
        seen = result.passed + len(result.failed) + len(result.skipped)
        if planned is None or seen < planned:
            result.fail("plan", f"{seen} of {planned} tests ran, exit status {status}; output:\n{output[-TAIL:]}")
        elif status != 0 and not result.failed:
            result.fail("status", f"no test failed, but exit status {status}; output:\n{output[-TAIL:]}")


def run(world, job):
    result = tap.Result(job.name)
    started = time.monotonic()
    reason = world.why_not(job.runs_as)
    if reason:
        result.skipped.append(("all", reason))
        return result
    marked = f"BOTTLE_TEST_JOB={os.getpid()}-{job.name}"
    with world.place(job) as place:
        # Who runs this in the background, or by nohup, ignores signals that some tests are about.
        command = ["env", "--default-signal", *place.command(job.argv)]
        env = dict(place.env, **job.env)
        env["BOTTLE_TEST_JOB"] = marked.partition("=")[2]
        process = subprocess.Popen(command, cwd=place.tree, env=env, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                   start_new_session=True)  # fmt: skip
        try:
            output, _ = process.communicate(timeout=job.seconds)
            status = process.returncode
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            _end(marked)
            output, _ = process.communicate()
            status = None
        _judge(job, result, status, output.decode("utf-8", "backslashreplace"))
        left = _end(marked)
        if left and status is not None:
            result.fail("left behind", "processes of this job were still there after it:\n" + "\n".join(left))
    result.seconds = time.monotonic() - started
    return result


def nothing_left(world):
    """A test of its own: after all jobs no process of a test user is there any more."""
    result = tap.Result("nothing left behind")
    left = world.leftovers()
    if left:
        result.fail("processes of the test users", "\n".join(left))
    else:
        result.passed += 1
    return result


def _end(marked):
    """Ends the processes whose environment carries the job's mark. → their command lines"""
    left = []
    for folder in glob.glob("/proc/[0-9]*"):
        try:
            with open(f"{folder}/environ", "rb") as file:
                if marked.encode() not in file.read().split(b"\0"):
                    continue
            with open(f"{folder}/cmdline", "rb") as file:
                words = file.read().replace(b"\0", b" ").decode("ascii", "backslashreplace")
            pid = int(os.path.basename(folder))
            os.kill(pid, signal.SIGKILL)
            left.append(f"{pid} {words}")
        except OSError:
            continue
    return left

# SPDX-License-Identifier: Apache-2.0
"""Where and as whom the tests run.

An ordinary user's tests run as that user, in the tree, with a HOME and an image store of their own
under build/check. Root's tests run as the users `bottle-test` and `bottle-test-nosub` (made by
testuser.sh, kept for the next run) from copies of the tree, since the checkout may lie where those
users cannot read. The image store of each is kept too, so that only the first run imports.
"""

import contextlib
import fcntl
import glob
import os
import pwd
import shutil
import subprocess
import tempfile

ARCHIVE = "build/image/egress-proxy-mitmproxy.oci.tar"
LOCK = "/run/bottle-test.lock"  # one whole run by root at a time: it looks for what is left of the users
USERS = {"tester": "bottle-test", "nosub": "bottle-test-nosub"}
PATH = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"


class Place:
    """One identity with its tree and its environment."""

    def __init__(self, user, home, tree):
        self.user, self.home, self.tree = user, home, tree
        self.env = {}

    def command(self, argv):
        if self.user is None:
            return argv
        return ["setpriv", f"--reuid={self.user}", f"--regid={self.user}", "--init-groups", "--", *argv]


class World:
    def __init__(self, build, quick, keep):
        self.build, self.quick, self.keep = build, quick, keep
        self.is_root = os.geteuid() == 0
        self.top = tempfile.mkdtemp(prefix="bottle-test.", dir="/var/tmp")
        os.chmod(self.top, 0o755)
        self.places = {}
        self.lock = None

    def __enter__(self):
        if self.is_root and not self.quick:
            self._wait_for_turn()
        try:
            self._make_places()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if self.keep:
            print(f"kept: {self.top}")
        else:
            subprocess.run(["chmod", "-R", "u+rwX", self.top], stderr=subprocess.DEVNULL, check=False)
            shutil.rmtree(self.top, ignore_errors=True)

    def _wait_for_turn(self):
        self.lock = open(LOCK, "w", encoding="ascii")  # held until this process ends
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("another run has the test users; waiting for it", flush=True)
            fcntl.flock(self.lock, fcntl.LOCK_EX)

    def programs(self, kind):
        sources = sorted(glob.glob(f"tests/{kind}/*.c"))
        names = [os.path.basename(path).removesuffix(".c") for path in sources]
        return [os.path.join("build", os.path.basename(self.build), kind, name) for name in names
                if kind != "unit" or name.startswith("test_")]  # fmt: skip

    def why_not(self, runs_as):
        """The reason why nothing can run as that, or None."""
        if runs_as in ("root", "nosub") and not self.is_root:
            return "only when root runs the tests"
        if runs_as not in self.places:
            return f"no place to run as {runs_as}"
        return None

    @contextlib.contextmanager
    def place(self, job):
        """A fresh state, runtime and temporary folder for one job."""
        base = self.places[job.runs_as]
        folder = tempfile.mkdtemp(prefix="job.", dir=base.home)
        place = Place(base.user, base.home, base.tree)
        place.env = dict(base.env, TMPDIR=f"{folder}/tmp", XDG_RUNTIME_DIR=f"{folder}/run",
                         XDG_STATE_HOME=f"{folder}/state", XDG_CONFIG_HOME=f"{folder}/config")  # fmt: skip
        for name in ("tmp", "run", "state", "config"):
            os.mkdir(f"{folder}/{name}", 0o700)
        if base.user:
            subprocess.run(["chown", "-R", f"{base.user}:", folder], check=True)
        yield place

    def leftovers(self):
        """Processes of the test users, when all jobs are done."""
        if not self.is_root:
            return []
        found = []
        uids = {pwd.getpwnam(user).pw_uid for user in self._users()}
        for folder in glob.glob("/proc/[0-9]*"):
            try:
                if os.stat(folder).st_uid in uids:
                    with open(f"{folder}/cmdline", "rb") as file:
                        words = file.read().replace(b"\0", b" ").decode("ascii", "backslashreplace")
                    with open(f"{folder}/stat", encoding="ascii", errors="replace") as file:
                        state = file.read().rpartition(")")[2].split()[0]
                    if state not in "ZX":  # ended, and waits for its parent to look
                        found.append(f"{os.path.basename(folder)} {state} {words}")
            except OSError:
                continue
        return found

    def _users(self):
        return [USERS["tester"]] if self.quick else list(USERS.values())

    def _make_places(self):
        tree = os.getcwd()
        if self.is_root:
            for kind, user in USERS.items():
                if user in self._users():
                    self._make_user_place(kind, user)
            self._add_place("root", None, self._folder("root"), tree)
            self.places["caller"] = self.places["root"]
        else:
            self._add_place("tester", None, self._folder("home"), tree)
            self.places["caller"] = self.places["tester"]
        if not self.quick:
            for place in {id(place): place for place in self.places.values()}.values():
                self._import_image(place)

    def _folder(self, name):
        path = os.path.join(self.top, name)
        os.mkdir(path, 0o700)
        return path

    def _make_user_place(self, kind, user):
        subprocess.run(["tests/lib/testuser.sh", "add", user], check=True)
        home = self._folder(kind)
        tree = os.path.join(home, "tree")
        os.mkdir(tree)
        self._stage(tree)
        subprocess.run(["chown", "-R", f"{user}:", home], check=True)
        self._add_place(kind, user, home, tree)

    def _stage(self, tree):
        """The sources, what make built without the objects, and what names the image's state."""
        flavour = os.path.join("build", os.path.basename(self.build))
        built = [os.path.join(flavour, kind) for kind in ("bin", "unit", "platform", "tools", "bench", "faults")]
        built = [path for path in [*built, "build/fuzz/fuzz", "build/bin", ARCHIVE + ".inputs"] if os.path.exists(path)]
        pack = subprocess.Popen(["tar", "-c", "--exclude=./.git", "--exclude=./build", ".", *built],
                                stdout=subprocess.PIPE)  # fmt: skip
        subprocess.run(["tar", "-x", "-C", tree, "--no-same-owner"], stdin=pack.stdout, check=True)
        if pack.wait() != 0:
            raise RuntimeError("the tree could not be copied")

    def _add_place(self, kind, user, home, tree):
        store = pwd.getpwnam(user).pw_dir if user else os.path.abspath("build/check")
        data = os.path.join(store, "data")
        os.makedirs(data, 0o700, exist_ok=True)
        if user:
            shutil.chown(data, user, user)
        place = Place(user, home, tree)
        place.env = {
            "HOME": home, "PATH": PATH, "LANG": "C.UTF-8", "USER": user or pwd.getpwuid(os.geteuid()).pw_name,
            "XDG_DATA_HOME": data,
            "BOTTLE": os.path.join(tree, "build", os.path.basename(self.build), "bin/bottle"),
            "BOTTLE_TEST_BUILD": os.path.join(tree, "build", os.path.basename(self.build)),
            "ASAN_OPTIONS": "abort_on_error=1:detect_leaks=1",
        }  # fmt: skip
        self.places[kind] = place

    def _import_image(self, place):
        if not os.path.exists(ARCHIVE):
            return
        script = ["sh", f"{place.tree}/packaging/import-image.sh", place.env["BOTTLE"], "-",
                  f"{place.tree}/{ARCHIVE}.inputs"]  # fmt: skip
        with open(ARCHIVE, "rb") as archive:
            subprocess.run(place.command(script), stdin=archive, stdout=subprocess.DEVNULL,
                           env=place.env, cwd="/", check=True)  # fmt: skip

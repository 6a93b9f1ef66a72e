#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The rules of the house that a program can read. Prints TAP: one test for each rule.

A rule is a generator of complaints, "file:line: sentence"; @rule puts it on the list. A rule whose
tool is not installed is skipped and says so.
"""

import ast
import glob
import os
import re
import shutil
import subprocess
import sys

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FILE_LINES, FUNCTION_LINES = 600, 60

# A folder may include from itself and from these.
LAYERS = {
    "base": (),
    "config": ("base",),
    "ca": ("base",),
    "netns": ("base",),
    "rootfs": ("base",),
    "proxy": ("base", "config", "ca"),
    "runtime": ("base", "config", "ca", "netns", "rootfs"),
}
# A library's headers, and where alone they may be named.
LIBRARIES = {
    "libnl (netlink/)": (r"netlink/(?!.*linux)", ("netns/",)),
    "OpenSSL": (r"openssl/", ("ca/", "proxy/")),
    "libyaml": (r"yaml\.h", ("config/",)),
    "libarchive": (r"archive(_entry)?\.h", ("rootfs/",)),
    "libcap": (r"sys/capability\.h", ("runtime/caps.c",)),
    "libseccomp": (r"seccomp\.h", ("runtime/seccomp_rules.h", "runtime/gen/")),
}
# Words that no C source has outside comments and strings, and why.
WORDS = {
    r"\bgoto\b": "cleanup is by attribute",
    r"\b(strcpy|strcat|sprintf|vsprintf|gets|strtok)\s*\(": "has no bound",
    r"\b(system|popen)\s*\(": "runs a shell",
    r"\balloca\s*\(": "has no bound",
    r"\b(atoi|atol|atoll)\s*\(": "cannot fail; str_to_u64",
}
LATER = r"\b(TODO|FIXME|XXX|HACK)\b"
# What belongs to one machine, or to the making of this tree.
FOREIGN = r"/work/(main|shared|\.library)|bash_jobs|\b(deb|security|snapshot)\.debian\.org|npmjs|pypi\.org|crates\.io|proxy\.golang"

rules = []


class Skip(Exception):
    """The rule cannot be read here; its text says why."""


def rule(check):
    rules.append(check)
    return check


def text_of(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def files(*endings, under=None):
    """Paths of the tree (not of build/), sorted."""
    found = []
    for folder, folders, names in os.walk("."):
        folders[:] = [f for f in folders if f not in (".git", "build", "__pycache__")]
        found += [os.path.join(folder, name)[2:] for name in names if name.endswith(endings)]
    return sorted(p for p in found if under is None or p.startswith(under))


def c_files():
    return files(".c", ".h")


def product_files():
    return [path for path in c_files() if path.split("/")[0] in LAYERS]


def without_comments(text, strings=False):
    """Blanks comments (and strings), keeping every newline."""
    token = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)

    def blank(match):
        if match[0][0] in "\"'" and not strings:
            return match[0]
        return re.sub(r"[^\n]", " ", match[0])

    return token.sub(blank, text)


def includes(path):
    for number, line in enumerate(without_comments(text_of(path)).splitlines(), 1):
        match = re.match(r'\s*#\s*include\s*([<"])([^>"]+)[>"]', line)
        if match:
            yield number, match[1], match[2]


@rule
def includes_look_down():
    for path in product_files():
        layer = path.split("/")[0]
        for number, quote, name in includes(path):
            if quote != '"':
                continue
            target = name.split("/")[0]
            generated = name in ("seccomp_filters.h", "native_digest.h")
            if not generated and "/" not in name:
                yield f'{path}:{number}: "{name}": write includes from the root'
            elif not generated and target != layer and target not in LAYERS[layer]:
                yield f'{path}:{number}: {layer}/ may not include "{name}"'


@rule
def libraries_stay_at_home():
    for path in product_files():
        for number, quote, name in includes(path):
            for library, (header, homes) in LIBRARIES.items():
                if quote == "<" and re.match(header, name) and not path.startswith(homes):
                    yield f"{path}:{number}: <{name}>: {library} is used in {', '.join(homes)} only"


@rule
def files_are_short():
    for path in c_files() + files(".py", ".bats", ".sh"):
        lines = text_of(path).count("\n")
        if lines > FILE_LINES:
            yield f"{path}: {lines} lines, the limit is {FILE_LINES}"


@rule
def functions_are_short():
    """clang-format puts a function's braces, and nothing else's, alone into the first column."""
    for path in c_files():
        start = None
        for number, line in enumerate(text_of(path).splitlines(), 1):
            if line == "{":
                start = number
            elif line.startswith("}") and start:
                if number - start - 1 > FUNCTION_LINES:
                    yield f"{path}:{start}: a function of {number - start - 1} lines, the limit is {FUNCTION_LINES}"
                start = None


@rule
def sources_have_a_licence():
    scripts = [p for p in files("") if os.access(p, os.X_OK) or "/deps/" in p]
    exempt = ("LICENSE", "packaging/deps/")
    for path in c_files() + files(".py", ".sh", ".bats", ".bash", "Makefile", ".scd") + scripts:
        if path.startswith(exempt):
            continue
        if "SPDX-License-Identifier: Apache-2.0" not in text_of(path)[:400]:
            yield f"{path}:1: no SPDX line"


@rule
def files_say_what_they_are():
    """Each .c of the product opens with its purpose and the process that it runs in."""
    for path in product_files():
        if path.endswith(".c") and not re.search(r"(Runs in|Runs when|See |; see )", text_of(path)[:1500]):
            yield f"{path}:1: the opening comment names no process ('Runs in: ...')"


@rule
def formatted():
    if not shutil.which("clang-format"):
        raise Skip("clang-format is not installed")
    run = subprocess.run(["clang-format", "--dry-run", "-Werror", *c_files()], capture_output=True, text=True)
    for line in run.stderr.splitlines():
        if "error:" in line:
            yield line.replace("error: code should be clang-formatted", "not as clang-format writes it")


@rule
def words_that_are_not_used():
    for path in c_files():
        words = WORDS if path.split("/")[0] in LAYERS else {r"\bgoto\b": WORDS[r"\bgoto\b"]}
        for number, line in enumerate(without_comments(text_of(path), strings=True).splitlines(), 1):
            for word, reason in words.items():
                match = re.search(word, line)
                if match:
                    yield f"{path}:{number}: {match[0].strip()}: {reason}"


def own_words():
    return [p for p in files("") if not p.startswith(("tests/lint/lint.py", "LICENSE"))]


def lines_of_all():
    for path in own_words():
        try:
            lines = text_of(path).splitlines()
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(lines, 1):
            yield path, number, line


@rule
def nothing_left_for_later():
    for path, number, line in lines_of_all():
        match = re.search(LATER, line)
        if match and not re.search(r"mktemp|X{6}", line):
            yield f"{path}:{number}: {match[0]}"


@rule
def nothing_of_one_machine():
    for path, number, line in lines_of_all():
        match = re.search(FOREIGN, line)
        if match:
            yield f"{path}:{number}: {match[0]}"


@rule
def no_space_at_the_end():
    for path, number, line in lines_of_all():
        if line != line.rstrip() and not path.endswith((".txt", ".md")):
            yield f"{path}:{number}: space at the end of the line"


def options():
    table = re.findall(r'X\(\s*\w+,\s*"([a-z-]+)",\s*(0|\'(.)\')', text_of("runtime/options.h"))
    if not table:
        raise Skip("no table of options in runtime/options.h")
    return [(name, letter) for name, _, letter in table]


@rule
def options_are_documented():
    """Every option of the table stands in the manual and in each completion."""
    for place in ("man/bottle.1.scd", "completions/bottle.bash", "completions/_bottle",
                  "completions/bottle.fish"):  # fmt: skip
        text = text_of(place)
        for name, letter in options():
            spelled = f"-l {name}\\b" if place.endswith(".fish") else f"--{name}\\b"
            if not re.search(spelled, text):
                yield f"{place}: --{name} is missing"
            if letter and place.endswith(".scd") and f"-{letter}" not in text:
                yield f"{place}: -{letter} is missing"


@rule
def documented_options_exist():
    known = {name for name, _ in options()} | {"json", "tag", "help", "version"}
    for number, line in enumerate(text_of("man/bottle.1.scd").splitlines(), 1):
        for name in re.findall(r"^\*(?:-\w\*, \*)?--([a-z-]+)\*", line):
            if name not in known:
                yield f"man/bottle.1.scd:{number}: --{name}: there is no such option"


@rule
def manifest_keys_are_documented():
    rows = re.findall(r'^KEY\(\w+, [\w.]+, "([^"]+)"', text_of("config/keys.h"), re.M)
    if len(rows) < 10:
        yield f"config/keys.h: only {len(rows)} keys were found in its table"
    manual = text_of("man/bottle.yaml.5.scd")
    for key in rows:
        last = key.split(".")[-1].strip("[]*")
        if not re.search(rf"\b{re.escape(last)}\b", manual.replace("\\_", "_")):
            yield f"man/bottle.yaml.5.scd: the key {key} is missing"


@rule
def manuals_format():
    if not shutil.which("scdoc"):
        raise Skip("scdoc is not installed")
    for path in sorted(glob.glob("man/*.scd")):
        with open(path, encoding="utf-8") as file:
            run = subprocess.run(["scdoc"], stdin=file, capture_output=True, text=True)
        if run.returncode:
            yield f"{path}: {run.stderr.strip()}"


def shell_scripts():
    def is_shell(path):
        with open(path, "rb") as file:
            return re.match(rb"#!\s*(/bin/sh|/bin/bash|/usr/bin/env (ba)?sh)", file.readline()) is not None

    return [path for path in files("") if is_shell(path) or path.endswith((".sh", ".bash"))]


@rule
def shell_is_sound():
    if not shutil.which("shellcheck"):
        raise Skip("shellcheck is not installed")
    bats = files(".bats", ".bash", under="tests/")
    others = [path for path in shell_scripts() if path not in bats]
    # Not for bats: $status and $output come from its `run`, and a word may be spelled like a keyword.
    for arguments in (["-x", "-e", "SC2016", *others],
                      ["-s", "bats", "-S", "warning", "-e", "SC1010,SC1091,SC2030,SC2031,SC2034,SC2154", *bats]):
        run = subprocess.run(["shellcheck", "-f", "gcc", *arguments], capture_output=True, text=True)
        yield from run.stdout.splitlines()


@rule
def python_is_sound():
    def is_python(path):
        with open(path, "rb") as file:
            return re.match(rb"#!.*python3", file.readline()) is not None

    paths = [path for path in files("") if path.endswith(".py") or is_python(path)]
    for path in paths:
        try:
            ast.parse(text_of(path), path)
        except SyntaxError as error:
            yield f"{path}:{error.lineno}: {error.msg}"
    if shutil.which("pyflakes3"):
        run = subprocess.run(["pyflakes3", *paths], capture_output=True, text=True)
        yield from run.stdout.splitlines()


PROMISE = r"\b(?:NET|REQ|SEC|POW|FILE|TTY|LOG|END|TRUST)-[0-9]+\b"


@rule
def every_promise_has_its_attack():
    """One attack for each promise of the threat model, with the same id in both."""
    promised = set(re.findall(rf"^\| ({PROMISE}) \|", text_of("docs/threat-model.md"), re.M))
    attacked = set()
    for path in files(".bats", under="tests/"):
        for line in text_of(path).splitlines():
            if line.startswith("@test"):
                attacked |= set(re.findall(PROMISE, line))
    if not promised:
        yield "docs/threat-model.md: no table of promises was found"
    yield from (f"docs/threat-model.md: {name}: no @test names it" for name in sorted(promised - attacked))
    yield from (f"tests/: {name}: docs/threat-model.md does not know it" for name in sorted(attacked - promised))


def main():
    os.chdir(TOP)
    print(f"1..{len(rules)}")
    bad = 0
    for number, check in enumerate(rules, 1):
        name = check.__name__.replace("_", " ")
        try:
            complaints = list(check())
        except Skip as reason:
            print(f"ok {number} - {name} # SKIP {reason}")
            continue
        except FileNotFoundError as missing:
            complaints = [f"{missing.filename}: is missing"]
        bad += bool(complaints)
        print(f"{'not ok' if complaints else 'ok'} {number} - {name}")
        for complaint in complaints[:40]:
            print(f"# {complaint}")
        if len(complaints) > 40:
            print(f"# and {len(complaints) - 40} more")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())

#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Installs what is missing of the named package sets (files of packaging/deps/), from Debian's
# archive and nowhere else.
# usage: deps.sh [-n] SET...             (-n: only print what is missing, exit 1 if something is)
#
# Holds: what the caller holds. Calls apt-get when it is root or `sudo -n` works; otherwise it prints
# the exact line and ends with 1. Nothing missing: one dpkg-query, some milliseconds.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
policy=/usr/sbin/policy-rc.d
dry_run=
PATH=$PATH:/usr/sbin:/sbin

fail() {
	echo "deps.sh: $*" >&2
	exit 1
}

# Lines of the sets without comments: "NAME [service=UNITS] [command=NAME]", wanted ones with "?" in
# front. Of a package for a command that is there nothing is said: to install it could take away the
# package that the command is of.
entries() {
	for set in $sets; do
		[ -f "$here/deps/$set" ] || fail "no such set: $set"
		sed 's/#.*//; s/[ \t]*$//; /^$/d' "$here/deps/$set"
	done | while IFS= read -r line; do
		case $line in
		*command=*) command -v "${line##*command=}" >/dev/null && continue ;;
		esac
		echo "$line"
	done
}

# Of the names on stdin those that are not installed.
missing_of() {
	names=$(cat)
	# shellcheck disable=SC2086
	installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' $names 2>/dev/null |
		sed -n 's/^installed //p')
	for name in $names; do
		echo "$installed" | grep -qxF "$name" || echo "$name"
	done
}

run_as_root() {
	if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

may_install() {
	[ "$(id -u)" = 0 ] || { command -v sudo && sudo -n true; } >/dev/null 2>&1
}

apt_install() {
	run_as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y \
		-o DPkg::Lock::Timeout=300 install --no-install-recommends "$@"
}

# The daemons among the packages are the tests' tools. policy-rc.d is Debian's way to say that
# nothing starts while they are installed; a policy that is already there is left alone.
without_services() {
	if [ -e "$policy" ]; then
		"$@"
		return
	fi
	printf '#!/bin/sh\nexit 101\n' | run_as_root sh -c "cat >$policy && chmod 755 $policy"
	trap 'run_as_root rm -f $policy' EXIT
	trap 'exit 130' INT TERM HUP
	"$@"
	run_as_root rm -f "$policy"
	trap - EXIT INT TERM HUP
}

# Also not after the next boot; only those that were not installed before.
disable_services() {
	[ -n "$1" ] && command -v systemctl >/dev/null || return 0
	# shellcheck disable=SC2086
	run_as_root systemctl --quiet disable $1 >/dev/null 2>&1 || true
}

install_missing() {
	need=$1 want=$2
	units=$(for name in $need $want; do
		entries | sed -n "s/^?* *${name}[ \t].*service=\([^ \t]*\).*/\1/p" | tr ',' ' '
	done)
	run_as_root apt-get -q update || echo "deps.sh: apt-get update failed; going on with the old lists" >&2
	# shellcheck disable=SC2086
	[ -z "$need" ] || without_services apt_install $need
	for name in $want; do
		without_services apt_install "$name" ||
			echo "deps.sh: $name did not install; what needs it will be skipped" >&2
	done
	disable_services "$units"
}

while getopts n option; do
	case $option in
	n) dry_run=1 ;;
	*) exit 2 ;;
	esac
done
shift $((OPTIND - 1))
[ $# -gt 0 ] || fail "usage: deps.sh [-n] SET...   (sets: $(cd "$here/deps" && echo *))"
sets=$*

command -v dpkg-query >/dev/null ||
	fail "this is no Debian: install what these lists name by your own system's means:" \
		"$(for set in $sets; do echo "packaging/deps/$set"; done | xargs)"

# One at a time: make -j starts several, and whoever is ready first would take the policy from under the
# others, or update the lists beside them.
exec 9<"$here/deps.sh"
flock 9

need=$(entries | grep -v '^?' | cut -d' ' -f1 | missing_of | xargs)
want=$(entries | sed -n 's/^? *//p' | cut -d' ' -f1 | missing_of | xargs)
[ -n "$need$want" ] || exit 0
if [ -n "$dry_run" ]; then
	echo "$need $want" | xargs -n 1
	exit 1
fi
if ! may_install; then
	[ -n "$need" ] || exit 0
	fail "missing: $need
Install them with this line and start again:
  sudo apt-get update && sudo apt-get install -y --no-install-recommends $need $want"
fi
install_missing "$need" "$want"
left=$(echo "$need" | missing_of | xargs)
[ -z "$left" ] || fail "still missing after apt-get: $left"

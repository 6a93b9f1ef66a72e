#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# The unprivileged users that tests run as when root starts them.
# usage: testuser.sh add NAME | remove
#
# They are system users without a password and with /usr/sbin/nologin; a name that ends in -nosub
# has no subordinate ids, others get 65536. They are kept, with the images imported for them under
# /var/lib/NAME, so that the next run is quick. `remove` takes users and folders away again.
#
# Runs as root. Needs: passwd (useradd), uidmap.
set -eu

fail() {
	echo "testuser.sh: $*" >&2
	exit 1
}

# Past every range that is given out already.
next_range() {
	cat /etc/subuid /etc/subgid 2>/dev/null |
		awk -F: '{ end = $2 + $3; if (end > top) top = end }
			END { if (top < 100000) top = 100000; printf "%d-%d\n", top, top + 65535 }'
}

add() {
	name=$1
	if ! id "$name" >/dev/null 2>&1; then
		useradd --system --user-group --home-dir "/var/lib/$name" --create-home \
			--shell /usr/sbin/nologin --comment "bottle's tests" "$name"
	fi
	case $name in
	*-nosub) ;;
	*)
		grep -q "^$name:" /etc/subuid 2>/dev/null && grep -q "^$name:" /etc/subgid 2>/dev/null && return
		range=$(next_range)
		usermod --add-subuids "$range" --add-subgids "$range" "$name"
		;;
	esac
}

remove() {
	for name in bottle-test bottle-test-nosub; do
		! id "$name" >/dev/null 2>&1 || userdel --remove "$name" 2>/dev/null
	done
}

[ "$(id -u)" = 0 ] || fail "only root can make users"
case ${1-}:${2-} in
add:bottle-test*) add "$2" ;;
remove:) remove ;;
*) fail "usage: testuser.sh add bottle-test[-SUFFIX] | remove" ;;
esac

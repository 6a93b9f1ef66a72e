#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# What no package does for the image: the user, the folders of the contract, the trust store and
# the compiled Python. `base ROOT` after the packages, `app ROOT SOURCE` for the proxy's own files.
#
# Runs in: rootfs/build-image.sh (as root of a user namespace, ROOT a folder) and in
# Dockerfile.egress-proxy (as root of the build container, ROOT /). Holds: ROOT.
#
# Byte code is compiled with unchecked hashes: an image store may give every file another mtime,
# and a .pyc that Python takes for stale costs seconds at each start (the root is read-only, so it
# is never written back).
set -eu

in_root() {
	root=$1
	shift
	if [ "$root" = / ]; then "$@"; else chroot "$root" "$@"; fi
}

compile() {
	in_root "$1" /usr/bin/python3 -I -m compileall -q -f --invalidation-mode unchecked-hash \
		-x '/(lib2to3|test|tests|tools/web)/' "$2" >/dev/null
}

add_user() {
	for table in passwd group; do
		if ! [ -e "$1/etc/$table" ]; then
			cp "$1/usr/share/base-passwd/$table.master" "$1/etc/$table"
		fi
	done
	if ! grep -q '^mitmproxy:' "$1/etc/passwd"; then
		echo 'mitmproxy:x:1000:1000:egress proxy:/home/mitmproxy:/usr/sbin/nologin' >>"$1/etc/passwd"
		echo 'mitmproxy:x:1000:' >>"$1/etc/group"
	fi
	mkdir -p "$1/home/mitmproxy/.mitmproxy" "$1/etc/egress-proxy"
	chmod 0755 "$1/home/mitmproxy" "$1/etc/egress-proxy"
	chmod 0700 "$1/home/mitmproxy/.mitmproxy"
	chown -R 1000:1000 "$1/home/mitmproxy"
}

# Where no maintainer script ran there is no bundle yet.
add_trust_store() {
	bundle=$1/etc/ssl/certs/ca-certificates.crt
	[ -s "$bundle" ] && return
	mkdir -p "$1/etc/ssl/certs"
	cat "$1"/usr/share/ca-certificates/mozilla/*.crt >"$bundle"
}

# mmdebstrap copies the builder's name and resolver into the root. Inside a container these two are
# the container's own mounts.
forget_host() {
	[ "$1" = / ] && return
	: >"$1/etc/hostname"
	: >"$1/etc/resolv.conf"
}

# Without the file glibc has a default, which changed from release to release.
add_name_service() {
	[ -e "$1/etc/nsswitch.conf" ] || echo 'hosts: files dns' >"$1/etc/nsswitch.conf"
}

# What maintainer scripts may have needed and the proxy does not.
trim() {
	rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/* "$1"/var/cache/ldconfig \
		"$1"/var/log/* "$1"/etc/apt/sources.list* "$1"/var/lib/dpkg/*-old \
		"$1"/usr/share/perl5 "$1"/usr/share/perl \
		"$1"/usr/lib/python3*/test "$1"/usr/lib/python3*/idlelib \
		"$1"/usr/lib/python3*/lib2to3 "$1"/usr/lib/python3*/pydoc_data \
		"$1"/usr/lib/python3/dist-packages/mitmproxy/tools/web \
		"$1"/usr/lib/python3/dist-packages/mitmproxy/tools/console
}

base() {
	add_name_service "$1"
	add_user "$1"
	add_trust_store "$1"
	if [ -x "$1/sbin/ldconfig" ]; then in_root "$1" /sbin/ldconfig; fi
	trim "$1"
	forget_host "$1"
	compile "$1" /usr/lib/python3
	compile "$1" "$(in_root "$1" /usr/bin/python3 -I -c 'import os; print(os.path.dirname(os.__file__))')"
}

app() {
	into=$1/usr/lib/egress-proxy
	mkdir -p "$into"
	cp "$2/entrypoint" "$into/entrypoint"
	rm -rf "$into/egress_proxy"
	mkdir "$into/egress_proxy"
	cp "$2"/egress_proxy/*.py "$into/egress_proxy/"
	chmod 0755 "$into" "$into/egress_proxy" "$into/entrypoint"
	chmod 0644 "$into"/egress_proxy/*.py
	compile "$1" /usr/lib/egress-proxy
}

"$@"

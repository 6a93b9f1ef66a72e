# shellcheck shell=sh
# SPDX-License-Identifier: Apache-2.0
#
# How this host's apt reaches its packages, for mmdebstrap. Sourced by rootfs/build-image.sh and by
# tests/lib/make-docker-base.

# The host's release, where the host is Debian.
host_suite() {
	[ -r /etc/os-release ] || return 0
	# shellcheck source=/dev/null
	(. /etc/os-release && [ "${ID:-}" = debian ] && echo "${VERSION_CODENAME:-}") || true
}

# The host's sources of this suite, as one-line entries (both of apt's forms are read). Nothing
# where the host has none: mmdebstrap then takes Debian's default mirror.
host_sources() {
	suite=$1
	cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null |
		awk -v suite="$suite" '
		/^deb[ \t]/ {
			at = 2; options = ""
			if ($2 ~ /^\[/) { do { options = options " " $at } while ($(at++) !~ /\]$/) }
			if ($(at + 1) ~ "^" suite "(-updates|-security)?$") print
		}'
	for file in /etc/apt/sources.list.d/*.sources; do
		[ -r "$file" ] && awk -v suite="$suite" '
		function flush(    i, j, n, m, u, s, opt) {
			n = split(field["uris"], u); m = split(field["suites"], s)
			opt = field["signed-by"] ~ /^\// ? "[signed-by=" field["signed-by"] "] " : ""
			if (field["enabled"] != "no" && field["types"] ~ /(^| )deb( |$)/)
				for (i = 1; i <= n; i++) for (j = 1; j <= m; j++)
					if (s[j] ~ "^" suite "(-updates|-security)?$")
						print "deb " opt u[i] " " s[j] " " field["components"]
			split("", field)
		}
		/^#/ { next }
		/^[ \t]*$/ { flush(); next }
		/^[A-Za-z-]+:/ {
			key = tolower(substr($0, 1, index($0, ":") - 1))
			value = substr($0, index($0, ":") + 1)
			gsub(/^[ \t]+|[ \t]+$/, "", value); field[key] = value
		}
		END { flush() }' "$file"
	done
	return 0
}

# How the host reaches its mirrors: a proxy, its CA, its retries.
host_apt_options() {
	apt-config dump 2>/dev/null | grep -E '^Acquire::(https?::|Retries )[^"]*"[^"]+";$' || true
}

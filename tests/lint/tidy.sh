#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# `make tidy`: what clang-tidy (.clang-tidy) and cppcheck see. Slow, and not part of the check.
# usage: tidy.sh BUILD FILE...
set -eu

build=$1
shift
flags="-std=c11 -D_GNU_SOURCE -I. -I$build/gen -I/usr/include/libnl3"
status=0

printf '%s\n' "$@" | xargs -P "$(nproc)" -n 4 sh -c '
	flags=$1; shift; clang-tidy --quiet "$@" -- $flags 2>/dev/null' tidy "$flags" || status=1
# shellcheck disable=SC2086
cppcheck --quiet --std=c11 -D_GNU_SOURCE -I. --enable=warning,performance,portability \
	--inline-suppr --suppress=missingIncludeSystem --error-exitcode=1 -j "$(nproc)" "$@" || status=1
exit $status

#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# A short run of one fuzz target, as `make check` has it: its seeds, and what a few seconds find from there.
# Exit status 77 and a reason: it was not built.
# usage: short.sh TARGET
set -eu

seconds=5
program=build/fuzz/fuzz/$1
[ -x "$program" ] || {
	echo "no clang with libFuzzer: packages clang and libclang-rt-dev"
	exit 77
}
found=$(mktemp -d)
trap 'rm -rf "$found"' EXIT
seeds=tests/fuzz/corpus/$1
set -- "$found"
[ ! -d "$seeds" ] || set -- "$found" "$seeds"
"$program" -max_total_time="$seconds" -timeout=30 -rss_limit_mb=2048 -print_final_stats=1 -artifact_prefix="$found/" "$@"

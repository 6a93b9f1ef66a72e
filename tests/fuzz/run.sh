#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Runs each fuzz target for so many seconds. What is found grows build/corpus/TARGET; an input that
# breaks a promise is left in build/crashes with the line that runs it again.
# usage: run.sh BUILD SECONDS
#
# Seeds: tests/fuzz/corpus/TARGET and, for the two readers of YAML, the good files of the unit tests.
set -eu

build=$1
seconds=$2
failed=0
passed=0

# A time-out is by the wall's clock, which goes on while a busy machine runs nothing of ours: what is
# done in time when it is run again alone was none.
was_only_late() {
	late=$(sed -n "s|.*Test unit written to \(.*/timeout-.*\)|\1|p" "build/crashes/$2/log")
	[ -n "$late" ] && "$1" -timeout=10 "$late" >/dev/null 2>&1 && rm "$late"
}

for program in "$build"/fuzz/fuzz_*; do
	[ -x "$program" ] || continue
	target=$(basename "$program")
	mkdir -p "build/corpus/$target" "build/crashes/$target"
	set -- "build/corpus/$target"
	[ ! -d "tests/fuzz/corpus/$target" ] || set -- "$@" "tests/fuzz/corpus/$target"
	if "$program" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
		-artifact_prefix="build/crashes/$target/" "$@" >"build/crashes/$target/log" 2>&1 ||
		was_only_late "$program" "$target"; then
		passed=$((passed + 1))
		echo "ok     $target: $(sed -n 's/^stat::number_of_executed_units: *//p' \
			"build/crashes/$target/log") inputs in $seconds s"
	else
		failed=$((failed + 1))
		echo "FAILED $target: again with: $program build/crashes/$target/crash-..."
		tail -n 30 "build/crashes/$target/log"
	fi
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" != 0 ]

#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Whether there is a clang, and its libFuzzer with the sanitizers.
made=$(mktemp) || exit 1
trap 'rm -f "$made"' EXIT
echo 'int LLVMFuzzerTestOneInput(void) { return 0; }' |
	clang -x c -fsanitize=fuzzer,address,undefined -o "$made" - 2>/dev/null

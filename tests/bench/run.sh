#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# `make bench`: what a start costs next to `unshare` and `bwrap`, then the other programs of this
# folder with their defaults. Numbers are of this machine and this moment; a busy one shows in the
# distance between median and quartile.
# usage: run.sh BUILD [ROUNDS]
set -eu

here=$(cd "$(dirname "$0")" && pwd)
build=$(realpath "$1")
rounds=${2:-30}
bottle=$build/bin/bottle
work=$(mktemp -d /var/tmp/bottle-bench.XXXXXX)
trap 'rm -rf "$work"' EXIT
cd "$work"
mkdir run
chmod 700 run
export XDG_RUNTIME_DIR="$work/run" XDG_STATE_HOME="$work/state"
mkdir inside
cp "$build/bench/start" inside/
cd inside

[ "$(id -u)" != 0 ] ||
	echo "Started as root: unshare and bwrap do not have to make user namespaces work without it."
echo "From exec to the first line of the program's main(), $rounds rounds:"
./start "$rounds" \
	"unshare -Urnm" unshare -Urnm -- \
	"bwrap --unshare-all" bwrap --unshare-all --ro-bind / / --dev /dev --proc /proc -- \
	"bottle run" "$bottle" run --quiet --timings --allow api.example.com
cd ..
for program in "$build"/bench/*; do
	name=$(basename "$program")
	[ "$name" = start ] || { echo && echo "$name:" && "$program"; }
done
echo && echo "docker:" && "$here/docker.sh" "$build"

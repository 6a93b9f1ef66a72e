#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# The whole life of a bottle, from exec to exit, with Docker next to without it, in one run: the program inside is
# `true`. Printed are median and lower quartile of each, in milliseconds.
# usage: docker.sh BUILD [ROUNDS]
#
# Runs as: root, where there is a dockerd; for others it says why not. The daemon is one of its own
# (tests/lib/start-dockerd), and the images are there before the first round.
set -eu

build=$(realpath "$1")
rounds=${2:-10}
here=$(cd "$(dirname "$0")" && pwd)
bottle=$build/bin/bottle

if [ "$(id -u)" != 0 ] || ! command -v dockerd >/dev/null; then
	echo "skipped: needs root and a dockerd"
	exit 0
fi

work=$(mktemp -d /var/tmp/bottle-bench.XXXXXX)
daemon=
end() {
	[ -z "$daemon" ] || { kill "$daemon" && wait "$daemon"; } || true
	rm -rf "$work"
}
trap end EXIT
trap 'exit 130' INT TERM HUP
cd "$work"
mkdir run inside
chmod 700 run
export XDG_RUNTIME_DIR="$work/run" XDG_STATE_HOME="$work/state" XDG_DATA_HOME="$work/data"

mkfifo says
"$here/../lib/start-dockerd" "$work/d" >says 2>daemon.log &
daemon=$!
read -r DOCKER_HOST <says || { cat daemon.log >&2 && exit 1; }
export DOCKER_HOST DOCKER_CONFIG="$work/config"
docker load -q <"$build/bin/native.oci.tar" >/dev/null

# The agent's image: the program, static, and nothing else.
mkdir root
cc -static -Os -o root/true -x c - <<-'END'
	int main(void) { return 0; }
END
cp root/true inside/
tar -C root -c . | docker import - agent >/dev/null
cat >manifest.yaml <<-END
	name: bench
	egress: {routes: [{host: api.example.com}]}
	agent: {image: agent}
END

# once BACKEND: milliseconds
once() {
	begun=$(date +%s%N)
	"$bottle" run --quiet --no-stdin --backend "$1" -f "$work/manifest.yaml" -- "$2" >"$work/said" 2>&1 ||
		{ cat "$work/said" >&2 && exit 1; }
	echo $((($(date +%s%N) - begun) / 1000000))
}

show() { sort -n "$2" | awk -v name="$1" '{ v[NR] = $1 }
	END { printf "  %-28s median %5d ms, quartile %5d ms\n", name, v[int((NR + 1) / 2)], v[int((NR + 3) / 4)] }'; }

cd inside
once docker /true >/dev/null
once namespaces "$work/inside/true" >/dev/null
for _ in $(seq "$rounds"); do
	once namespaces "$work/inside/true" >>"$work/namespaces"
	once docker /true >>"$work/docker"
done
echo "From exec to exit of \`bottle run -- true\`, $rounds rounds, native proxy:"
show "--backend namespaces" "$work/namespaces"
show "--backend docker" "$work/docker"

#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Makes the egress proxy's image as an OCI archive, without Docker and without root.
# usage: build-image.sh [-f] [-o ARCHIVE]        (-f: also when nothing changed)
#
# Needs: mmdebstrap, util-linux's unshare, tar, sha256sum. Holds: what the caller holds.
#
# Two layers. The first is Debian's packages, made by mmdebstrap from the host's own apt sources
# (`extract` variant: no maintainer script runs; finish.sh does what they would have done). The
# second is the proxy's own files. The first is kept in the output folder under the digest of what it
# was made from, so that a change of the proxy's files costs seconds and no network. A security
# update of a package is no change of these inputs: -f makes the image anew.
#
# mmdebstrap runs its hooks under a subordinate uid, which cannot read a caller's 0700 home:
# everything that a hook needs is handed over as text, and the layer comes back on stdout.
#
# Environment: SUITE (Debian release; default: the host's, where the host is Debian, else
# bookworm), SOURCE_DATE_EPOCH.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
source=$here/mitmproxy
# shellcheck source=rootfs/host-apt.sh disable=SC1091
. "$here/host-apt.sh"
out=build/image/egress-proxy-mitmproxy.oci.tar
name=egress-proxy-mitmproxy:latest
version=1
force=
export SOURCE_DATE_EPOCH="${SOURCE_DATE_EPOCH:-1700000000}" LC_ALL=C
export PATH="$PATH:/usr/sbin:/sbin" # chroot(8); not every user has it

fail() {
	echo "build-image.sh: $*" >&2
	exit 125
}

while getopts fo: option; do
	case $option in
	f) force=1 ;;
	o) out=$OPTARG ;;
	*) exit 2 ;;
	esac
done

suite=${SUITE:-$(host_suite)}
suite=${suite:-bookworm}

sum() { sha256sum | cut -d' ' -f1; }
sum_of() { sha256sum "$1" | cut -d' ' -f1; }

inputs_of() {
	for file in "$@"; do printf '%s ' "${file#"$here"}" && sum_of "$file"; done
	echo "$suite $version $SOURCE_DATE_EPOCH $(dpkg --print-architecture)"
}

choose_mode() {
	if [ "$(id -u)" = 0 ]; then
		echo root
	elif grep -Eq "^($(id -un)|$(id -u)):" /etc/subuid 2>/dev/null; then
		echo unshare
	else
		fail "$(id -un) has no line in /etc/subuid: make the archive on another machine and" \
			"run 'bottle image import ARCHIVE' here, or 'usermod --add-subuids 100000-165535 $(id -un)'"
	fi
}

make_base_layer() {
	base_packages=$(sed 's/#.*//' "$source/packages" | xargs | tr ' ' ',')
	sources=$(host_sources "$suite")
	host_apt_options >"$work/apt.conf"
	sed 's/#.*//; /^[ \t]*$/d' "$source/dpkg-trim.cfg" >"$work/dpkg.cfg"
	hook="root=\$1
$(sed '$d' "$source/finish.sh")
base \"\$root\""
	# With no mirror named on the command line, an empty stdin means mmdebstrap's default one.
	set -- --mode="$1" --variant=extract --format=tar --include="$base_packages" \
		--aptopt='APT::Install-Recommends "false"' \
		--skip=output/dev,output/mknod --extract-hook="$hook"
	while IFS= read -r line; do set -- "$@" --aptopt="$line"; done <"$work/apt.conf"
	while IFS= read -r line; do set -- "$@" --dpkgopt="$line"; done <"$work/dpkg.cfg"
	if [ -n "$sources" ]; then
		printf '%s\n' "$sources" | mmdebstrap --quiet "$@" "$suite" - - >"$work/base.tar" ||
			fail "mmdebstrap failed (suite $suite, from the host's apt sources)"
	else
		mmdebstrap --quiet "$@" "$suite" - </dev/null >"$work/base.tar" ||
			fail "mmdebstrap failed (suite $suite, from its default mirror)"
	fi
}

# The second layer is compiled by the image's own Python: its root is unpacked once more, under the
# caller's own id.
make_app_layer() {
	root=$work/root
	mkdir "$root"
	as_root='set -eu
		tar -xf "$1/base.tar" -C "$1/root" --no-same-owner
		sh "$2/finish.sh" app "$1/root" "$2"'
	if [ "$(id -u)" = 0 ]; then
		sh -c "$as_root" sh "$work" "$source"
	else
		unshare --map-root-user sh -c "$as_root" sh "$work" "$source"
	fi || fail "the second layer could not be made"
	tar -cf "$work/app.tar" --sort=name --mtime="@$SOURCE_DATE_EPOCH" --numeric-owner \
		--owner=0 --group=0 --format=gnu -C "$root" usr/lib/egress-proxy
	chmod -R u+rwX "$root"
	rm -rf "$root"
}

# Moves a file into the layout under its digest. → the digest
add_blob() {
	digest=$(sum_of "$1")
	mv "$1" "$layout/blobs/sha256/$digest"
	echo "$digest"
}

size_of() { wc -c <"$layout/blobs/sha256/$1" | tr -d ' '; }

write_config() {
	created=$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y-%m-%dT%H:%M:%SZ)
	cat >"$work/config" <<-END
	{"architecture":"$(dpkg --print-architecture)","os":"linux","created":"$created",
	"config":{"User":"1000","WorkingDir":"/home/mitmproxy","ExposedPorts":{"9099/tcp":{}},
	"Env":["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin","HOME=/home/mitmproxy","LANG=C.UTF-8"],
	"Entrypoint":["/usr/lib/egress-proxy/entrypoint"],
	"Labels":{"bottle.ready-fd":"1","bottle.proxy":"mitmproxy","bottle.contract":"1","bottle.secrets":"stdin",
	"org.opencontainers.image.title":"bottle egress proxy (mitmproxy)",
	"org.opencontainers.image.version":"$version","bottle.inputs":"$inputs"}},
	"rootfs":{"type":"layers","diff_ids":["sha256:$1","sha256:$2"]},
	"history":[{"created":"$created","created_by":"mmdebstrap $suite"},{"created":"$created","created_by":"finish.sh app"}]}
	END
}

# index.json is what OCI tools read, manifest.json what `docker load` before 25 reads.
write_layout() {
	printf '{"imageLayoutVersion":"1.0.0"}' >"$layout/oci-layout"
	layer_type=application/vnd.oci.image.layer.v1.tar
	cat >"$work/manifest" <<-END
	{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",
	"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:$3","size":$(size_of "$3")},
	"layers":[{"mediaType":"$layer_type","digest":"sha256:$1","size":$(size_of "$1")},
	{"mediaType":"$layer_type","digest":"sha256:$2","size":$(size_of "$2")}]}
	END
	manifest=$(add_blob "$work/manifest")
	cat >"$layout/index.json" <<-END
	{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json",
	"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:$manifest","size":$(size_of "$manifest"),
	"annotations":{"org.opencontainers.image.ref.name":"$name","io.containerd.image.name":"docker.io/library/$name"}}]}
	END
	cat >"$layout/manifest.json" <<-END
	[{"Config":"blobs/sha256/$3","RepoTags":["$name"],"Layers":["blobs/sha256/$1","blobs/sha256/$2"]}]
	END
}

mkdir -p "$(dirname "$out")"
folder=$(cd "$(dirname "$out")" && pwd)
out=$folder/$(basename "$out")

base_inputs=$(inputs_of "$here/build-image.sh" "$here/host-apt.sh" "$source/packages" "$source/dpkg-trim.cfg" "$source/finish.sh" | sum)
inputs=$(inputs_of "$here/build-image.sh" "$here/host-apt.sh" "$source/packages" "$source/dpkg-trim.cfg" "$source/finish.sh" \
	"$source/entrypoint" "$source"/egress_proxy/*.py | sum)
if [ -z "$force" ] && [ -s "$out" ] && [ "$(cat "$out.inputs" 2>/dev/null)" = "$inputs" ]; then
	echo "$out is up to date"
	exit 0
fi
mode=$(choose_mode)
command -v mmdebstrap >/dev/null || fail "mmdebstrap is not installed (apt-get install mmdebstrap)"

work=$(mktemp -d "$folder/.work.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM HUP
layout=$work/layout
mkdir -p "$layout/blobs/sha256"

kept=$folder/.base-$base_inputs.tar
if [ -z "$force" ] && [ -s "$kept" ]; then
	ln "$kept" "$work/base.tar" 2>/dev/null || cp "$kept" "$work/base.tar"
else
	make_base_layer "$mode"
	rm -f "$folder"/.base-*.tar
	ln "$work/base.tar" "$kept" 2>/dev/null || cp "$work/base.tar" "$kept"
fi
make_app_layer
base=$(add_blob "$work/base.tar")
app=$(add_blob "$work/app.tar")
write_config "$base" "$app"
config=$(add_blob "$work/config")
write_layout "$base" "$app" "$config"
tar -cf "$work/image.tar" --sort=name --mtime="@$SOURCE_DATE_EPOCH" --numeric-owner --owner=0 \
	--group=0 --format=gnu -C "$layout" oci-layout index.json manifest.json blobs
mv "$work/image.tar" "$out"
echo "$inputs" >"$out.inputs"
echo "$out sha256:$config"

#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# `bottle image` as its user sees it: what is printed, what is refused and how, what stays. The
# archives are made here, with tar and sha256sum.

bats_require_minimum_version 1.5.0

setup() {
	bottle=${BOTTLE:-$BATS_TEST_DIRNAME/../../build/bin/bottle}
	export XDG_DATA_HOME=$BATS_TEST_TMPDIR/data
	cd "$BATS_TEST_TMPDIR" || return
}

hex() { sha256sum "$1" | cut -d' ' -f1; }

# An OCI layout in ./layout; $1: USER, $2: architecture.
make_layout() {
	local arch=${2:-$(dpkg --print-architecture)} config layer manifest
	rm -rf layout tree && mkdir -p layout/blobs/sha256 tree/etc tree/usr/bin
	ln -s usr/bin tree/bin
	echo "mitm:x:1000:1001::/:/bin/sh" >tree/etc/passwd
	ln -s ../run/resolv.conf tree/etc/resolv.conf
	dd if=/dev/null of=tree/holes bs=1 seek=1M status=none
	printf end >>tree/holes
	tar -C tree --sparse --mtime=@1700000000 -cf layer.tar .
	layer=$(hex layer.tar)
	printf '{"os":"linux","architecture":"%s","config":{"User":"%s","Entrypoint":["/bin/x"]},
		"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' "$arch" "$1" "$layer" >config
	config=$(hex config)
	printf '{"schemaVersion":2,"config":{"mediaType":"application/vnd.oci.image.config.v1+json",
		"digest":"sha256:%s","size":%d},"layers":[{"digest":"sha256:%s","size":%d,
		"mediaType":"application/vnd.oci.image.layer.v1.tar"}]}' \
		"$config" "$(stat -c %s config)" "$layer" "$(stat -c %s layer.tar)" >manifest
	manifest=$(hex manifest)
	printf '{"schemaVersion":2,"manifests":[{"digest":"sha256:%s","size":%d,
		"mediaType":"application/vnd.oci.image.manifest.v1+json",
		"annotations":{"org.opencontainers.image.ref.name":"proxy:1"}}]}' \
		"$manifest" "$(stat -c %s manifest)" >layout/index.json
	echo '{"imageLayoutVersion":"1.0.0"}' >layout/oci-layout
	cp layer.tar "layout/blobs/sha256/$layer"
	cp config "layout/blobs/sha256/$config"
	cp manifest "layout/blobs/sha256/$manifest"
	tar -C layout -cf image.tar .
}

nothing_is_left() {
	[ -z "$(find "$XDG_DATA_HOME" -name 'tmp-*' -o -path '*/sha256/*' -o -path '*/tags/*')" ]
}

@test "import, list, remove" {
	make_layout mitm
	run "$bottle" image import image.tar
	[ "$status" -eq 0 ]
	[[ $output == "proxy:1 sha256:$(hex config)" ]]
	run "$bottle" image list
	[[ ${lines[1]} == "proxy:1 "*"sha256:$(hex config | cut -c1-12)"*"mitm (1000:1001)" ]]
	root=$XDG_DATA_HOME/bottle/images/sha256/$(hex config)/rootfs
	cmp tree/holes "$root/holes"
	[ "$(stat -c %Y "$root/holes")" -eq 1700000000 ]
	[ -f "$root/etc/resolv.conf" ] && [ ! -L "$root/etc/resolv.conf" ]
	[ "$(readlink "$root/bin")" = usr/bin ]
	run "$bottle" image list --json
	[ "$(echo "$output" | /usr/bin/python3 -c 'import json,sys; i=json.load(sys.stdin)[0]
print(i["tag"], i["uid"], i["gid"], i["rootfs"])')" = "proxy:1 1000 1001 $root" ]
	run "$bottle" image remove proxy:1
	[ "$status" -eq 0 ] && [ -z "$output" ]
	nothing_is_left
}

@test "every form of one image is the same image" {
	make_layout 1000:1000
	gzip -k image.tar
	"$bottle" image import layout --tag folder
	"$bottle" image import image.tar.gz --tag compressed
	"$bottle" image import --tag=stdin - <image.tar
	[ "$("$bottle" image list | awk 'NR > 1 { print $2 }' | sort -u | wc -l)" -eq 1 ]
	[ "$("$bottle" image list | wc -l)" -eq 4 ]
}

@test "without HOME the home folder of passwd(5) counts, as for a run" {
	run --separate-stderr env -i "$bottle" image list --json
	[ "$status" -eq 0 ]
	[[ ${output:0:1} == "[" ]]
	run env -i HOME=relative XDG_DATA_HOME=relative "$bottle" image list
	[ "$status" -eq 0 ]
	[ ! -e relative ]
}

@test "USER root is taken with a warning" {
	make_layout ''
	run --separate-stderr "$bottle" image import image.tar
	[ "$status" -eq 0 ]
	[[ $stderr == *"USER is root"* ]]
}

@test "a changed layer is refused by name" {
	make_layout mitm
	layer=layout/blobs/sha256/$(hex layer.tar)
	printf X | dd of="$layer" bs=1 seek=3000 conv=notrunc status=none
	run "$bottle" image import layout
	[ "$status" -eq 125 ]
	[ "${#lines[@]}" -eq 1 ]
	[[ $output == *"blobs/sha256/$(hex layer.tar): wrong digest: expected sha256:$(hex layer.tar), found sha256:$(hex "$layer")"* ]]
	nothing_is_left
}

@test "an image for another machine is refused" {
	make_layout mitm pdp11
	run "$bottle" image import image.tar
	[ "$status" -eq 125 ]
	[[ $output == *"linux/pdp11"* ]]
	nothing_is_left
}

@test "a full disk leaves nothing" {
	make_layout mitm
	run bash -c "ulimit -f 64; trap '' XFSZ; '$bottle' image import image.tar"
	[ "$status" -eq 125 ]
	[[ $output == *"File too large"* ]]
	nothing_is_left
}

@test "wrong use says what is right" {
	run "$bottle" image
	[ "$status" -eq 125 ]
	run "$bottle" image improt x
	[ "$status" -eq 125 ]
	[[ $output == *"did you mean 'import'"* ]]
	run "$bottle" image import
	[ "$status" -eq 125 ]
	run "$bottle" image import /nowhere
	[ "$status" -eq 125 ]
	[[ $output == *"/nowhere: No such file"* ]]
	run "$bottle" image remove nothing
	[ "$status" -eq 125 ]
	[[ $output == *"bottle image import"* ]]
	run "$bottle" image --help
	[ "$status" -eq 0 ]
	[[ $output == *"image list [--json]"* ]]
}

@test "an image can be removed where nothing more has room" {
	make_layout mitm
	mkdir -p "$XDG_DATA_HOME"
	run --separate-stderr unshare -Urm sh -euc 'mount -t tmpfs -o size=16m,nr_inodes=200 tmpfs "$XDG_DATA_HOME"
		"$1" image import image.tar
		i=0
		while touch "$XDG_DATA_HOME/fill.$i" 2>/dev/null; do i=$((i + 1)); done
		! mkdir "$XDG_DATA_HOME/more" 2>/dev/null
		"$1" image remove proxy:1
		"$1" image list --json' sh "$bottle"
	echo "$output $stderr"
	[ "$status" -eq 0 ]
	[[ ${lines[-1]} == "[]" ]]
}

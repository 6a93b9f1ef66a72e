#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# The native proxy's image: found beside the program or where it was installed, imported by the first run that
# asks for it, and by its digest the one that this bottle was built with.

load lib.bash

setup() {
	bottle_setup
	export XDG_DATA_HOME=$BATS_TEST_TMPDIR/data BOTTLE_EGRESS_PROXY_IMAGE=native
	archive=$(dirname "$(realpath "$bottle")")/native.oci.tar
	routes <<<'    - {host: up.test, address: 127.0.0.1}'
	OPTIONS=(-q)
}

# An installation of its own, with this file as the image; $bottle is its program.
install_with() {
	local prefix=$BATS_TEST_TMPDIR/prefix
	mkdir -p "$prefix/bin" "$prefix/share/bottle"
	cp "$(realpath "$bottle")" "$prefix/bin/bottle"
	[ -z "$1" ] || cp "$1" "$prefix/share/bottle/native.oci.tar"
	bottle=$prefix/bin/bottle
}

@test "the first run imports it, the next finds it" {
	run "$bottle" image list
	is "bottle: no images yet: \`bottle image import ARCHIVE --tag NAME\`"
	run --separate-stderr in_bottle echo one
	exits 0
	is one
	run "$bottle" image list
	has "native:latest"
	[ "$(grep -c sha256: <<<"$output")" -eq 1 ]
	install_with "" # no archive any more: nothing is imported twice
	run --separate-stderr in_bottle echo two
	exits 0
	is two
}

# read_only FOLDER COMMAND: with that folder on a read-only file system
read_only() { unshare -Urm sh -c "mount -o bind,ro '$1' '$1' && $2"; }

@test "a store that can only be read is used; what cannot be written says what leads elsewhere" {
	local a_run="'$bottle' run -q -n -f '$manifest_file' -- echo ran"
	mkdir -p "$XDG_DATA_HOME"
	run read_only "$XDG_DATA_HOME" "$a_run"
	exits 125
	has "Read-only file system; set XDG_DATA_HOME to a folder you can write"
	run in_bottle true
	exits 0
	run read_only "$XDG_DATA_HOME" "$a_run"
	exits 0
	is ran
	run read_only "$XDG_DATA_HOME" "'$bottle' image list"
	has "native:latest"
	has_not "missing or damaged"
	run read_only "$XDG_DATA_HOME" "'$bottle' doctor"
	exits 0
	has "warn  folders             the proxy's image is there and can be used"
	run read_only "$XDG_DATA_HOME" "'$bottle' image import '$archive' --tag other"
	exits 125
	has "Read-only file system; set XDG_DATA_HOME to a folder you can write"
	rm -r "$XDG_STATE_HOME/bottle"
	run read_only "$XDG_STATE_HOME" "$a_run"
	exits 125
	has "$XDG_STATE_HOME/bottle: Read-only file system; set XDG_STATE_HOME to a folder you can write"
	run read_only "$XDG_RUNTIME_DIR" "$a_run"
	exits 125
	has "Read-only file system; set XDG_RUNTIME_DIR"
	# Another user's modes in place of a file system's.
	[ "$(id -u)" -ne 0 ] || return 0
	chmod -R a-w "$XDG_DATA_HOME"
	run in_bottle echo ran
	chmod -R u+w "$XDG_DATA_HOME"
	exits 0
	is ran
}

@test "--dry-run plans with it before it is unpacked, and unpacks nothing" {
	run "$bottle" run --dry-run --json -f "$manifest_file" -- true
	exits 0
	has '"unpacked": false'
	before=$output
	[ ! -e "$XDG_DATA_HOME" ]
	XDG_DATA_HOME=/proc/none run "$bottle" run --dry-run -f "$manifest_file" -- true
	exits 0
	has "unpacked: no"
	run in_bottle true
	exits 0
	run "$bottle" run --dry-run --json -f "$manifest_file" -- true
	exits 0
	[ "$(grep -v '"name":' <<<"$output")" = "$(grep -v '"name":' <<<"${before/\"unpacked\": false/\"unpacked\": true}")" ]
	echo no archive >foreign
	XDG_DATA_HOME=$PWD/none
	install_with foreign
	run "$bottle" run --dry-run -f "$manifest_file" -- true
	exits 125
	[ ! -e none ]
}

@test "many first runs at a time all find it" {
	for i in 1 2 3 4; do in_bottle echo "$i" >"out.$i" 2>&1 & done
	wait
	is_each=$(cat out.*)
	[ "$is_each" = "$(printf '%s\n' 1 2 3 4)" ]
	run "$bottle" image list
	[ "$(grep -c sha256: <<<"$output")" -eq 1 ]
}

@test "it is the proxy of the plan, under its digest, with the host's store" {
	run --separate-stderr "$bottle" run --dry-run --json -f "$manifest_file" -- true
	exits 0
	has "$(tar -xOf "$archive" manifest.json | sed 's/.*"blobs.sha256.\([0-9a-f]*\)","RepoTags.*/sha256:\1/')"
	/usr/bin/python3 -c 'import json, sys
files = json.load(sys.stdin)["proxy"]["files"]
assert {"path": "/etc/ssl/certs/ca-certificates.crt", "how": "read-only"} in files, files' <<<"$output"
}

@test "installed, it is found under share" {
	install_with "$archive"
	run --separate-stderr in_bottle echo one
	exits 0
	is one
}

@test "without the file: one line that says where it was looked for" {
	install_with ""
	run --separate-stderr in_bottle true
	exits 125
	says "bottle: the native proxy's image is missing: neither"
	says "/prefix/bin/../share/bottle/native.oci.tar"
	[ "$(wc -l <<<"$stderr")" -eq 1 ]
}

@test "another image in its place is not taken, and changes nothing" {
	mkdir "$BATS_TEST_TMPDIR/root"
	cp /bin/true "$BATS_TEST_TMPDIR/root/proxy"
	/usr/bin/python3 "$here/../escape/tiny_image.py" "$BATS_TEST_TMPDIR/root" "$BATS_TEST_TMPDIR/other.tar"
	install_with "$BATS_TEST_TMPDIR/other.tar"
	run --separate-stderr in_bottle true
	exits 125
	says "native.oci.tar: not the native proxy that this bottle was built with; install both from one build"
	[ "$(wc -l <<<"$stderr")" -eq 1 ]
	run "$bottle" image list
	has_not sha256:
}

@test "a damaged file is not taken" {
	cp "$archive" "$BATS_TEST_TMPDIR/damaged.tar"
	printf X | dd of="$BATS_TEST_TMPDIR/damaged.tar" bs=1 seek=20000 conv=notrunc status=none
	install_with "$BATS_TEST_TMPDIR/damaged.tar"
	run --separate-stderr in_bottle true
	exits 125
	says "the native proxy's image: "
	[ "$(wc -l <<<"$stderr")" -eq 1 ]
}

@test "its name is not another image's" {
	run --separate-stderr "$bottle" image import "$archive" --tag native
	exits 125
	says "'native' is the name of the proxy that came with bottle"
}

@test "an image that had the name goes, unless a run uses it" {
	mkdir "$BATS_TEST_TMPDIR/root"
	cp /bin/true "$BATS_TEST_TMPDIR/root/proxy"
	/usr/bin/python3 "$here/../escape/tiny_image.py" "$BATS_TEST_TMPDIR/root" "$BATS_TEST_TMPDIR/other.tar"
	"$bottle" image import "$BATS_TEST_TMPDIR/other.tar" --tag former
	mv "$XDG_DATA_HOME"/bottle/tags/former:latest "$XDG_DATA_HOME"/bottle/tags/native:latest
	run --separate-stderr in_bottle true
	exits 0
	run "$bottle" image list
	[ "$(grep -c sha256: <<<"$output")" -eq 1 ]
}

@test "the same program makes the same bytes" {
	local top=$here/../.. tool=$BATS_TEST_TMPDIR/make_image
	mapfile -t base < <(find "$top/base" -name '*.c' ! -name '*_posix.c')
	cc -D_GNU_SOURCE -I"$top" -o "$tool" "$top"/rootfs/native/make_image.c "${base[@]}"
	tar -xOf "$archive" "$(tar -tf "$archive" | sed -n 3p)" | tar -xf - -C "$BATS_TEST_TMPDIR" egress-proxy
	"$tool" "$BATS_TEST_TMPDIR/egress-proxy" "$BATS_TEST_TMPDIR/again.tar" "$BATS_TEST_TMPDIR/again.h"
	cmp "$archive" "$BATS_TEST_TMPDIR/again.tar"
}

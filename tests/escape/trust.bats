#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# A manifest that was found in the current folder and not named.

load lib.bash

setup_file() { use_tiny_image; }

setup() {
	use_tiny_image
	escape_setup
	export XDG_CONFIG_HOME=$BATS_TEST_TMPDIR/config
	echo 'egress: {routes: [{host: up.test}]}' >bottle.yaml
}

found() { "$bottle" run -q -- "$@"; }

@test "TRUST-1: a found manifest does not count before it was accepted" {
	run found true
	exits 125
	has "bottle trust"
	run "$bottle" trust
	exits 0
	run found echo ran
	exits 0
	has ran
}

@test "TRUST-1: a manifest that could not be shown whole is not accepted" {
	run sh -c "$bottle trust >/dev/full"
	exits 125
	has "not accepted"
	run found true
	exits 125
	has "nobody has accepted it yet"
}

# YAML ends a comment at each of these, and no terminal or pager does.
@test "TRUST-1: a manifest that hides a key in what is shown as a comment is not accepted" {
	local end
	for end in '\r' '\302\205' '\342\200\250' '\342\200\251'; do
		printf "egress: {routes: [{host: up.test}]}\n# routes: only ours${end}agent: {pass_env: [HOME]}\n" >bottle.yaml
		run "$bottle" trust
		exits 125
		has "bottle.yaml:2:20: "
		has "would end the line unseen"
		run found true
		exits 125
	done
}

@test "TRUST-1: the name of a folder does not draw on the terminal on which its manifest is judged" {
	local folder
	folder=$(printf '%s/a\033[2Jb' "$BATS_TEST_TMPDIR")
	mkdir "$folder"
	cp bottle.yaml "$folder"
	cd "$folder"
	run "$bottle" trust
	exits 0
	has '/a\x1b[2Jb/bottle.yaml:'
	[[ $output != *$'\033'* ]]
}

@test "TRUST-1: a changed manifest, or one like it elsewhere, does not count" {
	"$bottle" trust
	cp bottle.yaml kept.yaml
	echo '# one byte more' >>bottle.yaml
	run found true
	exits 125
	cp kept.yaml bottle.yaml
	run found true
	exits 0
	rm bottle.yaml
	ln -s kept.yaml bottle.yaml
	echo '# more' >>kept.yaml
	run found true
	exits 125
	mkdir ../elsewhere
	echo 'egress: {routes: [{host: evil.test}]}' >../elsewhere/bottle.yaml
	cd ../elsewhere
	run found true
	exits 125
}

@test "TRUST-1: the agent can neither accept for the caller nor change what was accepted" {
	"$bottle" trust
	run found sh -c 'echo "agent: {read_write: [/etc]}" >>bottle.yaml; mv bottle.yaml x; rm bottle.yaml; ln -sf x bottle.yaml
		HOME=$PWD XDG_STATE_HOME='"$XDG_STATE_HOME"' '"$bottle"' trust; mkdir -p '"$XDG_STATE_HOME"'/bottle/trust; echo x >'"$XDG_STATE_HOME"'/bottle/trust/x; true'
	exits 0
	[ "$(cat bottle.yaml)" = 'egress: {routes: [{host: up.test}]}' ]
	[ ! -e "$XDG_STATE_HOME/bottle/trust/x" ]
	# A manifest made where there was none, for the next run to find.
	mkdir "$BATS_TEST_TMPDIR/fresh" && cd "$BATS_TEST_TMPDIR/fresh"
	echo 'egress: {routes: [{host: up.test}]}' >"$BATS_TEST_TMPDIR/b.yaml"
	run in_bottle sh -c 'echo "egress: {routes: [{host: evil.test}]}" >bottle.yaml'
	exits 0
	run found true
	exits 125
}

# A CA of the agent's would let who is on the path read the tokens.
authority() {
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj "/CN=$2" \
		-keyout "$BATS_TEST_TMPDIR/$1.key" -out "$1" 2>/dev/null
}

@test "TRUST-1: a CA file that an accepted manifest names counts only as it was accepted" {
	local key
	authority ca.pem ours
	authority evil.pem evil
	for key in 'extra_ca: [ca.pem]' 'upstream_proxy: {url: "http://192.0.2.1:3128", ca: ca.pem}'; do
		cp ca.pem kept.pem
		echo "egress: {$key, routes: [{host: up.test}]}" >bottle.yaml
		run "$bottle" trust
		exits 0
		has "ca.pem: SHA-256 $(sha256sum <ca.pem | cut -d' ' -f1)"
		run found echo ran
		exits 0
		has ran
		# Another run, which does not know of the manifest, has the file in its work folder.
		run "$bottle" run -q --allow up.test -- cp evil.pem ca.pem
		exits 0
		cmp evil.pem ca.pem
		run found echo ran
		exits 125
		has "/ca.pem has changed since the manifest was accepted"
		run "$bottle" trust
		exits 0
		run found true
		exits 0
		mv kept.pem ca.pem
	done
}

@test "TRUST-1: a record without the CA files that the manifest names does not count" {
	authority ca.pem ours
	echo 'egress: {extra_ca: [ca.pem], routes: [{host: up.test}]}' >bottle.yaml
	"$bottle" trust
	sed -i 3d "$XDG_STATE_HOME"/bottle/trust/*
	run found true
	exits 125
	has "the CA files that it names were not accepted with it"
	has "bottle trust"
}

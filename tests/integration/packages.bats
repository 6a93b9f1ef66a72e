#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# Package managers, each with a small repository of one package that nginx serves on the loopback: they
# fetch an index, follow it, download and install, with no more than what a bottle's environment says.
# For each proxy
# Takes: 240

load lib.bash

setup_file() {
	mkdir -p "$world/www"
	make_ca ca
	make_cert good ca DNS:pip.test,DNS:npm.test,DNS:scope.test,DNS:apt.test
	read -r tls < <(free_ports 1)
	make_wheel
	make_npm
	make_deb
	{
		tls_server "$tls" good "pip.test npm.test scope.test apt.test" "location = /hello {
			default_type application/json; alias $world/www/hello.json; }
			location ~ ^/(simple|wheels|hello|debian)(/|\$) {
			root $world/www; index index.html; default_type application/octet-stream;
			types { text/html html; } }"
	} | nginx_start "$tls"
	echo "tls=$tls" >"$world/ports"
}

teardown_file() { world_end; }

setup() {
	bottle_setup
	routes <<-END
		    - {host: pip.test, address: "127.0.0.1:$tls", path_allowlist: [/simple, /wheels], methods: [GET]}
		    - {host: npm.test, address: "127.0.0.1:$tls", path_allowlist: [/hello], auth: {scheme: Bearer, token_ref: IT_TOKEN}}
		    - {host: scope.test, address: "127.0.0.1:$tls"}
		    - {host: apt.test, address: "127.0.0.1:$tls", path_allowlist: [/debian], methods: [GET]}
	END
}

# A wheel is a zip with its own list in it; a simple index (PEP 503) names it with its hash.
make_wheel() {
	mkdir -p "$world/www/simple/hello" "$world/www/wheels"
	/usr/bin/python3 - "$world/www" <<-'END'
		import hashlib, sys, zipfile
		www = sys.argv[1]
		name = "hello-1.0-py3-none-any.whl"
		with zipfile.ZipFile(f"{www}/wheels/{name}", "w") as wheel:
		    wheel.writestr("hello.py", "print('hello from a wheel')\n")
		    wheel.writestr("hello-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: hello\nVersion: 1.0\n")
		    wheel.writestr("hello-1.0.dist-info/WHEEL",
		                   "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
		    wheel.writestr("hello-1.0.dist-info/RECORD", "hello.py,,\nhello-1.0.dist-info/METADATA,,\n"
		                   "hello-1.0.dist-info/WHEEL,,\nhello-1.0.dist-info/RECORD,,\n")
		with open(f"{www}/wheels/{name}", "rb") as file:
		    digest = hashlib.sha256(file.read()).hexdigest()
		with open(f"{www}/simple/hello/index.html", "w") as file:
		    file.write(f'<a href="/wheels/{name}#sha256={digest}">{name}</a>\n')
	END
}

# What a registry says of a package, and the tarball that it leads to.
make_npm() {
	mkdir -p "$world/www/hello/-" "$world/npm/package"
	echo '{"name": "hello", "version": "1.0.0", "main": "hello.js"}' >"$world/npm/package/package.json"
	echo 'console.log("hello from a tarball");' >"$world/npm/package/hello.js"
	tar -czf "$world/www/hello/-/hello-1.0.0.tgz" -C "$world/npm" package
	cat >"$world/www/hello.json" <<-END
		{"name": "hello", "dist-tags": {"latest": "1.0.0"}, "versions": {"1.0.0": {
		 "name": "hello", "version": "1.0.0", "main": "hello.js", "dist": {
		  "tarball": "https://npm.test/hello/-/hello-1.0.0.tgz",
		  "integrity": "sha512-$(openssl dgst -sha512 -binary "$world/www/hello/-/hello-1.0.0.tgz" | base64 -w0)"}}}}
	END
}

make_deb() {
	local top=$world/www/debian
	local lists=$top/dists/stable/main/binary-all
	mkdir -p "$top/pool" "$lists" "$world/deb/DEBIAN" "$world/deb/usr/share/hello"
	printf '%s\n' "Package: hello-test" "Version: 1.0" "Architecture: all" "Maintainer: t <t@t.test>" \
		"Description: hello" >"$world/deb/DEBIAN/control"
	echo "hello from a deb" >"$world/deb/usr/share/hello/text"
	dpkg-deb --root-owner-group -b "$world/deb" "$top/pool/hello-test_1.0_all.deb" >/dev/null
	{
		cat "$world/deb/DEBIAN/control"
		echo "Filename: pool/hello-test_1.0_all.deb"
		echo "Size: $(stat -c %s "$top/pool/hello-test_1.0_all.deb")"
		echo "SHA256: $(sha256sum "$top/pool/hello-test_1.0_all.deb" | cut -d' ' -f1)"
	} >"$lists/Packages"
	xz -k "$lists/Packages"
	{
		printf '%s\n' "Suite: stable" "Components: main" "Architectures: all $(dpkg --print-architecture)" \
			"No-Support-for-Architecture-all: Packages" "Date: $(date -uR | sed 's/+0000/UTC/')" "SHA256:"
		cd "$top/dists/stable" || return
		for name in main/binary-all/Packages main/binary-all/Packages.xz; do
			echo " $(sha256sum "$name" | cut -d' ' -f1) $(stat -c %s "$name") $name"
		done
	} >"$world/Release"
	mv "$world/Release" "$top/dists/stable/Release"
}

@test "pip installs a wheel" {
	/usr/bin/python3 -m pip --version >/dev/null 2>&1 || skip "python3-pip is not installed"
	run --separate-stderr in_bottle sh -c "/usr/bin/python3 -m pip install -q --no-cache-dir \
		--disable-pip-version-check --index-url https://pip.test/simple/ --target there hello &&
		PYTHONPATH=there /usr/bin/python3 -m hello"
	exits 0
	has "hello from a wheel"
	audited 'r["path"] == "/wheels/hello-1.0-py3-none-any.whl" and r["verdict"] == "allow"'
}

@test "pip gets nothing from an index that is not allowed" {
	/usr/bin/python3 -m pip --version >/dev/null 2>&1 || skip "python3-pip is not installed"
	run --separate-stderr in_bottle /usr/bin/python3 -m pip download --no-cache-dir --retries 0 \
		--index-url https://pip.test/other/ hello
	exits 1
	says "path_not_allowed"
	audited 'r["path"].startswith("/other/hello") and r["reason"] == "path_not_allowed"'
}

@test "npm installs a tarball, and its registry sees the token" {
	command -v npm >/dev/null || skip "npm is not installed"
	echo '{"name": "mine", "version": "1.0.0"}' >package.json
	run --separate-stderr in_bottle sh -c "npm install --registry https://npm.test/ --no-audit --no-fund \
		--no-update-notifier --loglevel warn hello && node -e 'require(\"hello\")'"
	exits 0
	has "hello from a tarball"
	seen "GET /hello \[Bearer $token\]"
	seen "GET /hello/-/hello-1.0.0.tgz \[Bearer $token\]"
}

@test "npm is told of a refusal; the name of a scope keeps its %2f" {
	command -v npm >/dev/null || skip "npm is not installed"
	run --separate-stderr in_bottle sh -c "npm view --registry https://npm.test/ --fetch-retries 0 other;
		npm view --registry https://scope.test/ --fetch-retries 0 @small/hello"
	says E403
	seen "GET /@small%2fhello \[-\]"
	not_seen "/other"
}

@test "apt updates and downloads" {
	mkdir -p apt/lists/partial apt/cache/archives/partial
	: >apt/status
	echo "deb [trusted=yes arch=all] https://apt.test/debian stable main" >apt/sources.list
	cat >apt.conf <<-END
		Dir::Etc "$PWD/apt"; Dir::Etc::SourceList "$PWD/apt/sources.list"; Dir::Etc::SourceParts "-";
		Dir::State "$PWD/apt"; Dir::State::status "$PWD/apt/status"; Dir::Cache "$PWD/apt/cache";
		Dir::Log "$PWD/apt"; APT::Sandbox::User ""; Acquire::Retries "0"; Acquire::Languages "none";
	END
	run --separate-stderr in_bottle sh -c "export APT_CONFIG=$PWD/apt.conf
		apt-get -q update && apt-get -q download hello-test && dpkg-deb -c hello-test_1.0_all.deb"
	exits 0
	has "./usr/share/hello/text"
	seen "GET /debian/pool/hello-test_1.0_all.deb "
}

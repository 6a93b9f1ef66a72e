#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# The programs that people run, unchanged: each finds the proxy and trusts the bottle's CA by what its
# environment says, and each is told of a refusal. The server is nginx; git's is git-http-backend.
# For each proxy
# Takes: 240

load lib.bash

setup_file() {
	mkdir -p "$world/git"
	make_ca ca
	make_cert good ca DNS:up.test,DNS:git.test
	read -r tls < <(free_ports 1)
	git init -q --bare -b main "$world/git/repo.git"
	git -C "$world/git/repo.git" config http.receivepack true
	git_start
	{
		tls_server "$tls" good up.test
		tls_server "$tls" good git.test "$(behind_git)"
	} | nginx_start "$tls"
	echo "tls=$tls" >"$world/ports"
}

teardown_file() { world_end; }

setup() {
	bottle_setup
	routes <<-END
		    - host: up.test
		      address: 127.0.0.1:$tls
		      path_allowlist: [/ok]
		      auth: {scheme: Bearer, token_ref: IT_TOKEN}
	END
}

# The client got through with the token, and what it was refused never arrived.
came_through() {
	exits 0
	has "up.test says GET /ok/$1"
	has 403
	seen "GET /ok/$1 \[Bearer $token\]"
	not_seen "/no "
	audited 'r["verdict"] == "deny" and r["path"] == "/no"'
}

git_route() {
	routes <<-END
		    - host: git.test
		      address: 127.0.0.1:$tls
		      auth: {scheme: Basic, token_ref: IT_BASIC}
		      git: {push: $1}
	END
}

@test "curl, HTTP/1.1" {
	run --separate-stderr in_bottle sh -c \
		"curl -sS --http1.1 -w '%{http_version}\n' https://up.test/ok/curl1; curl -sS --http1.1 https://up.test/no -w %{http_code}"
	came_through curl1
	has $'\n1.1\n'
	seen "HTTP/1.1 GET /ok/curl1 "
}

@test "curl, HTTP/2" {
	run --separate-stderr in_bottle sh -c \
		"curl -sS --http2 -w '%{http_version}\n' https://up.test/ok/curl2; curl -sS --http2 https://up.test/no -w %{http_code}"
	came_through curl2
	has $'\n2\n'
	audited 'r["protocol"] == "h2" and r["path"] == "/ok/curl2"'
}

@test "wget" {
	run --separate-stderr in_bottle sh -c \
		"wget -qO- https://up.test/ok/wget; wget -O- -S https://up.test/no 2>&1; true"
	came_through wget
}

@test "Python's urllib" {
	cat >u.py <<-'END'
		import urllib.request, urllib.error
		print(urllib.request.urlopen("https://up.test/ok/urllib").read().decode())
		try:
		    urllib.request.urlopen("https://up.test/no")
		except urllib.error.HTTPError as err:
		    print(err.code, err.read().decode())
	END
	run --separate-stderr in_bottle /usr/bin/python3 u.py
	came_through urllib
	has path_not_allowed
}

@test "Python's requests" {
	/usr/bin/python3 -c 'import requests' 2>/dev/null || skip "python3-requests is not installed"
	run --separate-stderr in_bottle /usr/bin/python3 -c 'import requests
print(requests.get("https://up.test/ok/requests").text)
print(requests.get("https://up.test/no").status_code)'
	came_through requests
}

@test "openssl s_client -proxy verifies the bottle's certificate for the name" {
	cat >ask.sh <<-'END'
		for p in /ok/openssl /no; do
			printf 'GET %s HTTP/1.1\r\nHost: up.test\r\nConnection: close\r\n\r\n' $p |
				openssl s_client -quiet -ign_eof -proxy egress-proxy:9099 -connect up.test:443 \
					-verify_return_error -verify_hostname up.test 2>verify
			cat verify
		done
	END
	run --separate-stderr in_bottle sh ask.sh
	came_through openssl
	has "O = bottle"
	# Control: with the host's CAs alone the same certificate is not believed.
	run --separate-stderr in_bottle sh -c "openssl s_client -proxy egress-proxy:9099 -connect up.test:443 \
		-verify_return_error -no-CAfile -no-CApath -no-CAstore </dev/null 2>&1"
	has "unable to get local issuer certificate"
	audited 'r["event"] == "connection" and r["reason"] == "client_tls"'
}

@test "Node, through a CONNECT of its own" {
	command -v node >/dev/null || skip "nodejs is not installed"
	cat >n.js <<-'END'
		const http = require("http"), https = require("https");
		const proxy = new URL(process.env.HTTPS_PROXY);
		function get(path) {
		  return new Promise((resolve, reject) => {
		    http.request({ host: proxy.hostname, port: proxy.port, method: "CONNECT", path: "up.test:443",
		      headers: { host: "up.test:443" } })
		      .on("connect", (answer, socket) => {
		        https.get({ host: "up.test", path, socket, agent: false }, (got) => {
		          let text = "";
		          got.on("data", (piece) => (text += piece));
		          got.on("end", () => resolve(`${got.statusCode} ${text}`));
		        }).on("error", reject);
		      }).on("error", reject).end();
		  });
		}
		get("/ok/node").then((text) => { console.log(text); return get("/no"); }).then(console.log);
	END
	run --separate-stderr in_bottle node n.js
	came_through node
	# Control: it is NODE_EXTRA_CA_CERTS that makes it trust (Debian's build also reads the system's store).
	run --separate-stderr in_bottle env -u NODE_EXTRA_CA_CERTS node --use-bundled-ca n.js
	[ "$status" -ne 0 ]
	says certificate
}

@test "Node's fetch, by NODE_USE_ENV_PROXY" {
	command -v node >/dev/null || skip "nodejs is not installed"
	node -e 'process.exit(process.allowedNodeEnvironmentFlags.has("--use-env-proxy") ? 0 : 1)' ||
		skip "node $(node --version) does not know NODE_USE_ENV_PROXY"
	run --separate-stderr in_bottle node -e '
		const ask = async (path) => { const r = await fetch(`https://up.test${path}`);
			console.log(r.status, await r.text()); };
		ask("/ok/fetch").then(() => ask("/no"));'
	came_through fetch
}

@test "Java's HttpsURLConnection, by JAVA_TOOL_OPTIONS" {
	command -v java >/dev/null || skip "no java is installed"
	java --list-modules | grep -q jdk.compiler || skip "this java has no compiler: it runs no source file"
	cat >Ask.java <<-'END'
		import java.net.URL;
		import javax.net.ssl.HttpsURLConnection;
		public class Ask {
		    public static void main(String[] paths) throws Exception {
		        for (String path : paths) {
		            HttpsURLConnection c = (HttpsURLConnection) new URL("https://up.test" + path).openConnection();
		            System.out.println(c.getResponseCode());
		            if (c.getResponseCode() == 200) c.getInputStream().transferTo(System.out);
		        }
		    }
		}
	END
	run --separate-stderr in_bottle java -Xshare:auto -XX:TieredStopAtLevel=1 Ask.java /ok/java /no
	came_through java
}

@test "git clones, and pushes only where push is true" {
	seed=$BATS_TEST_TMPDIR/seed
	git init -q -b main "$seed"
	head -c 2000000 /dev/urandom >"$seed/big"
	git -C "$seed" add big
	git -C "$seed" -c user.name=t -c user.email=t@t.test commit -q -m first
	git -C "$seed" push -q -f "$world/git/repo.git" main
	git_route false
	cat >work.sh <<-'END'
		git clone -q https://git.test/repo.git c && cd c || exit 1
		git config user.name t; git config user.email t@t.test
		echo more >more; head -c 2000000 /dev/urandom >big2; git add .; git commit -q -m second
		git push -q origin main; echo "push: $?"
		git fetch -q; echo "fetch: $?"
	END
	run --separate-stderr in_bottle sh work.sh
	exits 0
	cmp c/big "$seed/big"
	is $'push: 128\nfetch: 0'
	says "403"
	[ "$(git -C "$world/git/repo.git" rev-list --count main)" -eq 1 ]
	seen "GET /repo.git/info/refs\?service=git-upload-pack \[Basic $basic\]"
	not_seen git-receive-pack
	audited 'r["reason"] == "git_push" and r["status"] == 403'
	rm -rf c
	git_route true
	run --separate-stderr in_bottle sh work.sh
	exits 0
	is $'push: 0\nfetch: 0'
	[ "$(git -C "$world/git/repo.git" rev-list --count main)" -eq 2 ]
	seen "POST /repo.git/git-receive-pack \[Basic $basic\]"
}

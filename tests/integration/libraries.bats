#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# HTTP libraries, each with nothing but a bottle's environment, and what they send that curl's plain GET
# does not: uploads of each kind, WebSocket, a gzip'd git request. The server is nginx, behind it
# tests/lib/upstream.py, a WebSocket server of node's and git-http-backend.
# For each proxy
# Takes: 300

load lib.bash

setup_file() {
	mkdir -p "$world/git"
	make_ca ca
	make_cert good ca DNS:up.test,DNS:git.test,DNS:ws.test
	read -r tls back echo < <(free_ports 3)
	upstream_start "$back"
	start_echo
	git init -q --bare -b main "$world/git/repo.git"
	git_start
	{
		echo "log_format git '\$request_method \$uri [\$http_content_encoding] \$status';"
		tls_server "$tls" good up.test "$(behind_nginx "$back")"
		tls_server "$tls" good ws.test "location /chat {
			proxy_pass http://127.0.0.1:$echo; proxy_http_version 1.1;
			proxy_set_header Upgrade \$http_upgrade; proxy_set_header Connection upgrade; }"
		tls_server "$tls" good git.test "$(behind_git "access_log $world/git.log git;")"
	} | nginx_start "$tls"
	echo "tls=$tls" >"$world/ports"
}

teardown_file() { world_end; }

setup() {
	bottle_setup
	routes <<-END
		    - host: up.test
		      address: 127.0.0.1:$tls
		      path_allowlist: [/ok, /count, /echo]
		      auth: {scheme: Bearer, token_ref: IT_TOKEN}
		    - {host: ws.test, address: "127.0.0.1:$tls", path_allowlist: [/chat]}
		    - {host: git.test, address: "127.0.0.1:$tls"}
	END
}

has_python() { /usr/bin/python3 -c "import $1" 2>/dev/null; }
has_node() { command -v node >/dev/null && NODE_PATH=/usr/share/nodejs node -e "require('$1')" 2>/dev/null; }

# Sends each message back; closes where the message is "end".
start_echo() {
	has_node ws || return 0
	cat >"$world/echo.js" <<-'END'
		const { WebSocketServer } = require("ws");
		new WebSocketServer({ host: "127.0.0.1", port: Number(process.argv[2]) }).on("connection", (peer) =>
		  peer.on("message", (data, binary) =>
		    data.toString() === "end" ? peer.close(4000, "as asked") : peer.send(data, { binary })));
	END
	NODE_PATH=/usr/share/nodejs start "$world/echo.log" node "$world/echo.js" "$echo"
	await_port "$echo"
}

# The client got through with the token, and what it was refused never arrived.
came_through() {
	exits 0
	has "200 up.test says GET /ok/$1"
	has "403"
	seen "GET /ok/$1 \[Bearer $token\]"
	not_seen "/no "
	audited 'r["verdict"] == "deny" and r["path"] == "/no"'
}

# counted LINES: so many answers of /count have the size and digest of ./big
counted() {
	exits 0
	local wanted
	wanted="$(stat -c %s big) $(sha256sum big | cut -d' ' -f1)"
	[ "$(grep -c -F "$wanted" <<<"$output")" -eq "$1" ] && return
	printf 'not %s times %s, but:\n%s\n' "$1" "$wanted" "$output"
	return 1
}

@test "curl uploads 100 MB of known length, in HTTP/1.1 and 2" {
	head -c 100000000 /dev/zero >big
	run --separate-stderr in_bottle sh -c "for v in --http1.1 --http2; do
		curl -sS -m 60 \$v -X POST -T big https://up.test/count -w '%{http_version}\n'; done"
	counted 2
	has $'\n1.1\n'
	has $'\n2'
	audited 'r["bytes_up"] == 100000000 and r["protocol"] == "http/1.1" and r["status"] == 200'
	audited 'r["bytes_up"] == 100000000 and r["protocol"] == "h2" and r["status"] == 200'
}

@test "curl uploads without a length, and waits for 100 Continue" {
	head -c 5000000 /dev/urandom >big
	run --separate-stderr in_bottle sh -c "
		curl -sS -m 30 --http1.1 -X POST -H 'Transfer-Encoding: chunked' -T - https://up.test/count <big
		curl -sS -m 30 --http2 -X POST -T - https://up.test/count <big
		curl -v -sS -m 30 --http1.1 --expect100-timeout 20 -H 'Expect: 100-continue' --data-binary @big \
			https://up.test/count 2>say
		curl -sS -m 30 --http1.1 -F file=@big https://up.test/echo | grep -c 'name=\"file\"'"
	counted 3
	has $'\n1'
	grep -q '< HTTP/1.1 100' say
}

@test "a refused upload that waits for 100 Continue is refused before a byte of it" {
	head -c 5000000 /dev/urandom >big
	run --separate-stderr in_bottle curl -v -sS -m 30 --http1.1 --expect100-timeout 20 \
		-H 'Expect: 100-continue' --data-binary @big https://up.test/no -w '%{size_upload} bytes went\n'
	exits 0
	has path_not_allowed
	has "0 bytes went"
	says_not "HTTP/1.1 100"
}

@test "httpx, HTTP/1.1 and HTTP/2, with an upload" {
	has_python httpx || skip "python3-httpx is not installed"
	has_python h2 || skip "python3-h2 is not installed"
	head -c 3000000 /dev/urandom >big
	cat >x.py <<-'END'
		import httpx
		for name, http2 in (("httpx1", False), ("httpx2", True)):
		    with httpx.Client(http2=http2) as client:
		        got = client.get(f"https://up.test/ok/{name}")
		        print(got.http_version, got.status_code, got.text)
		        print(client.get("https://up.test/no").json()["reason"], 403)
		        with open("big", "rb") as file:
		            print(client.post("https://up.test/count", content=file).text)
	END
	run --separate-stderr in_bottle /usr/bin/python3 x.py
	came_through httpx1
	came_through httpx2
	has "HTTP/1.1 200"
	# It names http/1.1 first: mitmproxy takes the client's order, servers their own.
	[ "$BOTTLE_EGRESS_PROXY_IMAGE" = mitmproxy ] || has "HTTP/2 200"
	has path_not_allowed
	counted 2
}

@test "aiohttp, twenty at a time, with an upload" {
	has_python aiohttp || skip "python3-aiohttp is not installed"
	head -c 3000000 /dev/urandom >big
	cat >a.py <<-'END'
		import asyncio
		import aiohttp

		async def ask(session, path):
		    async with session.get(f"https://up.test{path}") as got:
		        return f"{got.status} {await got.text()}"

		async def main():
		    async with aiohttp.ClientSession(trust_env=True) as session:
		        print(*await asyncio.gather(*(ask(session, "/ok/aiohttp") for _ in range(20))), await ask(session, "/no"))
		        with open("big", "rb") as file:
		            async with session.post("https://up.test/count", data=file) as got:
		                print(await got.text())

		asyncio.run(main())
	END
	run --separate-stderr in_bottle /usr/bin/python3 a.py
	came_through aiohttp
	[ "$(grep -c "GET /ok/aiohttp " "$world/seen")" -eq 20 ]
	counted 1
}

@test "Node's https with an agent for the proxy, keep-alive" {
	has_node https-proxy-agent || skip "nodejs or node-https-proxy-agent is not installed"
	cat >n.js <<-'END'
		const https = require("https"), HttpsProxyAgent = require("https-proxy-agent");
		const agent = new (HttpsProxyAgent.HttpsProxyAgent || HttpsProxyAgent)(process.env.HTTPS_PROXY);
		const ask = (path, body) => new Promise((resolve, reject) => {
		  const request = https.request("https://up.test" + path, { agent, method: body ? "POST" : "GET" }, (got) => {
		    let text = "";
		    got.on("data", (piece) => (text += piece));
		    got.on("end", () => resolve(console.log(got.statusCode, text)));
		  }).on("error", reject);
		  request.end(body);
		});
		ask("/ok/agent").then(() => ask("/no")).then(() => ask("/count", require("fs").readFileSync("big")));
	END
	head -c 3000000 /dev/urandom >big
	run --separate-stderr in_bottle env NODE_PATH=/usr/share/nodejs node n.js
	came_through agent
	counted 1
}

@test "Node's ws: text, binary, a large message, a close with its code; a path that is not allowed" {
	has_node ws || skip "nodejs or node-ws is not installed"
	has_node https-proxy-agent || skip "node-https-proxy-agent is not installed"
	cat >w.js <<-'END'
		const WebSocket = require("ws"), HttpsProxyAgent = require("https-proxy-agent");
		const agent = new (HttpsProxyAgent.HttpsProxyAgent || HttpsProxyAgent)(process.env.HTTPS_PROXY);
		const big = Buffer.alloc(1000000, 7);
		const peer = new WebSocket("wss://ws.test/chat", { agent });
		peer.on("open", () => { peer.send("hello"); peer.send(big); peer.ping("p"); });
		peer.on("pong", (data) => console.log("pong", data.toString()));
		peer.on("message", (data, binary) => {
		  console.log(binary ? `binary ${data.length} ${big.equals(data)}` : `text ${data}`);
		  if (binary) peer.send("end");
		});
		peer.on("close", (code, why) => {
		  console.log("close", code, why.toString());
		  new WebSocket("wss://ws.test/no", { agent }).on("error", (err) => console.log(err.message));
		});
	END
	run --separate-stderr in_bottle env NODE_PATH=/usr/share/nodejs node w.js
	exits 0
	has "text hello"
	has "binary 1000000 true"
	has "pong p"
	has "close 4000 as asked"
	has "Unexpected server response: 403"
	audited 'r["path"] == "/chat" and r["status"] == 101'
	audited 'r["path"] == "/no" and r["verdict"] == "deny"'
}

@test "Go's net/http, HTTP/2 and HTTP/1.1" {
	command -v go >/dev/null || skip "golang-go is not installed"
	cat >ask.go <<-'END'
		package main

		import ("crypto/tls"; "fmt"; "io"; "net/http"; "os")

		func ask(client *http.Client, method, path string, body io.Reader) {
			request, _ := http.NewRequest(method, "https://up.test"+path, body)
			got, err := client.Do(request)
			if err != nil {
				fmt.Println(err)
				os.Exit(1)
			}
			text, _ := io.ReadAll(got.Body)
			got.Body.Close()
			fmt.Println(got.Proto, got.StatusCode, string(text))
		}

		func main() {
			old := &http.Transport{Proxy: http.ProxyFromEnvironment}
			old.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
			for name, client := range map[string]*http.Client{"go2": {}, "go1": {Transport: old}} {
				big, _ := os.Open("big")
				ask(client, "GET", "/ok/"+name, nil)
				ask(client, "GET", "/no", nil)
				ask(client, "POST", "/count", big)
			}
		}
	END
	head -c 3000000 /dev/urandom >big
	GOCACHE=$BATS_TEST_TMPDIR/cache GO111MODULE=off CGO_ENABLED=0 go build -o ask ask.go
	run --separate-stderr in_bottle ./ask
	came_through go1
	came_through go2
	has "HTTP/1.1 200"
	has "HTTP/2.0 200"
	counted 2
}

# A clone whose history has gone its own way tells the server so much that git compresses it.
@test "git's gzip'd request for a fetch arrives as it was sent" {
	seed=$BATS_TEST_TMPDIR/seed
	commit() { git -C "$1" -c user.name=t -c user.email=t@t.test commit -q --allow-empty -m "$2"; }
	git init -q -b main "$seed"
	commit "$seed" first
	git -C "$seed" push -q -f "$world/git/repo.git" main
	run --separate-stderr in_bottle git clone -q https://git.test/repo.git c
	exits 0
	for n in $(seq 80); do commit c "mine $n"; done
	for version in 2 0; do
		commit "$seed" "for version $version"
		git -C "$seed" push -q "$world/git/repo.git" main
		: >"$world/git.log"
		git -C c update-ref refs/remotes/origin/main main~80 # it knows of nothing newer
		run --separate-stderr in_bottle git -C c -c protocol.version=$version fetch -q
		exits 0
		grep -q "^POST /repo.git/git-upload-pack \[gzip\] 200$" "$world/git.log"
		[ "$(git -C c rev-parse origin/main)" = "$(git -C "$seed" rev-parse main)" ]
	done
}

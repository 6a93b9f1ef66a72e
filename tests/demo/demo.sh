#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Shows the main job: real servers outside, a program inside that uses them with a credential that it
# never sees, and what happens when the program tries more.
# usage: demo.sh BOTTLE
#
# The server is Debian's nginx (behind it git's own git-http-backend) with a certificate authority of
# its own, on a free loopback port; /v1 answers with the Authorization header that it got. Started as
# root, everything after the set-up runs as the user `bottle-test` (tests/lib/testuser.sh). Leaves
# nothing but the proxy's image, which the first run imports.
set -euo pipefail

bottle=$(realpath "$1")
here=$(cd "$(dirname "$0")/../.." && pwd)
top=$(mktemp -d /var/tmp/bottle-demo.XXXXXX)

bold() { if [ -t 1 ]; then printf '\n\033[1m%s\033[0m\n' "$*"; else printf '\n%s\n' "$*"; fi; }

# Root shows it as an ordinary user, whose image store is its own, from a copy that this user can read.
step_down() {
	local user=bottle-test
	trap 'rm -rf "$top"' EXIT
	"$here/tests/lib/testuser.sh" add $user
	mkdir -p "$top/build" "$top/tests/demo"
	cp -L "$bottle" "$top/build/bottle"
	cp "$(dirname "$bottle")/native.oci.tar" "$top/build/"
	cp "$here/tests/demo/demo.sh" "$top/tests/demo/"
	chmod -R a+rX "$top"
	setpriv --reuid=$user --regid=$user --init-groups env -i PATH="$PATH" HOME=/var/lib/$user \
		LANG=C.UTF-8 TERM="${TERM:-dumb}" USER=$user \
		bash "$top/tests/demo/demo.sh" "$top/build/bottle"
}

make_certificates() {
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 \
		-subj "/CN=demo CA" -keyout "$top/ca.key" -out "$top/ca.pem" 2>/dev/null
	openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=api.test" \
		-keyout "$top/api.key" -out "$top/api.csr" 2>/dev/null
	openssl x509 -req -in "$top/api.csr" -CA "$top/ca.pem" -CAkey "$top/ca.key" -days 2 \
		-extfile <(echo subjectAltName=DNS:api.test,DNS:git.test) -out "$top/api.pem" 2>/dev/null
}

make_repository() {
	export GIT_AUTHOR_NAME=demo GIT_AUTHOR_EMAIL=demo@git.test
	export GIT_COMMITTER_NAME=demo GIT_COMMITTER_EMAIL=demo@git.test
	git init -q --bare -b main "$top/git/tool.git"
	git -C "$top/git/tool.git" config http.receivepack true
	git init -q -b main "$top/seed"
	echo "a file of the repository" >"$top/seed/file"
	git -C "$top/seed" add file
	git -C "$top/seed" commit -q -m "first commit"
	git -C "$top/seed" push -q "$top/git/tool.git" main
}

nginx_conf() {
	cat <<-END
		pid $top/nginx.pid;
		worker_processes 1;
		events {}
		http {
			access_log off;
			client_body_temp_path $top/t1; proxy_temp_path $top/t2; fastcgi_temp_path $top/t3;
			uwsgi_temp_path $top/t4; scgi_temp_path $top/t5;
			ssl_certificate $top/api.pem;
			ssl_certificate_key $top/api.key;
			server {
				listen 127.0.0.1:$port ssl;
				server_name api.test;
				location / { return 200 'server: \$request_method \$uri, Authorization: \$http_authorization\n'; }
			}
			server {
				listen 127.0.0.1:$port ssl;
				server_name git.test;
				location / {
					fastcgi_pass unix:$top/git.sock;
					include /etc/nginx/fastcgi_params;
					fastcgi_param SCRIPT_FILENAME /usr/lib/git-core/git-http-backend;
					fastcgi_param GIT_PROJECT_ROOT $top/git;
					fastcgi_param GIT_HTTP_EXPORT_ALL 1;
					fastcgi_param PATH_INFO \$uri;
				}
			}
		}
	END
}

# Without "daemon off" nginx returns once it listens.
start_server() {
	local try
	/usr/sbin/fcgiwrap -s "unix:$top/git.sock" 2>/dev/null &
	for try in 1 2 3 4 5; do
		port=$((10000 + RANDOM % 20000))
		nginx_conf >"$top/nginx.conf"
		/usr/sbin/nginx -e "$top/nginx.log" -p "$top" -c "$top/nginx.conf" 2>/dev/null && return
	done
	echo "nginx did not start ($try tries):" >&2
	cat "$top/nginx.log" >&2
	return 1
}

stop_all() {
	[ ! -s "$top/nginx.pid" ] || kill "$(cat "$top/nginx.pid")" || true
	[ -z "$(jobs -p)" ] || kill "$(jobs -p)" || true
	rm -rf "$top"
}

write_manifest() {
	cat >bottle.yaml <<-END
		name: demo
		egress:
		  extra_ca: [$top/ca.pem]
		  routes:
		    - host: api.test
		      address: 127.0.0.1:$port      # a server on this machine; usually DNS says where
		      path_allowlist: [/v1/]
		      methods: [GET]
		      auth: {scheme: Bearer, token_ref: DEMO_TOKEN}
		    - host: git.test
		      address: 127.0.0.1:$port
		      path_allowlist: [/tool.git]   # fetch and clone; push would need git: {push: true}
	END
}

# Prints the command as it is and runs it in a bottle; a refusal is part of the show.
show() {
	echo "\$ bottle run -f bottle.yaml -- sh -c '$1'"
	"$bottle" run -f bottle.yaml -- sh -c "$1" 2>&1 || echo "[exit status $?]"
}

# Every living process of a bottle but the program and the proxy is named so; those end with their reapers.
bottles_left() { pgrep -c -r R,S,D,T -U "$(id -u)" '^bottle($|:)' || true; }

# shellcheck disable=SC2016
main() {
	trap stop_all EXIT
	make_certificates
	mkdir "$top/work" "$top/run" "$top/state"
	chmod 700 "$top/run"
	make_repository
	start_server
	export XDG_RUNTIME_DIR=$top/run XDG_STATE_HOME=$top/state DEMO_TOKEN=s3cret-$RANDOM$RANDOM
	cd "$top/work"
	write_manifest

	bold "The manifest. The token is in the caller's environment: DEMO_TOKEN=$DEMO_TOKEN"
	cat bottle.yaml
	bold "1. What is allowed works, for any program, and the server gets the token."
	show 'curl -sS https://api.test/v1/curl
		python3 -c "import urllib.request as r; print(r.urlopen(\"https://api.test/v1/python\").read().decode(), end=\"\")"
		git clone -q https://git.test/tool.git && git -C tool log --oneline'
	bold "2. The program itself never has it."
	show 'set -- /proc/[0-9]*/environ /proc/[0-9]*/cmdline /run /tmp /etc "$HOME" .
		echo "files searched: $(grep -rasl "" "$@" | wc -l), with the token: $(grep -rasl "s[3]cret" "$@" | wc -l)"'
	bold "3. Another path, method or host, and git push: 403, with the reason."
	show 'curl -sS https://api.test/admin; echo
		curl -sS -X DELETE https://api.test/v1/curl; echo
		curl -sS https://evil.test/
		cd tool && git push -q origin HEAD:other'
	bold "4. Around the proxy: nothing is there."
	show 'unset $(env | grep -io "^[a-z]*_proxy")
		curl -sS -m 3 https://api.test/v1/curl
		curl -sS -m 3 http://169.254.169.254/'
	bold "5. What the audit log says of the refusals."
	grep '"deny"' "$top"/state/bottle/demo/egress.jsonl | sed 's/"detail":.*/.../'
	bold "6. What is left: $(bottles_left) processes, $(find "$top/run" -mindepth 2 | wc -l) run folders."
}

if [ "$(id -u)" = 0 ]; then step_down; else main; fi

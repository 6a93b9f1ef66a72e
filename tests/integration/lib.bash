# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# What the integration tests share: certificates, servers on the loopback, and how a bottle is run
# and judged. A file's setup_file makes its world ($world) once and its teardown_file calls
# world_end; each test has a work folder, which is the current one, and a state and a runtime folder
# of its own. Servers stand on free ports; a route leads to one by `address` and trusts it by
# `extra_ca`.

bats_require_minimum_version 1.5.0

here=$(realpath "$(dirname "${BASH_SOURCE[0]}")")
bottle=${BOTTLE:-$(realpath "$here/../../build/bin/bottle")}
world=$BATS_FILE_TMPDIR/world
# Values that stand nowhere else, so that to find one is to find a leak.
token=tok-$BATS_ROOT_PID-8d41c07e5ba92f63
key=key-$BATS_ROOT_PID-c1b5d90a7e34f826
basic=$(printf 'user:basic-%s-61f7' "$BATS_ROOT_PID" | base64 -w0)

# --- the world --------------------------------------------------------------------------------

# make_ca NAME: $world/NAME.pem and .key
make_ca() {
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 \
		-subj "/CN=integration test $1" -keyout "$world/$1.key" -out "$world/$1.pem" 2>/dev/null
}

# make_cert NAME CA SAN [DAYS]: $world/NAME.pem and .key, signed by CA
make_cert() {
	openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$1" \
		-keyout "$world/$1.key" -out "$world/$1.csr" 2>/dev/null
	openssl x509 -req -in "$world/$1.csr" -CA "$world/$2.pem" -CAkey "$world/$2.key" \
		-CAcreateserial -days "${4:-2}" -extfile <(echo "subjectAltName=$3") \
		-out "$world/$1.pem" 2>/dev/null
}

# free_ports N: so many numbers, all different, that nothing listens on
free_ports() {
	/usr/bin/python3 - "$1" <<-'END'
		import socket, sys
		socks = [socket.create_server(("127.0.0.1", 0)) for _ in range(int(sys.argv[1]))]
		print(*(sock.getsockname()[1] for sock in socks))
	END
}

# start LOG COMMAND...: in the background until world_end; descriptor 3 is bats' own
start() {
	local log=$1
	shift
	"$@" >"$log" 2>&1 </dev/null 3>&- &
	echo $! >>"$world/pids"
}

listens() { (: <"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

await_port() {
	wait_for listens "$1" && return
	echo "the servers' logs:" && tail "$world"/*.log
	return 1
}

# nginx_start PORT: with the `server` blocks of stdin; $world/seen has a line for each request
nginx_start() {
	mkdir -p "$world/nginx"
	cat >"$world/nginx.conf" <<-END
		daemon off;
		worker_processes 1;
		pid $world/nginx/pid;
		events {}
		http {
			client_body_temp_path $world/nginx/body;
			proxy_temp_path $world/nginx/proxy;
			fastcgi_temp_path $world/nginx/fastcgi;
			uwsgi_temp_path $world/nginx/uwsgi;
			scgi_temp_path $world/nginx/scgi;
			client_max_body_size 0;
			log_format seen '\$server_name \$server_protocol \$request_method \$request_uri '
				'[\$http_authorization] [\$http_x_api_key] [\$http_proxy_authorization]';
			access_log $world/seen seen;
			$(cat)
		}
	END
	: >"$world/seen"
	start "$world/nginx.log" /usr/sbin/nginx -e stderr -p "$world/nginx" -c "$world/nginx.conf"
	await_port "$1"
}

# A TLS server block: tls_server PORT CERT NAMES [MORE]
tls_server() {
	cat <<-END
		server {
			listen 127.0.0.1:$1 ssl http2;
			server_name $3;
			ssl_certificate $world/$2.pem;
			ssl_certificate_key $world/$2.key;
			location / { return 200 "\$server_name says \$request_method \$uri\n"; }
			${4:-}
		}
	END
}

# upstream_start PORT: tests/lib/upstream.py; behind_nginx PORT: a location that leads to it
upstream_start() {
	start "$world/upstream.log" /usr/bin/python3 "$here/../lib/upstream.py" "$1"
	await_port "$1"
}

behind_nginx() {
	# nginx closes, not the other: of a socket that its process has closed Linux gives up what a
	# slow reader has not taken yet.
	echo "location ~ ^/(echo|count|bytes|drip|cut) {
		proxy_pass http://127.0.0.1:$1; proxy_http_version 1.1; proxy_set_header Connection '';
		proxy_buffering off; proxy_request_buffering off; }"
}

# git_start: smart HTTP for the repository $world/git/repo.git; behind_git [DIRECTIVE]: the location that leads to it.
# By names relative to $world, which is then the working folder: that of a socket may have 107 bytes.
git_start() {
	cd "$world" || return
	start fcgiwrap.log fcgiwrap -s unix:fcgi
	wait_for test -S fcgi
}

behind_git() {
	echo "location ~ ^/repo.git {
		${1-}
		client_max_body_size 0;
		fastcgi_pass unix:fcgi;
		fastcgi_param SCRIPT_FILENAME $(git --exec-path)/git-http-backend;
		fastcgi_param GIT_PROJECT_ROOT $world/git;
		fastcgi_param GIT_HTTP_EXPORT_ALL 1;
		fastcgi_param PATH_INFO \$uri;
		fastcgi_param REQUEST_METHOD \$request_method;
		fastcgi_param QUERY_STRING \$query_string;
		fastcgi_param CONTENT_TYPE \$content_type;
		fastcgi_param HTTP_CONTENT_ENCODING \$http_content_encoding;
		fastcgi_param HTTP_GIT_PROTOCOL \$http_git_protocol;
		fastcgi_param REMOTE_USER tester;
		fastcgi_param REMOTE_ADDR \$remote_addr; }"
}

# wait_for COMMAND...: until it succeeds, 15 seconds at most
wait_for() {
	for _ in $(seq 300); do
		! "$@" >/dev/null 2>&1 || return 0
		sleep 0.05
	done
	echo "waited in vain for: $*"
	return 1
}

world_end() {
	[ -s "$world/pids" ] || return 0
	# shellcheck disable=SC2046
	kill $(cat "$world/pids") 2>/dev/null || true
	for _ in $(seq 100); do
		# shellcheck disable=SC2046
		kill -0 $(cat "$world/pids") 2>/dev/null || return 0
		sleep 0.05
	done
}

# --- a bottle ---------------------------------------------------------------------------------

# In each setup(): a work folder, which becomes the current one, and folders of its own for what
# bottle keeps; what the world's setup_file wrote to $world/ports is set.
bottle_setup() {
	# shellcheck disable=SC1091
	[ ! -s "$world/ports" ] || . "$world/ports"
	[ ! -e "$world/seen" ] || : >"$world/seen"
	manifest_file=$BATS_TEST_TMPDIR/b.yaml
	mkdir -p "$BATS_TEST_TMPDIR/work" "$BATS_TEST_TMPDIR/state"
	mkdir -p "$BATS_TEST_TMPDIR/run"
	chmod 700 "$BATS_TEST_TMPDIR/run"
	export XDG_STATE_HOME=$BATS_TEST_TMPDIR/state XDG_RUNTIME_DIR=$BATS_TEST_TMPDIR/run
	export XDG_CONFIG_HOME=$BATS_TEST_TMPDIR/config
	export IT_TOKEN=$token IT_KEY=$key IT_BASIC=$basic
	cd "$BATS_TEST_TMPDIR/work" || return 1
}

# The test's manifest: the routes are stdin.
routes() {
	{
		printf 'name: it\negress:\n'
		[ ! -e "$world/ca.pem" ] || printf '  extra_ca: ["%s"]\n' "$world/ca.pem"
		echo "  routes:"
		cat
	} >"$manifest_file"
}

# The command in a bottle with the test's manifest. OPTIONS are bottle's own.
in_bottle() { "$bottle" run "${OPTIONS[@]}" -f "$manifest_file" -- "$@"; }

# An image whose proxy says that it is ready and then does nothing: for tests that send no request, a
# bottle of it starts in a tenth of the time. It lies in a store of this file's own.
use_tiny_image() {
	export XDG_DATA_HOME=$BATS_FILE_TMPDIR/data BOTTLE_EGRESS_PROXY_IMAGE=tiny
	[ -e "$BATS_FILE_TMPDIR/tiny.tar" ] || make_image tiny "$here/../escape/tiny_proxy.c"
}

# make_image TAG SOURCE [LABEL=VALUE]...: imports an image whose proxy is this C program
make_image() {
	local root=$BATS_FILE_TMPDIR/$1.root
	mkdir -p "$root/etc"
	cc -D_GNU_SOURCE -static -Os -o "$root/proxy" "$2"
	/usr/bin/python3 "$here/../escape/tiny_image.py" "$root" "$BATS_FILE_TMPDIR/$1.tar" "${@:3}"
	"$bottle" image import "$BATS_FILE_TMPDIR/$1.tar" --tag "$1" >/dev/null
}

# The words of one curl in the bottle: status and body, then a line.
ask() { echo "curl -sS -m 20 -w '%{http_code}\n' $*;"; }

audit() { cat "$XDG_STATE_HOME"/bottle/*/egress.jsonl; }

# --- judging ----------------------------------------------------------------------------------

# audited EXPRESSION: Python over one audit record `r`; fails when it is true of none
audited() {
	audit | /usr/bin/python3 -c '
import json, sys
rows = [json.loads(line) for line in sys.stdin]
if not any(eval(f"({sys.argv[1]})", {"r": r}) for r in rows):
    print("no audit record with", sys.argv[1], *rows, sep="\n")
    sys.exit(1)' "$1"
}

# seen REGEX, not_seen REGEX: what the servers' log says
seen() {
	grep -E -q -- "$1" "$world/seen" && return
	echo "no server saw /$1/, only:" && cat "$world/seen"
	return 1
}

not_seen() {
	if grep -E -- "$1" "$world/seen"; then
		echo "^ this reached a server"
		return 1
	fi
}

# exits N: the status of the `run` before
exits() {
	[ "$status" -eq "$1" ] && return
	printf 'exit status %s, not %s\nstdout:\n%s\nstderr:\n%s\n' "$status" "$1" "$output" "$stderr"
	return 1
}

# has TEXT, has_not TEXT: of $output; says TEXT: of $stderr
contains() {
	[[ $2 == *"$3"* ]] && return
	printf 'not in %s: %s\nbut:\n%s\n' "$1" "$3" "$2"
	return 1
}

lacks() {
	[[ $2 != *"$3"* ]] && return
	printf 'should not be in %s: %s\nbut:\n%s\n' "$1" "$3" "$2"
	return 1
}

has() { contains stdout "$output" "$1"; }
has_not() { lacks stdout "$output" "$1"; }
says() { contains stderr "$stderr" "$1"; }
says_not() { lacks stderr "$stderr" "$1"; }

# is EXPECTED: all of $output
is() {
	[ "$output" = "$1" ] && return
	diff <(echo "$1") <(echo "$output") | head -n 20
	return 1
}

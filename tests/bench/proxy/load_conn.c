/* SPDX-License-Identifier: Apache-2.0
 *
 * The load tool's connections: each goes through the stages below, as far as its socket allows, and at
 * the end of an answer begins the next request. Knows answers with a Content-Length and no others:
 * a chunked one is counted as failed.
 *
 *   TCP → [CONNECT → its answer] → TLS → request → head → body → (again from request, or from TCP)
 *
 * Runs in: the load tool.
 */
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tests/bench/proxy/load.h"

enum stage { IDLE, TCP, ASK, ASKED, TLS, REQUEST, HEAD, BODY };

struct conn {
	int fd;
	SSL *ssl;
	SSL_SESSION *session; /* of the connection before this one */
	struct load *load;
	enum stage stage;
	char name[NAME_BYTES];
	char out[NAME_BYTES * 4];
	size_t out_len, out_done; /* of `out`, then of the body */
	char head[HEAD_BYTES];
	size_t head_len;
	uint64_t body_left;
	uint64_t begun_ns;
};

uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

struct conn *conn_new(struct load *load)
{
	struct conn *conn = calloc(1, sizeof(*conn));

	if (conn) {
		conn->fd = -1;
		conn->load = load;
	}
	return conn;
}

bool conn_is_closed(const struct conn *conn)
{
	return conn->fd < 0;
}

bool conn_is_open(const struct conn *conn)
{
	char byte;

	return conn->fd >= 0 && recv(conn->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 &&
	       errno == EAGAIN;
}

static void conn_close(struct conn *conn)
{
	/* A reset leaves no TIME_WAIT: there are only so many ports. */
	struct linger at_once = { .l_onoff = 1 };

	if (conn->ssl)
		SSL_set_shutdown(conn->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
	SSL_free(conn->ssl);
	conn->ssl = NULL;
	if (conn->fd >= 0) {
		setsockopt(conn->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
		close(conn->fd);
	}
	conn->fd = -1;
}

static void conn_fail(struct conn *conn, const char *what)
{
	struct load *load = conn->load;

	load->failed++;
	snprintf(load->last_failure, sizeof(load->last_failure), "%s at stage %d: %s", what,
		 (int)conn->stage, strerror(errno));
	ERR_clear_error();
	conn_close(conn);
	conn->stage = IDLE;
	load->live--;
}

static int keep_session(SSL *ssl, SSL_SESSION *session)
{
	struct conn *conn = SSL_get_app_data(ssl);

	if (conn->load->mode != MODE_RESUME)
		return 0;
	SSL_SESSION_free(conn->session);
	conn->session = session;
	return 1;
}

static bool conn_start_tls(struct conn *conn)
{
	conn->ssl = SSL_new(conn->load->tls);
	if (!conn->ssl || SSL_set_fd(conn->ssl, conn->fd) != 1)
		return false;
	SSL_set_app_data(conn->ssl, conn);
	SSL_CTX_sess_set_new_cb(conn->load->tls, keep_session);
	SSL_set_tlsext_host_name(conn->ssl, conn->name);
	if (conn->session)
		SSL_set_session(conn->ssl, conn->session);
	SSL_set_connect_state(conn->ssl);
	return true;
}

static void write_request(struct conn *conn)
{
	const struct load *load = conn->load;
	int len = snprintf(conn->out, sizeof(conn->out),
			   "%s %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer mine\r\n",
			   load->body_bytes ? "POST" : "GET", load->path, conn->name);

	if (load->body_bytes)
		len += snprintf(conn->out + len, sizeof(conn->out) - (size_t)len,
				"Content-Length: %zu\r\n", load->body_bytes);
	len += snprintf(conn->out + len, sizeof(conn->out) - (size_t)len, "\r\n");
	conn->out_len = (size_t)len;
	conn->out_done = 0;
	conn->head_len = 0;
	conn->stage = REQUEST;
}

static void write_connect(struct conn *conn)
{
	conn->out_len = (size_t)snprintf(conn->out, sizeof(conn->out),
					 "CONNECT %s:443 HTTP/1.1\r\nHost: %s:443\r\n\r\n",
					 conn->name, conn->name);
	conn->out_done = 0;
	conn->head_len = 0;
	conn->stage = ASK;
}

static void conn_connect(struct conn *conn)
{
	struct load *load = conn->load;
	struct epoll_event event = { .events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = conn };
	int one = 1;

	conn->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (conn->fd < 0) {
		conn_fail(conn, "socket");
		return;
	}
	setsockopt(conn->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	conn->stage = TCP;
	if (epoll_ctl(load->epoll_fd, EPOLL_CTL_ADD, conn->fd, &event) < 0 ||
	    (connect(conn->fd, (const struct sockaddr *)&load->address, sizeof(load->address)) <
		     0 &&
	     errno != EINPROGRESS))
		conn_fail(conn, "connect");
}

void conn_begin(struct conn *conn)
{
	struct load *load = conn->load;

	if (load->requests_max ? load->begun >= load->requests_max : now_ns() >= load->end_ns) {
		if (load->mode != MODE_IDLE)
			conn_close(conn);
		conn->stage = IDLE;
		return;
	}
	load->live++;
	if (load->mode == MODE_HOSTS)
		snprintf(conn->name, sizeof(conn->name), "h%llu.%s",
			 (unsigned long long)load->begun, load->host);
	else
		snprintf(conn->name, sizeof(conn->name), "%s", load->host);
	load->begun++;
	conn->begun_ns = now_ns();
	if (conn->fd < 0)
		conn_connect(conn);
	else
		write_request(conn);
}

static void record(struct load *load, uint64_t begun_ns)
{
	if (!load->is_measuring)
		return;
	if (load->latencies_len == load->latencies_cap) {
		size_t cap = load->latencies_cap ? load->latencies_cap * 2 : 65536;
		uint64_t *grown = realloc(load->latencies_ns, cap * sizeof(*grown));

		if (!grown)
			abort();
		load->latencies_ns = grown;
		load->latencies_cap = cap;
	}
	load->latencies_ns[load->latencies_len++] = now_ns() - begun_ns;
	load->completed++;
}

static void conn_complete(struct conn *conn)
{
	struct load *load = conn->load;

	record(load, conn->begun_ns);
	load->live--;
	if (load->mode == MODE_IDLE) {
		conn->stage = IDLE;
		return;
	}
	if (load->mode != MODE_KEEP)
		conn_close(conn);
	conn_begin(conn);
}

/* > 0, 0 at the end, -1 with errno; EAGAIN where the socket has to be waited for. */
static ssize_t conn_read(struct conn *conn, void *bytes, size_t size)
{
	int got, why;

	if (!conn->ssl)
		return recv(conn->fd, bytes, size, 0);
	got = SSL_read(conn->ssl, bytes, (int)size);
	if (got > 0)
		return got;
	why = SSL_get_error(conn->ssl, got);
	if (why == SSL_ERROR_ZERO_RETURN)
		return 0;
	errno = why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? EAGAIN : EPROTO;
	return -1;
}

static ssize_t conn_write(struct conn *conn, const void *bytes, size_t len)
{
	int put, why;

	if (!conn->ssl)
		return send(conn->fd, bytes, len, MSG_NOSIGNAL);
	put = SSL_write(conn->ssl, bytes, (int)len);
	if (put > 0)
		return put;
	why = SSL_get_error(conn->ssl, put);
	errno = why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? EAGAIN : EPROTO;
	return -1;
}

/* The steps below return whether to go on at once; false: wait for the socket, or it is over. */

static bool again(struct conn *conn, const char *what)
{
	if (errno != EAGAIN)
		conn_fail(conn, what);
	return false;
}

static bool step_tcp(struct conn *conn)
{
	int problem = 0;
	socklen_t size = sizeof(problem);
	struct sockaddr_in peer;
	socklen_t peer_size = sizeof(peer);

	getsockopt(conn->fd, SOL_SOCKET, SO_ERROR, &problem, &size);
	errno = problem;
	if (problem) {
		conn_fail(conn, "connect");
		return false;
	}
	if (getpeername(conn->fd, (struct sockaddr *)&peer, &peer_size) < 0)
		return false; /* not there yet */
	if (conn->load->through_proxy)
		write_connect(conn);
	else
		conn->stage = TLS;
	return true;
}

static bool step_write(struct conn *conn)
{
	size_t body = conn->stage == REQUEST ? conn->load->body_bytes : 0;

	while (conn->out_done < conn->out_len + body) {
		bool in_head = conn->out_done < conn->out_len;
		const char *from = in_head ? conn->out + conn->out_done
					   : conn->load->body + (conn->out_done - conn->out_len);
		size_t len = (in_head ? conn->out_len : conn->out_len + body) - conn->out_done;
		ssize_t put = conn_write(conn, from, len);

		if (put < 0)
			return again(conn, "write");
		conn->out_done += (size_t)put;
	}
	conn->stage = conn->stage == ASK ? ASKED : HEAD;
	return true;
}

static bool step_tls(struct conn *conn)
{
	struct load *load = conn->load;
	int rc, why;

	if (!conn->ssl && !conn_start_tls(conn)) {
		conn_fail(conn, "SSL_new");
		return false;
	}
	rc = SSL_do_handshake(conn->ssl);
	if (rc != 1) {
		why = SSL_get_error(conn->ssl, rc);
		errno = why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? EAGAIN : EPROTO;
		return again(conn, "TLS");
	}
	load->handshakes += load->is_measuring;
	load->resumed += load->is_measuring && SSL_session_reused(conn->ssl);
	write_request(conn);
	return true;
}

/* The value of Content-Length, or -1. */
static int64_t content_length(const char *head)
{
	static const char name[] = "\r\ncontent-length:";
	const char *at = strcasestr(head, name);

	return at ? strtoll(at + sizeof(name) - 1, NULL, 10) : -1;
}

/* The head is whole at `end`; what follows it is body. */
static bool head_is_read(struct conn *conn, char *end)
{
	struct load *load = conn->load;
	size_t extra = conn->head_len - (size_t)(end + 4 - conn->head);
	long status;
	int64_t length;

	*end = 0;
	status = conn->head_len > 12 ? strtol(conn->head + 9, NULL, 10) : 0;
	if (conn->stage == ASKED) {
		conn->stage = TLS;
		errno = EACCES;
		if (status != 200)
			conn_fail(conn, "CONNECT");
		return status == 200;
	}
	load->not_ok += load->is_measuring && status != 200;
	length = content_length(conn->head);
	if (length < (int64_t)extra) {
		errno = EPROTO;
		conn_fail(conn, "no Content-Length, or a wrong one");
		return false;
	}
	load->answer_bytes += load->is_measuring ? extra : 0;
	conn->body_left = (uint64_t)length - extra;
	conn->stage = BODY;
	return true;
}

static bool step_head(struct conn *conn)
{
	ssize_t got = conn_read(conn, conn->head + conn->head_len, HEAD_BYTES - 1 - conn->head_len);
	char *end;

	if (got < 0)
		return again(conn, "read");
	if (got == 0) {
		errno = ECONNRESET;
		conn_fail(conn, "closed before an answer");
		return false;
	}
	conn->head_len += (size_t)got;
	conn->head[conn->head_len] = 0;
	end = strstr(conn->head, "\r\n\r\n");
	return !end || head_is_read(conn, end);
}

static bool step_body(struct conn *conn)
{
	static char bytes[256 * 1024];
	ssize_t got;

	while (conn->body_left) {
		got = conn_read(conn, bytes, sizeof(bytes));
		if (got < 0)
			return again(conn, "read of the body");
		if (got == 0) {
			errno = ECONNRESET;
			conn_fail(conn, "closed in the body");
			return false;
		}
		conn->load->answer_bytes += conn->load->is_measuring ? (uint64_t)got : 0;
		conn->body_left -= (uint64_t)got < conn->body_left ? (uint64_t)got
								   : conn->body_left;
	}
	conn_complete(conn);
	return conn->stage != IDLE;
}

void conn_event(struct conn *conn)
{
	static bool (*const steps[])(struct conn *) = {
		[TCP] = step_tcp,	[ASK] = step_write, [ASKED] = step_head, [TLS] = step_tls,
		[REQUEST] = step_write, [HEAD] = step_head, [BODY] = step_body,
	};

	while (conn->stage != IDLE && steps[conn->stage](conn))
		;
}

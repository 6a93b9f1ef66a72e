/* SPDX-License-Identifier: Apache-2.0
 * One connection's bytes, in the clear and under TLS: blocking, pending bytes, the ways to end. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy/io.h"

enum { BIG = 1 << 20, TIMEOUT_MS = 30000 };

static struct io ours;
static int peer_fd = -1;
static unsigned edges;
static char bytes[BIG];

static void stop(struct io *io)
{
	(void)io;
	edges++;
	loop_stop();
}

static void give_up(struct timer *timer)
{
	(void)timer;
	loop_stop();
}

/* Runs the loop until the next edge of `ours`. */
static void await_edge(void)
{
	struct timer timeout = { .on_due = give_up };
	struct err err = { 0 };
	unsigned before = edges;

	timer_set(&timeout, TIMEOUT_MS);
	cr_assert_eq(loop_run(&err), 0, "%s", err.text);
	timer_cancel(&timeout);
	cr_assert_gt(edges, before, "no edge came");
}

static void open_with(int fds[static 2])
{
	struct err err = { 0 };

	signal(SIGPIPE, SIG_IGN);
	cr_assert_eq(loop_init(&err), 0, "%s", err.text);
	cr_assert_eq(io_open(&ours, fds[0], stop), 0);
	peer_fd = fds[1];
}

static void open_pair(void)
{
	int fds[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	open_with(fds);
}

static void open_tcp(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int fds[2] = { socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), -1 };

	cr_assert_eq(bind(listener, (struct sockaddr *)&address, len), 0);
	cr_assert_eq(listen(listener, 1), 0);
	cr_assert_eq(getsockname(listener, (struct sockaddr *)&address, &len), 0);
	cr_assert_eq(connect(fds[0], (struct sockaddr *)&address, len), 0);
	fds[1] = accept(listener, NULL, NULL);
	cr_assert_geq(fds[1], 0);
	close(listener);
	open_with(fds);
}

/* ---- in the clear ---- */

Test(proxy_io, a_socket_is_made_non_blocking_and_without_delay)
{
	int on = 0;
	socklen_t len = sizeof(on);

	open_tcp();
	cr_assert(fcntl(ours.source.fd, F_GETFL) & O_NONBLOCK);
	cr_assert_eq(getsockopt(ours.source.fd, IPPROTO_TCP, TCP_NODELAY, &on, &len), 0);
	cr_assert(on);
	io_close(&ours);
}

Test(proxy_io, a_descriptor_that_is_no_socket_is_closed)
{
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	struct err err = { 0 };

	cr_assert_eq(loop_init(&err), 0);
	cr_assert_eq(io_open(&ours, fd, stop), -ENOTSOCK);
	cr_assert_eq(fcntl(fd, F_GETFD), -1);
	io_close(&ours);
}

Test(proxy_io, eagain_alone_clears_the_flags_and_an_edge_sets_them)
{
	char byte;

	open_pair();
	cr_assert(ours.may_read && ours.may_write);
	await_edge(); /* that of the first writability */
	cr_assert_eq(io_read(&ours, &byte, 1), -EAGAIN);
	cr_assert_not(ours.may_read);
	cr_assert(ours.may_write);
	cr_assert_eq(write(peer_fd, "ab", 2), 2);
	await_edge();
	cr_assert_eq(io_read(&ours, &byte, 1), 1);
	cr_assert(ours.may_read, "a byte is left");
	while (io_write(&ours, bytes, BIG) > 0)
		;
	cr_assert_not(ours.may_write);
	while (recv(peer_fd, bytes, BIG, MSG_DONTWAIT) > 0)
		;
	await_edge();
	cr_assert(ours.may_write);
	cr_assert_eq(io_read(&ours, &byte, 1), 1);
	io_close(&ours);
	cr_assert_eq(read(peer_fd, bytes, 1), 0);
}

Test(proxy_io, an_end_is_no_reset)
{
	char byte;

	open_tcp();
	shutdown(peer_fd, SHUT_WR);
	await_edge();
	while (io_read(&ours, &byte, 1) == -EAGAIN)
		await_edge();
	cr_assert_eq(io_read(&ours, &byte, 1), 0);
	cr_assert(ours.peer_ended);
	cr_assert_eq(io_write(&ours, "x", 1), 1, "our side goes on");
	io_end(&ours);
	cr_assert_eq(read(peer_fd, bytes, BIG), 1);
	cr_assert_eq(read(peer_fd, bytes, BIG), 0);
	io_close(&ours);
	cr_assert_eq(ours.source.fd, -1);
	io_close(&ours);
}

Test(proxy_io, a_reset_is_told)
{
	static const struct linger at_once = { 1, 0 };
	char byte;

	open_tcp();
	setsockopt(peer_fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
	close(peer_fd);
	await_edge();
	while (io_read(&ours, &byte, 1) == -EAGAIN)
		await_edge();
	cr_assert_not(ours.peer_ended);
	cr_assert_eq(io_write(&ours, "x", 1), -EPIPE);
	io_close(&ours);
}

/* ---- under TLS, with a blocking peer of OpenSSL's own in a second SSL ---- */

static SSL *peer;
static SSL_CTX *contexts[2];

static void set_certificate(SSL_CTX *context)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *cert = X509_new();

	X509_set_version(cert, 2);
	X509_gmtime_adj(X509_getm_notBefore(cert), -60);
	X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
	X509_set_pubkey(cert, key);
	X509_sign(cert, key, EVP_sha256());
	cr_assert(SSL_CTX_use_cert_and_key(context, cert, key, NULL, 1));
	X509_free(cert);
	EVP_PKEY_free(key);
}

/* `ours` connects, as the tree's contexts are set up. The peer's descriptor does not block either. */
static void open_tls(bool over_tcp, int version)
{
	int peer_rc = -1, rc = -EAGAIN;
	SSL *ssl;

	over_tcp ? open_tcp() : open_pair();
	cr_assert_eq(fcntl(peer_fd, F_SETFL, O_NONBLOCK), 0);
	contexts[0] = SSL_CTX_new(TLS_client_method());
	contexts[1] = SSL_CTX_new(TLS_server_method());
	SSL_CTX_set_max_proto_version(contexts[0], version);
	SSL_CTX_set_mode(contexts[0], SSL_MODE_ENABLE_PARTIAL_WRITE |
					      SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
					      SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_read_ahead(contexts[0], 1);
	set_certificate(contexts[1]);
	peer = SSL_new(contexts[1]);
	SSL_set_fd(peer, peer_fd);
	SSL_set_accept_state(peer);
	ssl = SSL_new(contexts[0]);
	SSL_set_connect_state(ssl);
	io_start_tls(&ours, ssl);
	for (int i = 0; i < 20 && (rc < 0 || peer_rc != 1); i++) {
		if (rc == -EAGAIN)
			rc = io_handshake(&ours);
		if (peer_rc != 1)
			peer_rc = SSL_do_handshake(peer);
	}
	cr_assert_eq(rc, 0);
	cr_assert_eq(peer_rc, 1);
}

static void close_tls(void)
{
	io_close(&ours);
	SSL_free(peer);
	close(peer_fd);
	SSL_CTX_free(contexts[0]);
	SSL_CTX_free(contexts[1]);
}

Test(proxy_io, pending_bytes_are_told_until_eagain)
{
	char part[10];

	open_tls(false, TLS1_3_VERSION);
	cr_assert_eq(io_read(&ours, part, sizeof(part)), -EAGAIN); /* the tickets */
	cr_assert_eq(SSL_write(peer, bytes, 100), 100);
	cr_assert_eq(SSL_write(peer, bytes, 100), 100);
	await_edge();
	for (int i = 0; i < 19; i++) {
		cr_assert_eq(io_read(&ours, part, sizeof(part)), 10);
		cr_assert(ours.may_read, "both records came with one read(2)");
	}
	cr_assert_eq(io_read(&ours, part, sizeof(part)), 10);
	cr_assert_eq(io_read(&ours, part, sizeof(part)), -EAGAIN);
	cr_assert_not(ours.may_read);
	close_tls();
}

/* Messages of TLS that carry nothing. As long as there are any OpenSSL goes on, within one call. */
static void update_keys(void)
{
	cr_assert_eq(SSL_key_update(peer, SSL_KEY_UPDATE_NOT_REQUESTED), 1);
	cr_assert_eq(SSL_do_handshake(peer), 1);
}

static void send_ticket(void)
{
	cr_assert_eq(SSL_new_session_ticket(peer), 1);
	cr_assert_eq(SSL_do_handshake(peer), 1);
}

static void check_some_go_unnoticed(void (*send_message)(void))
{
	char part[10];

	open_tls(false, TLS1_3_VERSION);
	for (int i = 0; i < 40; i++)
		send_message();
	cr_assert_eq(SSL_write(peer, bytes, 10), 10);
	cr_assert_eq(io_read(&ours, part, sizeof(part)), 10);
	cr_assert_not(ours.is_flooded);
	close_tls();
}

static void check_flood_breaks(void (*send_message)(void))
{
	ssize_t n = -EAGAIN;
	char byte;

	open_tls(false, TLS1_3_VERSION);
	for (int i = 0; i < 10 && n == -EAGAIN; i++) {
		for (int j = 0; j < 40; j++)
			send_message();
		ours.may_read = true;
		n = io_read(&ours, &byte, 1);
	}
	cr_assert_eq(n, -EPROTO);
	cr_assert(ours.is_flooded);
	ERR_clear_error();
	close_tls();
}

Test(proxy_io, some_key_updates_go_unnoticed)
{
	check_some_go_unnoticed(update_keys);
}

Test(proxy_io, some_tickets_go_unnoticed)
{
	check_some_go_unnoticed(send_ticket);
}

Test(proxy_io, key_updates_without_an_end_break_the_connection)
{
	check_flood_breaks(update_keys);
}

Test(proxy_io, tickets_without_an_end_break_the_connection)
{
	check_flood_breaks(send_ticket);
}

/* The head of a record lies in OpenSSL's buffer: nothing to read, and no reason to come back. */
Test(proxy_io, half_a_record_is_not_pending)
{
	int relay[2];
	char record[512];
	BIO *memory = BIO_new(BIO_s_mem());

	open_tls(false, TLS1_3_VERSION);
	cr_assert_eq(io_read(&ours, bytes, BIG), -EAGAIN);
	SSL_set0_wbio(peer, memory);
	cr_assert_eq(SSL_write(peer, "hello", 5), 5);
	relay[0] = BIO_read(memory, record, sizeof(record));
	cr_assert_gt(relay[0], 8);
	cr_assert_eq(write(peer_fd, record, 8), 8);
	await_edge();
	cr_assert_eq(io_read(&ours, bytes, BIG), -EAGAIN);
	cr_assert(SSL_has_pending(ours.ssl), "which is why may_read does not go by this alone");
	cr_assert_not(ours.may_read);
	relay[1] = relay[0] - 8;
	cr_assert_eq(write(peer_fd, record + 8, (size_t)relay[1]), relay[1]);
	await_edge();
	cr_assert_eq(io_read(&ours, bytes, BIG), 5);
	close_tls();
}

static void check_ends(int version)
{
	open_tls(true, version);
	cr_assert_eq(SSL_write(peer, "x", 1), 1);
	cr_assert_eq(SSL_shutdown(peer), 0);
	do
		await_edge();
	while (io_read(&ours, bytes, BIG) != 1);
	while (io_read(&ours, bytes, BIG) == -EAGAIN)
		await_edge();
	cr_assert_eq(io_read(&ours, bytes, BIG), 0);
	cr_assert(ours.peer_ended);
	cr_assert_eq(io_write(&ours, "y", 1), 1, "our side goes on");
	io_end(&ours);
	close_tls();
}

Test(proxy_io, close_notify_ends_the_peers_side)
{
	check_ends(TLS1_3_VERSION);
}

Test(proxy_io, also_with_tls_1_2)
{
	check_ends(TLS1_2_VERSION);
}

Test(proxy_io, a_fin_without_close_notify_is_a_cut)
{
	ssize_t n;

	open_tls(true, TLS1_3_VERSION);
	shutdown(peer_fd, SHUT_WR);
	while ((n = io_read(&ours, bytes, BIG)) == -EAGAIN)
		await_edge();
	cr_assert_eq(n, -ECONNRESET);
	cr_assert_not(ours.peer_ended);
	close_tls();
}

Test(proxy_io, bytes_that_are_no_tls_break_it)
{
	ssize_t n;

	open_tls(true, TLS1_3_VERSION);
	cr_assert_eq(write(peer_fd, "HTTP/1.1 200 OK\r\n", 17), 17);
	while ((n = io_read(&ours, bytes, BIG)) == -EAGAIN)
		await_edge();
	cr_assert_eq(n, -EPROTO);
	cr_assert_lt(io_write(&ours, "x", 1), 0);
	close_tls();
}

/* What the peer gets of `ours` until it says that our side ended; whether it did so properly. */
static size_t drain_peer(bool *ret_ended)
{
	static char sink[BIG];
	size_t total = 0;

	for (;;) {
		int n = SSL_read(peer, sink, sizeof(sink)), error = SSL_get_error(peer, n);

		if (n > 0) {
			total += (size_t)n;
			continue;
		}
		if (error == SSL_ERROR_WANT_READ && ours.is_ending) {
			await_edge();
			continue;
		}
		*ret_ended = error == SSL_ERROR_ZERO_RETURN;
		return total;
	}
}

/* The socket is full when our side ends: close_notify waits for room, and no byte before it is lost. */
Test(proxy_io, the_end_waits_for_room)
{
	size_t written = 0, seen = 0;
	bool is_ended = false;
	char byte;

	open_tls(false, TLS1_3_VERSION);
	while (io_write(&ours, bytes, 1) == 1)
		written++;
	cr_assert_not(ours.may_write);
	/* That record is owed; it takes the room of those that the peer takes out. */
	do
		seen += SSL_read(peer, &byte, 1) == 1;
	while (io_write(&ours, bytes, 1) != 1);
	written++;
	io_end(&ours);
	cr_assert(ours.is_ending);
	seen += drain_peer(&is_ended);
	cr_assert(is_ended);
	cr_assert_not(ours.is_ending);
	cr_assert_eq(seen, written);
	cr_assert_eq(recv(peer_fd, bytes, 1, 0), 0, "then FIN");
	close_tls();
}

static size_t write_until_full(void)
{
	size_t written = 0;
	ssize_t n;

	while ((n = io_write(&ours, bytes, 64 * 1024)) > 0)
		written += (size_t)n;
	cr_assert_eq(n, -EAGAIN);
	cr_assert_gt(ours.backlog_len, 0, "part of a send was refused");
	cr_assert_eq(io_flush(&ours), -EAGAIN);
	return written;
}

/* Four records were sealed and the socket took some of them: the rest goes out as it has room, before
 * anything else. */
Test(proxy_io, what_was_sealed_goes_out_without_a_call)
{
	bool is_ended = false;
	size_t written, seen = 0;
	int n;

	open_tls(false, TLS1_3_VERSION);
	cr_assert_eq(io_write(&ours, bytes, 64 * 1024), 64 * 1024,
		     "all at once while there is room");
	cr_assert_null(ours.backlog);
	written = 64 * 1024 + write_until_full();
	while (ours.backlog) {
		while ((n = SSL_read(peer, bytes, 16 * 1024)) > 0)
			seen += (size_t)n;
		await_edge();
	}
	cr_assert_eq(io_flush(&ours), 0);
	cr_assert(ours.may_write);
	written += write_until_full();
	io_end(&ours);
	cr_assert(ours.is_ending);
	seen += drain_peer(&is_ended);
	cr_assert(is_ended, "close_notify came behind it");
	cr_assert_eq(seen, written);
	close_tls();
}

/* Of a peer that fills its records, some come with one read. */
Test(proxy_io, a_bulk_is_read_at_once)
{
	size_t seen = 0;
	ssize_t n;

	open_tls(true, TLS1_3_VERSION);
	for (int i = 0; i < 8; i++)
		cr_assert_eq(SSL_write(peer, bytes, 16 * 1024), 16 * 1024);
	while (seen < 8 * 16 * 1024) {
		n = io_read(&ours, bytes, 64 * 1024);
		cr_assert(n > 0 || n == -EAGAIN);
		if (n > 0)
			seen += (size_t)n;
		else
			await_edge();
	}
	cr_assert(ours.is_bulk);
	cr_assert_eq(io_read(&ours, bytes, 1), -EAGAIN);
	close_tls();
}

Test(proxy_io, closing_sends_no_close_notify_and_spares_the_session)
{
	SSL_SESSION *session;
	bool is_ended = true;

	open_tls(false, TLS1_3_VERSION);
	cr_assert_eq(io_read(&ours, bytes, BIG), -EAGAIN);
	session = SSL_get1_session(ours.ssl);
	cr_assert(SSL_SESSION_is_resumable(session));
	io_close(&ours);
	cr_assert(SSL_SESSION_is_resumable(session));
	cr_assert_eq(drain_peer(&is_ended), 0);
	cr_assert_not(is_ended, "a message cut short must look so");
	SSL_SESSION_free(session);
	close_tls();
}

/* KeyUpdate: reading makes TLS owe an answer. */
Test(proxy_io, a_key_update_goes_unnoticed)
{
	char part[10];

	open_tls(false, TLS1_3_VERSION);
	cr_assert(SSL_key_update(peer, SSL_KEY_UPDATE_REQUESTED));
	cr_assert_eq(SSL_write(peer, "a", 1), 1);
	await_edge();
	cr_assert_eq(io_read(&ours, part, sizeof(part)), 1);
	cr_assert_eq(io_write(&ours, "b", 1), 1);
	cr_assert_eq(SSL_read(peer, part, sizeof(part)), 1);
	cr_assert_eq(part[0], 'b');
	close_tls();
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * A world for the tests of TLS: an authority, a bundle around it, the proxy's TLS, and two ends of one
 * connection that shake hands over a socket pair in one loop.
 */
#ifndef TEST_PROXY_TLS_WORLD_H
#define TEST_PROXY_TLS_WORLD_H

#include <criterion/criterion.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "ca/mint.h"
#include "proxy/io.h"
#include "proxy/leaf_cache.h"
#include "proxy/tls.h"

enum { PEM_BYTES = 8192, TIMEOUT_MS = 30000, DETAIL_BYTES = 512 };

#define HOST "api.example.com"

/* ---- a world: a CA, a bundle, the proxy's TLS ---- */

static char folder[] = "/tmp/test_proxy_tls.XXXXXX";
static char ca_path[64], bundle_path[64], other_path[64];
static struct strlist no_extra;
static unsigned signer_losses;
static char loss[DETAIL_BYTES];

static inline void count_loss(const char *why)
{
	snprintf(loss, sizeof(loss), "%s", why);
	signer_losses++;
}

static inline void write_file(const char *path, const char *text)
{
	FILE *file = fopen(path, "we");

	cr_assert_not_null(file);
	cr_assert_geq(fputs(text, file), 0);
	cr_assert_eq(fclose(file), 0);
}

static inline void mint(enum ca_key_type type, char pem[static PEM_BYTES], struct buf *ret_cert)
{
	struct ca_request request = { "bottle test CA", type, time(NULL), 3600 };
	struct err err = { 0 };
	size_t len = 0;

	cr_assert_eq(ca_mint(&request, pem, PEM_BYTES, &len, ret_cert, &err), 0, "%s", err.text);
}

/* The bundle holds two other authorities around the bottle's own; `other` holds one alone. */
static inline void make_world(enum ca_key_type type)
{
	struct buf bundle = { 0 }, other = { 0 };
	char pem[PEM_BYTES];

	cr_assert_not_null(mkdtemp(folder));
	snprintf(ca_path, sizeof(ca_path), "%s/ca.pem", folder);
	snprintf(bundle_path, sizeof(bundle_path), "%s/bundle.pem", folder);
	snprintf(other_path, sizeof(other_path), "%s/other.pem", folder);
	mint(CA_KEY_P256, pem, &other);
	buf_puts(&bundle, "# a comment, as some bundles have them\n");
	buf_puts(&bundle, other.data);
	mint(type, pem, &bundle);
	write_file(ca_path, pem);
	mint(CA_KEY_P256, pem, &bundle);
	write_file(bundle_path, bundle.data);
	write_file(other_path, other.data);
	buf_clear(&bundle);
	buf_clear(&other);
}

static inline struct tls_config config_of(const char *trust_store)
{
	return (struct tls_config){
		.ca_path = ca_path,
		.trust_store = trust_store,
		.extra_ca = &no_extra,
		.offers_h2 = true,
		.on_signer_lost = count_loss,
	};
}

static inline void start(const struct tls_config *config)
{
	struct err err = { 0 };

	signal(SIGPIPE, SIG_IGN);
	cr_assert_eq(loop_init(&err), 0, "%s", err.text);
	cr_assert_eq(tls_init(config, &err), 0, "%s", err.text);
}

static inline void start_world(void)
{
	make_world(CA_KEY_P256);
	struct tls_config config = config_of(bundle_path);
	start(&config);
}

static inline void end_world(void)
{
	tls_clear();
	unlink(ca_path);
	unlink(bundle_path);
	unlink(other_path);
	rmdir(folder);
}

/* ---- two ends of one connection ---- */

struct end {
	struct io io;
	int rc;		  /* of the handshake, -EAGAIN while it lasts */
	bool is_read;	  /* wait also until one byte was read (tickets come with it) */
	unsigned resumed; /* calls of tls_accept_new's `resume` */
};

static struct end client, server;

static inline void stop_when_settled(void)
{
	bool failed = (client.rc < 0 && client.rc != -EAGAIN) ||
		      (server.rc < 0 && server.rc != -EAGAIN);

	if (failed || (client.rc == 0 && server.rc == 0 && client.is_read))
		loop_stop();
}

static inline void go_on(struct io *io)
{
	struct end *end = (struct end *)io;
	char byte;

	if (end->rc == -EAGAIN) {
		end->rc = io_handshake(io);
		if (end->rc == 0 && end == &server)
			cr_assert_eq(io_write(io, "x", 1), 1);
	}
	if (end->rc == 0 && end == &client && !end->is_read)
		end->is_read = io_read(io, &byte, 1) == 1;
	stop_when_settled();
}

static inline void resume(void *ctx)
{
	struct end *end = ctx;

	end->resumed++;
	go_on(&end->io);
}

static inline void give_up(struct timer *timer)
{
	(void)timer;
	loop_stop();
}

static inline void run_loop(void)
{
	struct timer timeout = { .on_due = give_up };
	struct err err = { 0 };

	timer_set(&timeout, TIMEOUT_MS);
	cr_assert_eq(loop_run(&err), 0, "%s", err.text);
	cr_assert_neq(timeout.heap_at, 0, "it took too long");
	timer_cancel(&timeout);
}

/* Shakes hands until both are through or one has failed. */
static inline void shake_hands(SSL *client_ssl, SSL *server_ssl)
{
	int fds[2];

	cr_assert_not_null(client_ssl);
	cr_assert_not_null(server_ssl);
	client = server = (struct end){ .rc = -EAGAIN };
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	cr_assert_eq(io_open(&client.io, fds[0], go_on), 0);
	cr_assert_eq(io_open(&server.io, fds[1], go_on), 0);
	client.rc = server.rc = -EAGAIN;
	io_start_tls(&client.io, client_ssl);
	io_start_tls(&server.io, server_ssl);
	run_loop();
}

static inline void close_both(void)
{
	tls_accept_forget(server.io.ssl);
	io_close(&client.io);
	io_close(&server.io);
}

static inline SSL *accept_for(const char *host)
{
	return tls_accept_new(host, resume, &server);
}

static inline SSL *connect_to(const char *host, const void *partition)
{
	struct err err = { 0 };
	SSL *ssl = tls_connect_new(host, 443, partition, true, false, &err);

	cr_assert_not_null(ssl, "%s", err.text);
	return ssl;
}

static inline void expect_success(void)
{
	char detail[DETAIL_BYTES] = "";

	if (client.rc < 0)
		tls_connect_failure(client.io.ssl, detail, sizeof(detail));
	cr_assert_eq(client.rc, 0, "%s", detail);
	cr_assert_eq(server.rc, 0);
}

static inline bool resumes(SSL *client_ssl, SSL *server_ssl)
{
	bool is_resumed;

	shake_hands(client_ssl, server_ssl);
	expect_success();
	is_resumed = SSL_session_reused(client.io.ssl);
	cr_assert_eq(SSL_session_reused(server.io.ssl), is_resumed);
	close_both();
	return is_resumed;
}

/* A client of our own, without verification, which may offer any session under any name. */
static inline SSL *raw_client(SSL_CTX *context, const char *sni, SSL_SESSION *session)
{
	SSL *ssl = SSL_new(context);

	cr_assert(SSL_set_tlsext_host_name(ssl, sni));
	if (session)
		cr_assert(SSL_set_session(ssl, session));
	SSL_set_connect_state(ssl);
	return ssl;
}

#endif

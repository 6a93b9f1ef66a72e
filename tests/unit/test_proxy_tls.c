/* SPDX-License-Identifier: Apache-2.0
 * TLS on both sides, each against the other over a socket pair: names, sessions, trust, failures. */
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

enum { PEM_BYTES = 8192, TIMEOUT_MS = 10000, DETAIL_BYTES = 512 };

#define HOST "api.example.com"

/* ---- a world: a CA, a bundle, the proxy's TLS ---- */

static char folder[] = "/tmp/test_proxy_tls.XXXXXX";
static char ca_path[64], bundle_path[64], other_path[64];
static struct strlist no_extra;
static unsigned signer_losses;

static void count_loss(void)
{
	signer_losses++;
}

static void write_file(const char *path, const char *text)
{
	FILE *file = fopen(path, "we");

	cr_assert_not_null(file);
	cr_assert_geq(fputs(text, file), 0);
	cr_assert_eq(fclose(file), 0);
}

static void mint(enum ca_key_type type, char pem[static PEM_BYTES], struct buf *ret_cert)
{
	struct ca_request request = { "bottle test CA", type, time(NULL), 3600 };
	struct err err = { 0 };
	size_t len = 0;

	cr_assert_eq(ca_mint(&request, pem, PEM_BYTES, &len, ret_cert, &err), 0, "%s", err.text);
}

/* The bundle holds two other authorities around the bottle's own; `other` holds one alone. */
static void make_world(enum ca_key_type type)
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

static struct tls_config config_of(const char *trust_store)
{
	return (struct tls_config){
		.ca_path = ca_path,
		.trust_store = trust_store,
		.extra_ca = &no_extra,
		.offers_h2 = true,
		.on_signer_lost = count_loss,
	};
}

static void start(const struct tls_config *config)
{
	struct err err = { 0 };

	signal(SIGPIPE, SIG_IGN);
	cr_assert_eq(loop_init(&err), 0, "%s", err.text);
	cr_assert_eq(tls_init(config, &err), 0, "%s", err.text);
}

static void start_world(void)
{
	make_world(CA_KEY_P256);
	struct tls_config config = config_of(bundle_path);
	start(&config);
}

static void end_world(void)
{
	tls_clear();
	unlink(ca_path);
	unlink(bundle_path);
	unlink(other_path);
	rmdir(folder);
}

TestSuite(proxy_tls, .fini = end_world);

/* ---- two ends of one connection ---- */

struct end {
	struct io io;
	int rc;		  /* of the handshake, -EAGAIN while it lasts */
	bool is_read;	  /* wait also until one byte was read (tickets come with it) */
	unsigned resumed; /* calls of tls_accept_new's `resume` */
};

static struct end client, server;

static void stop_when_settled(void)
{
	bool failed = (client.rc < 0 && client.rc != -EAGAIN) ||
		      (server.rc < 0 && server.rc != -EAGAIN);

	if (failed || (client.rc == 0 && server.rc == 0 && client.is_read))
		loop_stop();
}

static void go_on(struct io *io)
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

static void resume(void *ctx)
{
	struct end *end = ctx;

	end->resumed++;
	go_on(&end->io);
}

static void give_up(struct timer *timer)
{
	(void)timer;
	loop_stop();
}

static void run_loop(void)
{
	struct timer timeout = { .on_due = give_up };
	struct err err = { 0 };

	timer_set(&timeout, TIMEOUT_MS);
	cr_assert_eq(loop_run(&err), 0, "%s", err.text);
	cr_assert_neq(timeout.heap_at, 0, "it took too long");
	timer_cancel(&timeout);
}

/* Shakes hands until both are through or one has failed. */
static void shake_hands(SSL *client_ssl, SSL *server_ssl)
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

static void close_both(void)
{
	tls_accept_forget(server.io.ssl);
	io_close(&client.io);
	io_close(&server.io);
}

static SSL *accept_for(const char *host)
{
	return tls_accept_new(host, resume, &server);
}

static SSL *connect_to(const char *host, const void *partition)
{
	struct err err = { 0 };
	SSL *ssl = tls_connect_new(host, 443, partition, true, false, &err);

	cr_assert_not_null(ssl, "%s", err.text);
	return ssl;
}

static void expect_success(void)
{
	char detail[DETAIL_BYTES] = "";

	if (client.rc < 0)
		tls_connect_failure(client.io.ssl, detail, sizeof(detail));
	cr_assert_eq(client.rc, 0, "%s", detail);
	cr_assert_eq(server.rc, 0);
}

/* ---- handshakes ---- */

static void check_handshake(void)
{
	shake_hands(connect_to(HOST, NULL), accept_for(HOST));
	expect_success();
	cr_assert_eq(server.resumed, 1, "the leaf was not there yet, once");
	cr_assert_str_eq(tls_sni(server.io.ssl), HOST);
	cr_assert(tls_is_h2(server.io.ssl));
	cr_assert(tls_is_h2(client.io.ssl));
	cr_assert_not(tls_is_resumed(client.io.ssl));
	close_both();
}

Test(proxy_tls, a_client_and_a_server_shake_hands)
{
	start_world();
	check_handshake();
}

Test(proxy_tls, so_they_do_under_an_rsa_authority)
{
	make_world(CA_KEY_RSA2048);
	struct tls_config config = config_of(bundle_path);
	start(&config);
	check_handshake();
}

Test(proxy_tls, an_address_is_no_sni)
{
	start_world();
	shake_hands(connect_to("2001:db8::7", NULL), accept_for("2001:db8::7"));
	expect_success();
	cr_assert_null(tls_sni(server.io.ssl));
	close_both();
}

Test(proxy_tls, http1_alone_is_offered_where_h2_is_not_spoken)
{
	struct err err = { 0 };

	make_world(CA_KEY_P256);
	struct tls_config config = config_of(bundle_path);
	config.offers_h2 = false;
	start(&config);
	shake_hands(connect_to(HOST, NULL), accept_for(HOST));
	expect_success();
	cr_assert_not(tls_is_h2(client.io.ssl));
	close_both();
	shake_hands(tls_connect_new(HOST, 443, NULL, false, false, &err), accept_for(HOST));
	expect_success();
	cr_assert_not(tls_is_h2(server.io.ssl));
	close_both();
}

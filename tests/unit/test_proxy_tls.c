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

enum { PEM_BYTES = 8192, TIMEOUT_MS = 30000, DETAIL_BYTES = 512 };

#define HOST "api.example.com"

/* ---- a world: a CA, a bundle, the proxy's TLS ---- */

static char folder[] = "/tmp/test_proxy_tls.XXXXXX";
static char ca_path[64], bundle_path[64], other_path[64];
static struct strlist no_extra;
static unsigned signer_losses;
static char loss[DETAIL_BYTES];

static void count_loss(const char *why)
{
	snprintf(loss, sizeof(loss), "%s", why);
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

/* ---- sessions ---- */

static bool resumes(SSL *client_ssl, SSL *server_ssl)
{
	bool is_resumed;

	shake_hands(client_ssl, server_ssl);
	expect_success();
	is_resumed = tls_is_resumed(client.io.ssl);
	cr_assert_eq(tls_is_resumed(server.io.ssl), is_resumed);
	close_both();
	return is_resumed;
}

Test(proxy_tls, a_second_connection_resumes_and_needs_no_leaf)
{
	start_world();
	cr_assert_not(resumes(connect_to(HOST, NULL), accept_for(HOST)));
	for (int i = 0; i < 3; i++) {
		cr_assert(resumes(connect_to(HOST, NULL), accept_for(HOST)));
		cr_assert_eq(server.resumed, 0);
	}
}

Test(proxy_tls, sessions_keep_to_their_route_port_and_way)
{
	static const char one, other;
	struct err err = { 0 };

	start_world();
	cr_assert_not(resumes(connect_to(HOST, &one), accept_for(HOST)));
	cr_assert(resumes(connect_to(HOST, &one), accept_for(HOST)));
	cr_assert_not(resumes(connect_to(HOST, &other), accept_for(HOST)), "another route");
	cr_assert_not(
		resumes(tls_connect_new(HOST, 8443, &one, true, false, &err), accept_for(HOST)),
		"another port");
	cr_assert_not(resumes(tls_connect_new(HOST, 443, &one, true, true, &err), accept_for(HOST)),
		      "through the upstream proxy");
}

Test(proxy_tls, the_session_of_a_failed_handshake_is_not_offered_again)
{
	char detail[DETAIL_BYTES];
	SSL *ssl;

	start_world();
	cr_assert_not(resumes(connect_to(HOST, NULL), accept_for(HOST)));
	ssl = connect_to(HOST, NULL);
	tls_connect_failure(ssl, detail, sizeof(detail));
	SSL_free(ssl);
	cr_assert_not(resumes(connect_to(HOST, NULL), accept_for(HOST)));
}

/* A client of our own, without verification, which may offer any session under any name. */
static SSL *raw_client(SSL_CTX *context, const char *sni, SSL_SESSION *session)
{
	SSL *ssl = SSL_new(context);

	cr_assert(SSL_set_tlsext_host_name(ssl, sni));
	if (session)
		cr_assert(SSL_set_session(ssl, session));
	SSL_set_connect_state(ssl);
	return ssl;
}

static void check_ticket_is_bound(int version)
{
	SSL_CTX *context = SSL_CTX_new(TLS_client_method());
	SSL_SESSION *session;

	start_world();
	SSL_CTX_set_min_proto_version(context, version);
	SSL_CTX_set_max_proto_version(context, version);
	shake_hands(raw_client(context, HOST, NULL), accept_for(HOST));
	expect_success();
	cr_assert_eq(SSL_version(server.io.ssl), version);
	session = SSL_get1_session(client.io.ssl);
	cr_assert(SSL_SESSION_is_resumable(session));
	close_both();

	cr_assert(resumes(raw_client(context, HOST, session), accept_for(HOST)), "the same host");
	cr_assert_not(resumes(raw_client(context, HOST, session), accept_for("evil.example")));
	cr_assert_not(
		resumes(raw_client(context, "evil.example", session), accept_for("evil.example")));
	shake_hands(raw_client(context, "evil.example", session), accept_for(HOST));
	cr_assert_str_eq(tls_sni(server.io.ssl), "evil.example",
			 "the name is this ClientHello's, not the session's");
	close_both();
	SSL_SESSION_free(session);
	SSL_CTX_free(context);
}

Test(proxy_tls, a_ticket_resumes_under_its_own_host_alone)
{
	check_ticket_is_bound(TLS1_3_VERSION);
}

Test(proxy_tls, so_does_one_of_tls_1_2)
{
	check_ticket_is_bound(TLS1_2_VERSION);
}

Test(proxy_tls, older_versions_are_refused)
{
	SSL_CTX *context = SSL_CTX_new(TLS_client_method());

	start_world();
	SSL_CTX_set_security_level(context, 0);
	SSL_CTX_set_min_proto_version(context, TLS1_1_VERSION);
	SSL_CTX_set_max_proto_version(context, TLS1_1_VERSION);
	shake_hands(raw_client(context, HOST, NULL), accept_for(HOST));
	cr_assert(client.rc == -EPROTO || server.rc == -EPROTO);
	close_both();
	SSL_CTX_free(context);
}

/* ---- trust ---- */

static void expect_refusal(SSL *client_ssl, const char *served, const char *reason,
			   const char *sentence)
{
	char detail[DETAIL_BYTES] = "";

	shake_hands(client_ssl, accept_for(served));
	cr_assert_eq(client.rc, -EPROTO);
	cr_assert_str_eq(tls_connect_failure(client.io.ssl, detail, sizeof(detail)), reason);
	cr_assert_not_null(strstr(detail, sentence), "%s", detail);
	cr_assert_eq(ERR_peek_error(), 0);
	close_both();
}

Test(proxy_tls, a_wrong_name_or_address_is_refused)
{
	start_world();
	expect_refusal(connect_to(HOST, NULL), "api.example.org", "upstream_tls_verify",
		       "for another name");
	expect_refusal(connect_to("192.0.2.1", NULL), "192.0.2.2", "upstream_tls_verify",
		       "for another address");
	expect_refusal(connect_to("192.0.2.1", NULL), HOST, "upstream_tls_verify",
		       "for another address");
}

Test(proxy_tls, an_unknown_authority_is_refused)
{
	make_world(CA_KEY_P256);
	struct tls_config config = config_of(other_path);
	start(&config);
	expect_refusal(connect_to(HOST, NULL), HOST, "upstream_tls_verify", "unknown issuer");
}

Test(proxy_tls, extra_authorities_are_trusted_besides_the_store)
{
	struct strlist extra = { 0 };

	make_world(CA_KEY_P256);
	struct tls_config config = config_of(other_path);
	cr_assert_eq(strlist_add(&extra, bundle_path), 0);
	config.extra_ca = &extra;
	start(&config);
	cr_assert_not(resumes(connect_to(HOST, NULL), accept_for(HOST)));
	strlist_clear(&extra);
}

Test(proxy_tls, the_upstreams_authority_counts_on_its_own_way_alone)
{
	struct err err = { 0 };

	make_world(CA_KEY_P256);
	struct tls_config config = config_of(other_path);
	config.upstream_ca = bundle_path;
	start(&config);
	cr_assert_not(
		resumes(tls_connect_new(HOST, 443, NULL, true, true, &err), accept_for(HOST)));
	expect_refusal(connect_to(HOST, NULL), HOST, "upstream_tls_verify", "unknown issuer");
}

Test(proxy_tls, a_store_that_cannot_be_read_refuses_the_connection_and_says_so)
{
	struct err err = { 0 };

	make_world(CA_KEY_P256);
	struct tls_config config = config_of("/nonexistent/bundle.pem");
	start(&config);
	cr_assert_null(tls_connect_new(HOST, 443, NULL, true, false, &err));
	cr_assert_not_null(strstr(err.text, "/nonexistent/bundle.pem"), "%s", err.text);
	cr_assert_null(tls_connect_new(HOST, 443, NULL, true, false, &err), "nor later");
}

/* ---- failures of a start ---- */

static void expect_no_start(const struct tls_config *config, const char *sentence)
{
	struct err err = { 0 };

	cr_assert_eq(loop_init(&err), 0, "%s", err.text);
	cr_assert_lt(tls_init(config, &err), 0);
	cr_assert_not_null(strstr(err.text, sentence), "%s", err.text);
}

Test(proxy_tls, a_start_without_an_authority_fails)
{
	make_world(CA_KEY_P256);
	struct tls_config config = config_of(bundle_path);
	config.ca_path = "/nonexistent/ca.pem";
	expect_no_start(&config, "/nonexistent/ca.pem: No such file");
	config.ca_path = bundle_path;
	expect_no_start(&config, "no PEM with a certificate and its key");
}

Test(proxy_tls, a_start_with_a_broken_extra_authority_fails)
{
	struct strlist extra = { 0 };
	char path[80];

	make_world(CA_KEY_P256);
	struct tls_config config = config_of(bundle_path);
	snprintf(path, sizeof(path), "%s.extra", other_path);
	cr_assert_eq(strlist_add(&extra, path), 0);
	config.extra_ca = &extra;
	expect_no_start(&config, "No such file");
	write_file(path, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
	expect_no_start(&config, "cannot be read");
	write_file(path, "nothing\n");
	expect_no_start(&config, "no certificate in PEM");
	unlink(path);
	strlist_clear(&extra);
}

static void stop_on_loss(const char *why)
{
	count_loss(why);
	loop_stop();
}

/* A key that is not the certificate's: told once the loop runs. */
Test(proxy_tls, an_authority_with_anothers_key_is_told)
{
	struct buf cert = { 0 };
	char pem[PEM_BYTES], mixed[2 * PEM_BYTES];

	make_world(CA_KEY_P256);
	mint(CA_KEY_P256, pem, &cert);
	*strstr(pem, "-----BEGIN CERTIFICATE") = '\0';
	cert.len = 0;
	mint(CA_KEY_P256, mixed, &cert);
	snprintf(mixed, sizeof(mixed), "%s%s", pem, cert.data);
	write_file(ca_path, mixed);
	struct tls_config config = config_of(bundle_path);
	config.on_signer_lost = stop_on_loss;
	start(&config);
	run_loop();
	cr_assert_eq(signer_losses, 1);
	cr_assert_not_null(strstr(loss, "is not the first certificate's"), "%s", loss);
	buf_clear(&cert);
}

/* ---- what clients say ---- */

static void check_distrust(int version)
{
	SSL_CTX *context = SSL_CTX_new(TLS_client_method());
	char detail[DETAIL_BYTES] = "";
	static const unsigned char h2[] = "\2h2";

	start_world();
	SSL_CTX_set_max_proto_version(context, version);
	SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_alpn_protos(context, h2, sizeof(h2) - 1);
	shake_hands(raw_client(context, HOST, NULL), accept_for(HOST));
	cr_assert_eq(client.rc, -EPROTO);
	while (server.rc == -EAGAIN)
		server.rc = io_handshake(&server.io);
	cr_assert_eq(server.rc, -EPROTO);
	tls_accept_failure(server.io.ssl, detail, sizeof(detail));
	cr_assert_not_null(strstr(detail, "does not trust the CA"), "%s", detail);
	cr_assert_not_null(strstr(detail, "CURL_CA_BUNDLE"), "%s", detail);
	close_both();
	SSL_CTX_free(context);
}

Test(proxy_tls, a_client_that_does_not_trust_us_is_told_its_variable)
{
	check_distrust(TLS1_3_VERSION);
}

Test(proxy_tls, so_is_one_with_tls_1_2)
{
	check_distrust(TLS1_2_VERSION);
}

/* ---- waiting ---- */

enum { WAITERS = 50 };

static unsigned woken, to_wake;

static void count_wake(void *ctx)
{
	(void)ctx;
	if (++woken == to_wake)
		loop_stop();
}

/* Feeds a ClientHello to each of many servers, so that all wait for their leaf. */
static void make_waiters(SSL *ssls[static WAITERS], const char *prefix, bool one_name)
{
	SSL_CTX *context = SSL_CTX_new(TLS_client_method());
	char host[64], hello[4096];

	for (int i = 0; i < WAITERS; i++) {
		snprintf(host, sizeof(host), "%s%d.example.com", prefix, one_name ? 0 : i);
		SSL *ssl = raw_client(context, host, NULL);
		BIO *out = BIO_new(BIO_s_mem()), *in = BIO_new(BIO_s_mem());
		SSL_set_bio(ssl, BIO_new(BIO_s_mem()), out);
		cr_assert_eq(SSL_do_handshake(ssl), -1);
		int len = BIO_read(out, hello, sizeof(hello));
		cr_assert_gt(len, 0);
		ssls[i] = tls_accept_new(host, count_wake, NULL);
		cr_assert_eq(BIO_write(in, hello, len), len);
		SSL_set_bio(ssls[i], in, BIO_new(BIO_s_mem()));
		cr_assert_eq(SSL_do_handshake(ssls[i]), -1);
		cr_assert_eq(SSL_get_error(ssls[i], -1), SSL_ERROR_WANT_X509_LOOKUP);
		SSL_free(ssl);
	}
	SSL_CTX_free(context);
}

static void free_waiters(SSL *ssls[static WAITERS])
{
	for (int i = 0; i < WAITERS; i++)
		SSL_free(ssls[i]);
}

static void check_waiters(bool one_name)
{
	SSL *ssls[WAITERS];

	start_world();
	make_waiters(ssls, "host", one_name);
	/* Three go away, in each of the ways. */
	tls_accept_forget(ssls[0]);
	tls_accept_forget(ssls[WAITERS - 1]);
	SSL_free(ssls[7]);
	ssls[7] = NULL;
	woken = 0;
	to_wake = WAITERS - 3;
	run_loop();
	cr_assert_eq(woken, to_wake);
	for (int i = 1; i < WAITERS - 1; i++) {
		if (!ssls[i])
			continue;
		cr_assert_eq(SSL_do_handshake(ssls[i]), -1);
		cr_assert_eq(SSL_get_error(ssls[i], -1), SSL_ERROR_WANT_READ, "it goes on");
	}
	free_waiters(ssls);
}

Test(proxy_tls, many_wait_for_one_leaf)
{
	check_waiters(true);
}

Test(proxy_tls, many_wait_for_a_leaf_each)
{
	check_waiters(false);
}

/* The names are none, so the signer refuses: each is woken and its handshake fails. */
Test(proxy_tls, a_refused_leaf_fails_the_handshake)
{
	SSL *ssls[WAITERS];

	start_world();
	make_waiters(ssls, "*.host", false);
	woken = 0;
	to_wake = WAITERS;
	run_loop();
	cr_assert_eq(woken, to_wake);
	cr_assert_eq(SSL_do_handshake(ssls[0]), -1);
	cr_assert_eq(SSL_get_error(ssls[0], -1), SSL_ERROR_SSL);
	free_waiters(ssls);
}

static pid_t only_child(void)
{
	char path[64];
	int pid = -1;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)gettid());
	file = fopen(path, "re");
	cr_assert_not_null(file);
	cr_assert_eq(fscanf(file, "%d", &pid), 1);
	fclose(file);
	return pid;
}

Test(proxy_tls, a_dead_signer_is_told_and_wakes_those_that_wait)
{
	SSL *ssls[WAITERS];
	pid_t signer;

	start_world();
	signer = only_child();
	cr_assert_eq(kill(signer, SIGSTOP), 0);
	make_waiters(ssls, "host", false);
	cr_assert_eq(kill(signer, SIGKILL), 0);
	woken = 0;
	to_wake = WAITERS;
	run_loop();
	cr_assert_eq(woken, to_wake);
	cr_assert_eq(signer_losses, 1);
	cr_assert_not_null(strstr(loss, "has ended"));
	cr_assert_eq(SSL_do_handshake(ssls[0]), -1);
	cr_assert_eq(SSL_get_error(ssls[0], -1), SSL_ERROR_SSL);
	free_waiters(ssls);
}

/* More names than are kept, and more than stay parsed: each works, also the ones that went. */
Test(proxy_tls, the_oldest_leaves_go_and_come_again)
{
	SSL_CTX *context = SSL_CTX_new(TLS_client_method());
	char host[64];

	start_world();
	for (int i = 0; i <= LEAVES_MAX + 10; i++) {
		snprintf(host, sizeof(host), "h%d.example.com", i % (LEAVES_MAX + 5));
		cr_assert_not(resumes(raw_client(context, host, NULL), accept_for(host)));
	}
	snprintf(host, sizeof(host), "h%d.example.com", LEAVES_MAX);
	cr_assert_not(resumes(raw_client(context, host, NULL), accept_for(host)));
	cr_assert_eq(server.resumed, 0, "a recent one is there, though not parsed");
	snprintf(host, sizeof(host), "h%d.example.com", 50);
	cr_assert_not(resumes(raw_client(context, host, NULL), accept_for(host)));
	SSL_CTX_free(context);
}

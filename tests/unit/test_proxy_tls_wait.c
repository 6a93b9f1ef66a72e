/* SPDX-License-Identifier: Apache-2.0
 * Handshakes that wait for the signer: many at once, some of which go away, a signer that refuses or
 * dies, and more names than are kept. */
#include "tests/unit/test_proxy_tls_world.h"

TestSuite(proxy_tls_wait, .fini = end_world);

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

Test(proxy_tls_wait, many_wait_for_one_leaf)
{
	check_waiters(true);
}

Test(proxy_tls_wait, many_wait_for_a_leaf_each)
{
	check_waiters(false);
}

/* The names are none, so the signer refuses: each is woken and its handshake fails. */
Test(proxy_tls_wait, a_refused_leaf_fails_the_handshake)
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

Test(proxy_tls_wait, a_dead_signer_is_told_and_wakes_those_that_wait)
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
Test(proxy_tls_wait, the_oldest_leaves_go_and_come_again)
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

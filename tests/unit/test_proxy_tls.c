/* SPDX-License-Identifier: Apache-2.0
 * TLS on both sides, each against the other: names, sessions, trust, failures. */
#include "tests/unit/test_proxy_tls_world.h"

TestSuite(proxy_tls, .fini = end_world);

/* ---- handshakes ---- */

static void check_handshake(void)
{
	shake_hands(connect_to(HOST, NULL), accept_for(HOST));
	expect_success();
	cr_assert_str_eq(tls_sni(server.io.ssl), HOST);
	cr_assert(tls_is_h2(server.io.ssl));
	cr_assert(tls_is_h2(client.io.ssl));
	cr_assert_not(SSL_session_reused(client.io.ssl));
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
	tls_connect_forget();
	cr_assert_not(resumes(connect_to(HOST, &one), accept_for(HOST)), "other routes since");
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
	SSL *ssl;

	start_world();
	ssl = connect_to(HOST, NULL);
	cr_assert(SSL_set1_host(ssl, "api.example.org")); /* and sends HOST, whose leaf it gets */
	expect_refusal(ssl, HOST, "upstream_tls_verify", "for another name");
	expect_refusal(connect_to("192.0.2.1", NULL), "192.0.2.2", "upstream_tls_verify",
		       "for another address");
	expect_refusal(connect_to("192.0.2.1", NULL), HOST, "upstream_tls_verify",
		       "for another address");
}

Test(proxy_tls, the_name_that_is_sent_has_the_leaf)
{
	start_world();
	shake_hands(connect_to("evil.example", NULL), accept_for(HOST));
	expect_success();
	cr_assert_str_eq(tls_sni(server.io.ssl), "evil.example");
	close_both();
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

/* ---- ALPN ---- */

static void check_alpn(const char *offered, const char *chosen)
{
	SSL_CTX *context = SSL_CTX_new(TLS_client_method());
	const unsigned char *name = NULL;
	unsigned len = 0;

	SSL_CTX_set_alpn_protos(context, (const unsigned char *)offered, (unsigned)strlen(offered));
	shake_hands(raw_client(context, HOST, NULL), accept_for(HOST));
	cr_assert_eq(client.rc, 0);
	SSL_get0_alpn_selected(client.io.ssl, &name, &len);
	cr_assert_eq(len, strlen(chosen), "%.*s", (int)len, name);
	cr_assert(!len || !memcmp(name, chosen, len));
	close_both();
	SSL_CTX_free(context);
}

Test(proxy_tls, http2_is_chosen_where_it_is_offered)
{
	start_world();
	check_alpn("\2h2\10http/1.1", "h2");
	check_alpn("\10http/1.1\2h2", "h2");
	check_alpn("\10http/1.1", "http/1.1");
	check_alpn("\10http/1.0", "");
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Starting and ending TLS; see tls.h. Runs in: the proxy's worker. Holds: the leaves' key, the sessions'
 * keys; not the CA's key.
 *
 *   tls_accept.c    the side to the client       leaf_cache.c   its certificates
 *   tls_connect.c   the side to the servers      tls_session.c  sessions to resume
 *   tls_failure.c   why a handshake failed       tls_store.c    the system's trust store
 */
#include "proxy/tls.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "proxy/leaf_cache.h"
#include "proxy/loop.h"
#include "proxy/signer.h"
#include "proxy/tls_parts.h"

/* 112 bits, as Debian's own build has it: no SHA-1 signature, no RSA below 2048. */
enum { SECURITY_LEVEL = 2 };

/* OpenSSL's own lists with AES-128-GCM in front, which is what browsers ask for first: a handshake costs
 * 5 to 9 % less with it, since its hash is SHA-256, and a long body 4 %. */
static const char suites[] =
	"TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";
static const char ciphers[] = "ECDHE+AESGCM+AES128:ALL:!COMPLEMENTOFDEFAULT:!eNULL";

static pid_t signer_pid = -1;
static bool warms_upstream;
static struct task warm_up;

void tls_start_library(void)
{
	/* OpenSSL 3.0 itself reads no SSLKEYLOGFILE. */
	OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG | OPENSSL_INIT_NO_ATEXIT, NULL);
}

SSL_CTX *tls_context_new(bool is_server)
{
	SSL_CTX *context;

	tls_start_library();
	context = SSL_CTX_new(is_server ? TLS_server_method() : TLS_client_method());
	if (!context)
		return NULL;
	SSL_CTX_set_security_level(context, SECURITY_LEVEL);
	SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
	/* PRIORITIZE_CHACHA: a client that puts it first has no AES in hardware. */
	SSL_CTX_set_options(context, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION |
					     SSL_OP_CIPHER_SERVER_PREFERENCE |
					     SSL_OP_PRIORITIZE_CHACHA);
	if (SSL_CTX_set_ciphersuites(context, suites) != 1 ||
	    SSL_CTX_set_cipher_list(context, ciphers) != 1) {
		SSL_CTX_free(context);
		return NULL;
	}
	/* RELEASE_BUFFERS: 14 kB instead of 46 for an idle connection. */
	SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE |
					  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
					  SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_read_ahead(context, 1); /* one read(2) for a record, not two */
	return context;
}

/* Makes ahead what the first connections will need. What fails here is tried again, and told, then. */
static void warm_servers(struct task *task)
{
	(void)task;
	tls_connect_context(warms_upstream, NULL);
	ERR_clear_error();
}

static void warm_clients(struct task *task)
{
	tls_accept_context();
	ERR_clear_error();
	/* In another round of the loop: clients may be there by now. */
	task->run = warm_servers;
	loop_defer(task);
}

static int start(const struct tls_config *config, int signer_fd, struct err *err)
{
	cleanup_fd int owned_fd = signer_fd;

	tls_accept_init(config->offers_h2);
	TRY(tls_connect_init(config, err));
	warms_upstream = config->upstream_ca;
	warm_up.run = warm_clients;
	loop_defer(&warm_up);
	TRY(signer_wait_ready(owned_fd, err));
	return leaf_cache_init(take_fd(&owned_fd), config->on_signer_lost, err);
}

int tls_init(const struct tls_config *config, struct err *err)
{
	int signer_fd, rc;

	TRY(signer_start(config->ca_path, &signer_fd, &signer_pid, err));
	rc = start(config, signer_fd, err);
	if (rc < 0)
		tls_clear();
	return rc;
}

void tls_clear(void)
{
	loop_undefer(&warm_up);
	leaf_cache_clear();
	tls_accept_clear();
	tls_connect_clear();
	/* It has seen its socket close, but may be in the midst of an RSA key. */
	if (signer_pid > 0 && kill(signer_pid, SIGKILL) == 0)
		waitpid(signer_pid, NULL, 0);
	signer_pid = -1;
}

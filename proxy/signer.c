/* SPDX-License-Identifier: Apache-2.0
 *
 * The signer; see signer.h. Runs in: a process of its own, forked from the worker before that has a
 * connection, a credential or a thread.
 *
 * May: read ca_path, once; then compute, and receive and send on one socket.
 * Holds: the CA's private key (OpenSSL's secure heap, locked where RLIMIT_MEMLOCK allows).
 * Has not: any other descriptor (0, 1, 2 neither), a core dump, a tracer, any other system call.
 * Ends: when the worker's end closes, or with the worker (PR_SET_PDEATHSIG). Signals that a terminal
 * or a supervisor sends to the whole group are ignored: the worker drains, and needs it until then.
 *
 * It trusts the worker with nothing but the choice of a name, and the name must be a host in canonical
 * form: no wildcard, no second name, no CA comes out of here.
 */
#include "proxy/signer.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "ca/pkcs8.h"
#include "proxy/authority.h"

enum {
	CA_FILE_MAX_BYTES = 64 * 1024,
	SECURE_HEAP_BYTES = 128 * 1024, /* the file, two RSA keys, and what making one takes */
	SECURE_HEAP_MIN_BLOCK = 32,
};

/* ---- the signer's side ---- */

static void answer_send(int fd, struct signer_answer *answer)
{
	size_t size = offsetof(struct signer_answer, bytes) + answer->len;

	ssize_t n;

	do
		n = send(fd, answer, size, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		_exit(0); /* the worker is gone */
}

static _Noreturn void fail(int fd, struct signer_answer *answer, const struct err *err)
{
	answer->kind = SIGNER_FAILED;
	answer->len = strlen(err->text) + 1;
	memcpy(answer->bytes, err->text, answer->len);
	answer_send(fd, answer);
	_exit(1);
}

static void become_signer(int fd, pid_t worker)
{
	static const int group_signals[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE };

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != worker)
		_exit(0);
	prctl(PR_SET_DUMPABLE, 0);
	prctl(PR_SET_NAME, "signer");
	for (size_t i = 0; i < sizeof(group_signals) / sizeof(group_signals[0]); i++)
		signal(group_signals[i], SIG_IGN);
	if (fd > 0)
		close_range(0, (unsigned)fd - 1, 0);
	close_range((unsigned)fd + 1, ~0U, 0);
}

/* Reads into the secure heap, without stdio and its buffers. Returns the length or -errno. */
static int read_secret(const char *path, char *ret_text, struct err *err)
{
	cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	size_t len = 0;
	ssize_t n;

	if (fd < 0)
		return err_sys(err, errno, "%s", path);
	while ((n = read(fd, ret_text + len, CA_FILE_MAX_BYTES - len)) > 0)
		len += (size_t)n;
	if (n < 0)
		return err_sys(err, errno, "%s", path);
	if (len == CA_FILE_MAX_BYTES)
		return err_set(err, EFBIG, "%s: larger than %d bytes", path, CA_FILE_MAX_BYTES);
	return (int)len;
}

/* What can be seen without OpenSSL, which takes milliseconds to start. */
static int look_at(const char *path, const char *text, size_t len, struct err *err)
{
	static const char *const labels[] = { "-----BEGIN CERTIFICATE-----", "PRIVATE KEY-----" };

	for (size_t i = 0; i < sizeof(labels) / sizeof(labels[0]); i++)
		if (!memmem(text, len, labels[i], strlen(labels[i])))
			return err_set(err, EBADMSG, "%s: no PEM with a certificate and its key",
				       path);
	return 0;
}

/* Reads the file and gives up everything else. Returns its length, *ret_text in the secure heap. */
static int take_secret(const char *path, char **ret_text, struct err *err)
{
	char *text;
	int len;

	/* 2: made, but not locked. Borne: without CAP_IPC_LOCK the limit may be 0. */
	if (!CRYPTO_secure_malloc_init(SECURE_HEAP_BYTES, SECURE_HEAP_MIN_BLOCK) ||
	    !(text = OPENSSL_secure_malloc(CA_FILE_MAX_BYTES)))
		return err_sys(err, errno, "signer: no secure heap");
	len = read_secret(path, text, err);
	TRY(len);
	TRY(signer_confine(err));
	TRY(look_at(path, text, (size_t)len, err));
	*ret_text = text;
	return len;
}

static int load_authority(const char *path, char *text, size_t len, struct leaf_issuer *issuer,
			  struct err *err)
{
	int rc;

	/* No openssl.cnf: OPENSSL_CONF may name any file, and engines. */
	OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG | OPENSSL_INIT_NO_ATEXIT, NULL);
	rc = leaf_issuer_read(issuer, text, len, err);
	OPENSSL_secure_clear_free(text, CA_FILE_MAX_BYTES);
	return rc < 0 ? err_context(err, rc, "%s", path) : 0;
}

static int give_leaf_key(int fd, struct leaf_issuer *issuer, struct signer_answer *answer,
			 struct err *err)
{
	const uint8_t *der = NULL;
	int len;

	TRY(leaf_issuer_make_key(issuer, err));
	len = ca_pkcs8_write(issuer->leaf_key, issuer->leaf_type, answer->bytes,
			     sizeof(answer->bytes), &der);
	if (len < 0)
		return err_set(err, -len, "signer: the leaves' key cannot be written");
	memmove(answer->bytes, der, (size_t)len);
	answer->kind = SIGNER_KEY;
	answer->len = (size_t)len;
	answer_send(fd, answer);
	explicit_bzero(answer->bytes, sizeof(answer->bytes));
	return 0;
}

/* Answers one request. The name comes from the worker, which talks to the world. */
static void serve(int fd, struct leaf_issuer *issuer, struct span name,
		  struct signer_answer *answer)
{
	char host[HOST_BYTES];
	int len = authority_canonical_host(name, host);

	if (len == 0 && (strlen(host) != name.len || memcmp(host, name.at, name.len) != 0))
		len = -EINVAL;
	if (len == 0)
		len = leaf_issue(issuer, host, answer->bytes);
	memset(answer->host, 0, sizeof(answer->host));
	memcpy(answer->host, name.at, name.len);
	answer->kind = len < 0 ? SIGNER_REFUSED : SIGNER_LEAF;
	answer->len = len < 0 ? 0 : (size_t)len;
	answer_send(fd, answer);
}

static _Noreturn void signer_main(int fd, const char *ca_path, pid_t worker)
{
	static struct signer_answer answer;
	static struct leaf_issuer issuer;
	char name[HOST_BYTES], *text = NULL;
	struct err err = { 0 };
	ssize_t len;

	become_signer(fd, worker);
	len = take_secret(ca_path, &text, &err);
	if (len < 0)
		fail(fd, &answer, &err);
	answer.kind = SIGNER_READY;
	answer_send(fd, &answer);
	if (load_authority(ca_path, text, (size_t)len, &issuer, &err) < 0 ||
	    give_leaf_key(fd, &issuer, &answer, &err) < 0)
		fail(fd, &answer, &err);
	/* MSG_TRUNC: the packet's own length, also of one too long to be a name, which ends this. */
	while ((len = recv(fd, name, sizeof(name), MSG_TRUNC)) > 0 && len < HOST_BYTES)
		serve(fd, &issuer, (struct span){ name, (size_t)len }, &answer);
	_exit(0);
}

/* ---- the worker's side ---- */

int signer_start(const char *ca_path, int *ret_fd, pid_t *ret_pid, struct err *err)
{
	int ends[2];
	pid_t worker = getpid(), pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return err_sys(err, errno, "signer: socketpair");
	cleanup_fd int own_fd = ends[0];
	cleanup_fd int signer_fd = ends[1];
	if (fcntl(own_fd, F_SETFL, O_NONBLOCK) < 0)
		return err_sys(err, errno, "signer: fcntl");
	pid = fork();
	if (pid < 0)
		return err_fork(err, errno, "signer: fork");
	if (pid == 0)
		signer_main(signer_fd, ca_path, worker);
	*ret_fd = take_fd(&own_fd);
	*ret_pid = pid;
	return 0;
}

int signer_receive(int fd, struct signer_answer *ret_answer)
{
	const size_t head = offsetof(struct signer_answer, bytes);
	ssize_t n;

	do
		n = recv(fd, ret_answer, sizeof(*ret_answer), MSG_DONTWAIT | MSG_TRUNC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == ECONNRESET ? -EPIPE : -errno;
	if (n == 0)
		return -EPIPE;
	return (size_t)n < head || (size_t)n - head != ret_answer->len ? -EBADMSG : 0;
}

int signer_wait_ready(int fd, struct err *err)
{
	struct pollfd wait = { .fd = fd, .events = POLLIN };
	struct signer_answer answer = { 0 };
	int rc;

	do
		rc = signer_receive(fd, &answer);
	while (rc == -EAGAIN && (poll(&wait, 1, -1) > 0 || errno == EINTR));
	if (rc < 0)
		return err_sys(err, -rc, "the signer ended before it was ready");
	if (answer.kind == SIGNER_FAILED)
		return err_set(err, EIO, "%.*s", (int)answer.len, (const char *)answer.bytes);
	return answer.kind == SIGNER_READY ? 0 : err_set(err, EPROTO, "signer: out of step");
}

int signer_ask(int fd, const char *host)
{
	ssize_t n = send(fd, host, strlen(host), MSG_NOSIGNAL | MSG_DONTWAIT);

	return n < 0 ? -errno : 0;
}

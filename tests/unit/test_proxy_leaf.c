/* SPDX-License-Identifier: Apache-2.0
 * Leaf certificates: their profile, what strict verifiers say to them; and the signer: what it refuses,
 * what it cannot do, when it ends. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "ca/mint.h"
#include "proxy/leaf.h"
#include "proxy/signer.h"
#include "tests/lib/in_child.h"

enum { PEM_BYTES = 8192, TIMEOUT_MS = 30000 };

#define HOST	 "api.example.com"
#define LABEL_63 "a23456789012345678901234567890123456789012345678901234567890123"

static void mint(enum ca_key_type type, char pem[static PEM_BYTES], struct buf *ret_cert)
{
	struct ca_request request = { "bottle test CA", type, time(NULL), 3600 };
	struct err err = { 0 };
	size_t len = 0;

	cr_assert_eq(ca_mint(&request, pem, PEM_BYTES, &len, ret_cert, &err), 0, "%s", err.text);
}

static struct leaf_issuer make_issuer(enum ca_key_type type)
{
	struct leaf_issuer issuer;
	struct buf cert = { 0 };
	struct err err = { 0 };
	char pem[PEM_BYTES];

	mint(type, pem, &cert);
	cr_assert_eq(leaf_issuer_read(&issuer, pem, strlen(pem), &err), 0, "%s", err.text);
	cr_assert_eq(leaf_issuer_make_key(&issuer, &err), 0, "%s", err.text);
	buf_clear(&cert);
	return issuer;
}

static X509 *issue(struct leaf_issuer *issuer, const char *host)
{
	uint8_t der[LEAF_DER_MAX];
	const unsigned char *at = der;
	int len = leaf_issue(issuer, host, der);
	X509 *leaf;

	cr_assert_gt(len, 0);
	leaf = d2i_X509(NULL, &at, len);
	cr_assert_not_null(leaf);
	cr_assert_eq(at - der, len);
	return leaf;
}

/* ---- profile ---- */

static void check_common_parts(const struct leaf_issuer *issuer, X509 *leaf)
{
	const ASN1_INTEGER *serial = X509_get0_serialNumber(leaf);
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned len;

	cr_assert_eq(X509_get_version(leaf), 2);
	cr_assert_eq(X509_NAME_cmp(X509_get_issuer_name(leaf), X509_get_subject_name(issuer->ca)),
		     0);
	cr_assert_eq(ASN1_TIME_compare(X509_get0_notBefore(leaf), X509_get0_notBefore(issuer->ca)),
		     0);
	cr_assert_eq(ASN1_TIME_compare(X509_get0_notAfter(leaf), X509_get0_notAfter(issuer->ca)),
		     0);
	cr_assert_eq(serial->type, V_ASN1_INTEGER, "a positive number");
	cr_assert_leq(serial->length, 16);
	cr_assert_geq(serial->length, 12, "128 random bits are not this short");
	cr_assert_eq(X509_check_ca(leaf), 0);
	cr_assert_eq(X509_get_extended_key_usage(leaf), XKU_SSL_SERVER);
	X509_pubkey_digest(leaf, EVP_sha1(), digest, &len);
	cr_assert_arr_eq(X509_get0_subject_key_id(leaf)->data, digest, 20);
	cr_assert_eq(ASN1_OCTET_STRING_cmp(X509_get0_authority_key_id(leaf),
					   X509_get0_subject_key_id(issuer->ca)),
		     0);
	cr_assert_eq(X509_verify(leaf, issuer->ca_key), 1);
	cr_assert_eq(X509_get_ext_count(leaf), 6);
}

static void check_criticality(const X509 *leaf, int nid, int wanted)
{
	int critical = -2;
	void *value = X509_get_ext_d2i(leaf, nid, &critical, NULL);

	cr_assert_not_null(value, "%s", OBJ_nid2sn(nid));
	cr_assert_eq(critical, wanted, "%s", OBJ_nid2sn(nid));
	ASN1_item_free(value, ASN1_ITEM_ptr(X509V3_EXT_get_nid(nid)->it));
}

static void check_name(const X509 *leaf, int type, const void *bytes, int len, bool has_common_name)
{
	int critical = -2;
	GENERAL_NAMES *names = X509_get_ext_d2i(leaf, NID_subject_alt_name, &critical, NULL);
	int found;

	cr_assert_eq(sk_GENERAL_NAME_num(names), 1);
	const ASN1_STRING *value = GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names, 0), &found);
	cr_assert_eq(found, type);
	cr_assert_eq(value->length, len);
	cr_assert_arr_eq(value->data, bytes, (size_t)len);
	cr_assert_eq(critical, !has_common_name);
	cr_assert_eq(X509_NAME_entry_count(X509_get_subject_name(leaf)), has_common_name);
	GENERAL_NAMES_free(names);
}

static int strict_verdict(const struct leaf_issuer *issuer, X509 *leaf)
{
	X509_STORE *store = X509_STORE_new();
	X509_STORE_CTX *context = X509_STORE_CTX_new();
	int error;

	cr_assert(X509_STORE_add_cert(store, issuer->ca));
	cr_assert(X509_STORE_set_flags(store, X509_V_FLAG_X509_STRICT));
	cr_assert(X509_STORE_set_purpose(store, X509_PURPOSE_SSL_SERVER));
	cr_assert(X509_STORE_CTX_init(context, store, leaf, NULL));
	X509_verify_cert(context);
	error = X509_STORE_CTX_get_error(context);
	X509_STORE_CTX_free(context);
	X509_STORE_free(store);
	return error;
}

static void check_leaves(enum ca_key_type type, uint32_t usage)
{
	static const struct {
		const char *host;
		int type;
		const char *bytes;
		int len;
		bool has_common_name;
	} cases[] = {
		{ HOST, GEN_DNS, HOST, sizeof(HOST) - 1, true },
		{ "_dmarc.example.com", GEN_DNS, "_dmarc.example.com", 18, true },
		{ LABEL_63 ".a", GEN_DNS, LABEL_63 ".a", 65, false },
		{ "192.0.2.7", GEN_IPADD, "\xc0\0\2\7", 4, true },
		{ "2001:db8::7", GEN_IPADD, "\x20\1\r\xb8\0\0\0\0\0\0\0\0\0\0\0\7", 16, true },
		/* The draft is one for all: nothing of a longer one before is left. */
		{ "a.b", GEN_DNS, "a.b", 3, true },
	};
	struct leaf_issuer issuer = make_issuer(type);

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		X509 *leaf = issue(&issuer, cases[i].host);

		check_common_parts(&issuer, leaf);
		check_name(leaf, cases[i].type, cases[i].bytes, cases[i].len,
			   cases[i].has_common_name);
		cr_assert_eq(X509_get_key_usage(leaf), usage);
		check_criticality(leaf, NID_basic_constraints, 1);
		check_criticality(leaf, NID_key_usage, 1);
		check_criticality(leaf, NID_ext_key_usage, 0);
		cr_assert_eq(strict_verdict(&issuer, leaf), X509_V_OK, "%s", cases[i].host);
		X509_free(leaf);
	}
	leaf_issuer_clear(&issuer);
}

Test(proxy_leaf, p256_has_the_profile)
{
	check_leaves(CA_KEY_P256, KU_DIGITAL_SIGNATURE);
}

Test(proxy_leaf, rsa_has_the_profile)
{
	check_leaves(CA_KEY_RSA2048, KU_DIGITAL_SIGNATURE | KU_KEY_ENCIPHERMENT);
}

Test(proxy_leaf, the_key_is_of_the_leaves_and_not_of_the_authority)
{
	struct leaf_issuer issuer = make_issuer(CA_KEY_P256);
	X509 *one = issue(&issuer, HOST), *other = issue(&issuer, HOST);

	cr_assert_eq(X509_check_private_key(one, issuer.leaf_key), 1);
	cr_assert_eq(EVP_PKEY_eq(issuer.leaf_key, issuer.ca_key), 0);
	cr_assert_neq(ASN1_INTEGER_cmp(X509_get0_serialNumber(one), X509_get0_serialNumber(other)),
		      0);
	X509_free(one);
	X509_free(other);
	leaf_issuer_clear(&issuer);
}

static void write_pem(const char *path, X509 *cert)
{
	FILE *file = fopen(path, "we");

	cr_assert_not_null(file);
	cr_assert(PEM_write_X509(file, cert));
	fclose(file);
}

static int run(void *argv)
{
	char *const *args = argv;
	int null_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);

	dup2(null_fd, STDOUT_FILENO);
	dup2(null_fd, STDERR_FILENO);
	execvp(args[0], args);
	return 127;
}

/* The program itself, whose -x509_strict is what people try. */
Test(proxy_leaf, openssl_verify_is_content)
{
	char ca[] = "/tmp/leaf_ca.XXXXXX", leaf[] = "/tmp/leaf.XXXXXX";
	char *argv[] = { "openssl",  "verify",	  "-x509_strict",
			 "-purpose", "sslserver", "-verify_hostname",
			 HOST,	     "-CAfile",	  ca,
			 leaf,	     NULL };
	struct leaf_issuer issuer = make_issuer(CA_KEY_P256);
	X509 *cert = issue(&issuer, HOST);

	close(mkstemp(ca));
	close(mkstemp(leaf));
	write_pem(ca, issuer.ca);
	write_pem(leaf, cert);
	cr_assert_eq(in_child(run, argv), 0);
	argv[6] = "other.example.com";
	cr_assert_neq(in_child(run, argv), 0);
	unlink(ca);
	unlink(leaf);
	X509_free(cert);
	leaf_issuer_clear(&issuer);
}

/* ---- authorities that are none ---- */

static void expect_no_issuer(const char *pem, const char *sentence)
{
	struct leaf_issuer issuer;
	struct err err = { 0 };

	cr_assert_lt(leaf_issuer_read(&issuer, pem, strlen(pem), &err), 0, "%s", sentence);
	cr_assert_not_null(strstr(err.text, sentence), "%s", err.text);
	leaf_issuer_clear(&issuer);
}

Test(proxy_leaf, what_cannot_sign_is_refused)
{
	char one[PEM_BYTES], other[PEM_BYTES], mixed[2 * PEM_BYTES];
	struct ca_request past = { "bottle past CA", CA_KEY_P256, time(NULL) - 7200, 3600 };
	struct ca_request future = { "bottle future CA", CA_KEY_P256, time(NULL) + 7200, 3600 };
	struct buf cert = { 0 }, other_cert = { 0 };
	struct err err = { 0 };
	size_t len;

	mint(CA_KEY_P256, one, &cert);
	mint(CA_KEY_P256, other, &other_cert);
	expect_no_issuer("", "no PEM");
	expect_no_issuer(cert.data, "no PEM");
	snprintf(mixed, sizeof(mixed), "%s%s", other_cert.data, one);
	expect_no_issuer(mixed, "not the first certificate's");
	cr_assert_eq(ca_mint(&past, one, sizeof(one), &len, &cert, &err), 0);
	expect_no_issuer(one, "has expired");
	cr_assert_eq(ca_mint(&future, one, sizeof(one), &len, &cert, &err), 0);
	expect_no_issuer(one, "not valid yet");
	buf_clear(&cert);
	buf_clear(&other_cert);
}

/* PEM of a key of our choice and a certificate with its public half, which is a CA's or not. */
static void make_pem(EVP_PKEY *key, const EVP_CIPHER *cipher, X509 *cert,
		     char out[static PEM_BYTES])
{
	BIO *bio = BIO_new(BIO_s_mem());
	int len;

	cr_assert(PEM_write_bio_PrivateKey(bio, key, cipher, (const unsigned char *)"pass", 4, NULL,
					   NULL));
	cr_assert(PEM_write_bio_X509(bio, cert));
	len = BIO_read(bio, out, PEM_BYTES - 1);
	cr_assert_gt(len, 0);
	out[len] = '\0';
	BIO_free(bio);
}

Test(proxy_leaf, an_encrypted_key_a_leaf_and_an_odd_key_are_refused)
{
	struct leaf_issuer issuer = make_issuer(CA_KEY_P256);
	EVP_PKEY *ed25519 = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	X509 *leaf = issue(&issuer, HOST);
	char pem[PEM_BYTES];

	make_pem(issuer.ca_key, EVP_aes_128_cbc(), issuer.ca, pem);
	expect_no_issuer(pem, "unencrypted");
	make_pem(issuer.leaf_key, NULL, leaf, pem);
	expect_no_issuer(pem, "is not a CA's");
	make_pem(ed25519, NULL, issuer.ca, pem);
	expect_no_issuer(pem, "neither EC nor RSA");
	X509_free(leaf);
	EVP_PKEY_free(ed25519);
	leaf_issuer_clear(&issuer);
}

/* ---- the signer ---- */

static struct signer_answer answer;

static void receive(int fd)
{
	struct pollfd wait = { .fd = fd, .events = POLLIN };
	int rc;

	cr_assert_eq(poll(&wait, 1, TIMEOUT_MS), 1);
	rc = signer_receive(fd, &answer);
	cr_assert_eq(rc, 0, "%s", strerror(-rc));
}

static int start_signer(enum ca_key_type type, pid_t *ret_pid)
{
	char path[] = "/tmp/signer_ca.XXXXXX", pem[PEM_BYTES];
	int file_fd = mkstemp(path), fd = -1;
	struct buf cert = { 0 };
	struct err err = { 0 };

	mint(type, pem, &cert);
	cr_assert_eq(fd_write_all(file_fd, pem, strlen(pem)), 0);
	close(file_fd);
	cr_assert_eq(signer_start(path, &fd, ret_pid, &err), 0, "%s", err.text);
	cr_assert_eq(signer_wait_ready(fd, &err), 0, "%s", err.text);
	unlink(path);
	buf_clear(&cert);
	receive(fd);
	cr_assert_eq(answer.kind, SIGNER_KEY);
	return fd;
}

static void expect_end(pid_t pid)
{
	int status;

	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert(WIFEXITED(status));
}

static void check_signer(enum ca_key_type type)
{
	pid_t pid;
	int fd = start_signer(type, &pid);
	const unsigned char *at = answer.bytes;
	EVP_PKEY *key = d2i_AutoPrivateKey(NULL, &at, (long)answer.len);
	X509 *leaf;

	cr_assert_not_null(key);
	cr_assert_eq(signer_ask(fd, HOST), 0);
	cr_assert_eq(signer_ask(fd, "::1"), 0);
	receive(fd);
	cr_assert_eq(answer.kind, SIGNER_LEAF);
	cr_assert_str_eq(answer.host, HOST);
	at = answer.bytes;
	leaf = d2i_X509(NULL, &at, (long)answer.len);
	cr_assert_not_null(leaf);
	cr_assert_eq(X509_check_private_key(leaf, key), 1);
	cr_assert_eq(X509_check_host(leaf, HOST, 0, 0, NULL), 1);
	receive(fd);
	cr_assert_str_eq(answer.host, "::1");
	X509_free(leaf);
	EVP_PKEY_free(key);
	close(fd);
	expect_end(pid);
}

Test(proxy_leaf, the_signer_signs_and_ends_with_its_socket)
{
	check_signer(CA_KEY_P256);
}

Test(proxy_leaf, so_it_does_with_an_rsa_authority)
{
	check_signer(CA_KEY_RSA2048);
}

Test(proxy_leaf, the_signer_signs_no_name_but_a_canonical_host)
{
	static const char *const names[] = {
		"*.example.com", "API.example.com", "example.com.", "a..b",
		"-a.b",		 "[::1]",	    "0:0::1",	    "127.1",
		"a b",		 "a,b.c",	    "b\xc3\xbc.de",
	};
	pid_t pid;
	int fd = start_signer(CA_KEY_P256, &pid);

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		cr_assert_eq(signer_ask(fd, names[i]), 0);
		receive(fd);
		cr_assert_eq(answer.kind, SIGNER_REFUSED, "%s", names[i]);
		cr_assert_str_eq(answer.host, names[i]);
		cr_assert_eq(answer.len, 0);
	}
	/* Bytes after a NUL, which strings would hide. */
	cr_assert_eq(send(fd, "a.b\0evil", 8, 0), 8);
	receive(fd);
	cr_assert_eq(answer.kind, SIGNER_REFUSED);
	cr_assert_eq(signer_ask(fd, HOST), 0);
	receive(fd);
	cr_assert_eq(answer.kind, SIGNER_LEAF, "it goes on");
	close(fd);
	expect_end(pid);
}

Test(proxy_leaf, a_packet_that_cannot_be_a_name_ends_the_signer)
{
	static char big[HOST_BYTES];
	pid_t pid;
	int fd = start_signer(CA_KEY_P256, &pid);

	memset(big, 'a', sizeof(big));
	cr_assert_eq(send(fd, big, sizeof(big), 0), (ssize_t)sizeof(big));
	expect_end(pid);
	close(fd);
}

static unsigned count_descriptors(pid_t pid)
{
	char path[64], target[64];
	unsigned count = 0;

	for (int fd = 0; fd < 1024; fd++) {
		snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)pid, fd);
		if (readlink(path, target, sizeof(target)) >= 0)
			count++;
	}
	return count;
}

/* What the kernel says of it. Group signals of a terminal do not end it. */
Test(proxy_leaf, the_signer_has_one_descriptor_a_filter_and_no_dump)
{
	char path[64];
	struct buf status = { 0 };
	struct err err = { 0 };
	pid_t pid;
	int fd = start_signer(CA_KEY_P256, &pid);

	cr_assert_eq(kill(pid, SIGINT) | kill(pid, SIGTERM) | kill(pid, SIGHUP), 0);
	cr_assert_eq(signer_ask(fd, HOST), 0);
	receive(fd);
	cr_assert_eq(answer.kind, SIGNER_LEAF);
	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	cr_assert_eq(file_read(AT_FDCWD, path, 65536, &status, &err), 0, "%s", err.text);
	cr_assert_not_null(strstr(status.data, "\nSeccomp:\t2\n"));
	cr_assert_not_null(strstr(status.data, "\nNoNewPrivs:\t1\n"));
	/* It is not dumpable, so that only root may look at its descriptors. */
	cr_assert_eq(count_descriptors(pid), geteuid() == 0 ? 1 : 0);
	buf_clear(&status);
	close(fd);
	expect_end(pid);
}

static int try_calls(void *arg)
{
	struct err err = { 0 };
	char byte = 0;
	int fds[2];

	(void)arg;
	CHILD_CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fds) == 0);
	CHILD_CHECK(signer_confine(&err) == 0);
	errno = 0;
	if (syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0) != -1 || errno != EPERM ||
	    socket(AF_INET, SOCK_STREAM, 0) != -1 || errno != EPERM ||
	    open("/etc/passwd", O_RDONLY) != -1 || errno != EPERM || kill(getppid(), 0) != -1 ||
	    errno != EPERM || execl("/bin/true", "true", NULL) != -1 || errno != EPERM ||
	    write(STDERR_FILENO, "x", 1) != -1 || errno != EPERM)
		return 2;
	if (mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) !=
		    MAP_FAILED ||
	    errno != EPERM)
		return 3;
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (page == MAP_FAILED || mprotect(page, 4096, PROT_EXEC) != -1 || errno != EPERM)
		return 4;
	return send(fds[0], "x", 1, 0) == 1 && recv(fds[1], &byte, 1, 0) == 1 ? 0 : 5;
}

Test(proxy_leaf, behind_its_filter_only_its_socket_is_left)
{
	cr_assert_eq(in_child(try_calls, NULL), 0);
}

Test(proxy_leaf, a_file_that_cannot_be_read_is_told)
{
	struct err err = { 0 };
	pid_t pid;
	int fd = -1;

	cr_assert_eq(signer_start("/nonexistent", &fd, &pid, &err), 0);
	cr_assert_lt(signer_wait_ready(fd, &err), 0);
	cr_assert_str_eq(err.text, "/nonexistent: No such file or directory");
	expect_end(pid);
	close(fd);
}

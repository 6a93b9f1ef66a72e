/* SPDX-License-Identifier: Apache-2.0
 * The CA: its profile, what real verifiers say to it, and that no copy of its key is left. */
#include <criterion/criterion.h>
#include <errno.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "ca/mint.h"
#include "tests/lib/in_child.h"
#include "tests/lib/memscan.h"

enum { PEM_BYTES = 8192, DAY_S = 86400 };

#define KEY_BEGIN "-----BEGIN PRIVATE KEY-----\n"

static struct ca_request request_of(enum ca_key_type type)
{
	return (struct ca_request){ "bottle demo CA", type, time(NULL), DAY_S };
}

static X509 *mint_cert(enum ca_key_type type, char pem[static PEM_BYTES])
{
	struct ca_request request = request_of(type);
	struct buf cert = { 0 };
	struct err err = { 0 };
	size_t len = 0;
	BIO *bio;
	X509 *x509;

	cr_assert_eq(ca_mint(&request, pem, PEM_BYTES, &len, &cert, &err), 0, "%s", err.text);
	cr_assert_eq(len, strlen(pem));
	cr_assert(str_starts(pem, KEY_BEGIN), "the key comes first");
	cr_assert(str_ends(pem, cert.data), "then the certificate, as it is given alone");
	cr_assert_null(strstr(cert.data, "PRIVATE"));
	bio = BIO_new_mem_buf(cert.data, (int)cert.len);
	x509 = PEM_read_bio_X509(bio, NULL, NULL, NULL);
	cr_assert_not_null(x509);
	BIO_free(bio);
	buf_clear(&cert);
	return x509;
}

static void check_profile(const X509 *x509)
{
	int critical = -1;
	BASIC_CONSTRAINTS *constraints = X509_get_ext_d2i(x509, NID_basic_constraints, &critical,
							  NULL);
	ASN1_BIT_STRING *usage;
	const ASN1_INTEGER *serial = X509_get0_serialNumber(x509);

	cr_assert_not_null(constraints);
	cr_assert_eq(critical, 1);
	cr_assert(constraints->ca);
	cr_assert_eq(ASN1_INTEGER_get(constraints->pathlen), 0);
	BASIC_CONSTRAINTS_free(constraints);
	usage = X509_get_ext_d2i(x509, NID_key_usage, &critical, NULL);
	cr_assert_eq(critical, 1);
	cr_assert_eq(usage->length, 1);
	cr_assert_eq(usage->data[0], KU_KEY_CERT_SIGN | KU_CRL_SIGN);
	ASN1_BIT_STRING_free(usage);
	cr_assert_eq(X509_get_version(x509), 2);
	cr_assert_eq(serial->type, V_ASN1_INTEGER, "a positive number");
	cr_assert_leq(serial->length, 16);
	cr_assert_geq(serial->length, 12, "128 random bits are not this short");
}

static void check_with_key(X509 *x509, const char *pem)
{
	BIO *bio = BIO_new_mem_buf(pem, -1);
	EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
	const ASN1_OCTET_STRING *id = X509_get0_subject_key_id(x509);
	unsigned char digest[20];
	unsigned len = 0;

	cr_assert_not_null(key, "OpenSSL reads the key");
	cr_assert_eq(X509_check_private_key(x509, key), 1);
	cr_assert_eq(X509_verify(x509, key), 1, "the signature is the key's");
	X509_pubkey_digest(x509, EVP_sha1(), digest, &len);
	cr_assert_eq(id->length, 20);
	cr_assert_arr_eq(id->data, digest, 20);
	cr_assert_eq(ASN1_OCTET_STRING_cmp(id, X509_get0_authority_key_id(x509)), 0);
	EVP_PKEY_free(key);
	BIO_free(bio);
}

static void check_dates(const X509 *x509)
{
	int days = 0, seconds = 0;
	time_t now = time(NULL), from = now - 4 * 60;

	cr_assert_eq(X509_cmp_time(X509_get0_notBefore(x509), &from), -1);
	ASN1_TIME_diff(&days, &seconds, X509_get0_notBefore(x509), X509_get0_notAfter(x509));
	cr_assert_eq(days * DAY_S + seconds, DAY_S + 5 * 60);
}

Test(ca_mint, p256_has_the_profile)
{
	char pem[PEM_BYTES];
	X509 *x509 = mint_cert(CA_KEY_P256, pem);

	check_profile(x509);
	check_with_key(x509, pem);
	check_dates(x509);
	cr_assert_eq(EVP_PKEY_get_base_id(X509_get0_pubkey(x509)), EVP_PKEY_EC);
	X509_free(x509);
}

Test(ca_mint, rsa2048_has_the_profile)
{
	char pem[PEM_BYTES];
	X509 *x509 = mint_cert(CA_KEY_RSA2048, pem);

	check_profile(x509);
	check_with_key(x509, pem);
	cr_assert_eq(EVP_PKEY_get_bits(X509_get0_pubkey(x509)), 2048);
	X509_free(x509);
}

Test(ca_mint, every_ca_is_unique)
{
	char pem[PEM_BYTES];
	X509 *one = mint_cert(CA_KEY_P256, pem), *two = mint_cert(CA_KEY_P256, pem);

	cr_assert_neq(X509_NAME_cmp(X509_get_subject_name(one), X509_get_subject_name(two)), 0);
	cr_assert_neq(ASN1_INTEGER_cmp(X509_get0_serialNumber(one), X509_get0_serialNumber(two)),
		      0);
	cr_assert_neq(EVP_PKEY_eq(X509_get0_pubkey(one), X509_get0_pubkey(two)), 1);
	X509_free(one);
	X509_free(two);
}

Test(ca_mint, a_small_buffer_is_refused_and_wiped)
{
	struct ca_request request = request_of(CA_KEY_P256);
	struct buf cert = { 0 };
	struct err err = { 0 };
	char pem[400] = { 0 };
	size_t len = 0;

	/* room for the key, not for the certificate */
	cr_assert_eq(ca_mint(&request, pem, sizeof(pem), &len, &cert, &err), -ENOSPC);
	for (size_t i = 0; i < sizeof(pem); i++)
		cr_assert_eq(pem[i], 0, "byte %zu of the key was left", i);
	cr_assert_neq(err.text[0], '\0');
	buf_clear(&cert);
}

Test(ca_mint, a_name_that_is_too_long_is_refused)
{
	struct ca_request request = request_of(CA_KEY_P256);
	struct buf cert = { 0 };
	struct err err = { 0 };
	char pem[PEM_BYTES], name[80];
	size_t len = 0;

	memset(name, 'a', sizeof(name));
	name[65] = '\0';
	request.common_name = name;
	cr_assert_lt(ca_mint(&request, pem, sizeof(pem), &len, &cert, &err), 0);
	cr_assert_not_null(strstr(err.text, "64 characters"), "%s", err.text);
	name[64] = '\0';
	cr_assert_eq(ca_mint(&request, pem, sizeof(pem), &len, &cert, &err), 0, "%s", err.text);
	buf_clear(&cert);
}

/* --- nothing is left of the key --------------------------------------------------------------- */

static void *pages(size_t bytes)
{
	return mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static size_t tlv_header(const uint8_t *der, size_t *ret_len)
{
	if (der[1] < 0x80) {
		*ret_len = der[1];
		return 2;
	}
	if (der[1] == 0x81) {
		*ret_len = der[2];
		return 3;
	}
	*ret_len = (size_t)der[2] << 8 | der[3];
	return 4;
}

/* P-256: the scalar is at 36 of the PKCS#8. Whole, and each of its words, in both byte orders. */
static void add_scalar(struct memscan *scan, const uint8_t *der)
{
	const uint8_t *scalar = der + 36;

	memscan_add(scan, "scalar, big-endian", scalar, 32, 0);
	memscan_add(scan, "scalar, little-endian", scalar, 32, 1);
	for (size_t i = 0; i < 32; i += 8) {
		memscan_add(scan, "word of the scalar, big-endian", scalar + i, 8, 0);
		memscan_add(scan, "word of the scalar, little-endian", scalar + i, 8, 1);
	}
}

/* RSA: every long number but the modulus, by its first and last 16 bytes, in both orders. */
static void add_rsa_numbers(struct memscan *scan, const uint8_t *der, size_t der_len)
{
	const uint8_t *at = der + 4 + 3 + 15, *end = der + der_len;
	size_t len, index = 0;

	at += tlv_header(at, &len);					 /* OCTET STRING */
	for (at += tlv_header(at, &len); at < end; at += len, index++) { /* SEQUENCE */
		at += tlv_header(at, &len);
		if (len < 64 || index == 1)
			continue;
		memscan_add(scan, "RSA number, big-endian", at + 1, 16, 0);
		memscan_add(scan, "RSA number, little-endian", at + 1, 16, 1);
		memscan_add(scan, "RSA number's end, big-endian", at + len - 16, 16, 0);
		memscan_add(scan, "RSA number's end, little-endian", at + len - 16, 16, 1);
	}
}

/* Takes the needles out of the PEM text, then wipes it and all that it was decoded into. */
static void take_needles(struct memscan *scan, enum ca_key_type type, char *pem)
{
	uint8_t *der = pages(4096);
	size_t der_len = 0, line_no = 0;
	char *line = pem + strlen(KEY_BEGIN);

	while (*line != '-') {
		size_t len = strcspn(line, "\n");

		/* the third line of a P-256 key holds the public half only */
		if (type == CA_KEY_RSA2048 || line_no < 2)
			memscan_add(scan, "line of the PEM", line, len, 0);
		der_len += (size_t)EVP_DecodeBlock(der + der_len, (unsigned char *)line, (int)len);
		line += len + 1;
		line_no++;
	}
	if (type == CA_KEY_P256) {
		memscan_add(scan, "DER", der, 70, 0);
		add_scalar(scan, der);
	} else {
		add_rsa_numbers(scan, der, (size_t)der[2] << 8 | (der[3] + 4));
	}
	munmap(der, 4096);
	explicit_bzero(pem, PEM_BYTES);
}

static struct memscan scan_space;

/* The search itself must work: a copy that was left on purpose is found. */
static int planted_is_found(struct memscan *scan)
{
	size_t len = scan->needles[scan->count - 1].len;
	uint8_t *copy = malloc(len);
	int hits;

	for (size_t i = 0; i < len; i++)
		copy[i] = scan->needles[scan->count - 1].masked[i] ^ MEMSCAN_MASK;
	scan->quiet = 1;
	hits = memscan_self(scan);
	free(copy);
	return hits > 0;
}

struct mint_call {
	struct ca_request request;
	char *pem;
	int rc;
};

static void *mint_on_this_stack(void *arg)
{
	struct mint_call *call = arg;
	struct buf cert = { 0 };
	struct err err;
	size_t len;

	call->rc = ca_mint(&call->request, call->pem, PEM_BYTES, &len, &cert, &err);
	return NULL;
}

/* The mint runs on a stack of its own that stays mapped, or the search would itself overwrite what was
 * left on it. */
static int key_leaves_nothing(void *arg)
{
	struct mint_call call = { request_of(*(enum ca_key_type *)arg), pages(PEM_BYTES), -1 };
	size_t stack_bytes = 1 << 20;
	pthread_attr_t attr;
	pthread_t thread;

	pthread_attr_init(&attr);
	pthread_attr_setstack(&attr, pages(stack_bytes), stack_bytes);
	if (pthread_create(&thread, &attr, mint_on_this_stack, &call) ||
	    pthread_join(thread, NULL) || call.rc < 0)
		return 1;
	take_needles(&scan_space, call.request.key_type, call.pem);
	if (scan_space.count < 12)
		return 2;
	if (memscan_self(&scan_space) != 0)
		return 3;
	return planted_is_found(&scan_space) ? 0 : 4;
}

Test(ca_mint, no_copy_of_a_p256_key_is_left)
{
	enum ca_key_type type = CA_KEY_P256;

	int rc = in_child(key_leaves_nothing, &type);

	cr_assert_eq(rc, 0, "step %d", rc);
}

Test(ca_mint, no_copy_of_an_rsa_key_is_left)
{
	enum ca_key_type type = CA_KEY_RSA2048;

	int rc = in_child(key_leaves_nothing, &type);

	cr_assert_eq(rc, 0, "step %d", rc);
}

/* --- real verifiers --------------------------------------------------------------------------- */

/* Signs a leaf for "localhost" with openssl(1), verifies it strictly, and lets two Pythons shake
 * hands over loopback under VERIFY_X509_STRICT. */
static const char verifiers[] =
	"set -e; cd \"$0\"\n"
	"openssl x509 -in ca.pem -out cert.pem\n"
	"openssl verify -x509_strict -CAfile cert.pem cert.pem\n"
	"openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout leaf.key"
	" -subj /CN=localhost -out leaf.csr 2>req.log\n"
	"printf '%s\\n' basicConstraints=critical,CA:FALSE keyUsage=critical,digitalSignature"
	" extendedKeyUsage=serverAuth subjectAltName=DNS:localhost subjectKeyIdentifier=hash"
	" authorityKeyIdentifier=keyid:always >leaf.ext\n"
	"openssl x509 -req -in leaf.csr -CA ca.pem -CAkey ca.pem -CAcreateserial -days 1"
	" -extfile leaf.ext -out leaf.pem 2>>req.log\n"
	"openssl verify -x509_strict -purpose sslserver -CAfile cert.pem leaf.pem\n"
	"/usr/bin/python3 - <<'EOF'\n"
	"import socket, ssl, threading\n"
	"server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)\n"
	"server.load_cert_chain('leaf.pem', 'leaf.key')\n"
	"listener = socket.create_server(('127.0.0.1', 0))\n"
	"def serve():\n"
	"    with server.wrap_socket(listener.accept()[0], server_side=True) as s: "
	"s.sendall(b'hello')\n"
	"thread = threading.Thread(target=serve); thread.start()\n"
	"client = ssl.create_default_context(cafile='cert.pem')\n"
	"client.verify_flags |= ssl.VERIFY_X509_STRICT\n"
	"with socket.create_connection(listener.getsockname()) as c:\n"
	"    with client.wrap_socket(c, server_hostname='localhost') as s:\n"
	"        assert s.recv(5) == b'hello'\n"
	"thread.join()\n"
	"EOF\n";

static void check_verifiers(enum ca_key_type type)
{
	char folder[] = "/tmp/test_ca_mint.XXXXXX", command[8192], pem[PEM_BYTES];
	X509 *x509 = mint_cert(type, pem);
	FILE *file;
	int status;

	X509_free(x509);
	if (access("/usr/bin/openssl", X_OK) < 0 || access("/usr/bin/python3", X_OK) < 0)
		cr_skip_test("openssl(1) or python3 is not installed");
	cr_assert_not_null(mkdtemp(folder));
	snprintf(command, sizeof(command), "%s/ca.pem", folder);
	file = fopen(command, "w");
	fputs(pem, file);
	fclose(file);
	snprintf(command, sizeof(command), "timeout 20 sh -c '%s' %s", "eval \"$VERIFIERS\"",
		 folder);
	setenv("VERIFIERS", verifiers, 1);
	status = system(command);
	snprintf(command, sizeof(command), "rm -rf %s", folder);
	cr_assert_eq(system(command), 0);
	cr_assert_eq(status, 0);
}

Test(ca_mint, strict_verifiers_accept_p256)
{
	check_verifiers(CA_KEY_P256);
}

Test(ca_mint, strict_verifiers_accept_rsa2048)
{
	check_verifiers(CA_KEY_RSA2048);
}

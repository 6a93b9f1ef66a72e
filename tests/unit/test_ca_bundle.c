/* SPDX-License-Identifier: Apache-2.0
 * Trust stores, with Java's own keytool as a reader, and what each bad CA file is told. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "ca/bundle.h"
#include "ca/mint.h"

enum { DAY_S = 86400 };

struct folder {
	char path[64];
	char file[128]; /* the last that was written */
};

static struct folder folder_make(void)
{
	struct folder folder = { "/tmp/test_ca_bundle.XXXXXX", "" };

	cr_assert_not_null(mkdtemp(folder.path));
	return folder;
}

static void folder_remove(const struct folder *folder)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf %s", folder->path);
	cr_assert_eq(system(command), 0);
}

static const char *put(struct folder *folder, const char *name, const void *bytes, size_t len)
{
	FILE *file;

	snprintf(folder->file, sizeof(folder->file), "%s/%s", folder->path, name);
	file = fopen(folder->file, "w");
	cr_assert_not_null(file);
	cr_assert_eq(fwrite(bytes, 1, len, file), len);
	fclose(file);
	return folder->file;
}

/* A CA certificate whose life began `age_s` ago; ret_secret takes key and certificate. */
static struct buf ca_of_age(long age_s, char ret_secret[static 4096])
{
	struct ca_request request = { "bottle demo CA", CA_KEY_P256, time(NULL) - age_s, DAY_S };
	struct buf cert = { 0 };
	struct err err = { 0 };
	size_t len;

	cr_assert_eq(ca_mint(&request, ret_secret, 4096, &len, &cert, &err), 0, "%s", err.text);
	return cert;
}

/* A version 3 certificate, self-signed, that is no CA. */
static struct buf leaf(void)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *x509 = X509_new();
	BIO *bio = BIO_new(BIO_s_mem());
	X509_EXTENSION *no_ca = X509V3_EXT_conf_nid(NULL, NULL, NID_basic_constraints,
						    "critical,CA:FALSE");
	struct buf pem = { 0 };
	char *text;

	X509_set_version(x509, 2);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(x509), "CN", MBSTRING_ASC,
				   (const unsigned char *)"leaf.test", -1, -1, 0);
	X509_gmtime_adj(X509_getm_notBefore(x509), -60);
	X509_gmtime_adj(X509_getm_notAfter(x509), 60);
	X509_set_pubkey(x509, key);
	X509_add_ext(x509, no_ca, -1);
	X509_sign(x509, key, EVP_sha256());
	PEM_write_bio_X509(bio, x509);
	buf_append(&pem, (BIO_get_mem_data(bio, &text), text), (size_t)BIO_pending(bio));
	X509_EXTENSION_free(no_ca);
	BIO_free(bio);
	X509_free(x509);
	EVP_PKEY_free(key);
	return pem;
}

/* --- bundle ----------------------------------------------------------------------------------- */

/* What ca_bundle_write puts into a file. */
static int render(const char *store, struct buf *ret_pem, struct err *err)
{
	cleanup_fd int fd = memfd_create("bundle", MFD_CLOEXEC);
	int rc = ca_bundle_write(store, "BBB\n", fd, err);

	cr_assert_eq(lseek(fd, 0, SEEK_SET), 0);
	return rc < 0 ? rc : fd_read_all(fd, 4096, ret_pem);
}

Test(ca_bundle, is_the_store_as_it_is_and_the_ca)
{
	struct folder folder = folder_make();
	struct buf pem = { 0 };
	struct err err = { 0 };

	put(&folder, "store", "AAA", 3); /* no newline at its end */
	cr_assert_eq(render(folder.file, &pem, &err), 0, "%s", err.text);
	cr_assert_str_eq(pem.data, "AAA\nBBB\n");
	buf_clear(&pem);
	put(&folder, "store", "AAA\n", 4);
	cr_assert_eq(render(folder.file, &pem, &err), 0, "%s", err.text);
	cr_assert_str_eq(pem.data, "AAA\nBBB\n");
	buf_clear(&pem);
	folder_remove(&folder);
}

Test(ca_bundle, without_a_store_is_the_ca_alone)
{
	struct buf pem = { 0 };
	struct err err = { 0 };

	cr_assert_eq(render(NULL, &pem, &err), 0, "%s", err.text);
	cr_assert_str_eq(pem.data, "BBB\n");
	buf_clear(&pem);
}

Test(ca_bundle, a_store_that_is_gone_is_an_error)
{
	struct buf pem = { 0 };
	struct err err = { 0 };

	cr_assert_eq(render("/nowhere/store.pem", &pem, &err), -ENOENT);
	cr_assert_not_null(strstr(err.text, "/nowhere/store.pem"));
	buf_clear(&pem);
}

/* --- truststore ------------------------------------------------------------------------------- */

static struct buf truststore(const char *cert_pem)
{
	struct buf p12 = { 0 };
	struct err err = { 0 };

	cr_assert_eq(ca_truststore_render(cert_pem, &p12, &err), 0, "%s", err.text);
	return p12;
}

Test(ca_truststore, holds_the_certificate_under_its_password)
{
	char secret[4096];
	struct buf pem = ca_of_age(0, secret), p12 = truststore(pem.data);
	const unsigned char *at = (unsigned char *)p12.data;
	PKCS12 *store = d2i_PKCS12(NULL, &at, (long)p12.len);
	STACK_OF(X509) *certs = NULL;
	EVP_PKEY *key = NULL;
	X509 *own = NULL;
	BIO *bio = BIO_new_mem_buf(pem.data, -1);
	X509 *want = PEM_read_bio_X509(bio, NULL, NULL, NULL);

	cr_assert_not_null(store);
	cr_assert_eq(PKCS12_verify_mac(store, "changeit", -1), 1);
	cr_assert_eq(PKCS12_verify_mac(store, "changed", -1), 0);
	cr_assert_eq(PKCS12_parse(store, "changeit", &key, &own, &certs), 1);
	cr_assert_null(key);
	cr_assert_eq(sk_X509_num(certs), 1);
	cr_assert_eq(X509_cmp(sk_X509_value(certs, 0), want), 0);
	sk_X509_pop_free(certs, X509_free);
	X509_free(want);
	BIO_free(bio);
	PKCS12_free(store);
	buf_clear(&pem);
	buf_clear(&p12);
}

Test(ca_truststore, java_takes_it_as_a_trusted_certificate)
{
	struct folder folder = folder_make();
	char secret[4096], command[256], listing[1024] = "";
	struct buf pem = ca_of_age(0, secret), p12 = truststore(pem.data);
	FILE *keytool;

	put(&folder, "trust.p12", p12.data, p12.len);
	buf_clear(&pem);
	buf_clear(&p12);
	if (system("command -v keytool >/dev/null 2>&1")) {
		folder_remove(&folder);
		cr_skip_test("no keytool: no Java on this machine");
	}
	snprintf(command, sizeof(command), "keytool -list -storepass changeit -keystore %s 2>&1",
		 folder.file);
	keytool = popen(command, "r");
	cr_assert_gt(fread(listing, 1, sizeof(listing) - 1, keytool), 0);
	cr_assert_eq(pclose(keytool), 0, "%s", listing);
	cr_assert_not_null(strstr(listing, "trustedCertEntry"), "%s", listing);
	cr_assert_not_null(strstr(listing, "1 entry"), "%s", listing);
	folder_remove(&folder);
}

Test(ca_truststore, refuses_what_is_no_pem)
{
	struct buf p12 = { 0 };
	struct err err = { 0 };

	cr_assert_eq(ca_truststore_render("nothing", &p12, &err), -EINVAL);
	cr_assert_neq(err.text[0], '\0');
}

/* --- CA files named in a manifest ------------------------------------------------------------- */

static void expect(const char *path, int code, const char *words)
{
	struct err err = { 0 };
	struct buf pem = { 0 };
	int rc = ca_file_read(path, &pem, &err);

	cr_assert_eq(rc, code, "%d instead of %d: %s", rc, code, err.text);
	if (code) {
		cr_assert(str_starts(err.text, path), "names the file: %s", err.text);
		cr_assert_not_null(strstr(err.text, words), "%s", err.text);
	}
	cr_assert_eq(pem.len > 0, code == 0, "nothing of a file that was refused is handed out");
	buf_clear(&pem);
}

static void expect_text(const char *text, size_t len, int code, const char *words)
{
	struct folder folder = folder_make();

	put(&folder, "ca.pem", text, len);
	expect(folder.file, code, words);
	folder_remove(&folder);
}

Test(ca_file, a_good_one_passes)
{
	char secret[4096];
	struct buf one = ca_of_age(0, secret), two = ca_of_age(3600, secret);

	expect_text(one.data, one.len, 0, NULL);
	buf_puts(&one, "# a comment between two\n");
	buf_append(&one, two.data, two.len);
	expect_text(one.data, one.len, 0, NULL);
	buf_clear(&one);
	buf_clear(&two);
}

Test(ca_file, the_hosts_own_store_passes)
{
	const char *store = ca_host_bundle_path();

	if (!store)
		cr_skip_test("this host has no certificate store");
	expect(store, 0, NULL);
}

Test(ca_file, out_of_its_time)
{
	char secret[4096], day[32];
	struct buf old = ca_of_age(2 * DAY_S, secret), new = ca_of_age(-2 * DAY_S, secret);
	time_t then = time(NULL) - DAY_S;

	strftime(day, sizeof(day), "expired on %Y-%m-%d", gmtime(&then));
	expect_text(old.data, old.len, -EKEYEXPIRED, day);
	expect_text(old.data, old.len, -EKEYEXPIRED, "bottle demo CA");
	expect_text(new.data, new.len, -EKEYREJECTED, "not valid before");
	buf_clear(&old);
	buf_clear(&new);
}

/* Stores keep roots that expired: one that is in force is enough, wherever it stands. */
Test(ca_file, an_old_root_beside_a_good_one)
{
	char secret[4096];
	struct buf pem = ca_of_age(2 * DAY_S, secret), old = ca_of_age(3 * DAY_S, secret);
	struct buf good = ca_of_age(0, secret);

	buf_append(&pem, old.data, old.len);
	expect_text(pem.data, pem.len, -EKEYEXPIRED, "certificate 1");
	buf_append(&pem, good.data, good.len);
	expect_text(pem.data, pem.len, 0, NULL);
	buf_clear(&pem);
	buf_clear(&old);
	buf_clear(&good);
}

Test(ca_file, the_second_certificate_counts_too)
{
	char secret[4096];
	struct buf pem = ca_of_age(0, secret), other = leaf();

	buf_append(&pem, other.data, other.len);
	expect_text(pem.data, pem.len, -EKEYREJECTED, "certificate 2");
	buf_clear(&pem);
	buf_clear(&other);
}

Test(ca_file, holds_a_key)
{
	char secret[4096];
	struct buf pem = ca_of_age(0, secret);

	expect_text(secret, strlen(secret), -EKEYREJECTED, "private key");
	buf_clear(&pem);
}

Test(ca_file, is_no_ca)
{
	struct buf pem = leaf();

	expect_text(pem.data, pem.len, -EKEYREJECTED, "not a CA's");
	expect_text(pem.data, pem.len, -EKEYREJECTED, "leaf.test");
	buf_clear(&pem);
}

Test(ca_file, is_no_pem)
{
	char secret[4096];
	struct buf pem = ca_of_age(0, secret);

	expect_text("", 0, -EBADMSG, "empty");
	expect_text("hello\n", 6, -EBADMSG, "no certificate");
	expect_text("\0\1\2\3", 4, -EBADMSG, "no certificate");
	pem.data[pem.len / 2] = '!';
	expect_text(pem.data, pem.len, -EBADMSG, "certificate 1 is not valid PEM");
	expect_text(pem.data, pem.len / 2, -EBADMSG, "not valid PEM");
	buf_clear(&pem);
}

Test(ca_file, cannot_be_read, .timeout = 10)
{
	struct folder folder = folder_make();
	char *big = calloc(1, (1 << 20) + 1);

	expect("/nowhere/ca.pem", -ENOENT, "no such file");
	expect("/dev/zero", -EINVAL, "not a regular file");
	expect(folder.path, -EINVAL, "not a regular file");
	put(&folder, "big", big, (1 << 20) + 1);
	expect(folder.file, -EFBIG, "larger than");
	snprintf(folder.file, sizeof(folder.file), "%s/fifo", folder.path);
	cr_assert_eq(mkfifo(folder.file, 0600), 0);
	expect(folder.file, -EINVAL, "not a regular file");
	put(&folder, "mode0", "x", 1);
	chmod(folder.file, 0);
	if (geteuid() != 0)
		expect(folder.file, -EACCES, "cannot be read");
	free(big);
	folder_remove(&folder);
}

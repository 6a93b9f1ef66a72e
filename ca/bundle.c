/* SPDX-License-Identifier: Apache-2.0
 *
 * Trust stores for the agent; see bundle.h. Runs in: launcher. Holds certificates only, no key.
 *
 * The truststore is built without parsing the certificate: a PKCS#12 bag holds it as opaque DER, and
 * d2i_X509 of OpenSSL 3.0 would load every decoder (milliseconds, on the start path).
 */
#include "ca/bundle.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/asn1t.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/objects.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"

enum {
	HOST_BUNDLE_MAX_BYTES = 8 << 20,
	CERT_MAX_BYTES = 16 << 10,
	/* The password is public and the file lies on a read-only mount, so the MAC guards nothing: it
	 * is there because Java refuses a store without one. SHA-1 since Java 8 before 8u301 knows no
	 * other. */
	MAC_ITERATIONS = 1,
	MAC_SALT_BYTES = 8,
};

#define TRUSTSTORE_PASSWORD "changeit"
#define TRUSTSTORE_ALIAS    "bottle"
/* Oracle's trustedKeyUsage: a certificate bag that has it is a trusted certificate to Java. */
#define OID_TRUSTED_KEY_USAGE "2.16.840.1.113894.746875.1.1"

const char *ca_host_bundle_path(void)
{
	static const char *const places[] = {
		"/etc/ssl/certs/ca-certificates.crt", /* Debian, Arch, Alpine, Gentoo, NixOS */
		"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", /* Fedora, RHEL */
		"/etc/pki/tls/certs/ca-bundle.crt",		     /* older of them */
		"/etc/ssl/ca-bundle.pem",			     /* openSUSE */
		"/var/lib/ca-certificates/ca-bundle.pem",
		"/etc/ssl/cert.pem", /* Alpine without its ca-certificates package */
	};

	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++)
		if (access(places[i], R_OK) == 0)
			return places[i];
	return NULL;
}

static int copy_store(const char *path, int out_fd, struct err *err)
{
	cleanup_fd int in_fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	char last = '\n';
	struct stat st;
	int rc;

	if (in_fd < 0 || fstat(in_fd, &st) < 0)
		return err_sys(err, errno, "%s", path);
	if (!S_ISREG(st.st_mode) || st.st_size > HOST_BUNDLE_MAX_BYTES)
		return err_set(err, EFBIG, "%s: no regular file of at most %d bytes", path,
			       HOST_BUNDLE_MAX_BYTES);
	rc = fd_copy(out_fd, in_fd, (size_t)st.st_size);
	if (rc < 0)
		return err_sys(err, -rc, "%s", path);
	if (st.st_size && pread(in_fd, &last, 1, st.st_size - 1) != 1)
		return err_sys(err, errno, "%s", path);
	return last == '\n' || write(out_fd, "\n", 1) == 1
		       ? 0
		       : err_sys(err, errno, "write the bundle");
}

int ca_bundle_write(const char *host_bundle_path, const char *extra_pem, int out_fd,
		    struct err *err)
{
	int rc;

	if (host_bundle_path)
		TRY(copy_store(host_bundle_path, out_fd, err));
	rc = fd_write_all(out_fd, extra_pem, strlen(extra_pem));
	return rc < 0 ? err_sys(err, -rc, "write the bundle") : 0;
}

static void cleanup_bio(BIO **bio)
{
	BIO_free(*bio);
}

static void cleanup_bags(STACK_OF(PKCS12_SAFEBAG) * *bags)
{
	sk_PKCS12_SAFEBAG_pop_free(*bags, PKCS12_SAFEBAG_free);
}

static void cleanup_safes(STACK_OF(PKCS7) * *safes)
{
	sk_PKCS7_pop_free(*safes, PKCS7_free);
}

static void cleanup_p12(PKCS12 **p12)
{
	PKCS12_free(*p12);
}

static void cleanup_asn1(ASN1_STRING **string)
{
	ASN1_STRING_free(*string);
}

static void cleanup_der(unsigned char **der)
{
	OPENSSL_free(*der);
}

/* The first block of a PEM text as one opaque DER SEQUENCE, or NULL. */
static ASN1_STRING *cert_sequence(const char *cert_pem)
{
	cleanup_with(cleanup_bio) BIO *bio = BIO_new_mem_buf(cert_pem, -1);
	cleanup_with(cleanup_der) unsigned char *der = NULL;
	ASN1_STRING *sequence = NULL;
	long len = 0;

	if (!bio || !PEM_bytes_read_bio(&der, &len, NULL, PEM_STRING_X509, bio, NULL, NULL) ||
	    len > CERT_MAX_BYTES)
		return NULL;
	sequence = ASN1_STRING_type_new(V_ASN1_SEQUENCE);
	if (sequence && !ASN1_STRING_set(sequence, der, (int)len)) {
		ASN1_STRING_free(sequence);
		return NULL;
	}
	return sequence;
}

static int add_trusted_usage(PKCS12_SAFEBAG *bag)
{
	ASN1_OBJECT *any = OBJ_nid2obj(NID_anyExtendedKeyUsage);
	ASN1_OBJECT *type = OBJ_txt2obj(OID_TRUSTED_KEY_USAGE, 1);
	X509_ATTRIBUTE *attr = type ? X509_ATTRIBUTE_create_by_OBJ(NULL, type, V_ASN1_OBJECT, any,
								   -1)
				    : NULL;
	STACK_OF(X509_ATTRIBUTE) *attrs = (STACK_OF(
		X509_ATTRIBUTE) *)(uintptr_t)PKCS12_SAFEBAG_get0_attrs(bag);
	int ok = attr && attrs && sk_X509_ATTRIBUTE_push(attrs, attr);

	ASN1_OBJECT_free(type);
	if (!ok)
		X509_ATTRIBUTE_free(attr);
	return ok ? 0 : -ENOMEM;
}

/* A safe with the one certificate bag, not encrypted: there is nothing secret in it. */
static PKCS7 *cert_safe(const char *cert_pem)
{
	cleanup_with(cleanup_asn1) ASN1_STRING *cert = cert_sequence(cert_pem);
	cleanup_with(cleanup_bags) STACK_OF(PKCS12_SAFEBAG) *bags = sk_PKCS12_SAFEBAG_new_null();
	PKCS12_SAFEBAG *bag;

	if (!cert || !bags)
		return NULL;
	bag = PKCS12_item_pack_safebag(cert, ASN1_ITEM_rptr(ASN1_SEQUENCE), NID_x509Certificate,
				       NID_certBag);
	if (!bag || !sk_PKCS12_SAFEBAG_push(bags, bag)) {
		PKCS12_SAFEBAG_free(bag);
		return NULL;
	}
	if (!PKCS12_add_friendlyname_utf8(bag, TRUSTSTORE_ALIAS, -1) || add_trusted_usage(bag) < 0)
		return NULL;
	return PKCS12_pack_p7data(bags);
}

static PKCS12 *truststore(const char *cert_pem)
{
	cleanup_with(cleanup_safes) STACK_OF(PKCS7) *safes = sk_PKCS7_new_null();
	PKCS7 *safe = cert_safe(cert_pem);
	PKCS12 *p12;

	if (!safes || !safe || !sk_PKCS7_push(safes, safe)) {
		PKCS7_free(safe);
		return NULL;
	}
	p12 = PKCS12_add_safes(safes, NID_pkcs7_data);
	if (p12 && !PKCS12_set_mac(p12, TRUSTSTORE_PASSWORD, -1, NULL, MAC_SALT_BYTES,
				   MAC_ITERATIONS, EVP_sha1())) {
		PKCS12_free(p12);
		return NULL;
	}
	return p12;
}

int ca_truststore_render(const char *cert_pem, struct buf *ret_p12, struct err *err)
{
	cleanup_with(cleanup_p12) PKCS12 *p12 = NULL;
	cleanup_with(cleanup_der) unsigned char *der = NULL;
	int len;

	OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG | OPENSSL_INIT_NO_ATEXIT, NULL);
	p12 = truststore(cert_pem);
	len = p12 ? i2d_PKCS12(p12, &der) : -1;
	ERR_clear_error();
	if (len < 0)
		return err_set(err, EINVAL, "truststore: the certificate cannot be packed");
	buf_append(ret_p12, der, (size_t)len);
	return ret_p12->failed ? err_set(err, ENOMEM, "truststore: out of memory") : 0;
}

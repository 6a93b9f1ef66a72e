/* SPDX-License-Identifier: Apache-2.0
 *
 * The system's trust store, by need; see tls_parts.h. Runs in: the proxy's worker. Holds: certificates.
 *
 * A bundle has 150 certificates, of which a bottle meets a handful; parsing them all takes 25 ms and 1
 * MB. Here they are decoded to DER, of which only the subject is looked at; a verifier that asks for a
 * subject gets the certificates that have it, parsed then. OpenSSL's own way to be lazy, a folder of
 * hashed links next to the bundle, is not used: it may hold others than the file that was named.
 *
 * Subjects are found by OpenSSL's hash of their canonical form (RFC 5280, 7.1); the verifier compares
 * the names themselves. It asks only where the store has no certificate of that subject yet, so those that
 * share one come together.
 */
#include <errno.h>
#include <fcntl.h>
#include <openssl/asn1.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509_vfy.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "proxy/tls_parts.h"

enum { BUNDLE_MAX_BYTES = 8 << 20, HEADER_CONSTRUCTED = 0x20, HEADER_FAILED = 0x80 };

#define BEGIN "-----BEGIN CERTIFICATE-----"
#define END   "-----END CERTIFICATE-----"

struct bundle {	      /* of one X509_LOOKUP */
	uint8_t *der; /* of all, one after the other */
	size_t len;
	struct entry {
		unsigned long subject_hash;
		size_t at, len; /* in der */
		bool is_loaded; /* the store has it */
	} * entries;
	size_t count;
};

static void bundle_free(struct bundle *bundle)
{
	if (!bundle)
		return;
	free(bundle->entries);
	free(bundle->der);
	free(bundle);
}

static void cleanup_bundle(struct bundle **bundle)
{
	bundle_free(*bundle);
}

/* ---- reading ---- */

/* Steps into (or, !enters, over) the element at *at. Returns whether there was one. */
static bool pass_element(const unsigned char **at, const unsigned char *end, bool enters)
{
	long size;
	int tag, class, header = ASN1_get_object(at, &size, &tag, &class, end - *at);

	if ((header & HEADER_FAILED) || (enters && !(header & HEADER_CONSTRUCTED)))
		return false;
	if (!enters)
		*at += size;
	return true;
}

/* Certificate { TBSCertificate { [0] version, serial, algorithm, issuer, validity, subject, … */
static bool hash_subject(const uint8_t *der, size_t len, unsigned long *ret_hash)
{
	const unsigned char *at = der, *end = der + len;
	X509_NAME *name = NULL;
	int ok = pass_element(&at, end, true) && pass_element(&at, end, true);

	if (ok && at < end && *at == (V_ASN1_CONTEXT_SPECIFIC | HEADER_CONSTRUCTED))
		ok = pass_element(&at, end, false);
	for (int i = 0; ok && i < 4; i++)
		ok = pass_element(&at, end, false);
	if (ok && (name = d2i_X509_NAME(NULL, &at, end - at)))
		*ret_hash = X509_NAME_hash_ex(name, NULL, NULL, &ok);
	ok = ok && name;
	X509_NAME_free(name);
	ERR_clear_error();
	return ok;
}

/* Base64 of text[len] to `out`. Returns the length, or 0. */
static size_t decode(EVP_ENCODE_CTX *base64, const char *text, size_t len, uint8_t *out)
{
	int used = 0, rest = 0;

	EVP_DecodeInit(base64);
	if (EVP_DecodeUpdate(base64, out, &used, (const unsigned char *)text, (int)len) < 0 ||
	    EVP_DecodeFinal(base64, out + used, &rest) < 0)
		return 0;
	return (size_t)(used + rest);
}

static size_t count_of(const char *text, const char *word)
{
	size_t count = 0;

	for (; (text = strstr(text, word)); text += strlen(word))
		count++;
	return count;
}

/* One that cannot be read is passed over: it vouches for nothing. */
static void bundle_fill(struct bundle *bundle, EVP_ENCODE_CTX *base64, const char *text)
{
	const char *end;

	while ((text = strstr(text, BEGIN)) && (end = strstr(text += strlen(BEGIN), END))) {
		struct entry *entry = &bundle->entries[bundle->count];
		uint8_t *der = bundle->der + bundle->len;

		*entry = (struct entry){ .at = bundle->len };
		entry->len = decode(base64, text, (size_t)(end - text), der);
		if (!hash_subject(der, entry->len, &entry->subject_hash))
			continue;
		bundle->len += entry->len;
		bundle->count++;
	}
}

static int bundle_read(const char *path, struct bundle *bundle, struct err *err)
{
	cleanup_with(buf_clear) struct buf text = { 0 };
	EVP_ENCODE_CTX *base64 = EVP_ENCODE_CTX_new();
	int rc = file_read(AT_FDCWD, path, BUNDLE_MAX_BYTES, &text, err);

	if (rc == 0 && text.len) {
		bundle->der = malloc(text.len); /* more than base64 gives */
		bundle->entries = calloc(count_of(text.data, BEGIN) + 1, sizeof(struct entry));
	}
	if (rc == 0 && bundle->entries && bundle->der && base64)
		bundle_fill(bundle, base64, text.data);
	EVP_ENCODE_CTX_free(base64);
	if (rc == 0 && bundle->count == 0)
		rc = err_set(err, EBADMSG, "%s: no certificate in PEM", path);
	return rc;
}

/* ---- finding ---- */

/* Puts every certificate of that subject into the store. Returns one of them, the store's, or NULL. */
static X509 *load(struct bundle *bundle, X509_STORE *store, const X509_NAME *subject)
{
	unsigned long hash = X509_NAME_hash_ex(subject, NULL, NULL, NULL);
	X509 *found = NULL;

	for (size_t i = 0; i < bundle->count; i++) {
		struct entry *entry = &bundle->entries[i];
		const unsigned char *der = bundle->der + entry->at;

		if (entry->subject_hash != hash || entry->is_loaded)
			continue;
		X509 *cert = d2i_X509(NULL, &der, (long)entry->len);
		entry->is_loaded = true;
		if (cert && X509_NAME_cmp(X509_get_subject_name(cert), subject) == 0 &&
		    X509_STORE_add_cert(store, cert))
			found = cert;
		X509_free(cert); /* the store has its own reference */
	}
	ERR_clear_error();
	return found;
}

static int find_by_subject(X509_LOOKUP *lookup, X509_LOOKUP_TYPE type, const X509_NAME *name,
			   X509_OBJECT *ret)
{
	struct bundle *bundle = X509_LOOKUP_get_method_data(lookup);
	X509 *cert = type == X509_LU_X509 && bundle
			     ? load(bundle, X509_LOOKUP_get_store(lookup), name)
			     : NULL;

	if (!cert || !X509_OBJECT_set1_X509(ret, cert))
		return 0;
	/* A lookup gives what the store owns; the caller takes a reference of its own (by_dir.c). */
	X509_free(cert);
	return 1;
}

static void lookup_free(X509_LOOKUP *lookup)
{
	bundle_free(X509_LOOKUP_get_method_data(lookup));
}

static X509_LOOKUP_METHOD *lookup_method(void)
{
	static X509_LOOKUP_METHOD *method;

	if (!method && (method = X509_LOOKUP_meth_new("bundle"))) {
		X509_LOOKUP_meth_set_free(method, lookup_free);
		X509_LOOKUP_meth_set_get_by_subject(method, find_by_subject);
	}
	return method;
}

static bool add_extra(X509_STORE *store, struct bundle *bundle, X509 *cert)
{
	load(bundle, store, X509_get_subject_name(cert));
	return X509_STORE_add_cert(store, cert);
}

X509_STORE *tls_store_open(const char *bundle_path, const STACK_OF(X509) * extra, struct err *err)
{
	cleanup_with(cleanup_bundle) struct bundle *bundle = calloc(1, sizeof(*bundle));
	X509_LOOKUP_METHOD *method = lookup_method();
	X509_STORE *store = X509_STORE_new();
	X509_LOOKUP *lookup = store && method ? X509_STORE_add_lookup(store, method) : NULL;
	bool ok = bundle && lookup;

	if (!ok)
		err_set(err, ENOMEM, "%s: out of memory", bundle_path);
	ok = ok && bundle_read(bundle_path, bundle, err) == 0;
	for (int i = 0; ok && i < sk_X509_num(extra); i++)
		ok = add_extra(store, bundle, sk_X509_value(extra, i));
	if (!ok) {
		X509_STORE_free(store);
		return NULL;
	}
	X509_LOOKUP_set_method_data(lookup, take_ptr(bundle));
	return store;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading and checking a CA file that a manifest names (ca_file_read and ca_pem_check in bundle.h).
 * Runs in: launcher, before anything starts. Holds nothing; a private key that was named by mistake
 * is found by its PEM label, never decoded, and wiped.
 *
 * The file may be anything: a fifo, a device, a gigabyte. It is opened without waiting, must be
 * regular, and its size is limited before it is parsed. It is read once: what was checked is what is used.
 *
 * Every certificate must be a CA's. Dates are judged for the file as a whole: a distribution's store
 * keeps roots that expired years ago, and verifiers pass over them, so a file is bad when none of its
 * certificates is in force, and the sentence is about the first.
 */
#include "ca/bundle.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/fd.h"

enum {
	FILE_MAX_BYTES = 1 << 20, /* four times the store of a distribution */
	NAME_BYTES = 256,
	DATE_BYTES = 32,
};

/* One certificate of the file; `index` counts from 1. */
struct entry {
	const char *path;
	unsigned index;
	X509 *cert;
};

static void cleanup_bio(BIO **bio)
{
	BIO_free(*bio);
}

static void cleanup_entry(struct entry *entry)
{
	X509_free(entry->cert);
}

/* May hold a key that was named by mistake. */
static void cleanup_text(struct buf *text)
{
	if (text->data)
		explicit_bzero(text->data, text->len);
	buf_clear(text);
}

/* The subject as printable text; hostile bytes stay escaped (ONELINE implies that). */
static const char *subject_of(const struct entry *entry, char out[static NAME_BYTES])
{
	cleanup_with(cleanup_bio) BIO *bio = BIO_new(BIO_s_mem());
	int n = -1;

	if (bio &&
	    X509_NAME_print_ex(bio, X509_get_subject_name(entry->cert), 0, XN_FLAG_ONELINE) >= 0)
		n = BIO_read(bio, out, NAME_BYTES - 1);
	out[n > 0 ? n : 0] = '\0';
	return out;
}

static const char *date_of(const ASN1_TIME *time, char out[static DATE_BYTES])
{
	struct tm tm;

	if (!ASN1_TIME_to_tm(time, &tm) || !strftime(out, DATE_BYTES, "%Y-%m-%d %H:%M:%S UTC", &tm))
		snprintf(out, DATE_BYTES, "an unreadable date");
	return out;
}

static int check_dates(const struct entry *entry, struct err *err)
{
	char subject[NAME_BYTES], date[DATE_BYTES];
	const ASN1_TIME *from = X509_get0_notBefore(entry->cert);
	const ASN1_TIME *until = X509_get0_notAfter(entry->cert);
	time_t now = time(NULL);

	if (X509_cmp_time(until, &now) <= 0)
		return err_set(err, EKEYEXPIRED, "%s: certificate %u (%s) expired on %s",
			       entry->path, entry->index, subject_of(entry, subject),
			       date_of(until, date));
	if (X509_cmp_time(from, &now) >= 0)
		return err_set(
			err, EKEYREJECTED,
			"%s: certificate %u (%s) is not valid before %s; is the clock right?",
			entry->path, entry->index, subject_of(entry, subject), date_of(from, date));
	return 0;
}

static int check_is_ca(const struct entry *entry, struct err *err)
{
	char subject[NAME_BYTES];
	int kind = X509_check_ca(entry->cert);

	if (kind == 1 || kind == 3) /* 3: a self-signed version 1 root, which verifiers accept */
		return 0;
	return err_set(err, EKEYREJECTED,
		       "%s: certificate %u (%s) is not a CA's; name the file of the authority that "
		       "signed it",
		       entry->path, entry->index, subject_of(entry, subject));
}

/* Reads the next certificate. Returns 1, 0 at the end, or -errno. */
static int next_cert(BIO *bio, struct entry *entry, struct err *err)
{
	entry->cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);
	if (entry->cert) {
		entry->index++;
		return 1;
	}
	if (ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE)
		return 0;
	return err_set(err, EBADMSG, "%s: certificate %u is not valid PEM", entry->path,
		       entry->index + 1);
}

static int check_text(const char *path, const char *pem, size_t len, struct err *err)
{
	cleanup_with(cleanup_bio) BIO *bio = BIO_new_mem_buf(pem, (int)len);
	struct err first_dates = { 0 };
	unsigned index = 0;
	int dates_rc = 0;
	bool in_force = false;

	if (!bio)
		return err_set(err, ENOMEM, "%s: out of memory", path);
	for (;;) {
		cleanup_with(cleanup_entry) struct entry entry = { path, index, NULL };
		int more = next_cert(bio, &entry, err);

		TRY(more);
		if (!more)
			break;
		index = entry.index;
		TRY(check_is_ca(&entry, err));
		if (in_force || check_dates(&entry, NULL) == 0)
			in_force = true;
		else if (dates_rc == 0)
			dates_rc = check_dates(&entry, &first_dates);
	}
	if (index == 0)
		return err_set(err, EBADMSG, "%s: no certificate in it (PEM is expected)", path);
	return in_force ? 0 : err_set(err, -dates_rc, "%s", first_dates.text);
}

static int read_regular(const char *path, struct buf *text, struct err *err)
{
	cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct stat st;
	int rc;

	if (fd < 0 && errno == ENOENT)
		return err_set(err, ENOENT, "%s: no such file", path);
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(err, errno, "%s: cannot be read", path);
	if (!S_ISREG(st.st_mode))
		return err_set(err, EINVAL, "%s: not a regular file", path);
	rc = fd_read_all(fd, FILE_MAX_BYTES, text);
	if (rc == -EFBIG)
		return err_set(err, EFBIG, "%s: larger than %d bytes: not a CA file", path,
			       FILE_MAX_BYTES);
	return rc < 0 ? err_sys(err, -rc, "%s: cannot be read", path) : 0;
}

int ca_pem_check(const char *name, const char *pem, size_t len, struct err *err)
{
	int rc;

	OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG | OPENSSL_INIT_NO_ATEXIT, NULL);
	if (len == 0)
		return err_set(err, EBADMSG, "%s: empty", name);
	if (len > FILE_MAX_BYTES)
		return err_set(err, EFBIG, "%s: larger than %d bytes: not a CA file", name,
			       FILE_MAX_BYTES);
	if (memmem(pem, len, "PRIVATE KEY-----", strlen("PRIVATE KEY-----")))
		return err_set(err, EKEYREJECTED,
			       "%s: holds a private key; name a file with the certificate alone",
			       name);
	rc = check_text(name, pem, len, err);
	ERR_clear_error();
	return rc;
}

int ca_file_read(const char *path, struct buf *ret_pem, struct err *err)
{
	cleanup_with(cleanup_text) struct buf text = { 0 };

	TRY(read_regular(path, &text, err));
	TRY(ca_pem_check(path, text.data, text.len, err));
	buf_append(ret_pem, text.data, text.len);
	return ret_pem->failed ? err_set(err, ENOMEM, "%s: out of memory", path) : 0;
}

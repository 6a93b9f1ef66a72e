/* SPDX-License-Identifier: Apache-2.0
 * From blob to tar entries; see layer_stream.h. Runs in: launcher (`bottle image`). */
#include "rootfs/layer_stream.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"

static la_ssize_t read_stored(struct archive *a, void *ctx, const void **ret_bytes)
{
	struct layer_stream *stream = ctx;
	ssize_t n = blob_read(stream->blob, stream->at, stream->chunk, sizeof(stream->chunk));

	if (n == 0 && stream->at < stream->blob->size)
		n = -EIO; /* the file has shrunk since it was opened */
	if (n < 0) {
		err_sys(&stream->cause, (int)-n, "reading it");
		archive_set_error(a, (int)-n, "read");
		return -1;
	}
	sha256_update(&stream->stored, stream->chunk, (size_t)n);
	stream->at += (uint64_t)n;
	*ret_bytes = stream->chunk;
	return n;
}

/* Takes the next inflated block; 0 at the end, -1 with `cause` set. */
static la_ssize_t inflate_block(struct layer_stream *stream, const void **ret_bytes)
{
	size_t len = 0;

	while (!stream->inflate_ended && len == 0) {
		la_int64_t offset;
		int rc = archive_read_data_block(stream->inflate, ret_bytes, &len, &offset);
		const char *text = archive_error_string(stream->inflate);

		if (rc == ARCHIVE_EOF) {
			stream->inflate_ended = true;
			return 0;
		}
		if (rc != ARCHIVE_OK) {
			if (!*stream->cause.text)
				err_set(&stream->cause, EBADMSG, "inflating it: %s",
					text ? text : "unknown error");
			return -1;
		}
	}
	if (len > stream->max_inflated_bytes - stream->inflated_bytes) {
		err_set(&stream->cause, EFBIG,
			"the image's layers inflate to more than is allowed (%llu bytes left for "
			"this one)",
			(unsigned long long)stream->max_inflated_bytes);
		return -1;
	}
	stream->inflated_bytes += len;
	sha256_update(&stream->diff, *ret_bytes, len);
	return (la_ssize_t)len;
}

static la_ssize_t read_inflated(struct archive *a, void *ctx, const void **ret_bytes)
{
	la_ssize_t n = inflate_block(ctx, ret_bytes);

	if (n < 0)
		archive_set_error(a, EBADMSG, "inflate");
	return n;
}

static int open_inflate(struct layer_stream *stream)
{
	struct archive *a = stream->inflate = archive_read_new();
	struct archive_entry *entry;
	int rc;

	/* "empty" beside "raw", which does not bid for a stream without a byte. */
	if (!a || archive_read_support_filter_gzip(a) != ARCHIVE_OK ||
	    archive_read_support_filter_zstd(a) != ARCHIVE_OK ||
	    archive_read_support_format_raw(a) != ARCHIVE_OK ||
	    archive_read_support_format_empty(a) != ARCHIVE_OK)
		return -ENOMEM;
	if (archive_read_open(a, stream, NULL, read_stored, NULL) != ARCHIVE_OK)
		return -EBADMSG;
	if (archive_filter_count(a) > 2) /* what lies between two has no bound */
		return err_set(&stream->cause, EBADMSG, "it is compressed more than once");
	rc = archive_read_next_header(a, &entry);
	stream->inflate_ended = rc == ARCHIVE_EOF;
	return rc == ARCHIVE_EOF || rc == ARCHIVE_OK ? 0 : -EBADMSG;
}

static int open_tar(struct layer_stream *stream)
{
	struct archive *a = stream->tar = archive_read_new();

	if (!a || archive_read_support_format_tar(a) != ARCHIVE_OK ||
	    archive_read_support_format_empty(a) != ARCHIVE_OK)
		return -ENOMEM;
	return archive_read_open(a, stream, NULL, read_inflated, NULL) == ARCHIVE_OK ? 0 : -EBADMSG;
}

int layer_stream_failed(const struct layer_stream *stream, struct err *err)
{
	const char *text = stream->tar ? archive_error_string(stream->tar) : NULL;

	if (*stream->cause.text)
		return err_set(err, EBADMSG, "%s", stream->cause.text);
	if (!text && stream->inflate)
		text = archive_error_string(stream->inflate);
	return err_set(err, EBADMSG, "not a tar that can be read: %s",
		       text ? text : "out of memory");
}

struct layer_stream *layer_stream_open(const struct blob *blob, uint64_t max_inflated_bytes,
				       struct err *err)
{
	struct layer_stream *stream = calloc(1, sizeof(*stream));

	if (!stream) {
		err_sys(err, ENOMEM, "reading it");
		return NULL;
	}
	stream->blob = blob;
	stream->max_inflated_bytes = max_inflated_bytes;
	sha256_init(&stream->stored);
	sha256_init(&stream->diff);
	if (open_inflate(stream) < 0 || open_tar(stream) < 0) {
		(void)!layer_stream_failed(stream, err);
		layer_stream_close(&stream);
	}
	return stream;
}

void layer_stream_close(struct layer_stream **stream)
{
	if (!*stream)
		return;
	archive_read_free((*stream)->tar);
	archive_read_free((*stream)->inflate);
	free(*stream);
	*stream = NULL;
}

int layer_stream_finish(struct layer_stream *stream, uint8_t ret_stored[static SHA256_BYTES],
			uint8_t ret_diff[static SHA256_BYTES], struct err *err)
{
	const void *bytes;
	la_ssize_t n;

	while ((n = inflate_block(stream, &bytes)) > 0)
		continue;
	if (n < 0)
		return layer_stream_failed(stream, err);
	/* Bytes behind the last compressed frame belong to the stored digest alone. */
	while (stream->at < stream->blob->size)
		if (read_stored(stream->inflate, stream, &bytes) < 0)
			return layer_stream_failed(stream, err);
	sha256_final(&stream->stored, ret_stored);
	sha256_final(&stream->diff, ret_diff);
	return 0;
}

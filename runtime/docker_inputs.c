/* SPDX-License-Identifier: Apache-2.0
 * What goes into a built image; see docker_inputs.h. Runs in: launcher, while the plan is made. */
#include "runtime/docker_inputs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/sha256.h"
#include "base/str.h"

enum { FILE_MAX_BYTES = 16 << 20, DEPTH_MAX = 8, PLACES_MAX = 10 };

/* Files and folders, relative to the Dockerfile's. */
static const struct {
	const char *target;
	const char *places[PLACES_MAX];
} inputs[] = {
	{ "mitmproxy", { "Dockerfile.egress-proxy", "rootfs/mitmproxy" } },
	{ "native",
	  { "Dockerfile.egress-proxy", "Makefile", "base", "ca", "config", "proxy",
	    "rootfs/architecture.h", "rootfs/native" } },
};

/* The lengths are in it, so that no two lists of files give the same bytes. */
static int add_file(struct sha256 *sha, const char *path, const char *name, struct err *err)
{
	cleanup_with(buf_clear) struct buf text = { 0 };
	char lengths[64];

	TRY(file_read(AT_FDCWD, path, FILE_MAX_BYTES, &text, err));
	snprintf(lengths, sizeof(lengths), "%zu %zu\n", strlen(name), text.len);
	sha256_update(sha, lengths, strlen(lengths));
	sha256_update(sha, name, strlen(name));
	sha256_update(sha, text.data ? text.data : "", text.len);
	return 0;
}

/* What editors and Python leave beside a source is none of it. */
static int is_input(const struct dirent *entry)
{
	return entry->d_name[0] != '.' && strcmp(entry->d_name, "__pycache__") != 0 &&
	       !str_ends(entry->d_name, "~");
}

static int add_place(struct sha256 *sha, const char *folder, const char *name, unsigned depth,
		     struct err *err)
{
	cleanup_free char *path = str_printf("%s/%s", folder, name);
	struct dirent **entries;
	struct stat st;
	int count, rc = 0;

	if (!path || depth > DEPTH_MAX)
		return err_sys(err, path ? ELOOP : ENOMEM, "%s/%s", folder, name);
	if (stat(path, &st) < 0)
		return err_sys(err, errno, "%s", path);
	if (!S_ISDIR(st.st_mode))
		return add_file(sha, path, name, err);
	count = scandir(path, &entries, is_input, alphasort);
	if (count < 0)
		return err_sys(err, errno, "%s", path);
	for (int i = 0; i < count; i++) {
		cleanup_free char *below = str_printf("%s/%s", name, entries[i]->d_name);

		if (rc == 0)
			rc = below ? add_place(sha, folder, below, depth + 1, err)
				   : err_sys(err, ENOMEM, "%s", path);
		free(entries[i]);
	}
	free(entries);
	return rc;
}

int docker_inputs_digest(const char *folder, const char *target, char **ret_digest, struct err *err)
{
	uint8_t digest[SHA256_BYTES];
	char hex[SHA256_HEX_BYTES];
	struct sha256 sha;

	sha256_init(&sha);
	for (size_t i = 0; i < sizeof(inputs) / sizeof(inputs[0]); i++)
		for (size_t j = 0; strcmp(inputs[i].target, target) == 0 && inputs[i].places[j];
		     j++)
			TRY(add_place(&sha, folder, inputs[i].places[j], 0, err));
	sha256_final(&sha, digest);
	sha256_hex(digest, hex);
	*ret_digest = str_printf("sha256:%s", hex);
	return *ret_digest ? 0 : err_sys(err, ENOMEM, "image");
}

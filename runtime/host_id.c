/* SPDX-License-Identifier: Apache-2.0
 * Which host this is; see host_id.h. Runs in: the launcher and the subcommands. */
#include "runtime/host_id.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/sha256.h"

enum { ID_FILE_MAX = 4096, MACHINE_ID_LEN = 32 };

/* The first line; "" where there is no such file. */
static void first_line(const char *path, char *ret_text, size_t size)
{
	cleanup_with(buf_clear) struct buf text = { 0 };
	const char *data = "";

	if (file_read(AT_FDCWD, path, ID_FILE_MAX, &text, NULL) == 0 && text.data)
		data = text.data;
	snprintf(ret_text, size, "%.*s", (int)strcspn(data, "\n"), data);
}

void host_boot_id(char ret_id[static HOST_BOOT_ID_SIZE])
{
	first_line("/proc/sys/kernel/random/boot_id", ret_id, HOST_BOOT_ID_SIZE);
}

void host_id(char ret_id[static HOST_ID_SIZE])
{
	char machine[MACHINE_ID_LEN + 1], name[256] = "", pids[64] = "", hex[SHA256_HEX_BYTES];
	uint8_t digest[SHA256_BYTES];
	char text[512];
	struct sha256 sha;

	first_line("/etc/machine-id", machine, sizeof(machine));
	/* One that is not set yet, as in an image, is empty or a word. */
	if (strspn(machine, "0123456789abcdef") != MACHINE_ID_LEN) {
		machine[0] = '\0';
		(void)!gethostname(name, sizeof(name) - 1);
	}
	/* The first namespace has the same number on every Linux, always. */
	(void)!readlink("/proc/self/ns/pid", pids, sizeof(pids) - 1);
	snprintf(text, sizeof(text), "bottle host\n%s\n%s\n%s\n", machine, name, pids);
	sha256_init(&sha);
	sha256_update(&sha, text, strlen(text));
	sha256_final(&sha, digest);
	sha256_hex(digest, hex);
	snprintf(ret_id, HOST_ID_SIZE, "%.16s", hex);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Makes the native proxy's image out of its one static program: an OCI layout in a tar, which
 * `bottle image import`, `docker load` and `podman load` take, and a header with the image's digest.
 *
 * usage: make_image PROGRAM ARCHIVE HEADER
 *
 * Runs in: make. Needs no package, no network and no container tool. The same program gives the same
 * bytes: no time, no owner and no order of this machine gets into the archive.
 *
 * The digest is that of the image's configuration, as the store has it (rootfs/image.h). It names the
 * layer's digest, so bottle, with the header compiled in, runs this program or none.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/sha256.h"
#include "base/str.h"
#include "rootfs/architecture.h"

enum { BLOCK = 512, USER = 1000, PROGRAM_MAX_BYTES = 64 << 20, MTIME = 0 };

/* One member of a tar. Folders end in a slash. */
struct member {
	const char *name;
	mode_t mode;
	unsigned owner;
	const char *text; /* files; NULL: empty */
};

/* Mount points of the contract, and what getpwuid(3) and Docker's own mounts look for. */
static const struct member tree[] = {
	{ "dev/", 0755, 0, NULL },
	{ "etc/", 0755, 0, NULL },
	{ "etc/egress-proxy/", 0755, 0, NULL },
	{ "etc/group", 0644, 0, "root:x:0:\nmitmproxy:x:1000:\n" },
	{ "etc/hosts", 0644, 0, NULL },
	{ "etc/passwd", 0644, 0,
	  "root:x:0:0:root:/:/nonexistent\n"
	  "mitmproxy:x:1000:1000:egress proxy:/home/mitmproxy:/nonexistent\n" },
	{ "etc/resolv.conf", 0644, 0, NULL },
	{ "etc/ssl/", 0755, 0, NULL },
	{ "etc/ssl/certs/", 0755, 0, NULL },
	/* The host's store is mounted here: an image that lives for years has no roots of its own. */
	{ "etc/ssl/certs/ca-certificates.crt", 0644, 0, NULL },
	{ "home/", 0755, 0, NULL },
	{ "home/mitmproxy/", 0755, USER, NULL },
	{ "home/mitmproxy/.mitmproxy/", 0755, USER, NULL },
	{ "proc/", 0755, 0, NULL },
	{ "run/", 0755, 0, NULL },
	{ "sys/", 0755, 0, NULL },
	{ "tmp/", 01777, 0, NULL },
	{ "var/", 0755, 0, NULL },
	{ "var/tmp/", 01777, 0, NULL },
};
static const char program_name[] = "egress-proxy";

#define MEDIA "application/vnd.oci.image."

static _Noreturn void fail(const char *what)
{
	fprintf(stderr, "make_image: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void check(const struct buf *buf)
{
	errno = ENOMEM;
	if (buf->failed)
		fail("building the archive");
}

/* A POSIX ustar header (POSIX.1-2017, pax, "ustar Interchange Format"): numbers are octal text. */
static void put_header(struct buf *tar, const char *name, mode_t mode, unsigned owner, size_t size)
{
	char header[BLOCK] = { 0 };
	unsigned sum = 0;

	snprintf(header, 100, "%s", name);
	snprintf(header + 100, 8, "%07o", (unsigned)mode);
	snprintf(header + 108, 8, "%07o", owner);
	snprintf(header + 116, 8, "%07o", owner);
	snprintf(header + 124, 12, "%011zo", size);
	snprintf(header + 136, 12, "%011o", (unsigned)MTIME);
	memset(header + 148, ' ', 8);
	header[156] = str_ends(name, "/") ? '5' : '0';
	memcpy(header + 257,
	       "ustar\0"
	       "00",
	       8);
	for (size_t i = 0; i < BLOCK; i++)
		sum += (unsigned char)header[i];
	snprintf(header + 148, 8, "%06o", sum);
	buf_append(tar, header, BLOCK);
}

static void put_file(struct buf *tar, const char *name, mode_t mode, unsigned owner,
		     const void *bytes, size_t size)
{
	static const char zeros[BLOCK];

	put_header(tar, name, mode, owner, size);
	buf_append(tar, bytes, size);
	buf_append(tar, zeros, (BLOCK - size % BLOCK) % BLOCK);
}

static void put_end(struct buf *tar)
{
	static const char zeros[2 * BLOCK];

	buf_append(tar, zeros, sizeof(zeros));
	check(tar);
}

static void make_layer(const struct buf *program, struct buf *ret_layer)
{
	for (size_t i = 0; i < sizeof(tree) / sizeof(tree[0]); i++) {
		const char *text = tree[i].text ? tree[i].text : "";

		put_file(ret_layer, tree[i].name, tree[i].mode, tree[i].owner, text, strlen(text));
	}
	put_file(ret_layer, program_name, 0755, 0, program->data, program->len);
	put_end(ret_layer);
}

static void hex_of(const struct buf *bytes, char ret_hex[static SHA256_HEX_BYTES])
{
	uint8_t digest[SHA256_BYTES];
	struct sha256 sha;

	sha256_init(&sha);
	sha256_update(&sha, bytes->data, bytes->len);
	sha256_final(&sha, digest);
	sha256_hex(digest, ret_hex);
}

static void make_config(const char *layer_hex, struct buf *ret_config)
{
	buf_printf(ret_config,
		   "{\"architecture\":\"%s\",\"os\":\"linux\",\"config\":{"
		   "\"User\":\"%d\",\"WorkingDir\":\"/home/mitmproxy\","
		   "\"Env\":[\"HOME=/home/mitmproxy\"],"
		   "\"Entrypoint\":[\"/%s\"],\"ExposedPorts\":{\"9099/tcp\":{}},\"Labels\":{"
		   "\"bottle.contract\":\"1\",\"bottle.gate-fd\":\"1\",\"bottle.listen-fds\":\"1\","
		   "\"bottle.proxy\":\"native\",\"bottle.ready-fd\":\"1\","
		   "\"bottle.secrets\":\"stdin\",\"bottle.trust-store\":\"host\","
		   "\"org.opencontainers.image.title\":\"bottle egress proxy (native)\"}},"
		   "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"sha256:%s\"]},"
		   "\"history\":[{\"created_by\":\"rootfs/native/make_image.c\"}]}",
		   ROOTFS_ARCHITECTURE, USER, program_name, layer_hex);
	check(ret_config);
}

static void put_blob(struct buf *archive, const struct buf *bytes)
{
	char hex[SHA256_HEX_BYTES], name[100];

	hex_of(bytes, hex);
	snprintf(name, sizeof(name), "blobs/sha256/%s", hex);
	put_file(archive, name, 0644, 0, bytes->data, bytes->len);
}

/* `manifest.json` is for a Docker that does not know OCI layouts yet. */
static void put_indexes(struct buf *archive, const struct buf *manifest, const char *config_hex,
			const char *layer_hex)
{
	cleanup_with(buf_clear) struct buf index = { 0 };
	cleanup_with(buf_clear) struct buf docker = { 0 };
	static const char layout[] = "{\"imageLayoutVersion\":\"1.0.0\"}";
	char hex[SHA256_HEX_BYTES];

	hex_of(manifest, hex);
	buf_printf(&index,
		   "{\"schemaVersion\":2,\"mediaType\":\"" MEDIA "index.v1+json\","
		   "\"manifests\":[{\"mediaType\":\"" MEDIA "manifest.v1+json\","
		   "\"digest\":\"sha256:%s\",\"size\":%zu,\"annotations\":{"
		   "\"io.containerd.image.name\":\"docker.io/library/egress-proxy-native:latest\","
		   "\"org.opencontainers.image.ref.name\":\"latest\"}}]}",
		   hex, manifest->len);
	buf_printf(&docker,
		   "[{\"Config\":\"blobs/sha256/%s\",\"RepoTags\":[\"egress-proxy-native:latest\"],"
		   "\"Layers\":[\"blobs/sha256/%s\"]}]",
		   config_hex, layer_hex);
	check(&index);
	check(&docker);
	put_file(archive, "index.json", 0644, 0, index.data, index.len);
	put_file(archive, "manifest.json", 0644, 0, docker.data, docker.len);
	put_file(archive, "oci-layout", 0644, 0, layout, strlen(layout));
}

static void make_archive(const struct buf *layer, const struct buf *config,
			 struct buf *ret_manifest, struct buf *ret_archive)
{
	char config_hex[SHA256_HEX_BYTES], layer_hex[SHA256_HEX_BYTES];

	hex_of(config, config_hex);
	hex_of(layer, layer_hex);
	buf_printf(ret_manifest,
		   "{\"schemaVersion\":2,\"mediaType\":\"" MEDIA "manifest.v1+json\","
		   "\"config\":{\"mediaType\":\"" MEDIA
		   "config.v1+json\",\"digest\":\"sha256:%s\",\"size\":%zu},"
		   "\"layers\":[{\"mediaType\":\"" MEDIA
		   "layer.v1.tar\",\"digest\":\"sha256:%s\",\"size\":%zu}]}",
		   config_hex, config->len, layer_hex, layer->len);
	check(ret_manifest);
	put_header(ret_archive, "blobs/", 0755, 0, 0);
	put_header(ret_archive, "blobs/sha256/", 0755, 0, 0);
	put_blob(ret_archive, layer);
	put_blob(ret_archive, config);
	put_blob(ret_archive, ret_manifest);
	put_indexes(ret_archive, ret_manifest, config_hex, layer_hex);
	put_end(ret_archive);
}

/* Whole or not at all, so that an interrupted make leaves nothing that looks made. */
static void write_file(const char *path, const struct buf *bytes)
{
	cleanup_free char *new = str_printf("%s.new", path);
	cleanup_fd int fd = new ? open(new, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644) : -1;
	int rc = fd < 0 ? -errno : fd_write_all(fd, bytes->data, bytes->len);

	errno = -rc;
	if (rc < 0 || rename(new, path) < 0)
		fail(path);
}

/* The second is the name that Docker has for it where it keeps its images in containerd's store. */
static void write_header(const char *path, const struct buf *config, const struct buf *manifest)
{
	cleanup_with(buf_clear) struct buf text = { 0 };
	char config_hex[SHA256_HEX_BYTES], manifest_hex[SHA256_HEX_BYTES];

	hex_of(config, config_hex);
	hex_of(manifest, manifest_hex);
	buf_printf(&text,
		   "/* Made by rootfs/native/make_image.c from the native proxy. Do not edit. */\n"
		   "#define NATIVE_IMAGE_DIGEST \"sha256:%s\"\n"
		   "#define NATIVE_MANIFEST_DIGEST \"sha256:%s\"\n",
		   config_hex, manifest_hex);
	check(&text);
	write_file(path, &text);
}

int main(int argc, char **argv)
{
	cleanup_with(buf_clear) struct buf program = { 0 };
	cleanup_with(buf_clear) struct buf layer = { 0 };
	cleanup_with(buf_clear) struct buf config = { 0 };
	cleanup_with(buf_clear) struct buf manifest = { 0 };
	cleanup_with(buf_clear) struct buf archive = { 0 };
	char layer_hex[SHA256_HEX_BYTES];
	cleanup_fd int fd = -1;
	int rc;

	if (argc != 4) {
		fputs("usage: make_image PROGRAM ARCHIVE HEADER\n", stderr);
		return 2;
	}
	fd = open(argv[1], O_RDONLY | O_CLOEXEC);
	rc = fd < 0 ? -errno : fd_read_all(fd, PROGRAM_MAX_BYTES, &program);
	errno = -rc;
	if (rc < 0)
		fail(argv[1]);
	make_layer(&program, &layer);
	hex_of(&layer, layer_hex);
	make_config(layer_hex, &config);
	make_archive(&layer, &config, &manifest, &archive);
	write_file(argv[2], &archive);
	write_header(argv[3], &config, &manifest);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0
 * Control messages; see gate_control.h and gate.h. Runs in: the launcher (gate_send_…) and the gate. */
#include "netns/gate_control.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "netns/gate_conn.h"

enum { TARGETS_BYTES_MAX = 4 * 1024 * 1024, FIELDS = 5 };

int gate_targets_render(const struct gate_target *targets, size_t count, struct buf *ret_text,
			struct err *err)
{
	for (size_t i = 0; i < count; i++) {
		const struct gate_target *t = &targets[i];

		if (!t->host[0] || strpbrk(t->host, " \n") ||
		    (t->address && (!t->address[0] || strpbrk(t->address, " \n"))))
			return err_set(err, EINVAL, "gate: '%.64s' is no target", t->host);
		buf_printf(ret_text, "%s %u %d %s %u\n", t->host, t->port, t->allow_private,
			   t->address ? t->address : "-", t->address_port);
	}
	return ret_text->failed ? err_set(err, ENOMEM, "gate: no memory for the targets") : 0;
}

static int parse_number(const char *text, unsigned long long max, unsigned long long *ret_value)
{
	return text ? str_to_u64(text, 0, max, ret_value) : -EINVAL;
}

/* Splits one line in place. */
static int parse_line(char *line, struct gate_target *ret_target)
{
	char *fields[FIELDS + 1] = { NULL }, *rest = line;
	unsigned long long port, is_private, address_port;

	for (size_t i = 0; i <= FIELDS && rest; i++)
		fields[i] = strsep(&rest, " ");
	if (fields[FIELDS] || parse_number(fields[1], UINT16_MAX, &port) < 0 ||
	    parse_number(fields[2], 1, &is_private) < 0 ||
	    parse_number(fields[4], UINT16_MAX, &address_port) < 0)
		return -EINVAL;
	*ret_target = (struct gate_target){
		.host = fields[0],
		.port = (uint16_t)port,
		.allow_private = is_private,
		.address = strcmp(fields[3], "-") == 0 ? NULL : fields[3],
		.address_port = (uint16_t)address_port,
	};
	return 0;
}

static size_t count_lines(const char *text, size_t len)
{
	size_t count = 0;

	for (size_t i = 0; i < len; i++)
		count += text[i] == '\n';
	return count;
}

int gate_targets_parse(const char *text, size_t len, struct gate_policy *ret_policy,
		       struct err *err)
{
	cleanup_free char *copy = strndup(text, len);
	size_t count = count_lines(text, len);
	cleanup_free struct gate_target *targets = calloc(count + 1, sizeof(*targets));
	char *rest = copy;

	if (!copy || !targets)
		return err_set(err, ENOMEM, "gate: no memory for the targets");
	if (strlen(copy) != len || (len && text[len - 1] != '\n'))
		return err_set(err, EINVAL, "gate: the table of targets is cut off");
	for (size_t i = 0; i < count; i++)
		if (parse_line(strsep(&rest, "\n"), &targets[i]) < 0)
			return err_set(err, EINVAL, "gate: line %zu of the table is no target",
				       i + 1);
	return gate_policy_init(ret_policy, targets, count, err);
}

int gate_targets_read(int memfd, struct gate_policy *ret_policy, struct err *err)
{
	cleanup_with(buf_clear) struct buf text = { 0 };
	int rc = lseek(memfd, 0, SEEK_SET) < 0 ? -errno : 0;

	if (rc == 0)
		rc = fd_read_all(memfd, TARGETS_BYTES_MAX, &text);
	if (rc < 0)
		return err_sys(err, -rc, "gate: reading the table of targets");
	return gate_targets_parse(text.data ? text.data : "", text.len, ret_policy, err);
}

static int send_message(int control_fd, uint8_t kind, int first_fd, const int *listener_fds,
			size_t listener_count)
{
	struct gate_message message = { .kind = kind };
	int fds[1 + GATE_LISTENERS_MAX];

	if (listener_count > GATE_LISTENERS_MAX)
		return -E2BIG;
	fds[0] = first_fd;
	if (listener_count)
		memcpy(fds + 1, listener_fds, listener_count * sizeof(*fds));
	return fd_send(control_fd, &message, sizeof(message), fds, 1 + listener_count);
}

int gate_send_sockets(int control_fd, int dns_fd, const int *listener_fds, size_t listener_count)
{
	return send_message(control_fd, GATE_MESSAGE_SOCKETS, dns_fd, listener_fds, listener_count);
}

int gate_send_targets(int control_fd, const struct gate_target *targets, size_t target_count,
		      const int *listener_fds, size_t listener_count)
{
	cleanup_with(buf_clear) struct buf text = { 0 };
	cleanup_fd int memfd = memfd_create("gate-targets", MFD_CLOEXEC);

	if (memfd < 0)
		return -errno;
	TRY(gate_targets_render(targets, target_count, &text, NULL));
	TRY(fd_write_all(memfd, text.data ? text.data : "", text.len));
	return send_message(control_fd, GATE_MESSAGE_TARGETS, memfd, listener_fds, listener_count);
}

int gate_read_reply(int control_fd, struct err *err)
{
	struct gate_control_reply reply;
	size_t count = 0;
	ssize_t n = fd_recv(control_fd, &reply, sizeof(reply), NULL, 0, &count);

	if (n == 0 || n == -ECONNRESET)
		return err_set(err, EOWNERDEAD, "the gate ended");
	if (n != (ssize_t)sizeof(reply))
		return err_set(err, EPROTO, "the gate sent half an answer");
	reply.err.text[sizeof(reply.err.text) - 1] = '\0';
	return reply.code < 0 ? err_set(err, -reply.code, "%s", reply.err.text) : 0;
}

void gate_send_failure(int control_fd, int rc, const struct err *err)
{
	struct gate_control_reply reply = { .code = rc, .err = *err };

	(void)!fd_send(control_fd, &reply, sizeof(reply), NULL, 0);
}

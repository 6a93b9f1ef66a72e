/* SPDX-License-Identifier: Apache-2.0
 *
 * CA, routes and trust stores: made by the launcher, written through descriptors into files that lie
 * on a ramfs (secrets) or tmpfs inside the bottle. No name, no path and no disk is involved.
 *
 * Runs in: launcher. Holds: the CA key and the tokens, both in the locked mapping.
 */
#include "runtime/fill.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "ca/bundle.h"

struct content {
	const char *bytes;
	size_t len;
};

static struct content content_of(const struct material *m, const struct plan *plan, int which)
{
	switch ((enum plan_content)which) {
	case PLAN_CA_SECRET:
		return (struct content){ m->ca_secret, m->ca_secret_len };
	case PLAN_ROUTES:
		return (struct content){ plan->routes_yaml.data, plan->routes_yaml.len };
	case PLAN_UPSTREAM_CA:
		return (struct content){ plan->upstream_ca.data, plan->upstream_ca.len };
	case PLAN_EXTRA_CA:
		return (struct content){ plan->extra_ca.data, plan->extra_ca.len };
	case PLAN_CA_CERT:
		return (struct content){ m->ca_cert.data, m->ca_cert.len };
	case PLAN_CA_BUNDLE: /* not held: write_content copies it */
		break;
	case PLAN_TRUSTSTORE:
		return (struct content){ m->truststore.data, m->truststore.len };
	}
	return (struct content){ NULL, 0 };
}

static int write_content(const struct material *material, const struct plan *plan, int which,
			 int fd, struct err *err)
{
	struct content content = content_of(material, plan, which);
	int rc;

	if (which == PLAN_CA_BUNDLE)
		return ca_bundle_write(ca_host_bundle_path(), material->ca_cert.data, fd, err);
	rc = fd_write_all(fd, content.bytes, content.len);
	return rc < 0 ? err_sys(err, -rc, "write") : 0;
}

int material_fill(const struct material *material, struct session *session, enum role role,
		  struct err *err)
{
	const struct plan *plan = session->plan;
	const struct mount_list *list = role == ROLE_PROXY ? &plan->proxy.mounts
							   : &plan->agent.mounts;
	struct mount_result *files = &session->files[role];
	size_t next = 0;

	for (size_t i = 0; i < list->len; i++) {
		int rc;

		if (list->ops[i].kind != MOUNT_HANDED)
			continue;
		if (next == files->handed_count)
			return err_set(err, EPROTO, "fewer files came up than the plan has");
		rc = write_content(material, plan, list->ops[i].content, files->handed_fds[next],
				   err);
		if (rc < 0)
			return err_context(err, rc, "fill %s", list->ops[i].at);
		close(files->handed_fds[next++]);
		files->handed_fds[next - 1] = -1;
	}
	files->handed_count = 0;
	return 0;
}

/* One datagram: the message, then each "NAME=value" with its NUL, gathered from where it stands, so
 * that no second copy of a token is made in this process. */
int material_send_tokens(struct session *session, struct err *err)
{
	enum { SLOT_MAX = 256 };
	const struct plan *plan = session->plan;
	struct wire_msg msg = { .type = WIRE_GO };
	char names[SLOT_MAX][32];
	struct iovec parts[1 + 2 * SLOT_MAX] = { { &msg, sizeof(msg) } };
	struct msghdr header = { .msg_iov = parts, .msg_iovlen = 1 };

	if (plan->token_refs.len > SLOT_MAX)
		return err_set(err, E2BIG, "%zu tokens; at most %d fit", plan->token_refs.len,
			       SLOT_MAX);
	for (size_t i = 0; i < plan->token_refs.len; i++) {
		size_t len = 0;
		const char *value = secrets_get(&session->secrets, plan->token_refs.items[i], &len);
		int name_len = snprintf(names[i], sizeof(names[i]), "EGRESS_PROXY_TOKEN_%zu=", i);

		if (!value)
			return err_set(err, ENOKEY, "the token of %s is gone",
				       plan->token_refs.items[i]);
		parts[header.msg_iovlen++] = (struct iovec){ names[i], (size_t)name_len };
		parts[header.msg_iovlen++] = (struct iovec){ (char *)(uintptr_t)value, len + 1 };
	}
	if (sendmsg(session->launch.go[ROLE_PROXY][0], &header, MSG_NOSIGNAL) < 0)
		return err_sys(err, errno, "send the proxy its go");
	return 0;
}

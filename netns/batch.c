/* SPDX-License-Identifier: Apache-2.0
 * Batched rtnetlink requests; see batch.h. Runs in: init, agent. Holds one netlink socket. */
#include "netns/batch.h"

#include <errno.h>
#include <linux/netlink.h>
#include <netlink/socket.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"

enum { ANSWER_BYTES = 8192 };

int batch_open(struct batch *batch, struct err *err)
{
	int on = 1, rc;

	batch->sock = nl_socket_alloc();
	if (!batch->sock)
		return err_set(err, ENOMEM, "netlink: out of memory");
	rc = nl_connect(batch->sock, NETLINK_ROUTE);
	if (rc < 0)
		return err_set(err, EPROTONOSUPPORT, "netlink: %s", nl_geterror(rc));
	/* Answers then say in words what was wrong, and do not send the request back. */
	setsockopt(nl_socket_get_fd(batch->sock), SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof(on));
	setsockopt(nl_socket_get_fd(batch->sock), SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof(on));
	return 0;
}

void batch_clear(struct batch *batch)
{
	nl_socket_free(batch->sock);
	*batch = (struct batch){ 0 };
}

struct nl_msg *batch_request(int type, int flags, const void *header, size_t header_len)
{
	struct nl_msg *msg = nlmsg_alloc_simple(type, NLM_F_REQUEST | NLM_F_ACK | flags);

	if (msg && nlmsg_append(msg, (void *)(uintptr_t)header, header_len, NLMSG_ALIGNTO) < 0) {
		nlmsg_free(msg);
		return NULL;
	}
	return msg;
}

void batch_add(struct batch *batch, const char *what, struct nl_msg *msg, int unfilled)
{
	size_t len = msg ? NLMSG_ALIGN(nlmsg_hdr(msg)->nlmsg_len) : 0;

	if (!msg || unfilled || batch->count == BATCH_REQUESTS || len > BATCH_BYTES - batch->len) {
		batch->failed = true;
		nlmsg_free(msg);
		return;
	}
	nl_complete_msg(batch->sock, msg);
	memcpy(batch->bytes + batch->len, nlmsg_hdr(msg), nlmsg_hdr(msg)->nlmsg_len);
	batch->len += len;
	batch->requests[batch->count].seq = nlmsg_hdr(msg)->nlmsg_seq;
	batch->requests[batch->count++].what = what;
	nlmsg_free(msg);
}

/* The kernel's own words, where an answer carries some. */
static const char *words_of(struct nlmsghdr *answer)
{
	const size_t fixed = sizeof(struct nlmsgerr); /* CAP_ACK: without the request's body */
	struct nlattr *words = NULL;

	if ((answer->nlmsg_flags & (NLM_F_CAPPED | NLM_F_ACK_TLVS)) ==
	    (NLM_F_CAPPED | NLM_F_ACK_TLVS))
		words = nlmsg_find_attr(answer, (int)fixed, NLMSGERR_ATTR_MSG);
	return words ? nla_get_string(words) : NULL;
}

static int report(const struct batch *batch, struct nlmsghdr *answer, struct err *err)
{
	const struct nlmsgerr *result = nlmsg_data(answer);
	const char *what = "request", *words = words_of(answer);

	for (size_t i = 0; i < batch->count; i++)
		if (batch->requests[i].seq == answer->nlmsg_seq)
			what = batch->requests[i].what;
	if (words)
		return err_sys(err, -result->error, "network namespace: %s (%s)", what, words);
	return err_sys(err, -result->error, "network namespace: %s", what);
}

/* Reads answers until each request has its own; keeps the first failure. */
static int read_answers(const struct batch *batch, struct err *err)
{
	int fd = nl_socket_get_fd(batch->sock), failure = 0;
	char bytes[ANSWER_BYTES] __attribute__((aligned(NLMSG_ALIGNTO)));
	size_t answered = 0;

	while (answered < batch->count) {
		ssize_t n = recv(fd, bytes, sizeof(bytes), 0);
		struct nlmsghdr *at = (struct nlmsghdr *)bytes;
		int left = (int)n;

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return err_sys(err, n ? errno : EPIPE, "netlink: no answer");
		for (; nlmsg_ok(at, left); at = nlmsg_next(at, &left)) {
			if (at->nlmsg_type != NLMSG_ERROR)
				continue;
			answered++;
			if (((struct nlmsgerr *)nlmsg_data(at))->error && !failure)
				failure = report(batch, at, err);
		}
	}
	return failure;
}

int batch_send(struct batch *batch, struct err *err)
{
	bool failed = batch->failed;
	size_t len = batch->len;

	batch->len = 0;
	batch->failed = false;
	if (failed)
		return err_set(err, ENOMEM, "netlink: requests do not fit");
	if (nl_sendto(batch->sock, batch->bytes, len) < 0)
		return err_sys(err, errno, "netlink: send");
	return 0;
}

int batch_commit(struct batch *batch, struct err *err)
{
	int rc = batch_send(batch, err);

	if (rc == 0)
		rc = read_answers(batch, err);
	batch->count = 0;
	return rc;
}

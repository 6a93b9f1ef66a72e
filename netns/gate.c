/* SPDX-License-Identifier: Apache-2.0
 *
 * The gate: its start, its control socket, its resolver; see gate.h. Runs in: the gate's own process,
 * in the host's network. Holds: the (name, port) pairs, sockets, relayed bytes. Never has: tokens,
 * the CA key, a writable file.
 *
 * Order: the resolver's zygote is forked while forking is still allowed; it confines itself while the
 * gate does the same; what must be opened (epoll, netlink) is opened before; and only when both are
 * confined the first control message is read and anything served. The rest is one thread and one loop:
 *
 *   gate_loop     events, timers           gate_policy   which (name, port), which address
 *   gate_dns      a question, an answer    gate_names    name ↔ synthetic address
 *   gate_conn     accept, refuse           gate_dial     resolve (gate_resolve, gate_helper), connect
 *   gate_relay    splice                   gate_handout  or hand the socket over
 *   gate_audit    lines
 */
#include "netns/gate.h"

#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "netns/gate_conn.h"
#include "netns/gate_control.h"
#include "netns/gate_dns.h"

enum {
	DNS_BATCH = 64,
	TIMERS_MAX = 16384, /* two a dial and one a lookup, at most CONNS_MAX of each, and a few */
	LOOKUP_TIMEOUT_S = 9,
	CONNECT_TIMEOUT_S = 20,
};

/* What a name is to us: 0 with an address, or an rcode. */
static int look_up(struct gate *gate, const struct gate_dns_question *q, uint32_t *ret_address)
{
	if (!q->is_hostname || !gate_policy_match(&gate->policy, q->name))
		return GATE_DNS_NXDOMAIN;
	if (gate_names_address(&gate->names, q->name, ret_address) < 0)
		return GATE_DNS_REFUSED;
	return GATE_DNS_NOERROR;
}

static void audit_name(struct gate *gate, const char *name, int rcode)
{
	struct gate_event event = {
		.event = "dns",
		.verdict = rcode == GATE_DNS_NXDOMAIN ? "deny" : "error",
		.reason = rcode == GATE_DNS_NXDOMAIN ? "not_routed" : "name_table_full",
		.host = name,
	};

	if (gate_audit_first_time(&gate->audit, name))
		gate_audit_write(&gate->audit, gate->loop.now_ms, &event);
}

/* Answers one datagram; the length of the answer, 0: none. */
static size_t serve_query(struct gate *gate, const uint8_t *query, size_t len,
			  uint8_t answer[static GATE_DNS_ANSWER_MAX])
{
	struct gate_dns_question q;
	int rcode = gate_dns_parse(query, len, &q);
	uint32_t address = 0;
	bool has_address;

	if (rcode < 0)
		return 0;
	if (rcode == GATE_DNS_NOERROR) {
		rcode = look_up(gate, &q, &address);
		if (rcode != GATE_DNS_NOERROR)
			audit_name(gate, q.name, rcode);
	}
	/* AAAA, HTTPS and the rest of a known name: it exists and has none. */
	has_address = rcode == GATE_DNS_NOERROR && q.type == GATE_DNS_TYPE_A;
	address = htonl(address);
	return gate_dns_answer(&q, query, rcode, has_address ? (uint8_t *)&address : NULL, answer);
}

static void dns_ready(struct gate_source *source, uint32_t events)
{
	struct gate *gate = gate_container_of(source, struct gate, dns);
	uint8_t query[GATE_DNS_QUERY_MAX], answer[GATE_DNS_ANSWER_MAX];

	(void)events;
	for (int i = 0; i < DNS_BATCH; i++) {
		struct sockaddr_storage from;
		socklen_t from_len = sizeof(from);
		ssize_t n = recvfrom(gate->dns_fd, query, sizeof(query), MSG_DONTWAIT | MSG_TRUNC,
				     (struct sockaddr *)&from, &from_len);
		size_t len;

		if (n < 0 && errno != EINTR && errno != ECONNREFUSED)
			return;
		if (n < 0 || n > (ssize_t)sizeof(query))
			continue;
		len = serve_query(gate, query, (size_t)n, answer);
		if (len) /* a client that does not read loses its answer, as with any UDP */
			(void)sendto(gate->dns_fd, answer, len, MSG_DONTWAIT | MSG_NOSIGNAL,
				     (struct sockaddr *)&from, from_len);
	}
}

static int listen_all(struct gate *gate, int *fds, size_t count, struct err *err)
{
	for (size_t i = 0; i < count; i++) {
		int rc = gate_conn_listen(gate, take_fd(&fds[i]));

		if (rc < 0)
			return err_sys(err, -rc, "gate: listener %zu", i);
	}
	return 0;
}

static int take_sockets(struct gate *gate, int *fds, size_t count, struct err *err)
{
	int rc;

	if (gate->has_sockets || !count)
		return err_set(err, EPROTO, "gate: sockets were not awaited");
	gate->has_sockets = true;
	gate->dns_fd = take_fd(&fds[0]);
	gate->dns.ready = dns_ready;
	rc = gate_loop_add(&gate->loop, gate->dns_fd, EPOLLIN, &gate->dns);
	if (rc < 0)
		return err_sys(err, -rc, "gate: the resolver's socket");
	return listen_all(gate, fds + 1, count - 1, err);
}

static void handle_message(struct gate *gate, uint8_t kind, int *fds, size_t count)
{
	struct gate_control_reply reply = { .code = 0 };

	if (kind == GATE_MESSAGE_SOCKETS)
		reply.code = take_sockets(gate, fds, count, &reply.err);
	else
		reply.code = err_set(&reply.err, EPROTO, "gate: unknown message %u", kind);
	for (size_t i = 0; i < count; i++)
		fd_close(&fds[i]);
	/* Who does not read its replies does not get them; the gate does not wait. */
	(void)send(gate->control_fd, &reply, sizeof(reply), MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void control_ready(struct gate_source *source, uint32_t events)
{
	struct gate *gate = gate_container_of(source, struct gate, control);
	struct gate_message message;
	int fds[FD_PASS_MAX];
	size_t count = 0;
	ssize_t n = fd_recv(gate->control_fd, &message, sizeof(message), fds, FD_PASS_MAX, &count);

	(void)events;
	if (n == (ssize_t)sizeof(message))
		handle_message(gate, message.kind, fds, count);
	else /* 0, or ECONNRESET when replies were left unread: the launcher is gone */
		gate_loop_stop(&gate->loop, n == 0 || n == -ECONNRESET ? 0 : (int)n);
}

/* The terminal's signals go to its whole foreground group; the gate ends by its control socket. */
static void ignore_signals(void)
{
	static const int ignored[] = {
		SIGINT, SIGQUIT, SIGHUP, SIGPIPE, SIGTSTP, SIGTTIN, SIGTTOU
	};

	for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
		signal(ignored[i], SIG_IGN);
}

static size_t raise_descriptor_limit(void)
{
	struct rlimit limit = { .rlim_cur = 1024, .rlim_max = 1024 };

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
		rlim_t soft = limit.rlim_cur;

		limit.rlim_cur = limit.rlim_max;
		if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
			limit.rlim_cur = soft;
	}
	return limit.rlim_cur;
}

static void gate_clear(struct gate *gate)
{
	gate->loop.is_stopping = true;
	gate_handouts_close(gate);
	gate_conn_close_all(gate);
	gate_resolver_free(gate->resolver);
	gate_pipes_clear(&gate->pipes);
	gate_names_clear(&gate->names);
	gate_policy_clear(&gate->policy);
	fd_close(&gate->dialer.route_fd);
	fd_close(&gate->dns_fd);
	gate_loop_clear(&gate->loop);
}

/* Everything that needs power the confined gate does not have. */
static int open_all(struct gate *gate, const struct gate_config *config, struct err *err)
{
	unsigned lookup_s = config->lookup_timeout_s ? config->lookup_timeout_s : LOOKUP_TIMEOUT_S;
	unsigned connect_s = config->connect_timeout_s ? config->connect_timeout_s
						       : CONNECT_TIMEOUT_S;

	TRY(gate_resolver_start(config->confine.resolver, lookup_s, &gate->resolver, err));
	TRY(gate_loop_init(&gate->loop, TIMERS_MAX, err));
	TRY(gate_policy_init(&gate->policy, config->targets, config->target_count, err));
	TRY(gate_names_init(&gate->names,
			    config->synthetic_base ? config->synthetic_base : GATE_SYNTHETIC_BASE,
			    err));
	TRY(gate_route_open(&gate->dialer.route_fd, err));
	TAILQ_INIT(&gate->conns);
	gate_audit_init(&gate->audit, config->audit_fd, config->run_id);
	gate->dialer.loop = &gate->loop;
	gate->dialer.groups = &gate->groups;
	gate->dialer.resolver = gate->resolver;
	gate->dialer.lookup_timeout_ms = lookup_s * 1000;
	gate->dialer.connect_timeout_ms = connect_s * 1000;
	gate_dialer_init(&gate->dialer);
	return 0;
}

/* Names that are routed exactly get their address now: a flood of wildcard names cannot crowd them out. */
static int reserve_names(struct gate *gate, struct err *err)
{
	for (size_t i = 0; i < gate->policy.count; i++) {
		uint32_t address;
		int rc = gate->policy.targets[i].host[0] == '*'
				 ? 0
				 : gate_names_address(&gate->names, gate->policy.targets[i].host,
						      &address);

		if (rc < 0)
			return err_sys(err, -rc, "gate: a synthetic address for '%.64s'",
				       gate->policy.targets[i].host);
	}
	return 0;
}

static int serve(struct gate *gate, const struct gate_config *config, struct err *err)
{
	int rc;

	TRY(open_all(gate, config, err));
	TRY(reserve_names(gate, err));
	if (config->audit_fd >= 0)
		TRY(gate_set_nonblocking(config->audit_fd));
	rc = gate_handouts_init(gate, config->handout_fd ? config->handout_fd : -1);
	if (rc < 0)
		return err_sys(err, -rc, "gate: the proxy's channel");
	if (config->confine.gate)
		TRY(config->confine.gate(err));
	TRY(gate_resolver_attach(gate->resolver, &gate->loop, &gate->groups, err));
	gate->control.ready = control_ready;
	rc = gate_loop_add(&gate->loop, gate->control_fd, EPOLLIN, &gate->control);
	if (rc == 0)
		rc = gate_handouts_start(gate);
	if (rc == 0)
		rc = gate_loop_run(&gate->loop);
	gate_audit_finish(&gate->audit);
	return rc < 0 ? err_sys(err, -rc, rc == -EPIPE ? "gate: the resolver died" : "gate: loop")
		      : 0;
}

int gate_run(const struct gate_config *config, struct err *err)
{
	struct gate gate = {
		.control_fd = config->control_fd,
		.handouts.fd = -1,
		.dns_fd = -1,
		.loop.epoll_fd = -1,
		.dialer.route_fd = -1,
	};
	int keep[] = { config->control_fd, config->audit_fd,
		       config->handout_fd }; /* 0 is kept anyway */
	int rc = fd_close_except(keep, 3);

	if (rc < 0)
		return err_sys(err, -rc, "gate: closing what it was born with");
	ignore_signals();
	gate_conn_limits(&gate, raise_descriptor_limit());
	rc = serve(&gate, config, err);
	gate_clear(&gate);
	return rc;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Connections; see gate_conn.h. Runs in: the gate. Holds: the accepted sockets.
 *
 *   accept ─▶ getsockname: which address was dialled ─▶ its name ─▶ is (name, port) on a route?
 *     no ──▶ RST, one audit line            yes ─▶ dial ─▶ failed: RST, one audit line
 *                                                       └▶ connected: relay until both sides ended
 *
 * What bounds it: conn_max connections, three quarters of them for one routed host; ACCEPTS a second.
 * At a bound the listeners leave the loop, so the kernel's backlog holds the rest and nothing spins.
 */
#include "netns/gate_conn.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"

enum {
	CONNS_MAX = 4096,
	CONN_FDS = 6, /* two sockets, two pipes while both directions are held up */
	ATTEMPTS_MAX = 512,
	RESERVED_FDS = 64,
	ACCEPT_BATCH = 64,
	ACCEPTS_PER_S = 1024,
	ACCEPT_BURST = 4096,
	RESUME_MS = 100,
};

struct gate_conn {
	struct gate_grave grave;
	TAILQ_ENTRY(gate_conn) entry;
	struct gate *gate;
	struct gate_group *group;
	struct gate_source client; /* while dialling: a client that resets cancels the dial */
	int client_fd;
	struct gate_dial *dial; /* while dialling */
	struct gate_relay relay;
	bool is_relaying;
	uint16_t port;
	char host[]; /* the name, or the literal's text */
};

void gate_conn_limits(struct gate *gate, size_t descriptors)
{
	size_t attempts = descriptors / 8 < ATTEMPTS_MAX ? descriptors / 8 : ATTEMPTS_MAX;
	size_t used = attempts + RESERVED_FDS;
	size_t conns = descriptors > used ? (descriptors - used) / CONN_FDS : 0;

	gate->dialer.attempts_max = attempts ? attempts : 1;
	gate->conn_max = conns < CONNS_MAX ? conns : CONNS_MAX;
	if (!gate->conn_max)
		gate->conn_max = 1;
}

static void listener_ready(struct gate_source *source, uint32_t events);

static void accept_pause(struct gate *gate)
{
	for (size_t i = 0; i < gate->listener_count && gate->is_accepting; i++)
		gate_loop_remove(&gate->loop, gate->listeners[i].fd, &gate->listeners[i].source);
	gate->is_accepting = false;
}

static void accept_resume(struct gate *gate)
{
	bool failed = false;

	if (gate->is_accepting || gate->conn_count >= gate->conn_max || gate->loop.is_stopping)
		return;
	for (size_t i = 0; i < gate->listener_count; i++) {
		struct gate_listener *l = &gate->listeners[i];

		l->source.ready = listener_ready;
		failed = gate_loop_add(&gate->loop, l->fd, EPOLLIN, &l->source) < 0 || failed;
	}
	gate->is_accepting = true;
	if (failed) { /* no memory for the registration: as if out of descriptors */
		accept_pause(gate);
		gate_timer_set(&gate->loop, &gate->resume, RESUME_MS);
	}
}

static void resume_timer(struct gate_timer *timer)
{
	accept_resume(gate_container_of(timer, struct gate, resume));
}

struct gate_group *gate_conn_reserve(struct gate *gate, const char *routed_host)
{
	struct gate_group *group = gate_group_get(&gate->groups, routed_host);

	if (!group || gate->conn_count >= gate->conn_max ||
	    group->conns >= gate_group_share(gate->conn_max)) {
		gate_group_put(&gate->groups, group);
		return NULL;
	}
	gate->conn_count++;
	group->conns++;
	return group;
}

void gate_conn_release(struct gate *gate, struct gate_group *group)
{
	gate->conn_count--;
	group->conns--;
	gate_group_put(&gate->groups, group);
	if (!gate->resume.slot)
		accept_resume(gate);
}

static void conn_end(struct gate_conn *conn)
{
	struct gate *gate = conn->gate;

	if (conn->dial)
		gate_dial_cancel(conn->dial);
	if (conn->is_relaying)
		gate_relay_abort(&conn->relay);
	if (conn->client_fd >= 0)
		gate_loop_remove(&gate->loop, conn->client_fd, &conn->client);
	gate_reset(&conn->client_fd);
	TAILQ_REMOVE(&gate->conns, conn, entry);
	gate_conn_release(gate, conn->group);
	gate_loop_bury(&gate->loop, &conn->grave);
}

void gate_conn_close_all(struct gate *gate)
{
	while (!TAILQ_EMPTY(&gate->conns))
		conn_end(TAILQ_FIRST(&gate->conns));
	for (size_t i = 0; i < gate->listener_count; i++)
		fd_close(&gate->listeners[i].fd);
}

static void relay_done(struct gate_relay *relay, int error)
{
	struct gate_conn *conn = gate_container_of(relay, struct gate_conn, relay);
	struct gate *gate = conn->gate;

	conn->is_relaying = false;
	if (error == EMFILE || error == ENFILE || error == ENOMEM)
		gate_audit_write(&gate->audit, gate->loop.now_ms,
				 &(struct gate_event){ .verdict = "error",
						       .reason = "out_of_descriptors",
						       .host = conn->host,
						       .port = conn->port,
						       .detail = strerrorname_np(error) });
	conn_end(conn);
}

void gate_conn_log(struct gate *gate, const char *host, uint16_t port,
		   const struct gate_dial_result *result)
{
	char text[ADDRESS_TEXT_BYTES];

	gate_audit_write(&gate->audit, gate->loop.now_ms,
			 &(struct gate_event){
				 .verdict = result->verdict,
				 .reason = result->reason,
				 .detail = result->detail,
				 .host = host,
				 .port = port,
				 .address = result->ip ? address_format(result->ip, text) : NULL,
			 });
}

static void dial_done(void *ctx, const struct gate_dial_result *result)
{
	struct gate_conn *conn = ctx;
	struct gate *gate = conn->gate;

	conn->dial = NULL;
	if (result->fd < 0) {
		gate_conn_log(gate, conn->host, conn->port, result);
		conn_end(conn);
		return;
	}
	gate_loop_remove(&gate->loop, conn->client_fd, &conn->client);
	conn->is_relaying = gate_relay_start(&conn->relay, &gate->loop, &gate->pipes,
					     take_fd(&conn->client_fd), result->fd,
					     relay_done) == 0;
	if (!conn->is_relaying)
		conn_end(conn);
}

/* While dialling only a reset counts: a client may well have sent all it has and closed its half. */
static void client_ready(struct gate_source *source, uint32_t events)
{
	if (events & (EPOLLERR | EPOLLHUP))
		conn_end(gate_container_of(source, struct gate_conn, client));
}

static struct gate_conn *conn_new(struct gate *gate, struct gate_group *group, const char *host,
				  uint16_t port)
{
	size_t size = strlen(host) + 1;
	struct gate_conn *conn = calloc(1, sizeof(*conn) + size);

	if (!conn)
		return NULL;
	memcpy(conn->host, host, size);
	conn->gate = gate;
	conn->group = group;
	conn->port = port;
	conn->client_fd = -1;
	conn->client.ready = client_ready;
	TAILQ_INSERT_TAIL(&gate->conns, conn, entry);
	return conn;
}

int gate_conn_request(const struct gate_target *target, const char *host, uint16_t port,
		      const struct address *literal, struct gate_group *group,
		      struct address *named, struct gate_dial_request *ret_request)
{
	*ret_request = (struct gate_dial_request){
		.name = host,
		.address = literal,
		.group = group,
		.port = port,
		.allow_private = target->allow_private,
	};
	if (!target->address)
		return 0;
	if (!address_parse(target->address, named))
		return -EINVAL; /* gate_policy_init has checked */
	ret_request->address = named;
	ret_request->is_named = true;
	if (target->address_port)
		ret_request->port = target->address_port;
	return 0;
}

static int conn_dial(struct gate_conn *conn, const struct gate_target *target,
		     const struct address *literal)
{
	struct gate *gate = conn->gate;
	struct gate_dial_request request;
	struct address named;

	TRY(gate_conn_request(target, conn->host, conn->port, literal, conn->group, &named,
			      &request));
	TRY(gate_loop_add(&gate->loop, conn->client_fd, 0, &conn->client)); /* ERR and HUP */
	conn->dial = gate_dial_start(&gate->dialer, &request, dial_done, conn);
	return conn->dial ? 0 : -ENOMEM;
}

static void refuse(struct gate *gate, int *fd, const char *verdict, const char *reason,
		   const char *host, uint16_t port, const struct address *ip)
{
	char text[ADDRESS_TEXT_BYTES];

	gate_reset(fd);
	gate_audit_write(&gate->audit, gate->loop.now_ms,
			 &(struct gate_event){
				 .verdict = verdict,
				 .reason = reason,
				 .host = host,
				 .port = port,
				 .address = ip ? address_format(ip, text) : NULL,
			 });
}

/* Starts the connection, or says why not: the descriptor is taken in every case. */
static void conn_start(struct gate *gate, int fd, const struct gate_target *target,
		       const char *host, uint16_t port, const struct address *literal)
{
	cleanup_fd int client_fd = fd;
	struct gate_group *group = gate_conn_reserve(gate, target->host);
	struct gate_conn *conn = group ? conn_new(gate, group, host, port) : NULL;

	if (!conn) {
		refuse(gate, &client_fd, "error", "busy", host, port, NULL);
		if (group)
			gate_conn_release(gate, group);
		return;
	}
	conn->client_fd = take_fd(&client_fd);
	if (conn_dial(conn, target, literal) < 0)
		conn_end(conn);
}

/* The address that the proxy dialled says what it meant: a synthetic one its name, any other itself. */
static void accepted(struct gate *gate, int fd)
{
	struct sockaddr_storage ss = { 0 };
	socklen_t len = sizeof(ss);
	const struct gate_target *target;
	char text[ADDRESS_TEXT_BYTES];
	bool is_synthetic = false;
	const char *host = text;
	struct address ip;
	uint32_t v4 = 0;
	uint16_t port;

	if (getsockname(fd, (struct sockaddr *)&ss, &len) < 0 ||
	    !address_from_sockaddr((struct sockaddr *)&ss, &ip)) {
		gate_reset(&fd);
		return;
	}
	port = ntohs(ss.ss_family == AF_INET ? ((struct sockaddr_in *)&ss)->sin_port
					     : ((struct sockaddr_in6 *)&ss)->sin6_port);
	address_format(&ip, text);
	if (ip.len == 4) {
		memcpy(&v4, ip.bytes, 4);
		v4 = ntohl(v4);
		is_synthetic = gate_names_in_range(&gate->names, v4);
		if (is_synthetic)
			host = gate_names_at(&gate->names, v4);
	}
	target = host ? gate_policy_find(&gate->policy, host, port) : NULL;
	if (target)
		conn_start(gate, fd, target, host, port, is_synthetic ? NULL : &ip);
	else
		refuse(gate, &fd, "deny", "not_routed", host ? host : text, port, &ip);
}

bool gate_conn_take(struct gate *gate)
{
	uint64_t now = gate->loop.now_ms;
	uint64_t more = (now - gate->refilled_ms) * ACCEPTS_PER_S / 1000;

	if (more) {
		gate->refilled_ms = now;
		gate->accepts = more > ACCEPT_BURST - gate->accepts
					? ACCEPT_BURST
					: gate->accepts + (unsigned)more;
	}
	if (!gate->accepts)
		return false;
	gate->accepts--;
	return true;
}

static void listener_ready(struct gate_source *source, uint32_t events)
{
	struct gate_listener *l = gate_container_of(source, struct gate_listener, source);
	struct gate *gate = l->gate;

	(void)events;
	for (int i = 0; i < ACCEPT_BATCH && gate->is_accepting; i++) {
		bool is_full = gate->conn_count >= gate->conn_max;
		int fd;

		if (is_full || !gate_conn_take(gate)) {
			accept_pause(gate);
			if (!is_full)
				gate_timer_set(&gate->loop, &gate->resume, RESUME_MS);
			return;
		}
		fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd >= 0) {
			accepted(gate, fd);
			continue;
		}
		gate->accepts++;
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
			accept_pause(gate);
			gate_timer_set(&gate->loop, &gate->resume, RESUME_MS);
		}
		if (errno != ECONNABORTED && errno != EINTR)
			return;
	}
}

int gate_conn_listen(struct gate *gate, int listener_fd)
{
	struct gate_listener *l = &gate->listeners[gate->listener_count];
	cleanup_fd int fd = listener_fd;

	if (gate->listener_count == GATE_LISTENERS_MAX)
		return -ENOSPC;
	TRY(gate_set_nonblocking(fd));
	*l = (struct gate_listener){ .gate = gate, .fd = take_fd(&fd) };
	gate->resume.fired = resume_timer;
	accept_pause(gate);
	gate->listener_count++;
	accept_resume(gate);
	return 0;
}

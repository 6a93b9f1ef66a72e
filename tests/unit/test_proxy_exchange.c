/* SPDX-License-Identifier: Apache-2.0
 * The seam: one exchange between a client's side and a server's side that are made of notes. The pool is
 * the real one; it holds one idle connection, which is the fake server's. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "proxy/exchange.h"
#include "proxy/reload.h"
#include "proxy/upstream.h"

#define HOST "api.example.com"

/* ---- the client's side ---- */

struct client {
	struct downstream down;
	unsigned heads, interims, dones, aborts, spaces;
	unsigned status;
	bool ended_at_once, closes, ends_connection;
	char body[4096];
	size_t body_len;
	bool is_slow; /* leaves the body in the pipe */
};

static void client_head(void *stream, const struct response *response, bool ends)
{
	struct client *client = stream;

	if (response->status < 200) {
		client->interims++;
		return;
	}
	client->heads++;
	client->status = response->status;
	client->ended_at_once = ends;
	client->ends_connection = response->ends_connection;
}

static void client_body(void *stream)
{
	struct client *client = stream;
	struct exchange *exchange = client->down.exchange;
	struct pipe *pipe = &exchange->answer_body;
	size_t len = pipe->len;

	if (client->is_slow)
		return;
	cr_assert_leq(client->body_len + len, sizeof(client->body));
	if (len)
		memcpy(client->body + client->body_len, pipe->data + pipe->start, len);
	client->body_len += len;
	pipe_consume(pipe, len);
	exchange_answer_space(exchange);
}

static void client_space(void *stream)
{
	((struct client *)stream)->spaces++;
}

static void client_abort(void *stream)
{
	((struct client *)stream)->aborts++;
}

static void client_done(void *stream, bool close_after)
{
	struct client *client = stream;

	client->dones++;
	client->closes = close_after;
}

static const struct downstream_ops client_ops = {
	client_head, client_body, client_space, client_abort, client_done,
};

/* ---- the server's side ---- */

static struct server {
	struct upstream up;
	unsigned takes, readies, spaces, aborts;
} server;

static void server_send(void *stream)
{
	(void)stream;
}

static void server_ready(void *stream)
{
	(void)stream;
	server.readies++;
}

static void server_space(void *stream)
{
	(void)stream;
	server.spaces++;
}

static void server_abort(void *stream)
{
	(void)stream;
	server.aborts++;
}

static const struct upstream_ops server_ops = { server_send, server_ready, server_space,
						server_abort };

static void server_take(struct upstream_conn *conn, struct exchange *exchange)
{
	(void)conn;
	server.takes++;
	server.up = (struct upstream){ &server_ops, &server, exchange };
	exchange->up = &server.up;
}

static bool server_has_room(const struct upstream_conn *conn)
{
	(void)conn;
	return !server.up.exchange;
}

static void server_nothing(struct upstream_conn *conn)
{
	(void)conn;
}

static const struct upstream_conn_ops conn_ops = { server_nothing, server_nothing, server_take,
						   server_has_room, NULL };

/* ---- the world ---- */

static struct tokens tokens;
static struct settings settings = { .listen_fd = -1, .gate_fd = -1 };
static char path[] = "/tmp/test_proxy_exchange.XXXXXX";
static int audit_fd;
static struct client client;
/* The pool has it while it is idle; at the end of a test it need not be, and nothing else reads this. */
static struct upstream_conn *volatile conn;

static void make_world(void)
{
	static const char routes[] = "version: 1\nroutes:\n  - host: " HOST
				     "\n    ports: [443]\n    path_allowlist: [\"/v1/\"]\n";
	struct upstream_key key = { .place = { HOST, 443 }, .is_https = true };
	struct err err = { "" };
	int fd = mkstemp(path);

	cr_assert_eq(write(fd, routes, sizeof(routes) - 1), (ssize_t)sizeof(routes) - 1);
	close(fd);
	settings.routes_path = path;
	proxy_settings = &settings;
	proxy_tokens = &tokens;
	audit_fd = memfd_create("audit", MFD_CLOEXEC);
	audit_start(audit_fd);
	cr_assert_eq(loop_init(&err), 0, "%s", err.text);
	cr_assert_eq(reload_init(&settings, &err), 0, "%s", err.text);
	unlink(path);
	key.route = routetable_find(routes_now(), HOST, 443);
	pool_hash(&key);
	conn = upstream_new(&key);
	conn->ops = &conn_ops;
	conn->is_opened = true;
	pool_release(conn, true);
	client = (struct client){ .down = { &client_ops, &client, NULL } };
	server = (struct server){ 0 };
}

static void stop(struct task *task)
{
	(void)task;
	loop_stop();
}

/* Lets the tasks run that are due, and those that they defer. */
static void settle(void)
{
	struct err err = { "" };

	for (int i = 0; i < 3; i++) {
		struct task last = { .run = stop };
		loop_defer(&last);
		cr_assert_eq(loop_run(&err), 0, "%s", err.text);
	}
}

/* The log so far. */
static const char *lines(unsigned *ret_count)
{
	static char text[16384];
	ssize_t n = pread(audit_fd, text, sizeof(text) - 1, 0);

	text[n] = '\0';
	*ret_count = 0;
	for (const char *at = text; (at = strchr(at, '\n')); at++)
		++*ret_count;
	return text;
}

static void has_line(const char *part)
{
	unsigned count;
	const char *text = lines(&count);

	cr_assert_eq(count, 1, "%s", text);
	cr_assert_not_null(strstr(text, part), "no %s in %s", part, text);
}

static struct authority place = { HOST, 443 };

static void begin(const char *method, const char *target, enum body_kind body, struct field *fields,
		  size_t count)
{
	struct request request = {
		.is_https = true,
		.is_http11 = true,
		.method = { method, strlen(method) },
		.target = { target, strlen(target) },
		.named = { { HOST, 0 } },
		.named_count = 1,
		.connect = &place,
		.fields = { fields, count },
		.body = body,
		.content_length = body == BODY_LENGTH ? 100 : 0,
	};

	exchange_begin(&client.down, &request);
}

static void put(struct pipe *pipe, const char *text)
{
	size_t room, len = strlen(text);
	uint8_t *to = pipe_room(pipe, &room);

	cr_assert_geq(room, len);
	memcpy(to, text, len);
	pipe_commit(pipe, len);
}

static void answer(unsigned status, bool ends)
{
	struct response response = { .status = status, .body = ends ? BODY_NONE : BODY_CHUNKED };

	exchange_answer_head(server.up.exchange, &response, ends);
}

/* As a server's side does with the last of an answer. */
static void end_answer(const char *text)
{
	struct exchange *exchange = server.up.exchange;

	put(&exchange->answer_body, text);
	exchange->answer_body.ended = true;
	exchange_answer_ready(exchange);
	server.up.exchange = NULL;
	exchange_upstream_done(exchange);
}

/* ---- tests ---- */

Test(exchange, carries_a_request_and_its_answer, .init = make_world)
{
	struct field fields[] = {
		{ SPAN("Host"), SPAN(HOST) },
		{ SPAN("Authorization"), SPAN("Bearer mine") },
		{ SPAN("Connection"), SPAN("X-Drop") },
		{ SPAN("X-Drop"), SPAN("1") },
		{ SPAN("Accept"), SPAN("*/*") },
	};

	begin("GET", "/v1/a?q=1", BODY_NONE, fields, 5);
	cr_assert_eq(server.takes, 1);
	const struct request *request = &server.up.exchange->request;
	cr_assert_eq(request->fields.count, 1);
	cr_assert_eq(memcmp(request->fields.items[0].name.at, "Accept", 6), 0);
	cr_assert_neq(request->fields.items[0].name.at, fields[4].name.at, "it is a copy");
	answer(200, false);
	end_answer("hello");
	cr_assert_eq(client.dones, 0, "done comes by a task");
	settle();
	cr_assert_eq(client.dones, 1);
	cr_assert_not(client.closes);
	cr_assert_null(client.down.exchange);
	cr_assert_eq(client.body_len, 5);
	cr_assert_eq(server.aborts, 0);
	has_line("\"verdict\":\"allow\"");
	has_line("\"bytes_down\":5");
}

Test(exchange, answers_a_refusal_at_once, .init = make_world)
{
	begin("GET", "/v2", BODY_NONE, NULL, 0);
	cr_assert_eq(client.status, 403);
	cr_assert_not(client.ends_connection);
	settle();
	cr_assert_eq(server.takes, 0);
	cr_assert_eq(client.dones, 1);
	cr_assert_not(client.closes);
	client.body[client.body_len] = '\0';
	cr_assert_not_null(strstr(client.body, "path_not_allowed"));
	has_line("\"reason\":\"path_not_allowed\"");
}

Test(exchange, ends_the_connection_of_a_refused_body, .init = make_world)
{
	begin("POST", "/v2", BODY_LENGTH, NULL, 0);
	cr_assert_eq(client.status, 403);
	cr_assert(client.ends_connection);
	settle();
	cr_assert(client.closes);
}

Test(exchange, answers_head_without_a_body, .init = make_world)
{
	begin("HEAD", "/v2", BODY_NONE, NULL, 0);
	settle();
	cr_assert_eq(client.status, 403);
	cr_assert(client.ended_at_once);
	cr_assert_eq(client.body_len, 0);
	cr_assert_eq(client.dones, 1);
}

Test(exchange, tells_why_a_server_failed, .init = make_world)
{
	begin("GET", "/v1/a", BODY_NONE, NULL, 0);
	exchange_upstream_failed(server.up.exchange, 0, "upstream_closed", "gone");
	cr_assert_eq(client.status, 502);
	settle();
	cr_assert_eq(client.dones, 1);
	cr_assert_eq(server.aborts, 0, "it had let go");
	has_line("\"reason\":\"upstream_closed\"");
	has_line("\"status\":502");
}

Test(exchange, never_ends_a_broken_answer, .init = make_world)
{
	begin("GET", "/v1/a", BODY_NONE, NULL, 0);
	answer(200, false);
	put(&server.up.exchange->answer_body, "half");
	exchange_answer_ready(server.up.exchange);
	exchange_upstream_failed(server.up.exchange, 0, "upstream_closed", "gone");
	cr_assert_eq(client.aborts, 0, "abort comes by a task");
	settle();
	cr_assert_eq(client.aborts, 1);
	cr_assert_eq(client.dones, 0);
	cr_assert_eq(client.heads, 1);
	has_line("\"verdict\":\"error\"");
	has_line("\"status\":200");
}

Test(exchange, leaves_the_server_when_the_client_is_gone, .init = make_world)
{
	begin("GET", "/v1/a", BODY_NONE, NULL, 0);
	exchange_client_gone(client.down.exchange);
	cr_assert_null(client.down.exchange);
	answer(200, false);
	put(&server.up.exchange->answer_body, "late");
	exchange_answer_ready(server.up.exchange);
	settle();
	cr_assert_eq(server.aborts, 1);
	cr_assert_null(server.up.exchange);
	cr_assert_eq(client.heads + client.dones + client.aborts, 0);
	has_line("\"reason\":\"client_closed\"");
}

Test(exchange, leaves_a_server_that_answers_early, .init = make_world)
{
	begin("POST", "/v1/a", BODY_LENGTH, NULL, 0);
	answer(413, true);
	settle();
	cr_assert_eq(server.aborts, 1);
	cr_assert_eq(client.dones, 1);
	cr_assert(client.closes, "the rest of the body is still to come");
	has_line("\"verdict\":\"allow\"");
}

Test(exchange, passes_100_on_once, .init = make_world)
{
	begin("POST", "/v1/a", BODY_LENGTH, NULL, 0);
	server.up.exchange->request.expects_continue = true;
	answer(100, false);
	answer(100, false);
	cr_assert_eq(client.interims, 1);
}

Test(exchange, passes_a_body_on_and_asks_for_more, .init = make_world)
{
	begin("POST", "/v1/a", BODY_CHUNKED, NULL, 0);
	struct exchange *exchange = client.down.exchange;
	put(&exchange->request_body, "data");
	exchange_request_ready(exchange);
	cr_assert_eq(server.readies, 1);
	pipe_consume(&exchange->request_body, 4);
	exchange_request_space(exchange);
	cr_assert_eq(client.spaces, 0, "space is told by a task");
	settle();
	cr_assert_eq(client.spaces, 1);
	exchange->request_body.ended = true;
	answer(200, true);
	settle();
	has_line("\"bytes_up\":4");
}

Test(exchange, answers_a_body_that_breaks_the_rules, .init = make_world)
{
	begin("POST", "/v1/a", BODY_CHUNKED, NULL, 0);
	exchange_bad_request(&client.down, &place, 400, "bad_chunk", "no number");
	cr_assert_eq(client.status, 400);
	settle();
	cr_assert_eq(server.aborts, 1);
	cr_assert(client.closes);
	has_line("\"reason\":\"bad_chunk\"");
}

Test(exchange, waits_for_a_slow_client, .init = make_world)
{
	client.is_slow = true;
	begin("GET", "/v1/a", BODY_NONE, NULL, 0);
	answer(200, false);
	end_answer("hello");
	settle();
	cr_assert_eq(client.dones, 0);
	client.is_slow = false;
	client_body(&client);
	settle();
	cr_assert_eq(client.dones, 1);
}

Test(exchange, ends_a_websocket_with_both_of_its_directions, .init = make_world)
{
	struct field fields[] = {
		{ SPAN("Connection"), SPAN("Upgrade") },
		{ SPAN("Upgrade"), SPAN("websocket") },
		{ SPAN("Sec-WebSocket-Version"), SPAN("13") },
		{ SPAN("Sec-WebSocket-Key"), SPAN("dGhlIHNhbXBsZSBub25jZQ==") },
	};
	unsigned count;

	begin("GET", "/v1/ws", BODY_NONE, fields, 4);
	struct exchange *exchange = client.down.exchange;
	cr_assert(exchange->verdict.is_websocket);
	answer(101, false);
	has_line("\"protocol\":\"websocket\"");
	cr_assert_eq(client.interims, 1);
	cr_assert_not(exchange->request_body.ended);
	end_answer("frame");
	settle();
	cr_assert_eq(client.dones, 0, "the client's direction is open");
	exchange->request_body.ended = true;
	exchange_request_space(exchange);
	settle();
	cr_assert_eq(client.dones, 1);
	cr_assert(client.closes);
	cr_assert_not_null(strstr(lines(&count), "websocket_end"));
	cr_assert_eq(count, 2);
}

Test(exchange, sends_again_only_what_may_be_sent_twice, .init = make_world)
{
	begin("POST", "/v1/a", BODY_NONE, NULL, 0);
	struct exchange *exchange = server.up.exchange;
	server.up.exchange = NULL;
	cr_assert_not(exchange_retry(exchange));
	exchange_upstream_failed(exchange, 0, "upstream_closed", "gone");
	settle();
	has_line("upstream_closed");
}

Test(exchange, names_those_that_the_end_cuts_off, .init = make_world)
{
	begin("GET", "/v1/a", BODY_NONE, NULL, 0);
	exchange_end_all();
	has_line("\"reason\":\"proxy_ended\"");
}

Test(pipe, takes_what_it_promises)
{
	struct pipe pipe = { 0 };
	size_t total = 0, room;
	uint8_t *to;

	while ((to = pipe_room(&pipe, &room)) && room) {
		size_t len = room < 1000 ? room : 1000;
		for (size_t i = 0; i < len; i++)
			to[i] = (uint8_t)((total + i) * 7);
		pipe_commit(&pipe, len);
		total += len;
	}
	cr_assert_eq(total, PIPE_BYTES);
	pipe_consume(&pipe, 1);
	pipe_room(&pipe, &room);
	cr_assert_eq(room, 1);
	for (size_t i = 0; i < pipe.len; i++)
		cr_assert_eq(pipe.data[pipe.start + i], (uint8_t)((i + 1) * 7));
	pipe_consume(&pipe, pipe.len);
	cr_assert_null(pipe.data, "an empty pipe holds no memory");
}

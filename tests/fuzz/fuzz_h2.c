/* SPDX-License-Identifier: Apache-2.0
 *
 * libFuzzer target of a client's HTTP/2: frames through nghttp2 into client_h2.c, which is included here
 * with stand-ins for the connection and the exchange. Beyond not crashing: what begins an exchange keeps
 * RFC 9113's rules, a body has the length that was said, a pipe its bound, and each exchange is told of its
 * end, once.
 *
 * The input: one byte that seeds what the exchanges do, then (length, bytes) slices of what the
 * client sends after its preface and SETTINGS.
 */
#define client_h2_start	       fuzzed_client_h2_start
#define client_close	       fuzzed_client_close
#define client_linger	       fuzzed_client_linger
#define client_defer	       fuzzed_client_defer
#define client_set_deadline    fuzzed_client_set_deadline
#define exchange_begin	       fuzzed_exchange_begin
#define exchange_refuse	       fuzzed_exchange_refuse
#define exchange_bad_request   fuzzed_exchange_bad_request
#define exchange_request_ready fuzzed_exchange_request_ready
#define exchange_answer_space  fuzzed_exchange_answer_space
#define exchange_client_gone   fuzzed_exchange_client_gone
#include "proxy/client_h2.c"

#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct client client;
static struct exchange all = { .next = &all, .prev = &all };
static unsigned chance;
static bool is_deferred;

static void require(bool holds)
{
	if (!holds)
		abort();
}

static unsigned draw(unsigned below)
{
	chance = chance * 1103515245 + 12345;
	return (chance >> 16) % below;
}

/* The connection. */

void client_close(struct client *c)
{
	if (c->is_closed)
		return;
	c->is_closed = true;
	c->ops->clear(c);
	io_close(&c->io);
}

void client_linger(struct client *c)
{
	client_close(c);
}

void client_defer(struct client *c)
{
	is_deferred |= !c->is_closed;
}

void client_set_deadline(struct client *c, uint64_t after_ms)
{
	const struct client_h2 *conn = c->protocol;

	/* What lasts has a deadline: of its own, or of its streams. */
	require(after_ms > 0 || conn->link.sweep.heap_at);
}

/* The exchange. */

static void free_exchange(struct exchange *exchange)
{
	exchange->next->prev = exchange->prev;
	exchange->prev->next = exchange->next;
	pipe_clear(&exchange->request_body);
	pipe_clear(&exchange->answer_body);
	free(exchange);
}

static struct exchange *add(struct downstream *down)
{
	struct exchange *exchange = calloc(1, sizeof(*exchange));

	require(exchange && !down->exchange);
	exchange->down = down;
	down->exchange = exchange;
	exchange->next = &all;
	exchange->prev = all.prev;
	all.prev->next = exchange;
	all.prev = exchange;
	return exchange;
}

static void check_field(const struct field *field)
{
	require(field->name.len > 0 && field->name.at[0] != ':');
	require(!h2_is_connection_specific(field->name));
	for (size_t i = 0; i < field->name.len; i++)
		require(field->name.at[i] < 'A' || field->name.at[i] > 'Z');
	if (field->value.len)
		require(field->value.at[0] != ' ' && field->value.at[field->value.len - 1] != ' ');
}

void exchange_begin(struct downstream *down, const struct request *request)
{
	size_t bytes = request->method.len + request->target.len;
	struct exchange *exchange = add(down);

	require(request->is_https && request->is_http2 && request->method.len &&
		request->target.len && request->named_count > 0 && request->named_count <= 2);
	require(request->fields.count <= H2_FIELDS_MAX);
	for (size_t i = 0; i < request->fields.count; i++) {
		check_field(&request->fields.items[i]);
		bytes += request->fields.items[i].name.len + request->fields.items[i].value.len;
	}
	require(bytes <= H2_LIST_BYTES);
	exchange->request.body = request->body;
	exchange->request.content_length = request->content_length;
	exchange->request_body.ended = request->body == BODY_NONE ||
				       (request->body == BODY_LENGTH && !request->content_length);
}

static void respond(struct exchange *exchange, unsigned status)
{
	struct field fields[] = { { SPAN("X-A"), SPAN("b") }, { SPAN("Connection"), SPAN("x") } };
	struct response response = { .status = status, .fields = { fields, 2 } };
	bool ends = status >= 200 && !draw(3);

	if (status >= 200)
		exchange->is_answered = true;
	exchange->answer_body.ended |= ends;
	exchange->down->ops->send_response(exchange->down->stream, &response, ends);
}

void exchange_refuse(struct downstream *down, const struct request *request,
		     const struct verdict *verdict)
{
	require(request->is_https && (verdict->status == 400 || verdict->status == 431));
	respond(add(down), verdict->status);
}

void exchange_bad_request(struct downstream *down, const struct authority *connect, unsigned status,
			  const char *reason, const char *detail)
{
	require(connect == &client.connect && status == 400 && *reason && *detail);
	if (!down->exchange)
		return;
	if (down->exchange->is_answered)
		down->exchange->is_aborted = true;
	else
		respond(down->exchange, status);
}

static void check_body(const struct exchange *exchange)
{
	const struct pipe *pipe = &exchange->request_body;

	require(pipe->len <= PIPE_WIDE_BYTES);
	if (exchange->request.body != BODY_LENGTH)
		return;
	require(pipe->total_bytes <= exchange->request.content_length);
	require(!pipe->ended || pipe->total_bytes == exchange->request.content_length);
}

void exchange_request_ready(struct exchange *exchange)
{
	require(exchange->down);
	check_body(exchange);
}

void exchange_answer_space(struct exchange *exchange)
{
	require(exchange->down && exchange->is_answered);
}

void exchange_client_gone(struct exchange *exchange)
{
	require(exchange->down);
	exchange->down->exchange = NULL;
	exchange->down = NULL;
}

static struct fields *some_trailers(void)
{
	struct fields *fields = malloc(sizeof(*fields) + sizeof(struct field));

	require(fields);
	fields->count = 1;
	fields->items = (struct field *)(fields + 1);
	fields->items[0] = (struct field){ SPAN("grpc-status"), SPAN("0") };
	return fields;
}

static void answer_more(struct exchange *exchange)
{
	struct pipe *pipe = &exchange->answer_body;
	size_t room = 0, n = draw(40000);
	uint8_t *at = pipe_room(pipe, &room);

	n = n < room ? n : room;
	if (n) {
		memset(at, 'a', n);
		pipe_commit(pipe, n);
	}
	pipe->ended = !draw(3);
	if (pipe->ended && !draw(2))
		pipe->trailers = some_trailers();
	exchange->down->ops->body_ready(exchange->down->stream);
}

/* The exchange is over for the client. */
static void finish_exchange(struct exchange *exchange)
{
	struct downstream *down = exchange->down;

	if (down) {
		down->exchange = NULL;
		if (exchange->is_aborted)
			down->ops->abort(down->stream);
		else
			down->ops->done(down->stream, draw(2));
	}
	free_exchange(exchange);
}

static void step(struct exchange *exchange)
{
	const struct pipe *answer = &exchange->answer_body;

	if (!exchange->down || exchange->is_aborted || (answer->ended && !answer->len)) {
		finish_exchange(exchange);
		return;
	}
	if (draw(2) && exchange->request_body.len) {
		pipe_consume(&exchange->request_body,
			     1 + draw((unsigned)exchange->request_body.len));
		exchange->down->ops->body_space(exchange->down->stream);
	}
	if (!exchange->is_answered)
		respond(exchange, draw(3) ? 200 : 100);
	else if (!answer->ended)
		answer_more(exchange);
	exchange->is_aborted = !draw(20);
}

static void step_all(void)
{
	for (struct exchange *at = all.next, *next; at != &all; at = next) {
		next = at->next;
		step(at);
	}
}

static void turn(void)
{
	for (int i = 0; i < 8 && !client.is_closed; i++) {
		is_deferred = false;
		client.ops->ready(&client);
		if (!is_deferred)
			break;
	}
}

static void drain_socket(int fd)
{
	static uint8_t waste[256 * 1024];

	while (recv(fd, waste, sizeof(waste), MSG_DONTWAIT) > 0)
		client.io.may_write = true;
}

static void send_slice(int fd, const void *bytes, size_t len)
{
	if (client.is_closed || send(fd, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL) <= 0)
		return;
	client.io.may_read = true;
	turn();
	step_all();
	if (draw(4))
		drain_socket(fd);
	turn();
}

static void ignore(struct io *io)
{
	(void)io;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char start[] = NGHTTP2_CLIENT_MAGIC "\0\0\0\4\0\0\0\0\0";
	static bool is_ready;
	int fds[2];

	if (!is_ready)
		require(loop_init(NULL) == 0);
	is_ready = true;
	if (!size)
		return 0;
	chance = data[0];
	client = (struct client){ .connect = { "api.test", 443 } };
	require(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
	require(io_open(&client.io, fds[0], ignore) == 0);
	client_h2_start(&client);
	send_slice(fds[1], start, sizeof(start) - 1);
	for (size_t at = 1; at < size;) {
		size_t len = data[at] ? data[at] : 1024;
		at++;
		len = len < size - at ? len : size - at;
		send_slice(fds[1], data + at, len);
		at += len;
	}
	if (!client.is_closed && draw(2))
		client.ops->drain(&client);
	turn();
	client_close(&client);
	while (all.next != &all)
		finish_exchange(all.next);
	close(fds[1]);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0
 * Two links, one on each end of a socket pair: bodies, windows, trailers, ends, and what a peer that
 * misbehaves comes to. The server's end echoes each stream's body. */
#include "proxy/h2_link.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"

enum { STREAMS = 128 /* more than may be open at once */ };

struct node;

struct half { /* one end of a stream */
	struct h2_stream h2;
	struct node *node;
	struct pipe in, out;
	size_t wanted;	 /* bytes still to be put into `out` */
	size_t got;	 /* bytes taken off `in` */
	bool is_stalled; /* `in` is left alone */
	bool is_bad;	 /* on_bad_body */
	bool is_closed;	 /* settled as such */
	uint32_t code;	 /* why */
	unsigned status; /* of the answer */
	size_t trailers;
};

struct node { /* one end of the connection */
	struct io io;
	struct h2_link link;
	struct task task;
	struct half halves[STREAMS];
	size_t count;
	bool is_over;
	bool adds_trailers;
	size_t pad_bytes; /* of a field of the server's heads */
	unsigned patience_ms;
	unsigned stalls;
	uint64_t added_length; /* content-length that is said beyond the truth */
	char problem[128];
	void (*after_pump)(struct node *node);
};

static struct node client, server;
static uint8_t junk[16 * 1024];

static struct half *of(struct h2_stream *stream)
{
	return (struct half *)stream;
}

static struct node *node_of(struct h2_link *link)
{
	return (struct node *)((char *)link - offsetof(struct node, link));
}

/* Fills the outbound pipe as far as it goes. */
static void produce(struct half *half)
{
	size_t room = 1;

	while (half->wanted && room) {
		uint8_t *at = pipe_room(&half->out, &room);
		size_t n = room < half->wanted ? room : half->wanted;
		if (n > sizeof(junk))
			n = sizeof(junk);
		if (n)
			memcpy(at, junk, n);
		pipe_commit(&half->out, n);
		half->wanted -= n;
	}
	half->out.ended = !half->wanted;
	h2_stream_wake(&half->h2, &half->out);
}

static struct fields *make_trailers(void)
{
	struct fields *fields = malloc(sizeof(*fields) + sizeof(struct field));

	fields->count = 1;
	fields->items = (struct field *)(fields + 1);
	fields->items[0] = (struct field){ SPAN("grpc-status"), SPAN("0") };
	return fields;
}

/* The server: from one pipe into the other. */
static void echo(struct half *half)
{
	size_t room = 1;

	while (half->in.len && room) {
		uint8_t *at = pipe_room(&half->out, &room);
		size_t n = room < half->in.len ? room : half->in.len;
		if (n)
			memcpy(at, half->in.data + half->in.start, n);
		pipe_commit(&half->out, n);
		pipe_consume(&half->in, n);
		half->got += n;
	}
	if (half->in.ended && !half->in.len && !half->out.ended) {
		half->out.ended = true;
		if (half->node->adds_trailers)
			half->out.trailers = make_trailers();
	}
	h2_stream_wake(&half->h2, &half->out);
	h2_stream_give_back(&half->h2, &half->in);
}

static void answer(struct half *half)
{
	struct response response = { .status = 200 };
	struct h2_list *list = h2_list_of_response(&response);
	nghttp2_data_provider body = h2_stream_provider(&half->h2);
	char *pad = calloc(1, half->node->pad_bytes + 1);

	memset(pad, 'p', half->node->pad_bytes);
	h2_list_add(list, SPAN("x-pad"), (struct span){ pad, half->node->pad_bytes }, false);
	cr_assert_eq(nghttp2_submit_response(half->node->link.session, half->h2.id, list->items,
					     list->count, &body),
		     0);
	free(pad);
}

static void begin_on_server(struct node *node, int32_t id, bool ends)
{
	struct half *half = &node->halves[node->count++ % STREAMS];
	struct request request = { 0 };
	struct h2_error error;

	cr_assert_eq(h2_head_to_request(&node->link.head, ends, &request, &error), 0);
	*half = (struct half){ .node = node, .is_stalled = half->is_stalled };
	h2_stream_add(&node->link, &half->h2, id);
	half->h2.has_head = true;
	nghttp2_session_set_stream_user_data(node->link.session, id, half);
	h2_stream_expect(&half->h2, request.body, request.content_length);
	answer(half);
}

static void on_head(struct h2_link *link, struct h2_stream *stream, int32_t id, bool ends)
{
	struct node *node = node_of(link);
	struct fields *trailers = NULL;
	struct response response;
	struct h2_error error;

	if (!stream) {
		begin_on_server(node, id, ends);
	} else if (stream->has_head) {
		cr_assert_eq(h2_head_to_trailers(&link->head, &trailers, &error), 0);
		of(stream)->trailers = trailers ? trailers->count : 0;
		free(trailers);
	} else {
		cr_assert_eq(h2_head_to_response(&link->head, ends, false, &response, &error), 0);
		of(stream)->status = response.status;
		stream->has_head = true;
	}
}

static struct pipe *inbound(struct h2_stream *stream)
{
	return &of(stream)->in;
}

static struct pipe *outbound(struct h2_stream *stream)
{
	return &of(stream)->out;
}

static void on_bad_body(struct h2_stream *stream, const char *detail)
{
	(void)detail;
	of(stream)->is_bad = true;
	h2_stream_reset(stream, NGHTTP2_PROTOCOL_ERROR);
}

static size_t most_wide; /* of the client's, whose inbound bodies are answers */

static void settle(struct h2_stream *stream, unsigned due)
{
	struct half *half = of(stream);

	if (half->node == &client && client.link.wide_count > most_wide)
		most_wide = client.link.wide_count;
	cr_assert_eq(server.link.wide_count, 0, "a request's window stays small");
	cr_assert_leq(half->in.len, (size_t)(half->node == &client ? PIPE_WIDE_BYTES : PIPE_BYTES));
	if (half->node == &server && !half->is_stalled) {
		echo(half);
	} else if (half->node == &client) {
		half->got += half->in.len;
		pipe_consume(&half->in, half->in.len);
		h2_stream_give_back(stream, &half->in);
		if (half->wanted)
			produce(half);
	}
	if (!(due & H2_DUE_CLOSED))
		return;
	half->is_closed = true;
	half->code = stream->close_code;
	h2_stream_remove(stream);
	pipe_clear(&half->in);
	pipe_clear(&half->out);
}

static unsigned patience(const struct h2_stream *stream)
{
	return stream->link->ops ? ((const struct half *)stream)->node->patience_ms : 0;
}

static void on_stalled(struct h2_stream *stream)
{
	of(stream)->node->stalls++;
	h2_stream_reset(stream, NGHTTP2_CANCEL);
}

static void on_broken(struct h2_link *link, const char *detail)
{
	snprintf(node_of(link)->problem, sizeof(node_of(link)->problem), "%s", detail);
}

static void defer(struct h2_link *link)
{
	loop_defer(&node_of(link)->task);
}

static const struct h2_link_ops ops = {
	.on_head = on_head,
	.inbound = inbound,
	.outbound = outbound,
	.on_bad_body = on_bad_body,
	.patience = patience,
	.on_stalled = on_stalled,
	.settle = settle,
	.on_broken = on_broken,
	.defer = defer,
};

static void pump(struct node *node)
{
	if (node->is_over)
		return;
	if (!h2_link_pump(&node->link)) {
		node->is_over = true;
		io_end(&node->io);
	}
	if (node->after_pump)
		node->after_pump(node);
}

static void on_task(struct task *task)
{
	pump((struct node *)((char *)task - offsetof(struct node, task)));
}

static void on_ready(struct io *io)
{
	pump((struct node *)io);
}

static void start(void)
{
	struct err err;
	int fds[2];

	cr_assert_eq(loop_init(&err), 0);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	for (int i = 0; i < 2; i++) {
		struct node *node = i ? &server : &client;
		node->task.run = on_task;
		cr_assert_eq(io_open(&node->io, fds[i], on_ready), 0);
		cr_assert_eq(h2_link_open(&node->link, &node->io, &ops, !i), 0);
		loop_defer(&node->task);
	}
}

static void run(void)
{
	struct err err;

	cr_assert_eq(loop_run(&err), 0, "%s", err.text);
}

static void finish(void)
{
	for (int i = 0; i < 2; i++) {
		struct node *node = i ? &server : &client;
		while (node->link.streams) {
			struct half *half = of(node->link.streams);
			h2_stream_remove(&half->h2);
			pipe_clear(&half->in);
			pipe_clear(&half->out);
		}
		h2_link_clear(&node->link);
		io_close(&node->io);
		loop_undefer(&node->task);
	}
}

static struct half *ask(size_t body, const char *length)
{
	struct half *half = &client.halves[client.count++ % STREAMS];
	nghttp2_data_provider provider = h2_stream_provider(&half->h2);
	struct h2_list *list = h2_list_start();

	*half = (struct half){ .node = &client, .wanted = body };
	h2_list_add(list, SPAN(":method"), SPAN("POST"), false);
	h2_list_add(list, SPAN(":scheme"), SPAN("https"), false);
	h2_list_add(list, SPAN(":path"), SPAN("/"), false);
	h2_list_add(list, SPAN(":authority"), SPAN("api.test"), false);
	if (length)
		h2_list_add(list, SPAN("content-length"), (struct span){ length, strlen(length) },
			    false);
	half->h2.id = nghttp2_submit_request(client.link.session, NULL, list->items, list->count,
					     &provider, half);
	cr_assert_gt(half->h2.id, 0);
	h2_stream_add(&client.link, &half->h2, half->h2.id);
	produce(half);
	return half;
}

static void stop_when_all_closed(struct node *node)
{
	if (!node->link.stream_count && node->count)
		loop_stop();
}

Test(proxy_h2_link, bodies_go_both_ways)
{
	static const size_t sizes[] = { 0, 1, 70 * 1000, 5 * 1000 * 1000 };
	struct half *halves[4];

	start();
	server.adds_trailers = true;
	client.after_pump = stop_when_all_closed;
	for (int i = 0; i < 4; i++)
		halves[i] = ask(sizes[i], NULL);
	run();
	for (int i = 0; i < 4; i++) {
		cr_expect(halves[i]->is_closed);
		cr_expect_eq(halves[i]->code, NGHTTP2_NO_ERROR);
		cr_expect_eq(halves[i]->status, 200);
		cr_expect_eq(halves[i]->got, sizes[i]);
		cr_expect_eq(halves[i]->trailers, 1);
	}
	finish();
}

/* Content that goes makes up for idle frames like content that comes: each way are 300 frames at least. */
Test(proxy_h2_link, content_makes_up_for_idle_frames)
{
	start();
	client.after_pump = stop_when_all_closed;
	server.link.guard.period_ms = loop_now_ms();
	server.link.guard.idle_frames = 500;
	ask(5 * 1000 * 1000, NULL);
	run();
	cr_expect_lt(server.link.guard.idle_frames, 10u);
	finish();
}

static void stop_when_second_closed(struct node *node)
{
	server.halves[0].is_stalled = true;
	if (node->halves[1].is_closed)
		loop_stop();
}

Test(proxy_h2_link, a_stalled_stream_holds_up_no_other)
{
	start();
	server.halves[0].is_stalled = true;
	client.after_pump = stop_when_second_closed;
	ask(10 * 1000 * 1000, NULL);
	struct half *other = ask(10 * 1000 * 1000, NULL);
	run();
	cr_expect_eq(other->got, 10 * 1000 * 1000);
	cr_expect_gt(server.halves[0].in.len, 60 * 1000); /* it took what the window allows */
	finish();
}

/* Beside one that is busy, and only where it is the peer that is waited for. */
Test(proxy_h2_link, each_stream_has_a_deadline_of_its_own)
{
	start();
	server.halves[0].is_stalled = true;
	client.after_pump = stop_when_second_closed;
	struct half *stalled = ask(10 * 1000 * 1000, NULL);
	ask(10 * 1000 * 1000, NULL);
	run();
	stalled->h2.moved_ms = loop_now_ms() - 5000;
	h2_link_sweep(&client.link);
	cr_expect_eq(client.stalls, 0, "nobody is waited for");
	cr_expect_geq(stalled->h2.moved_ms, loop_now_ms() - 1000);
	client.patience_ms = 4000;
	h2_link_sweep(&client.link);
	cr_expect_eq(client.stalls, 0, "not yet");
	struct half *busy = ask(1000, NULL);
	stalled->h2.moved_ms = loop_now_ms() - 5000;
	h2_link_sweep(&client.link);
	h2_link_sweep(&client.link);
	cr_expect_eq(client.stalls, 1, "once");
	client.after_pump = stop_when_all_closed;
	run();
	cr_expect_eq(stalled->code, NGHTTP2_CANCEL);
	cr_expect_eq(busy->got, 1000);
	finish();
}

/* The window of a long answer grows; of no more streams at a time than is stated. That of a request never. */
Test(proxy_h2_link, long_answers_get_a_wide_window)
{
	start();
	client.after_pump = stop_when_all_closed;
	for (int i = 0; i < STREAMS; i++)
		ask(3 * 1000 * 1000, NULL);
	run();
	for (int i = 0; i < STREAMS; i++)
		cr_expect_eq(client.halves[i].got, 3 * 1000 * 1000);
	cr_expect_gt(most_wide, 0);
	cr_expect_leq(most_wide, (size_t)H2_WIDE_MAX);
	finish();
}

/* A head that cannot be sent is not waited for. */
Test(proxy_h2_link, a_head_beyond_what_is_sent)
{
	start();
	server.pad_bytes = 200 * 1000;
	client.after_pump = stop_when_all_closed;
	struct half *half = ask(1, NULL);
	run();
	cr_expect_eq(half->status, 0);
	cr_expect_eq(half->code, NGHTTP2_INTERNAL_ERROR);
	finish();
}

static void check_length(const char *said, size_t body, bool is_bad)
{
	start();
	client.after_pump = stop_when_all_closed;
	struct half *half = ask(body, said);
	run();
	cr_expect_eq(server.halves[0].is_bad, is_bad);
	cr_expect_eq(half->code, is_bad ? NGHTTP2_PROTOCOL_ERROR : NGHTTP2_NO_ERROR);
	finish();
}

Test(proxy_h2_link, a_length_that_holds)
{
	check_length("5", 5, false);
}

Test(proxy_h2_link, a_body_that_is_too_short)
{
	check_length("5", 4, true);
}

Test(proxy_h2_link, a_body_that_is_too_long)
{
	check_length("5", 60000, true);
}

static void stop_when_over(struct node *node)
{
	if (node->is_over)
		loop_stop();
}

static void stop_when_both_over(struct node *node)
{
	(void)node;
	if (client.is_over && server.is_over)
		loop_stop();
}

Test(proxy_h2_link, retiring_lets_streams_end)
{
	start();
	client.after_pump = server.after_pump = stop_when_both_over;
	struct half *half = ask(1000 * 1000, NULL);
	cr_assert(h2_link_pump(&client.link));
	cr_assert(h2_link_pump(&server.link));
	cr_assert_eq(server.link.stream_count, 1);
	h2_link_retire(&server.link, NGHTTP2_NO_ERROR);
	run();
	cr_expect_eq(half->got, 1000 * 1000);
	cr_expect_eq(half->code, NGHTTP2_NO_ERROR);
	cr_expect_str_empty(server.problem);
	finish();
}

static void reset_more(struct node *node)
{
	for (int i = 0; i < 50 && !node->is_over; i++) {
		struct h2_list *list = h2_list_start();
		h2_list_add(list, SPAN(":method"), SPAN("GET"), false);
		h2_list_add(list, SPAN(":scheme"), SPAN("https"), false);
		h2_list_add(list, SPAN(":path"), SPAN("/"), false);
		h2_list_add(list, SPAN(":authority"), SPAN("api.test"), false);
		int32_t id = nghttp2_submit_request(node->link.session, NULL, list->items,
						    list->count, NULL, NULL);
		const uint8_t *bytes;
		ssize_t n;
		if (id < 0)
			break;
		/* The request goes out before its reset is submitted, which else would cancel it. */
		while ((n = nghttp2_session_mem_send(node->link.session, &bytes)) > 0)
			cr_assert_eq(write(node->io.source.fd, bytes, (size_t)n), n);
		nghttp2_submit_rst_stream(node->link.session, 0, id, NGHTTP2_CANCEL);
	}
	if (!node->is_over)
		loop_defer(&node->task);
	else
		loop_stop();
}

Test(proxy_h2_link, rapid_reset_ends_the_connection)
{
	start();
	client.after_pump = reset_more;
	run();
	cr_expect_str_eq(server.problem, "too many streams were reset in a short time");
	cr_expect(server.is_over);
	cr_expect_lt(server.count, (size_t)H2_RESETS_MAX + 200);
	finish();
}

/* What the server makes of bytes of ours. */
static void send_raw(const void *bytes, size_t len)
{
	static const char settings[] = "\0\0\0\4\0\0\0\0\0";

	start();
	server.after_pump = stop_when_over;
	client.is_over = true; /* its link says nothing */
	int fd = client.io.source.fd;
	cr_assert_eq(write(fd, NGHTTP2_CLIENT_MAGIC, NGHTTP2_CLIENT_MAGIC_LEN),
		     NGHTTP2_CLIENT_MAGIC_LEN);
	cr_assert_eq(write(fd, settings, 9), 9);
	cr_assert_eq(write(fd, bytes, len), (ssize_t)len);
	cr_assert_eq(shutdown(fd, SHUT_WR), 0);
	run();
	finish();
}

Test(proxy_h2_link, continuation_flood)
{
	char frames[9 * 20] = { 0, 0, 0, NGHTTP2_HEADERS, 0, 0, 0, 0, 1 };

	for (int i = 1; i < 20; i++) {
		frames[9 * i + 3] = NGHTTP2_CONTINUATION;
		frames[9 * i + 8] = 1;
	}
	send_raw(frames, sizeof(frames));
	cr_expect_str_eq(server.problem, "a header block in too many pieces");
}

Test(proxy_h2_link, a_broken_frame_is_named_once)
{
	/* DATA on stream 0 */
	send_raw("\0\0\1\0\0\0\0\0\0x", 10);
	cr_expect_str_eq(server.problem, "PROTOCOL_ERROR");
}

Test(proxy_h2_link, no_preface)
{
	start();
	server.after_pump = stop_when_over;
	client.is_over = true;
	cr_assert_eq(write(client.io.source.fd, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 27), 27);
	run();
	cr_expect_str_not_empty(server.problem);
	finish();
}

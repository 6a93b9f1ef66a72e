/* SPDX-License-Identifier: Apache-2.0
 *
 * One request and its answer; see exchange.h, and stream.h for the seam. Runs in: the proxy's worker.
 * Holds: nothing secret: a credential is put in by the upstream's side, into what it writes.
 *
 *   begin ──▶ decided ──▶ waits for a connection ──▶ sent ──▶ answered ──▶ the client has all ──▶ finish
 *                └── refused ──▶ answered by ourselves (exchange_answer.c) ───────┘
 *
 * Whatever happens, the end is `finish`, once, by a task: it cuts both sides off, writes the line
 * of the audit log if that was not done, and frees. So a side never finds its exchange gone during a call.
 */
#include "proxy/exchange.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "proxy/exchange_answer.h"
#include "proxy/reload.h"
#include "proxy/settings.h"

static struct exchange all = { .next = &all, .prev = &all };

#define OWNER(task_pointer, member) \
	((struct exchange *)((char *)(task_pointer)-offsetof(struct exchange, member)))

static void on_request_space(struct task *task)
{
	struct exchange *exchange = OWNER(task, request_space_task);

	if (exchange->down)
		exchange->down->ops->body_space(exchange->down->stream);
}

static void on_answer_space(struct task *task)
{
	struct exchange *exchange = OWNER(task, answer_space_task);

	if (exchange->up)
		exchange->up->ops->body_space(exchange->up->stream);
}

static void free_exchange(struct exchange *exchange)
{
	loop_undefer(&exchange->request_space_task);
	loop_undefer(&exchange->answer_space_task);
	exchange->next->prev = exchange->prev;
	exchange->prev->next = exchange->next;
	pipe_clear(&exchange->request_body);
	pipe_clear(&exchange->answer_body);
	if (exchange->table)
		routetable_unref(exchange->table);
	free(exchange->head);
	free(exchange);
}

/* Cuts the server's side off, wherever it stands. */
static void leave_upstream(struct exchange *exchange)
{
	struct upstream *up = exchange->up;

	exchange->up = NULL;
	if (up) {
		up->exchange = NULL;
		up->ops->abort(up->stream);
	} else {
		pool_cancel(exchange);
	}
}

static void leave_client(struct exchange *exchange)
{
	struct downstream *down = exchange->down;

	exchange->down = NULL;
	if (!down)
		return;
	down->exchange = NULL;
	if (exchange->is_aborted)
		down->ops->abort(down->stream);
	else
		down->ops->done(down->stream,
				exchange->is_websocket || !exchange->request_body.ended);
}

static void finish(struct task *task)
{
	struct exchange *exchange = OWNER(task, finish_task);

	leave_upstream(exchange);
	exchange_log(exchange);
	if (exchange->is_websocket)
		exchange_log_websocket_end(exchange);
	leave_client(exchange);
	free_exchange(exchange);
}

static bool is_drained(const struct pipe *pipe)
{
	return pipe->ended && !pipe->len;
}

/* All of it has left for the client, though the exchange may not have come to its end. */
static bool has_whole_answer(const struct exchange *exchange)
{
	return exchange->is_answered && is_drained(&exchange->answer_body);
}

static void finish_when_complete(struct exchange *exchange)
{
	if (!has_whole_answer(exchange))
		return;
	if (!exchange->is_websocket || is_drained(&exchange->request_body))
		loop_defer(&exchange->finish_task);
}

static struct exchange *new_exchange(struct downstream *down)
{
	struct exchange *exchange = calloc(1, sizeof(*exchange));

	if (!exchange)
		return NULL;
	exchange->begun_us = clock_us();
	exchange->request_space_task.run = on_request_space;
	exchange->answer_space_task.run = on_answer_space;
	exchange->finish_task.run = finish;
	exchange->record.verdict = "allow";
	exchange->record.reason = "";
	exchange->next = &all;
	exchange->prev = all.prev;
	all.prev->next = exchange;
	all.prev = exchange;
	exchange->down = down;
	down->exchange = exchange;
	return exchange;
}

/* There is no memory to answer with: one line, and the client sees a break. */
static void give_up(struct downstream *down, const struct request *request,
		    const struct verdict *verdict)
{
	exchange_log_out_of_memory(request, verdict);
	down->ops->abort(down->stream);
}

/* Copies what `span` points at to *at. */
static struct span keep(char **at, struct span span)
{
	struct span kept = { *at, span.len };

	if (span.len)
		memcpy(*at, span.at, span.len);
	*at += span.len;
	return kept;
}

/* The parts of the request that are needed once the client's buffer is used again. */
static int keep_request(struct exchange *exchange, const struct request *request)
{
	size_t bytes = request->method.len + request->target.len, count = 0;
	struct field *fields;
	char *at;

	for (size_t i = 0; i < request->fields.count; i++)
		bytes += request->fields.items[i].name.len + request->fields.items[i].value.len;
	exchange->head = malloc(request->fields.count * sizeof(*fields) + bytes + 1);
	if (!exchange->head)
		return -ENOMEM;
	exchange->request = *request;
	fields = exchange->head;
	at = (char *)(fields + request->fields.count);
	exchange->request.method = keep(&at, request->method);
	exchange->request.target = keep(&at, request->target);
	for (size_t i = 0; i < request->fields.count; i++) {
		const struct field *field = &request->fields.items[i];
		if (!decision_keeps_field(request, &exchange->verdict, field))
			continue;
		fields[count].name = keep(&at, field->name);
		fields[count++].value = keep(&at, field->value);
	}
	exchange->request.fields = (struct fields){ fields, count };
	return 0;
}

/* 64 random bits, told to the upstream proxy alone. */
void exchange_make_id(char out[static 17])
{
	uint64_t id = 0;

	if (getrandom(&id, sizeof(id), GRND_NONBLOCK) != sizeof(id))
		id = clock_us();
	snprintf(out, 17, "%016llx", (unsigned long long)id);
}

void exchange_begin(struct downstream *down, const struct request *request)
{
	struct exchange *exchange = new_exchange(down);
	struct verdict *verdict;

	if (!exchange) {
		give_up(down, request, NULL);
		return;
	}
	verdict = &exchange->verdict;
	exchange->table = routetable_ref(routes_now());
	decide(request, exchange->table, proxy_tokens, verdict);
	exchange->record.phases.decision = (uint32_t)(clock_us() - exchange->begun_us);
	exchange->request_body.ended = request->body == BODY_NONE ||
				       (request->body == BODY_LENGTH && !request->content_length);
	if (verdict->is_allowed && keep_request(exchange, request) < 0) {
		*verdict = (struct verdict){ .status = 502,
					     .reason = "upstream_error",
					     .place = verdict->place };
		snprintf(verdict->detail, sizeof(verdict->detail), "out of memory");
	}
	if (!verdict->is_allowed) {
		exchange_answer_verdict(exchange, request);
		return;
	}
	exchange->request.is_upgrade = verdict->is_websocket;
	exchange->is_through = settings_goes_upstream(proxy_settings, verdict->place.host);
	if (exchange->is_through && !request->is_https)
		exchange_make_id(exchange->request_id);
	pool_acquire(exchange);
}

void exchange_refuse(struct downstream *down, const struct request *request,
		     const struct verdict *verdict)
{
	struct exchange *exchange = new_exchange(down);

	if (!exchange) {
		give_up(down, request, verdict);
		return;
	}
	exchange->table = routetable_ref(routes_now());
	exchange->verdict = *verdict;
	exchange_answer_verdict(exchange, request);
}

void exchange_bad_request(struct downstream *down, const struct authority *connect, unsigned status,
			  const char *reason, const char *detail)
{
	struct exchange *exchange = down->exchange;

	if (!exchange) {
		exchange_log_bad_request(connect, status, reason, detail);
		return;
	}
	/* Refused before: what follows of it is of no interest. */
	if (exchange->is_logged && !exchange->is_websocket)
		return;
	leave_upstream(exchange);
	exchange_fail(exchange, status, reason, detail);
}

void exchange_request_ready(struct exchange *exchange)
{
	if (exchange->up)
		exchange->up->ops->body_ready(exchange->up->stream);
}

void exchange_request_space(struct exchange *exchange)
{
	finish_when_complete(exchange);
	loop_defer(&exchange->request_space_task);
}

void exchange_client_gone(struct exchange *exchange)
{
	exchange->down->exchange = NULL;
	exchange->down = NULL;
	if (!has_whole_answer(exchange)) {
		exchange->record.verdict = "error";
		exchange->record.reason = "client_closed";
	}
	loop_defer(&exchange->finish_task);
}

bool exchange_admit_interim(struct exchange *exchange)
{
	return ++exchange->interims <= INTERIMS_MAX;
}

static void answer_interim(struct exchange *exchange, const struct response *response)
{
	if (response->status == 101) {
		exchange->is_answered = exchange->is_websocket = true;
		exchange->request_body.ended = false;
		exchange->record.status = 101;
		exchange->record.protocol = "websocket";
		exchange_log(exchange);
	} else if (response->status != 100 || !exchange->request.expects_continue ||
		   exchange->is_continued) {
		return;
	} else {
		exchange->is_continued = true;
	}
	exchange->down->ops->send_response(exchange->down->stream, response, false);
}

void exchange_answer_head(struct exchange *exchange, const struct response *response, bool ends)
{
	if (!exchange->down)
		return;
	if (!exchange->record.phases.first_byte)
		exchange->record.phases.first_byte = (uint32_t)(clock_us() - exchange->sent_us);
	if (response->status < 200) {
		answer_interim(exchange, response);
		return;
	}
	exchange->is_answered = true;
	exchange->record.status = response->status;
	if (response->status == 403 && exchange->is_through && !*exchange->record.reason)
		exchange->record.reason = "denied_upstream";
	exchange->answer_body.ended |= ends;
	exchange->down->ops->send_response(exchange->down->stream, response, ends);
	finish_when_complete(exchange);
}

void exchange_answer_ready(struct exchange *exchange)
{
	if (exchange->down)
		exchange->down->ops->body_ready(exchange->down->stream);
}

void exchange_answer_space(struct exchange *exchange)
{
	finish_when_complete(exchange);
	if (exchange->up)
		loop_defer(&exchange->answer_space_task);
}

void exchange_fail(struct exchange *exchange, unsigned status, const char *reason,
		   const char *detail)
{
	exchange->record.verdict = status == 403 ? "deny" : "error";
	exchange->record.reason = reason;
	if (!exchange->down)
		return;
	if (!exchange->is_answered) {
		exchange_answer_self(exchange, &exchange->request, status, reason, detail);
		return;
	}
	exchange_log(exchange);
	exchange->is_aborted = true;
	loop_defer(&exchange->finish_task);
}

void exchange_upstream_failed(struct exchange *exchange, unsigned status, const char *reason,
			      const char *detail)
{
	exchange->up = NULL;
	exchange_fail(exchange, status ? status : 502, reason, detail);
}

static bool is_idempotent(struct span method)
{
	static const struct span methods[] = { SPAN("GET"), SPAN("HEAD"), SPAN("OPTIONS"),
					       SPAN("PUT"), SPAN("DELETE") };

	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++)
		if (method.len == methods[i].len && !memcmp(method.at, methods[i].at, method.len))
			return true;
	return false;
}

bool exchange_retry(struct exchange *exchange)
{
	const struct request *request = &exchange->request;

	exchange->up = NULL;
	if (exchange->is_retried || exchange->is_answered || !exchange->down ||
	    request->body == BODY_CHUNKED || request->body == BODY_STREAM ||
	    (request->body == BODY_LENGTH && request->content_length) || request->is_upgrade ||
	    !is_idempotent(request->method))
		return false;
	exchange->is_retried = true;
	exchange->wish = (struct pool_request){ .wants_fresh = true };
	pool_acquire(exchange);
	return true;
}

void exchange_upstream_done(struct exchange *exchange)
{
	exchange->up = NULL;
	finish_when_complete(exchange);
}

void exchange_mark_refused_upstream(struct exchange *exchange)
{
	exchange->record.verdict = "deny";
	exchange->record.reason = "upstream_proxy_refused";
}

void exchange_end_all(void)
{
	for (struct exchange *exchange = all.next; exchange != &all; exchange = exchange->next) {
		if (!exchange->is_logged && !has_whole_answer(exchange) &&
		    !strcmp(exchange->record.verdict, "allow")) {
			exchange->record.verdict = "error";
			exchange->record.reason = "proxy_ended";
		}
		exchange_log(exchange);
		if (exchange->is_websocket)
			exchange_log_websocket_end(exchange);
	}
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Answers of the proxy's own, and the lines of the audit log; see docs/audit.md. Runs in: the proxy's
 * worker.
 *
 * An answer of our own is logged when it is given, with the request as it lies in the client's buffer;
 * a request that goes out is logged when it has ended.
 */
#include "proxy/exchange_answer.h"

#include <string.h>

#include "proxy/answer.h"

static void describe(struct audit_record *record, const struct request *request,
		     const struct verdict *verdict)
{
	record->event = "request";
	record->host = verdict && *verdict->place.host ? verdict->place.host : NULL;
	record->port = record->host ? verdict->place.port : 0;
	record->rule = verdict && verdict->route ? verdict->route->host : NULL;
	if (!request)
		return;
	record->method = request->method;
	record->target = request->target;
	if (!record->protocol && request->target.at && request->target.len)
		record->protocol = request->is_http2 ? "h2" : "http/1.1";
}

static void write_line(struct exchange *exchange, const struct request *request)
{
	struct audit_record *record = &exchange->record;

	if (exchange->is_logged)
		return;
	exchange->is_logged = true;
	describe(record, request, &exchange->verdict);
	record->has_bytes = record->has_phases = true;
	record->phases.total = (uint32_t)(clock_us() - exchange->begun_us);
	record->request_id = *exchange->request_id ? exchange->request_id : NULL;
	audit_write(record);
}

void exchange_log(struct exchange *exchange)
{
	exchange->record.bytes_up = exchange->request_body.total_bytes;
	exchange->record.bytes_down = exchange->answer_body.total_bytes;
	write_line(exchange, &exchange->request);
}

void exchange_log_websocket_end(const struct exchange *exchange)
{
	struct audit_record record = {
		.event = "websocket_end",
		.host = exchange->verdict.place.host,
		.port = exchange->verdict.place.port,
		.target = exchange->request.target,
		.rule = exchange->verdict.route ? exchange->verdict.route->host : NULL,
		.has_bytes = true,
		.bytes_up = exchange->request_body.total_bytes,
		.bytes_down = exchange->answer_body.total_bytes,
		.request_id = *exchange->request_id ? exchange->request_id : NULL,
	};

	audit_write(&record);
}

void exchange_log_bad_request(const struct authority *connect, unsigned status, const char *reason,
			      const char *detail)
{
	struct audit_record record = {
		.event = "request",
		.verdict = "deny",
		.reason = reason,
		.detail = detail,
		.host = connect && *connect->host ? connect->host : NULL,
		.port = connect ? connect->port : 0,
		.status = status,
	};

	audit_write(&record);
}

void exchange_log_out_of_memory(const struct request *request, const struct verdict *verdict)
{
	struct audit_record record = {
		.verdict = "error",
		.reason = "upstream_error",
		.detail = "out of memory",
	};

	describe(&record, request, verdict);
	audit_write(&record);
}

static struct span path_of(const struct request *request)
{
	const char *query;

	if (!request || !request->target.len)
		return (struct span){ NULL, 0 };
	query = memchr(request->target.at, '?', request->target.len);
	return (struct span){ request->target.at,
			      query ? (size_t)(query - request->target.at) : request->target.len };
}

static bool is_method(const struct request *request, struct span method)
{
	return request && request->method.len == method.len &&
	       !memcmp(request->method.at, method.at, method.len);
}

/* → its length; 0: it did not fit, or there is no memory, and the answer goes without. */
static size_t fill_body(struct exchange *exchange, const struct request *request, unsigned status,
			const char *reason, const char *detail)
{
	const struct verdict *verdict = &exchange->verdict;
	struct buf body = { 0 };
	size_t room, len;
	uint8_t *to;

	answer_body(&body, status, reason, detail, &verdict->place, path_of(request),
		    verdict->route ? verdict->route->host : NULL);
	to = pipe_room(&exchange->answer_body, &room);
	len = body.failed || body.len > room ? 0 : body.len;
	if (len) {
		memcpy(to, body.data, len);
		pipe_commit(&exchange->answer_body, len);
	}
	buf_clear(&body);
	return len;
}

/* What is still to come of the request is not read: such a connection ends. */
static bool must_end_connection(const struct exchange *exchange, const struct request *request,
				unsigned status)
{
	return status == 400 || !request || !exchange->request_body.ended ||
	       is_method(request, SPAN("CONNECT"));
}

void exchange_answer_self(struct exchange *exchange, const struct request *request, unsigned status,
			  const char *reason, const char *detail)
{
	struct field fields[] = {
		{ SPAN("content-type"), SPAN("application/json") },
		{ SPAN("cache-control"), SPAN("no-store") },
	};
	struct downstream *down = exchange->down;
	size_t len;

	exchange->is_answered = true;
	exchange->record.status = status;
	exchange->record.detail = detail;
	write_line(exchange, request);
	pipe_clear(&exchange->answer_body);
	len = fill_body(exchange, request, status, reason, detail);
	if (is_method(request, SPAN("HEAD")))
		pipe_clear(&exchange->answer_body);
	exchange->answer_body.ended = true;
	bool ends = !exchange->answer_body.len;
	struct response response = {
		.status = status,
		.fields = { fields, sizeof(fields) / sizeof(fields[0]) },
		.body = ends ? BODY_NONE : BODY_LENGTH,
		.content_length = len,
		.has_content_length = true,
		.ends_connection = must_end_connection(exchange, request, status),
	};

	down->ops->send_response(down->stream, &response, ends);
	if (ends)
		loop_defer(&exchange->finish_task);
	else
		exchange_answer_ready(exchange);
}

void exchange_answer_verdict(struct exchange *exchange, const struct request *request)
{
	const struct verdict *verdict = &exchange->verdict;

	if (request)
		exchange->request.is_http2 = request->is_http2;
	exchange->record.verdict = verdict->status == 502 ? "error" : "deny";
	exchange->record.reason = verdict->reason;
	exchange_answer_self(exchange, request, verdict->status, verdict->reason, verdict->detail);
}

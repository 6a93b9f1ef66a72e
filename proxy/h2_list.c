/* SPDX-License-Identifier: Apache-2.0
 *
 * Header lists going out; see h2_head.h. Runs in: the proxy's worker. Pure.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "proxy/h2_head.h"

enum { ROOM = H2_FIELDS_MAX + 16 };

struct h2_list *h2_list_start(void)
{
	static nghttp2_nv items[ROOM];
	static struct h2_list list = { .items = items };

	list.count = 0;
	return &list;
}

/* nghttp2 copies both and lowers the name's case. */
void h2_list_add(struct h2_list *list, struct span name, struct span value, bool is_secret)
{
	if (list->count == ROOM)
		return;
	list->items[list->count++] = (nghttp2_nv){
		.name = (uint8_t *)name.at,
		.namelen = name.len,
		.value = (uint8_t *)value.at,
		.valuelen = value.len,
		.flags = is_secret ? NGHTTP2_NV_FLAG_NO_INDEX : NGHTTP2_NV_FLAG_NONE,
	};
}

void h2_list_add_length(struct h2_list *list, uint64_t content_length)
{
	int len = snprintf(list->length, sizeof(list->length), "%" PRIu64, content_length);

	h2_list_add(list, SPAN("content-length"), (struct span){ list->length, (size_t)len },
		    false);
}

static void add_fields(struct h2_list *list, const struct fields *fields)
{
	for (size_t i = 0; i < fields->count; i++)
		if (!h2_is_connection_specific(fields->items[i].name))
			h2_list_add(list, fields->items[i].name, fields->items[i].value, false);
}

struct h2_list *h2_list_of_response(const struct response *response)
{
	struct h2_list *list = h2_list_start();
	unsigned status = response->status;

	for (size_t i = 3; i-- > 0; status /= 10)
		list->status[i] = (char)('0' + status % 10);
	h2_list_add(list, SPAN(":status"), (struct span){ list->status, 3 }, false);
	add_fields(list, &response->fields);
	if (response_tells_length(response))
		h2_list_add_length(list, response->content_length);
	return list;
}

struct h2_list *h2_list_of_fields(const struct fields *fields)
{
	struct h2_list *list = h2_list_start();

	add_fields(list, fields);
	return list;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * See websocket.h. Runs in: the proxy's worker. A 101 whose Sec-WebSocket-Accept is wrong comes from
 * something that did not read the request, so what follows might be an answer to another one.
 */
#include "proxy/websocket.h"

#include <openssl/evp.h>
#include <string.h>
#include <strings.h>

enum { KEY_BYTES_MAX = 128, ACCEPT_BYTES = 28 };

/* The value of the one field of that name; NULL: none, or several. */
static const struct span *find_one(const struct fields *fields, struct span name)
{
	const struct span *found = NULL;

	for (size_t i = 0; i < fields->count; i++) {
		const struct field *field = &fields->items[i];
		if (field->name.len != name.len || strncasecmp(field->name.at, name.at, name.len))
			continue;
		if (found)
			return NULL;
		found = &field->value;
	}
	return found;
}

bool websocket_is_accepted(const struct fields *request, const struct fields *response)
{
	static const struct span guid = SPAN("258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
	const struct span *key = find_one(request, SPAN("sec-websocket-key"));
	const struct span *accept = find_one(response, SPAN("sec-websocket-accept"));
	char text[KEY_BYTES_MAX + 64];
	unsigned char digest[EVP_MAX_MD_SIZE], wanted[ACCEPT_BYTES + 1];

	if (!key || !accept || key->len > KEY_BYTES_MAX || accept->len != ACCEPT_BYTES)
		return false;
	memcpy(text, key->at, key->len);
	memcpy(text + key->len, guid.at, guid.len);
	if (!EVP_Digest(text, key->len + guid.len, digest, NULL, EVP_sha1(), NULL))
		return false;
	EVP_EncodeBlock(wanted, digest, 20);
	return !memcmp(wanted, accept->at, ACCEPT_BYTES);
}

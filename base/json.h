/* SPDX-License-Identifier: Apache-2.0
 * jansson's values and cleanup.h's attribute: `cleanup_with(json_clear) json_t *value = …;` */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include <jansson.h>

static inline void json_clear(json_t **value)
{
	json_decref(*value);
}

#endif

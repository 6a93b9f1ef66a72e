/* SPDX-License-Identifier: Apache-2.0
 * EXPECT_LIST(&list, "a", "b"): a strlist holds these words in this order and no other. */
#ifndef TESTS_LIB_EXPECT_LIST_H
#define TESTS_LIB_EXPECT_LIST_H

#include <criterion/criterion.h>

#include "base/str.h"

static inline void expect_list(const struct strlist *list, const char *const *wanted)
{
	size_t i;

	for (i = 0; wanted[i]; i++) {
		cr_assert_lt(i, list->len);
		cr_expect_str_eq(list->items[i], wanted[i]);
	}
	cr_expect_eq(list->len, i);
}

#define EXPECT_LIST(list, ...) expect_list(list, (const char *const[]){ __VA_ARGS__, NULL })

#endif

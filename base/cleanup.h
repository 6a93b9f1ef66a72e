/* SPDX-License-Identifier: Apache-2.0
 *
 * Cleanup by attribute: declare with the attribute, initialise at the declaration (-1 or NULL), and
 * hand the thing over with take_fd / take_ptr. There is no goto in this tree.
 */
#ifndef BASE_CLEANUP_H
#define BASE_CLEANUP_H

#include <stdio.h>

void cleanup_close_fd(int *fd);
void cleanup_free_ptr(void *ptr); /* takes the address of any heap pointer */
void cleanup_close_file(FILE **file);

#define cleanup_fd   __attribute__((__cleanup__(cleanup_close_fd)))
#define cleanup_free __attribute__((__cleanup__(cleanup_free_ptr)))
#define cleanup_file __attribute__((__cleanup__(cleanup_close_file)))
/* For a type of one's own: `cleanup_with(thing_clear) struct thing t = {0};` */
#define cleanup_with(fn) __attribute__((__cleanup__(fn)))

/* Returns the descriptor and leaves -1 behind. */
int take_fd(int *fd);

/* Returns the pointer and leaves NULL behind. */
#define take_ptr(ptr)                         \
	__extension__({                       \
		__typeof__(ptr) *p_ = &(ptr); \
		__typeof__(ptr) v_ = *p_;     \
		*p_ = NULL;                   \
		v_;                           \
	})

/* Closes *fd if it is open and leaves -1; errno is kept. */
void fd_close(int *fd);

#endif

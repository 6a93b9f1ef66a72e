/* SPDX-License-Identifier: Apache-2.0
 *
 * The one epoll loop of the worker: descriptors (edge-triggered), timers, and tasks that run before
 * the loop sleeps again. One thread; there is one loop in a process, so it is not passed around.
 *
 * Edge-triggered: a source is added once with all that it will ever want, and its owner reads or writes
 * until EAGAIN or until its share (IO_SHARE_BYTES) is used, and then defers a task to go on, so that
 * one fast stream does not starve the rest.
 */
#ifndef PROXY_LOOP_H
#define PROXY_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum { IO_SHARE_BYTES = 256 * 1024 };

struct source { /* embedded in its owner */
	int fd;
	void (*on_event)(struct source *source, uint32_t epoll_events);
};

struct timer { /* embedded; zero-initialise */
	void (*on_due)(struct timer *timer);
	uint64_t due_ms;
	size_t heap_at; /* 1-based; 0: not set */
};

struct task { /* embedded; zero-initialise. Runs once for each loop_defer. */
	void (*run)(struct task *task);
	struct task *next, *prev; /* NULL: not queued */
};

int loop_init(struct err *err) MUST_CHECK;
/* Serves until loop_stop. 0, or -errno of epoll_wait(2). */
int loop_run(struct err *err) MUST_CHECK;
void loop_stop(void);

/* EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET. 0 or -errno. */
int loop_add(struct source *source) MUST_CHECK;
/* Level-triggered EPOLLIN, for listeners, signalfd, control sockets. */
int loop_add_level(struct source *source) MUST_CHECK;
/* Also takes back what of the current batch is not yet delivered. Does not close. */
void loop_remove(struct source *source);

/* Sets or moves. Coarse: fires up to 10 ms late. */
void timer_set(struct timer *timer, uint64_t after_ms);
void timer_cancel(struct timer *timer);

void loop_defer(struct task *task);
void loop_undefer(struct task *task);

/* CLOCK_MONOTONIC, taken once after each epoll_wait / read anew. */
uint64_t loop_now_ms(void);
uint64_t clock_us(void);

#endif

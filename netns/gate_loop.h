/* SPDX-License-Identifier: Apache-2.0
 *
 * The gate's event loop: epoll, timers in a heap, tasks for "go on a little later", and a graveyard,
 * because an object that ends may still have an event in the batch that is being handled. One thread.
 */
#ifndef NETNS_GATE_LOOP_H
#define NETNS_GATE_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>

#include "base/err.h"

#define gate_container_of(ptr, type, member) ((type *)((uintptr_t)(ptr)-offsetof(type, member)))

struct gate_source {
	void (*ready)(struct gate_source *source,
		      uint32_t events); /* NULL: dead, events are dropped */
};

struct gate_timer {
	void (*fired)(struct gate_timer *timer);
	uint64_t due_ms;
	size_t slot; /* 1 + place in the heap; 0: not set */
};

struct gate_task {
	void (*run)(struct gate_task *task);
	struct gate_task *next;
	bool is_queued;
};

/* The start of every object that gate_loop_bury frees. */
struct gate_grave {
	struct gate_grave *next;
};

struct gate_loop {
	int epoll_fd;
	uint64_t now_ms; /* CLOCK_MONOTONIC when this batch began */
	bool is_stopping;
	int status; /* what gate_loop_run returns: 0 or -errno */
	struct gate_timer **heap;
	size_t heap_len;
	size_t heap_max;
	struct gate_task *tasks;
	struct gate_task **tasks_tail;
	struct gate_grave *graves;
};

/* `timer_max`: the most timers that will ever be set at once. */
int gate_loop_init(struct gate_loop *loop, size_t timer_max, struct err *err) MUST_CHECK;
void gate_loop_clear(struct gate_loop *loop);

/* Handles events until gate_loop_stop; returns its status. */
int gate_loop_run(struct gate_loop *loop) MUST_CHECK;
void gate_loop_stop(struct gate_loop *loop, int status);

int gate_set_nonblocking(int fd) MUST_CHECK;

int gate_loop_add(struct gate_loop *loop, int fd, uint32_t events,
		  struct gate_source *source) MUST_CHECK;
/* Takes fd out again; the source is dead until the next gate_loop_add. */
void gate_loop_remove(struct gate_loop *loop, int fd, struct gate_source *source);

void gate_timer_set(struct gate_loop *loop, struct gate_timer *timer, uint64_t in_ms);
void gate_timer_unset(struct gate_loop *loop, struct gate_timer *timer);

/* Runs the task once after this batch of events. */
void gate_task_queue(struct gate_loop *loop, struct gate_task *task);
void gate_task_unqueue(struct gate_loop *loop, struct gate_task *task);

/* free()s the object when no event of this batch can name it any more. */
void gate_loop_bury(struct gate_loop *loop, struct gate_grave *grave);

#endif

/* SPDX-License-Identifier: Apache-2.0
 * The event loop; see gate_loop.h. Runs in: the gate. */
#include "netns/gate_loop.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"

enum { BATCH = 128 };

static uint64_t clock_ms(void)
{
	struct timespec ts = { 0 };

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

int gate_loop_init(struct gate_loop *loop, size_t timer_max, struct err *err)
{
	*loop = (struct gate_loop){ .epoll_fd = epoll_create1(EPOLL_CLOEXEC),
				    .now_ms = clock_ms() };
	if (loop->epoll_fd < 0)
		return err_sys(err, errno, "gate: epoll_create1");
	loop->tasks_tail = &loop->tasks;
	loop->heap_max = timer_max;
	loop->heap = calloc(timer_max, sizeof(struct gate_timer *));
	if (!loop->heap) {
		gate_loop_clear(loop);
		return err_set(err, ENOMEM, "gate: no memory for timers");
	}
	return 0;
}

static void free_graves(struct gate_loop *loop)
{
	while (loop->graves) {
		struct gate_grave *grave = loop->graves;

		loop->graves = grave->next;
		free(grave);
	}
}

void gate_loop_clear(struct gate_loop *loop)
{
	free_graves(loop);
	free(loop->heap);
	loop->heap = NULL;
	loop->heap_len = 0;
	fd_close(&loop->epoll_fd);
}

int gate_set_nonblocking(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	return flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ? -errno : 0;
}

int gate_loop_add(struct gate_loop *loop, int fd, uint32_t events, struct gate_source *source)
{
	struct epoll_event ev = { .events = events, .data.ptr = source };

	return epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0 ? -errno : 0;
}

void gate_loop_remove(struct gate_loop *loop, int fd, struct gate_source *source)
{
	source->ready = NULL;
	if (fd >= 0)
		epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
}

static void heap_put(struct gate_loop *loop, size_t at, struct gate_timer *timer)
{
	loop->heap[at] = timer;
	timer->slot = at + 1;
}

/* Moves the timer at a hole up or down to where it belongs. */
static void heap_settle(struct gate_loop *loop, size_t at, struct gate_timer *timer)
{
	while (at && loop->heap[(at - 1) / 2]->due_ms > timer->due_ms) {
		heap_put(loop, at, loop->heap[(at - 1) / 2]);
		at = (at - 1) / 2;
	}
	for (;;) {
		size_t child = 2 * at + 1;

		if (child + 1 < loop->heap_len &&
		    loop->heap[child + 1]->due_ms < loop->heap[child]->due_ms)
			child++;
		if (child >= loop->heap_len || loop->heap[child]->due_ms >= timer->due_ms)
			break;
		heap_put(loop, at, loop->heap[child]);
		at = child;
	}
	heap_put(loop, at, timer);
}

void gate_timer_set(struct gate_loop *loop, struct gate_timer *timer, uint64_t in_ms)
{
	gate_timer_unset(loop, timer);
	assert(loop->heap_len < loop->heap_max);
	timer->due_ms = loop->now_ms + in_ms;
	loop->heap_len++;
	heap_settle(loop, loop->heap_len - 1, timer);
}

void gate_timer_unset(struct gate_loop *loop, struct gate_timer *timer)
{
	struct gate_timer *last;
	size_t at = timer->slot - 1;

	if (!timer->slot)
		return;
	timer->slot = 0;
	last = loop->heap[--loop->heap_len];
	if (last != timer)
		heap_settle(loop, at, last);
}

void gate_task_queue(struct gate_loop *loop, struct gate_task *task)
{
	if (task->is_queued)
		return;
	task->is_queued = true;
	task->next = NULL;
	*loop->tasks_tail = task;
	loop->tasks_tail = &task->next;
}

void gate_task_unqueue(struct gate_loop *loop, struct gate_task *task)
{
	struct gate_task **at = &loop->tasks;

	if (!task->is_queued)
		return;
	while (*at != task)
		at = &(*at)->next;
	*at = task->next;
	if (loop->tasks_tail == &task->next)
		loop->tasks_tail = at;
	task->is_queued = false;
}

void gate_loop_bury(struct gate_loop *loop, struct gate_grave *grave)
{
	grave->next = loop->graves;
	loop->graves = grave;
}

static void run_timers(struct gate_loop *loop)
{
	while (loop->heap_len && loop->heap[0]->due_ms <= loop->now_ms) {
		struct gate_timer *timer = loop->heap[0];

		gate_timer_unset(loop, timer);
		timer->fired(timer);
	}
}

/* Runs what is queued now; what they queue again waits for the next batch, so that a busy relay
 * cannot keep the sockets waiting. */
static void run_tasks(struct gate_loop *loop)
{
	struct gate_task stop = { .next = NULL };

	if (!loop->tasks)
		return;
	gate_task_queue(loop, &stop);
	while (loop->tasks != &stop) {
		struct gate_task *task = loop->tasks;

		gate_task_unqueue(loop, task);
		task->run(task);
	}
	gate_task_unqueue(loop, &stop);
}

static int wait_ms(const struct gate_loop *loop)
{
	uint64_t now = clock_ms();

	if (loop->tasks)
		return 0;
	if (!loop->heap_len)
		return -1;
	if (loop->heap[0]->due_ms <= now)
		return 0;
	return loop->heap[0]->due_ms - now > INT_MAX ? INT_MAX : (int)(loop->heap[0]->due_ms - now);
}

int gate_loop_run(struct gate_loop *loop)
{
	struct epoll_event events[BATCH];

	while (!loop->is_stopping) {
		int n = epoll_wait(loop->epoll_fd, events, BATCH, wait_ms(loop));

		if (n < 0 && errno != EINTR)
			return -errno;
		loop->now_ms = clock_ms();
		for (int i = 0; i < n; i++) {
			struct gate_source *source = events[i].data.ptr;

			if (source->ready)
				source->ready(source, events[i].events);
		}
		run_timers(loop);
		run_tasks(loop);
		free_graves(loop);
	}
	return loop->status;
}

void gate_loop_stop(struct gate_loop *loop, int status)
{
	loop->is_stopping = true;
	loop->status = status;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The epoll loop; see loop.h. Runs in: the proxy's worker.
 *
 *   sleep ──▶ events of one batch ──▶ timers that are due ──▶ tasks deferred until now ──▶ sleep
 *
 * A task that is deferred while tasks run waits for the next round, before which the loop looks for
 * events without sleeping: work that is cut in shares never keeps I/O waiting. An owner may go away while
 * a batch is delivered; loop_remove then blanks what the batch still holds for its source.
 *
 * Timers lie in a binary heap. Its room is address space taken at start, of which only what is used
 * becomes memory, so that setting a timer cannot fail. Wake-ups are rounded up to a grid of TICK_MS: timers
 * that lie close together share one.
 */
#include "proxy/loop.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <time.h>

enum { BATCH = 128, TICK_MS = 10, TIMERS_MAX = 1 << 20 };

struct heap_entry { /* the due time once more, so that comparing touches no owner */
	uint64_t due_ms;
	struct timer *timer;
};

static int epoll_fd = -1;
static bool is_stopped;
static uint64_t now_ms;

static struct epoll_event batch[BATCH];
static int batch_len, batch_at; /* batch[batch_at .. batch_len) is not yet delivered */

static struct heap_entry *heap; /* heap[1 .. heap_len] */
static size_t heap_len;

static struct task deferred = { .next = &deferred, .prev = &deferred };

/* ---- clock ---- */

uint64_t clock_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

uint64_t loop_now_ms(void)
{
	return now_ms;
}

/* ---- sources ---- */

static int add(struct source *source, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.ptr = source };

	return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, source->fd, &event) < 0 ? -errno : 0;
}

int loop_add(struct source *source)
{
	return add(source, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
}

int loop_add_level(struct source *source)
{
	return add(source, EPOLLIN);
}

void loop_remove(struct source *source)
{
	epoll_ctl(epoll_fd, EPOLL_CTL_DEL, source->fd, NULL);
	for (int i = batch_at; i < batch_len; i++)
		if (batch[i].data.ptr == source)
			batch[i].data.ptr = NULL;
}

static void deliver(void)
{
	while (batch_at < batch_len) {
		const struct epoll_event *event = &batch[batch_at++];
		struct source *source = event->data.ptr;

		if (source)
			source->on_event(source, event->events);
	}
}

/* ---- timers ---- */

static void place(size_t at, struct heap_entry entry)
{
	heap[at] = entry;
	entry.timer->heap_at = at;
}

static void sift_up(size_t at, struct heap_entry entry)
{
	while (at > 1 && heap[at / 2].due_ms > entry.due_ms) {
		place(at, heap[at / 2]);
		at /= 2;
	}
	place(at, entry);
}

static void sift_down(size_t at, struct heap_entry entry)
{
	for (;;) {
		size_t child = 2 * at;

		if (child > heap_len)
			break;
		if (child < heap_len && heap[child + 1].due_ms < heap[child].due_ms)
			child++;
		if (heap[child].due_ms >= entry.due_ms)
			break;
		place(at, heap[child]);
		at = child;
	}
	place(at, entry);
}

/* Puts the entry where `at` is free. */
static void settle(size_t at, struct heap_entry entry)
{
	if (at > 1 && heap[at / 2].due_ms > entry.due_ms)
		sift_up(at, entry);
	else
		sift_down(at, entry);
}

void timer_set(struct timer *timer, uint64_t after_ms)
{
	/* Never due at once: a timer that sets itself anew cannot hold the loop. */
	uint64_t due_ms = now_ms + (after_ms ? after_ms : 1);

	timer->due_ms = due_ms;
	if (!timer->heap_at) {
		if (heap_len == TIMERS_MAX) { /* sixteen for each of 65,536 descriptors */
			fputs("egress-proxy: more timers than there can be\n", stderr);
			abort();
		}
		timer->heap_at = ++heap_len;
	}
	settle(timer->heap_at, (struct heap_entry){ due_ms, timer });
}

void timer_cancel(struct timer *timer)
{
	size_t at = timer->heap_at;
	struct heap_entry last;

	if (!at)
		return;
	timer->heap_at = 0;
	last = heap[heap_len--];
	if (last.timer != timer)
		settle(at, last);
}

static void run_timers(void)
{
	while (heap_len && heap[1].due_ms <= now_ms) {
		struct timer *timer = heap[1].timer;

		timer_cancel(timer);
		timer->on_due(timer);
	}
}

/* ---- tasks ---- */

void loop_defer(struct task *task)
{
	if (task->next)
		return;
	task->next = &deferred;
	task->prev = deferred.prev;
	deferred.prev->next = task;
	deferred.prev = task;
}

void loop_undefer(struct task *task)
{
	if (!task->next)
		return;
	task->prev->next = task->next;
	task->next->prev = task->prev;
	task->next = task->prev = NULL;
}

/* Those that wait now. They move to a list of their own, out of which a task may still be taken. */
static void run_tasks(void)
{
	struct task round;

	if (deferred.next == &deferred)
		return;
	round = deferred;
	round.next->prev = round.prev->next = &round;
	deferred.next = deferred.prev = &deferred;
	while (round.next != &round) {
		struct task *task = round.next;

		loop_undefer(task);
		task->run(task);
	}
}

/* ---- the loop ---- */

static int sleep_ms(void)
{
	uint64_t wake_ms;

	if (deferred.next != &deferred)
		return 0;
	if (!heap_len)
		return -1;
	if (heap[1].due_ms <= now_ms)
		return 0;
	wake_ms = (heap[1].due_ms + TICK_MS - 1) / TICK_MS * TICK_MS;
	return wake_ms - now_ms > INT32_MAX ? INT32_MAX : (int)(wake_ms - now_ms);
}

int loop_init(struct err *err)
{
	void *room = mmap(NULL, (TIMERS_MAX + 1) * sizeof(*heap), PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (room == MAP_FAILED)
		return err_sys(err, errno, "event loop: timers");
	heap = room;
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (epoll_fd < 0)
		return err_sys(err, errno, "event loop: epoll_create1");
	now_ms = clock_us() / 1000;
	return 0;
}

int loop_run(struct err *err)
{
	is_stopped = false;
	while (!is_stopped) {
		int n = epoll_wait(epoll_fd, batch, BATCH, sleep_ms());

		if (n < 0 && errno != EINTR)
			return err_sys(err, errno, "event loop: epoll_wait");
		now_ms = clock_us() / 1000;
		batch_at = 0;
		batch_len = n > 0 ? n : 0;
		deliver();
		run_timers();
		run_tasks();
	}
	return 0;
}

void loop_stop(void)
{
	is_stopped = true;
}

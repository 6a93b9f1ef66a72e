/* SPDX-License-Identifier: Apache-2.0
 * The event loop: order, timers against a plain model, and owners that go away under delivery. */
#include "proxy/loop.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/fd.h"

static char trace[64];
static size_t trace_len;

static void note(char c)
{
	cr_assert_lt(trace_len, sizeof(trace) - 1);
	trace[trace_len++] = c;
}

static void begin(void)
{
	struct err err;

	cr_assert_eq(loop_init(&err), 0, "%s", err.text);
}

static void run(void)
{
	struct err err;

	cr_assert_eq(loop_run(&err), 0, "%s", err.text);
}

static void stop_due(struct timer *timer)
{
	(void)timer;
	loop_stop();
}

static void stop_task(struct task *task)
{
	(void)task;
	loop_stop();
}

/* ---- tasks ---- */

static struct task a, b, c;

static void task_a(struct task *task)
{
	(void)task;
	note('a');
	loop_undefer(&b);
	loop_defer(&a); /* in the next round, after c of this one */
	loop_defer(&a);
	a.run = stop_task;
}

static void task_b(struct task *task)
{
	(void)task;
	note('b');
}

static void task_c(struct task *task)
{
	(void)task;
	note('c');
}

Test(proxy_loop, tasks_run_in_order_and_can_be_taken_back, .init = begin)
{
	a.run = task_a;
	b.run = task_b;
	c.run = task_c;
	loop_defer(&a);
	loop_defer(&b);
	loop_defer(&c);
	loop_undefer(&b);
	loop_defer(&b); /* now behind c */
	run();
	cr_assert_str_eq(trace, "ac");
	cr_assert_null(a.next);
	cr_assert_null(b.next);
}

struct pipe_source {
	struct source source;
	int write_fd;
};

static struct pipe_source pipe_new(void (*on_event)(struct source *, uint32_t))
{
	struct pipe_source p;
	int fds[2];

	cr_assert_eq(fd_pipe(fds), 0);
	p.source = (struct source){ .fd = fds[0], .on_event = on_event };
	p.write_fd = fds[1];
	return p;
}

static struct pipe_source one, two;
static int spins;

static void spin_task(struct task *task)
{
	if (++spins < 1000)
		loop_defer(task);
}

static void event_stops(struct source *source, uint32_t events)
{
	(void)source;
	(void)events;
	loop_stop();
}

/* A task that defers itself for ever lets events through. */
Test(proxy_loop, tasks_do_not_starve_events, .init = begin)
{
	one = pipe_new(event_stops);
	cr_assert_eq(loop_add(&one.source), 0);
	cr_assert_eq(write(one.write_fd, "x", 1), 1);
	a.run = spin_task;
	loop_defer(&a);
	run();
	cr_assert_lt(spins, 5);
}

/* ---- sources ---- */

static void event_removes_both(struct source *source, uint32_t events)
{
	(void)source;
	(void)events;
	note('e');
	loop_remove(&one.source);
	loop_remove(&two.source);
	loop_defer(&a);
}

/* Both are in one batch; whichever comes first takes the other away. */
Test(proxy_loop, a_removed_source_is_not_called, .init = begin)
{
	one = pipe_new(event_removes_both);
	two = pipe_new(event_removes_both);
	cr_assert_eq(loop_add(&one.source), 0);
	cr_assert_eq(loop_add_level(&two.source), 0);
	cr_assert_eq(write(one.write_fd, "x", 1), 1);
	cr_assert_eq(write(two.write_fd, "x", 1), 1);
	a.run = stop_task;
	run();
	cr_assert_str_eq(trace, "e");
}

static void event_notes(struct source *source, uint32_t events)
{
	(void)source;
	note(events & EPOLLIN ? 'i' : '?');
	if (trace_len == 3)
		loop_stop();
}

static struct timer timer;

/* Nothing is read: an edge tells once, a level for ever. */
Test(proxy_loop, edges_and_levels, .init = begin)
{
	one = pipe_new(event_notes);
	cr_assert_eq(loop_add(&one.source), 0);
	cr_assert_eq(write(one.write_fd, "x", 1), 1);
	timer.on_due = stop_due;
	timer_set(&timer, 20);
	run();
	cr_assert_str_eq(trace, "i");
	loop_remove(&one.source);
	cr_assert_eq(loop_add_level(&one.source), 0);
	timer_set(&timer, 5000);
	run();
	cr_assert_str_eq(trace, "iii");
}

Test(proxy_loop, what_epoll_does_not_take_is_told, .init = begin)
{
	struct source file = { .fd = open("/dev/null", O_RDONLY | O_CLOEXEC) };

	cr_assert_eq(loop_add(&file), -EPERM);
}

/* ---- timers ---- */

Test(proxy_loop, a_timer_is_not_early_and_hardly_late, .init = begin)
{
	uint64_t start = clock_us(), took_ms;

	timer.on_due = stop_due;
	timer_set(&timer, 35);
	run();
	took_ms = (clock_us() - start) / 1000;
	cr_assert_geq(took_ms, 34);
	cr_assert_lt(took_ms, 500);
	cr_assert_eq(timer.heap_at, 0);
}

static void due_again(struct timer *self)
{
	note('t');
	if (trace_len == 4)
		loop_stop();
	timer_set(self, 0);
}

static void due_event(struct source *source, uint32_t events)
{
	char byte;

	(void)events;
	note('i');
	cr_assert_eq(read(source->fd, &byte, 1), 1);
}

Test(proxy_loop, a_timer_set_anew_does_not_hold_the_loop, .init = begin)
{
	one = pipe_new(due_event);
	cr_assert_eq(loop_add_level(&one.source), 0);
	cr_assert_eq(write(one.write_fd, "x", 1), 1);
	timer.on_due = due_again;
	timer_set(&timer, 0);
	run();
	cr_assert_str_eq(trace, "ittt");
}

enum { MANY = 500 };

static struct model {
	struct timer timer;
	bool is_set;
} many[MANY];
static uint64_t last_due_ms;
static size_t fired, left;

static void many_due(struct timer *self)
{
	struct model *model = (struct model *)self;

	cr_assert(model->is_set);
	cr_assert_geq(self->due_ms, last_due_ms);
	cr_assert_leq(self->due_ms, loop_now_ms());
	last_due_ms = self->due_ms;
	model->is_set = false;
	fired++;
	if (!--left)
		loop_stop();
}

/* Random settings, moves and cancellations; what is left fires once each, in the order of its time. */
Test(proxy_loop, the_heap_keeps_order, .init = begin)
{
	size_t expected;

	srand(1);
	for (size_t i = 0; i < MANY * 20; i++) {
		struct model *model = &many[rand() % MANY];

		model->timer.on_due = many_due;
		model->is_set = rand() % 4 != 0;
		if (model->is_set)
			timer_set(&model->timer, (uint64_t)rand() % 200);
		else
			timer_cancel(&model->timer);
	}
	for (size_t i = 0; i < MANY; i++)
		left += many[i].is_set;
	expected = left;
	cr_assert_gt(expected, MANY / 2);
	run();
	cr_assert_eq(fired, expected);
	for (size_t i = 0; i < MANY; i++)
		cr_assert(!many[i].is_set && many[i].timer.heap_at == 0);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * What all connections of clients have in common; see client.h. Runs in: the proxy's worker.
 */
#include "proxy/client.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy/reload.h"
#include "proxy/tls.h"

enum { DISCARD_BYTES = 1024 * 1024 }; /* for each turn of the loop */

#define OWNER(pointer, member) \
	((struct client *)((char *)(pointer)-offsetof(struct client, member)))

static struct client all = { .next = &all, .prev = &all };
static size_t count;

static void on_ready(struct io *io)
{
	struct client *client = OWNER(io, io);

	client->ops->ready(client);
}

static void on_again(struct task *task)
{
	struct client *client = OWNER(task, again);

	client->ops->ready(client);
}

static void on_due(struct timer *timer)
{
	struct client *client = OWNER(timer, timer);
	uint64_t now = loop_now_ms();

	if (!client->due_ms)
		return;
	if (client->due_ms > now)
		timer_set(timer, client->due_ms - now);
	else
		client->ops->due(client);
}

/* The timer is left where it stands if that is early enough: most deadlines are moved on. */
void client_set_deadline(struct client *client, uint64_t after_ms)
{
	client->due_ms = after_ms ? loop_now_ms() + after_ms : 0;
	if (after_ms && (!client->timer.heap_at || client->timer.due_ms > client->due_ms))
		timer_set(&client->timer, after_ms);
}

void client_defer(struct client *client)
{
	if (!client->is_closed)
		loop_defer(&client->again);
}

static void on_free(struct task *task)
{
	free(OWNER(task, free_task));
}

static void leave_protocol(struct client *client)
{
	if (client->ops && client->ops->clear)
		client->ops->clear(client);
	client->protocol = NULL;
}

void client_close(struct client *client)
{
	if (client->is_closed)
		return;
	client->is_closed = true;
	if (client->io.is_flooded)
		client_tls_note_flood(client);
	leave_protocol(client);
	timer_cancel(&client->timer);
	loop_undefer(&client->again);
	if (client->io.ssl)
		tls_accept_forget(client->io.ssl);
	io_close(&client->io);
	client->next->prev = client->prev;
	client->prev->next = client->next;
	loop_defer(&client->free_task);
	if (!--count)
		reload_clients_gone();
}

/* ---- the end of a connection ---- */

static bool is_patient(struct client *client)
{
	uint64_t now = loop_now_ms();
	uint64_t left = client->linger_end_ms > now ? client->linger_end_ms - now : 0;

	if (left)
		client_set_deadline(client, left < CLIENT_LINGER_MS ? left : CLIENT_LINGER_MS);
	return left > 0;
}

/* MSG_TRUNC: the kernel drops the bytes, nothing is copied (tcp(7)). TLS need not read them. */
static void discard(struct client *client)
{
	for (size_t turn = 0; turn < DISCARD_BYTES;) {
		ssize_t n = recv(client->io.source.fd, NULL, DISCARD_BYTES,
				 MSG_TRUNC | MSG_DONTWAIT);

		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return;
		if (n <= 0 || !is_patient(client)) {
			client_close(client);
			return;
		}
		turn += (size_t)n;
	}
	client_defer(client);
}

/* What we had to say must go out first: until then the client need not speak. */
static void linger_due(struct client *client)
{
	if (!client->io.is_ending || !is_patient(client))
		client_close(client);
}

static const struct client_ops linger_ops = {
	.ready = discard,
	.due = linger_due,
	.drain = client_close,
};

void client_linger(struct client *client)
{
	leave_protocol(client);
	client->ops = &linger_ops;
	io_end(&client->io);
	client->linger_end_ms = loop_now_ms() + CLIENT_LINGER_MAX_MS;
	client_set_deadline(client, CLIENT_LINGER_MS);
	discard(client);
}

/* ---- the beginning ---- */

void client_accept(int fd)
{
	struct client *client = calloc(1, sizeof(*client));

	if (!client) {
		close(fd);
		return;
	}
	client->timer.on_due = on_due;
	client->again.run = on_again;
	client->free_task.run = on_free;
	if (io_open(&client->io, fd, on_ready) < 0) {
		free(client);
		return;
	}
	client->next = &all;
	client->prev = all.prev;
	all.prev->next = client;
	all.prev = client;
	count++;
	client_h1_start(client);
}

size_t client_count(void)
{
	return count;
}

void client_drain(void)
{
	for (struct client *client = all.next, *next; client != &all; client = next) {
		next = client->next;
		client->ops->drain(client);
	}
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * What follows a CONNECT: a TLS ClientHello, or the end; see client.h. Runs in: the proxy's worker.
 *
 * The first bytes are looked at and left in the socket, where OpenSSL reads them. So that nothing of
 * them is read along with the CONNECT, client_h1.c reads no further than that head.
 */
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#include "proxy/audit.h"
#include "proxy/client.h"
#include "proxy/tls.h"

enum { HELLO_BYTES = 6 };

static void write_line(const struct client *client, const char *verdict, const char *reason,
		       const char *detail)
{
	struct audit_record record = {
		.event = "connection",
		.verdict = verdict,
		.reason = reason,
		.detail = detail,
		.host = client->connect.host,
		.port = client->connect.port,
	};

	audit_write(&record);
}

void client_tls_refuse(struct client *client, const char *detail)
{
	write_line(client, "deny", "not_tls", detail);
	client_linger(client);
}

void client_tls_note_flood(const struct client *client)
{
	write_line(client, "error", "client_tls", "handshake messages without an end");
}

/* A handshake record of SSL 3.0 to TLS 1.3 whose first message is a ClientHello, as far as it is there. */
static bool may_be_hello(const uint8_t *bytes, size_t len)
{
	return (len < 1 || bytes[0] == 0x16) && (len < 2 || bytes[1] == 3) &&
	       (len < 3 || bytes[2] <= 3) && (len < 6 || bytes[5] == 1);
}

static bool peer_has_ended(int fd)
{
	struct pollfd end = { .fd = fd, .events = POLLRDHUP };

	return poll(&end, 1, 0) == 1;
}

/* Whether a ClientHello begins here; else waits for more, or the connection is closed. */
static bool begins_with_hello(struct client *client)
{
	uint8_t bytes[HELLO_BYTES];
	int fd = client->io.source.fd;
	ssize_t n = recv(fd, bytes, sizeof(bytes), MSG_PEEK | MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
		return false;
	if (n <= 0) {
		client_close(client);
		return false;
	}
	if (!may_be_hello(bytes, (size_t)n)) {
		client_tls_refuse(client, "what followed the CONNECT is no TLS");
		return false;
	}
	if (n < HELLO_BYTES && peer_has_ended(fd))
		client_tls_refuse(client, "what followed the CONNECT ends in its first bytes");
	return n == HELLO_BYTES;
}

static void on_leaf(void *ctx)
{
	client_defer(ctx);
}

static void shake_hands(struct client *client)
{
	char detail[512];
	int rc = io_handshake(&client->io);

	if (rc == -EAGAIN)
		return;
	if (rc < 0) {
		tls_accept_failure(client->io.ssl, detail, sizeof(detail));
		write_line(client, "error", "client_tls", detail);
		client_close(client);
		return;
	}
	client->sni = tls_sni(client->io.ssl);
	if (tls_is_h2(client->io.ssl))
		client_h2_start(client);
	else
		client_h1_start(client);
}

static void on_ready(struct client *client)
{
	client->is_greeted = client->is_greeted || begins_with_hello(client);
	if (client->is_greeted)
		shake_hands(client);
}

static void on_due(struct client *client)
{
	write_line(client, "error", "client_tls", "the handshake took too long");
	client_close(client);
}

static const struct client_ops tls_ops = {
	.ready = on_ready,
	.due = on_due,
	.drain = client_close,
};

/* The leaf is asked for at once, while the client still reads the answer to its CONNECT. */
void client_tls_start(struct client *client)
{
	SSL *ssl = tls_accept_new(client->connect.host, on_leaf, client);

	client->ops = &tls_ops;
	if (!ssl) {
		write_line(client, "error", "client_tls", "out of memory");
		client_close(client);
		return;
	}
	io_start_tls(&client->io, ssl);
	client_set_deadline(client, CLIENT_TLS_MS);
	on_ready(client);
}

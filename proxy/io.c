/* SPDX-License-Identifier: Apache-2.0
 *
 * Sockets with or without TLS; see io.h. Runs in: the proxy's worker. Holds: the connections'
 * descriptors and their session keys.
 *
 * A read that succeeds says that there may be more, also where no edge had said so: what it took may have
 * come after epoll_wait(2) returned, and the edge that then follows finds the socket empty and tells of no
 * input, while TLS holds the rest.
 *
 * A read that gets less than it has room for has emptied the socket, and what comes later has an edge of its
 * own (epoll(7)); so it is not followed by one that finds nothing. Not so once the peer has ended or the
 * connection is broken: that is learned by reading on.
 *
 * OpenSSL reads and writes through a BIO of ours, which notes that. With read-ahead one read(2) brings a
 * record, or, from a peer that fills them, some. What is longer than a record is sealed into a buffer that
 * serves all connections, and leaves with one send(2); what the socket does not take is kept with the
 * connection and goes first. OpenSSL's error queue is emptied before each call, since SSL_get_error(3) judges by it.
 */
#include "proxy/io.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"

enum {
	RECORD_BYTES = 16 * 1024, /* of content, at most (RFC 8446, 5.1) */
	RECORDS_MAX = 4,	  /* for one send, or one read of a bulk */
	SEALED_BYTES = RECORD_BYTES + 512,
};

/* Records of `corked`, which go out together. */
static uint8_t cork[RECORDS_MAX * SEALED_BYTES];
static size_t cork_len;
static const struct io *corked;

static void drop_backlog(struct io *io)
{
	free(io->backlog);
	io->backlog = NULL;
	io->backlog_start = io->backlog_len = 0;
}

/* Sends close_notify and then FIN; again with the next edge while the socket has no room. */
static void end_our_side(struct io *io)
{
	int rc = 1;

	/* SSL_shutdown(3) tries once alone: close_notify would be lost behind a backlog. */
	if (io_flush(io) == -EAGAIN) {
		io->is_ending = true;
		return;
	}
	if (io->ssl) {
		ERR_clear_error();
		rc = SSL_shutdown(io->ssl);
	}
	io->is_ending = rc < 0 && SSL_get_error(io->ssl, rc) == SSL_ERROR_WANT_WRITE;
	ERR_clear_error();
	if (io->is_ending)
		io->may_write = false;
	else
		shutdown(io->source.fd, SHUT_WR);
}

static void on_event(struct source *source, uint32_t events)
{
	struct io *io = (struct io *)((char *)source - offsetof(struct io, source));
	bool readable = events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR);
	bool writable = events & (EPOLLOUT | EPOLLHUP | EPOLLERR);

	io->peer_ending |= (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
	io->is_reset |= (events & EPOLLERR) != 0;
	if (readable || (writable && io->read_wants_write))
		io->may_read = true;
	if (writable || (readable && io->write_wants_read))
		io->may_write = true;
	if (writable && io->is_ending)
		end_our_side(io);
	else if (writable && io_flush(io) == 0)
		io->may_write = true;
	io->on_ready(io);
}

static int prepare_socket(int fd)
{
	static const int on = 1;
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || (!(flags & O_NONBLOCK) && fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0))
		return -errno;
	/* A Unix socket knows no such option, and has no such delay. */
	if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) < 0 && errno != EOPNOTSUPP)
		return -errno;
	return 0;
}

int io_open(struct io *io, int fd, void (*on_ready)(struct io *))
{
	cleanup_fd int owned_fd = fd;

	*io = (struct io){ .source = { -1, on_event }, .on_ready = on_ready };
	TRY(prepare_socket(fd));
	io->source.fd = fd;
	int rc = loop_add(&io->source);
	if (rc < 0) {
		io->source.fd = -1;
		return rc;
	}
	io->may_read = io->may_write = true;
	take_fd(&owned_fd);
	return 0;
}

/* ---- the socket ---- */

static ssize_t read_socket(struct io *io, void *bytes, size_t size)
{
	ssize_t n;

	do
		n = recv(io->source.fd, bytes, size, 0);
	while (n < 0 && errno == EINTR);
	io->is_drained = n > 0 && (size_t)n < size && !io->peer_ending;
	return n;
}

static ssize_t write_socket(struct io *io, const void *bytes, size_t len)
{
	ssize_t n;

	do
		n = send(io->source.fd, bytes, len, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n;
}

static bool would_block(ssize_t n)
{
	return n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
}

static int bio_read(BIO *bio, char *bytes, int size)
{
	struct io *io = BIO_get_data(bio);
	ssize_t n;

	BIO_clear_retry_flags(bio);
	if (io->is_flooded) {
		errno = EPROTO;
		return -1;
	}
	n = read_socket(io, bytes, (size_t)size);
	if (would_block(n))
		BIO_set_retry_read(bio);
	else if (n == 0)
		BIO_set_flags(bio, BIO_FLAGS_IN_EOF);
	return (int)n;
}

static ssize_t socket_outcome(bool *blocked)
{
	if (errno == EAGAIN || errno == EWOULDBLOCK) {
		*blocked = false;
		return -EAGAIN;
	}
	return -errno;
}

int io_flush(struct io *io)
{
	while (io->backlog) {
		ssize_t n = write_socket(io, io->backlog + io->backlog_start, io->backlog_len);

		if (n < 0) {
			n = socket_outcome(&io->may_write);
			if (n != -EAGAIN)
				drop_backlog(io); /* the connection takes nothing more */
			return (int)n;
		}
		io->backlog_start += (size_t)n;
		io->backlog_len -= (size_t)n;
		if (!io->backlog_len)
			drop_backlog(io);
	}
	return 0;
}

static int keep_backlog(struct io *io, const uint8_t *bytes, size_t len)
{
	io->backlog = malloc(len);
	if (!io->backlog)
		return -ENOMEM;
	memcpy(io->backlog, bytes, len);
	io->backlog_start = 0;
	io->backlog_len = len;
	return 0;
}

/* One send of what was sealed. 0, or -errno: the connection is broken. */
static int uncork(struct io *io)
{
	size_t len = cork_len;
	ssize_t n;

	corked = NULL;
	cork_len = 0;
	if (!len)
		return 0;
	n = write_socket(io, cork, len);
	if (n == (ssize_t)len)
		return 0;
	if (n < 0) {
		n = socket_outcome(&io->may_write);
		if (n != -EAGAIN)
			return (int)n;
		n = 0;
	}
	return keep_backlog(io, cork + n, len - (size_t)n);
}

static bool is_corked(const struct io *io, size_t len)
{
	return corked == io && len <= sizeof(cork) - cork_len;
}

static int bio_write(BIO *bio, const char *bytes, int len)
{
	struct io *io = BIO_get_data(bio);
	ssize_t n = len;

	BIO_clear_retry_flags(bio);
	if (is_corked(io, (size_t)len)) {
		memcpy(cork + cork_len, bytes, (size_t)len);
		cork_len += (size_t)len;
		return len;
	}
	n = io_flush(io);
	if (n == 0)
		n = write_socket(io, bytes, (size_t)len);
	if (n == -EAGAIN || would_block(n))
		BIO_set_retry_write(bio);
	return n < 0 ? -1 : (int)n;
}

static long bio_ctrl(BIO *bio, int command, long number, void *pointer)
{
	(void)number, (void)pointer;
	if (command == BIO_CTRL_EOF)
		return BIO_test_flags(bio, BIO_FLAGS_IN_EOF) != 0;
	return command == BIO_CTRL_FLUSH;
}

static const BIO_METHOD *bio_method(void)
{
	static BIO_METHOD *method;

	if (method)
		return method;
	method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "io");
	if (method && BIO_meth_set_read(method, bio_read) &&
	    BIO_meth_set_write(method, bio_write) && BIO_meth_set_ctrl(method, bio_ctrl))
		return method;
	BIO_meth_free(method);
	return method = NULL;
}

/* OpenSSL asks nobody whether to go on; its next read does not succeed. Clearing SSL_MODE_AUTO_RETRY would
 * make it return after each, with a WANT_READ that says nothing of the socket. */
static void on_message(int is_write, int version, int type, const void *bytes, size_t len, SSL *ssl,
		       void *arg)
{
	struct io *io = arg;
	uint64_t now_ms;

	(void)version, (void)bytes, (void)len, (void)ssl;
	if (is_write || type != SSL3_RT_HANDSHAKE)
		return;
	now_ms = loop_now_ms();
	if (now_ms - io->tls_messages_ms >= IO_TLS_PERIOD_MS) {
		io->tls_messages_ms = now_ms;
		io->tls_messages = 0;
	}
	io->is_flooded |= ++io->tls_messages > IO_TLS_MESSAGES_MAX;
}

static void watch_messages(struct io *io, SSL *ssl)
{
	SSL_set_msg_callback(ssl, on_message);
	SSL_set_msg_callback_arg(ssl, io);
}

void io_start_tls(struct io *io, SSL *ssl)
{
	const BIO_METHOD *method = bio_method();
	BIO *bio = method ? BIO_new(method) : NULL;

	io->ssl = ssl;
	/* Without memory the handshake fails for want of a BIO. */
	if (!bio) {
		ERR_clear_error();
		return;
	}
	BIO_set_data(bio, io);
	BIO_set_init(bio, 1);
	SSL_set_bio(ssl, bio, bio);
	watch_messages(io, ssl);
}

int io_nest_tls(struct io *io, SSL *inner)
{
	BIO *bio = BIO_new(BIO_f_ssl());

	if (!bio)
		return -ENOMEM;
	BIO_set_ssl(bio, io->ssl, BIO_CLOSE);
	SSL_set_bio(inner, bio, bio);
	watch_messages(io, inner);
	io->ssl = inner;
	return 0;
}

/* ---- */

/* What a TLS call that moved no byte means. */
static ssize_t tls_outcome(struct io *io, int rc, bool is_read)
{
	int error = SSL_get_error(io->ssl, rc);
	bool *blocked = is_read ? &io->may_read : &io->may_write;

	if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) {
		*blocked = false;
		if (is_read)
			io->read_wants_write = error == SSL_ERROR_WANT_WRITE;
		else
			io->write_wants_read = error == SSL_ERROR_WANT_READ;
		return -EAGAIN;
	}
	if (error == SSL_ERROR_ZERO_RETURN) {
		io->peer_ended = true;
		return is_read ? 0 : -EPIPE;
	}
	if (io->is_flooded)
		return -EPROTO;
	if (error == SSL_ERROR_SYSCALL)
		return errno == EPIPE ? -EPIPE : -ECONNRESET;
	/* A FIN without close_notify: a cut that TLS cannot tell from an attack. */
	if (ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING)
		return -ECONNRESET;
	return -EPROTO;
}

int io_handshake(struct io *io)
{
	int rc, error;

	ERR_clear_error();
	rc = SSL_do_handshake(io->ssl);
	if (rc == 1) {
		/* What came along with its last record lies in the buffer: no edge will tell of it,
		 * and it was perhaps read before the edge of its own was seen. */
		io->may_read = true;
		return 0;
	}
	error = SSL_get_error(io->ssl, rc);
	if (error == SSL_ERROR_WANT_READ)
		io->may_read = false;
	else if (error == SSL_ERROR_WANT_WRITE)
		io->may_write = false;
	else if (error != SSL_ERROR_WANT_X509_LOOKUP) /* the leaf is being made */
		return -EPROTO;
	return -EAGAIN;
}

/* Also in the outer TLS, where one runs inside another. */
static bool holds_bytes(const SSL *ssl)
{
	BIO *below = SSL_get_rbio(ssl);
	SSL *outer = NULL;

	if (BIO_method_type(below) == BIO_TYPE_SSL)
		BIO_get_ssl(below, &outer);
	return SSL_has_pending(ssl) || (outer && SSL_has_pending(outer));
}

/* Full records to the byte, with AES-GCM, behind the three bytes by which OpenSSL aligns them: a read that
 * took the head of one more would need another for its rest. */
static void read_in_bulk(SSL *ssl)
{
	size_t frame = SSL_version(ssl) == TLS1_3_VERSION ? 5 + 1 + 16 : 5 + 8 + 16;

	SSL_set_default_read_buffer_len(ssl, 3 + RECORDS_MAX * (RECORD_BYTES + frame));
}

ssize_t io_read(struct io *io, void *bytes, size_t size)
{
	size_t len = 0;
	ssize_t n;

	if (io->ssl) {
		ERR_clear_error();
		int rc = SSL_read_ex(io->ssl, bytes, size, &len);
		if (rc != 1)
			return tls_outcome(io, rc, true);
		io->may_read = !io->is_drained || holds_bytes(io->ssl);
		if (len == RECORD_BYTES && !io->is_bulk) {
			io->is_bulk = true;
			read_in_bulk(io->ssl);
		}
		return (ssize_t)len;
	}
	n = read_socket(io, bytes, size);
	io->peer_ended |= n == 0 && size > 0;
	if (n >= 0)
		io->may_read = !io->is_drained;
	return n < 0 ? socket_outcome(&io->may_read) : n;
}

static ssize_t seal(struct io *io, const uint8_t *bytes, size_t len)
{
	size_t written = 0;
	int rc;

	ERR_clear_error();
	rc = SSL_write_ex(io->ssl, bytes, len, &written);
	return rc == 1 ? (ssize_t)written : tls_outcome(io, rc, false);
}

/* More than a record. What is sealed counts as written. */
static ssize_t seal_many(struct io *io, const uint8_t *bytes, size_t len)
{
	size_t done = 0;
	ssize_t n = 0;
	int rc;

	corked = io;
	while (done < len && cork_len + SEALED_BYTES <= sizeof(cork)) {
		n = seal(io, bytes + done, len - done);
		if (n < 0)
			break;
		done += (size_t)n;
	}
	rc = uncork(io);
	if (rc < 0)
		return rc;
	return done ? (ssize_t)done : n;
}

ssize_t io_write(struct io *io, const void *bytes, size_t len)
{
	ssize_t n;

	if (io->ssl) {
		TRY(io_flush(io));
		return len > RECORD_BYTES ? seal_many(io, bytes, len) : seal(io, bytes, len);
	}
	n = write_socket(io, bytes, len);
	return n < 0 ? socket_outcome(&io->may_write) : n;
}

void io_end(struct io *io)
{
	if (io->source.fd >= 0 && !io->is_ending)
		end_our_side(io);
}

void io_close(struct io *io)
{
	if (io->source.fd < 0)
		return;
	loop_remove(&io->source);
	drop_backlog(io);
	if (io->ssl) {
		/* SSL_free(3) takes a session whose connection sent no close_notify for a bad one. */
		SSL_set_shutdown(io->ssl, SSL_get_shutdown(io->ssl) | SSL_SENT_SHUTDOWN);
		SSL_free(io->ssl);
		io->ssl = NULL;
	}
	fd_close(&io->source.fd);
	io->may_read = io->may_write = false;
}

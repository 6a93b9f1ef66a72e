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
 * OpenSSL reads and writes through a BIO of ours, which notes that; with read-ahead a record costs one
 * read(2). Its error queue is emptied before each call, since SSL_get_error(3) judges by it.
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
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"

/* Sends close_notify and then FIN; again with the next edge while the socket has no room. */
static void end_our_side(struct io *io)
{
	int rc = 1;

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
	if (readable || (writable && io->read_wants_write))
		io->may_read = true;
	if (writable || (readable && io->write_wants_read))
		io->may_write = true;
	if (writable && io->is_ending)
		end_our_side(io);
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
	ssize_t n = read_socket(BIO_get_data(bio), bytes, (size_t)size);

	BIO_clear_retry_flags(bio);
	if (would_block(n))
		BIO_set_retry_read(bio);
	else if (n == 0)
		BIO_set_flags(bio, BIO_FLAGS_IN_EOF);
	return (int)n;
}

static int bio_write(BIO *bio, const char *bytes, int len)
{
	ssize_t n = write_socket(BIO_get_data(bio), bytes, (size_t)len);

	BIO_clear_retry_flags(bio);
	if (would_block(n))
		BIO_set_retry_write(bio);
	return (int)n;
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

static ssize_t socket_outcome(bool *blocked)
{
	if (errno == EAGAIN || errno == EWOULDBLOCK) {
		*blocked = false;
		return -EAGAIN;
	}
	return -errno;
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
		return (ssize_t)len;
	}
	n = read_socket(io, bytes, size);
	io->peer_ended |= n == 0 && size > 0;
	if (n >= 0)
		io->may_read = !io->is_drained;
	return n < 0 ? socket_outcome(&io->may_read) : n;
}

ssize_t io_write(struct io *io, const void *bytes, size_t len)
{
	size_t written = 0;
	ssize_t n;

	if (io->ssl) {
		ERR_clear_error();
		int rc = SSL_write_ex(io->ssl, bytes, len, &written);
		return rc == 1 ? (ssize_t)written : tls_outcome(io, rc, false);
	}
	n = write_socket(io, bytes, len);
	return n < 0 ? socket_outcome(&io->may_write) : n;
}

/* While may_read is false, the last read found no whole record; what lies in the buffer is the head of
 * one, and its rest will be told by an edge. */
bool io_has_pending(const struct io *io)
{
	return io->ssl && io->may_read && holds_bytes(io->ssl);
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
	if (io->ssl) {
		/* SSL_free(3) takes a session whose connection sent no close_notify for a bad one. */
		SSL_set_shutdown(io->ssl, SSL_get_shutdown(io->ssl) | SSL_SENT_SHUTDOWN);
		SSL_free(io->ssl);
		io->ssl = NULL;
	}
	fd_close(&io->source.fd);
	io->may_read = io->may_write = false;
}

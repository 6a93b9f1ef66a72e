/* SPDX-License-Identifier: Apache-2.0
 *
 * The relays; see relay.h. Runs in: the launcher (relay_*), and one process for each stream (copy_*),
 * which holds the caller's descriptor of that stream, one or two ends of the agent's pipe, and
 * nothing else.
 *
 * How bytes move. Between two pipes by splice(2), which moves pages and copies nothing. Everything
 * else by read and write through one buffer: a file's offset may be shared with other processes of
 * the caller (`(bottle run a & b) > log`), and only read(2) and write(2) hold the kernel's lock on
 * it, splice(2) does not; and a file with O_APPEND refuses splice(2).
 *
 * Nothing blocks where something else must be noticed. A relay waits for its source in poll(2),
 * together with what else may end it; then it reads, and writes in a call that blocks until there is
 * room, since the end of the other side ends that call too (EPIPE). That is two or three system calls
 * for each chunk, where waiting for room in poll(2) as well takes five. Only towards a
 * pipe that cannot end that way (below) it writes without blocking. The caller's descriptor shares its
 * flags with the caller and so keeps them; where it is non-blocking, EAGAIN leads to poll(2).
 *
 * The end. An output relay ends when the last writer has closed the agent's pipe and all is written,
 * or when the caller's reader is gone: then it closes the agent's pipe, so that the next write gets
 * EPIPE or SIGPIPE as it would without us. The stdin relay ends when the agent's readers are gone, or
 * when the launcher closes the control socket. Of a file it keeps a read end of the agent's pipe as
 * well: FIONREAD then says what the agent left unread, and the offset goes back by as much, so that
 * `{ bottle run -- head -c 10; cat; } < file` behaves as if nothing had read ahead.
 *
 * What is unread is the agent's word. The pipe is its own: under the caller's uid it may chmod it, open
 * it for writing and put bytes in. So that word decides only between no byte and all that this run
 * forwarded, and the offset is set from where this run began, not from where it is: at worst the agent
 * has read less, or more, than it made use of, as any program may that is given a file. Where someone
 * else has moved the offset meanwhile it is theirs, and stays.
 */
#include "runtime/relay.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "runtime/child.h"

enum {
	BUFFER_BYTES = 256 * 1024,
	INPUT_BYTES = 64 * 1024, /* less read ahead */
	SPLICE_BYTES = 1024 * 1024,
	/* A quarter of what an unprivileged user may ask for. 1 MiB was not measurably faster, and
	 * all pipes of a user share one budget (pipe-user-pages-soft), past which the kernel gives
	 * every program of that user pipes of one page. */
	OUTPUT_PIPE_BYTES = 256 * 1024,
	STOP_WAIT_MS = 1000,
};

static const char *const stream_names[] = { "stdin", "stdout", "stderr" };
static const char *const relay_names[] = { "relay for stdin", "relay for stdout",
					   "relay for stderr" };

/* ---- in the relay's process ---- */

enum fd_sort { SORT_PIPE, SORT_SOCKET, SORT_FILE, SORT_OTHER };

struct copy {
	int src_fd, dst_fd;
	enum fd_sort src, dst;
	int stop_fd;   /* readable or closed: end; -1: none */
	int unread_fd; /* a read end of the agent's stdin pipe, or -1; see above */
	off_t start;   /* where unread_fd >= 0: the offset of src_fd before the first read, */
	off_t taken;   /* and how much was read since */
	size_t chunk;  /* bytes of one read */
	char *buffer;
	size_t at, len; /* what of it is not yet written */
};

/* Outcomes beside 0 and -errno. */
enum { COPY_END = 1 };

static enum fd_sort sort_of(int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return SORT_OTHER;
	if (S_ISFIFO(st.st_mode))
		return SORT_PIPE;
	if (S_ISSOCK(st.st_mode))
		return SORT_SOCKET;
	return S_ISREG(st.st_mode) || S_ISBLK(st.st_mode) ? SORT_FILE : SORT_OTHER;
}

static bool is_packet_socket(int fd)
{
	int type = 0;
	socklen_t len = sizeof(type);

	return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 && type != SOCK_STREAM;
}

static int wait_any(struct pollfd *pfds, nfds_t count)
{
	while (poll(pfds, count, -1) < 0)
		if (errno != EINTR)
			return -errno;
	return 0;
}

/* Until there is something to read. A destination pipe without readers ends the copy at once, before
 * anything was written. */
static int wait_source(const struct copy *copy)
{
	struct pollfd pfds[] = {
		{ .fd = copy->src_fd, .events = POLLIN },
		{ .fd = copy->stop_fd, .events = POLLIN },
		{ .fd = copy->dst == SORT_PIPE ? copy->dst_fd : -1 },
	};

	TRY(wait_any(pfds, 3));
	return pfds[1].revents || pfds[2].revents ? COPY_END : 0;
}

static int wait_destination(const struct copy *copy)
{
	struct pollfd pfds[] = {
		{ .fd = copy->dst_fd, .events = POLLOUT },
		{ .fd = copy->stop_fd, .events = POLLIN },
	};

	TRY(wait_any(pfds, 2));
	return pfds[1].revents ? COPY_END : 0;
}

static ssize_t read_some(const struct copy *copy)
{
	if (copy->src == SORT_SOCKET)
		return recv(copy->src_fd, copy->buffer, copy->chunk, MSG_DONTWAIT);
	return read(copy->src_fd, copy->buffer, copy->chunk);
}

static ssize_t write_some(const struct copy *copy)
{
	const char *from = copy->buffer + copy->at;

	if (copy->dst == SORT_SOCKET)
		return send(copy->dst_fd, from, copy->len, MSG_DONTWAIT | MSG_NOSIGNAL);
	return write(copy->dst_fd, from, copy->len);
}

static int flush_buffer(struct copy *copy)
{
	while (copy->len) {
		ssize_t n = write_some(copy);
		int rc;

		if (n < 0 && errno == EAGAIN) {
			rc = wait_destination(copy);
			if (rc)
				return rc;
		} else if (n < 0 && errno != EINTR) {
			return -errno;
		} else if (n > 0) {
			copy->at += (size_t)n;
			copy->len -= (size_t)n;
		}
	}
	return 0;
}

static int copy_by_buffer(struct copy *copy)
{
	for (;;) {
		/* A file is always ready. */
		int rc = copy->src == SORT_FILE ? 0 : wait_source(copy);
		ssize_t n;

		if (rc)
			return rc;
		n = read_some(copy);
		if (n == 0)
			return 0;
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return -errno;
		copy->at = 0;
		copy->len = n > 0 ? (size_t)n : 0;
		copy->taken += n > 0 ? n : 0;
		rc = flush_buffer(copy);
		if (rc)
			return rc;
	}
}

static int copy_by_splice(struct copy *copy)
{
	for (;;) {
		int rc = wait_source(copy);
		ssize_t n;

		if (rc)
			return rc;
		n = splice(copy->src_fd, NULL, copy->dst_fd, NULL, SPLICE_BYTES, SPLICE_F_MOVE);
		if (n == 0)
			return 0;
		if (n < 0 && errno == EAGAIN)
			rc = wait_destination(copy);
		else if (n < 0 && errno != EINTR)
			return -errno;
		if (rc)
			return rc;
	}
}

/* How much of the file counts as read by the agent. */
static off_t consumed(const struct copy *copy)
{
	off_t forwarded = copy->taken - (off_t)copy->len;
	int unread = 0;

	if (ioctl(copy->unread_fd, FIONREAD, &unread) < 0 || unread < 0)
		return forwarded;
	return unread < forwarded ? forwarded - unread : 0;
}

/* Sets a file's offset to what the agent did not read. The agent must see the end of file meanwhile,
 * so the write end goes first. Between the look at the offset and the setting of it lies a moment that
 * no lock can close; another reader of the same offset can have no order with us there anyway. */
static void give_back(struct copy *copy)
{
	struct pollfd stop = { .fd = copy->stop_fd, .events = POLLIN };

	if (copy->unread_fd < 0)
		return;
	fd_close(&copy->dst_fd);
	(void)!wait_any(&stop, 1);
	if (copy->start >= 0 && lseek(copy->src_fd, 0, SEEK_CUR) == copy->start + copy->taken)
		lseek(copy->src_fd, copy->start + consumed(copy), SEEK_SET);
}

/* Returns the exit status: 0, or an errno for relay_finish. */
static int copy_run(struct copy *copy)
{
	bool by_splice = copy->src == SORT_PIPE && copy->dst == SORT_PIPE;
	int rc = by_splice ? copy_by_splice(copy) : copy_by_buffer(copy);

	give_back(copy);
	if (rc >= 0 || rc == -EPIPE || rc == -ECONNRESET)
		return 0;
	return -rc < 127 ? -rc : EIO;
}

/* What a child needs of its parent; see start_one. */
struct relay_child {
	int stream;
	int pipe_fds[2];
	int control_fd;
	pid_t launcher;
	int (*confine)(struct err *err);
};

static int prepare_copy(const struct relay_child *child, struct copy *copy, struct err *err)
{
	bool is_input = child->stream == 0;
	int own_fd = child->pipe_fds[is_input ? 1 : 0];
	int callers_fd = fcntl(child->stream, F_DUPFD_CLOEXEC, 3);

	if (callers_fd < 0)
		return err_sys(err, errno, "fcntl");
	*copy = (struct copy){
		.src_fd = is_input ? callers_fd : own_fd,
		.dst_fd = is_input ? own_fd : callers_fd,
		.stop_fd = is_input ? child->control_fd : -1,
		.unread_fd = -1,
	};
	copy->src = sort_of(copy->src_fd);
	copy->dst = sort_of(copy->dst_fd);
	/* A datagram is read whole or loses its end. */
	copy->chunk = is_input && !is_packet_socket(callers_fd) ? INPUT_BYTES : BUFFER_BYTES;
	if (is_input && copy->src == SORT_FILE) {
		copy->unread_fd = child->pipe_fds[0];
		copy->start = lseek(callers_fd, 0, SEEK_CUR);
		if (fcntl(own_fd, F_SETFL, O_NONBLOCK) < 0)
			return err_sys(err, errno, "fcntl");
	}
	copy->buffer = mmap(NULL, BUFFER_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			    -1, 0);
	return copy->buffer == MAP_FAILED ? err_sys(err, errno, "mmap") : 0;
}

static int enter(const struct relay_child *child, struct copy *copy, struct err *err)
{
	int keep[4] = { child->control_fd };
	size_t count = 1;

	TRY(prepare_copy(child, copy, err));
	keep[count++] = copy->src_fd;
	keep[count++] = copy->dst_fd;
	if (copy->unread_fd >= 0)
		keep[count++] = copy->unread_fd;
	return child_enter(
		&(struct child_setup){
			.name = child->stream == 0 ? "bottle-stdin" : "bottle-output",
			.launcher = child->launcher,
			.death_signal = SIGKILL,
			.keep = keep,
			.keep_count = count,
			.confine = child->confine,
		},
		err);
}

static int relay_main(void *ctx)
{
	struct relay_child *child = ctx;
	struct copy copy = { 0 };
	struct err err = { "" };
	int rc = enter(child, &copy, &err);

	child_send_ready(child->control_fd, rc, &err);
	return rc < 0 ? EIO : copy_run(&copy);
}

/* ---- in the launcher ---- */

void relay_init(struct relay *relay)
{
	*relay = (struct relay){ .agent_fd = { -1, -1, -1 } };
}

/* A datagram socket keeps its boundaries in a pipe in packet mode (pipe(2), O_DIRECT), up to 4096
 * bytes each. The mode lets the agent open /dev/stdin and /dev/stdout anew, in the direction that it
 * holds, also where its uid is not the caller's (idmap: subid); the pipe has no name, so nobody else
 * can. It is no barrier: an agent of the caller's uid may change it. */
static int make_pipe(int stream, int ret_fds[static 2], struct err *err)
{
	int packets = is_packet_socket(stream) ? O_DIRECT : 0;

	if (pipe2(ret_fds, O_CLOEXEC | packets) < 0)
		return err_sys(err, errno, "pipe for %s", stream_names[stream]);
	if (stream != 0) /* refused past the user's budget: then the default must do */
		(void)!fcntl(ret_fds[1], F_SETPIPE_SZ, OUTPUT_PIPE_BYTES);
	(void)!fchmod(ret_fds[1], stream == 0 ? 0444 : 0222);
	return 0;
}

static int start_one(struct relay *relay, int stream, int (*confine)(struct err *err),
		     struct err *err)
{
	cleanup_fd int read_fd = -1;
	cleanup_fd int write_fd = -1;
	cleanup_fd int theirs = -1;
	struct relay_process *process = &relay->process[relay->count];
	struct relay_child child = { .stream = stream, .launcher = getpid(), .confine = confine };
	int pair[2];

	TRY(make_pipe(stream, child.pipe_fds, err));
	read_fd = child.pipe_fds[0];
	write_fd = child.pipe_fds[1];
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(err, errno, "socketpair");
	child.control_fd = theirs = pair[1];
	*process = (struct relay_process){ .stream = stream, .pidfd = -1, .control_fd = pair[0] };
	relay->count++;
	TRY(child_fork(relay_main, &child, &process->pidfd, err));
	relay->agent_fd[stream] = take_fd(stream == 0 ? &read_fd : &write_fd);
	return 0;
}

int relay_start(const struct stdio_plan *plan, int (*confine)(struct err *err),
		struct relay *ret_relay, struct err *err)
{
	cleanup_with(relay_clear) struct relay relay;

	relay_init(&relay);
	for (int stream = 0; stream < 3; stream++) {
		int rc = 0;

		if (plan->kind[stream] == STDIO_RELAY && !(stream == 2 && plan->shared_output))
			rc = start_one(&relay, stream, confine, err);
		if (rc < 0)
			return err_context(err, rc, "%s", relay_names[stream]);
	}
	*ret_relay = relay;
	relay_init(&relay);
	return 0;
}

int relay_ready(struct relay *relay, struct err *err)
{
	for (size_t i = 0; i < relay->count; i++) {
		const struct relay_process *process = &relay->process[i];

		TRY(child_wait_ready(process->control_fd, relay_names[process->stream], err));
	}
	return 0;
}

void relay_drop_agent_fds(struct relay *relay)
{
	for (int stream = 0; stream < 3; stream++)
		fd_close(&relay->agent_fd[stream]);
}

/* 1 when the process ended, 0 at the timeout, -EINTR. */
static int wait_process(int pidfd, int signal_fd, int timeout_ms)
{
	struct pollfd pfds[] = {
		{ .fd = pidfd, .events = POLLIN },
		{ .fd = signal_fd, .events = POLLIN },
	};
	int n = poll(pfds, 2, timeout_ms);

	if (n < 0)
		return -errno;
	if (pfds[0].revents)
		return 1;
	return pfds[1].revents ? -EINTR : 0;
}

/* Reaps an output relay and says what was lost. */
static int finish_output(struct relay_process *process, int signal_fd, int64_t deadline_ms,
			 struct err *err)
{
	int status, rc = wait_process(process->pidfd, signal_fd, clock_left_ms(deadline_ms));

	if (rc < 0)
		return rc == -EINTR ? rc : err_sys(err, -rc, "poll");
	if (rc == 0) {
		child_kill(&process->pidfd);
		return err_set(err, ETIMEDOUT,
			       "%s: its reader had not taken all when the run was to end; the rest "
			       "is lost",
			       stream_names[process->stream]);
	}
	status = child_reap(process->pidfd);
	fd_close(&process->pidfd);
	if (status == 0)
		return 0;
	if (status < 0)
		return err_sys(err, -status, "%s", relay_names[process->stream]);
	if (status > 128)
		return err_set(err, EIO, "%s: its relay was ended by signal %d; output was lost",
			       stream_names[process->stream], status - 128);
	return err_set(err, status, "%s: %s; the output after that is lost",
		       stream_names[process->stream], strerror(status));
}

static void finish_input(struct relay *relay, struct relay_process *process, struct err *err)
{
	int status, rc;

	/* It answers at once, unless another reader of the same device was faster and left it in a
	 * read(2) that blocks. */
	do {
		rc = wait_process(process->pidfd, -1, STOP_WAIT_MS);
	} while (rc == -EINTR);
	if (rc != 1) {
		child_kill(&process->pidfd);
		return;
	}
	status = child_reap(process->pidfd);
	fd_close(&process->pidfd);
	if (status > 128) /* the agent saw an end of file that was none */
		relay->lost = err_set(err, EIO,
				      "stdin: its relay was ended by signal %d; the command may "
				      "not have had all of its input",
				      status - 128);
	else if (status > 0)
		relay->unread = err_set(err, status, "stdin: %s", strerror(status));
}

/* What was lost is worth more of a sentence than what was not read. */
int relay_finish(struct relay *relay, int signal_fd, int64_t deadline_ms, struct err *err)
{
	relay_drop_agent_fds(relay);
	for (size_t i = 0; i < relay->count; i++) /* stdin's stops, the others do not listen */
		fd_close(&relay->process[i].control_fd);
	for (size_t i = 0; i < relay->count; i++) {
		struct relay_process *process = &relay->process[i];
		int rc;

		if (process->pidfd < 0)
			continue;
		if (process->stream == 0) {
			finish_input(relay, process, err);
			continue;
		}
		rc = finish_output(process, signal_fd, deadline_ms, relay->lost ? NULL : err);
		if (rc == -EINTR)
			return rc;
		if (relay->lost == 0)
			relay->lost = rc;
	}
	return relay->lost ? relay->lost : relay->unread;
}

void relay_clear(struct relay *relay)
{
	relay_drop_agent_fds(relay);
	for (size_t i = 0; i < relay->count; i++) {
		child_kill(&relay->process[i].pidfd);
		fd_close(&relay->process[i].control_fd);
	}
	relay_init(relay);
}

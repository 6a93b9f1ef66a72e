/* SPDX-License-Identifier: Apache-2.0
 *
 * Load for an egress proxy: closed loop (a connection begins its next request when it has its answer),
 * HTTP/1.1 over TLS, straight to a server or through CONNECT. One thread, one epoll.
 *
 *   load [-x ADDRESS:PORT] [-m MODE] [-c CONNS] [-n REQUESTS | -t SECONDS] [-w WARM_UP_SECONDS]
 *        [-b BODY_BYTES] [-p PID]... HOST PATH
 *
 *   -x  the proxy; else 127.0.0.1:443 itself
 *   -m  keep (default), new, resume, hosts, idle: see load.h
 *   -b  POST with so many bytes
 *   -p  also tell the CPU time that this process and its descendants used meanwhile
 *
 * Prints one line of JSON. With `-m idle` it prints it when every connection has had its answer, holds
 * them until its stdin ends, and then prints how many were still open.
 *
 * Certificates are not verified here: what is measured is the proxy, and bench.py has tried before
 * that it is the right one.
 *
 * Runs in: bench.py's namespace; needs no privilege.
 */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <inttypes.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#include "tests/bench/proxy/load.h"

enum { PIDS_MAX = 8, EVENTS = 256, IN_FLIGHT_MAX = 32, FAILURES_MAX = 1000, PATIENCE_MS = 30000 };

struct options {
	double seconds, warm_up;
	int pids[PIDS_MAX];
	size_t pids_count;
};

/* utime and stime of one /proc/PID/stat (proc(5)), in ticks. */
static uint64_t ticks_of(const char *stat_text)
{
	const char *after_name = strrchr(stat_text, ')');
	unsigned long user = 0, system = 0;

	if (!after_name ||
	    sscanf(after_name + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user,
		   &system) != 2)
		return 0;
	return user + system;
}

static uint64_t process_ticks(int pid)
{
	char path[64], text[1024];
	uint64_t total = 0;
	int child;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	file = fopen(path, "re");
	if (!file)
		return 0;
	if (fgets(text, sizeof(text), file))
		total = ticks_of(text);
	fclose(file);
	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", pid, pid);
	file = fopen(path, "re");
	while (file && fscanf(file, "%d", &child) == 1)
		total += process_ticks(child);
	if (file)
		fclose(file);
	return total;
}

static uint64_t cpu_us(const struct options *options)
{
	uint64_t ticks = 0;

	for (size_t i = 0; i < options->pids_count; i++)
		ticks += process_ticks(options->pids[i]);
	return ticks * 1000000 / (uint64_t)sysconf(_SC_CLK_TCK);
}

static int compare(const void *left, const void *right)
{
	uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;

	return a < b ? -1 : a > b;
}

static double quantile_us(const struct load *load, double share)
{
	size_t last = load->latencies_len ? load->latencies_len - 1 : 0;

	if (!load->latencies_len)
		return 0;
	return (double)load->latencies_ns[(size_t)((double)last * share)] / 1e3;
}

static void report(struct load *load, double seconds, uint64_t cpu)
{
	qsort(load->latencies_ns, load->latencies_len, sizeof(*load->latencies_ns), compare);
	printf("{\"seconds\":%.6f,\"requests\":%" PRIu64 ",\"cpu_us\":%" PRIu64
	       ",\"p50_us\":%.1f,\"p99_us\":%.1f,\"bytes\":%" PRIu64 ",\"handshakes\":%" PRIu64
	       ",\"resumed\":%" PRIu64 ",\"not_ok\":%" PRIu64 ",\"failed\":%" PRIu64
	       ",\"last_failure\":\"%s\"}\n",
	       seconds, load->completed, cpu, quantile_us(load, .5), quantile_us(load, .99),
	       load->answer_bytes, load->handshakes, load->resumed, load->not_ok, load->failed,
	       load->last_failure);
	fflush(stdout);
}

/* Begins on the connections that have not begun yet; of those that will stay only a few at a time, so
 * that no backlog overflows. */
static void begin_more(struct load *load, struct conn **conns, size_t *begun)
{
	size_t at_once = load->mode == MODE_IDLE ? IN_FLIGHT_MAX : load->conns;

	while (*begun < load->conns && load->live < at_once)
		conn_begin(conns[(*begun)++]);
}

/* A connection that failed is begun anew, where the plan still has requests. */
static void turn(struct load *load)
{
	struct epoll_event events[EVENTS];
	int count = epoll_wait(load->epoll_fd, events, EVENTS, PATIENCE_MS);

	if (count == 0)
		errx(1, "no connection moved for %d s", PATIENCE_MS / 1000);
	for (int i = 0; i < count; i++) {
		conn_event(events[i].data.ptr);
		if (conn_is_closed(events[i].data.ptr) && load->mode != MODE_IDLE)
			conn_begin(events[i].data.ptr);
	}
	if (load->failed > FAILURES_MAX)
		errx(1, "too many failures; the last: %s", load->last_failure);
}

static void run(struct load *load, struct conn **conns, const struct options *options)
{
	uint64_t from = now_ns(), warm_end = from + (uint64_t)(options->warm_up * 1e9);
	uint64_t cpu = cpu_us(options);
	size_t begun = 0;

	load->end_ns = warm_end + (uint64_t)(options->seconds * 1e9);
	load->is_measuring = options->warm_up <= 0;
	begin_more(load, conns, &begun);
	while (load->live) {
		turn(load);
		if (!load->is_measuring && now_ns() >= warm_end) {
			load->is_measuring = true;
			from = now_ns();
			cpu = cpu_us(options);
		}
		begin_more(load, conns, &begun);
	}
	report(load, (double)(now_ns() - from) / 1e9, cpu_us(options) - cpu);
}

static void hold(const struct load *load, struct conn *const *conns)
{
	char byte;
	size_t open_count = 0;

	while (read(STDIN_FILENO, &byte, 1) > 0)
		;
	for (size_t i = 0; i < load->conns; i++)
		open_count += conn_is_open(conns[i]);
	printf("{\"open\":%zu}\n", open_count);
}

static enum load_mode mode_of(const char *word)
{
	static const char *const words[] = {
		[MODE_KEEP] = "keep",	[MODE_NEW] = "new",   [MODE_RESUME] = "resume",
		[MODE_HOSTS] = "hosts", [MODE_IDLE] = "idle",
	};

	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
		if (!strcmp(words[i], word))
			return (enum load_mode)i;
	errx(2, "-m %s: not a mode", word);
}

static void set_proxy(struct load *load, char *text)
{
	char *colon = strrchr(text, ':');

	if (!colon)
		errx(2, "-x %s: not ADDRESS:PORT", text);
	*colon = 0;
	load->through_proxy = true;
	load->address.sin_port = htons((uint16_t)strtoul(colon + 1, NULL, 10));
	if (inet_pton(AF_INET, text, &load->address.sin_addr) != 1)
		errx(2, "-x %s: not an IPv4 address", text);
}

static void parse(int argc, char **argv, struct load *load, struct options *options)
{
	int option;

	while ((option = getopt(argc, argv, "x:m:c:n:t:w:b:p:")) != -1) {
		switch (option) {
		case 'x':
			set_proxy(load, optarg);
			break;
		case 'm':
			load->mode = mode_of(optarg);
			break;
		case 'c':
			load->conns = strtoul(optarg, NULL, 10);
			break;
		case 'n':
			load->requests_max = strtoul(optarg, NULL, 10);
			break;
		case 't':
			options->seconds = strtod(optarg, NULL);
			break;
		case 'w':
			options->warm_up = strtod(optarg, NULL);
			break;
		case 'b':
			load->body_bytes = strtoul(optarg, NULL, 10);
			break;
		case 'p':
			if (options->pids_count == PIDS_MAX)
				errx(2, "-p: at most %d", PIDS_MAX);
			options->pids[options->pids_count++] = (int)strtol(optarg, NULL, 10);
			break;
		default:
			exit(2);
		}
	}
	if (argc - optind != 2 || !load->conns)
		errx(2, "usage: load [options] HOST PATH");
	load->host = argv[optind];
	load->path = argv[optind + 1];
	if (load->mode == MODE_IDLE)
		load->requests_max = load->conns;
}

static SSL_CTX *client_tls(const struct load *load)
{
	SSL_CTX *tls = SSL_CTX_new(TLS_client_method());

	if (!tls)
		errx(1, "SSL_CTX_new");
	SSL_CTX_set_mode(tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_session_cache_mode(tls, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	if (load->mode == MODE_IDLE)
		SSL_CTX_set_mode(tls, SSL_MODE_RELEASE_BUFFERS);
	else
		SSL_CTX_set_read_ahead(tls, 1);
	return tls;
}

int main(int argc, char **argv)
{
	struct options options = { .seconds = 2 };
	struct load load = {
		.conns = 1,
		.address = { .sin_family = AF_INET,
			     .sin_port = htons(443),
			     .sin_addr.s_addr = htonl(INADDR_LOOPBACK) },
	};
	struct rlimit files;
	struct conn **conns;

	signal(SIGPIPE, SIG_IGN); /* OpenSSL writes with write(2) */
	parse(argc, argv, &load, &options);
	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	load.tls = client_tls(&load);
	load.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	load.body = malloc(load.body_bytes + 1);
	conns = calloc(load.conns, sizeof(struct conn *));
	for (size_t i = 0; conns && i < load.conns; i++)
		conns[i] = conn_new(&load);
	if (load.epoll_fd < 0 || !conns || !conns[load.conns - 1] || !load.body)
		err(1, "start");
	memset(load.body, 'x', load.body_bytes);
	run(&load, conns, &options);
	if (load.mode == MODE_IDLE)
		hold(&load, conns);
	return load.completed ? 0 : 1;
}

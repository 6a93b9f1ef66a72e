/* SPDX-License-Identifier: Apache-2.0
 *
 * `bottle doctor`; see cmd_doctor.h. Runs in: launcher, with a forked child for each check, which ends
 * by _exit and reports through a pipe.
 */
#include "runtime/cmd_doctor.h"

#include <errno.h>
#include <jansson.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "runtime/commands.h"
#include "runtime/doctor_checks.h"

enum { CHECK_TIMEOUT_S = 20 };

enum verdict { VERDICT_OK, VERDICT_WARN, VERDICT_FAIL };
static const char *const verdict_names[] = { "ok", "warn", "fail" };

struct report {
	int rc; /* of the check */
	int step;
	struct err said;
};

struct finding {
	enum verdict verdict;
	struct err said; /* what was seen */
	struct err why;	 /* the reason and the fix, where evidence shows one; else "" */
};

/* No message for a person may come from the child: one that hangs is ended by its alarm. */
static _Noreturn void check_child(const struct doctor_check *check, int report_fd)
{
	struct report report = { .step = DOCTOR_NO_STEP };

	signal(SIGALRM, SIG_DFL);
	alarm(CHECK_TIMEOUT_S);
	report.rc = check->run(&report.step, &report.said);
	_exit(fd_write_all(report_fd, &report, sizeof(report)) < 0);
}

static int read_report(int fd, struct report *report)
{
	cleanup_with(buf_clear) struct buf bytes = { 0 };

	TRY(fd_read_all(fd, sizeof(*report), &bytes));
	if (bytes.len != sizeof(*report))
		return -EPROTO;
	memcpy(report, bytes.data, sizeof(*report));
	report->said.text[sizeof(report->said.text) - 1] = '\0';
	return 0;
}

/* Runs one check to its end. Never fails: what goes wrong is the check's failure. */
static struct report run_check(const struct doctor_check *check)
{
	struct report report = { .step = DOCTOR_NO_STEP };
	cleanup_fd int reader = -1, writer = -1;
	int fds[2];
	pid_t pid;

	report.rc = fd_pipe(fds);
	if (report.rc < 0) {
		err_sys(&report.said, -report.rc, "a pipe for the check's answer");
		return report;
	}
	reader = fds[0];
	writer = fds[1];
	pid = fork();
	if (pid == 0)
		check_child(check, writer);
	if (pid < 0)
		report.rc = err_fork(&report.said, errno, "starting the check's process");
	fd_close(&writer);
	if (pid > 0 && read_report(reader, &report) < 0)
		report.rc = err_set(&report.said, ECHILD,
				    "the check's process ended without an answer");
	while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		continue;
	return report;
}

static struct finding judge(const struct doctor_check *check)
{
	struct report report = run_check(check);
	struct finding finding = { .said = report.said };

	if (report.rc < 0)
		finding.verdict = check->is_needed ? VERDICT_FAIL : VERDICT_WARN;
	else if (report.rc > 0)
		finding.verdict = VERDICT_WARN;
	if (report.rc < 0 && report.step != DOCTOR_NO_STEP)
		host_explain((enum host_step)report.step, -report.rc, &finding.why);
	return finding;
}

/* One cause fails many checks: its reason is printed once. */
static void print_text(const struct doctor_check *check, const struct finding *finding,
		       struct err *last_why)
{
	/* A sentence may name a path, and any program may have chosen that. */
	printf("%-5s %-19s ", verdict_names[finding->verdict], check->name);
	log_print_safe(stdout, finding->said.text);
	putchar('\n');
	if (finding->why.text[0] && strcmp(finding->why.text, last_why->text) != 0) {
		printf("      %-19s ", "");
		log_print_safe(stdout, finding->why.text);
		putchar('\n');
	}
	if (finding->why.text[0])
		*last_why = finding->why;
	fflush(stdout);
}

/* jansson wants UTF-8; a path in a sentence may hold anything. */
static json_t *json_text(const char *text)
{
	char shown[4 * ERR_TEXT_BYTES];
	json_t *string = json_string(text);

	return string ? string : json_string(str_escape(shown, sizeof(shown), text, strlen(text)));
}

static json_t *json_finding(const struct doctor_check *check, const struct finding *finding)
{
	return json_pack("{s:s, s:s, s:b, s:o, s:o}", "check", check->name, "verdict",
			 verdict_names[finding->verdict], "needed", check->is_needed, "detail",
			 json_text(finding->said.text), "why", json_text(finding->why.text));
}

static int examine(bool as_json)
{
	json_t *list = as_json ? json_array() : NULL;
	enum verdict worst = VERDICT_OK;
	struct err last_why = { "" };

	for (size_t i = 0; i < doctor_check_count; i++) {
		const struct finding finding = judge(&doctor_checks[i]);

		if (finding.verdict > worst)
			worst = finding.verdict;
		if (as_json)
			json_array_append_new(list, json_finding(&doctor_checks[i], &finding));
		else
			print_text(&doctor_checks[i], &finding, &last_why);
	}
	if (as_json) {
		json_dumpf(list, stdout, JSON_INDENT(2) | JSON_ENSURE_ASCII);
		putchar('\n');
		json_decref(list);
	} else {
		puts(worst == VERDICT_FAIL ? "\nA bottle cannot run here yet."
					   : "\nA bottle can run here.");
	}
	if (fflush(stdout) != 0)
		return EXIT_BOTTLE_FAILED;
	return worst == VERDICT_FAIL ? EXIT_BOTTLE_FAILED : 0;
}

int cmd_doctor(int argc, char **argv)
{
	bool as_json = argc == 2 && strcmp(argv[1], "--json") == 0;

	if (argc > 2 || (argc == 2 && !as_json)) {
		log_error("usage: bottle doctor [--json]");
		return EXIT_BOTTLE_FAILED;
	}
	return examine(as_json);
}

/* SPDX-License-Identifier: Apache-2.0
 * What is told when a run is over; see report.h. Runs in: launcher. */
#include "runtime/report.h"

#include "base/cleanup.h"
#include "base/log.h"

/* What was not there at the start could not be made read-only; if it is there now, say so. What was
 * there was read-only for as long as it was the same. */
static void report_guarded(const struct plan *plan, bool lost)
{
	cleanup_with(strlist_clear) struct strlist made = { 0 };
	cleanup_with(strlist_clear) struct strlist changed = { 0 };

	if (plan_guard_find_made(plan, &made) < 0 ||
	    plan_guard_find_changed(plan, lost, &changed) < 0)
		log_warning("out of memory: not looked for what was made inside the bottle");
	for (size_t i = 0; i < changed.len; i++)
		log_warning("%s was replaced or changed during the run, by you or by the agent; "
			    "look at it before one of your tools obeys it",
			    changed.items[i]);
	for (size_t i = 0; i < made.len; i++)
		log_warning("%s was made inside the bottle; look at it before one of your tools "
			    "obeys it",
			    made.items[i]);
}

void report_end(const struct plan *plan, const struct audit *audit, bool a_guard_was_lost)
{
	char line[2048];

	report_guarded(plan, a_guard_was_lost); /* also under --quiet: it is all that stands before
						 * their being obeyed */
	if (plan->quiet)
		return;
	if (audit_summary_line(audit, plan->found_manifest ? plan->manifest.path : NULL, line,
			       sizeof(line)))
		log_note("%s", line);
}

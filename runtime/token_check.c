/* SPDX-License-Identifier: Apache-2.0
 * Tokens in what the agent is given; see token_check.h. Runs in: launcher, before anything is forked. */
#include "runtime/token_check.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

/* A token too short to be searched for is still not given under its own name. */
static bool is_token(const struct secrets *secrets, const char *item)
{
	cleanup_free char *name = strndup(item, strcspn(item, "="));
	const char *token = name ? secrets_get(secrets, name, NULL) : NULL;

	/* Without memory to tell by: taken for one. */
	return !name || (token && strstr(item + strlen(name), token));
}

static int check_agent_has_none(const struct secrets *secrets, const struct plan_role *agent,
				struct err *err)
{
	for (size_t i = 0; i < agent->env.len; i++) {
		const char *item = agent->env.items[i];

		if (secrets_found_in(secrets, item, strlen(item)) || is_token(secrets, item))
			return err_set(err, EPERM,
				       "the agent's variable %.*s would hold the value of a token; "
				       "take it out of env and pass_env, or unset it",
				       (int)strcspn(item, "="), item);
	}
	for (size_t i = 0; i < agent->argv.len; i++)
		if (secrets_found_in(secrets, agent->argv.items[i], strlen(agent->argv.items[i])))
			return err_set(err, EPERM,
				       "word %zu of the command holds the value of a token", i + 1);
	return 0;
}

static bool is_set(const char *name)
{
	const char *value = getenv(name);

	return value && *value;
}

static int take(const struct plan *plan, bool only_set, struct secrets *secrets, struct err *err)
{
	const struct strlist *names = &plan->token_refs;
	cleanup_free struct secret_ref *refs = calloc(names->len + 1, sizeof(*refs));
	size_t count = 0;

	if (!refs)
		return err_sys(err, ENOMEM, "take the tokens");
	for (size_t i = 0; i < names->len; i++)
		if (!only_set || is_set(names->items[i]))
			refs[count++] = (struct secret_ref){
				names->items[i], plan_token_where(plan, names->items[i])
			};
	TRY(secrets_init(secrets, err));
	TRY(secrets_take_env(secrets, refs, count, err));
	return check_agent_has_none(secrets, &plan->agent, err);
}

int token_check_take(const struct plan *plan, struct secrets *secrets, struct err *err)
{
	return take(plan, false, secrets, err);
}

int token_check_dry(const struct plan *plan, struct err *err)
{
	cleanup_with(secrets_wipe) struct secrets secrets = { 0 };

	return take(plan, true, &secrets, err);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Which (name, port); see gate_policy.h. Runs in: the gate. Pure.
 */
#include "netns/gate_policy.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

bool gate_name_fold(const char *name, char ret_name[static GATE_NAME_BYTES])
{
	size_t len = strlen(name);

	if (len && name[len - 1] == '.')
		len--;
	if (!len || len >= GATE_NAME_BYTES)
		return false;
	for (size_t i = 0; i < len; i++)
		ret_name[i] = name[i] >= 'A' && name[i] <= 'Z' ? (char)(name[i] | 0x20) : name[i];
	ret_name[len] = '\0';
	return true;
}

static int copy_target(struct gate_target *to, const struct gate_target *from, struct err *err)
{
	char host[GATE_NAME_BYTES], text[ADDRESS_TEXT_BYTES];
	struct address ip;

	if (!gate_name_fold(from->host, host) || !from->port)
		return err_set(err, EINVAL, "gate: '%.64s' port %u is no target", from->host,
			       from->port);
	if (from->address && !address_parse(from->address, &ip))
		return err_set(err, EINVAL, "gate: the address '%.64s' of '%.64s' is no IP literal",
			       from->address, from->host);
	*to = *from;
	to->address = from->address ? strdup(address_format(&ip, text)) : NULL;
	to->host = strdup(address_parse(host, &ip) ? address_format(&ip, text) : host);
	if (!to->host || (from->address && !to->address))
		return err_set(err, ENOMEM, "gate: no memory for the targets");
	return 0;
}

int gate_policy_init(struct gate_policy *policy, const struct gate_target *targets, size_t count,
		     struct err *err)
{
	*policy = (struct gate_policy){ .targets = calloc(count + 1, sizeof(*targets)) };
	if (!policy->targets)
		return err_set(err, ENOMEM, "gate: no memory for the targets");
	for (size_t i = 0; i < count; i++) {
		int rc;

		policy->count++;
		rc = copy_target(&policy->targets[i], &targets[i], err);
		if (rc < 0) {
			gate_policy_clear(policy);
			return rc;
		}
	}
	return 0;
}

void gate_policy_clear(struct gate_policy *policy)
{
	for (size_t i = 0; i < policy->count; i++) {
		free((void *)(uintptr_t)policy->targets[i].host);
		free((void *)(uintptr_t)policy->targets[i].address);
	}
	free(policy->targets);
	*policy = (struct gate_policy){ 0 };
}

static bool wildcard_matches(const char *pattern, const char *name)
{
	size_t suffix_len, name_len = strlen(name);

	if (pattern[0] != '*' || pattern[1] != '.' || !pattern[2])
		return false;
	suffix_len = strlen(pattern + 1); /* with its dot: the apex is one byte too short */
	return name_len > suffix_len && !strcmp(name + name_len - suffix_len, pattern + 1);
}

const struct gate_target *gate_policy_match(const struct gate_policy *policy, const char *name)
{
	const struct gate_target *best = NULL;
	struct address ip;
	bool is_literal = address_parse(name, &ip);

	for (size_t i = 0; i < policy->count; i++) {
		const struct gate_target *t = &policy->targets[i];

		if (!strcmp(t->host, name))
			return t;
		if (!is_literal && wildcard_matches(t->host, name) &&
		    (!best || strlen(t->host) > strlen(best->host)))
			best = t;
	}
	return best;
}

const struct gate_target *gate_policy_find(const struct gate_policy *policy, const char *name,
					   uint16_t port)
{
	const struct gate_target *best = gate_policy_match(policy, name);

	for (size_t i = 0; best && i < policy->count; i++) {
		const struct gate_target *t = &policy->targets[i];

		if (t->port == port && !strcmp(t->host, best->host))
			return t;
	}
	return NULL;
}

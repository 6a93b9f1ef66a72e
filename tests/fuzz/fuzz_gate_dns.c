/* SPDX-License-Identifier: Apache-2.0
 *
 * libFuzzer target of the gate's DNS parser and answer. Beyond not crashing: the answer fits, echoes
 * the question, and what the parser called a hostname is one.
 *   clang -fsanitize=fuzzer,address,undefined -D_GNU_SOURCE -I. tests/fuzz/fuzz_gate_dns.c netns/gate_dns.c
 */
#include <stdlib.h>
#include <string.h>

#include "netns/gate_dns.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int holds)
{
	if (!holds)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyz0123456789-_.";
	static const uint8_t address[] = { 198, 18, 0, 1 };
	uint8_t answer[GATE_DNS_ANSWER_MAX];
	struct gate_dns_question q;
	int rcode;
	size_t len;

	if (size > GATE_DNS_QUERY_MAX)
		return 0;
	rcode = gate_dns_parse(data, size, &q);
	if (rcode < 0)
		return 0;
	require(strlen(q.name) < 255);
	if (q.bytes && q.is_hostname)
		require(q.name[strspn(q.name, allowed)] == '\0');
	len = gate_dns_answer(&q, data, rcode, rcode ? NULL : address, answer);
	require(len >= 12 + q.bytes && len <= sizeof(answer));
	require(!memcmp(answer + 12, data + 12, q.bytes));
	require(rcode || q.bytes);
	return 0;
}

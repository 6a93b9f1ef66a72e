/* SPDX-License-Identifier: Apache-2.0
 *
 * Which (name, port), which address; see gate_policy.h. Runs in: the gate. Pure.
 *
 * Addresses are judged by longest prefix over two tables, which follow IANA's special-purpose
 * registries (IPv4: RFC 6890 and what was added since; IPv6 likewise): a range whose entry does not
 * say "Globally Reachable: True" is not dialled unless the route asks for private addresses. IPv4 is
 * global where no row says otherwise; IPv6 is global in 2000::/3 only.
 *
 * Some IPv6 ranges carry an IPv4 address that a translator or tunnel of the host may deliver to.
 * Such an address is as bad as the worse of the two.
 */
#include "netns/gate_policy.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

struct range {
	uint8_t prefix[16];
	uint8_t bits;
	uint8_t class;
	const char *name;
};

#define V4(a, b, c, d, bits_, class_, name_)                                           \
	{                                                                              \
		.prefix = { a, b, c, d }, .bits = bits_, .class = GATE_CLASS_##class_, \
		.name = name_                                                          \
	}

static const struct range v4_ranges[] = {
	V4(0, 0, 0, 0, 0, GLOBAL, "global"),
	V4(0, 0, 0, 0, 8, NEVER, "this network (RFC 791)"), /* Linux takes 0.0.0.0 for loopback */
	V4(10, 0, 0, 0, 8, PRIVATE, "private (RFC 1918)"),
	V4(100, 64, 0, 0, 10, PRIVATE, "shared address space (RFC 6598)"),
	V4(127, 0, 0, 0, 8, PRIVATE, "loopback"),
	V4(169, 254, 0, 0, 16, PRIVATE, "link-local (RFC 3927)"),
	V4(172, 16, 0, 0, 12, PRIVATE, "private (RFC 1918)"),
	V4(192, 0, 0, 0, 24, PRIVATE, "IETF protocol assignments (RFC 6890)"),
	V4(192, 0, 0, 9, 32, GLOBAL, "PCP anycast (RFC 7723)"),
	V4(192, 0, 0, 10, 32, GLOBAL, "TURN anycast (RFC 8155)"),
	V4(192, 0, 2, 0, 24, PRIVATE, "documentation (RFC 5737)"),
	V4(192, 31, 196, 0, 24, GLOBAL, "AS112 (RFC 7535)"),
	V4(192, 52, 193, 0, 24, GLOBAL, "AMT (RFC 7450)"),
	V4(192, 88, 99, 0, 24, PRIVATE, "6to4 relay anycast (RFC 7526)"),
	V4(192, 168, 0, 0, 16, PRIVATE, "private (RFC 1918)"),
	V4(192, 175, 48, 0, 24, GLOBAL, "AS112 (RFC 7534)"),
	V4(198, 18, 0, 0, 15, PRIVATE, "benchmarking (RFC 2544)"),
	V4(198, 51, 100, 0, 24, PRIVATE, "documentation (RFC 5737)"),
	V4(203, 0, 113, 0, 24, PRIVATE, "documentation (RFC 5737)"),
	V4(224, 0, 0, 0, 4, NEVER, "multicast"),
	V4(240, 0, 0, 0, 4, PRIVATE, "reserved (RFC 1112)"),
	V4(255, 255, 255, 255, 32, NEVER, "broadcast"),
	/* The clouds. Some lie in global ranges, some in ranges that allow_private would open. */
	V4(169, 254, 169, 0, 24, METADATA, "cloud metadata (AWS, Azure, GCP, OCI, OpenStack)"),
	V4(169, 254, 170, 0, 24, METADATA, "cloud metadata (AWS ECS, EKS)"),
	V4(169, 254, 0, 23, 32, METADATA, "cloud metadata (Tencent)"),
	V4(169, 254, 42, 42, 32, METADATA, "cloud metadata (Scaleway)"),
	V4(100, 100, 100, 200, 32, METADATA, "cloud metadata (Alibaba)"),
	V4(100, 96, 0, 96, 32, METADATA, "cloud metadata (Volcengine)"),
	V4(168, 63, 129, 16, 32, METADATA, "cloud metadata (Azure wire server)"),
	V4(192, 0, 0, 192, 32, METADATA, "cloud metadata (Oracle classic)"),
};

#define V6(text, bits_, class_, name_)                                                         \
	{                                                                                      \
		.prefix = { text }, .bits = bits_, .class = GATE_CLASS_##class_, .name = name_ \
	}
#define B(...) __VA_ARGS__

static const struct range v6_ranges[] = {
	V6(B(0), 0, PRIVATE, "not global unicast"),
	V6(B(0x20), 3, GLOBAL, "global"),
	V6(B(0), 128, NEVER, "unspecified"),
	V6(B([15] = 1), 128, PRIVATE, "loopback"),
	V6(B(0x00, 0x64, 0xff, 0x9b), 96, GLOBAL, "NAT64 (RFC 6052)"), /* by its embedded address */
	V6(B(0x00, 0x64, 0xff, 0x9b, 0x00, 0x01), 48, PRIVATE, "local NAT64 (RFC 8215)"),
	V6(B(0x01), 64, PRIVATE, "discard-only (RFC 6666)"),
	V6(B(0x20, 0x01), 23, PRIVATE, "IETF protocol assignments (RFC 2928)"),
	V6(B(0x20, 0x01), 32, PRIVATE, "Teredo (RFC 4380)"),
	V6(B(0x20, 0x01, 0x00, 0x01, [15] = 1), 128, GLOBAL, "PCP anycast (RFC 7723)"),
	V6(B(0x20, 0x01, 0x00, 0x01, [15] = 2), 128, GLOBAL, "TURN anycast (RFC 8155)"),
	V6(B(0x20, 0x01, 0x00, 0x01, [15] = 3), 128, GLOBAL, "DNS-SD SRP anycast (RFC 9665)"),
	V6(B(0x20, 0x01, 0x00, 0x02), 48, PRIVATE, "benchmarking (RFC 5180)"),
	V6(B(0x20, 0x01, 0x00, 0x03), 32, GLOBAL, "AMT (RFC 7450)"),
	V6(B(0x20, 0x01, 0x00, 0x04, 0x01, 0x12), 48, GLOBAL, "AS112 (RFC 7535)"),
	V6(B(0x20, 0x01, 0x00, 0x10), 28, PRIVATE, "ORCHID (RFC 4843)"),
	V6(B(0x20, 0x01, 0x00, 0x20), 28, GLOBAL, "ORCHIDv2 (RFC 7343)"),
	V6(B(0x20, 0x01, 0x00, 0x30), 28, GLOBAL, "drone remote id (RFC 9374)"),
	V6(B(0x20, 0x01, 0x0d, 0xb8), 32, PRIVATE, "documentation (RFC 3849)"),
	V6(B(0x20, 0x02), 16, PRIVATE, "6to4 (RFC 3056)"),
	V6(B(0x26, 0x20, 0x00, 0x4f, 0x80, 0x00), 48, GLOBAL, "AS112 (RFC 7534)"),
	V6(B(0x3f, 0xff), 20, PRIVATE, "documentation (RFC 9637)"),
	V6(B(0x5f, 0x00), 16, PRIVATE, "segment routing (RFC 9602)"),
	V6(B(0xfc), 7, PRIVATE, "unique local (RFC 4193)"),
	V6(B(0xfe, 0x80), 10, PRIVATE, "link-local (RFC 4291)"),
	V6(B(0xfe, 0xc0), 10, PRIVATE, "site-local (RFC 3879)"),
	V6(B(0xff), 8, NEVER, "multicast"),
	/* The clouds. */
	V6(B(0xfd, 0x00, 0x0e, 0xc2), 32, METADATA, "cloud metadata (AWS)"),
	V6(B(0xfd, 0x20, 0x00, 0xce), 32, METADATA, "cloud metadata (GCP)"),
	V6(B(0xfd, 0x00, 0x00, 0xc1), 32, METADATA, "cloud metadata (OCI)"),
	V6(B(0xfd, 0x00, 0x00, 0x42, [15] = 0x42), 128, METADATA, "cloud metadata (Scaleway)"),
	V6(B(0xfe, 0x80, [12] = 0xa9, 0xfe, 0xa9, 0xfe), 128, METADATA,
	   "cloud metadata (OpenStack)"),
};

/* Where an IPv6 address carries an IPv4 one: the prefix that says so, the bits of `mask` that must
 * equal it, the four bytes. */
struct embedding {
	uint8_t value[16];
	uint8_t mask[16];
	uint8_t at[4];
	uint8_t invert;
	bool is_guess; /* one of several readings: only a metadata address counts */
};

#define LAST4                  \
	{                      \
		12, 13, 14, 15 \
	}
#define FF2 0xff, 0xff
#define FF4 FF2, FF2
#define FF6 FF4, FF2

static const struct embedding embeddings[] = {
	/* ::a.b.c.d, IPv4-compatible (RFC 4291 §2.5.5.1, deprecated); :: and ::1 are rows above. */
	{ .mask = { FF6, FF6 }, .at = LAST4 },
	/* ::ffff:0:a.b.c.d, IPv4-translated (RFC 2765). */
	{ .value = { [8] = 0xff, 0xff }, .mask = { FF6, FF6 }, .at = LAST4 },
	/* 64:ff9b::a.b.c.d. */
	{ .value = { 0, 0x64, 0xff, 0x9b }, .mask = { FF6, FF6 }, .at = LAST4 },
	/* 64:ff9b:1::/48 may be cut at /48, /56, /64 or /96 (RFC 6052 §2.2; byte 8 is skipped). Which it
	 * is the host's network knows. */
	{ .value = { 0, 0x64, 0xff, 0x9b, 0, 1 },
	  .mask = { FF6 },
	  .at = { 6, 7, 9, 10 },
	  .is_guess = true },
	{ .value = { 0, 0x64, 0xff, 0x9b, 0, 1 },
	  .mask = { FF6 },
	  .at = { 7, 9, 10, 11 },
	  .is_guess = true },
	{ .value = { 0, 0x64, 0xff, 0x9b, 0, 1 },
	  .mask = { FF6 },
	  .at = { 9, 10, 11, 12 },
	  .is_guess = true },
	{ .value = { 0, 0x64, 0xff, 0x9b, 0, 1 }, .mask = { FF6 }, .at = LAST4, .is_guess = true },
	/* 2002:a.b.c.d::/48, 6to4. */
	{ .value = { 0x20, 0x02 }, .mask = { FF2 }, .at = { 2, 3, 4, 5 } },
	/* 2001:0:<server>:…:<client, inverted>, Teredo. */
	{ .value = { 0x20, 0x01 }, .mask = { FF4 }, .at = { 4, 5, 6, 7 } },
	{ .value = { 0x20, 0x01 }, .mask = { FF4 }, .at = LAST4, .invert = 0xff },
	/* …:0:5efe:a.b.c.d and …:200:5efe:a.b.c.d, ISATAP (RFC 5214 §6.1). */
	{ .value = { [10] = 0x5e, 0xfe }, .mask = { [8] = 0xfd, 0xff, FF2 }, .at = LAST4 },
};

static bool prefix_matches(const uint8_t *bytes, const uint8_t *prefix, unsigned bits)
{
	unsigned whole = bits / 8, rest = bits % 8;

	if (memcmp(bytes, prefix, whole) != 0)
		return false;
	return !rest || ((bytes[whole] ^ prefix[whole]) >> (8 - rest)) == 0;
}

static const struct range *longest_match(const struct range *ranges, size_t count,
					 const uint8_t *bytes)
{
	const struct range *best = NULL;

	for (size_t i = 0; i < count; i++)
		if ((!best || ranges[i].bits >= best->bits) &&
		    prefix_matches(bytes, ranges[i].prefix, ranges[i].bits))
			best = &ranges[i];
	return best;
}

static const struct range *v4_range(const uint8_t bytes[static 4])
{
	return longest_match(v4_ranges, sizeof(v4_ranges) / sizeof(v4_ranges[0]), bytes);
}

static bool embeds(const struct embedding *e, const uint8_t bytes[static 16],
		   uint8_t ret_v4[static 4])
{
	for (size_t i = 0; i < 16; i++)
		if ((bytes[i] & e->mask[i]) != e->value[i])
			return false;
	for (size_t i = 0; i < 4; i++)
		ret_v4[i] = bytes[e->at[i]] ^ e->invert;
	return true;
}

/* The worst row of the address itself and of what it carries. */
static const struct range *v6_range(const uint8_t bytes[static 16])
{
	const struct range *worst = longest_match(v6_ranges,
						  sizeof(v6_ranges) / sizeof(v6_ranges[0]), bytes);

	/* ::1 is also the IPv4-compatible form of 0.0.0.1, which it does not mean. */
	if (worst->bits == 128)
		return worst;
	for (size_t i = 0; i < sizeof(embeddings) / sizeof(embeddings[0]); i++) {
		const struct range *inner;
		uint8_t v4[4];

		if (!embeds(&embeddings[i], bytes, v4))
			continue;
		inner = v4_range(v4);
		if (embeddings[i].is_guess && inner->class != GATE_CLASS_METADATA)
			continue;
		if (inner->class > worst->class)
			worst = inner;
	}
	return worst;
}

enum gate_class gate_ip_classify(const struct gate_ip *ip, const char **ret_range)
{
	const struct range *range = ip->len == 4 ? v4_range(ip->bytes) : v6_range(ip->bytes);

	*ret_range = range->name;
	return (enum gate_class)range->class;
}

const char *gate_ip_refusal(const struct gate_ip *ip, bool is_own, bool allow_private, bool named,
			    const char **ret_range)
{
	enum gate_class class = gate_ip_classify(ip, ret_range);

	if (class == GATE_CLASS_NEVER)
		return "never_dialled";
	if (named)
		return NULL;
	if (class == GATE_CLASS_METADATA)
		return "metadata_address";
	if (allow_private)
		return NULL;
	if (class == GATE_CLASS_PRIVATE)
		return "private_address";
	if (!is_own)
		return NULL;
	*ret_range = "this host";
	return "own_address";
}

static void set_v4(struct gate_ip *ip, const void *bytes)
{
	*ip = (struct gate_ip){ .len = 4 };
	memcpy(ip->bytes, bytes, 4);
}

static void set_v6(struct gate_ip *ip, const struct in6_addr *in6, uint32_t scope_id)
{
	if (IN6_IS_ADDR_V4MAPPED(in6)) {
		set_v4(ip, in6->s6_addr + 12);
		return;
	}
	*ip = (struct gate_ip){ .len = 16, .scope_id = scope_id };
	memcpy(ip->bytes, in6->s6_addr, 16);
}

bool gate_ip_parse(const char *text, struct gate_ip *ret_ip)
{
	struct in6_addr in6;
	struct in_addr in;

	if (inet_pton(AF_INET, text, &in) == 1)
		set_v4(ret_ip, &in);
	else if (inet_pton(AF_INET6, text, &in6) == 1)
		set_v6(ret_ip, &in6, 0);
	else
		return false;
	return true;
}

bool gate_ip_from_sockaddr(const struct sockaddr *sa, struct gate_ip *ret_ip)
{
	struct sockaddr_in6 sin6;
	struct sockaddr_in sin;

	if (sa->sa_family == AF_INET) {
		memcpy(&sin, sa, sizeof(sin));
		set_v4(ret_ip, &sin.sin_addr);
		return true;
	}
	if (sa->sa_family == AF_INET6) {
		memcpy(&sin6, sa, sizeof(sin6));
		set_v6(ret_ip, &sin6.sin6_addr, sin6.sin6_scope_id);
		return true;
	}
	return false;
}

socklen_t gate_ip_to_sockaddr(const struct gate_ip *ip, uint16_t port,
			      struct sockaddr_storage *ret_ss)
{
	struct sockaddr_in6 sin6 = {
		.sin6_family = AF_INET6,
		.sin6_port = htons(port),
		.sin6_scope_id = ip->scope_id,
	};
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_port = htons(port) };

	memset(ret_ss, 0, sizeof(*ret_ss));
	if (ip->len == 4) {
		memcpy(&sin.sin_addr, ip->bytes, 4);
		memcpy(ret_ss, &sin, sizeof(sin));
		return sizeof(sin);
	}
	memcpy(&sin6.sin6_addr, ip->bytes, 16);
	memcpy(ret_ss, &sin6, sizeof(sin6));
	return sizeof(sin6);
}

const char *gate_ip_format(const struct gate_ip *ip, char out[static GATE_IP_TEXT_BYTES])
{
	if (!inet_ntop(ip->len == 4 ? AF_INET : AF_INET6, ip->bytes, out, GATE_IP_TEXT_BYTES))
		out[0] = '\0';
	return out;
}

bool gate_ip_equal(const struct gate_ip *a, const struct gate_ip *b)
{
	return a->len == b->len && a->scope_id == b->scope_id &&
	       !memcmp(a->bytes, b->bytes, a->len);
}

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
	char host[GATE_NAME_BYTES], text[GATE_IP_TEXT_BYTES];
	struct gate_ip ip;

	if (!gate_name_fold(from->host, host) || !from->port)
		return err_set(err, EINVAL, "gate: '%.64s' port %u is no target", from->host,
			       from->port);
	if (from->address && !gate_ip_parse(from->address, &ip))
		return err_set(err, EINVAL, "gate: the address '%.64s' of '%.64s' is no IP literal",
			       from->address, from->host);
	*to = *from;
	to->address = from->address ? strdup(gate_ip_format(&ip, text)) : NULL;
	to->host = strdup(gate_ip_parse(host, &ip) ? gate_ip_format(&ip, text) : host);
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
	struct gate_ip ip;
	bool is_literal = gate_ip_parse(name, &ip);

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

/* SPDX-License-Identifier: Apache-2.0
 *
 * Addresses and what they are; see address.h. Pure.
 *
 * Addresses are judged by longest prefix over two tables, which follow IANA's special-purpose
 * registries (IPv4: RFC 6890 and what was added since; IPv6 likewise): a range whose entry does not
 * say "Globally Reachable: True" is private here. IPv4 is global where no row says otherwise; IPv6 is
 * global in 2000::/3 only.
 *
 * Some IPv6 ranges carry an IPv4 address that a translator or tunnel of the host may deliver to.
 * Such an address is as bad as the worse of the two.
 */
#include "base/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

struct range {
	uint8_t prefix[16];
	uint8_t bits;
	uint8_t class;
	const char *name;
};

#define V4(a, b, c, d, bits_, class_, name_)                                                      \
	{                                                                                         \
		.prefix = { a, b, c, d }, .bits = bits_, .class = ADDRESS_##class_, .name = name_ \
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

#define V6(text, bits_, class_, name_)                                                      \
	{                                                                                   \
		.prefix = { text }, .bits = bits_, .class = ADDRESS_##class_, .name = name_ \
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
		if (embeddings[i].is_guess && inner->class != ADDRESS_METADATA)
			continue;
		if (inner->class > worst->class)
			worst = inner;
	}
	return worst;
}

enum address_class address_classify(const struct address *ip, const char **ret_range)
{
	const struct range *range = ip->len == 4 ? v4_range(ip->bytes) : v6_range(ip->bytes);

	*ret_range = range->name;
	return (enum address_class)range->class;
}

const char *address_refusal(const struct address *ip, bool is_own, bool allow_private, bool named,
			    const char **ret_range)
{
	enum address_class class = address_classify(ip, ret_range);

	if (class == ADDRESS_NEVER)
		return "never_dialled";
	if (named)
		return NULL;
	if (class == ADDRESS_METADATA)
		return "metadata_address";
	if (allow_private)
		return NULL;
	if (class == ADDRESS_PRIVATE)
		return "private_address";
	if (!is_own)
		return NULL;
	*ret_range = "this host";
	return "own_address";
}

static void set_v4(struct address *ip, const void *bytes)
{
	*ip = (struct address){ .len = 4 };
	memcpy(ip->bytes, bytes, 4);
}

static void set_v6(struct address *ip, const struct in6_addr *in6, uint32_t scope_id)
{
	if (IN6_IS_ADDR_V4MAPPED(in6)) {
		set_v4(ip, in6->s6_addr + 12);
		return;
	}
	*ip = (struct address){ .len = 16, .scope_id = scope_id };
	memcpy(ip->bytes, in6->s6_addr, 16);
}

bool address_parse(const char *text, struct address *ret_ip)
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

bool address_from_sockaddr(const struct sockaddr *sa, struct address *ret_ip)
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

socklen_t address_to_sockaddr(const struct address *ip, uint16_t port,
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

const char *address_format(const struct address *ip, char out[static ADDRESS_TEXT_BYTES])
{
	if (!inet_ntop(ip->len == 4 ? AF_INET : AF_INET6, ip->bytes, out, ADDRESS_TEXT_BYTES))
		out[0] = '\0';
	return out;
}

bool address_equal(const struct address *a, const struct address *b)
{
	return a->len == b->len && a->scope_id == b->scope_id &&
	       !memcmp(a->bytes, b->bytes, a->len);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The gate's resolver: wire format; see gate_dns.h. Runs in: the gate. Pure; fuzzed by
 * tests/fuzz/fuzz_gate_dns.c.
 *
 * Every read goes through a cursor that cannot pass the end. The name is read once, forwards: a
 * compression pointer in a question has nothing before it to point to, so it is malformed, and with
 * it goes the whole class of pointer loops.
 */
#include "netns/gate_dns.h"

#include <assert.h>
#include <string.h>

enum {
	HEADER_BYTES = 12,
	NAME_WIRE_MAX = 255,
	LABEL_MAX = 63,
	OPT_BYTES = 11,
	A_RECORD_BYTES = 16,
	OUR_UDP_SIZE = 1232,
	CLASS_IN = 1,

	/* Byte 2 and 3 of the header. */
	FLAG_QR = 0x80,
	FLAG_AA = 0x04,
	FLAG_TC = 0x02,
	FLAG_RD = 0x01,
	FLAG_RA = 0x80,
	OPCODE_MASK = 0x78,
};

static_assert(HEADER_BYTES + NAME_WIRE_MAX + 4 + A_RECORD_BYTES + OPT_BYTES <= GATE_DNS_ANSWER_MAX,
	      "an answer to the longest question fits");
static_assert(GATE_NAME_BYTES > NAME_WIRE_MAX - 1, "the text of a name is shorter than its wire");

struct cursor {
	const uint8_t *at;
	size_t left;
	bool bad;
};

static const uint8_t *take(struct cursor *c, size_t len)
{
	const uint8_t *at = c->at;

	if (c->bad || len > c->left) {
		c->bad = true;
		return NULL;
	}
	c->at += len;
	c->left -= len;
	return at;
}

static unsigned take_u8(struct cursor *c)
{
	const uint8_t *at = take(c, 1);

	return at ? at[0] : 0;
}

static uint16_t take_u16(struct cursor *c)
{
	const uint8_t *at = take(c, 2);
	unsigned value = at ? (unsigned)at[0] << 8 | at[1] : 0;

	return (uint16_t)value;
}

/* One byte of a label as it stands in the folded text; '?' for what no hostname has. A '.' inside a
 * label is such a byte: "a.b" as one label must not read like two. */
static char fold(uint8_t c)
{
	if (c >= 'A' && c <= 'Z')
		return (char)(c | 0x20);
	if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_')
		return (char)c;
	return '?';
}

static void take_name(struct cursor *c, struct gate_dns_question *q)
{
	size_t wire = 0, used = 0;

	q->is_hostname = true;
	for (;;) {
		unsigned len = take_u8(c);
		const uint8_t *label;

		wire += 1 + len;
		if (len > LABEL_MAX || wire > NAME_WIRE_MAX) /* pointers are ≥ 0xc0 */
			c->bad = true;
		if (c->bad || !len)
			break;
		label = take(c, len);
		if (!label)
			break;
		if (used)
			q->name[used++] = '.';
		for (unsigned i = 0; i < len; i++) {
			q->name[used] = fold(label[i]);
			q->is_hostname = q->is_hostname && q->name[used] != '?';
			used++;
		}
	}
	q->name[used] = '\0';
}

/* The one additional record that is taken: OPT at the root. Its options are skipped. */
static int take_opt(struct cursor *c, struct gate_dns_question *q)
{
	bool is_opt = take_u8(c) == 0 && take_u16(c) == GATE_DNS_TYPE_OPT;
	unsigned version;

	(void)take_u16(c); /* payload size: our answers fit the least that may be said */
	(void)take_u8(c);  /* extended rcode */
	version = take_u8(c);
	(void)take_u16(c); /* DO and Z */
	(void)take(c, take_u16(c));
	if (c->bad || !is_opt)
		return GATE_DNS_FORMERR;
	q->has_edns = true;
	return version ? GATE_DNS_BADVERS : GATE_DNS_NOERROR;
}

int gate_dns_parse(const uint8_t *query, size_t len, struct gate_dns_question *ret_question)
{
	struct gate_dns_question *q = ret_question;
	struct cursor c = { .at = query, .left = len };
	uint16_t questions, answers, authorities, additionals;
	unsigned flags;
	int rcode = GATE_DNS_NOERROR;

	*q = (struct gate_dns_question){ 0 };
	q->id = take_u16(&c);
	flags = take_u8(&c);
	(void)take_u8(&c);
	questions = take_u16(&c);
	answers = take_u16(&c);
	authorities = take_u16(&c);
	additionals = take_u16(&c);
	if (c.bad || (flags & FLAG_QR))
		return -1;
	q->recursion_desired = flags & FLAG_RD;
	if (flags & OPCODE_MASK)
		return GATE_DNS_NOTIMP;
	if ((flags & FLAG_TC) || questions != 1 || answers || authorities || additionals > 1)
		return GATE_DNS_FORMERR;
	take_name(&c, q);
	q->type = take_u16(&c);
	q->class = take_u16(&c);
	if (c.bad)
		return GATE_DNS_FORMERR;
	q->bytes = len - HEADER_BYTES - c.left;
	if (additionals)
		rcode = take_opt(&c, q);
	if (c.left)
		return GATE_DNS_FORMERR;
	if (rcode == GATE_DNS_NOERROR && q->class != CLASS_IN)
		return GATE_DNS_REFUSED;
	return rcode;
}

static void put(uint8_t **at, const void *bytes, size_t len)
{
	memcpy(*at, bytes, len);
	*at += len;
}

static void put_a(uint8_t **at, const uint8_t address[static 4])
{
	static const uint8_t head[] = {
		0xc0, HEADER_BYTES, /* the name: the question's */
		0,    GATE_DNS_TYPE_A,
		0,    CLASS_IN,
		0,    0,
		0,    0, /* TTL 0: nobody keeps it, and it costs nothing to ask */
		0,    4,
	};

	static_assert(sizeof(head) + 4 == A_RECORD_BYTES, "A record");
	put(at, head, sizeof(head));
	put(at, address, 4);
}

static void put_opt(uint8_t **at, int rcode)
{
	const uint8_t opt[] = {
		0,
		0,
		GATE_DNS_TYPE_OPT,
		OUR_UDP_SIZE >> 8,
		OUR_UDP_SIZE & 0xff,
		(uint8_t)(rcode >> 4),
		0,
		0,
		0,
		0,
		0,
	};

	static_assert(sizeof(opt) == OPT_BYTES, "OPT record");
	put(at, opt, sizeof(opt));
}

size_t gate_dns_answer(const struct gate_dns_question *question, const uint8_t *query, int rcode,
		       const uint8_t *address, uint8_t out[static GATE_DNS_ANSWER_MAX])
{
	/* AA and RA are set: glibc takes an empty answer without both for a lame server's. */
	const uint8_t header[HEADER_BYTES] = {
		(uint8_t)(question->id >> 8),
		(uint8_t)question->id,
		(uint8_t)(FLAG_QR | (query[2] & OPCODE_MASK) | FLAG_AA |
			  (question->recursion_desired ? FLAG_RD : 0)),
		(uint8_t)(FLAG_RA | (rcode & 0xf)),
		[5] = question->bytes ? 1 : 0,
		[7] = address ? 1 : 0,
		[11] = question->has_edns ? 1 : 0,
	};
	uint8_t *at = out;

	put(&at, header, sizeof(header));
	put(&at, query + HEADER_BYTES, question->bytes);
	if (address)
		put_a(&at, address);
	if (question->has_edns)
		put_opt(&at, rcode);
	return (size_t)(at - out);
}

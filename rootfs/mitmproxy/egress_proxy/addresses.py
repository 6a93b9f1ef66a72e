# SPDX-License-Identifier: Apache-2.0
"""Which addresses may be dialled where no gate judges them (Docker): the rules of base/address.c, row for row.

Addresses are judged by longest prefix over IANA's special-purpose registries and the clouds' metadata addresses.
An IPv6 address that carries an IPv4 one, which a translator or tunnel may deliver to, is as bad as the worse of the
two. Runs in: the proxy process; pure, but for `is_own`.
"""

import ipaddress
import socket


class Refused(OSError):
    """An address that may not be dialled: a sentence for the answer and the log."""


GLOBAL, PRIVATE, METADATA, NEVER = range(4)  # from good to bad

RANGES = (
    ("0.0.0.0/0", GLOBAL, "global"),
    ("0.0.0.0/8", NEVER, "this network (RFC 791)"),
    ("10.0.0.0/8", PRIVATE, "private (RFC 1918)"),
    ("100.64.0.0/10", PRIVATE, "shared address space (RFC 6598)"),
    ("127.0.0.0/8", PRIVATE, "loopback"),
    ("169.254.0.0/16", PRIVATE, "link-local (RFC 3927)"),
    ("172.16.0.0/12", PRIVATE, "private (RFC 1918)"),
    ("192.0.0.0/24", PRIVATE, "IETF protocol assignments (RFC 6890)"),
    ("192.0.0.9/32", GLOBAL, "PCP anycast (RFC 7723)"),
    ("192.0.0.10/32", GLOBAL, "TURN anycast (RFC 8155)"),
    ("192.0.2.0/24", PRIVATE, "documentation (RFC 5737)"),
    ("192.31.196.0/24", GLOBAL, "AS112 (RFC 7535)"),
    ("192.52.193.0/24", GLOBAL, "AMT (RFC 7450)"),
    ("192.88.99.0/24", PRIVATE, "6to4 relay anycast (RFC 7526)"),
    ("192.168.0.0/16", PRIVATE, "private (RFC 1918)"),
    ("192.175.48.0/24", GLOBAL, "AS112 (RFC 7534)"),
    ("198.18.0.0/15", PRIVATE, "benchmarking (RFC 2544)"),
    ("198.51.100.0/24", PRIVATE, "documentation (RFC 5737)"),
    ("203.0.113.0/24", PRIVATE, "documentation (RFC 5737)"),
    ("224.0.0.0/4", NEVER, "multicast"),
    ("240.0.0.0/4", PRIVATE, "reserved (RFC 1112)"),
    ("255.255.255.255/32", NEVER, "broadcast"),
    ("169.254.169.0/24", METADATA, "cloud metadata (AWS, Azure, GCP, OCI, OpenStack)"),
    ("169.254.170.0/24", METADATA, "cloud metadata (AWS ECS, EKS)"),
    ("169.254.0.23/32", METADATA, "cloud metadata (Tencent)"),
    ("169.254.42.42/32", METADATA, "cloud metadata (Scaleway)"),
    ("100.100.100.200/32", METADATA, "cloud metadata (Alibaba)"),
    ("100.96.0.96/32", METADATA, "cloud metadata (Volcengine)"),
    ("168.63.129.16/32", METADATA, "cloud metadata (Azure wire server)"),
    ("192.0.0.192/32", METADATA, "cloud metadata (Oracle classic)"),
    ("::/0", PRIVATE, "not global unicast"),
    ("2000::/3", GLOBAL, "global"),
    ("::/128", NEVER, "unspecified"),
    ("::1/128", PRIVATE, "loopback"),
    ("64:ff9b::/96", GLOBAL, "NAT64 (RFC 6052)"),
    ("64:ff9b:1::/48", PRIVATE, "local NAT64 (RFC 8215)"),
    ("100::/64", PRIVATE, "discard-only (RFC 6666)"),
    ("2001::/23", PRIVATE, "IETF protocol assignments (RFC 2928)"),
    ("2001::/32", PRIVATE, "Teredo (RFC 4380)"),
    ("2001:1::1/128", GLOBAL, "PCP anycast (RFC 7723)"),
    ("2001:1::2/128", GLOBAL, "TURN anycast (RFC 8155)"),
    ("2001:1::3/128", GLOBAL, "DNS-SD SRP anycast (RFC 9665)"),
    ("2001:2::/48", PRIVATE, "benchmarking (RFC 5180)"),
    ("2001:3::/32", GLOBAL, "AMT (RFC 7450)"),
    ("2001:4:112::/48", GLOBAL, "AS112 (RFC 7535)"),
    ("2001:10::/28", PRIVATE, "ORCHID (RFC 4843)"),
    ("2001:20::/28", GLOBAL, "ORCHIDv2 (RFC 7343)"),
    ("2001:30::/28", GLOBAL, "drone remote id (RFC 9374)"),
    ("2001:db8::/32", PRIVATE, "documentation (RFC 3849)"),
    ("2002::/16", PRIVATE, "6to4 (RFC 3056)"),
    ("2620:4f:8000::/48", GLOBAL, "AS112 (RFC 7534)"),
    ("3fff::/20", PRIVATE, "documentation (RFC 9637)"),
    ("5f00::/16", PRIVATE, "segment routing (RFC 9602)"),
    ("fc00::/7", PRIVATE, "unique local (RFC 4193)"),
    ("fe80::/10", PRIVATE, "link-local (RFC 4291)"),
    ("fec0::/10", PRIVATE, "site-local (RFC 3879)"),
    ("ff00::/8", NEVER, "multicast"),
    ("fd00:ec2::/32", METADATA, "cloud metadata (AWS)"),
    ("fd20:ce::/32", METADATA, "cloud metadata (GCP)"),
    ("fd00:c1::/32", METADATA, "cloud metadata (OCI)"),
    ("fd00:42::42/128", METADATA, "cloud metadata (Scaleway)"),
    ("fe80::a9fe:a9fe/128", METADATA, "cloud metadata (OpenStack)"),
)
ROWS = {4: [], 6: []}
for _text, _kind, _name in RANGES:
    _network = ipaddress.ip_network(_text)
    ROWS[_network.version].append((_network, _kind, _name))

# (value, mask, the four bytes, inverted, whether it is a guess): what an IPv6 address carries. A guess is one of
# several readings, and only a metadata address counts.
LAST = (12, 13, 14, 15)
EMBEDDINGS = (
    ("::", "ffff:ffff:ffff:ffff:ffff:ffff::", LAST, 0, False),  # IPv4-compatible
    ("::ffff:0:0:0", "ffff:ffff:ffff:ffff:ffff:ffff::", LAST, 0, False),  # IPv4-translated
    ("64:ff9b::", "ffff:ffff:ffff:ffff:ffff:ffff::", LAST, 0, False),  # NAT64
    ("64:ff9b:1::", "ffff:ffff:ffff::", (6, 7, 9, 10), 0, True),  # local NAT64, RFC 6052, 2.2
    ("64:ff9b:1::", "ffff:ffff:ffff::", (7, 9, 10, 11), 0, True),
    ("64:ff9b:1::", "ffff:ffff:ffff::", (9, 10, 11, 12), 0, True),
    ("64:ff9b:1::", "ffff:ffff:ffff::", LAST, 0, True),
    ("2002::", "ffff::", (2, 3, 4, 5), 0, False),  # 6to4
    ("2001::", "ffff:ffff::", (4, 5, 6, 7), 0, False),  # Teredo, its server
    ("2001::", "ffff:ffff::", LAST, 0xFF, False),  # Teredo, its client
    ("::5efe:0:0", "::fdff:ffff:0:0", LAST, 0, False),  # ISATAP
)


def _row(ip):
    """(kind, name, bits) of the longest prefix; of two equals the later."""
    return max(
        ((network.prefixlen, at, kind, name) for at, (network, kind, name) in enumerate(ROWS[ip.version])
         if ip in network)
    )[2:]  # fmt: skip


def _carried(ip):
    for value, mask, places, invert, is_guess in EMBEDDINGS:
        wanted, bits = int(ipaddress.IPv6Address(value)), int(ipaddress.IPv6Address(mask))
        if int(ip) & bits == wanted:
            yield ipaddress.IPv4Address(bytes(ip.packed[at] ^ invert for at in places)), is_guess


def classify(text):
    """→ (kind, the name of the range that decided)"""
    ip = ipaddress.ip_address(text.partition("%")[0])
    if ip.version == 6 and ip.ipv4_mapped:
        ip = ip.ipv4_mapped
    worst = _row(ip)
    if ip.version == 4 or str(ip) in WHOLE:
        return worst
    for inner, is_guess in _carried(ip):
        row = _row(inner)
        if row[0] > worst[0] and (not is_guess or row[0] == METADATA):
            worst = row
    return worst


# Rows of one address: what they carry is not meant.
WHOLE = {str(network.network_address) for network, _, _ in ROWS[6] if network.prefixlen == 128}


def is_own(text):
    """Whether the kernel would deliver it to this host: then it is its own source."""
    family = socket.AF_INET6 if ":" in text else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.connect((text, 9))
            return sock.getsockname()[0] == text
    except OSError:
        return False  # no route: nor has the attempt one


def refusal(text, allow_private):
    """Why it may not be dialled, or None."""
    kind, name = classify(text)
    if kind == NEVER:
        return f"never_dialled ({name})"
    if kind == METADATA:
        return f"metadata_address ({name})"
    if allow_private:
        return None
    if kind == PRIVATE:
        return f"private_address ({name})"
    return "own_address (this host)" if is_own(text) else None


def judge_literal(host, settings):
    """A host that is an address needs no lookup. → why it may not be dialled, or None"""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return None
    why = refusal(host, host in settings.allow_private)
    return why and f"{host}: {why}"


def watch_lookups(loop, settings):
    """What is looked up from now on comes without the addresses that may not be dialled; so what was judged is what
    is dialled. The upstream proxy is dialled wherever it stands: who runs us named it."""
    look_up = loop.getaddrinfo

    async def judged(host, port, **options):
        found = await look_up(host, port, **options)
        if settings.upstream and host == settings.upstream.host:
            return found
        whys = {entry[4][0]: refusal(entry[4][0], host in settings.allow_private) for entry in found}
        admitted = [entry for entry in found if not whys[entry[4][0]]]
        if found and not admitted:
            raise Refused("{}: {}".format(*next(iter(whys.items()))))
        return admitted

    loop.getaddrinfo = judged

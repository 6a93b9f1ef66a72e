# SPDX-License-Identifier: Apache-2.0
"""The corpus of smuggling.py: ways in which two readers of HTTP/1 have read one message differently.

Each is a mutation of a harmless request, made by a table. What it must come to:

  REFUSED     nothing of it reaches the server, the client is told so or closed
  CUT_OFF     as refused, but the fault lies in the body, and the head may have gone ahead
  UNFINISHED  no whole request: the proxy may wait for more
  a list      exactly these requests arrive: (method, target, body)
"""

from dataclasses import dataclass

REFUSED, CUT_OFF, UNFINISHED = "refused", "cut off", "unfinished"
HIDDEN = "GET /v1/hidden HTTP/1.1\r\nHost: api.test\r\n\r\n"
CONTROLS = [c for c in range(0x20) if c not in (0x09, 0x0A, 0x0D)] + [0x7F]
SEPARATORS = '"(),/;<=>?@[\\]{}'


@dataclass
class Case:
    id: str
    raw: str  # each character one byte
    want: object
    plain: bool = False  # not inside CONNECT and TLS
    host: str = "api.test"  # in what arrives
    not_for: str = ""  # a proxy that cannot


def head(*fields, line="POST /v1/x HTTP/1.1", host="Host: api.test"):
    lines = [line, *([host] if host else []), *fields]
    return "\r\n".join(lines) + "\r\n\r\n"


def hello(target="/v1/x", method="POST"):
    return [(method, target, "hello")]


CHUNKS = "5\r\nhello\r\n0\r\n\r\n"
LENGTH = "Content-Length: 5"
CHUNKED = "Transfer-Encoding: chunked"


def codings():
    """Values of Transfer-Encoding: only one reads as chunked everywhere."""
    values = """xchunked|chunked,identity|chunked, identity|identity, chunked|identity|gzip|gzip, chunked
        |chunked, gzip|chunked, chunked|chunked,|,chunked|, chunked|chunked chunked|chunked;q=0|chunked; q=1
        |"chunked"|'chunked'|chunke|chunkedx|chunked-|c hunked|chunked=1|=chunked|chunked/1|chunked:
        |: chunked|[chunked]|{chunked}|%63hunked|chunked%0d|x|0|trailers|deflate, chunked|cow, chunked
        |chunked, cow|chunked\\|\\chunked|chunked#|null""".split("|")
    values = [value.strip("\n ") for value in values] + [
        "", "\x0bchunked", "chunked\x0b", "\x0cchunked", "chunked\x0c", "chunked\0", "\0chunked",
        "ch\0unked", "\xa0chunked", "chunked\xa0", "\x85chunked", "chun\xe2\x84\xaaed", "chunked\x01",
        "chunked\x7f", "\xef\xbb\xbfchunked", "chunked\x1f", "\x08chunked",
    ]  # fmt: skip
    for number, value in enumerate(values):
        yield Case(f"te-value-{number}", head(f"Transfer-Encoding: {value}") + CHUNKS, REFUSED)
        both = head(LENGTH, f"Transfer-Encoding: {value}") + "0\r\n\r\n" + HIDDEN
        yield Case(f"te-value-{number}-with-length", both, REFUSED)
    for number, value in enumerate(("CHUNKED", "Chunked", "\tchunked", "chunked \t", "  chunked")):
        raw = head(f"Transfer-Encoding:{value}") + CHUNKS
        yield Case(f"te-value-good-{number}", raw, hello())


def coding_names():
    """Names that one reader takes for Transfer-Encoding and another does not."""
    bad = (
        "Transfer-Encoding : chunked", "Transfer-Encoding\t: chunked", " Transfer-Encoding: chunked",
        "\tTransfer-Encoding: chunked", "Transfer-Encoding\x0b: chunked", "Transfer Encoding: chunked",
        "Transfer\0-Encoding: chunked", "Transfer-Encoding\0: chunked", "\0Transfer-Encoding: chunked",
        "Transfer-Encoding\r: chunked", "Tra\rnsfer-Encoding: chunked", "Transfer-Encoding\n: chunked",
        "Transfer-Encoding\xa0: chunked", "Transfer-Encoding", "Transfer-Encoding chunked",
        "Transfer-Encoding; chunked", "Transfer-Encoding= chunked", "X: y\rTransfer-Encoding: chunked",
        "X: y\nTransfer-Encoding: chunked", "X: y\r\rTransfer-Encoding: chunked",
        "X: y\r\n Transfer-Encoding: chunked", "X:\r\n\tTransfer-Encoding: chunked",
        '"Transfer-Encoding": chunked', "(Transfer-Encoding): chunked", "Transfer\xad-Encoding: chunked",
        "Transfer\xe2\x80\x90Encoding: chunked", "\xef\xbb\xbfTransfer-Encoding: chunked",
        ": chunked", ":Transfer-Encoding: chunked", "Transfer-Encoding\x7f: chunked",
    )  # fmt: skip
    for number, line in enumerate(bad):
        raw = head(line, LENGTH) + "0\r\n\r\n" + HIDDEN
        yield Case(f"te-name-{number}", raw, REFUSED)
        yield Case(f"te-name-{number}-alone", head(line) + CHUNKS, REFUSED)
    # Their own names: not to be mistaken, and where CGI would mistake them, not passed on.
    other = ("Transfer_Encoding: chunked", "X-Transfer-Encoding: chunked", "Transfer.Encoding: chunked",
             "Transfer-Encodin: chunked", "Content_Length: 0", "X-Content-Length: 0", "TE: chunked",
             "Content-Encoding: chunked", "Trailer: Content-Length", "Content-Lengt: 0")  # fmt: skip
    for number, line in enumerate(other):
        yield Case(f"te-name-other-{number}", head(line, LENGTH) + "hello", hello())


def lengths():
    bad = """5 5|5,5|5, 5|5, 6|5,|,5|+5|-5|-0|+0|0x5|0X5|0x0|5.0|5e0|1e1|5L|5h|five|5;|5:5|5=5|"5"|'5'|5/1|%35|5%
        |NaN|inf|1_0|0b101|0o5|5#|(5)|5.|.5|5\\|99999999999999999999|18446744073709551621|9223372036854775813
        |115792089237316195423570985008687907853269984665640564039457584007913129639941""".split("|")
    bad = [value.strip("\n ") for value in bad] + [
        "", "\x0b5", "5\x0b", "\x0c5", "5\x0c", "5\0", "\x005", "5\xa0", "\xa05", "\xef\xbc\x95", "\xb2",
        "5\x01", "5\x7f", "5\x855", "\xd9\xa5",
    ]  # fmt: skip
    for number, value in enumerate(bad):
        raw = head(f"Content-Length: {value}") + "hello" + HIDDEN
        yield Case(f"length-value-{number}", raw, REFUSED)
    for number, value in enumerate(("5 ", "\t5\t", "   5", "05", "000000000000000005")):
        raw = head(f"Content-Length:{value}") + "hello"
        yield Case(f"length-value-good-{number}", raw, hello())
    for number, value in enumerate(("6", "50", "4294967301", "999999999999999999")):
        yield Case(f"length-too-long-{number}", head(f"Content-Length: {value}") + "hello", UNFINISHED)
    names = ("Content-Length : 5", "Content-Length\t: 5", " Content-Length: 5", "Content-Length\0: 5",
             "Content Length: 5", "Content-Length\x0b: 5", "Content-Length\r: 5", "Content-Length",
             "Content-Length 5", "Content-Length= 5", "X: y\nContent-Length: 5", "X: y\rContent-Length: 5",
             "X: y\r\n Content-Length: 5", "Content-Length:\r\n 5", "Content-Length: \r\n\t5",
             "Content-Length: 5\r\n 0", "Content-Length:\n5", "Content-Length:\r5")  # fmt: skip
    for number, line in enumerate(names):
        yield Case(f"length-name-{number}", head(line) + "hello" + HIDDEN, REFUSED)


def two_lengths():
    pairs = (("5", "5"), ("5", "6"), ("0", "5"), ("5", "0"), ("5", ""), ("", "5"), ("5", "+5"), ("5", "x"),
             ("05", "5"), ("5", "5, 5"))  # fmt: skip
    for number, (one, two) in enumerate(pairs):
        for name, again in (("Content-Length", "same"), ("content-length", "lower"), ("CONTENT-LENGTH", "upper")):
            fields = (f"Content-Length: {one}", "X-A: b", f"{name}: {two}")
            yield Case(f"two-lengths-{number}-{again}", head(*fields) + "hello", REFUSED)
    for number, fields in enumerate((
        (LENGTH, CHUNKED), (CHUNKED, LENGTH), (CHUNKED, "Content-Length: 0"), ("Content-Length: 0", CHUNKED),
        (CHUNKED, CHUNKED), (CHUNKED, "Transfer-Encoding: identity"), ("Transfer-Encoding: identity", CHUNKED),
        (CHUNKED, "transfer-encoding: cow"), ("Transfer-encoding: cow", CHUNKED), (CHUNKED, LENGTH, LENGTH),
        (CHUNKED, "Content-Length:"), ("Transfer-Encoding:", CHUNKED), (CHUNKED, "TRANSFER-ENCODING: CHUNKED"),
        ("Transfer-Encoding: x", LENGTH), ("Transfer-Encoding:", LENGTH), (CHUNKED, "Content-Length: x"),
    )):  # fmt: skip
        yield Case(f"both-{number}", head(*fields) + CHUNKS + HIDDEN, REFUSED)
    old = head(CHUNKED, line="POST /v1/x HTTP/1.0") + CHUNKS
    yield Case("chunked-in-http10", old, REFUSED)
    yield Case("chunked-get", head(CHUNKED, line="GET /v1/x HTTP/1.1") + CHUNKS, hello(method="GET"))
    yield Case("length-get", head(LENGTH, line="GET /v1/x HTTP/1.1") + "hello", hello(method="GET"))


def line_ends():
    """Every line of a head, ended in every other way."""
    lines = ["POST /v1/x HTTP/1.1", "Host: api.test", "X-A: b", LENGTH]
    ends = {"lf": "\n", "cr": "\r", "cr-cr-lf": "\r\r\n", "lf-cr": "\n\r", "lf-lf": "\n\n", "nul": "\0\r\n",
            "vt": "\x0b", "ff": "\x0c", "space-lf": " \n", "cr-space-lf": "\r \n"}  # fmt: skip
    for number in range(len(lines)):
        for name, end in ends.items():
            text = "".join(l + (end if i == number else "\r\n") for i, l in enumerate(lines))
            yield Case(f"line-end-{number}-{name}", text + "\r\nhello\r\n\r\n", REFUSED)
    for name, end in {"lf": "\n", "cr-cr-lf": "\r\r\n", "lf-cr": "\n\r\n", "nul": "\0\r\n",
                      "space": " \r\n", "cr-x": "\rx\r\n", "vt": "\x0b\r\n"}.items():  # fmt: skip
        text = "".join(line + "\r\n" for line in lines)
        yield Case(f"head-end-{name}", text + end + "hello\r\n\r\n", REFUSED)
    for name, lead in {"crlf": "\r\n", "lf": "\n", "cr": "\r", "space": " ", "tab": "\t", "nul": "\0",
                       "two": "\r\n\r\n", "bom": "\xef\xbb\xbf", "vt": "\x0b"}.items():  # fmt: skip
        yield Case(f"lead-{name}", lead + head(line="GET /v1/x HTTP/1.1"), REFUSED)


def folds():
    folded = ("X-A: b\r\n c", "X-A: b\r\n\tc", "X-A:\r\n b", "X-A: b\r\n ", "X-A: b\r\n \r\n c",
              "X-A: b\r\n Host: evil.test", "X-A: b\n c", "X-A: b\r c", "Transfer-Encoding:\r\n chunked",
              "Transfer-Encoding: chunked\r\n , identity", "X-A: b\r\n\x0bc", "X-A: b\r\n\xa0c: d",
              "X-A: b\r\n : c", "Connection:\r\n close")  # fmt: skip
    for number, text in enumerate(folded):
        yield Case(f"fold-{number}", head(text, LENGTH) + "hello", REFUSED)
        yield Case(f"fold-{number}-first", head(text, LENGTH, host=None) + "hello", REFUSED)


def bytes_in_fields():
    for code in [*CONTROLS, 0x20, 0x09, 0x80, 0xFF, *map(ord, SEPARATORS)]:
        raw = head(f"X{chr(code)}A: b", line="GET /v1/x HTTP/1.1")
        yield Case(f"name-byte-{code:02x}", raw, REFUSED)
    for code in CONTROLS:
        raw = head(f"X-A: b{chr(code)}c", line="GET /v1/x HTTP/1.1")
        yield Case(f"value-byte-{code:02x}", raw, REFUSED)
    for code in (0x09, 0x20, 0x80, 0x85, 0xA0, 0xFF, 0x22, 0x5C):
        raw = head(f"X-A: b{chr(code)}c", line="GET /v1/x HTTP/1.1")
        yield Case(f"value-byte-good-{code:02x}", raw, [("GET", "/v1/x", "")])


def request_lines():
    lines = """GET /v1/x|GET /v1/x HTTP/0.9|GET /v1/x HTTP/1|GET /v1/x HTTP/1.|GET /v1/x HTTP/1.2|GET /v1/x HTTP/1.11
        |GET /v1/x HTTP/01.1|GET /v1/x HTTP/1.01|GET /v1/x HTTP/2|GET /v1/x HTTP/2.0|GET /v1/x HTTP/3|GET /v1/x http/1.1
        |GET /v1/x HTTP /1.1|GET /v1/x HTTP/1 .1|GET /v1/x HTTP/+1.1|GET /v1/x HTTP/1.1x|GET /v1/x HTTPS/1.1
        |GET /v1/x ICAP/1.0|GET /v1/x RTSP/1.0|GET /v1/x HTTP/1,1|GET /v1/x HTTP\\1.1|GET /v1/x HTTP/1.1 HTTP/1.1
        |GET /v1/x /v1/hidden HTTP/1.1|GET  /v1/x HTTP/1.1|GET /v1/x  HTTP/1.1|GET /v1/x HTTP/1.1 |GET HTTP/1.1|GET
        |G ET /v1/x HTTP/1.1|GET: /v1/x HTTP/1.1|"GET" /v1/x HTTP/1.1|GET,POST /v1/x HTTP/1.1|G(T /v1/x HTTP/1.1
        |GET v1/x HTTP/1.1|GET ?x HTTP/1.1|GET * HTTP/1.1|GET api.test/v1/x HTTP/1.1|GET api.test:443 HTTP/1.1
        |PRI * HTTP/2.0|connect api.test:443 HTTP/1.1|CONNECT api.test:443 HTTP/1.1|CONNECT /v1/x HTTP/1.1
        |GET ftp://api.test/v1/x HTTP/1.1|GET https:/v1/x HTTP/1.1|GET https:///v1/x HTTP/1.1|GET ://api.test/v1/x HTTP/1.1
        |GET https://api.test@evil.test/v1/x HTTP/1.1|GET https://u:p@api.test/v1/x HTTP/1.1
        |GET https://api.test:443:443/v1/x HTTP/1.1|GET https://api.test:/v1/x HTTP/1.1|GET https://api.test:0/v1/x HTTP/1.1
        |GET https://api.test:99999/v1/x HTTP/1.1|GET https://api.test.:443/v1/x HTTP/1.1|GET https://[api.test]/v1/x HTTP/1.1
        |GET https://api%2etest/v1/x HTTP/1.1|GET https://api.test\\@evil.test/v1/x HTTP/1.1""".split("|")
    lines = [line.strip("\n").removeprefix("        ") for line in lines] + [
        "GET\t/v1/x HTTP/1.1", "GET /v1/x\tHTTP/1.1", "GET\x0b/v1/x HTTP/1.1", "GET /v1/x\x0cHTTP/1.1",
        "GET /v1/\0x HTTP/1.1", "GET /v1/x\x7f HTTP/1.1", "GET /v1/\x01 HTTP/1.1", "GET\0 /v1/x HTTP/1.1",
        "G\xc3\x89T /v1/x HTTP/1.1", "GET\xa0/v1/x HTTP/1.1", "GET /v1/x\xa0HTTP/1.1", "GET /v1/x\rHTTP/1.1",
        "GET /v1/x HTTP/1.1\0", "GET /v1/x HTTP/1.1\t", "GET /v1/x HTTP/\xef\xbc\x91.1", "\x16\x03\x01\x02\0\x01",
        "SSH-2.0-OpenSSH_9.2", "EHLO api.test", "\x80\x2e\x01\0\x02", "{}", "<?xml?>",
    ]  # fmt: skip
    for number, line in enumerate(lines):
        yield Case(f"request-line-{number}", head(line=line), REFUSED)
    preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"
    yield Case("http2-preface-after-a-request", head(line="GET /v1/x HTTP/1.1") + preface,
               [("GET", "/v1/x", "")])  # fmt: skip
    yield Case("http10", head(line="GET /v1/x HTTP/1.0"), [("GET", "/v1/x", "")])


def hosts():
    names = ("evil.test", "api.test.", "api.test:80", "api.test:4443", "api.test:0", "api.test:", "api.test:x",
             "api.test:443:1", "api.test evil.test", "api.test,evil.test", "api.test, evil.test", "evil.test@api.test",
             "api.test@evil.test", "https://api.test", "api.test/", "api.test/v1", "api.test?x", "api.test#x",
             "api.test\\evil.test", "api.test\0", "api.test\x0b", "[api.test]", "", "api%2etest", "api.test%00",
             "\xa0api.test", "api..test", ".api.test", "-api.test", "127.0.0.1", "[::1]", "api.test;x", "*",
             "api.test\xe2\x80\x8b", "xn--api.test", "_", "api.test:+443", "api.test:0443", "api_test")  # fmt: skip
    for number, name in enumerate(names):
        raw = head(line="GET /v1/x HTTP/1.1", host=f"Host: {name}")
        yield Case(f"host-{number}", raw, REFUSED)
        raw = head(line="GET https://api.test/v1/x HTTP/1.1", host=f"Host: {name}")
        yield Case(f"host-{number}-with-url", raw, REFUSED)
    two = ("Host: evil.test", "host: api.test", "HOST: evil.test", "Host : evil.test", "Host\t: evil.test",
           " Host: evil.test", "Host\0: evil.test", "Host:")  # fmt: skip
    for number, line in enumerate(two):
        yield Case(f"two-hosts-{number}", head(line, line="GET /v1/x HTTP/1.1"), REFUSED)
        raw = head("Host: api.test", line="GET /v1/x HTTP/1.1", host=line)
        yield Case(f"two-hosts-{number}-first", raw, REFUSED)
    yield Case("no-host", head(line="GET /v1/x HTTP/1.1", host=None), REFUSED)
    good = [("GET", "/v1/x", "")]
    for number, name in enumerate(("api.test:443", "API.TEST", " api.test\t")):
        yield Case(f"host-good-{number}", head(line="GET /v1/x HTTP/1.1", host=f"Host:{name}"), good)
    urls = ("https://evil.test/v1/x", "https://api.test.evil.test/v1/x", "https://api.test:444/v1/x",
            "http://evil.test:443/v1/x", "https://evil.test?api.test/v1/x", "https://evil.test#api.test/v1/x")  # fmt: skip
    for number, url in enumerate(urls):
        yield Case(f"url-{number}", head(line=f"GET {url} HTTP/1.1"), REFUSED)
    plain = (("GET http://any.test/p HTTP/1.1", "evil.test"), ("GET http://evil.test/p HTTP/1.1", "any.test"),
             ("GET http://any.test:80/p HTTP/1.1", "any.test:8443"), ("GET /p HTTP/1.1", "any.test"),
             ("GET //any.test/p HTTP/1.1", "any.test"), ("GET any.test/p HTTP/1.1", "any.test"),
             ("GET http://any.test\0.evil.test/p HTTP/1.1", "any.test"))  # fmt: skip
    for number, (line, host) in enumerate(plain):
        yield Case(f"plain-{number}", head(line=line, host=f"Host: {host}"), REFUSED, plain=True)
    raw = head(LENGTH, line="POST http://any.test/p HTTP/1.1", host="Host: any.test") + "hello"
    yield Case("plain-good", raw, hello("/p"), plain=True, host="any.test")
    raw = head(line="GET http://any.test?q HTTP/1.1", host="Host: any.test")
    yield Case("plain-no-path", raw, [("GET", "/?q", "")], plain=True, host="any.test")


def connects():
    for number, (line, fields, body) in enumerate((
        ("CONNECT api.test:443 HTTP/1.1", ("Content-Length: 4",), "abcd"),
        ("CONNECT api.test:443 HTTP/1.1", (CHUNKED,), "0\r\n\r\n"),
        ("CONNECT api.test:443 HTTP/1.1", ("Content-Length: 4", CHUNKED), "0\r\n\r\n"),
        ("CONNECT api.test HTTP/1.1", (), ""), ("CONNECT api.test:443x HTTP/1.1", (), ""),
        ("CONNECT http://api.test:443 HTTP/1.1", (), ""), ("CONNECT u@api.test:443 HTTP/1.1", (), ""),
        ("CONNECT api.test:443 HTTP/2.0", (), ""), ("CONNECT api.test:443", (), ""),
        ("CONNECT api.test:443 evil.test:443 HTTP/1.1", (), ""), ("CoNNECT api.test:443 HTTP/1.1", (), ""),
        ("CONNECT api.test:443,evil.test:443 HTTP/1.1", (), ""), ("CONNECT evil.test:443 HTTP/1.1", (), ""),
    )):  # fmt: skip
        raw = head(*fields, line=line, host="Host: api.test:443") + body
        yield Case(f"connect-{number}", raw, REFUSED, plain=True)


def connection_fields():
    for number, name in enumerate(("host", "Content-Length", "transfer-encoding", "close, host", "x, CONTENT-LENGTH")):
        yield Case(f"connection-names-{number}", head(f"Connection: {name}", LENGTH) + "hello", REFUSED)
    for number, lines in enumerate((
        ("Upgrade: h2c", "Connection: Upgrade, HTTP2-Settings", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA"),
        ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: eA=="),
        ("Upgrade: TLS/1.0", "Connection: Upgrade"), ("Connection: keep-alive, x-a", "X-A: b"),
        ("Expect: 100-continue",), ("Expect: 200-maybe",), ("Keep-Alive: 1", "Proxy-Connection: keep-alive"),
        ("TE: trailers, chunked", "Trailer: Content-Length"),
    )):  # fmt: skip
        yield Case(f"hop-by-hop-{number}", head(*lines, LENGTH) + "hello", hello())


def chunks():
    """Sizes and ends of chunks; each would hide a request from one reader."""
    sizes = ["", " 5", "5 ", "\t5", "0x5", "0X5", "-5", "+5", "5_0", "5h", "g", "5.0", "5,5", "5 5", "5\0", "\x005",
             "5\x0b", "\x0b5", "5\xa0", "\xef\xbc\x95", "5\r", "\r5", "5\n", "5;\n", "5;a\n", "5;a\r", "5;a\0b", "5;\x7f",
             "5\r\n\r", '5"', "5=a", "%35", "x5", "ffffffffffffffff", "8000000000000005",
             "10000000000000005", "100000000000000005", "00000000000000000000005", "FFFFFFFFFFFFFFFFF",
             "5" + ";x" * 4000]  # fmt: skip
    for number, size in enumerate(sizes):
        raw = head(CHUNKED) + f"{size}\r\nhello\r\n0\r\n\r\n" + HIDDEN
        yield Case(f"chunk-size-{number}", raw, CUT_OFF)
    yield Case("chunk-size-too-long", head(CHUNKED) + "5e\r\nhello\r\n0\r\n\r\n", UNFINISHED)
    bodies = ("5\nhello\n0\n\n", "5\r\nhello\n0\r\n\r\n", "5\r\nhello\r0\r\n\r\n", "5\r\nhello0\r\n\r\n",
              "5\r\nhell\r\n0\r\n\r\n", "3\r\nhello\r\n0\r\n\r\n", "5\r\nhelloX\r\n0\r\n\r\n",
              "5\r\nhello\r\n\r\n0\r\n\r\n", "5\r\nhello \r\n0\r\n\r\n", "5\r\nhello\r\r\n0\r\n\r\n",
              "5\r\nhello\r\n-0\r\n\r\n", "5\r\nhello\r\n0\n\r\n", "5\r\nhello\r\n0\r\r\n\r\n", "5\r\nhello\r\n0 \r\n\r\n",
              "5\r\nhello\r\n0\r\n\n", "5\r\nhello\r\n0\r\n\rX", "\r\n5\r\nhello\r\n0\r\n\r\n", "\n0\r\n\r\n",
              "5\rhello\r0\r\r", "5\r\nhello\r\n0\r\nX\r\n\r\n", "hello", "GET /v1/hidden HTTP/1.1\r\n\r\n")  # fmt: skip
    for number, body in enumerate(bodies):
        yield Case(f"chunk-body-{number}", head(CHUNKED) + body + HIDDEN, CUT_OFF)
    trailers = ("X : a", " X: a", "X", ": a", "X: a\r\n b", "X: a\nY: b", "X: a\rY: b", "X: \0", "X\0: a", "X(: a",
                "GET /v1/hidden HTTP/1.1", "X: " + "a" * 70000, "X\t: a", "\x0bX: a", "X\xa0: a")  # fmt: skip
    for number, line in enumerate(trailers):
        raw = head(CHUNKED) + f"5\r\nhello\r\n0\r\n{line}\r\n\r\n" + HIDDEN
        yield Case(f"trailer-{number}", raw, CUT_OFF)
    good = ("05\r\nhello\r\n0\r\n\r\n", "5;a=b\r\nhello\r\n0;c\r\n\r\n", '5 ; a="b;c"\r\nhello\r\n0\r\n\r\n',
            "2\r\nhe\r\n3\r\nllo\r\n00\r\n\r\n", "5\r\nhello\r\n0\r\nContent-Length: 9\r\n\r\n",
            "5\r\nhello\r\n0\r\nTransfer-Encoding: x\r\nHost: evil.test\r\n\r\n", "000000000005\r\nhello\r\n0\r\n\r\n")  # fmt: skip
    for number, body in enumerate(good):
        yield Case(f"chunk-good-{number}", head(CHUNKED) + body, hello())
    hex_body = f"{len(HIDDEN):x}\r\n{HIDDEN}\r\n0\r\n\r\n"
    yield Case("chunk-holds-a-request", head(CHUNKED) + hex_body, [("POST", "/v1/x", HIDDEN)])
    upper = f"{len(HIDDEN):X}\r\n{HIDDEN}\r\n0\r\n\r\n"
    yield Case("chunk-holds-a-request-upper", head(CHUNKED) + upper, [("POST", "/v1/x", HIDDEN)])


def pipelines():
    hidden = ("GET", "/v1/hidden", "")
    get = head(line="GET /v1/x HTTP/1.1")
    yield Case("pipeline-get-get", get + HIDDEN, [("GET", "/v1/x", ""), hidden])
    yield Case("pipeline-length", head(LENGTH) + "hello" + HIDDEN, [*hello(), hidden])
    yield Case("pipeline-chunked", head(CHUNKED) + CHUNKS + HIDDEN, [*hello(), hidden])
    yield Case("pipeline-zero", head("Content-Length: 0") + HIDDEN, [("POST", "/v1/x", ""), hidden])
    yield Case("pipeline-no-length", head() + HIDDEN, [("POST", "/v1/x", ""), hidden])
    inside = head(f"Content-Length: {len(HIDDEN)}") + HIDDEN
    yield Case("length-holds-a-request", inside, [("POST", "/v1/x", HIDDEN)])
    short = head("Content-Length: 3") + "hello\r\n\r\n"
    yield Case("pipeline-rest-joins", short, [("POST", "/v1/x", "hel")])
    for number, rest in enumerate(("\r\n", "\n", " ", "x", "\0", "\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n", "0\r\n\r\n")):
        yield Case(f"pipeline-rest-{number}", head(LENGTH) + "hello" + rest + HIDDEN, hello())
    close = head("Connection: close", line="GET /v1/x HTTP/1.1")
    yield Case("pipeline-after-close", close + HIDDEN, [("GET", "/v1/x", "")])
    old = head(line="GET /v1/x HTTP/1.0")
    yield Case("pipeline-after-http10", old + HIDDEN, [("GET", "/v1/x", "")])
    yield Case("pipeline-bad-second", get + head("X : y"), [("GET", "/v1/x", "")])


def first_bytes():
    """Heads that end with the first byte that no request has there, and never go on."""
    line, fields = "GET /v1/x HTTP/1.1\r\n", "GET /v1/x HTTP/1.1\r\nHost: api.test\r\n"
    starts = ("\x16", "\r", "\n", " ", "\0", "GE\t", "GET\r", "GET  ", "GET /v1/x\r", "GET /v1/x\n", "GET /\0", "GET / h",
              "GET / HTTQ", "PRI * HTTP/2", "GET / HTTP/1.2", "GET / HTTP/1.1 ", "GET / HTTP/1.1\n", "GET / HTTP/1.1\rH",
              line + " ", line + "\t", line + ":", line + "\n", line + "Host ", line + "Host\0", line + "Host\r",
              line + "X\x80", fields + "X: a\n", fields + "X: a\rb", fields + "X: a\0", fields + "X: a\x7f",
              fields + "X: a\r\n ", fields + "X: a\r\n\t", fields + "Transfer-Encoding ", fields + "\rX")  # fmt: skip
    # mitmproxy's reader of heads looks at lines once all are there, but for line breaks.
    early = ("\x16", "\r", "\n", " ", "\0")
    for number, text in enumerate(starts):
        waits = not (text in early or "\n" in text.replace("\r\n", "") or text[-2:-1] == "\r")
        yield Case(f"first-byte-{number}", text, REFUSED, not_for="mitmproxy" if waits else "")


GENERATORS = (codings, coding_names, lengths, two_lengths, line_ends, folds, bytes_in_fields, request_lines,
              hosts, connects, connection_fields, chunks, pipelines, first_bytes)  # fmt: skip


def every_case():
    cases = [case for generate in GENERATORS for case in generate()]
    assert len({case.id for case in cases}) == len(cases)
    return cases

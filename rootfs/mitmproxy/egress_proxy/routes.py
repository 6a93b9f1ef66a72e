# SPDX-License-Identifier: Apache-2.0
"""routes.yaml: parsed strictly (the format stands in docs/manifest.md).

Pure. Works on YAML events, not on a loader's values: a loader resolves anchors, tags, `yes` and
`0o17` before anyone can refuse them, and keeps the last of two equal keys.
"""

import re
from dataclasses import dataclass

from ruamel.yaml import YAML
from ruamel.yaml import events as yaml_events
from ruamel.yaml.error import YAMLError

from egress_proxy.authority import BadAuthority, canonical_host

MAX_BYTES = 1 << 20
MAX_ROUTES = 1024
MAX_PORTS = 64

INTEGER = re.compile(r"0|[1-9][0-9]{0,9}")
METHOD = re.compile(r"[A-Z][A-Z0-9-]*")
FIELD_NAME = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]+")
TOKEN_ENV = re.compile(r"EGRESS_PROXY_TOKEN_(?:0|[1-9][0-9]{0,5})")
PATH = re.compile(r"/[\x21-\x7e]*")
SCHEMES = ("Bearer", "token", "Basic")


class BadRoutes(ValueError):
    pass


@dataclass(frozen=True)
class Route:
    host: str  # exact name, `*.suffix` or IP literal
    ports: frozenset
    path_allowlist: tuple = ()  # bytes; empty: every path
    methods: frozenset = frozenset()  # bytes; empty: every method
    auth_scheme: str | None = None
    auth_header: str | None = None  # lower case; None: nothing is put in
    token_env: str | None = None
    git_push: bool = False


class Routes:
    """A table of routes. Looked up by name, then by port: a name's own route comes before any
    wildcard, also where only the wildcard has the port."""

    def __init__(self, items):
        self.items = tuple(items)
        self._exact = {}
        self._suffix = {}
        for route in self.items:
            table = self._suffix if route.host.startswith("*.") else self._exact
            table.setdefault(route.host.removeprefix("*"), []).append(route)

    def for_host(self, host):
        """The routes of the best match for a canonical host; empty when there is none."""
        if host in self._exact:
            return self._exact[host]
        dot = host.find(".")
        while dot >= 0:
            if (found := self._suffix.get(host[dot:])) is not None:
                return found
            dot = host.find(".", dot + 1)
        return []

    def find(self, host, port):
        """→ the route of the pair (name, port), or None"""
        return next((route for route in self.for_host(host) if port in route.ports), None)


class _Reader:
    """YAML events → dicts, lists, str, int and bool. Each refusal says where."""

    def __init__(self, text):
        self._events = YAML(typ="safe", pure=True).parse(text)
        self._expect(yaml_events.StreamStartEvent)
        start = self._expect(yaml_events.DocumentStartEvent)
        if start.version or start.tags:
            self._refuse(start, "a directive")

    def finish(self):
        self._expect(yaml_events.DocumentEndEvent)
        event = next(self._events)
        if not isinstance(event, yaml_events.StreamEndEvent):
            self._refuse(event, "a second document")

    def _refuse(self, event, what):
        mark = event.start_mark
        raise BadRoutes(f"{mark.line + 1}:{mark.column + 1}: {what}")

    def _expect(self, kind):
        event = next(self._events)
        if not isinstance(event, kind):
            self._refuse(event, "not the form of routes.yaml")
        return event

    def value(self, event=None):
        event = event or next(self._events)
        if isinstance(event, yaml_events.AliasEvent) or getattr(event, "anchor", None):
            self._refuse(event, "an anchor or alias")
        if getattr(event, "tag", None):
            self._refuse(event, "a tag")
        if isinstance(event, yaml_events.ScalarEvent):
            return self._scalar(event)
        if isinstance(event, yaml_events.SequenceStartEvent):
            return self._list()
        if isinstance(event, yaml_events.MappingStartEvent):
            return self._map()
        return self._refuse(event, "not the form of routes.yaml")

    def _scalar(self, event):
        if event.style in ("'", '"'):
            return event.value
        if event.style or not event.value:
            self._refuse(event, "a value is quoted text, an integer, true or false")
        if event.value in ("true", "false"):
            return event.value == "true"
        if INTEGER.fullmatch(event.value):
            return int(event.value)
        return self._refuse(event, f"text stands in quotes: {event.value!r}")

    def _list(self):
        items = []
        while not isinstance(event := next(self._events), yaml_events.SequenceEndEvent):
            items.append(self.value(event))
        return items

    def _map(self):
        items = {}
        while not isinstance(event := next(self._events), yaml_events.MappingEndEvent):
            if (
                not isinstance(event, yaml_events.ScalarEvent)
                or event.anchor or event.tag or event.style or not event.value
            ):  # fmt: skip
                self._refuse(event, "a key is a plain word")
            if event.value in items:
                self._refuse(event, f"the key '{event.value}' twice")
            items[event.value] = self.value()
        return items


def _require(ok, where, what):
    if not ok:
        raise BadRoutes(f"{where}: {what}")


def _list_of(value, where, kind, pattern, what):
    _require(isinstance(value, list) and value, where, "a list that is not empty")
    for item in value:
        _require(type(item) is kind and (pattern is None or pattern.fullmatch(item)), where, what)
    return value


def _host(value, where):
    _require(isinstance(value, str), where, "text")
    name = value.removeprefix("*.")
    try:
        canonical = canonical_host(name)
    except BadAuthority as err:
        raise BadRoutes(f"{where}: {err}") from None
    _require(canonical == name, where, f"not in its canonical form, which is '{canonical}'")
    if name != value:
        _require("." in name and not name.replace(".", "").isdigit(), where,
                 "`*.` stands before two labels or more")  # fmt: skip
    return value


def _ports(value, where):
    _list_of(value, where, int, None, "a list of integers")
    _require(len(value) <= MAX_PORTS, where, f"more than {MAX_PORTS} ports")
    _require(all(1 <= port <= 65535 for port in value), where, "a port lies in 1–65535")
    return frozenset(value)


def _paths(value, where):
    _list_of(value, where, str, PATH, "a path begins with `/` and is ASCII without spaces")
    return tuple(rule.encode() for rule in value)


def _methods(value, where):
    _list_of(value, where, str, METHOD, "a method is upper case")
    _require(not {"TRACE", "CONNECT"} & set(value), where, "TRACE and CONNECT never pass")
    return frozenset(method.encode() for method in value)


def _matching(pattern, what):
    def check(value, where):
        _require(isinstance(value, str) and pattern.fullmatch(value), where, what)
        return value

    return check


def _git_push(value, where):
    _require(isinstance(value, bool), where, "true or false")
    return value


KEYS = {
    "host": _host,
    "ports": _ports,
    "path_allowlist": _paths,
    "methods": _methods,
    "auth_scheme": _matching(re.compile("|".join(SCHEMES)), "one of " + ", ".join(SCHEMES)),
    "auth_header": _matching(FIELD_NAME, "a field name in lower case"),
    "token_env": _matching(TOKEN_ENV, "EGRESS_PROXY_TOKEN_<n>"),
    "git_push": _git_push,
}
# Fields that frame a message or are the proxy's own can carry no credential.
NO_AUTH_HEADERS = ("host", "content-length", "transfer-encoding", "connection", "upgrade", "te")


def _route(value, where):
    _require(isinstance(value, dict), where, "a map")
    for key in value:
        _require(key in KEYS, where, f"unknown key '{key}'")
    for key in ("host", "ports"):
        _require(key in value, where, f"without '{key}'")
    route = Route(**{key: KEYS[key](item, f"{where}.{key}") for key, item in value.items()})
    _require((route.auth_header is None) == (route.token_env is None), where,
             "auth_header and token_env go together")  # fmt: skip
    _require(route.auth_scheme is None or route.auth_header == "authorization", where,
             "auth_scheme goes with auth_header: \"authorization\"")  # fmt: skip
    _require(route.auth_header not in NO_AUTH_HEADERS, where, "no field for a credential")
    return route


def _check_overlap(items):
    seen = set()
    for number, route in enumerate(items):
        for port in route.ports:
            _require((route.host, port) not in seen, f"routes[{number}]",
                     f"{route.host}:{port} stands on two routes")  # fmt: skip
            seen.add((route.host, port))


def parse_routes(raw):
    """bytes → Routes. Raises BadRoutes, with line and column or with the key's path."""
    _require(len(raw) <= MAX_BYTES, "1:1", "more than 1 MiB")
    try:
        reader = _Reader(raw.decode("ascii"))
        top = reader.value()
        reader.finish()
    except UnicodeDecodeError:
        raise BadRoutes("1:1: a byte beyond ASCII") from None
    except (YAMLError, StopIteration, RecursionError) as err:
        mark = getattr(err, "problem_mark", None)
        at = f"{mark.line + 1}:{mark.column + 1}" if mark else "1:1"
        raise BadRoutes(f"{at}: {getattr(err, 'problem', None) or 'no YAML'}") from None
    _require(isinstance(top, dict), "1:1", "not a map")
    _require(list(top) == ["version", "routes"], "1:1", "the keys are 'version', then 'routes'")
    _require(type(top["version"]) is int and top["version"] == 1, "version", "only 1 is known")
    routes = top["routes"]
    _require(isinstance(routes, list) and 0 < len(routes) <= MAX_ROUTES, "routes",
             f"a list of 1 to {MAX_ROUTES}")  # fmt: skip
    items = [_route(value, f"routes[{number}]") for number, value in enumerate(routes)]
    _check_overlap(items)
    return Routes(items)

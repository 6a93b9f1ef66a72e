# SPDX-License-Identifier: Apache-2.0
"""Start, listen, end.

Runs in: the proxy process. Theory of operation, in this order: SIGHUP is held back; the environment
is read and the tokens leave it; the process closes its memory to others; CA, trust and routes are
read; the readers are replaced and then attacked with requests that must be refused; only then is
the port opened, and READY=1 said when it accepts. Whatever fails before ends the process with
one line on stderr.
"""

import asyncio
import gc
import ipaddress
import os
import signal
import socket
import sys
from concurrent.futures import ThreadPoolExecutor

from mitmproxy import options, version
from mitmproxy.connection import ConnectionState
from mitmproxy.flow import Flow
from mitmproxy.proxy import events
from mitmproxy.proxy import server as mitm_server

from egress_proxy import settings as environment
from egress_proxy import strict_http1, strict_http2, stream
from egress_proxy.addon import Addon, Close
from egress_proxy.addresses import watch_lookups
from egress_proxy.audit import AuditLog
from egress_proxy.leaf import BadCa, LeafStore, TrustStore
from egress_proxy.routes import BadRoutes, parse_routes
from egress_proxy.selftest import SelfTestFailed, attack_readers

KNOWN_VERSIONS = ("8.1.1",)  # whose internals strict_http1 and stream replace
RESOLVER_THREADS = 64  # getaddrinfo blocks: a dead name server delays only its own names
EXIT_START = 78  # EX_CONFIG
MAX_LOG_TEXT = 2000


class CannotStart(Exception):
    pass


def log(message):
    """A line on stderr. What mitmproxy says can hold bytes from outside."""
    text = str(message)[:MAX_LOG_TEXT].encode("unicode_escape").decode("ascii")
    print(f"egress-proxy: {text}", file=sys.stderr, flush=True)


class Handler(mitm_server.LiveConnectionHandler):
    """One client connection of mitmproxy's core, with our addon as the only one."""

    def __init__(self, reader, writer, opts, addon):
        super().__init__(reader, writer, opts)
        self.addon = addon

    async def handle_hook(self, hook):
        with self.timeout_watchdog.disarm():
            (data,) = hook.args()
            if handle := getattr(self.addon, hook.name, None):
                try:
                    handle(data)
                except Exception as err:  # noqa: BLE001 - whatever it is, nothing may pass
                    self.fail_closed(hook, data, err)

    async def open_connection(self, command):
        """The gate resets what it cannot dial, and the reset may come before getpeername(2). Then
        mitmproxy's core fails an assertion and would leave the request without an answer."""
        try:
            await super().open_connection(command)
        except AssertionError:
            server = command.connection
            if server.peername:
                raise
            server.state = ConnectionState.CLOSED
            server.error = "connection reset by peer"
            self.transports[server].writer.close()
            self.server_event(events.OpenConnectionCompleted(command, server.error))

    def fail_closed(self, hook, data, err):
        where = err.__traceback__
        while where.tb_next:
            where = where.tb_next
        at = f"{os.path.basename(where.tb_frame.f_code.co_filename)}:{where.tb_lineno}"
        log(f"{hook.name}: {type(err).__name__} at {at}")
        if isinstance(data, Flow):
            if data.killable:
                data.kill()
        elif hook.name == "next_layer":
            data.layer = Close(data.context)
        elif hook.name == "server_connect":
            data.server.error = "refused: internal error"
        elif hook.name.startswith("tls_start"):
            data.ssl_conn = None

    def log(self, message, level="info"):
        """Only what mitmproxy's core calls an error, which is a crash of its own: it can quote an
        event, and an event can hold what goes out."""
        if level != "error":
            return
        for token in self.addon.settings.tokens.values():
            message = message.replace(token.decode(), "[token]")
        log(message)


def make_options(settings):
    """Only what the proxy core asks for. The addons that would declare the rest do not run."""
    opts = options.Options()
    for name, kind, value in (
        ("connection_strategy", str, "lazy"),
        ("validate_inbound_headers", bool, True),
        ("normalize_outbound_headers", bool, True),
        ("keep_host_header", bool, True),
        ("proxy_debug", bool, False),
        ("stream_large_bodies", str, ""),
        ("body_size_limit", str, ""),
    ):
        opts.add_option(name, kind, value, name)
    opts.update(rawtcp=False, http2=True, websocket=True, upstream_cert=False)
    if upstream := settings.upstream:
        host = f"[{upstream.host}]" if ":" in upstream.host else upstream.host
        opts.update(mode=f"upstream:{upstream.scheme}://{host}:{upstream.port}")
    return opts


def make_addon(settings):
    try:
        with open(settings.ca_path, "rb") as file:
            leaves = LeafStore(file.read())
        upstream_ca = settings.upstream.ca if settings.upstream else None
        trust = TrustStore(settings.trust_store, settings.extra_ca, upstream_ca)
        with open(settings.routes_path, "rb") as file:
            routes = parse_routes(file.read())
    except OSError as err:
        raise CannotStart(f"{err.filename}: {err.strerror}") from None
    except BadCa as err:
        raise CannotStart(f"CA: {err}") from None
    except BadRoutes as err:
        raise CannotStart(f"{settings.routes_path}: {err}") from None
    return Addon(settings, routes, leaves, trust, AuditLog(settings.audit_fd))


def install(addon):
    if version.VERSION not in KNOWN_VERSIONS:
        raise CannotStart(f"mitmproxy {version.VERSION} is not one of {', '.join(KNOWN_VERSIONS)}")
    strict_http1.install(addon.refused)
    strict_http2.install()
    stream.install(addon.upstream_failed)


def say_ready(fd):
    if fd is None:
        return
    try:
        os.write(fd, b"READY=1\n")
        if fd > 2:
            os.close(fd)
    except OSError as err:
        raise CannotStart(f"EGRESS_PROXY_READY_FD: {err.strerror}") from None


def listen_host(settings):
    """`link` is the one IPv4 address beside loopback's, which the container's hosts file names."""
    if settings.listen_host != "link":
        return settings.listen_host
    infos = socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)
    found = {info[4][0] for info in infos if not info[4][0].startswith("127.")}
    if len(found) != 1:
        raise CannotStart(
            f"EGRESS_PROXY_LISTEN_HOST=link: {len(found)} addresses are not loopback's, not one"
        )
    return found.pop()


def link_network(address):
    """The network of the link that has the address: proc(5), /proc/net/route, whose numbers are in host order."""
    with open("/proc/net/route", encoding="ascii") as table:
        rows = [line.split() for line in table.readlines()[1:]]
    for row in rows:
        to, mask = (int(row[k], 16).to_bytes(4, sys.byteorder) for k in (1, 7))
        network = ipaddress.ip_network((to, ipaddress.ip_address(mask).compressed))
        if network.prefixlen and ipaddress.ip_address(address) in network:
            return network
    raise CannotStart("EGRESS_PROXY_LISTEN_HOST=link: no route to the link's network")


async def serve(settings, addon):
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(RESOLVER_THREADS, "resolver"))
    opts = make_options(settings)
    ended = asyncio.Event()

    def end():
        addon.finish()
        os._exit(0)

    host = listen_host(settings)
    network = link_network(host) if settings.listen_host == "link" else None

    async def accepted(reader, writer):
        # A socket that is bound to another link (SO_BINDTODEVICE) reaches every address of ours.
        peer = ipaddress.ip_address(writer.get_extra_info("peername")[0])
        if network and peer not in network:
            writer.transport.abort()
            return
        await Handler(reader, writer, opts, addon).handle_client()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)
    loop.add_signal_handler(signal.SIGHUP, addon.reload)
    try:
        await asyncio.start_server(accepted, host, settings.port, backlog=1024)
    except OSError as err:
        raise CannotStart(f"port {settings.port}: {err.strerror}") from None
    if not settings.gate_relays:
        watch_lookups(loop, settings)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
    # What was made so far stays; the collector need not look at it again.
    gc.freeze()
    gc.enable()
    say_ready(settings.ready_fd)
    await ended.wait()


def main():
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        settings = environment.read_settings(os.environ)
        environment.close_memory()
        addon = make_addon(settings)
        install(addon)
        attack_readers()
        asyncio.run(serve(settings, addon))
    except (CannotStart, environment.BadSetting, SelfTestFailed) as err:
        log(err)
        return EXIT_START
    return 0

# SPDX-License-Identifier: Apache-2.0
"""The readers, attacked by ourselves before the port opens.

The readers replace parts of mitmproxy's inside. Were a part renamed, the original would quietly go on
reading; so the classes that mitmproxy will really make are asked to read what they must refuse.
"""

from mitmproxy.connection import ConnectionState
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.layers import http as layer_http

from egress_proxy.strict_http1 import Hooks

MUST_REFUSE = (
    b"\r\nGET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
    b"GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n x: y\r\n\r\n",
    b"GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\nHost: b.test\r\n\r\n",
    b"GET http://a.test/ HTTP/1.1\nHost: a.test\n\n",
    b"POST http://a.test/ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n",
)


class SelfTestFailed(Exception):
    pass


class _Context:
    """As little of a mitmproxy context as a reader touches."""

    def __init__(self):
        self.layers = []
        self.options = None
        self.client = self
        self.server = self
        self.address = None
        self.state = ConnectionState.CLOSED


def attack_readers():
    """Raises SelfTestFailed when a reader does not refuse."""
    audited = Hooks.refused
    for raw in MUST_REFUSE:
        refused = []
        Hooks.refused = staticmethod(lambda *args, seen=refused: seen.append(args))
        context = _Context()
        reader = layer_http.Http1Server(context)
        list(reader.handle_event(events.Start()))
        sent = list(reader.handle_event(events.DataReceived(context, raw)))
        answers = [c.data for c in sent if isinstance(c, commands.SendData)]
        if len(refused) != 1 or not (answers and answers[0].startswith(b"HTTP/1.1 400 ")):
            raise SelfTestFailed(f"mitmproxy's HTTP/1 reader let {raw[:40]!r} pass")
    Hooks.refused = staticmethod(audited)

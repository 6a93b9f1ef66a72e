# SPDX-License-Identifier: Apache-2.0
"""mitmproxy with the least that does the same work: one host and what lies below, path prefixes, the
Authorization replaced, bodies streamed. The image's own addon (rootfs/mitmproxy) checks far more.

Runs in: mitmdump, started by peers.py.
"""

PATHS = ("/1k", "/1g", "/auth", "/post")


def is_allowed(host, path):
    path = path.split("?", 1)[0]
    known = host == "bench.test" or host.endswith(".bench.test")
    return known and any(path == p or path.startswith(p + "/") for p in PATHS)


class Egress:
    def requestheaders(self, flow):
        if not is_allowed(flow.request.pretty_host, flow.request.path):
            flow.kill()
            return
        flow.request.headers["authorization"] = "Bearer bench-token"
        flow.request.stream = True

    def responseheaders(self, flow):
        flow.response.stream = True


addons = [Egress()]

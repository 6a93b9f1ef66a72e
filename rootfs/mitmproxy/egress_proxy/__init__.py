# SPDX-License-Identifier: Apache-2.0
"""The egress proxy of a bottle: one decision for each request, made on mitmproxy's protocol core.

What stands where, from the bottom up:

  authority  paths  http1_grammar   pure: bytes in, values or a refusal out
  routes                            routes.yaml, parsed strictly
  decision                          pure: the one decision, in the order that every proxy keeps
  audit  settings                   one line for each request; the environment, and the tokens in it
  leaf                              certificates for the agent's side, signed by the bottle's CA
  strict_http1  strict_http2        mitmproxy's readers, replaced or narrowed
  stream                            mitmproxy's request, answered early where it is refused
  addon                             mitmproxy's hooks: ask `decision`, carry out what it said
  server                            listener, signals, start and end

Nothing of mitmproxy is changed on disk and none of its own addons is loaded (the web page on
mitm.it, replay, scripts, storage of flows): its proxy core asks our hooks alone.
"""

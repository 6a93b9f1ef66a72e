/* SPDX-License-Identifier: Apache-2.0
 *
 * Every key of bottle.yaml, one entry each: the parser's table is made from this list, and so are
 * the tables of docs/manifest.md and man/bottle.yaml.5 (config/gen/print_keys.c writes them, a unit
 * test compares them).
 *
 *   MANIFEST_KEY(struct, member, path, type, min, max, default, help)
 *
 * `struct` is what the member lies in (the manifest, or one route of it), `type` one of
 * config/field.h; min and max are those of a number or of a list's length.
 */
#ifndef CONFIG_KEYS_H
#define CONFIG_KEYS_H

#include "base/str.h"
#include "config/schema.h"

/* clang-format off */
#define MANIFEST_KEYS(KEY) \
KEY(manifest, name, "name", name, 0, 0, "the work folder's name", \
    "Names the bottle: its log, its lock, its host name.") \
KEY(manifest, agent.command, "agent.command", command, 1, 4096, "what stands behind --", \
    "Program and arguments. What stands behind -- on the command line takes its place.") \
KEY(manifest, agent.workdir, "agent.workdir", path, 0, 0, "the current folder", \
    "Folder in which the agent starts, and which it may write.") \
KEY(manifest, agent.env, "agent.env", env, 0, 0, "", \
    "Variables that the agent is given, with their values.") \
KEY(manifest, agent.pass_env, "agent.pass_env", env_names, 0, 4096, "", \
    "Variables that the agent is given with the value that they have outside, if they are set.") \
KEY(manifest, agent.read_only, "agent.read_only", paths, 0, 4096, "", \
    "Files and folders of the host that the agent may read, under the same path.") \
KEY(manifest, agent.read_write, "agent.read_write", paths, 0, 4096, "", \
    "Files and folders of the host that the agent may change, under the same path.") \
KEY(manifest, agent.hostname, "agent.hostname", hostname, 0, 0, "the bottle's name", \
    "Host name inside the bottle.") \
KEY(manifest, agent.image, "agent.image", image, 0, 0, "", \
    "Image that the agent runs in. Docker backend only.") \
KEY(manifest, routes, "egress.routes", routes, 1, 1024, "required", \
    "What can be reached. A request that is on no route is refused.") \
KEY(route, host, "egress.routes[].host", host, 0, 0, "required", \
    "Whom the route leads to. \"*.example.com\" is every name below example.com, not itself.") \
KEY(route, ports, "egress.routes[].ports", ports, 1, 64, "[443]", \
    "Ports of the host. Plain HTTP is reached only when 80 stands here.") \
KEY(route, path_allowlist, "egress.routes[].path_allowlist", url_paths, 1, 1024, "every path", \
    "Paths that are let through: /a is /a and all below it, /a/ only what lies below it.") \
KEY(route, methods, "egress.routes[].methods", methods, 1, 32, "every method", \
    "Methods that are let through, in upper case. TRACE never is.") \
KEY(route, auth.scheme, "egress.routes[].auth.scheme", scheme, 0, 0, "", \
    "The proxy puts in 'Authorization: SCHEME TOKEN'. Either this or header.") \
KEY(route, auth.header, "egress.routes[].auth.header", header, 0, 0, "", \
    "The proxy puts in 'HEADER: TOKEN', and removes that header from what the agent sends.") \
KEY(route, auth.token_ref, "egress.routes[].auth.token_ref", token_ref, 0, 0, \
    "required in auth", \
    "Variable of bottle's own environment that holds the token. The agent never has it.") \
KEY(route, git_push, "egress.routes[].git.push", bool, 0, 0, "false", \
    "Lets git push through; fetching needs no leave.") \
KEY(route, address, "egress.routes[].address", address, 0, 0, "what DNS says", \
    "Dialled in place of what DNS says; may be private, because it was named.") \
KEY(route, allow_private, "egress.routes[].allow_private", bool, 0, 0, "false", \
    "Lets the host's name lead to an address that is not public.") \
KEY(manifest, upstream.url, "egress.upstream_proxy.url", proxy_url, 0, 0, "no upstream proxy", \
    "Proxy that the bottle's own proxy goes through, for every request.") \
KEY(manifest, upstream.ca_path, "egress.upstream_proxy.ca", ca_path, 0, 0, "required with url", \
    "CA that the upstream proxy presents; none when it does not open TLS.") \
KEY(manifest, upstream.auth.scheme, "egress.upstream_proxy.auth.scheme", scheme, 0, 0, "", \
    "Scheme of the Proxy-Authorization that the upstream proxy is sent.") \
KEY(manifest, upstream.auth.token_ref, "egress.upstream_proxy.auth.token_ref", token_ref, 0, 0, \
    "required in auth", \
    "Variable of bottle's own environment that holds the upstream proxy's token.") \
KEY(manifest, extra_ca, "egress.extra_ca", paths, 0, 64, "", \
    "PEM files with CAs that are trusted beside the host's when the proxy verifies a server.") \
KEY(manifest, proxy_image, "proxy.image", image, 0, 0, "native", \
    "Image of the egress proxy: native is the one that came with bottle, any other name or digest one " \
    "that was imported. BOTTLE_EGRESS_PROXY_IMAGE takes its place.") \
KEY(manifest, proxy_port, "proxy.port", port, 1024, 65535, "9099", \
    "Port on which the proxy listens. BOTTLE_EGRESS_PROXY_PORT takes its place.") \
KEY(manifest, start_timeout_ms, "proxy.start_timeout", duration, 100, 600000, "10s", \
    "How long the proxy may take until it is ready.") \
KEY(manifest, idmap, "idmap", idmap, 0, 0, "auto", \
    "single maps the caller's id alone, subid also those that /etc/subuid gives.") \
KEY(manifest, limits.memory_bytes, "limits.memory", size, 16ULL << 20, 16ULL << 40, "no limit", \
    "Memory of the agent and its children together.") \
KEY(manifest, limits.pids, "limits.pids", count, 8, 4194304, "4096", \
    "Processes and threads of the agent and its children together.") \
KEY(manifest, limits.cpu_milli, "limits.cpu", cpu, 10, 1024000, "no limit", \
    "Cores that the agent and its children may use together.") \
KEY(manifest, limits.open_files, "limits.open_files", count, 64, 1048576, \
    "the caller's soft limit, up to half of the hard one", \
    "Descriptors that each process may have open; at most half of the caller's hard limit.") \
KEY(manifest, limits.tmp_bytes, "limits.tmp", size, 1ULL << 20, 16ULL << 40, \
    "a tenth of the memory, at most 2G", \
    "Size of each of the agent's own folders in memory: /tmp, /var/tmp, $HOME and the like.")
/* clang-format on */

extern const struct schema_key manifest_keys[];
extern const size_t manifest_key_count;

/* The key tables as they stand in docs/manifest.md and in man/bottle.yaml.5.scd. */
void keys_print_markdown(struct buf *buf);
void keys_print_scdoc(struct buf *buf);

#endif

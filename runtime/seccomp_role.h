/* SPDX-License-Identifier: Apache-2.0
 *
 * The kinds of process that have a filter of their own. Apart from seccomp.h because the generator
 * also includes libseccomp's header, which has a seccomp_load() of its own; bottle itself does not
 * link that library.
 */
#ifndef RUNTIME_SECCOMP_ROLE_H
#define RUNTIME_SECCOMP_ROLE_H

enum seccomp_role {
	SECCOMP_AGENT,	      /* any developer's tool; no namespaces, no mounts */
	SECCOMP_AGENT_USERNS, /* the same, with nested namespaces and their mounts */
	SECCOMP_PROXY,	      /* an interpreter serving TCP (mitmproxy); no ptrace, no namespaces */
	SECCOMP_PROXY_HANDED, /* a proxy that is handed all of its sockets: it uses them, no more */
	SECCOMP_GATE,	  /* the gate's loop: sockets and splice; opens, executes, forks nothing */
	SECCOMP_RESOLVER, /* getaddrinfo with any NSS module: reads files, talks; no fork, no exec */
	SECCOMP_RELAY,	  /* moves bytes between descriptors it was given, sets terminals */
	SECCOMP_INIT,	  /* after the setup: waits, kills, passes descriptors */
	SECCOMP_REAPER,	  /* pid 1 beside the program: waits, forwards signals, foreground group */
	SECCOMP_ROLE_COUNT
};

#endif

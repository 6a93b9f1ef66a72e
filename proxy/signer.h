/* SPDX-License-Identifier: Apache-2.0
 *
 * The signer: the one process that holds the CA's private key. The worker sends it a name in a packet
 * and gets a leaf certificate back, in order; it never sees that key. One SOCK_SEQPACKET between them,
 * the answers are `struct signer_answer` up to `len`.
 *
 *   worker                      signer
 *     fork ───────────────────▶ reads ca_path, confines itself
 *     signer_wait_ready ◀────── SIGNER_READY, or SIGNER_FAILED with a sentence
 *                               parses the CA and judges it: 5 ms that nobody waits for
 *            ◀───────────────── SIGNER_KEY: the leaves' private key (PKCS#8), made here because an RSA
 *                               key takes 150 ms; or SIGNER_FAILED
 *     name   ─────────────────▶ SIGNER_LEAF with the DER, or SIGNER_REFUSED
 */
#ifndef PROXY_SIGNER_H
#define PROXY_SIGNER_H

#include <sys/types.h>

#include "base/err.h"
#include "proxy/leaf.h"
#include "proxy/message.h"

enum signer_kind { SIGNER_READY, SIGNER_FAILED, SIGNER_KEY, SIGNER_LEAF, SIGNER_REFUSED };

struct signer_answer {
	enum signer_kind kind;
	char host[HOST_BYTES]; /* of SIGNER_LEAF and SIGNER_REFUSED; else "" */
	size_t len;
	uint8_t bytes[LEAF_DER_MAX]; /* DER, or the sentence with its NUL */
};

/* Forks. *ret_fd: the worker's end, non-blocking, owned by the caller; closing it ends the signer. */
int signer_start(const char *ca_path, int *ret_fd, pid_t *ret_pid, struct err *err) MUST_CHECK;

/* Waits for SIGNER_READY: the file was read and looks like PEM with a certificate and a key. */
int signer_wait_ready(int fd, struct err *err) MUST_CHECK;

/* Receives one answer: 0, -EAGAIN, -EPIPE when the signer is gone, -errno. Wipe it after SIGNER_KEY. */
int signer_receive(int fd, struct signer_answer *ret_answer) MUST_CHECK;

/* Asks for a leaf: 0, -EAGAIN when there is no room, -errno. */
int signer_ask(int fd, const char *host) MUST_CHECK;

/* signer_confine.c: seccomp(2). From here on the process computes and uses `socket_fd`, no more: no
 * file, socket, process or executable memory. Proves it by attempts that must fail. */
int signer_confine(struct err *err) MUST_CHECK;

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * What a host, a path, a header … may be: pure checks of one text, shared by the manifest, by the
 * options and by routes.yaml. Each returns 0, -EINVAL or -ENOMEM, with a sentence that carries
 * neither file nor key; the caller puts those in front. Outputs are owned by the caller.
 */
#ifndef CONFIG_CHECK_H
#define CONFIG_CHECK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

/* A text from outside as it may stand in a message: escaped, cut. By value: `quote(text).text`. */
struct quoted {
	char text[128];
};
struct quoted quote(const char *text);

/* An exact name, "*.suffix" or IP literal → lower case, an IPv6 literal in its shortest form. The
 * sentence for one inside 198.18.0.0/15 says that the gate's own addresses are there. */
int check_host(const char *text, char **ret_host, bool *ret_is_literal, struct err *err) MUST_CHECK;

/* IP, IP:PORT or [IPV6]:PORT → the literal and the port (0: none was given). */
int check_address(const char *text, char **ret_address, uint16_t *ret_port,
		  struct err *err) MUST_CHECK;

/* http:// or https:// and host:port, no more. A sentence never shows userinfo. */
int check_proxy_url(const char *text, char **ret_host, uint16_t *ret_port,
		    struct err *err) MUST_CHECK;

int check_port(const char *text, uint16_t *ret_port, struct err *err) MUST_CHECK;

/* An entry of path_allowlist; refuses what no request could match (see docs/manifest.md). */
int check_url_path(const char *text, struct err *err) MUST_CHECK;
int check_method(const char *text, struct err *err) MUST_CHECK;

/* A field name that may carry a token → lower case. */
int check_header(const char *text, char **ret_header, struct err *err) MUST_CHECK;
int check_scheme(const char *text, struct err *err) MUST_CHECK;

int check_env_name(const char *text, struct err *err) MUST_CHECK;
/* A name that the manifest may give the agent: not one that bottle sets itself. */
int check_agent_env_name(const char *text, struct err *err) MUST_CHECK;
/* The variable of a token. What is no such name may be the token itself, and is not shown. */
int check_token_ref(const char *text, struct err *err) MUST_CHECK;

int check_name(const char *text, struct err *err) MUST_CHECK;
int check_hostname(const char *text, struct err *err) MUST_CHECK;
int check_image(const char *text, struct err *err) MUST_CHECK;

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * The types that keys have: each reads one value into the member that its key names.
 */
#ifndef CONFIG_FIELD_H
#define CONFIG_FIELD_H

#include "config/schema.h"

/* Into char *. */
extern const struct field_type field_name, field_hostname, field_image, field_path, field_host,
	field_address, field_proxy_url, field_ca_path, field_scheme, field_header, field_token_ref;

/* Into struct strlist. */
extern const struct field_type field_command, field_paths, field_env, field_env_names,
	field_url_paths, field_methods;

/* Into bool, uint16_t, uint32_t (milliseconds), uint64_t, enum idmap_mode. */
extern const struct field_type field_bool, field_port, field_duration, field_count, field_size,
	field_cpu, field_idmap;

/* Into ports and port_count of a struct route. */
extern const struct field_type field_ports;

/* Into routes and route_count of a struct manifest. Defined in manifest.c. */
extern const struct field_type field_routes;

/* A list of 1 to key->max ports, none twice; owned by the caller. */
int field_read_ports(struct schema *schema, const struct schema_key *key,
		     const struct yaml_value *value, uint16_t **ret_ports,
		     size_t *ret_count) MUST_CHECK;

#endif

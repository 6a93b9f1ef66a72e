/* SPDX-License-Identifier: Apache-2.0
 * AnyIP routes; see anyip.h. Runs in: init.
 *
 * In the main table rather than the local one: the local table is looked at first, so a default route
 * in it would take the link's own subnet too, and the proxy's answers to the agent would never leave. */
#include "netns/anyip.h"

#include <linux/rtnetlink.h>
#include <netlink/attr.h>
#include <sys/socket.h>

void anyip_add_route(struct batch *batch, int family)
{
	struct rtmsg header = {
		.rtm_family = (uint8_t)family,
		.rtm_dst_len = 0,
		.rtm_table = RT_TABLE_MAIN,
		.rtm_protocol = RTPROT_STATIC,
		.rtm_scope = RT_SCOPE_HOST,
		.rtm_type = RTN_LOCAL,
	};
	struct nl_msg *msg = batch_request(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, &header,
					   sizeof(header));

	batch_add(batch,
		  family == AF_INET6 ? "route `local ::/0 dev lo`" : "route `local default dev lo`",
		  msg, msg ? nla_put_u32(msg, RTA_OIF, BATCH_LOOPBACK_INDEX) : 0);
}

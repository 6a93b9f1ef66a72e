/* SPDX-License-Identifier: Apache-2.0
 *
 * `bottle image import|list|remove`.
 */
#ifndef RUNTIME_CMD_IMAGE_H
#define RUNTIME_CMD_IMAGE_H

/* argv[0] is "image". Returns the exit status: 0, or 125 when it failed or was called wrongly. */
int cmd_image(int argc, char **argv);

#endif

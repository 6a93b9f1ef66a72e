/* SPDX-License-Identifier: Apache-2.0
 * Files that came with bottle: beside the program where it was built, in PREFIX/share/bottle where it was
 * installed. Runs in: launcher, while the plan is made. */
#ifndef RUNTIME_OWN_FILES_H
#define RUNTIME_OWN_FILES_H

#include "base/err.h"

/* The folder of the running program, absolute; owned. */
int own_files_program_folder(char **ret_folder, struct err *err) MUST_CHECK;

/* The path of a file of ours: the first of PROGRAM/<place>/<name> that is there. `places` is
 * NULL-terminated. -ENOENT without a sentence where none is. */
int own_files_find(const char *const *places, const char *name, char **ret_path,
		   struct err *err) MUST_CHECK;

#endif

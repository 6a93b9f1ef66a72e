/* SPDX-License-Identifier: Apache-2.0
 *
 * The smallest program: what an exec and an exit cost without anything else. Linked statically.
 *
 * Runs in: bench.py's namespace; needs no privilege.
 */
int main(void)
{
	return 0;
}

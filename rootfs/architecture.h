/* SPDX-License-Identifier: Apache-2.0
 *
 * What images call this program's processor: the name that Go has for it (OCI image-spec, config.md).
 */
#ifndef ROOTFS_ARCHITECTURE_H
#define ROOTFS_ARCHITECTURE_H

#if defined(__x86_64__)
#define ROOTFS_ARCHITECTURE "amd64"
#elif defined(__aarch64__)
#define ROOTFS_ARCHITECTURE "arm64"
#elif defined(__arm__)
#define ROOTFS_ARCHITECTURE "arm"
#elif defined(__i386__)
#define ROOTFS_ARCHITECTURE "386"
#elif defined(__riscv) && __riscv_xlen == 64
#define ROOTFS_ARCHITECTURE "riscv64"
#elif defined(__powerpc64__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define ROOTFS_ARCHITECTURE "ppc64le"
#elif defined(__s390x__)
#define ROOTFS_ARCHITECTURE "s390x"
#elif defined(__loongarch64)
#define ROOTFS_ARCHITECTURE "loong64"
#else
#error "add this processor's GOARCH name"
#endif

#endif

#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Unpacks the one layer of the archive that make_image made. Runs in: Dockerfile.egress-proxy.
# usage: unpack.sh ARCHIVE FOLDER
set -eu

layer=$(tar -xOf "$1" manifest.json | sed 's/.*"Layers":\["\([^"]*\)".*/\1/')
mkdir -p "$2"
tar -xOf "$1" "$layer" | tar -x -C "$2"

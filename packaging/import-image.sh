#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Imports the proxy's image for the calling user unless just this one is there already.
# usage: import-image.sh BOTTLE ARCHIVE [INPUTS]
#
# ARCHIVE may be "-" (a tar on stdin). INPUTS is the file that rootfs/build-image.sh leaves beside
# the archive; its content names what the archive was made from.
set -eu

bottle=$1
archive=$2
inputs=${3:-$2.inputs}
data=${XDG_DATA_HOME:-$HOME/.local/share}/bottle
stamp=$data/.imported-mitmproxy

wanted=$(cat "$inputs" 2>/dev/null || true)
if [ -n "$wanted" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] &&
	"$bottle" image list | grep -q mitmproxy; then
	exit 0
fi
"$bottle" image import "$archive" --tag mitmproxy
echo "$wanted" >"$stamp"

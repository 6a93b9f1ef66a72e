#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The archive that an image with the label bottle.secrets=stdin reads on its standard input (docs/proxy.md).

usage: secrets_archive.py ROUTES CA [TOKENS] >ARCHIVE        files
"""

import io
import sys
import tarfile

USER = 1000
NAMES = ("etc/egress-proxy/routes.yaml", "home/mitmproxy/.mitmproxy/mitmproxy-ca.pem", "run/egress-proxy/tokens")


def secrets_archive(contents):
    """The bytes of routes.yaml, the CA and, where there are any, the tokens' lines. → the archive"""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in zip(NAMES, contents):
            info = tarfile.TarInfo(name)
            info.size, info.mode, info.uid, info.gid = len(data), 0o400, USER, USER
            tar.addfile(info, io.BytesIO(data))
        end = out.tell()
    return out.getvalue()[:end] + b"\0" * 1024  # without tarfile's padding to a record


def main():
    contents = []
    for path in sys.argv[1:]:
        with open(path, "rb") as file:
            contents.append(file.read())
    sys.stdout.buffer.write(secrets_archive(contents))


if __name__ == "__main__":
    main()

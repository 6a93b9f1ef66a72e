# SPDX-License-Identifier: Apache-2.0
"""usage: tiny_image.py ROOT OUT [LABEL=VALUE]...: an OCI archive of one layer, the folder ROOT, that runs
/proxy as 1000"""

import hashlib
import io
import json
import platform
import sys
import tarfile

ARCH = {"x86_64": "amd64", "aarch64": "arm64"}


def main(root, out, *labels):
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        tar.add(root, arcname=".")
    blobs = {}

    def blob(data):
        digest = hashlib.sha256(data).hexdigest()
        blobs[digest] = data
        return {"digest": f"sha256:{digest}", "size": len(data)}

    kind = "application/vnd.oci.image."
    layer_blob = blob(layer.getvalue())
    machine = platform.machine()
    labels = {"bottle.ready-fd": "1", **dict(label.split("=", 1) for label in labels)}
    config = {
        "os": "linux", "architecture": ARCH.get(machine, machine),
        "config": {"User": "1000", "Entrypoint": ["/proxy"], "Labels": labels},
        "rootfs": {"type": "layers", "diff_ids": [layer_blob["digest"]]},
    }  # fmt: skip
    manifest = {
        "schemaVersion": 2,
        "config": dict(blob(json.dumps(config).encode()), mediaType=kind + "config.v1+json"),
        "layers": [dict(layer_blob, mediaType=kind + "layer.v1.tar")],
    }
    entry = dict(blob(json.dumps(manifest).encode()), mediaType=kind + "manifest.v1+json")
    files = {f"blobs/sha256/{digest}": data for digest, data in blobs.items()}
    files["index.json"] = json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode()
    files["oci-layout"] = b'{"imageLayoutVersion": "1.0.0"}'
    with tarfile.open(out, "w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


main(*sys.argv[1:])

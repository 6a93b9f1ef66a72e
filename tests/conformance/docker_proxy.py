# SPDX-License-Identifier: Apache-2.0
"""A proxy in a container, as world.Proxy is one beside us: made by plain Docker commands, as the Docker
backend gives them, with the secrets on standard input.

Runs in: the test process, in the network namespace of the daemon that DOCKER_HOST names, where the recorder
listens too: the egress network's gateway is where every name leads. Needs: docker.
"""

import json
import os
import socket
import subprocess
import sys
import threading

import world

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))

from secrets_archive import USER, secrets_archive  # noqa: E402

TMPFS = f"rw,noexec,nosuid,nodev,uid={USER},gid={USER},mode=0700,size="
FOLDERS = {"/etc/egress-proxy": "1m", "/home/mitmproxy/.mitmproxy": "1m", "/tmp": "64m", "/run/egress-proxy": "64k"}
INTERNAL = ["--internal", "--ipv6=false", "--opt", "com.docker.network.bridge.inhibit_ipv4=true"]
START_SECONDS = 30


def docker(*words):
    return subprocess.run(["docker", *words], check=True, capture_output=True, text=True).stdout.strip()


def token_lines(tokens):
    by_number = sorted(tokens.items(), key=lambda item: int(item[0].rpartition("_")[2]))
    return "".join(f"{name}={value}\n" for name, value in by_number).encode()


def serve_no_names(address):
    """A name server that knows no name. Docker's resolver asks it, and gives no answer where it has none."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((address, 53))

    def serve():
        while True:
            query, sender = sock.recvfrom(4096)
            sock.sendto(query[:2] + b"\x81\x83" + query[4:6] + bytes(6) + query[12:], sender)

    threading.Thread(target=serve, daemon=True).start()


class DockerProxy:
    """`store`: the PEM file of who is believed outside."""

    def __init__(self, folder, data, image, store, port=9099):
        self.port = port
        self.name = f"conformance-{os.getpid()}"
        self.audit_path = f"{folder}/audit-docker.jsonl"
        self.error_path = f"{folder}/stderr-docker"
        self.ca_file, self.ca_path = world.make_ca(folder, "bottle-ca-docker")
        self.networks = (f"{self.name}-internal", f"{self.name}-egress")
        self.process = self.reader = None
        try:
            self._make_networks()
            serve_no_names(self.gateway)
            docker("create", *self._options(store), image)
            docker("network", "connect", self.networks[1], self.name)
            self._start(data)
            self.host = self._address()
        except BaseException:
            self.stop()
            raise

    def _make_networks(self):
        docker("network", "create", *INTERNAL, self.networks[0])
        docker("network", "create", self.networks[1])
        self.gateway = docker("network", "inspect", "-f", "{{(index .IPAM.Config 0).Gateway}}", self.networks[1])

    def _options(self, store):
        options = ["--interactive", "--name", self.name, "--network", self.networks[0],
                   "--network-alias", "egress-proxy", "--cap-drop", "ALL", "--security-opt", "no-new-privileges",
                   "--read-only", "--log-driver", "none", "--pids-limit", "256", "--memory", "512m",
                   "--memory-swap", "512m", "--volume", f"{store}:/etc/ssl/certs/ca-certificates.crt:ro"]  # fmt: skip
        for path, size in FOLDERS.items():
            options += ["--tmpfs", f"{path}:{TMPFS}{size}"]
        options += ["--dns", self.gateway]
        for name in world.NAMES:
            options += ["--add-host", f"{name}:{self.gateway}"]
        environment = {
            "EGRESS_PROXY_SECRETS": "stdin",
            "EGRESS_PROXY_AUDIT_FD": "1",
            "EGRESS_PROXY_READY_FD": "1",
            "EGRESS_PROXY_PORT": str(self.port),
            "EGRESS_PROXY_ALLOW_PRIVATE": ",".join(world.NAMES),
        }
        for name, value in environment.items():
            options += ["--env", f"{name}={value}"]
        return options

    def _start(self, data):
        with open(self.ca_path, "rb") as file:
            secrets = [world.render_routes(data["routes"]).encode(), file.read(), token_lines(data["tokens"])]
        with open(self.error_path, "wb") as errors:
            self.process = subprocess.Popen(["docker", "start", "--attach", "--interactive", self.name],
                                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors)  # fmt: skip
        self.process.stdin.write(secrets_archive(secrets))
        self.process.stdin.flush()  # and stays open: the image must not wait for its end
        ready = threading.Event()
        self.reader = threading.Thread(target=self._copy, args=(ready,), daemon=True)
        self.reader.start()
        if not ready.wait(START_SECONDS) or self.process.poll() is not None:
            with open(self.error_path, encoding="utf-8") as file:
                raise RuntimeError(f"the proxy did not start: {file.read()}")

    def _copy(self, ready):
        """Audit lines to their file; READY=1 is for us. Ends with the container's output."""
        with open(self.audit_path, "ab", buffering=0) as audit:
            for line in self.process.stdout:
                if line == b"READY=1\n":
                    ready.set()
                else:
                    audit.write(line)
        ready.set()

    def _address(self):
        networks = json.loads(docker("inspect", "-f", "{{json .NetworkSettings.Networks}}", self.name))
        return networks[self.networks[1]]["IPAddress"]

    def stop(self):
        subprocess.run(["docker", "rm", "--force", self.name], check=False, capture_output=True)
        for network in self.networks:
            subprocess.run(["docker", "network", "rm", network], check=False, capture_output=True)
        if self.process:
            self.process.stdin.close()
            self.process.wait(10)
            if self.reader:
                self.reader.join(10)

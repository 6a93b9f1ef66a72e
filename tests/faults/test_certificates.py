#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Servers with a certificate that is wrong in one way each: none is spoken to, none sees a credential,
and the client is told which check failed.

Run: test_certificates.py [-v]
"""

import datetime
import ssl
import subprocess
import unittest
import warnings

import faults
from faults import FaultTest, reason_of, status_of, world

DAY = datetime.timedelta(days=1)
# name: what differs from a good leaf. `says`: a word of the detail.
BAD = {
    "expired": {"days": (-3, -1), "says": "expired"},
    "early": {"days": (1, 3), "says": "not valid yet"},
    "wronghost": {"san": "DNS:other.test", "says": "another name"},
    "parent": {"san": "DNS:bad.test", "says": "another name"},
    "deeper": {"san": "DNS:*.deeper.bad.test", "says": "another name"},
    "nosan": {"san": "", "cn": "other.test", "says": "another name"},
    "address": {"san": "IP:127.0.0.1", "cn": "other.test", "says": "another name"},
    "selfsigned": {"ca": None, "says": "self-signed"},
    "stranger": {"ca": "stranger", "says": "issuer"},
    "sha1": {"digest": "sha1", "says": ""},
    "weak": {"key": ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"], "says": ""},
    "clientonly": {"eku": "clientAuth", "says": "not for TLS servers"},
    "leafca": {"ca": "leafca-issuer", "says": ""},
    "nochain": {"ca": "between", "says": "issuer"},
}
WEAK = "ALL:@SECLEVEL=0"


def openssl(*args):
    subprocess.run(["openssl", *args], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def make_issuer(name, ca_of, is_ca="TRUE"):
    """A CA, or what plays one, below outside-ca or (ca_of None) on its own."""
    top = faults.folder()
    key, cert = f"{top}/{name}.key", f"{top}/{name}.crt"
    openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", key)
    if not ca_of:
        openssl("req", "-x509", "-new", "-key", key, "-subj", f"/CN={name}", "-days", "3", "-out", cert)
        return
    sign(name, key, cert, ca_of, f"basicConstraints=critical,CA:{is_ca}\n", (0, 3), f"/CN={name}", "sha256")


def sign(name, key, cert, ca, extensions, days, subject, digest):
    """By `openssl ca`, which alone sets both dates."""
    top = faults.folder()
    now = datetime.datetime.now(datetime.timezone.utc)
    begin, end = ((now + DAY * d).strftime("%Y%m%d%H%M%SZ") for d in days)
    with open(f"{top}/{name}.cnf", "w", encoding="ascii") as file:
        file.write(f"[ca]\ndefault_ca=d\n[d]\ndatabase={top}/{name}.db\nserial={top}/{name}.serial\n"
                   f"new_certs_dir={top}\npolicy=p\nunique_subject=no\ndefault_md={digest}\n"
                   f"x509_extensions=e\n[p]\ncommonName=optional\n[e]\n{extensions}")  # fmt: skip
    open(f"{top}/{name}.db", "w", encoding="ascii").close()
    with open(f"{top}/{name}.serial", "w", encoding="ascii") as file:
        file.write(f"{abs(hash(name)) % 10**8 + 10**8:X}".rjust(10, "1") + "\n")
    openssl("req", "-new", "-key", key, "-subj", subject, "-out", f"{top}/{name}.csr")
    signer = ["-selfsign", "-keyfile", key] if ca is None else ["-cert", f"{top}/{ca}.crt", "-keyfile", f"{top}/{ca}.key"]
    openssl("ca", "-batch", "-notext", "-config", f"{top}/{name}.cnf", *signer, "-startdate", begin,
            "-enddate", end, "-in", f"{top}/{name}.csr", "-out", cert)  # fmt: skip


def make_bad(name, how):
    """→ the file with key and certificate"""
    top = faults.folder()
    key, cert, both = (f"{top}/bad-{name}.{end}" for end in ("key", "crt", "pem"))
    openssl("genpkey", *how.get("key", ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]), "-out", key)
    san = how.get("san", f"DNS:{name}.bad.test")
    extensions = "basicConstraints=CA:FALSE\n" + (f"subjectAltName={san}\n" if san else "")
    extensions += f"extendedKeyUsage={how['eku']}\n" if "eku" in how else ""
    sign(f"bad-{name}", key, cert, how.get("ca", "outside-ca"), extensions, how.get("days", (-1, 2)),
         f"/CN={how.get('cn', name + '.bad.test')}", how.get("digest", "sha256"))  # fmt: skip
    world._join(both, key, cert)
    return both


def context_of(path):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers(WEAK)
    context.load_cert_chain(path)
    return context


def old_context(path):
    """TLS 1.1 and no later. On a port of its own: the version is chosen before the name is looked at."""
    context = context_of(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    return context


def setUpModule():
    faults.BAD_NAMES[:] = [*BAD, "good", "old"]
    faults.set_up_world()
    make_issuer("stranger", None)
    # The trusted CA of this world may sign no CA, so one that may stands beside it.
    make_issuer("root", None)
    make_issuer("between", "root")
    make_issuer("leafca-issuer", "root", is_ca="FALSE")
    with open(f"{faults.folder()}/outside-ca.crt", "ab") as store, \
            open(f"{faults.folder()}/root.crt", "rb") as root:
        store.write(root.read())
    contexts = {f"{name}.bad.test": context_of(make_bad(name, how)) for name, how in BAD.items()}
    good = make_bad("good", {})
    contexts["good.bad.test"] = context_of(good)
    global OLD
    OLD = faults.Server(8443, old_context(make_bad("old", {})))

    def choose(sock, name, _):
        sock.context = contexts.get(name, sock.context)

    faults.TLS.context.sni_callback = choose


def tearDownModule():
    faults.tear_down_world()


class CertificateTest(FaultTest):
    def ask_host(self, name):
        return self.ask(faults.tls_request(name, "/"), self.tunnel(name))

    def test_a_good_one(self):
        answer = self.ask_host("good.bad.test")
        self.assertEqual(status_of(answer), 200, answer)
        self.assertIn(f"Bearer {faults.TOKEN}".encode(), faults.TLS.heads[0])

    def test_each_that_is_bad(self):
        for name, how in BAD.items():
            with self.subTest(name):
                answer = self.ask_host(f"{name}.bad.test")
                self.assertEqual(status_of(answer), 502, answer)
                self.assertEqual(reason_of(answer), "upstream_tls_verify", answer)
                self.assertIn(how["says"].encode(), answer)
                line = self.lines(1)[0]
                self.assertEqual((line["verdict"], line["reason"]), ("error", "upstream_tls_verify"))
        self.assertEqual(faults.TLS.heads, [], "a server with a bad certificate was spoken to")
        self.test_a_good_one()

    def test_an_old_protocol(self):
        answer = self.ask(faults.tls_request("old.bad.test:8443", "/"), self.tunnel("old.bad.test", 8443))
        self.assertEqual((status_of(answer), reason_of(answer)), (502, "upstream_tls"), answer)
        self.assertEqual(OLD.heads, [])


if __name__ == "__main__":
    world.enter_namespaces()
    unittest.main()

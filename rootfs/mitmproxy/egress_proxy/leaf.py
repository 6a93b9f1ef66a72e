# SPDX-License-Identifier: Apache-2.0
"""TLS on both sides: leaves signed by the bottle's CA for the agent, and two kinds of trust for
what lies outside.

mitmproxy's own certificate store would write files beside the CA, sign leaves that strict verifiers
refuse (no authority key identifier, a year of life beyond the CA's) and hand out the CA's key as
every leaf's. A leaf here lives as long as the CA, which lives as long as the bottle.

The upstream proxy's CA vouches only for what came through that proxy: else whoever holds its key
could pose as any host that is dialled directly.
"""

import ipaddress
from collections import OrderedDict

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from OpenSSL import SSL, crypto

MAX_LEAVES = 512
ALPN = (b"h2", b"http/1.1")
HOST_FLAGS = SSL._lib.X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | SSL._lib.X509_CHECK_FLAG_NEVER_CHECK_SUBJECT


class BadCa(ValueError):
    pass


def _context(method):
    context = SSL.Context(method)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION)
    # 14 kB instead of 46 for each idle connection.
    SSL._lib.SSL_CTX_set_mode(context._context, SSL._lib.SSL_MODE_RELEASE_BUFFERS)
    return context


def _select_alpn(_conn, offered):
    chosen = next((protocol for protocol in offered if protocol in ALPN), None)
    return chosen or SSL.NO_OVERLAPPING_PROTOCOLS


class LeafStore:
    """One server context for each name; the oldest of 512 goes."""

    def __init__(self, pem):
        try:
            self._ca_key = serialization.load_pem_private_key(pem, None)
            self._ca = x509.load_pem_x509_certificate(pem[pem.index(b"-----BEGIN CERTIFICATE") :])
        except (ValueError, TypeError) as err:
            raise BadCa("no PEM with a certificate and its key") from err
        # An RSA CA is for clients without EC; making an RSA key takes longer than a boot should.
        elliptic = isinstance(self._ca_key, ec.EllipticCurvePrivateKey)
        self._key = ec.generate_private_key(ec.SECP256R1()) if elliptic else self._ca_key
        self._contexts = OrderedDict()

    def context(self, host):
        context = self._contexts.pop(host, None) or self._make_context(host)
        self._contexts[host] = context
        if len(self._contexts) > MAX_LEAVES:
            self._contexts.popitem(last=False)
        return context

    def _make_context(self, host):
        context = _context(SSL.TLS_SERVER_METHOD)
        context.use_certificate(crypto.X509.from_cryptography(self._sign(host)))
        context.use_privatekey(crypto.PKey.from_cryptography_key(self._key))
        context.set_alpn_select_callback(_select_alpn)
        return context

    def _sign(self, host):
        try:
            name = x509.IPAddress(ipaddress.ip_address(host))
        except ValueError:
            name = x509.DNSName(host)
        public = self._key.public_key()
        common = [x509.NameAttribute(NameOID.COMMON_NAME, host)] if len(host) <= 64 else []
        usage = dict.fromkeys(
            ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
             "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"), False,
        )  # fmt: skip
        if not isinstance(public, ec.EllipticCurvePublicKey):
            usage["key_encipherment"] = True
        builder = (
            x509.CertificateBuilder()
            .issuer_name(self._ca.subject)
            .subject_name(x509.Name(common))
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(self._ca.not_valid_before)
            .not_valid_after(self._ca.not_valid_after)
            .add_extension(x509.SubjectAlternativeName([name]), critical=not common)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.KeyUsage(digital_signature=True, **usage), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False
            )
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(self._authority_key_identifier(), critical=False)
        )
        return builder.sign(self._ca_key, hashes.SHA256())

    def _authority_key_identifier(self):
        try:
            own = self._ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        except x509.ExtensionNotFound:
            return x509.AuthorityKeyIdentifier.from_issuer_public_key(self._ca.public_key())
        return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own)


def _read_certificates(path):
    with open(path, "rb") as file:
        raw = file.read()
    mark = b"-----END CERTIFICATE-----"
    parts = [part + mark for part in raw.split(mark)[:-1]]
    if not parts:
        raise BadCa(f"{path}: no certificate in PEM")
    try:
        return [crypto.load_certificate(crypto.FILETYPE_PEM, part) for part in parts]
    except crypto.Error:
        raise BadCa(f"{path}: a certificate that cannot be read") from None


class TrustStore:
    """Contexts for connections outward, made on first use: reading a whole store takes 25 ms."""

    def __init__(self, store_path, extra_ca, upstream_ca):
        self._store_path = store_path
        self._extra = [cert for path in extra_ca for cert in _read_certificates(path)]
        self._upstream = _read_certificates(upstream_ca) if upstream_ca else []
        self._made = {}

    def _context(self, through_upstream):
        if through_upstream not in self._made:
            context = _context(SSL.TLS_CLIENT_METHOD)
            context.set_verify(SSL.VERIFY_PEER, None)
            context.load_verify_locations(self._store_path)
            store = context.get_cert_store()
            for cert in self._extra + (self._upstream if through_upstream else []):
                store.add_cert(cert)
            self._made[through_upstream] = context
        return self._made[through_upstream]

    def connection(self, host, alpn, through_upstream):
        """A client connection that verifies `host`."""
        conn = SSL.Connection(self._context(through_upstream))
        param = SSL._lib.SSL_get0_param(conn._ssl)
        SSL._lib.X509_VERIFY_PARAM_set_hostflags(param, HOST_FLAGS)
        try:
            packed = ipaddress.ip_address(host).packed
        except ValueError:
            name = host.encode("ascii")
            conn.set_tlsext_host_name(name)
            ok = SSL._lib.X509_VERIFY_PARAM_set1_host(param, name, len(name))
        else:
            ok = SSL._lib.X509_VERIFY_PARAM_set1_ip(param, packed, len(packed))
        SSL._openssl_assert(ok == 1)
        if alpn:
            conn.set_alpn_protos(list(alpn))
        conn.set_connect_state()
        return conn

"""Certificates of other people's CAs, each field as a test wants it."""

from datetime import timedelta

import attrs
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.x509.material import NOW

CLIENT = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
SERVER = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])


def usage(**said):
    words = (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
        "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
    )  # fmt: skip
    return x509.KeyUsage(**{word: said.get(word, False) for word in words})


@attrs.frozen(eq=False)
class Holder:
    """A certificate with its key; it signs others and revokes them."""

    certificate: x509.Certificate
    key: object

    @property
    def der(self):
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def pem(self):
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self):
        encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        return self.key.private_bytes(encoding, form, serialization.NoEncryption())

    def issue(self, name, **fields):
        return make(name, issuer=self, **fields)

    def crl(self, *serials, begin=NOW - timedelta(days=1), end=NOW + timedelta(days=7), extensions=()):
        builder = x509.CertificateRevocationListBuilder().issuer_name(self.certificate.subject)
        builder = builder.last_update(begin).next_update(end)
        for serial in serials:
            entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(begin).build()
            builder = builder.add_revoked_certificate(entry)
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        return builder.sign(self.key, hashes.SHA256())


def make(
    name, *, issuer=None, key=None, ca=False, extensions=(CLIENT,), begin=None, end=None, serial=None, digest=None
):
    """Return a holder; a CA has basicConstraints and nothing else, as `openssl req -x509` makes it."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = x509.CertificateBuilder().subject_name(subject).public_key(key.public_key())
    builder = builder.issuer_name(issuer.certificate.subject if issuer else subject)
    builder = builder.serial_number(serial or x509.random_serial_number())
    builder = builder.not_valid_before(begin or NOW - timedelta(days=1))
    builder = builder.not_valid_after(end or NOW + timedelta(days=365))
    if ca:
        builder = builder.add_extension(x509.BasicConstraints(ca is True, None), critical=True)
    for extension in () if ca and extensions == (CLIENT,) else extensions:
        builder = builder.add_extension(extension, critical=False)
    return Holder(builder.sign(issuer.key if issuer else key, digest or hashes.SHA256()), key)


def root(name="Factory CA", **fields):
    return make(name, ca=True, **fields)

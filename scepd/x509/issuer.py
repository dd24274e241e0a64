"""The CA certificate that certificates are drafted under."""

from collections.abc import Mapping
from datetime import datetime
from functools import cached_property
from typing import Any, Self

import attrs
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from scepd.message import tlv
from scepd.message.algorithms import MODERN_DIGESTS, Digest
from scepd.records import Name
from scepd.refusal import OperatorError
from scepd.x509.draft import IssuerPublicKey, placeholder_signature, signature_algorithm
from scepd.x509.fields import UNREADABLE, tbs_fields
from scepd.x509.names import from_x509

_CURVE_DIGESTS = {"secp256r1": Digest.SHA256, "secp384r1": Digest.SHA384, "secp521r1": Digest.SHA512}


def write_extension(value: x509.ExtensionType, *, critical: bool = False) -> bytes:
    """Return the DER of an Extension (RFC 5280 section 4.1); a FALSE critical is left out."""
    flag = tlv.boolean(True) if critical else b""
    return tlv.sequence(tlv.oid(value.oid.dotted_string), flag, tlv.octet_string(value.public_bytes()))


@attrs.frozen
class Letterhead:
    """The octets that all drafts of one signer share."""

    name_der: bytes
    algorithm_der: bytes
    authority_key_der: bytes  # the whole extension
    placeholder_der: bytes  # the BIT STRING in place of a signature

    @classmethod
    def of(cls, name_der: bytes, public_key: IssuerPublicKey, key_identifier: bytes, digest: Digest) -> Self:
        """Return what a signer with that name and key writes."""
        return cls(
            name_der,
            signature_algorithm(public_key, digest),
            write_extension(x509.AuthorityKeyIdentifier(key_identifier, None, None)),
            tlv.bit_string(placeholder_signature(public_key)),
        )


@attrs.frozen(eq=False)  # compared by identity: what was judged under it is remembered
class IssuerCertificate:
    """A CA certificate that certificates are drafted under, with what each draft needs worked out once."""

    der: bytes
    certificate: x509.Certificate
    subject_der: bytes
    public_key: IssuerPublicKey
    key_identifier: bytes
    not_before: datetime
    not_after: datetime
    digest: Digest
    path_length: int | None = None
    name_constraints: x509.NameConstraints | None = None
    tls_features: frozenset[int] = frozenset()

    @cached_property
    def letterhead(self) -> Letterhead:
        """What all drafts under this certificate share; the name octet for octet (C-285)."""
        return Letterhead.of(self.subject_der, self.public_key, self.key_identifier, self.digest)

    @cached_property
    def _name(self) -> tuple[frozenset[tuple[str, str]], ...]:
        return _pairs(from_x509(self.certificate.subject))

    def is_named(self, name: Name) -> bool:
        """Return whether a name is the issuer's own, in whatever string types."""
        return len(name) == len(self._name) and _pairs(name) == self._name

    @classmethod
    def load(cls, der: bytes, digest: Digest | None = None) -> Self:
        """Read a CA certificate; `digest` is that of the signatures to come (None: SHA-256, or the curve's match).

        Raises OperatorError for bytes or a certificate that cannot issue.
        """
        try:
            certificate = x509.load_der_x509_certificate(der)
            public_key = certificate.public_key()
            extensions = {extension.oid.dotted_string: extension.value for extension in certificate.extensions}
            subject_der = tbs_fields(certificate.tbs_certificate_bytes)[5]
            certificate.subject.public_bytes()  # drafts copy it; `lint` compares the octets (C-285)
        except UNREADABLE as error:
            raise _unfit(f"unreadable: {error}") from None
        if not isinstance(public_key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey):
            raise _unfit("its key is neither RSA nor EC")
        digest = digest or issuing_digest(public_key)
        if digest not in MODERN_DIGESTS:
            raise _unfit(f"{digest.name} signs no certificate")
        return cls(
            der=der,
            certificate=certificate,
            subject_der=subject_der,
            public_key=public_key,
            not_before=certificate.not_valid_before_utc,
            not_after=certificate.not_valid_after_utc,
            digest=digest,
            **_issuing_facts(extensions),
        )


def _pairs(name: Name) -> tuple[frozenset[tuple[str, str]], ...]:
    return tuple(frozenset((attribute.oid, attribute.value) for attribute in rdn) for rdn in name)


def _unfit(problem: str) -> OperatorError:
    return OperatorError(f"the CA certificate cannot issue: {problem}", "openssl x509 -noout -text -in FILE")


def issuing_digest(key: IssuerPublicKey) -> Digest:
    """Return the digest that a key signs with unless told otherwise: SHA-256, or the one as strong as its curve.

    OperatorError for a curve that we do not issue with.
    """
    if isinstance(key, rsa.RSAPublicKey):
        return Digest.SHA256
    if key.curve.name not in _CURVE_DIGESTS:
        raise _unfit(f"its curve is {key.curve.name}")
    return _CURVE_DIGESTS[key.curve.name]


def _issuing_facts(extensions: Mapping[str, x509.ExtensionType]) -> dict[str, Any]:
    """Return what the extensions of a CA certificate say about issuing; OperatorError when they forbid it."""
    constraints = extensions.get("2.5.29.19")
    if not isinstance(constraints, x509.BasicConstraints) or not constraints.ca:
        raise _unfit("it is no CA certificate")
    usage = extensions.get("2.5.29.15")
    if not isinstance(usage, x509.KeyUsage) or not usage.key_cert_sign:
        raise _unfit("its key usage lacks keyCertSign")
    identifier = extensions.get("2.5.29.14")
    if not isinstance(identifier, x509.SubjectKeyIdentifier):
        raise _unfit("it has no subject key identifier")
    features = extensions.get("1.3.6.1.5.5.7.1.24")
    return {
        "key_identifier": identifier.digest,
        "path_length": constraints.path_length,
        "name_constraints": extensions.get("2.5.29.30"),
        "tls_features": frozenset(f.value for f in features) if isinstance(features, x509.TLSFeature) else frozenset(),
    }

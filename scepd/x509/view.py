"""A drafted certificate as the lint rules see it: parsed once, with the octets where octets count."""

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

import attrs
from cryptography import x509

from scepd.records import Attribute
from scepd.x509.draft import split
from scepd.x509.fields import UNREADABLE, tbs_fields
from scepd.x509.issuer import IssuerCertificate
from scepd.x509.keys import read_public_key
from scepd.x509.names import from_x509
from scepd.x509.usages import key_usages

Kind = Literal["leaf", "ca", "ra", "tls"]

AUTHORITY_KEY = "2.5.29.35"
SUBJECT_KEY = "2.5.29.14"
BASIC_CONSTRAINTS = "2.5.29.19"
KEY_USAGE = "2.5.29.15"
PURPOSES = "2.5.29.37"
NAMES = "2.5.29.17"
CRL_POINTS = "2.5.29.31"
ACCESS = "1.3.6.1.5.5.7.1.1"
TLS_FEATURE = "1.3.6.1.5.5.7.1.24"
NAME_CONSTRAINTS = "2.5.29.30"
POLICIES = "2.5.29.32"


@attrs.frozen
class View:
    """One certificate under lint; `issuer` None means that it must be self-signed."""

    kind: Kind
    issuer: IssuerCertificate | None
    certificate: x509.Certificate
    algorithm: bytes  # the outer AlgorithmIdentifier
    fields: list[bytes]  # of the TBSCertificate: version, serial, algorithm, issuer, validity, subject, key, ...
    extensions: dict[str, x509.Extension[x509.ExtensionType]]
    subject: tuple[Attribute, ...]  # of all RDNs
    usages: frozenset[str]
    purposes: tuple[str, ...]
    public_key: object
    serial: int
    not_before: datetime
    not_after: datetime

    @property
    def issuer_der(self) -> bytes:
        """The name that must stand as issuer."""
        return self.fields[5] if self.issuer is None else self.issuer.subject_der


def examine(der: bytes, issuer: IssuerCertificate | None, kind: Kind) -> View:
    """Parse a certificate for lint; ValueError when any part of it cannot be read."""
    tbs, algorithm, _ = split(der)
    fields = tbs_fields(tbs)
    try:
        certificate = x509.load_der_x509_certificate(der)
        extensions: dict[str, x509.Extension[x509.ExtensionType]] = {
            extension.oid.dotted_string: extension for extension in certificate.extensions
        }
        public_key = read_public_key(fields[6])
    except UNREADABLE as error:
        raise ValueError(str(error)) from None
    return View(
        kind=kind,
        issuer=issuer,
        certificate=certificate,
        algorithm=algorithm,
        fields=fields,
        extensions=extensions,
        subject=tuple(attribute for rdn in from_x509(certificate.subject) for attribute in rdn),
        usages=_usages(extensions),
        purposes=_purposes(extensions),
        public_key=public_key,
        serial=certificate.serial_number,
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
    )


def _usages(extensions: Mapping[str, x509.Extension[x509.ExtensionType]]) -> frozenset[str]:
    extension = extensions.get(KEY_USAGE)
    return key_usages(extension.value) if extension and isinstance(extension.value, x509.KeyUsage) else frozenset()


def _purposes(extensions: Mapping[str, x509.Extension[x509.ExtensionType]]) -> tuple[str, ...]:
    extension = extensions.get(PURPOSES)
    if extension is None or not isinstance(extension.value, x509.ExtendedKeyUsage):
        return ()
    return tuple(purpose.dotted_string for purpose in extension.value)

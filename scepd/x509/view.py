"""A drafted certificate as the lint rules see it: parsed once, with the octets where octets count."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Literal

import attrs
from cryptography import x509

from scepd.message import tlv
from scepd.records import Attribute
from scepd.x509.draft import split
from scepd.x509.fields import UNREADABLE, contents, elements, tbs_fields
from scepd.x509.issuer import IssuerCertificate
from scepd.x509.keys import read_public_key
from scepd.x509.names import from_x509
from scepd.x509.usages import key_usages

# "crossed": of a CA whose name and key identifier are what they are in a certificate that it has already.
Kind = Literal["leaf", "ca", "crossed", "ra", "tls", "ocsp"]

AUTHORITY_KEY = "2.5.29.35"
SUBJECT_KEY = "2.5.29.14"
BASIC_CONSTRAINTS = "2.5.29.19"
KEY_USAGE = "2.5.29.15"
PURPOSES = "2.5.29.37"
NAMES = "2.5.29.17"
CRL_POINTS = "2.5.29.31"
ACCESS = "1.3.6.1.5.5.7.1.1"
OCSP_NO_CHECK = "1.3.6.1.5.5.7.48.1.5"
NAME_CONSTRAINTS = "2.5.29.30"
POLICIES = "2.5.29.32"

_EXTENSIONS = 0xA3
_OWN_KEY = bytes.fromhex("301d0603551d0e04160414")  # a subject key identifier of 20 octets, up to them
_OWN_KEY_SIZE = len(_OWN_KEY) + 20
_NAMES = re.compile(rb"\x30(?:[\x00-\x7f]|\x81.|\x82..)\x06\x03\x55\x1d\x11", re.DOTALL)  # subjectAltName's beginning
_ED25519 = tlv.sequence(tlv.oid("1.3.101.112"))
_NO_NAME = tlv.sequence()
_DAY = tlv.time(datetime(2000, 1, 1, tzinfo=UTC))
_SHELL = (  # a certificate up to its extensions
    tlv.explicit(0, tlv.integer(2)),
    tlv.integer(1),
    _ED25519,
    _NO_NAME,
    tlv.sequence(_DAY, _DAY),
    _NO_NAME,
    tlv.sequence(_ED25519, tlv.bit_string(bytes(32))),
)


@attrs.frozen(eq=False)
class Extensions:
    """Extensions of a certificate as cryptography reads them, and what they say about usages."""

    by_oid: Mapping[str, x509.Extension[x509.ExtensionType]]
    usages: frozenset[str]
    purposes: tuple[str, ...]


@attrs.frozen
class Common:
    """What a certificate under lint has in common with all others of its profile; `issuer` None: it is self-signed."""

    kind: Kind
    issuer: IssuerCertificate | None
    version: bytes
    algorithms: tuple[bytes, bytes]  # the AlgorithmIdentifier inside and outside
    issuer_name: bytes
    key_type: type
    extensions: Extensions  # but for the names, and for a subject key identifier as we write it
    further_fields: tuple[int, ...]  # tags of what follows the key, but for the extensions


@attrs.frozen
class View:
    """One certificate under lint."""

    common: Common
    certificate: x509.Certificate
    fields: list[bytes]  # of the TBSCertificate: version, serial, algorithm, issuer, validity, subject, key, ...
    subject: tuple[Attribute, ...]  # of all RDNs
    names: x509.Extension[x509.ExtensionType] | None
    key_identifier: bytes | None
    public_key: object
    serial: int
    not_before: datetime
    not_after: datetime

    @property
    def issuer(self) -> IssuerCertificate | None:
        """The issuer that the certificate is for."""
        return self.common.issuer

    @property
    def issuer_der(self) -> bytes:
        """The name that must stand as issuer."""
        return self.fields[5] if self.common.issuer is None else self.common.issuer.subject_der


def examine(der: bytes, issuer: IssuerCertificate | None, kind: Kind) -> View:
    """Parse a certificate for lint; ValueError when any part of it cannot be read.

    The whole is read by cryptography, which did not write it; extensions that come in every certificate of a profile
    are read once.
    """
    tbs, algorithm, _ = split(der)
    fields = tbs_fields(tbs)
    try:
        certificate = x509.load_der_x509_certificate(der)
        extensions, names, identifier = _read_extensions(fields)
        subject = certificate.subject
        public_key = read_public_key(fields[6])
    except UNREADABLE as error:
        raise ValueError(str(error)) from None
    further = tuple(field[0] for field in fields[7:] if field[0] != _EXTENSIONS)
    common = Common(kind, issuer, fields[0], (fields[2], algorithm), fields[3], type(public_key), extensions, further)
    return View(
        common=common,
        certificate=certificate,
        fields=fields,
        subject=tuple(attribute for rdn in from_x509(subject) for attribute in rdn),
        names=names,
        key_identifier=identifier,
        public_key=public_key,
        serial=certificate.serial_number,
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
    )


def _read_extensions(
    fields: Sequence[bytes],
) -> tuple[Extensions, x509.Extension[x509.ExtensionType] | None, bytes | None]:
    """Return the extensions that are a profile's, the alternative names, and the subject key identifier."""
    found = [one for field in fields[7:] if field[0] == _EXTENSIONS for one in elements(contents(contents(field)))]
    own = [one for one in found if len(one) == _OWN_KEY_SIZE and one.startswith(_OWN_KEY)]
    names = [one for one in found if _NAMES.match(one)]
    extensions = _read_shared(tuple(one for one in found if one not in own and one not in names))
    if len(own) > 1 or len(names) > 1 or (own and SUBJECT_KEY in extensions.by_oid):
        raise ValueError("an extension twice")
    identifier = extensions.by_oid.get(SUBJECT_KEY)
    return (
        extensions,
        _read_alone(names).by_oid[NAMES] if names else None,
        own[0][len(_OWN_KEY) :] if own else _identifier(identifier.value) if identifier else None,
    )


def _identifier(value: x509.ExtensionType) -> bytes | None:
    return value.digest if isinstance(value, x509.SubjectKeyIdentifier) else None


def _read_alone(ders: Sequence[bytes]) -> Extensions:
    """Return extensions as cryptography reads them in a certificate that holds nothing else."""
    tbs = tlv.sequence(*_SHELL, tlv.explicit(3, tlv.sequence(*ders)) if ders else b"")
    found = x509.load_der_x509_certificate(tlv.sequence(tbs, _SHELL[2], tlv.bit_string(b""))).extensions
    usages: frozenset[str] = frozenset()
    purposes: tuple[str, ...] = ()
    for extension in found:
        if isinstance(extension.value, x509.KeyUsage):
            usages = key_usages(extension.value)
        elif isinstance(extension.value, x509.ExtendedKeyUsage):
            purposes = tuple(one.dotted_string for one in extension.value)
    return Extensions({extension.oid.dotted_string: extension for extension in found}, usages, purposes)


_read_shared = lru_cache(maxsize=256)(_read_alone)  # one entry for each profile

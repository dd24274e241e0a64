"""Compiling [audit]: the key that seals the audit trail and signs ceremony records, and where the seals go."""

from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path

import attrs
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from scepd.config.fields import Duration, KeyUri, Text, required
from scepd.config.files import read_public
from scepd.config.issuer_settings import IssuerSettings
from scepd.config.secret import Surroundings
from scepd.config.settings import AuditSettings
from scepd.problems import Place, Refused

_SEALS = "audit-seals.jsonl"
_SMALLEST_RSA = 2048  # bits
_LONGEST_PAUSE = timedelta(days=7)  # between two seals: what was done since the last one is not sealed


@attrs.frozen
class AuditSection:
    """[audit]."""

    key: KeyUri | None = attrs.field(default=None, metadata=required('key = "pkcs11:token=scepd;object=scepd-audit"'))
    public_key: Text | None = attrs.field(default=None, metadata=required('public_key = "scepd-audit.pem"'))
    previous: tuple[Text, ...] = ()
    seal_every: Duration = timedelta(hours=1)
    seals: Text | None = None


def compile_audit(
    section: AuditSection | None, state: Path, surroundings: Surroundings, place: Place
) -> AuditSettings | None:
    """Return the audit key's settings, None where there is no such table or something in it is wrong."""
    if section is None:
        return None
    if section.seal_every > _LONGEST_PAUSE:
        (place / "seal_every").problem("leaves what was done unsealed for more than a week", 'seal_every = "1h"')
    public = _read_public_key(section.public_key, surroundings, place / "public_key")
    previous = [
        _read_public_key(name, surroundings, place / "previous" / index) for index, name in enumerate(section.previous)
    ]
    if section.key is None or section.public_key is None or public is None:
        return None
    seals = state / _SEALS if section.seals is None else surroundings.resolve(section.seals)
    former = tuple(key for key in previous if key is not None)
    file = surroundings.resolve(section.public_key)
    return AuditSettings(section.key, public, section.seal_every, seals, former, file)


def judge_audit_key(audit: AuditSettings | None, issuers: Iterable[IssuerSettings | None], place: Place) -> None:
    """Refuse an audit key that is another key too: whoever may use that one could seal what never happened (S-119)."""
    if audit is None:
        return
    for issuer in issuers:
        for der in () if issuer is None else issuer.own_certificates:
            key = x509.load_der_x509_certificate(der).public_key()
            if key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) == audit.public_key_der:
                assert issuer is not None  # it has certificates
                (place / "public_key").problem(
                    f"is a key of issuer {issuer.name}, and the audit key does nothing else",
                    "scepd hsm keygen scepd-audit --role sign --type ec:P-256",
                )
                return


def _read_public_key(name: str | None, surroundings: Surroundings, place: Place) -> bytes | None:
    if name is None:
        return None
    path = surroundings.resolve(name)
    try:
        return load_audit_key(read_public(path), path)
    except Refused as refused:
        place.refuse(refused)
        return None


def load_audit_key(pem: bytes, path: Path) -> bytes:
    """Return the SubjectPublicKeyInfo (DER) of a PEM public key or certificate. Raises `Refused`."""
    hint = "scepd hsm keygen scepd-audit --role sign --type ec:P-256 prints it"
    try:
        if b"BEGIN CERTIFICATE" in pem:
            key = x509.load_pem_x509_certificate(pem).public_key()
        else:
            key = load_pem_public_key(pem)  # type: ignore[assignment]  # of more kinds than certificates have
    except (ValueError, UnsupportedAlgorithm):
        raise Refused(f"{path} holds no readable PEM public key or certificate", hint) from None
    if not isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey):
        raise Refused(f"{path} holds neither an RSA nor an EC key", hint)
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < _SMALLEST_RSA:
        raise Refused(f"{path} holds an RSA key of {key.key_size} bits", hint)
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

"""Certificates that devices or their management still have, and that an older store has forgotten."""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import attrs
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from scepd.records import LostCertificate, shard_at
from scepd.refusal import OperatorError
from scepd.x509.general_names import general_names_of
from scepd.x509.keys import spki_digest
from scepd.x509.names import from_x509, to_text


def read_lost_certificates(
    files: Iterable[Path],
    issuers: Mapping[str, bytes],
    told: Mapping[tuple[str, int], LostCertificate],
) -> dict[tuple[str, int], LostCertificate]:
    """Return what the audit trail told of, with the certificates of PEM files in their places.

    A certificate that the trail does not tell of belongs to no profile: it can be revoked, and not be renewed. Raises
    `OperatorError` for what no issuer here signed, and for one that is not what the trail says was issued.
    """
    known = {name: x509.load_der_x509_certificate(der) for name, der in issuers.items()}
    found = dict(told)
    for path in files:
        for certificate in _read(path):
            lost = _read_certificate(path, certificate, known)
            before = found.get((lost.issuer, lost.serial))
            if before is not None and before.digest != lost.digest:
                words = f"{path}: certificate {lost.serial:x} is not the one that the audit trail tells of"
                raise OperatorError(words, f"openssl x509 -in {path} -noout -text")
            if before is not None:
                lost = attrs.evolve(lost, profile=before.profile, issued=before.issued)
            found[lost.issuer, lost.serial] = lost
    return found


def _read(path: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())
    except OSError as error:
        raise OperatorError(f"{path} cannot be read: {error.strerror}", f"ls -l {path}") from error
    except ValueError as error:
        raise OperatorError(f"{path} holds no PEM certificates: {error}", f"openssl x509 -in {path} -text") from error


def _read_certificate(
    path: Path, certificate: x509.Certificate, known: Mapping[str, x509.Certificate]
) -> LostCertificate:
    issuer = next((name for name, one in known.items() if _is_signed_by(certificate, one)), None)
    if issuer is None:
        words = f"{path}: certificate {certificate.serial_number:x} was signed by none of the issuers here"
        raise OperatorError(words, f"openssl x509 -in {path} -noout -issuer")
    der = certificate.public_bytes(Encoding.DER)
    spki = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return LostCertificate(
        issuer=issuer,
        serial=certificate.serial_number,
        issued=certificate.not_valid_before_utc,
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        subject=to_text(from_x509(certificate.subject)),
        names=tuple(f"{name.kind}:{name.value}" for name in general_names_of(certificate)),
        shard=_shard(certificate),
        digest=hashlib.sha256(der).hexdigest(),
        der=der,
        public_key=spki_digest(spki),
    )


def _shard(certificate: x509.Certificate) -> int:
    """Return the shard of the CRL that a certificate names."""
    try:
        points = certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    except x509.ExtensionNotFound:
        return 0
    return next((shard_at(str(point.full_name[0].value)) for point in points if point.full_name), 0)


def _is_signed_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True

"""What the store's self-check asks of certificates, their revocation and their lineage, and of CRLs."""

from collections.abc import Iterator, Mapping
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sqlalchemy import func, select

from scepd.records import CertificateState, RevocationReason
from scepd.store.rows import fold
from scepd.store.schema import CERTIFICATE, CRL, TRANSACTION
from scepd.x509.keys import spki_digest
from scepd.x509.names import from_x509, to_text

_C = CERTIFICATE.c
_before = CERTIFICATE.alias("before")
_earlier = CRL.alias("earlier")

# Failed: only where a signature came too late. Revoked: not where the serial was revoked before it was signed.
_MAY_LACK_BYTES = frozenset({CertificateState.FAILED, CertificateState.REVOKED})
_REASONS = frozenset(reason.value for reason in RevocationReason)

CERTIFICATES = select(
    *CERTIFICATE.c,
    TRANSACTION.c.draft_der.label("draft"),
    _before.c.id.label("before"),
    _before.c.renewals.label("before_renewals"),
    func.coalesce(_before.c.first_issued, _before.c.not_before).label("before_first_issued"),
).select_from(
    CERTIFICATE.outerjoin(TRANSACTION, _C.transaction == TRANSACTION.c.id).outerjoin(
        _before, _before.c.id == _C.predecessor
    )
)
_previous = (
    select(_earlier.c.this_update)
    .where(_earlier.c.issuer == CRL.c.issuer, _earlier.c.number < CRL.c.number)
    .order_by(_earlier.c.number.desc())
    .limit(1)
    .scalar_subquery()
)
CRLS = select(*CRL.c, _previous.label("previous_update"))


def certificate_faults(row: Any, issuers: Mapping[str, x509.Certificate]) -> Iterator[str]:
    """Yield what is wrong with a row of `CERTIFICATES`; `issuers` by name."""
    state = CertificateState(row.state)
    if (row.der is None) != (state is CertificateState.RESERVED) and state not in _MAY_LACK_BYTES:
        yield f"is {state.value} {'without' if row.der is None else 'with'} its bytes"
    if row.subject_folded != fold(row.subject):
        yield f"its subject {row.subject} is compared as {row.subject_folded}"
    yield from _revocation_faults(state, row)
    yield from _lineage_faults(row)
    if row.der is None:
        return
    try:
        certificate = x509.load_der_x509_certificate(row.der)
        yield from _content_faults(row, certificate)
    except ValueError as error:
        yield f"cannot be read: {error}"
        return
    if row.draft is not None and _tbs(row.draft) != certificate.tbs_certificate_bytes:
        yield "is not the draft that was recorded before it was signed"
    issuer = issuers.get(row.issuer)
    if issuer is None:
        yield "its issuer is not known"
    elif not _is_signed_by(certificate, issuer):
        yield "its issuer's key did not sign it"


def _revocation_faults(state: CertificateState, row: Any) -> Iterator[str]:
    if (state is CertificateState.REVOKED) != (row.revoked is not None):
        yield f"is {state.value}, revoked {row.revoked}"
    if (row.revoked is None) != (row.revocation_reason is None) or row.revocation_reason not in {None, *_REASONS}:
        yield f"is {state.value} with the revocation reason {row.revocation_reason}"
    if row.invalid_since is not None and (row.revoked is None or row.invalid_since > row.revoked):
        yield f"is invalid since {row.invalid_since}, revoked {row.revoked}"


def _lineage_faults(row: Any) -> Iterator[str]:
    if row.predecessor is None:
        if (row.renewals, row.first_issued) != (None, None):
            yield "counts renewals without a predecessor"
    elif row.before is None or row.before >= row.id:
        yield f"its predecessor, row {row.predecessor}, is not before it"
    elif (row.renewals, row.first_issued) != ((row.before_renewals or 0) + 1, row.before_first_issued):
        yield f"is renewal {row.renewals} since {row.first_issued}, its predecessor renewal {row.before_renewals or 0}"


def _content_faults(row: Any, certificate: x509.Certificate) -> Iterator[str]:
    if f"{certificate.serial_number:x}" != row.serial:
        yield f"its serial number is {certificate.serial_number:x}"
    if to_text(from_x509(certificate.subject)) != row.subject:
        yield f"its subject is {to_text(from_x509(certificate.subject))}, on record {row.subject}"
    spki = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if spki_digest(spki) != row.public_key:
        yield "its public key is another"
    window = [moment.isoformat()[:19] for moment in (certificate.not_valid_before_utc, certificate.not_valid_after_utc)]
    if window != [row.not_before[:19], row.not_after[:19]]:
        yield f"its validity is {window[0]} to {window[1]}"


def _tbs(der: bytes) -> bytes | None:
    try:
        return x509.load_der_x509_certificate(der).tbs_certificate_bytes
    except ValueError:
        return None


def _is_signed_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def crl_faults(row: Any, issuers: Mapping[str, x509.Certificate]) -> Iterator[str]:
    """Yield what is wrong with a row of `CRLS`; `issuers` by name."""
    if row.next_update <= row.this_update:
        yield f"its nextUpdate {row.next_update} is not after {row.this_update}"
    if row.previous_update is not None and row.this_update < row.previous_update:
        yield f"is of {row.this_update}, the one before it of {row.previous_update}"
    try:
        crl = x509.load_der_x509_crl(row.der)
        number = crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    except (ValueError, x509.ExtensionNotFound) as error:
        yield f"cannot be read: {error}"
        return
    if (number, len(crl)) != (row.number, row.entries):
        yield f"its bytes are number {number} with {len(crl)} entries"
    issuer = issuers.get(row.issuer)
    if issuer is None:
        yield "its issuer is not known"
    elif not _is_crl_signed_by(crl, issuer):
        yield "its issuer's key did not sign it"


def _is_crl_signed_by(crl: x509.CertificateRevocationList, issuer: x509.Certificate) -> bool:
    key = issuer.public_key()
    try:
        return crl.is_signature_valid(key)  # type: ignore[arg-type]  # TypeError says which keys cannot
    except (ValueError, TypeError):
        return False

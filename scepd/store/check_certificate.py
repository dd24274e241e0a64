"""What the self-check asks of certificates: their bytes against row, draft, issuer, lint and audit; their lineage."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

import attrs
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sqlalchemy import bindparam, func, select

from scepd.observe.audit import Action
from scepd.records import CertificateState, RevocationReason
from scepd.store.audit_tables import AUDIT
from scepd.store.check_rows import Findings, judged, pages
from scepd.store.engines import StoreConnection
from scepd.store.ledger import certificate_target, transaction_target
from scepd.store.rows import fold
from scepd.store.schema import CERTIFICATE, TRANSACTION
from scepd.x509.general_names import general_names_of
from scepd.x509.issuer import IssuerCertificate
from scepd.x509.keys import spki_digest
from scepd.x509.lint import Kind, lint
from scepd.x509.names import from_x509, to_text

_C = CERTIFICATE.c
_before = CERTIFICATE.alias("before")

# Failed: only where a signature came too late. Revoked: not where the serial was revoked before it was signed.
_MAY_LACK_BYTES = frozenset({CertificateState.FAILED, CertificateState.REVOKED})
_REASONS = frozenset(reason.value for reason in RevocationReason)
_SIGNED = frozenset({Action.certificate_issued.value, Action.certificate_unclaimed.value})
_WITHOUT_TRANSACTION = frozenset({Action.own_certificate_claimed.value, Action.recovered.value})

_CERTIFICATES = select(
    *CERTIFICATE.c,
    TRANSACTION.c.id.label("transaction_row"),
    TRANSACTION.c.draft_der.label("draft"),
    TRANSACTION.c.csr_der.label("csr"),
    _before.c.id.label("before"),
    _before.c.renewals.label("before_renewals"),
    func.coalesce(_before.c.first_issued, _before.c.not_before).label("before_first_issued"),
).select_from(
    CERTIFICATE.outerjoin(TRANSACTION, _C.transaction == TRANSACTION.c.id).outerjoin(
        _before, _before.c.id == _C.predecessor
    )
)
_ACTS = select(AUDIT.c.action, AUDIT.c.details).where(AUDIT.c.target == bindparam("of"))
_SUCCESSORS = (
    select(_C.predecessor, func.count().label("successors"))
    .where(_C.predecessor.is_not(None), _C.state != CertificateState.FAILED.value)
    .group_by(_C.predecessor)
    .having(func.count() > 1)
)


@attrs.frozen
class Known:
    """What certificates are held against: the issuers by name, the digests of the appliance's own public keys."""

    issuers: Mapping[str, IssuerCertificate]
    own_keys: frozenset[bytes] = frozenset()

    @classmethod
    def of(cls, issuers: Mapping[str, bytes], own_keys: frozenset[bytes] = frozenset()) -> "Known":
        """Read the issuers' certificates (DER)."""
        return cls({name: IssuerCertificate.load(der) for name, der in issuers.items()}, own_keys)


def check_certificates(connection: StoreConnection, known: Known) -> Iterator[Findings]:
    """Yield what is wrong with each certificate row."""
    for row in pages(connection, _CERTIFICATES, _C.id):
        where, hint = f"certificate {row.issuer} {row.serial}", f"scepd cert show {row.serial}"
        yield judged(where, _faults(connection, row, known), hint)
    for row in pages(connection, _SUCCESSORS, _C.predecessor):
        words = iter((f"has {row.successors} successors",))
        yield judged(f"certificate row {row.predecessor}", words, "compare with a backup")


def _faults(connection: StoreConnection, row: Any, known: Known) -> Iterator[str]:
    state = CertificateState(row.state)
    origin = _origin(connection, row)
    if origin is None:
        yield f"belongs to no transaction that is there (row {row.transaction})"
    if (row.der is None) != (state is CertificateState.RESERVED) and state not in _MAY_LACK_BYTES:
        yield f"is {state.value} {'without' if row.der is None else 'with'} its bytes"
    if row.subject_folded != fold(row.subject):
        yield f"its subject {row.subject} is compared as {row.subject_folded}"
    if row.public_key in known.own_keys and row.transaction is not None:
        yield "its public key is one of the appliance's own"
    yield from _revocation_faults(state, row)
    yield from _lineage_faults(row)
    if row.der is not None:
        certificate = x509.load_der_x509_certificate(row.der)
        yield from _content_faults(row, certificate)
        yield from _signature_faults(row, certificate, known)
        yield from _audit_faults(row, origin or {})


def _origin(connection: StoreConnection, row: Any) -> Mapping[str | None, str] | None:
    """Return the digests of the certificate that the audit trail tells of, with their actions; None where it has no origin.

    Without a transaction it is of a key of our own, or it was lost with a store and brought back.
    """
    if row.transaction is not None:
        acts = connection.rows(_ACTS, {"of": transaction_target(row.transaction)})
        # After an older store was restored, a number may be that of a lost transaction too.
        signed = {json.loads(details).get("certificate"): action for action, details in acts if action in _SIGNED}
        return None if row.transaction_row is None else signed
    acts = connection.rows(_ACTS, {"of": certificate_target(row.issuer, int(row.serial, 16))})
    if not _WITHOUT_TRANSACTION & {action for action, _ in acts}:
        return None
    told = {json.loads(details).get("certificate"): action for action, details in acts}
    return {digest: action for digest, action in told.items() if digest}


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
    names = [f"{name.kind}:{name.value}" for name in general_names_of(certificate)]
    if names != json.loads(row.names):
        yield f"its names are {', '.join(names) or 'none'}, on record {row.names}"
    spki = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if spki_digest(spki) != row.public_key:
        yield "its public key is another"
    if row.csr is not None and spki not in row.csr:  # the request's own octets: only their one encoding is taken
        yield "its transaction's request is for another key"
    window = [moment.isoformat()[:19] for moment in (certificate.not_valid_before_utc, certificate.not_valid_after_utc)]
    if window != [row.not_before[:19], row.not_after[:19]]:
        yield f"its validity is {window[0]} to {window[1]}"


def _signature_faults(row: Any, certificate: x509.Certificate, known: Known) -> Iterator[str]:
    if row.draft is not None and _tbs(row.draft) != certificate.tbs_certificate_bytes:
        yield "is not the draft that was recorded before it was signed"
    issuer = known.issuers.get(row.issuer)
    if issuer is None:
        yield "its issuer is not known"
    elif not is_signed_by(certificate, issuer.certificate):
        yield "its issuer's key did not sign it"
    else:
        yield from _lint_faults(row, issuer)


def _lint_faults(row: Any, issuer: IssuerCertificate) -> Iterator[str]:
    """Lint as what it is: a device's, or, of our own keys, one of the kinds that ceremonies make."""
    kinds: tuple[Kind, ...] = ("leaf",) if row.transaction is not None else ("ra", "tls", "ocsp", "ca", "crossed", "leaf")
    judgements = [lint(row.der, issuer, kind) for kind in kinds]
    for finding in min(judgements, key=len):
        yield f"breaks the lint rule {finding.rule}: {finding.detail}"


def _audit_faults(row: Any, signed: Mapping[str | None, str]) -> Iterator[str]:
    """Hold the bytes against the audit row of their issue; that there is one at all is asked elsewhere."""
    if signed and hashlib.sha256(row.der).hexdigest() not in signed:
        yield f"is not the certificate of audit row {next(iter(signed.values()))}"


def _tbs(der: bytes) -> bytes | None:
    try:
        return x509.load_der_x509_certificate(der).tbs_certificate_bytes
    except ValueError:
        return None


def is_signed_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Return whether the issuer's name and key stand behind a certificate."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True

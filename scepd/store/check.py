"""The store's self-check: re-verifies every certificate, transaction, challenge and audit row."""

from collections.abc import Iterator, Mapping
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sqlalchemy import Text, cast, exists, func, literal, select

from scepd.observe.audit import Action, verify
from scepd.records import CertificateState, ChallengeState, TransactionState
from scepd.store.reader import Reader
from scepd.store.schema import AUDIT, CERTIFICATE, CHALLENGE, CHALLENGE_USE, TRANSACTION
from scepd.store.statements import RELEASED, RESERVED, SPENT
from scepd.x509.keys import spki_digest
from scepd.x509.names import from_x509, to_text

_T, _C, _H, _U = TRANSACTION.c, CERTIFICATE.c, CHALLENGE.c, CHALLENGE_USE.c

# What the certificate and the challenge use of a transaction in each state may be; None: there is none.
_CERTIFICATE_OF: Mapping[TransactionState, frozenset[CertificateState | None]] = {
    TransactionState.PENDING: frozenset({None}),
    TransactionState.APPROVED: frozenset({None}),
    TransactionState.EXPIRED: frozenset({None}),
    TransactionState.ISSUING: frozenset({CertificateState.RESERVED, CertificateState.REVOKED}),
    TransactionState.ISSUED: frozenset({CertificateState.ISSUED, CertificateState.REVOKED}),
    TransactionState.REJECTED: frozenset({None, CertificateState.FAILED, CertificateState.REVOKED}),
}
_USE_OF: Mapping[TransactionState, str] = {
    TransactionState.ISSUING: RESERVED,
    TransactionState.ISSUED: SPENT,
    TransactionState.REJECTED: RELEASED,
}
_AUDITED: Mapping[TransactionState, Action] = {
    TransactionState.ISSUING: Action.transaction_claimed,
    TransactionState.ISSUED: Action.certificate_issued,
    TransactionState.REJECTED: Action.transaction_rejected,
}
_FINISHED = frozenset({TransactionState.ISSUED, TransactionState.REJECTED, TransactionState.EXPIRED})

_TRANSACTIONS = select(
    _T.id, _T.state, _T.turn, _T.issuer, _T.profile, _T.challenge, _T.reason,
    _C.state.label("certificate"), _C.issuer.label("certificate_issuer"), _C.profile.label("certificate_profile"),
    _U.state.label("use"), _U.challenge.label("use_challenge"),
).select_from(
    TRANSACTION.outerjoin(CERTIFICATE, _C.transaction == _T.id).outerjoin(CHALLENGE_USE, _U.transaction == _T.id)
)  # fmt: skip
_CERTIFICATES = select(*CERTIFICATE.c, _T.draft_der.label("draft")).select_from(
    CERTIFICATE.outerjoin(TRANSACTION, _C.transaction == _T.id)
)
_TAKEN = (
    select(func.count()).select_from(CHALLENGE_USE).where(_U.challenge == _H.id, _U.state != RELEASED).scalar_subquery()
)
_OPEN = exists().where(_U.challenge == _H.id, _U.state == RESERVED)
_CHALLENGES = select(_H.id, _H.state, _H.uses, _H.uses_left, _TAKEN.label("taken"), _OPEN.label("open"))


def check_store(reader: Reader, issuers: Mapping[str, bytes]) -> list[str]:
    """Return what is wrong, one text each; `issuers` are the issuers' certificates (DER) by name.

    All reads see one state of the store, so it may be in use meanwhile.
    """
    known = {name: x509.load_der_x509_certificate(der) for name, der in issuers.items()}
    problems: list[str] = []
    with reader.snapshot():
        for row in reader.pages(_TRANSACTIONS, _T.id):
            problems.extend(f"transaction {row.id}: {fault}" for fault in _transaction_faults(row))
        for row in reader.pages(_CERTIFICATES, _C.id):
            name = f"certificate {row.issuer} {row.serial}"
            problems.extend(f"{name}: {fault}" for fault in _certificate_faults(row, known))
        for row in reader.pages(_CHALLENGES, _H.id):
            problems.extend(f"challenge {row.id}: {fault}" for fault in _challenge_faults(row))
        problems.extend(_unaudited(reader))
        problems.extend(verify(reader.audit_chains(), reader.audit_heads()))
    return problems


def _transaction_faults(row: Any) -> Iterator[str]:
    state = TransactionState(row.state)
    certificate = CertificateState(row.certificate) if row.certificate else None
    if certificate not in _CERTIFICATE_OF[state]:
        yield f"is {state.value}, its certificate {row.certificate or 'missing'}"
    if certificate is not None and (row.certificate_issuer, row.certificate_profile) != (row.issuer, row.profile):
        yield "its certificate has another issuer or profile"
    if row.turn and state not in _FINISHED:
        yield f"is retired and yet {state.value}"
    if (state is TransactionState.REJECTED) != (row.reason is not None):
        yield f"is {state.value} with reason {row.reason}"
    if row.challenge != row.use_challenge:
        yield f"names challenge {row.challenge} and uses challenge {row.use_challenge}"
    elif row.challenge is not None and row.use != _USE_OF.get(state):
        yield f"is {state.value}, its use of challenge {row.challenge} {row.use}"


def _certificate_faults(row: Any, issuers: Mapping[str, x509.Certificate]) -> Iterator[str]:
    state = CertificateState(row.state)
    if (row.der is None) != (state is CertificateState.RESERVED) and state not in _MAY_LACK_BYTES:
        yield f"is {state.value} {'without' if row.der is None else 'with'} its bytes"
    if (state is CertificateState.REVOKED) != (row.revoked is not None):
        yield f"is {state.value}, revoked {row.revoked}"
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


# Failed: only where a signature came too late. Revoked: not where the serial was revoked before it was signed.
_MAY_LACK_BYTES = frozenset({CertificateState.FAILED, CertificateState.REVOKED})


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


def _challenge_faults(row: Any) -> Iterator[str]:
    state = ChallengeState(row.state)
    if row.uses_left + row.taken != row.uses:
        yield f"made for {row.uses} uses: {row.taken} taken, {row.uses_left} left"
    if state is not ChallengeState.CANCELLED and state is not _expected_state(row):
        yield f"is {state.value} with {row.uses_left} uses left, {'some' if row.open else 'none'} reserved"


def _expected_state(row: Any) -> ChallengeState:
    if row.uses_left:
        return ChallengeState.FREE
    return ChallengeState.RESERVED if row.open else ChallengeState.SPENT


def _unaudited(reader: Reader) -> Iterator[str]:
    """Find the acts whose audit row is gone, even where a whole chain was cut off and its noted end forged."""
    target = literal("transaction ") + cast(_T.id, Text)
    for state, action in _AUDITED.items():
        audited = exists().where(AUDIT.c.target == target, AUDIT.c.action == action.value)
        query = select(_T.id).where(_T.state == state.value, ~audited)
        for row in reader.pages(query, _T.id):
            yield f"transaction {row.id}: is {state.value} without audit row {action.value}"

"""The store's self-check: re-verifies every certificate, transaction, challenge, CRL and audit row."""

from collections.abc import Iterator, Mapping
from typing import Any

from cryptography import x509
from sqlalchemy import Text, cast, exists, func, literal, select

from scepd.observe.audit import Action
from scepd.observe.trail import verify
from scepd.records import CertificateState, ChallengeState, TransactionState
from scepd.store.check_certificate import CERTIFICATES, CRLS, certificate_faults, crl_faults
from scepd.store.reader import Reader
from scepd.store.schema import AUDIT, CERTIFICATE, CHALLENGE, CHALLENGE_USE, CRL, TRANSACTION
from scepd.store.statements import RELEASED, RESERVED, SPENT, is_in

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
    TransactionState.PENDING: RESERVED,
    TransactionState.APPROVED: RESERVED,
    TransactionState.EXPIRED: RELEASED,
    TransactionState.ISSUING: RESERVED,
    TransactionState.ISSUED: SPENT,
    TransactionState.REJECTED: RELEASED,
}
_AUDITED: Mapping[TransactionState, Action] = {
    TransactionState.PENDING: Action.transaction_pending,
    TransactionState.APPROVED: Action.transaction_approved,
    TransactionState.EXPIRED: Action.transaction_expired,
    TransactionState.ISSUING: Action.transaction_claimed,
    TransactionState.ISSUED: Action.certificate_issued,
    TransactionState.REJECTED: Action.transaction_rejected,
}
_ASKED = frozenset({TransactionState.PENDING, TransactionState.APPROVED, TransactionState.EXPIRED})
_FINISHED = frozenset({TransactionState.ISSUED, TransactionState.REJECTED, TransactionState.EXPIRED})

# Certificates that keep their predecessor: a revoked one that had failed has none (any more).
_COUNTED = frozenset({CertificateState.RESERVED, CertificateState.ISSUED, CertificateState.FAILED})

_TRANSACTIONS = select(
    _T.id, _T.state, _T.turn, _T.issuer, _T.profile, _T.challenge, _T.reason, _T.expires, _T.decided_by, _T.decided,
    _T.predecessor, func.length(_T.draft_der).label("draft_size"), _C.predecessor.label("certificate_predecessor"),
    _C.state.label("certificate"), _C.issuer.label("certificate_issuer"), _C.profile.label("certificate_profile"),
    _U.state.label("use"), _U.challenge.label("use_challenge"),
).select_from(
    TRANSACTION.outerjoin(CERTIFICATE, _C.transaction == _T.id).outerjoin(CHALLENGE_USE, _U.transaction == _T.id)
)  # fmt: skip
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
        for row in reader.pages(CERTIFICATES, _C.id):
            name = f"certificate {row.issuer} {row.serial}"
            problems.extend(f"{name}: {fault}" for fault in certificate_faults(row, known))
        for row in reader.pages(CRLS, CRL.c.id):
            problems.extend(f"CRL {row.issuer} {row.number}: {fault}" for fault in crl_faults(row, known))
        for row in reader.pages(_CHALLENGES, _H.id):
            problems.extend(f"challenge {row.id}: {fault}" for fault in _challenge_faults(row))
        problems.extend(_unaudited(reader))
        problems.extend(str(damage) for damage in verify(reader.audit_trail(), reader.audit_heads()))
    return problems


def _transaction_faults(row: Any) -> Iterator[str]:
    state = TransactionState(row.state)
    certificate = CertificateState(row.certificate) if row.certificate else None
    if certificate not in _CERTIFICATE_OF[state]:
        yield f"is {state.value}, its certificate {row.certificate or 'missing'}"
    if certificate is not None and (row.certificate_issuer, row.certificate_profile) != (row.issuer, row.profile):
        yield "its certificate has another issuer or profile"
    if (certificate is None) == bool(row.draft_size):
        yield f"its certificate is {row.certificate or 'missing'}, its draft {'there' if row.draft_size else 'missing'}"
    if certificate in _COUNTED and row.predecessor != row.certificate_predecessor:
        yield f"renews certificate row {row.predecessor}, its certificate row {row.certificate_predecessor}"
    yield from _decision_faults(state, row)
    if row.turn and state not in _FINISHED:
        yield f"is retired and yet {state.value}"
    if (state is TransactionState.REJECTED) != (row.reason is not None):
        yield f"is {state.value} with reason {row.reason}"
    if row.challenge != row.use_challenge:
        yield f"names challenge {row.challenge} and uses challenge {row.use_challenge}"
    elif row.challenge is not None and row.use != _USE_OF.get(state):
        yield f"is {state.value}, its use of challenge {row.challenge} {row.use}"


def _decision_faults(state: TransactionState, row: Any) -> Iterator[str]:
    if state in _ASKED and row.expires is None:
        yield f"is {state.value} without end"
    if (row.decided_by is None) != (row.decided is None):
        yield f"was decided {row.decided} by {row.decided_by}"
    if state is TransactionState.APPROVED and row.decided is None:
        yield "is APPROVED by nobody"


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
    target = literal("certificate ") + _C.issuer + literal(" ") + _C.serial
    audited = exists().where(AUDIT.c.target == target, AUDIT.c.action == Action.certificate_revoked.value)
    revoked = select(_C.id, _C.issuer, _C.serial).where(is_in(_C.state, CertificateState.REVOKED), ~audited)
    for row in reader.pages(revoked, _C.id):
        yield f"certificate {row.issuer} {row.serial}: is revoked without audit row certificate_revoked"

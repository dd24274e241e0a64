"""What the self-check asks of transactions: their certificate, their challenge, their decision, their audit row."""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any

from sqlalchemy import Text, cast, exists, func, literal, select

from scepd.observe.audit import Action
from scepd.observe.damage import Damage
from scepd.records import CertificateState, TransactionState
from scepd.store.audit_tables import AUDIT
from scepd.store.check_rows import Findings, judged, pages
from scepd.store.engines import StoreConnection
from scepd.store.rows import time_text
from scepd.store.schema import CERTIFICATE, CHALLENGE_USE, TRANSACTION
from scepd.store.statements import RELEASED, RESERVED, SPENT, is_in

_T, _C, _U = TRANSACTION.c, CERTIFICATE.c, CHALLENGE_USE.c

# An intent is signed within seconds, or as soon as the token is back.
_LONGEST_ISSUING = timedelta(hours=1)

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
_AUDITED: Mapping[TransactionState, Action] = MappingProxyType(
    {
        TransactionState.PENDING: Action.transaction_pending,
        TransactionState.APPROVED: Action.transaction_approved,
        TransactionState.EXPIRED: Action.transaction_expired,
        TransactionState.ISSUING: Action.transaction_claimed,
        TransactionState.ISSUED: Action.certificate_issued,
        TransactionState.REJECTED: Action.transaction_rejected,
    }
)
_ASKED = frozenset({TransactionState.PENDING, TransactionState.APPROVED, TransactionState.EXPIRED})
_FINISHED = frozenset({TransactionState.ISSUED, TransactionState.REJECTED, TransactionState.EXPIRED})

# Certificates that keep their predecessor: a revoked one that had failed has none (any more).
_COUNTED = frozenset({CertificateState.RESERVED, CertificateState.ISSUED, CertificateState.FAILED})

_TRANSACTIONS = select(
    _T.id, _T.state, _T.turn, _T.issuer, _T.profile, _T.challenge, _T.reason, _T.expires, _T.decided_by, _T.decided,
    _T.updated, _T.predecessor, func.length(_T.draft_der).label("draft_size"),
    _C.predecessor.label("certificate_predecessor"), _C.state.label("certificate"), _C.issuer.label("certificate_issuer"),
    _C.profile.label("certificate_profile"), _U.state.label("use"), _U.challenge.label("use_challenge"),
).select_from(
    TRANSACTION.outerjoin(CERTIFICATE, _C.transaction == _T.id).outerjoin(CHALLENGE_USE, _U.transaction == _T.id)
)  # fmt: skip


def check_transactions(connection: StoreConnection, now: datetime | None) -> Iterator[Findings]:
    """Yield what is wrong with each transaction; `now` None: nothing is too old."""
    oldest = "" if now is None else time_text(now - _LONGEST_ISSUING)
    for row in pages(connection, _TRANSACTIONS, _T.id):
        yield judged(f"transaction {row.id}", _faults(row, oldest), f"scepd request show {row.id}")


def check_acts(connection: StoreConnection) -> Iterator[Findings]:
    """Yield the acts whose audit row is gone, even where a whole chain was cut off and its noted end forged."""
    target = literal("transaction ") + cast(_T.id, Text)
    for state, action in _AUDITED.items():
        audited = exists().where(AUDIT.c.target == target, AUDIT.c.action == action.value)
        for row in pages(connection, select(_T.id).where(_T.state == state.value, ~audited), _T.id):
            words = f"is {state.value} without audit row {action.value}"
            yield [Damage(f"transaction {row.id}", words, "scepd audit verify")]
    target = literal("certificate ") + _C.issuer + literal(" ") + _C.serial
    audited = exists().where(AUDIT.c.target == target, AUDIT.c.action == Action.certificate_revoked.value)
    revoked = select(_C.id, _C.issuer, _C.serial).where(is_in(_C.state, CertificateState.REVOKED), ~audited)
    for row in pages(connection, revoked, _C.id):
        words = "is revoked without audit row certificate_revoked"
        yield [Damage(f"certificate {row.issuer} {row.serial}", words, "scepd audit verify")]


def _faults(row: Any, oldest: str) -> Iterator[str]:
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
    yield from _waiting_faults(state, row, oldest)
    if (state is TransactionState.REJECTED) != (row.reason is not None):
        yield f"is {state.value} with reason {row.reason}"
    if row.challenge != row.use_challenge:
        yield f"names challenge {row.challenge} and uses challenge {row.use_challenge}"
    elif row.challenge is not None and row.use != _USE_OF.get(state):
        yield f"is {state.value}, its use of challenge {row.challenge} {row.use}"


def _waiting_faults(state: TransactionState, row: Any, oldest: str) -> Iterator[str]:
    if state is TransactionState.ISSUING and row.updated < oldest:
        yield f"is ISSUING since {row.updated}"
    if row.turn and state not in _FINISHED:
        yield f"is retired and yet {state.value}"
    if state in _ASKED and row.expires is None:
        yield f"is {state.value} without end"
    if (row.decided_by is None) != (row.decided is None):
        yield f"was decided {row.decided} by {row.decided_by}"
    if state is TransactionState.APPROVED and row.decided is None:
        yield "is APPROVED by nobody"

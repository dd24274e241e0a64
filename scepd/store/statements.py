"""The statements of the enrolment path, built once: each connection compiles them at first use."""

import enum

from sqlalchemy import (
    BindParameter,
    Column,
    ColumnElement,
    Integer,
    Text,
    and_,
    bindparam,
    case,
    cast,
    delete,
    exists,
    func,
    insert,
    literal_column,
    or_,
    select,
    update,
)

from scepd.records import CertificateState, ChallengeState, TransactionState
from scepd.store.audit_tables import AUDIT, AUDIT_HEAD
from scepd.store.rows import SELECT_AUDIT, SELECT_CERTIFICATE, SELECT_CHALLENGE, SELECT_TRANSACTION
from scepd.store.schema import CERTIFICATE, CHALLENGE, CHALLENGE_USE, META, REFUSAL, TRANSACTION

_T, _C, _H, _U = TRANSACTION.c, CERTIFICATE.c, CHALLENGE.c, CHALLENGE_USE.c

# States of a challenge use: reserved with the claim, then one of the others.
RESERVED, SPENT, RELEASED = "reserved", "spent", "released"

_FINISHED = (TransactionState.ISSUED, TransactionState.REJECTED, TransactionState.EXPIRED)


def _is_one_of(column: Column[str], *words: str) -> ColumnElement[bool]:
    # An IN list would be expanded at each execution, not when the statement is compiled.
    return or_(*(column == word for word in words))


def is_in(column: Column[str], state: enum.Enum) -> ColumnElement[bool]:
    """Return the test for one state as a literal, not a bound value: only so is it known that a partial index serves."""
    return column == literal_column(f"'{state.value}'")


_number: BindParameter[int] = bindparam("number")
_live_identity = and_(_T.profile == bindparam("profile"), _T.requester == bindparam("requester"), _T.turn == 0)

RECALL = SELECT_TRANSACTION.where(_live_identity, _T.transaction_id == bindparam("transaction_id"))
RECALL_CASE_BLIND = SELECT_TRANSACTION.where(
    _live_identity,
    func.lower(_T.transaction_id) == func.lower(bindparam("transaction_id")),
).order_by(_T.id.desc())
TRANSACTION_BY_NUMBER = SELECT_TRANSACTION.where(_T.id == _number)
_issuing = is_in(_T.state, TransactionState.ISSUING)
UNFINISHED = SELECT_TRANSACTION.where(_issuing, _T.owner == bindparam("claimant")).order_by(_T.id)
UNFINISHED_OF_ALL = SELECT_TRANSACTION.where(_issuing).order_by(_T.owner, _T.id)  # the order of that index

# The transaction that this very request got from that challenge (C-207): same key, same wishes, still answering.
REDELIVERY = (
    SELECT_TRANSACTION.join(CHALLENGE_USE, _U.transaction == _T.id)
    .join(CHALLENGE, _H.id == _U.challenge)
    .where(
        _U.challenge == bindparam("challenge"),
        _is_one_of(_U.state, RESERVED, SPENT),
        _H.state != ChallengeState.CANCELLED.value,
        _T.profile == bindparam("profile"),
        _T.requester == bindparam("requester"),
        _T.wishes == bindparam("wishes"),
        _T.turn == 0,
    )
    .order_by(_T.id.desc())
)

ADD_TRANSACTION = insert(TRANSACTION).returning(_T.id)
FINISH_TRANSACTION = (
    update(TRANSACTION)
    .where(_T.id == _number, _T.state == TransactionState.ISSUING.value)
    .values(
        state=bindparam("new_state"),
        trail=bindparam("new_trail"),
        updated=bindparam("now"),
        reason=bindparam("new_reason"),
        detail=bindparam("new_detail"),
    )
)
PROCEED_TRANSACTION = (
    update(TRANSACTION)
    .where(_T.id == _number, _T.state == TransactionState.APPROVED.value, _T.expires > bindparam("now"))
    .values(
        state=TransactionState.ISSUING.value,
        issuer=bindparam("new_issuer"),
        draft_der=bindparam("new_draft"),
        subject=bindparam("new_subject"),
        names=bindparam("new_names"),
        owner=bindparam("new_owner"),
        trail=bindparam("new_trail"),
        updated=bindparam("now"),
    )
)
_other = TRANSACTION.alias("other")
RETIRE = (
    update(TRANSACTION)
    .where(
        _T.id == _number,
        _T.turn == 0,
        _is_one_of(_T.state, *(state.value for state in _FINISHED)),
    )
    .values(
        updated=bindparam("now"),
        turn=select(func.max(_other.c.turn) + 1)
        .where(
            _other.c.profile == _T.profile,
            _other.c.transaction_id == _T.transaction_id,
            _other.c.requester == _T.requester,
        )
        .scalar_subquery(),
    )
)

ADD_CERTIFICATE = insert(CERTIFICATE)
CERTIFICATE_BY_SERIAL = SELECT_CERTIFICATE.where(
    _C.issuer == bindparam("issuer"),
    _C.serial == bindparam("serial"),
)
# A serial that was revoked while it was only reserved stays revoked.
KEEP_CERTIFICATE = (
    update(CERTIFICATE)
    .where(_C.transaction == _number, _C.der.is_(None))
    .values(
        der=bindparam("new_der"),
        issued=bindparam("now"),
        state=case(
            (_C.state == CertificateState.RESERVED.value, CertificateState.ISSUED.value),
            else_=_C.state,
        ),
    )
    .returning(_C.state)
)
FAIL_CERTIFICATE = (
    update(CERTIFICATE)
    .where(_C.transaction == _number, _C.state == CertificateState.RESERVED.value)
    .values(state=CertificateState.FAILED.value)
)

# Newest first: who encrypts with a challenge text has it from the last days (RFC 8894 section 3.1). Of the expired ones
# no more are passed over than this, whoever asks: their texts are forgotten within a minute.
_LOOKED_AT = 500
_newest = (
    select(_H.id)
    .where(
        _H.profile == bindparam("profile"),
        is_in(_H.state, ChallengeState.FREE),
        _H.sealed.is_not(None),
    )
    .order_by(_H.id.desc())
    .limit(literal_column(str(_LOOKED_AT)))
)
WAITING_CHALLENGES = (
    SELECT_CHALLENGE.where(_H.id.in_(_newest), _H.expires > bindparam("now"))
    .order_by(_H.id.desc())
    .limit(bindparam("most"))
)
FIND_CHALLENGE = SELECT_CHALLENGE.where(_H.profile == bindparam("profile"), _H.digest == bindparam("digest"))
CHALLENGE_BY_NUMBER = SELECT_CHALLENGE.where(_H.id == _number)
ADD_CHALLENGE = insert(CHALLENGE).returning(_H.id)
RESERVE_CHALLENGE = (
    update(CHALLENGE)
    .where(
        _H.id == _number,
        _H.profile == bindparam("in_profile"),
        _H.state == ChallengeState.FREE.value,
        _H.uses_left > 0,
        _H.expires > bindparam("now"),
    )
    .values(
        uses_left=_H.uses_left - 1,
        state=case((_H.uses_left == 1, ChallengeState.RESERVED.value), else_=ChallengeState.FREE.value),
        transaction=bindparam("taker"),
        spent_by=bindparam("taker_key"),
    )
)
SPEND_CHALLENGE = (
    update(CHALLENGE)
    .where(
        _H.id == _number,
        _H.state == ChallengeState.RESERVED.value,
        ~exists().where(_U.challenge == _H.id, _U.state == RESERVED),
    )
    .values(state=ChallengeState.SPENT.value)
)
FREE_CHALLENGE = (
    update(CHALLENGE)
    .where(_H.id == _number)
    .values(
        uses_left=_H.uses_left + 1,
        state=case((_H.state == ChallengeState.CANCELLED.value, _H.state), else_=ChallengeState.FREE.value),
        transaction=case((_H.transaction == bindparam("taker"), None), else_=_H.transaction),
        spent_by=case((_H.transaction == bindparam("taker"), None), else_=_H.spent_by),
    )
)
CANCEL_CHALLENGE = (
    update(CHALLENGE)
    .where(_H.id == _number, _is_one_of(_H.state, ChallengeState.FREE.value, ChallengeState.RESERVED.value))
    .values(state=ChallengeState.CANCELLED.value)
)
ADD_USE = insert(CHALLENGE_USE)
END_USE = (
    update(CHALLENGE_USE).where(_U.transaction == _number, _U.state == RESERVED).values(state=bindparam("new_state"))
)

# FOR UPDATE says nothing in SQLite, where the write transaction already excludes all others.
READ_HEAD = (
    select(AUDIT_HEAD.c.sequence, AUDIT_HEAD.c.hash).where(AUDIT_HEAD.c.owner == bindparam("chain")).with_for_update()
)
ADD_HEAD = insert(AUDIT_HEAD)
# Compare-and-set: another writer of the same chain, or an act that was rolled back, leaves it untouched.
MOVE_HEAD = (
    update(AUDIT_HEAD)
    .where(
        AUDIT_HEAD.c.owner == bindparam("chain"),
        AUDIT_HEAD.c.sequence == bindparam("old_sequence"),
        AUDIT_HEAD.c.hash == bindparam("old_hash"),
    )
    .values(sequence=bindparam("new_sequence"), hash=bindparam("new_hash"))
)
ADD_AUDIT = insert(AUDIT)
AUDIT_IN_ORDER = SELECT_AUDIT.order_by(AUDIT.c.owner, AUDIT.c.sequence)
HEADS = select(AUDIT_HEAD.c.owner, AUDIT_HEAD.c.sequence, AUDIT_HEAD.c.hash)

LAST_ACTS = select(AUDIT_HEAD.c.owner, AUDIT_HEAD.c.sequence, AUDIT.c.at).join_from(
    AUDIT_HEAD, AUDIT, and_(AUDIT.c.owner == AUDIT_HEAD.c.owner, AUDIT.c.sequence == AUDIT_HEAD.c.sequence)
)

# News: any process that reads a higher number than before looks again at what it keeps in memory.
_news = META.c.name == "generation"
GENERATION = select(cast(META.c.value, Integer)).where(_news)
NEXT_GENERATION = update(META).where(_news).values(value=cast(cast(META.c.value, Integer) + 1, Text))

ADD_REFUSAL = insert(REFUSAL)
NEWEST_REFUSAL = select(func.max(REFUSAL.c.id))
TRIM_REFUSALS = delete(REFUSAL).where(REFUSAL.c.id <= bindparam("last"))

"""Rows to records: the one place that knows the order of columns and the texts of times, serials and lists."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Select, select

from scepd.observe.audit import AuditRow
from scepd.records import (
    Certificate,
    CertificateState,
    Challenge,
    ChallengeState,
    Identity,
    Refusal,
    Step,
    Transaction,
    TransactionKey,
    TransactionState,
    to_json,
)
from scepd.refusal import Reason
from scepd.store.schema import AUDIT, CERTIFICATE, CHALLENGE, REFUSAL, TRANSACTION

_T, _C = TRANSACTION.c, CERTIFICATE.c

SELECT_TRANSACTION: Select[Any] = select(
    _T.id,
    _T.profile,
    _T.transaction_id,
    _T.requester,
    _T.state,
    _T.message_type,
    _T.issuer,
    _T.draft_der,
    _T.csr_der,
    _T.csr_fingerprint,
    _T.wishes,
    _T.subject,
    _T.names,
    _T.identity_method,
    _T.identity_name,
    _T.challenge,
    _T.owner,
    _T.address,
    _T.trail,
    _T.created,
    _T.updated,
    _T.reason,
    _T.detail,
    _C.serial,
    _C.der,
    _C.state.label("certificate_state"),
    _C.not_before,
    _C.not_after,
).select_from(TRANSACTION.outerjoin(CERTIFICATE, _C.transaction == _T.id))

SELECT_CERTIFICATE: Select[Any] = select(
    _C.issuer,
    _C.serial,
    _C.state,
    _C.profile,
    _C.subject,
    _C.names,
    _C.public_key,
    _C.not_before,
    _C.not_after,
    _C.der,
    _C.transaction,
    _C.created,
)

SELECT_CHALLENGE: Select[Any] = select(*CHALLENGE.c)
SELECT_REFUSAL: Select[Any] = select(*[column for column in REFUSAL.c if column.name != "id"])
SELECT_AUDIT: Select[Any] = select(*AUDIT.c)


def time_text(moment: datetime) -> str:
    """Return a time as stored: fixed width, so that texts order as times do."""
    if moment.tzinfo is None:
        raise ValueError("a naive datetime cannot be stored")
    return (moment if moment.tzinfo is UTC else moment.astimezone(UTC)).isoformat(timespec="microseconds")


def serial_text(serial: int) -> str:
    """Return a serial as stored."""
    return f"{serial:x}"


def trail_text(trail: Sequence[Step]) -> str:
    """Return a trail as stored."""
    return to_json([(step.name, step.at, step.note) for step in trail])


def _trail(text: str) -> tuple[Step, ...]:
    return tuple(Step(*step) for step in json.loads(text))


def transaction_of(row: Sequence[Any]) -> Transaction:
    """Return the record of a SELECT_TRANSACTION row."""
    number, profile, transaction_id, requester, state, message_type, issuer, draft_der, csr_der, *row = row
    csr_fingerprint, wishes, subject, names, method, name, challenge, owner, address, trail, *row = row
    created, updated, reason, detail, serial, certificate_der, certificate_state, not_before, not_after = row
    return Transaction(
        id=number,
        key=TransactionKey(profile, transaction_id, requester),
        state=TransactionState(state),
        message_type=message_type,
        issuer=issuer,
        serial=int(serial, 16) if serial else 0,
        draft_der=draft_der,
        csr_der=csr_der,
        csr_fingerprint=csr_fingerprint,
        wishes=wishes,
        subject=subject,
        names=tuple(json.loads(names)),
        identity=Identity(method, name, challenge),
        owner=owner,
        address=address,
        trail=_trail(trail),
        created=datetime.fromisoformat(created),
        updated=datetime.fromisoformat(updated),
        certificate_der=certificate_der,
        certificate_state=CertificateState(certificate_state) if certificate_state else None,
        not_before=datetime.fromisoformat(not_before) if not_before else None,
        not_after=datetime.fromisoformat(not_after) if not_after else None,
        reason=Reason(reason) if reason else None,
        detail=detail,
    )


def certificate_of(row: Sequence[Any]) -> Certificate:
    """Return the record of a SELECT_CERTIFICATE row."""
    issuer, serial, state, profile, subject, names, public_key, not_before, not_after, der, transaction, created = row
    return Certificate(
        issuer=issuer,
        serial=int(serial, 16),
        state=CertificateState(state),
        profile=profile,
        subject=subject,
        names=tuple(json.loads(names)),
        public_key=public_key,
        not_before=datetime.fromisoformat(not_before),
        not_after=datetime.fromisoformat(not_after),
        der=der,
        transaction=transaction,
        created=datetime.fromisoformat(created),
    )


def challenge_of(row: Sequence[Any]) -> Challenge:
    """Return the record of a SELECT_CHALLENGE row."""
    number, profile, digest, common_name, names, expires, uses, uses_left, state, *row = row
    created, created_by, transaction, spent_by = row
    return Challenge(
        id=number,
        profile=profile,
        digest=digest,
        common_name=common_name,
        names=tuple(json.loads(names)),
        expires=datetime.fromisoformat(expires),
        uses=uses,
        uses_left=uses_left,
        state=ChallengeState(state),
        created=datetime.fromisoformat(created),
        created_by=created_by,
        transaction=transaction,
        spent_by=spent_by,
    )


def refusal_of(row: Sequence[Any]) -> Refusal:
    """Return the record of a SELECT_REFUSAL row."""
    at, profile, transaction_id, requester, message_type, reason, detail, subject, address, request_id, trail = row
    return Refusal(
        at=datetime.fromisoformat(at),
        profile=profile,
        transaction_id=transaction_id,
        requester=requester,
        message_type=message_type,
        reason=Reason(reason),
        detail=detail,
        subject=subject,
        address=address,
        request_id=request_id,
        trail=_trail(trail),
    )


def audit_of(row: Sequence[Any]) -> AuditRow:
    """Return the record of a SELECT_AUDIT row."""
    owner, sequence, at, action, actor, target, details, previous, digest = row
    return AuditRow(
        owner=owner,
        sequence=sequence,
        at=datetime.fromisoformat(at),
        action=action,
        actor=actor,
        target=target,
        details=details,
        previous=previous,
        hash=digest,
    )

"""Rows to records: the one place that knows the order of columns and the texts of times, serials and lists."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import Select, select

from scepd.observe.audit import AuditRow
from scepd.records import (
    Certificate,
    CertificateState,
    Challenge,
    ChallengeState,
    Crl,
    Identity,
    Lineage,
    Refusal,
    Revocation,
    RevocationReason,
    Step,
    Transaction,
    TransactionKey,
    TransactionState,
    to_json,
)
from scepd.refusal import Reason
from scepd.store.audit_tables import AUDIT
from scepd.store.schema import CERTIFICATE, CHALLENGE, REFUSAL, TRANSACTION
from scepd.store.status_tables import CRL

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
    _T.decided_by,
    _T.decided,
    _T.predecessor,
    _T.renewals,
    _T.first_issued,
    _T.expires,
    _T.csr_fingerprint_sha1,
    _T.request_id,
    _T.identity_names,
    _C.serial,
    _C.der,
    _C.state.label("certificate_state"),
    _C.not_before,
    _C.not_after,
).select_from(TRANSACTION.outerjoin(CERTIFICATE, _C.transaction == _T.id))

SELECT_CERTIFICATE: Select[Any] = select(
    _C.id,
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
    _C.revoked,
    _C.revocation_reason,
    _C.invalid_since,
    _C.predecessor,
    _C.renewals,
    _C.first_issued,
    _C.shard,
)

SELECT_CHALLENGE: Select[Any] = select(*CHALLENGE.c)
SELECT_REFUSAL: Select[Any] = select(*[column for column in REFUSAL.c if column.name != "id"])
SELECT_CRL: Select[Any] = select(*[column for column in CRL.c if column.name != "id"])
SELECT_AUDIT: Select[Any] = select(*AUDIT.c)


def time_text(moment: datetime) -> str:
    """Return a time as stored: fixed width, so that texts order as times do."""
    if moment.tzinfo is None:
        raise ValueError("a naive datetime cannot be stored")
    return _utc_text(moment if moment.tzinfo is UTC else moment.astimezone(UTC))


@lru_cache(maxsize=64)  # one act writes its time many times
def _utc_text(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds")


def fold(subject: str) -> str:
    """Return a subject as it is compared: names are the same in any letter case (RFC 5280 section 7.1)."""
    return subject.casefold()


def serial_text(serial: int) -> str:
    """Return a serial as stored."""
    return f"{serial:x}"


def trail_text(trail: Sequence[Step]) -> str:
    """Return a trail as stored."""
    return to_json([(step.name, step.at, step.note) for step in trail])


def _trail(text: str) -> tuple[Step, ...]:
    return tuple(Step(*step) for step in json.loads(text))


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _lineage(predecessor: int | None, renewals: int | None, first_issued: str | None) -> Lineage | None:
    if predecessor is None or renewals is None or first_issued is None:
        return None
    return Lineage(predecessor, renewals, datetime.fromisoformat(first_issued))


def revocation_of(revoked: str | None, reason: int | None, invalid_since: str | None) -> Revocation | None:
    """Return the revocation of those three columns; None where there is none."""
    if revoked is None:
        return None
    return Revocation(datetime.fromisoformat(revoked), RevocationReason(reason or 0), _moment(invalid_since))


def transaction_of(row: Sequence[Any]) -> Transaction:
    """Return the record of a SELECT_TRANSACTION row."""
    number, profile, transaction_id, requester, state, message_type, issuer, draft_der, csr_der, *row = row
    csr_fingerprint, wishes, subject, names, method, name, challenge, owner, address, trail, *row = row
    created, updated, reason, detail, decided_by, decided, *row = row
    predecessor, renewals, first_issued, expires, csr_fingerprint_sha1, request_id, vouched, *row = row
    serial, certificate_der, certificate_state, not_before, not_after = row
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
        identity=Identity(method, name, challenge, tuple(json.loads(vouched)) if vouched else ()),
        owner=owner,
        address=address,
        trail=_trail(trail),
        created=datetime.fromisoformat(created),
        updated=datetime.fromisoformat(updated),
        certificate_der=certificate_der,
        certificate_state=CertificateState(certificate_state) if certificate_state else None,
        not_before=_moment(not_before),
        not_after=_moment(not_after),
        reason=Reason(reason) if reason else None,
        detail=detail,
        lineage=_lineage(predecessor, renewals, first_issued),
        expires=_moment(expires),
        decided_by=decided_by or "",
        decided=_moment(decided),
        csr_fingerprint_sha1=csr_fingerprint_sha1 or "",
        request_id=request_id or "",
    )


def certificate_of(row: Sequence[Any]) -> Certificate:
    """Return the record of a SELECT_CERTIFICATE row."""
    number, issuer, serial, state, profile, subject, names, public_key, not_before, not_after, *row = row
    der, transaction, created, revoked, reason, invalid_since, predecessor, renewals, first_issued, shard = row
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
        id=number,
        revocation=revocation_of(revoked, reason, invalid_since),
        lineage=_lineage(predecessor, renewals, first_issued),
        shard=shard,
    )


def challenge_of(row: Sequence[Any]) -> Challenge:
    """Return the record of a SELECT_CHALLENGE row."""
    number, profile, digest, common_name, names, expires, uses, uses_left, state, *row = row
    created, created_by, transaction, spent_by, sealed, subject, key_type = row
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
        sealed=sealed,
        subject=subject,
        key_type=key_type,
    )


def crl_of(row: Sequence[Any]) -> Crl:
    """Return the record of a SELECT_CRL row."""
    issuer, number, this_update, next_update, entries, der = row
    return Crl(
        issuer=issuer,
        number=number,
        this_update=datetime.fromisoformat(this_update),
        next_update=datetime.fromisoformat(next_update),
        der=der,
        entries=entries,
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

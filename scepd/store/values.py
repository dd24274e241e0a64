"""Records to rows: what the INSERT statements are given."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from scepd.records import CertificateState, Intent, Refusal, Transaction, TransactionState, to_json
from scepd.store.rows import serial_text, time_text, trail_text

REMARK = 1_000  # characters of a refusal's subject and detail that are kept


def transaction_values(intent: Intent, owner: str, now: datetime) -> dict[str, Any]:
    """Return the row of a transaction that `owner` claims."""
    moment = time_text(now)
    return {
        "profile": intent.key.profile,
        "transaction_id": intent.key.transaction_id,
        "requester": intent.key.requester,
        "turn": 0,
        "state": TransactionState.ISSUING.value,
        "message_type": intent.message_type,
        "issuer": intent.issuer,
        "draft_der": intent.draft_der,
        "csr_der": intent.csr_der,
        "csr_fingerprint": intent.csr_fingerprint,
        "wishes": intent.wishes,
        "subject": intent.subject,
        "names": to_json(intent.names),
        "identity_method": intent.identity.method,
        "identity_name": intent.identity.name,
        "challenge": intent.identity.challenge_id,
        "owner": owner,
        "address": intent.address,
        "trail": trail_text(intent.trail),
        "created": moment,
        "updated": moment,
        "detail": "",
    }


def certificate_values(intent: Intent, number: int, now: datetime) -> dict[str, Any]:
    """Return the row that reserves an intent's serial."""
    return {
        "issuer": intent.issuer,
        "serial": serial_text(intent.serial),
        "state": CertificateState.RESERVED.value,
        "profile": intent.key.profile,
        "subject": intent.subject,
        "names": to_json(intent.names),
        "public_key": intent.public_key,
        "not_before": time_text(intent.not_before),
        "not_after": time_text(intent.not_after),
        "transaction": number,
        "created": time_text(now),
    }


def claimed(intent: Intent, number: int, owner: str, now: datetime) -> Transaction:
    """Return the stored transaction of an intent without reading it back."""
    return Transaction(
        id=number,
        key=intent.key,
        state=TransactionState.ISSUING,
        message_type=intent.message_type,
        issuer=intent.issuer,
        serial=intent.serial,
        draft_der=intent.draft_der,
        csr_der=intent.csr_der,
        csr_fingerprint=intent.csr_fingerprint,
        wishes=intent.wishes,
        subject=intent.subject,
        names=intent.names,
        identity=intent.identity,
        owner=owner,
        address=intent.address,
        trail=intent.trail,
        created=now,
        updated=now,
        certificate_state=CertificateState.RESERVED,
        not_before=intent.not_before,
        not_after=intent.not_after,
    )


def claim_details(intent: Intent, draft_digest: str) -> Mapping[str, Any]:
    """Return what the audit keeps of an intent: enough to tell which bytes were about to be signed, for whom."""
    return {
        "profile": intent.key.profile,
        "transaction_id": intent.key.transaction_id,
        "requester": intent.key.requester.hex(),
        "issuer": intent.issuer,
        "serial": serial_text(intent.serial),
        "draft": draft_digest,
        "csr": intent.csr_fingerprint,
        "subject": intent.subject,
        "names": intent.names,
        "challenge": intent.identity.challenge_id,
        "address": intent.address,
    }


def refusal_values(refusal: Refusal) -> dict[str, Any]:
    """Return the row of a refusal, its subject and detail cut to REMARK characters."""
    return {
        "at": time_text(refusal.at),
        "profile": refusal.profile,
        "transaction_id": refusal.transaction_id,
        "requester": refusal.requester,
        "message_type": refusal.message_type,
        "reason": refusal.reason.value,
        "detail": refusal.detail[:REMARK],
        "subject": refusal.subject[:REMARK],
        "address": refusal.address,
        "request_id": refusal.request_id,
        "trail": trail_text(refusal.trail),
    }

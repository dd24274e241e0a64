"""Records to rows: what the INSERT statements are given."""

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any

from scepd.records import (
    CertificateState,
    Crl,
    Intent,
    Lineage,
    Petition,
    Refusal,
    Transaction,
    TransactionState,
    to_json,
)
from scepd.store.rows import fold, serial_text, time_text, trail_text

_NO_LINEAGE: Mapping[str, Any] = MappingProxyType({"predecessor": None, "renewals": None, "first_issued": None})

REMARK = 1_000  # characters of a refusal's subject and detail that are kept


def lineage_values(lineage: Lineage | None) -> Mapping[str, Any]:
    """Return the columns of a renewal's place in its line."""
    if lineage is None:
        return _NO_LINEAGE
    return {
        "predecessor": lineage.predecessor,
        "renewals": lineage.renewals,
        "first_issued": time_text(lineage.first_issued),
    }


def claim_values(intent: Intent, owner: str, now: datetime) -> dict[str, Any]:
    """Return the row of a transaction that `owner` claims."""
    return {
        **_transaction_values(intent, owner, now),
        "state": TransactionState.ISSUING.value,
        "draft_der": intent.draft_der,
        "expires": None,
    }


def petition_values(petition: Petition, owner: str, now: datetime) -> dict[str, Any]:
    """Return the row of a transaction that waits for a person."""
    return {
        **_transaction_values(petition, owner, now),
        "state": TransactionState.PENDING.value,
        "draft_der": b"",
        "expires": time_text(now + petition.valid),
    }


def _transaction_values(intent: Intent | Petition, owner: str, now: datetime) -> dict[str, Any]:
    moment = time_text(now)
    return {
        "profile": intent.key.profile,
        "transaction_id": intent.key.transaction_id,
        "requester": intent.key.requester,
        "turn": 0,
        "message_type": intent.message_type,
        "issuer": intent.issuer,
        "csr_der": intent.csr_der,
        "csr_fingerprint": intent.csr_fingerprint,
        "wishes": intent.wishes,
        "subject": intent.subject,
        "names": to_json(intent.names),
        "identity_method": intent.identity.method,
        "identity_name": intent.identity.name,
        "identity_names": to_json(intent.identity.names) if intent.identity.names else None,
        "challenge": intent.identity.challenge_id,
        "owner": owner,
        "address": intent.address,
        "trail": trail_text(intent.trail),
        "created": moment,
        "updated": moment,
        "detail": "",
        "csr_fingerprint_sha1": intent.csr_fingerprint_sha1 or None,
        "request_id": intent.request_id or None,
        **lineage_values(intent.lineage),
    }


def proceed_values(intent: Intent, number: int, owner: str, now: datetime) -> dict[str, Any]:
    """Return what the claim of an approved transaction changes in its row."""
    return {
        "number": number,
        "new_issuer": intent.issuer,
        "new_draft": intent.draft_der,
        "new_subject": intent.subject,
        "new_names": to_json(intent.names),
        "new_owner": owner,
        "new_trail": trail_text(intent.trail),
        "now": time_text(now),
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
        "subject_folded": fold(intent.subject),
        "not_before": time_text(intent.not_before),
        "not_after": time_text(intent.not_after),
        "transaction": number,
        "created": time_text(now),
        "holder": intent.holder or None,
        "shard": intent.shard,
        **lineage_values(intent.lineage),
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
        lineage=intent.lineage,
        csr_fingerprint_sha1=intent.csr_fingerprint_sha1,
        request_id=intent.request_id,
    )


def waiting(petition: Petition, number: int, owner: str, now: datetime) -> Transaction:
    """Return the stored transaction of a petition without reading it back."""
    return Transaction(
        id=number,
        key=petition.key,
        state=TransactionState.PENDING,
        message_type=petition.message_type,
        issuer=petition.issuer,
        serial=0,
        draft_der=b"",
        csr_der=petition.csr_der,
        csr_fingerprint=petition.csr_fingerprint,
        wishes=petition.wishes,
        subject=petition.subject,
        names=petition.names,
        identity=petition.identity,
        owner=owner,
        address=petition.address,
        trail=petition.trail,
        created=now,
        updated=now,
        lineage=petition.lineage,
        expires=now + petition.valid,
        csr_fingerprint_sha1=petition.csr_fingerprint_sha1,
        request_id=petition.request_id,
    )


def claim_details(intent: Intent, draft_digest: str) -> Mapping[str, Any]:
    """Return what the audit keeps of an intent: enough to tell which bytes were about to be signed, for whom."""
    shard = {"shard": intent.shard} if intent.shard else {}
    return {**_request_details(intent), "serial": serial_text(intent.serial), "draft": draft_digest, **shard}


def petition_details(petition: Petition) -> Mapping[str, Any]:
    """Return what the audit keeps of a request that waits."""
    return _request_details(petition)


def _request_details(intent: Intent | Petition) -> dict[str, Any]:
    details: dict[str, Any] = {
        "profile": intent.key.profile,
        "transaction_id": intent.key.transaction_id,
        "requester": intent.key.requester.hex(),
        "issuer": intent.issuer,
        "csr": intent.csr_fingerprint,
        "subject": intent.subject,
        "names": intent.names,
        "challenge": intent.identity.challenge_id,
        "address": intent.address,
    }
    if intent.lineage is not None:
        details["predecessor"] = intent.lineage.predecessor
    return details


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


def crl_values(crl: Crl) -> dict[str, Any]:
    """Return the row of a CRL."""
    return {
        "issuer": crl.issuer,
        "number": crl.number,
        "this_update": time_text(crl.this_update),
        "next_update": time_text(crl.next_update),
        "entries": crl.entries,
        "der": crl.der,
    }

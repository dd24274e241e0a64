"""The audit trail's hash chain: one chain per owner, each row linked to the one before it (threat S-124)."""

import enum
import hashlib
from collections.abc import Mapping
from datetime import datetime

import attrs

from scepd.records import to_json

# What the first row of a chain follows.
GENESIS = bytes(32)


class Action(enum.Enum):
    """Everything that leaves an audit row."""

    transaction_claimed = "transaction_claimed"
    certificate_issued = "certificate_issued"
    certificate_unclaimed = "certificate_unclaimed"  # signed, but its transaction had been given up: kept, never sent
    transaction_rejected = "transaction_rejected"
    transaction_retired = "transaction_retired"
    transaction_pending = "transaction_pending"
    transaction_approved = "transaction_approved"
    transaction_expired = "transaction_expired"
    transaction_adopted = "transaction_adopted"  # its node is gone: another finishes it
    certificate_revoked = "certificate_revoked"
    certificate_released = "certificate_released"  # a hold was lifted
    clone_suspected = "clone_suspected"
    crl_published = "crl_published"
    crl_shard_opened = "crl_shard_opened"  # certificates issued from now on name another CRL
    responder_certified = "responder_certified"  # a fresh certificate of an OCSP key
    challenge_added = "challenge_added"
    challenge_cancelled = "challenge_cancelled"
    entity_added = "entity_added"
    entity_reset = "entity_reset"
    entity_removed = "entity_removed"
    entity_locked = "entity_locked"  # written no more; chains of old have it
    entity_slowed = "entity_slowed"
    profile_enabled = "profile_enabled"
    profile_disabled = "profile_disabled"
    token_added = "token_added"  # noqa: S105 - an audit word
    own_certificate_claimed = "own_certificate_claimed"  # of a key of the service itself, by a ceremony
    own_certificate_issued = "own_certificate_issued"
    ceremony_began = "ceremony_began"
    ceremony_ended = "ceremony_ended"
    ceremony_failed = "ceremony_failed"
    token_revoked = "token_revoked"  # noqa: S105 - an audit word
    recovered = "recovered"  # an older store was restored, and this was done to go on from it
    clock_accepted = "clock_accepted"  # a person says that the time is right, against what is on record


@attrs.frozen
class AuditRow:
    """One row: `owner` is "node/slot", `sequence` counts from 1 in its chain, `details` is canonical JSON."""

    owner: str
    sequence: int
    at: datetime
    action: str
    actor: str
    target: str
    details: str
    previous: bytes
    hash: bytes


@attrs.frozen
class Head:
    """The end of a chain as the store notes it apart from the rows."""

    sequence: int
    hash: bytes


def link(previous: bytes, record: Mapping[str, str | int]) -> bytes:
    """Return the hash of a row: SHA-256 over the previous row's hash and the row's canonical JSON."""
    return hashlib.sha256(previous + to_json(record).encode()).digest()


def as_record(row: AuditRow) -> dict[str, str | int]:
    """Return what of a row is hashed."""
    return {
        "owner": row.owner,
        "sequence": row.sequence,
        "at": row.at.isoformat(timespec="microseconds"),
        "action": row.action,
        "actor": row.actor,
        "target": row.target,
        "details": row.details,
    }

"""What other certificates say to a new one: its predecessor, the line it continues, whose subject and key it takes."""

from datetime import datetime

from sqlalchemy import Column, ColumnElement, Select, and_, bindparam, exists, func, literal_column, or_, select

from scepd.records import CertificateState, Intent, Petition, RevocationReason
from scepd.refusal import Reason, Reject
from scepd.store.engines import StoreConnection
from scepd.store.rows import SELECT_CERTIFICATE, fold, time_text
from scepd.store.schema import CERTIFICATE
from scepd.store.statements import is_in

_C = CERTIFICATE.c


def is_not_failed(state: Column[str]) -> ColumnElement[bool]:
    """Return the test for a row that counts as a successor, as the index of predecessors says it."""
    return state != literal_column(f"'{CertificateState.FAILED.value}'")


SUCCESSOR = SELECT_CERTIFICATE.where(_C.predecessor == bindparam("number"), is_not_failed(_C.state))


def _is_live() -> ColumnElement[bool]:
    """Return the test for a certificate that holds its key and its subject: also one to come, and one on hold."""
    held = and_(
        is_in(_C.state, CertificateState.REVOKED),
        _C.revocation_reason == literal_column(str(RevocationReason.certificateHold.value)),
    )
    states = or_(is_in(_C.state, CertificateState.ISSUED), is_in(_C.state, CertificateState.RESERVED), held)
    return and_(states, _C.not_after > bindparam("now"))


def _is_outside_line() -> ColumnElement[bool]:
    """Return the test for a certificate that is none of the line that ends with row `besides`."""
    line = select(bindparam("besides").label("id")).cte("line", recursive=True)
    before = CERTIFICATE.alias("before")
    line = line.union(select(before.c.predecessor).where(before.c.id == line.c.id, before.c.predecessor.is_not(None)))
    return _C.id.not_in(select(line.c.id))


KEY_CERTIFIED: Select[tuple[int]] = select(_C.id).where(
    _C.public_key == bindparam("public_key"), _is_live(), _is_outside_line()
)

# Why a certificate ended says here that its key is in the wrong hands, or may be: it is never certified again, a key on
# hold not before its release. Whose certificate was superseded, say, may come with the same key.
_BLOCKING = (
    RevocationReason.keyCompromise,
    RevocationReason.certificateHold,
    RevocationReason.privilegeWithdrawn,
    RevocationReason.aACompromise,
)
KEY_BLOCKED: Select[tuple[int]] = select(_C.id).where(
    _C.public_key == bindparam("public_key"),
    is_in(_C.state, CertificateState.REVOKED),
    or_(*(_C.revocation_reason == literal_column(str(reason.value)) for reason in _BLOCKING)),
)
_SUBJECT_TAKEN = select(_C.id).where(
    _C.subject_folded == bindparam("subject"),
    _C.profile == bindparam("profile"),
    _C.public_key != bindparam("public_key"),
    _is_live(),
    _is_outside_line(),
)
_KEY_TAKEN = KEY_CERTIFIED.where(_C.profile == bindparam("profile"))
_after = CERTIFICATE.alias("after")
_HELD = select(func.count()).where(
    _C.holder == bindparam("holder"),
    _C.profile == bindparam("profile"),
    _is_live(),
    # A certificate that was renewed counts as its successor does: once.
    ~exists().where(_after.c.predecessor == _C.id, is_not_failed(_after.c.state)),
)
HOLDER = select(_C.holder).where(_C.id == bindparam("number"))
_PREDECESSOR = select(
    _C.state,
    _C.public_key,
    _C.not_after,
    exists().where(_after.c.predecessor == _C.id, is_not_failed(_after.c.state)),
).where(_C.id == bindparam("number"))


def require_renewable(connection: StoreConnection, asked: Intent | Petition, now: datetime) -> None:
    """Reject a renewal that may not be (any more), whatever was judged before the write transaction.

    Its predecessor has a successor, was revoked (threat S-51) or ended longer ago than `Intent.grace`; or another live
    certificate has the new key (threat S-48).
    """
    if asked.lineage is None:
        return
    number = asked.lineage.predecessor
    row = connection.first(_PREDECESSOR, {"number": number})
    if row is None:
        raise Reject(Reason.renewal_signer_unknown, f"there is no certificate of row {number}")
    state, public_key, not_after, has_successor = row
    if has_successor:
        raise Reject(Reason.renewal_superseded, f"the certificate of row {number} has a successor")
    if state == CertificateState.REVOKED.value:
        raise Reject(Reason.renewal_signer_revoked, f"the certificate of row {number} is revoked")
    grace = asked.grace if isinstance(asked, Intent) else None
    if grace is not None and not_after < time_text(now - grace):
        raise Reject(Reason.renewal_signer_expired, f"the certificate of row {number} ended {not_after}")
    if public_key != asked.public_key:
        values = {"public_key": asked.public_key, "now": time_text(now), "besides": number}
        if connection.first(KEY_CERTIFIED, values) is not None:
            raise Reject(Reason.renewal_key_taken, "another live certificate has the key")


def require_unblocked_key(connection: StoreConnection, asked: Intent | Petition) -> None:
    """Reject a key that a revocation has blocked meanwhile."""
    row = connection.first(KEY_BLOCKED, {"public_key": asked.public_key})
    if row is not None:
        raise Reject(Reason.key_refused, f"the key of the revoked certificate of row {row[0]}")


def require_free_subject(connection: StoreConnection, asked: Intent | Petition, now: datetime) -> None:
    """Reject a request whose subject another key's live certificate has in the profile (C-218); its own line does not count."""
    values = {
        "subject": fold(asked.subject),
        "profile": asked.key.profile,
        "public_key": asked.public_key,
        "besides": asked.lineage.predecessor if asked.lineage is not None else 0,
        "now": time_text(now),
    }
    row = connection.first(_SUBJECT_TAKEN, values)
    if row is not None:
        raise Reject(Reason.name_taken, f"another key's certificate of row {row[0]} has the subject")


def require_free_key(connection: StoreConnection, intent: Intent, now: datetime) -> None:
    """Reject an intent whose key a live certificate of the profile has; its own line does not count (threats S-28)."""
    values = {
        "public_key": intent.public_key,
        "profile": intent.key.profile,
        "besides": intent.lineage.predecessor if intent.lineage is not None else 0,
        "now": time_text(now),
    }
    row = connection.first(_KEY_TAKEN, values)
    if row is not None:
        raise Reject(Reason.key_taken, f"the certificate of row {row[0]} has the key")


def holder_of(connection: StoreConnection, intent: Intent, most: int, now: datetime) -> str:
    """Return whose certificate an intent's is to count as; Reject(identity_limit) where the holder has `most` already.

    A renewal stays with the holder of its line and needs no room, since it takes its predecessor's.
    """
    if intent.lineage is not None:
        row = connection.first(HOLDER, {"number": intent.lineage.predecessor})
        return (row[0] if row is not None else None) or intent.holder
    values = {"holder": intent.holder, "profile": intent.key.profile, "now": time_text(now)}
    row = connection.first(_HELD, values)
    if row is not None and row[0] >= most:
        raise Reject(Reason.identity_limit, f"{intent.holder} has {row[0]} active certificates")
    return intent.holder

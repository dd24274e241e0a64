"""What other certificates say to a new one: its predecessor, the line it continues, whose subject and key it takes."""

from datetime import datetime

from sqlalchemy import Column, ColumnElement, Select, and_, bindparam, exists, literal_column, or_, select

from scepd.records import CertificateState, Intent, Lineage, RevocationReason
from scepd.refusal import Reason, Reject
from scepd.store.engines import StoreConnection
from scepd.store.rows import SELECT_CERTIFICATE, time_text
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
_SUBJECT_TAKEN = select(_C.id).where(
    _C.subject == bindparam("subject"),
    _C.profile == bindparam("profile"),
    _C.public_key != bindparam("public_key"),
    _is_live(),
    _is_outside_line(),
)
_after = CERTIFICATE.alias("after")
_PREDECESSOR = select(
    _C.state,
    exists().where(_after.c.predecessor == _C.id, is_not_failed(_after.c.state)),
).where(_C.id == bindparam("number"))


def require_renewable(connection: StoreConnection, lineage: Lineage) -> None:
    """Reject a renewal whose predecessor has a successor, or was revoked since the request was judged (threat S-51)."""
    row = connection.first(_PREDECESSOR, {"number": lineage.predecessor})
    if row is None:
        raise Reject(Reason.renewal_signer_unknown, f"there is no certificate of row {lineage.predecessor}")
    state, has_successor = row
    if has_successor:
        raise Reject(Reason.renewal_superseded, f"the certificate of row {lineage.predecessor} has a successor")
    if state == CertificateState.REVOKED.value:
        raise Reject(Reason.renewal_signer_revoked, f"the certificate of row {lineage.predecessor} is revoked")


def require_free_subject(connection: StoreConnection, intent: Intent, now: datetime) -> None:
    """Reject an intent whose subject another key's live certificate has in the profile (C-218); its own line does not count."""
    values = {
        "subject": intent.subject,
        "profile": intent.key.profile,
        "public_key": intent.public_key,
        "besides": intent.lineage.predecessor if intent.lineage is not None else 0,
        "now": time_text(now),
    }
    row = connection.first(_SUBJECT_TAKEN, values)
    if row is not None:
        raise Reject(Reason.name_taken, f"another key's certificate of row {row[0]} has the subject")

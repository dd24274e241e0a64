"""What people are shown of the records: JSON values, the same for API and CLI; no secret is in them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from scepd.admin.actions import NewChallenge
from scepd.message.names import MessageType
from scepd.records import Certificate, Challenge, Refusal, Revocation, Step, Transaction

View = dict[str, Any]

REFUSED = "REFUSED"  # what a request is that became no transaction


def new_challenge(made: NewChallenge) -> View:
    """Show a challenge the one time that it is shown."""
    return {
        "id": made.id,
        "profile": made.profile,
        "challenge": made.challenge.reveal(),
        "expires": _time(made.expires),
        "uses": made.uses,
    }


def challenge(row: Challenge) -> View:
    """Show what is known of a challenge."""
    return {
        "id": row.id,
        "profile": row.profile,
        "state": row.state.value,
        "cn": row.common_name,
        "names": list(row.names),
        "subject": row.subject,
        "key_type": row.key_type,
        "expires": _time(row.expires),
        "uses": row.uses,
        "uses_left": row.uses_left,
        "created": _time(row.created),
        "created_by": row.created_by,
        "request": row.transaction,
    }


def certificate(row: Certificate, *, with_pem: bool = False) -> View:
    """Show a certificate row; the PEM where one is asked for and the certificate exists."""
    view: View = {
        "serial": f"{row.serial:x}",
        "issuer": row.issuer,
        "state": row.state.value,
        "profile": row.profile,
        "subject": row.subject,
        "names": list(row.names),
        "not_before": _time(row.not_before),
        "not_after": _time(row.not_after),
        "public_key_sha256": row.public_key.hex(),
        "request": row.transaction,
        **_ending(row.revocation),
    }
    if row.lineage is not None:
        view |= {"renewals": row.lineage.renewals, "first_issued": _time(row.lineage.first_issued)}
    if with_pem:
        view["pem"] = None if row.der is None else _pem(row.der)
    return view


def transaction(row: Transaction, *, with_trail: bool = False) -> View:
    """Show a transaction as a request that got somewhere."""
    view: View = {
        "id": str(row.id),
        "at": _time(row.created),
        "profile": row.key.profile,
        "state": row.state.value,
        "reason": None if row.reason is None else row.reason.value,
        "detail": row.detail,
        "subject": row.subject,
        "names": list(row.names),
        "address": row.address,
        "type": _type(row.message_type),
        "transaction_id": row.key.transaction_id,
        "requester_key_sha256": row.key.requester.hex(),
        "authenticated_by": row.identity.method,
        "serial": f"{row.serial:x}" if row.serial else None,
        "csr_sha256": row.csr_fingerprint,
        "csr_sha1": row.csr_fingerprint_sha1 or None,
        "renewals": None if row.lineage is None else row.lineage.renewals,
        "request_id": row.request_id or None,
        "expires": None if row.expires is None else _time(row.expires),
        "decided_by": row.decided_by or None,
        "decided": None if row.decided is None else _time(row.decided),
        "updated": _time(row.updated),
    }
    if with_trail:
        view["trail"] = _trail(row.trail)
    return view


def refusal(row: Refusal, *, with_trail: bool = False) -> View:
    """Show a refused request."""
    view: View = {
        "id": row.request_id,
        "at": _time(row.at),
        "profile": row.profile,
        "state": REFUSED,
        "reason": row.reason.value,
        "detail": row.detail,
        "subject": row.subject,
        "address": row.address,
        "type": _type(row.message_type),
        "transaction_id": row.transaction_id,
        "requester_key_sha256": row.requester.hex(),
    }
    if with_trail:
        view["trail"] = _trail(row.trail)
    return view


def requests(
    transactions: Sequence[Transaction], refusals: Sequence[Refusal], *, with_trail: bool = False
) -> list[View]:
    """Show transactions and refusals together, newest first."""
    views = [transaction(row, with_trail=with_trail) for row in transactions]
    views += [refusal(row, with_trail=with_trail) for row in refusals]
    return sorted(views, key=lambda view: str(view["at"]), reverse=True)


def _ending(revocation: Revocation | None) -> View:
    """Show a revocation; a certificate without one has the same fields."""
    since = None if revocation is None else revocation.invalid_since
    return {
        "revoked": None if revocation is None else _time(revocation.at),
        "revocation_reason": None if revocation is None else revocation.reason.name,
        "invalid_since": None if since is None else _time(since),
    }


def _trail(steps: Sequence[Step]) -> list[View]:
    return [{"step": step.name, "ms": step.at, "note": step.note} for step in steps]


def _type(number: int) -> str:
    try:
        return MessageType(number).name
    except ValueError:
        return str(number)


def _time(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def _pem(der: bytes) -> str:
    return x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM).decode("ascii")

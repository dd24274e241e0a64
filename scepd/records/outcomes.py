"""What became of a request, and what is told of it."""

from datetime import datetime

import attrs

from scepd.records.transactions import Transaction
from scepd.refusal import Reason


@attrs.frozen
class Issued:
    """Outcome: a certificate exists and is on record."""

    transaction: Transaction
    certificate_der: bytes
    again: bool = False  # delivered before: the same answer for the same transaction


@attrs.frozen
class Pending:
    """Outcome: a person must decide."""

    transaction: Transaction


@attrs.frozen
class Rejected:
    """Outcome: refused; `reason` decides the wire answer."""

    reason: Reason
    detail: str = ""


@attrs.frozen
class Notice:
    """What an outside service is told of a request's end: `outcome` is issued, pending or rejected."""

    profile: str
    transaction_id: str
    request_id: str
    outcome: str
    reason: str = ""
    subject: str = ""
    serial: int | None = None
    not_after: datetime | None = None
    certificate_der: bytes | None = None
    identity_method: str = ""
    identity_name: str = ""
    number: int = 0  # of its row in the outbox: the same each time that it is told
    csr_der: bytes | None = attrs.field(default=None, repr=False)  # as received, for services that want it back


@attrs.frozen
class Posting:
    """A notice for one notifier: a row of the outbox, with how often it was tried."""

    kind: str  # the notifier's name
    notice: Notice
    enclosure: bytes | None = attrs.field(default=None, repr=False)
    attempts: int = 0
    once: bytes = b""  # what is told once an hour however often it happens has the same digest each time


@attrs.frozen
class Found:
    """Outcome of a lookup: what was asked for, certificates or CRLs as DER; `subject` is for the log."""

    certificates: tuple[bytes, ...] = ()
    crls: tuple[bytes, ...] = ()
    subject: str = ""


Answered = Issued | Pending | Rejected  # what becomes of a request for a certificate


Outcome = Answered | Found

"""The store's self-check: re-verifies every table, certificate, transaction, holding, CRL, audit row and seal."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import attrs
from sqlalchemy import Table, func, select

from scepd.observe.damage import Damage
from scepd.observe.trail import Trail
from scepd.records import CertificateState
from scepd.refusal import Unavailable
from scepd.store import trail as audit_trail
from scepd.store.access_tables import ENTITY
from scepd.store.check_certificate import Known, check_certificates
from scepd.store.check_columns import TABLES, check_columns
from scepd.store.check_crls import check_crls
from scepd.store.check_holdings import check_holdings
from scepd.store.check_responders import check_responders
from scepd.store.check_rows import Findings
from scepd.store.check_tables import check_tables
from scepd.store.check_transactions import check_acts, check_transactions
from scepd.store.engines import StoreConnection
from scepd.store.outside_tables import OUTBOX, TICKET
from scepd.store.reader import Reader
from scepd.store.schema import CERTIFICATE, CHALLENGE, CHALLENGE_USE, TRANSACTION
from scepd.store.status_tables import CRL, RESPONDER

_JUDGED_ONCE_MORE: tuple[Table, ...] = (
    TRANSACTION, CERTIFICATE, CHALLENGE, CHALLENGE_USE, ENTITY, TICKET, OUTBOX, CRL, RESPONDER,
)  # fmt: skip
_RESTORE = "scepd stop; restore a backup; docs/operation.md, The self-check"


# After a recovery: serials whose certificates are gone; and for a moment a certificate of ours that is being signed.
_SERIAL_ALONE = (
    select(func.count())
    .select_from(CERTIFICATE)
    .where(
        CERTIFICATE.c.der.is_(None),
        CERTIFICATE.c.transaction.is_(None),
        CERTIFICATE.c.state != CertificateState.FAILED.value,
    )
)


@attrs.frozen
class Inspection:
    """One run of the self-check over one state of the store, so that it may be in use meanwhile.

    `now` None: nothing is too old. `trail` verifies the audit trail, with keys and the file of seals where it has them.
    """

    connection: StoreConnection
    known: Known
    now: datetime | None = None
    trail: Trail = attrs.field(factory=Trail)

    def steps(self) -> int:
        """Return about how many findings `run` yields, empty ones included: what a progress bar counts."""
        return sum(map(self._count, (*TABLES, *_JUDGED_ONCE_MORE))) + audit_trail.count_entries(self.connection)

    def numbers(self) -> dict[str, int | None]:
        """Return how much there was to look at; of certificates, how many came back without their bytes, if any did."""
        shown = {"certificates": CERTIFICATE, "transactions": TRANSACTION, "challenges": CHALLENGE, "crls": CRL}
        (row,) = self.connection.query(_SERIAL_ALONE)
        return {**{name: self._count(table) for name, table in shown.items()}, "known_by_serial_alone": int(row[0]) or None}

    def run(self) -> Iterator[Findings]:
        """Yield what is wrong, thing by thing; nothing wrong is an empty list."""
        connection, known = self.connection, self.known
        for step in (
            check_tables(connection),
            check_columns(connection),
            check_transactions(connection, self.now),
            check_certificates(connection, known),
            check_crls(connection, known.issuers),
            check_responders(connection, known.issuers),
            check_holdings(connection),
            check_acts(connection),
            self._audit(),
        ):
            yield from _whole(step)

    def _audit(self) -> Iterator[Findings]:
        for entry in audit_trail.trail(self.connection):
            yield list(self.trail.take(entry))
        yield list(self.trail.finish(audit_trail.heads(self.connection)))

    def _count(self, table: Table) -> int:
        (row,) = self.connection.query(select(func.count()).select_from(table))
        return int(row[0])


def _whole(step: Iterator[Findings]) -> Iterator[Findings]:
    """Yield a step's findings; where the store itself fails in the middle, that is one, and the next step goes on."""
    try:
        yield from step
    except Unavailable as trouble:
        yield [Damage("store", f"cannot be read on: {trouble.cause}", _RESTORE)]


def check_store(reader: Reader, issuers: Mapping[str, bytes], **options: Any) -> list[str]:
    """Return what is wrong, one text each; `issuers` are the issuers' certificates (DER) by name."""
    with reader.snapshot():
        inspection = Inspection(reader.connection, Known.of(issuers), **options)
        return [str(damage) for findings in inspection.run() for damage in findings]

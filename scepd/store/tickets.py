"""Signed challenges (threats S-91): each is taken once, with the claim or petition of its transaction, freed when that is given up."""

from datetime import datetime

from sqlalchemy import bindparam, delete, func, insert, select

from scepd.records import Intent, Petition, Ticket, Transaction
from scepd.refusal import Reason, Reject
from scepd.store.engines import Conflict, StoreConnection
from scepd.store.outside_tables import TICKET
from scepd.store.rows import SELECT_TRANSACTION, time_text, transaction_of
from scepd.store.schema import TRANSACTION
from scepd.store.writer import Writer

_K, _T = TICKET.c, TRANSACTION.c
METHOD = "signed"  # the challenge method whose identities carry tickets
_BATCH = 1_000  # rows that one write transaction sweeps, since enrolments wait meanwhile

_HOLDER = SELECT_TRANSACTION.join(TICKET, _K.transaction == _T.id).where(_K.digest == bindparam("ticket"))
_ADD = insert(TICKET)
_FREE = delete(TICKET).where(_K.transaction == bindparam("number"))
_COUNT = (
    select(func.count())
    .select_from(TICKET)
    .where(_K.profile == bindparam("in_profile"), _K.device == bindparam("of_device"), _K.at > bindparam("since"))
)
_OVER = select(_K.digest).where(_K.expires <= bindparam("now")).limit(bindparam("most"))
_DROP = delete(TICKET).where(_K.digest.in_(_OVER))


def answering(connection: StoreConnection, asked: Intent | Petition) -> Transaction | None:
    """Return the transaction that this very request got with its ticket: same profile, key and wishes (C-207)."""
    holder = _holder(connection, asked.identity.ticket)
    if holder is None or (holder.key.profile, holder.key.requester) != (asked.key.profile, asked.key.requester):
        return None
    return holder if holder.wishes == asked.wishes else None


def use(connection: StoreConnection, asked: Intent | Petition, transaction: int, now: datetime) -> None:
    """Take the ticket of an identity for a transaction, in its write transaction.

    Raises Reject(challenge_replayed | challenge_expired | challenge_device_limit).
    """
    ticket = asked.identity.ticket
    if ticket is None:
        return
    if ticket.expires <= now:
        raise Reject(Reason.challenge_expired, f"the signed challenge expired {ticket.expires.isoformat()}")
    values = {"in_profile": asked.key.profile, "of_device": ticket.device, "since": time_text(now - ticket.window)}
    row = connection.first(_COUNT, values) if ticket.most else None
    if row is not None and row[0] >= ticket.most:
        raise Reject(Reason.challenge_device_limit, f"device {ticket.device!r} used {row[0]} within {ticket.window}")
    row_values = {
        "digest": ticket.digest,
        "profile": asked.key.profile,
        "device": ticket.device,
        "at": time_text(now),
        "expires": time_text(max(ticket.expires, now + ticket.window)),
        "transaction": transaction,
    }
    try:
        connection.change(_ADD, row_values)
    except Conflict as error:
        raise Reject(Reason.challenge_replayed, "the signed challenge was used for another request") from error


def free(connection: StoreConnection, transaction: Transaction) -> None:
    """Give the ticket of a transaction back after it was given up."""
    if transaction.identity.method == METHOD:
        connection.change(_FREE, {"number": transaction.id})


def _holder(connection: StoreConnection, ticket: Ticket | None) -> Transaction | None:
    row = connection.first(_HOLDER, {"ticket": ticket.digest}) if ticket is not None else None
    return transaction_of(row) if row is not None else None


class Tickets(Writer):
    """What the method and housekeeping ask of tickets."""

    def ticket_holder(self, ticket: Ticket) -> Transaction | None:
        """Return the transaction that has used a ticket; read-only: the judge of a race is the claim."""
        return _holder(self._connection, ticket)

    def sweep_tickets(self) -> int:
        """Drop the rows of tickets that are of no use any more; return how many, at most `_BATCH`."""
        values = {"now": time_text(self._clock.now()), "most": 1}
        if self._connection.first(_OVER, values) is None:
            return 0
        with self._act("sweep_tickets") as now:
            return self._connection.change(_DROP, {"now": time_text(now), "most": _BATCH})

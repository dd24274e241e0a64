"""Requests that a person decides about: PENDING, then APPROVED, REJECTED or EXPIRED, each by one winner."""

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import bindparam, func, literal_column, or_, select, update

from scepd.observe.audit import Action
from scepd.records import Intent, Petition, Rejected, Transaction, TransactionState
from scepd.refusal import Reason, Reject, Unavailable
from scepd.store import entity_use, outbox, reservation, tickets
from scepd.store import statements as sql
from scepd.store.engines import Conflict
from scepd.store.ledger import Act, actor_of, transaction_target
from scepd.store.lineage import require_free_subject, require_renewable
from scepd.store.rows import SELECT_TRANSACTION, time_text, transaction_of
from scepd.store.schema import TRANSACTION
from scepd.store.values import REMARK, petition_details, petition_values, waiting
from scepd.store.writer import Writer

_T = TRANSACTION.c
_BATCH = 100  # expired in one write transaction, since enrolments wait meanwhile

# Whom nobody vouches for: the method of that name authenticates nobody.
_ANONYMOUS = "none"
_MOST_OF_REQUESTER = 3  # of those whom nobody vouches for
_PART_OF_ADDRESS = 10  # and of an address that part of what the profile has room for

_OPEN = (TransactionState.PENDING, TransactionState.APPROVED)

_pending = sql.is_in(_T.state, TransactionState.PENDING)
_open = or_(*(sql.is_in(_T.state, state) for state in _OPEN))
_COUNT_WAITING = select(func.count()).select_from(TRANSACTION).where(_pending, _T.profile == bindparam("profile"))
_COUNT_OF_REQUESTER = _COUNT_WAITING.where(_T.requester == bindparam("requester"))
_COUNT_OF_ADDRESS = _COUNT_WAITING.where(_T.address == bindparam("address"))
_OVERDUE = SELECT_TRANSACTION.where(_open, _T.expires <= bindparam("now")).limit(bindparam("most"))
# In the words of the unique index of predecessors, which is used only so.
_RENEWING = SELECT_TRANSACTION.where(
    _T.predecessor == bindparam("predecessor"), _T.state.op("IN")(literal_column("('PENDING', 'APPROVED')"))
)
_DECIDE = (
    update(TRANSACTION)
    .where(_T.id == bindparam("number"), _open)
    .values(
        state=bindparam("new_state"),
        reason=bindparam("new_reason"),
        detail=bindparam("new_detail"),
        decided_by=bindparam("decider"),
        decided=bindparam("decided_at"),
        expires=bindparam("new_expires"),
        updated=bindparam("now"),
    )
)


class Petitions(Writer):
    """The acts about requests that wait for a person."""

    def petition(self, petition: Petition) -> tuple[Transaction, bool]:
        """Make a request durable that a person must decide about; return its transaction and whether this call made it.

        An existing one answers as with `Repository.claim`, of a renewal also that of the same requester for the same
        wishes, whatever its transactionID. Raises Reject(pending_full, name_taken, challenge_replayed,
        challenge_expired; of a renewal: renewal_superseded, also where another one of the certificate waits,
        renewal_signer_revoked, renewal_key_taken).
        """
        with self._act("petition") as now:
            known = self._answering(petition) or self._waiting_renewal(petition, now)
            if known is not None:
                return known, False
            self._require_room(petition)
            number = self._add_petition(petition, now)
            if petition.identity.challenge_id is not None:
                reservation.reserve(self._connection, petition, number, now)
            tickets.use(self._connection, petition, number, now)
            entity_use.use(self._connection, petition, number, now)
            outbox.announce_pending(self._connection, petition, number, now)
            target, details = transaction_target(number), petition_details(petition)
            self._note(Act(Action.transaction_pending, actor_of(petition.identity), target, details), now)
        return waiting(petition, number, self.owner, now), True

    def decide(self, number: int, *, approve: bool, who: str, detail: str = "") -> Transaction | None:
        """Move PENDING → APPROVED or REJECTED, APPROVED → REJECTED; return the row as stored, None where nothing was to decide.

        What is approved waits for its device as long as it might have waited for the person. A request past its time
        expires instead. `detail` is the person's remark, cut to 1,000 characters: for audit
        and, of a refusal, for the row; never for the wire.
        """
        with self._act("decide") as now:
            stored = self.transaction(number)
            if stored is None or stored.state not in _OPEN:
                return None
            if approve and stored.state is TransactionState.APPROVED:
                return None
            if _is_overdue(stored, now):
                self._expire(stored, now)
                return None
            state = TransactionState.APPROVED if approve else TransactionState.REJECTED
            values = {
                "new_reason": None if approve else Reason.rejected_by_approver.value,
                "new_detail": "" if approve else detail[:REMARK],
                "decider": who,
                "decided_at": time_text(now),
                "new_expires": _ending(stored, now) if approve else _text(stored.expires),
            }
            self._settle(stored, state, values, now)
            action = Action.transaction_approved if approve else Action.transaction_rejected
            details = {"reason": values["new_reason"], "detail": detail[:REMARK]}
            self._note(Act(action, who, transaction_target(number), details), now)
            self._announce()
            return self.transaction(number)

    def withdraw(self, transaction: Transaction, reason: Reason, detail: str) -> Transaction:
        """Move APPROVED → REJECTED: what was approved can never be issued, its challenge is free again.

        Returns the row as stored: where another moved it first, that one's, unchanged.
        """
        with self._act("withdraw") as now:
            stored = self.transaction(transaction.id)
            if stored is None:
                raise Unavailable(f"store: transaction {transaction.id} is gone")
            if stored.state is not TransactionState.APPROVED:
                return stored
            values = {**_kept(stored), "new_reason": reason.value, "new_detail": detail[:REMARK]}
            self._settle(stored, TransactionState.REJECTED, values, now)
            details = {"reason": reason.value, "detail": detail[:REMARK]}
            target = transaction_target(stored.id)
            self._note(Act(Action.transaction_rejected, actor_of(stored.identity), target, details), now)
            return self.transaction(stored.id) or stored

    def expire_pending(self, limit: int = 1000) -> int:
        """Move requests that waited too long for a person, or then for their devices, to EXPIRED; return how many.

        Their challenges are free again.
        """
        expired = 0
        while expired < limit and self._overdue(self._clock.now(), 1):
            with self._act("expire_pending") as now:
                overdue = self._overdue(now, min(_BATCH, limit - expired))
                for transaction in overdue:
                    self._expire(transaction, now)
            expired += len(overdue)
        return expired

    def _overdue(self, now: datetime, most: int) -> list[Transaction]:
        rows = self._connection.rows(_OVERDUE, {"now": time_text(now), "most": most})
        return [transaction_of(row) for row in rows]

    def _answering(self, asked: Intent | Petition) -> Transaction | None:
        """Return what answers a request: its own identity's transaction, or that of its challenge (C-207)."""
        known = self.recall(asked.key)
        if known is None and asked.identity.ticket is not None:
            return tickets.answering(self._connection, asked)
        if known is None and asked.identity.entity is not None:
            return entity_use.redelivery(self._connection, asked)
        if known is not None or asked.identity.challenge_id is None:
            return known
        values = {
            "challenge": asked.identity.challenge_id,
            "profile": asked.key.profile,
            "requester": asked.key.requester,
            "wishes": asked.wishes,
        }
        row = self._connection.first(sql.REDELIVERY, values)
        return transaction_of(row) if row is not None else None

    def _waiting_renewal(self, petition: Petition, now: datetime) -> Transaction | None:
        """Return the open renewal of the same certificate; Reject where it is not the same requester's for the same wishes."""
        if petition.lineage is None:
            return None
        row = self._connection.first(_RENEWING, {"predecessor": petition.lineage.predecessor})
        known = transaction_of(row) if row is not None else None
        if known is not None and _is_overdue(known, now):
            self._expire(known, now)
            return None
        if known is None or _is_same(known, petition):
            return known
        detail = f"another renewal of the certificate of row {petition.lineage.predecessor} waits"
        raise Reject(Reason.renewal_superseded, detail)

    def _require_room(self, petition: Petition) -> None:
        """Reject what is too much for a profile, or for one whom nobody vouches for (threats S-41)."""
        limits = [(_COUNT_WAITING, petition.most, "")]
        if petition.identity.method == _ANONYMOUS:
            of_address = max(1, petition.most // _PART_OF_ADDRESS)
            limits.append((_COUNT_OF_REQUESTER, _MOST_OF_REQUESTER, " of this key"))
            limits.append((_COUNT_OF_ADDRESS, of_address, f" from {petition.address}"))
        values = {
            "profile": petition.key.profile,
            "requester": petition.key.requester,
            "address": petition.address,
        }
        for count, most, whose in limits:
            row = self._connection.first(count, values)
            if row is not None and row[0] >= most:
                raise Reject(Reason.pending_full, f"{row[0]} requests{whose} wait")

    def _add_petition(self, petition: Petition, now: datetime) -> int:
        require_renewable(self._connection, petition, now)
        if petition.unique_subject:
            require_free_subject(self._connection, petition, now)
        try:
            return self._add(sql.ADD_TRANSACTION, petition_values(petition, self.owner, now))
        except Conflict as error:  # what was looked for before is not there: the tables have another reason
            raise Unavailable("store: the transaction was refused", retry_after=1) from error

    def _expire(self, transaction: Transaction, now: datetime) -> None:
        values = {**_kept(transaction), "new_reason": None, "new_detail": ""}
        self._settle(transaction, TransactionState.EXPIRED, values, now)
        target = transaction_target(transaction.id)
        self._note(Act(Action.transaction_expired, self.owner, target, {}), now)

    def _settle(
        self, transaction: Transaction, state: TransactionState, values: Mapping[str, str | None], now: datetime
    ) -> None:
        """Move an open transaction that was read under the lock; an end that is no approval frees its challenge."""
        row = {**values, "number": transaction.id, "new_state": state.value, "now": time_text(now)}
        self._connection.change(_DECIDE, row)
        challenge = transaction.identity.challenge_id
        if challenge is not None and state is not TransactionState.APPROVED:
            reservation.free(self._connection, challenge, transaction.id)
        if state is not TransactionState.APPROVED:
            reason = Reason(values["new_reason"]) if values["new_reason"] else Reason.request_expired
            tickets.free(self._connection, transaction)
            entity_use.free(self._connection, transaction, now)
            outbox.release_rejected(self._connection, transaction, Rejected(reason), now)


def may_be_known(asked: Intent | Petition) -> bool:
    """Return whether another transaction than its own identity's can answer a request: one that has its challenge."""
    identity = asked.identity
    return identity.challenge_id is not None or identity.ticket is not None or identity.entity is not None


def _is_same(known: Transaction, petition: Petition) -> bool:
    """Return whether a transaction answers a petition under another transactionID (C-207)."""
    same = known.key.profile == petition.key.profile and known.key.requester == petition.key.requester
    return same and known.wishes == petition.wishes


def _kept(transaction: Transaction) -> dict[str, str | None]:
    """Return what an end that no person decides leaves as it is."""
    return {
        "decider": transaction.decided_by or None,
        "decided_at": _text(transaction.decided),
        "new_expires": _text(transaction.expires),
    }


def _ending(transaction: Transaction, approved: datetime) -> str | None:
    """Return until when an approval is good: as long as the request might have waited for it."""
    if transaction.expires is None:
        return None
    return time_text(approved + (transaction.expires - transaction.created))


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else time_text(moment)


def _is_overdue(transaction: Transaction, now: datetime) -> bool:
    return transaction.expires is not None and transaction.expires <= now

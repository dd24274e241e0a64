"""Requests that a person decides about: PENDING, then APPROVED, REJECTED or EXPIRED, each by one winner."""

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import bindparam, func, select, update

from scepd.observe.audit import Action
from scepd.records import Intent, Petition, Rejected, Transaction, TransactionState
from scepd.refusal import Reason, Reject, Unavailable
from scepd.store import outbox, reservation, tickets
from scepd.store import statements as sql
from scepd.store.engines import Conflict
from scepd.store.ledger import Act, actor_of, transaction_target
from scepd.store.lineage import require_renewable
from scepd.store.rows import SELECT_TRANSACTION, time_text, transaction_of
from scepd.store.schema import TRANSACTION
from scepd.store.values import REMARK, petition_details, petition_values, waiting
from scepd.store.writer import Writer

_T = TRANSACTION.c
_BATCH = 100  # expired in one write transaction, since enrolments wait meanwhile

_pending = sql.is_in(_T.state, TransactionState.PENDING)
_COUNT_WAITING = select(func.count()).select_from(TRANSACTION).where(_pending, _T.profile == bindparam("profile"))
_OVERDUE = SELECT_TRANSACTION.where(_pending, _T.expires <= bindparam("now")).limit(bindparam("most"))
_DECIDE = (
    update(TRANSACTION)
    .where(_T.id == bindparam("number"), _T.state == TransactionState.PENDING.value)
    .values(
        state=bindparam("new_state"),
        reason=bindparam("new_reason"),
        detail=bindparam("new_detail"),
        decided_by=bindparam("decider"),
        decided=bindparam("decided_at"),
        updated=bindparam("now"),
    )
)


class Petitions(Writer):
    """The acts about requests that wait for a person."""

    def petition(self, petition: Petition) -> tuple[Transaction, bool]:
        """Make a request durable that a person must decide about; return its transaction and whether this call made it.

        An existing one answers as with `Repository.claim`. Raises Reject(pending_full, challenge_replayed,
        challenge_expired; of a renewal: renewal_superseded, also where another one of the certificate waits,
        renewal_signer_revoked).
        """
        with self._act("petition") as now:
            known = self._answering(petition)
            if known is not None:
                return known, False
            self._require_room(petition)
            number = self._add_petition(petition, now)
            if petition.identity.challenge_id is not None:
                reservation.reserve(self._connection, petition, number, now)
            tickets.use(self._connection, petition, number, now)
            outbox.announce_pending(self._connection, petition, number, now)
            target, details = transaction_target(number), petition_details(petition)
            self._note(Act(Action.transaction_pending, actor_of(petition.identity), target, details), now)
        return waiting(petition, number, self.owner, now), True

    def decide(self, number: int, *, approve: bool, who: str, detail: str = "") -> Transaction | None:
        """Move PENDING → APPROVED or REJECTED; return the row as stored, None where it is not PENDING (any more).

        A request past its time expires instead. `detail` is the person's remark, cut to 1,000 characters: for audit
        and, of a refusal, for the row; never for the wire.
        """
        with self._act("decide") as now:
            stored = self.transaction(number)
            if stored is None or stored.state is not TransactionState.PENDING:
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
            }
            self._settle(stored, state, values, now)
            action = Action.transaction_approved if approve else Action.transaction_rejected
            details = {"reason": values["new_reason"], "detail": detail[:REMARK]}
            self._note(Act(action, who, transaction_target(number), details), now)
            self._announce()
            return self.transaction(number)

    def expire_pending(self, limit: int = 1000) -> int:
        """Move requests that waited too long to EXPIRED, their challenges free again; return how many."""
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

    def _require_room(self, petition: Petition) -> None:
        row = self._connection.first(_COUNT_WAITING, {"profile": petition.key.profile})
        if row is not None and row[0] >= petition.most:
            raise Reject(Reason.pending_full, f"{row[0]} requests wait")

    def _add_petition(self, petition: Petition, now: datetime) -> int:
        if petition.lineage is not None:
            require_renewable(self._connection, petition.lineage)
        try:
            return self._add(sql.ADD_TRANSACTION, petition_values(petition, self.owner, now))
        except Conflict as error:
            if petition.lineage is None:  # the tables refused the row for another reason
                raise Unavailable("store: the transaction was refused", retry_after=1) from error
            detail = f"another renewal of the certificate of row {petition.lineage.predecessor} waits"
            raise Reject(Reason.renewal_superseded, detail) from error

    def _expire(self, transaction: Transaction, now: datetime) -> None:
        values = {"new_reason": None, "new_detail": "", "decider": None, "decided_at": None}
        self._settle(transaction, TransactionState.EXPIRED, values, now)
        target = transaction_target(transaction.id)
        self._note(Act(Action.transaction_expired, self.owner, target, {}), now)

    def _settle(
        self, transaction: Transaction, state: TransactionState, values: Mapping[str, str | None], now: datetime
    ) -> None:
        """Move a PENDING transaction that was read under the lock; an end that is no approval frees its challenge."""
        row = {**values, "number": transaction.id, "new_state": state.value, "now": time_text(now)}
        self._connection.change(_DECIDE, row)
        challenge = transaction.identity.challenge_id
        if challenge is not None and state is not TransactionState.APPROVED:
            reservation.free(self._connection, challenge, transaction.id)
        if state is not TransactionState.APPROVED:
            reason = Reason(values["new_reason"]) if values["new_reason"] else Reason.request_expired
            tickets.free(self._connection, transaction)
            outbox.release_rejected(self._connection, transaction, Rejected(reason), now)


def may_be_known(asked: Intent | Petition) -> bool:
    """Return whether another transaction than its own identity's can answer a request: one that has its challenge."""
    return asked.identity.challenge_id is not None or asked.identity.ticket is not None


def _is_overdue(transaction: Transaction, now: datetime) -> bool:
    return transaction.expires is not None and transaction.expires <= now

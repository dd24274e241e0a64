"""The store of the enrolment path: each act is one durable write transaction with its audit row."""

import hashlib
from collections.abc import Collection, Sequence
from datetime import datetime

import attrs

from scepd.observe.audit import Action
from scepd.ports import SerialTaken
from scepd.records import (
    CertificateState,
    Intent,
    Rejected,
    Step,
    Transaction,
    TransactionState,
)
from scepd.refusal import Reason, Unavailable
from scepd.store import entity_use, outbox, reservation, tickets
from scepd.store import statements as sql
from scepd.store.adoption import Adoptions
from scepd.store.clocks import Clocks
from scepd.store.engines import Conflict
from scepd.store.entities import Entities
from scepd.store.leases import Leases
from scepd.store.ledger import Act, actor_of, transaction_target
from scepd.store.limits import Limits
from scepd.store.lineage import (
    holder_of,
    require_free_key,
    require_free_subject,
    require_renewable,
    require_unblocked_key,
)
from scepd.store.outbox import Outbox
from scepd.store.own_certificates import OwnCertificates
from scepd.store.petition import Petitions, may_be_known
from scepd.store.recovery import Recoveries
from scepd.store.responders import Responders
from scepd.store.rows import serial_text, time_text, trail_text, transaction_of
from scepd.store.seals import Seals
from scepd.store.shards import Shards
from scepd.store.switches import Switches
from scepd.store.texts import Texts
from scepd.store.tickets import Tickets
from scepd.store.values import certificate_values, claim_details, claim_values, claimed, proceed_values


class Repository(
    Recoveries,
    Petitions,
    Responders,
    Shards,
    Leases,
    Tickets,
    Outbox,
    Texts,
    Adoptions,
    Clocks,
    Entities,
    Switches,
    Limits,
    Seals,
    OwnCertificates,
):
    """`ports.Store` over one connection, for one thread."""

    def claim(self, intent: Intent) -> tuple[Transaction, bool]:
        """Make an intent durable before anything is signed; return its transaction and whether this call made it.

        An existing one answers where the identity is known (the caller compares `wishes`), or where the challenge
        was taken by the same requester for the same wishes (C-207). Raises Reject(challenge_replayed or
        challenge_expired; key_refused; name_taken, key_taken, identity_limit; of a renewal: renewal_superseded, renewal_key_taken,
        renewal_signer_revoked or renewal_signer_expired), SerialTaken.
        """
        with self._act("claim") as now:
            known = self._answering(intent) if may_be_known(intent) else None
            number = self._add_transaction(intent, now) if known is None else None
            if number is None:
                return known or self._known(intent), False
            self._add_certificate(intent, number, now)
            if intent.identity.challenge_id is not None:
                reservation.reserve(self._connection, intent, number, now)
            tickets.use(self._connection, intent, number, now)
            entity_use.use(self._connection, intent, number, now)
            outbox.hold(self._connection, intent, number, now)
            self._note_claim(intent, number, now)
        return claimed(intent, number, self.owner, now), True

    def proceed(self, transaction: Transaction, intent: Intent) -> tuple[Transaction, bool]:
        """Move APPROVED → ISSUING by this owner with its intent; return the row as stored and whether this call moved it.

        What the approval was given for stays: identity, request and predecessor of the stored row. An approval that
        is over moves nothing. Raises as `claim` does, and leaves the transaction APPROVED then.
        """
        intent = attrs.evolve(
            intent,
            key=transaction.key,
            identity=transaction.identity,
            lineage=transaction.lineage,
            trail=intent.trail or transaction.trail,
        )
        with self._act("proceed") as now:
            moved = self._connection.change(
                sql.PROCEED_TRANSACTION, proceed_values(intent, transaction.id, self.owner, now)
            )
            if moved:
                self._add_certificate(intent, transaction.id, now)
                self._note_claim(intent, transaction.id, now)
            return self._stored(transaction), moved == 1

    def record(self, transaction: Transaction, certificate_der: bytes, trail: tuple[Step, ...]) -> Transaction:
        """Move ISSUING → ISSUED with its certificate; return the row as stored.

        Where another finished the transaction first, that one's row comes back unchanged; a certificate that was
        signed for a transaction given up meanwhile is kept beside its failed serial, so that it can be revoked.
        """
        with self._act("record") as now:
            if self._finish(transaction, TransactionState.ISSUED, trail, now):
                state = self._keep(Action.certificate_issued, transaction, certificate_der, now)
                if transaction.identity.challenge_id is not None:
                    reservation.spend(self._connection, transaction.identity.challenge_id, transaction.id)
                entity_use.generate(self._connection, transaction, now)
                outbox.release_issued(self._connection, transaction, certificate_der, now)
                return attrs.evolve(
                    transaction,
                    state=TransactionState.ISSUED,
                    certificate_der=certificate_der,
                    certificate_state=state,
                    trail=trail,
                    updated=now,
                )
            stored = self._stored(transaction)
            if stored.state is TransactionState.REJECTED and stored.certificate_der is None:
                self._keep(Action.certificate_unclaimed, transaction, certificate_der, now)
        return stored

    def abandon(self, transaction: Transaction, reason: Reason, detail: str, trail: tuple[Step, ...]) -> Transaction:
        """Move ISSUING → REJECTED: the serial fails and is never used again, the challenge is free again.

        Where another finished the transaction first, that one's row comes back unchanged.
        """
        with self._act("abandon") as now:
            if self._finish(transaction, TransactionState.REJECTED, trail, now, Rejected(reason, detail)):
                self._connection.change(sql.FAIL_CERTIFICATE, {"number": transaction.id})
                if transaction.identity.challenge_id is not None:
                    reservation.free(self._connection, transaction.identity.challenge_id, transaction.id)
                tickets.free(self._connection, transaction)
                entity_use.free(self._connection, transaction, now)
                outbox.release_rejected(self._connection, transaction, Rejected(reason, detail), now)
                details = {"reason": reason.value, "detail": detail, "serial": serial_text(transaction.serial)}
                target = transaction_target(transaction.id)
                self._note(Act(Action.transaction_rejected, actor_of(transaction.identity), target, details), now)
            return self._stored(transaction)

    def retire(self, transaction: Transaction) -> None:
        """Let a finished transaction answer no more, so that its identity can be used anew."""
        with self._act("retire") as now:
            if self._connection.change(sql.RETIRE, {"number": transaction.id, "now": time_text(now)}):
                self._note(Act(Action.transaction_retired, self.owner, transaction_target(transaction.id), {}), now)

    def unfinished_of_others(self, live_owners: Collection[str]) -> Sequence[Transaction]:
        """Return the ISSUING transactions of this node's slots that are not among `live_owners`, oldest first.

        Those of other nodes are left alone: only they know whether their slots live.
        """
        node = self.owner.rpartition("/")[0] + "/"
        unfinished = [
            transaction
            for transaction in map(transaction_of, self._connection.rows(sql.UNFINISHED_OF_ALL))
            if transaction.owner.startswith(node) and transaction.owner not in live_owners
        ]
        return sorted(unfinished, key=lambda transaction: transaction.id)

    def _add_transaction(self, intent: Intent, now: datetime) -> int | None:
        """Insert without looking first, since nearly every identity is new; None: there is one that answers for it."""
        try:
            return self._add(sql.ADD_TRANSACTION, claim_values(intent, self.owner, now))
        except Conflict:
            return None

    def _known(self, intent: Intent) -> Transaction:
        known = self.recall(intent.key)
        if known is None:  # the tables refused the row for another reason
            raise Unavailable("store: the transaction was refused", retry_after=1)
        return known

    def _add_certificate(self, intent: Intent, number: int, now: datetime) -> None:
        require_unblocked_key(self._connection, intent)
        require_renewable(self._connection, intent, now)
        if intent.unique_subject:
            require_free_subject(self._connection, intent, now)
        if intent.unique_key:
            require_free_key(self._connection, intent, now)
        if intent.most_active is not None:
            intent = attrs.evolve(intent, holder=holder_of(self._connection, intent, intent.most_active, now))
        try:
            self._connection.change(sql.ADD_CERTIFICATE, certificate_values(intent, number, now))
        except Conflict as error:
            raise SerialTaken(f"{intent.issuer} {serial_text(intent.serial)}") from error

    def _note_claim(self, intent: Intent, number: int, now: datetime) -> None:
        details = claim_details(intent, hashlib.sha256(intent.draft_der).hexdigest())
        self._note(Act(Action.transaction_claimed, actor_of(intent.identity), transaction_target(number), details), now)

    def _keep(
        self, action: Action, transaction: Transaction, certificate_der: bytes, now: datetime
    ) -> CertificateState:
        values = {"number": transaction.id, "new_der": certificate_der, "now": time_text(now)}
        row = self._connection.first(sql.KEEP_CERTIFICATE, values)
        if row is None:
            raise Unavailable(f"store: transaction {transaction.id} has no reserved serial")
        details = {
            "issuer": transaction.issuer,
            "serial": serial_text(transaction.serial),
            "certificate": hashlib.sha256(certificate_der).hexdigest(),
        }
        self._note(Act(action, actor_of(transaction.identity), transaction_target(transaction.id), details), now)
        return CertificateState(row[0])

    def _finish(
        self,
        transaction: Transaction,
        state: TransactionState,
        trail: tuple[Step, ...],
        now: datetime,
        rejection: Rejected | None = None,
    ) -> bool:
        values = {
            "number": transaction.id,
            "new_state": state.value,
            "new_trail": trail_text(trail),
            "now": time_text(now),
            "new_reason": rejection.reason.value if rejection else None,
            "new_detail": rejection.detail if rejection else "",
        }
        return self._connection.change(sql.FINISH_TRANSACTION, values) == 1

    def _stored(self, transaction: Transaction) -> Transaction:
        stored = self.transaction(transaction.id)
        if stored is None:
            raise Unavailable(f"store: transaction {transaction.id} is gone")
        return stored

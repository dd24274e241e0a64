"""What is read from the store: for the enrolment path and for administrators."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any

from sqlalchemy import Select, Table, func, select

from scepd.observe.audit import AuditRow, Head
from scepd.observe.trail import Entry
from scepd.records import (
    Belief,
    Certificate,
    CertificateState,
    Challenge,
    ChallengeState,
    Refusal,
    Transaction,
    TransactionKey,
    TransactionState,
)
from scepd.store import clock_rows, trail
from scepd.store import statements as sql
from scepd.store.audit_tables import AUDIT
from scepd.store.engines import StoreConnection
from scepd.store.lineage import KEY_BLOCKED, KEY_CERTIFIED, SUCCESSOR
from scepd.store.rows import (
    SELECT_AUDIT,
    SELECT_CERTIFICATE,
    SELECT_CHALLENGE,
    SELECT_REFUSAL,
    SELECT_TRANSACTION,
    audit_of,
    certificate_of,
    challenge_of,
    refusal_of,
    serial_text,
    time_text,
    transaction_of,
)
from scepd.store.schema import CERTIFICATE, CHALLENGE, REFUSAL, TRANSACTION

_PAGE = 500
_LONGEST_NUMBER = 19  # digits of a row number, and one


class Reader:
    """All reads; each statement sees the store as last committed. For one thread."""

    def __init__(self, connection: StoreConnection) -> None:
        """Read over that connection."""
        self._connection = connection

    @property
    def connection(self) -> StoreConnection:
        """The connection, for the self-check."""
        return self._connection

    def recall(self, key: TransactionKey, *, case_blind: bool = False) -> Transaction | None:
        """Return the transaction that answers for that identity.

        `case_blind` (for polls): where no transactionID matches exactly, the newest that differs in case only.
        """
        row = self._connection.first(sql.RECALL, _identity(key))
        if row is None and case_blind:
            row = self._connection.first(sql.RECALL_CASE_BLIND, _identity(key))
        return transaction_of(row) if row is not None else None

    def transaction(self, number: int) -> Transaction | None:
        """Return one transaction by its row number."""
        row = self._connection.first(sql.TRANSACTION_BY_NUMBER, {"number": number})
        return transaction_of(row) if row is not None else None

    def find_challenge(self, profile: str, digest: bytes) -> Challenge | None:
        """Return the one-time challenge of that profile with that keyed digest, whatever its state."""
        row = self._connection.first(sql.FIND_CHALLENGE, {"profile": profile, "digest": digest})
        return challenge_of(row) if row is not None else None

    def challenge(self, number: int) -> Challenge | None:
        """Return one challenge by its row number."""
        row = self._connection.first(sql.CHALLENGE_BY_NUMBER, {"number": number})
        return challenge_of(row) if row is not None else None

    def certificate(self, issuer: str, serial: int) -> Certificate | None:
        """Return a certificate row."""
        row = self._connection.first(sql.CERTIFICATE_BY_SERIAL, {"issuer": issuer, "serial": serial_text(serial)})
        return certificate_of(row) if row is not None else None

    def successor(self, certificate: int) -> Certificate | None:
        """Return the certificate (reserved, issued or revoked) that renews the certificate of that row number."""
        row = self._connection.first(SUCCESSOR, {"number": certificate})
        return certificate_of(row) if row is not None else None

    def is_key_certified(self, public_key: bytes, now: datetime, *, besides: int) -> bool:
        """Return whether a live certificate has the key: one that is reserved, issued or on hold, and not over.

        The certificate of row `besides` and those that it renewed do not count.
        """
        values = {"public_key": public_key, "now": time_text(now), "besides": besides}
        return self._connection.first(KEY_CERTIFIED, values) is not None

    def is_key_blocked(self, public_key: bytes) -> bool:
        """Return whether a certificate of the key was revoked for what forbids it the key (threats S-48), or is on hold."""
        return self._connection.first(KEY_BLOCKED, {"public_key": public_key}) is not None

    def waiting_challenges(self, profile: str, now: datetime, limit: int) -> Sequence[Challenge]:
        """Return free, unexpired challenges that have a sealed text, newest first."""
        values = {"profile": profile, "now": time_text(now), "most": limit}
        return [challenge_of(row) for row in self._connection.rows(sql.WAITING_CHALLENGES, values)]

    def generation(self) -> int:
        """Return the number that rises with each decision, revocation and CRL: what is kept in memory may be old."""
        row = self._connection.first(sql.GENERATION)
        return int(row[0]) if row is not None else 0

    def unfinished(self, owner: str) -> Sequence[Transaction]:
        """Return the ISSUING transactions claimed by that owner, oldest first."""
        return [transaction_of(row) for row in self._connection.rows(sql.UNFINISHED, {"claimant": owner})]

    def transactions(
        self,
        *,
        profile: str | None = None,
        state: TransactionState | None = None,
        before: int | None = None,
        limit: int = 100,
    ) -> Sequence[Transaction]:
        """Return transactions, newest first; `before` is the last row number of the page before."""
        query = _page(SELECT_TRANSACTION, TRANSACTION, profile=profile, state=state, before=before).limit(limit)
        return [transaction_of(row) for row in self._connection.query(query)]

    def requests(self, name: str, newest: int) -> Sequence[Transaction]:
        """Return transactions by number, or by transactionID or request id among so many newest; newest first."""
        asked = (TRANSACTION.c.transaction_id == name) | (TRANSACTION.c.request_id == name)
        last = select(func.max(TRANSACTION.c.id)).scalar_subquery()
        wanted = asked & (TRANSACTION.c.id > last - newest)
        if name.isascii() and name.isdigit() and len(name) < _LONGEST_NUMBER:
            wanted |= TRANSACTION.c.id == int(name)
        query = SELECT_TRANSACTION.where(wanted).order_by(TRANSACTION.c.id.desc()).limit(_PAGE)
        return [transaction_of(row) for row in self._connection.query(query)]

    def certificates(
        self,
        *,
        serial: int | None = None,
        profile: str | None = None,
        subject: str | None = None,
        state: CertificateState | None = None,
        limit: int = 100,
        offset: int = 0,
    ) -> Sequence[Certificate]:
        """Return certificates, newest first: by serial (any issuer), profile, part of the subject (any case), state."""
        query = SELECT_CERTIFICATE.order_by(CERTIFICATE.c.id.desc()).limit(limit).offset(offset)
        if serial is not None:
            query = query.where(CERTIFICATE.c.serial == serial_text(serial))
        if profile is not None:
            query = query.where(CERTIFICATE.c.profile == profile)
        if subject is not None:
            query = query.where(CERTIFICATE.c.subject.icontains(subject, autoescape=True))
        if state is not None:
            query = query.where(CERTIFICATE.c.state == state.value)
        return [certificate_of(row) for row in self._connection.query(query)]

    def challenges(
        self,
        *,
        profile: str | None = None,
        state: ChallengeState | None = None,
        before: int | None = None,
        limit: int = 100,
    ) -> Sequence[Challenge]:
        """Return one-time challenges, newest first; `before` is the last row number of the page before."""
        query = _page(SELECT_CHALLENGE, CHALLENGE, profile=profile, state=state, before=before).limit(limit)
        return [challenge_of(row) for row in self._connection.query(query)]

    def refusals(self, *, profile: str | None = None, limit: int = 100) -> Sequence[Refusal]:
        """Return what is kept of refused requests, newest first."""
        query = SELECT_REFUSAL.order_by(REFUSAL.c.id.desc()).limit(limit)
        if profile is not None:
            query = query.where(REFUSAL.c.profile == profile)
        return [refusal_of(row) for row in self._connection.query(query)]

    def audit(
        self, *, target: str | None = None, action: str | None = None, limit: int = 100
    ) -> Sequence[AuditRow]:
        """Return audit rows, newest first; `target` names one thing ("transaction 7", "challenge 3")."""
        query = SELECT_AUDIT.order_by(AUDIT.c.at.desc(), AUDIT.c.owner, AUDIT.c.sequence.desc()).limit(limit)
        if target is not None:
            query = query.where(AUDIT.c.target == target)
        if action is not None:
            query = query.where(AUDIT.c.action == action)
        return [audit_of(row) for row in self._connection.query(query)]

    def audit_chains(self) -> Iterator[AuditRow]:
        """Yield every audit row by owner and sequence, for `observe.audit.verify`."""
        owner, sequence = "", 0
        while True:
            later = (AUDIT.c.owner > owner) | ((AUDIT.c.owner == owner) & (AUDIT.c.sequence > sequence))
            page = self._connection.query(sql.AUDIT_IN_ORDER.where(later).limit(_PAGE))
            if not page:
                return
            yield from map(audit_of, page)
            owner, sequence = page[-1][:2]

    def audit_row(self, owner: str, sequence: int) -> AuditRow | None:
        """Return one row of a chain."""
        found = self._connection.query(SELECT_AUDIT.where(AUDIT.c.owner == owner, AUDIT.c.sequence == sequence))
        return audit_of(found[0]) if found else None

    def audit_trail(self) -> Iterator[Entry]:
        """Yield every audit row and seal in the order of verifying them, for `observe.trail`."""
        return trail.trail(self._connection)

    def audit_entries(self) -> int:
        """Return how many that will be."""
        return trail.count_entries(self._connection)

    def audit_heads(self) -> dict[str, Head]:
        """Return the noted end of each chain."""
        return trail.heads(self._connection)

    def newest_act(self) -> datetime | None:
        """Return when the last act of all that are on record was done; not of those that `accept_clock` let pass."""
        acts = clock_rows.last_acts(self._connection).values()
        return max((at for _sequence, at in acts), default=None)

    def clock_belief(self, node: str) -> Belief | None:
        """Return what that node's clock is held against; None where it was never started, or by a former release."""
        return clock_rows.read_belief(self._connection, node)

    def snapshot(self) -> AbstractContextManager[None]:
        """Let all reads of a `with` block see one state of the store."""
        return self._connection.snapshot()


def _identity(key: TransactionKey) -> dict[str, Any]:
    return {"profile": key.profile, "transaction_id": key.transaction_id, "requester": key.requester}


def _page(
    query: Select[Any],
    table: Table,
    *,
    profile: str | None,
    state: TransactionState | ChallengeState | None,
    before: int | None,
) -> Select[Any]:
    """Return the rows of a profile in a state, newest first, from below a row number on."""
    query = query.order_by(table.c.id.desc())
    if profile is not None:
        query = query.where(table.c.profile == profile)
    if state is not None:
        query = query.where(sql.is_in(table.c.state, state))
    return query if before is None else query.where(table.c.id < before)

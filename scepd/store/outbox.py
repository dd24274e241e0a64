"""What outside services have still to be told: written with the outcome, kept until told or given up.

A claim holds one row for each notifier of the profile; the end of the transaction fills it in and lets it go. So a
crash between the two loses no notice, and whoever records a certificate needs not know who is to be told.
"""

import base64
import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import attrs
from sqlalchemy import bindparam, delete, func, insert, literal_column, select, update
from sqlalchemy.dialects.sqlite import insert as insert_or_not

from scepd.records import Intent, Notice, Petition, Posting, Rejected, Transaction, to_json
from scepd.store.engines import StoreConnection
from scepd.store.outside_tables import OUTBOX, TOLD
from scepd.store.rows import time_text
from scepd.store.writer import Writer

_O = OUTBOX.c
_HELD, _WAITING, _GIVEN_UP = "held", "waiting", "given_up"  # the states of a row
_ERROR = 500  # characters of a trouble that are kept
_KEPT = timedelta(days=30)  # how long an operator can look at what was given up
_MOST_LOOSE = 10_000  # notices without a transaction, which cost whoever causes them nothing
_AGAIN = timedelta(hours=1)  # from when on the same is told once more
_TOLD_KEPT = 10_000  # what is known to have been told
_LEFT_OUT = ("number", "csr_der")

_ADD = insert(OUTBOX)
# A literal, not a bound value: only so is it known that the partial index serves.
_is_held = _O.state == literal_column("'held'")
_RELEASE = (
    update(OUTBOX)
    .where(_O.transaction == bindparam("of"), _is_held)
    .values(state=_WAITING, body=bindparam("new_body"), due=bindparam("now"))
)
_HOLDS = select(_O.id).where(_O.transaction == bindparam("of"), _is_held).limit(1)
_DUE = (
    select(_O.id, _O.kind, _O.body, _O.enclosure, _O.attempts)
    .where(_O.state == bindparam("in_state"), _O.due <= bindparam("now"))
    .order_by(_O.due, _O.id)
    .limit(bindparam("most"))
)
_COUNT_LOOSE = select(func.count()).where(_O.state == _WAITING, _O.transaction.is_(None))
_DONE = delete(OUTBOX).where(_O.id == bindparam("number"))
_PUT_OFF = (
    update(OUTBOX)
    .where(_O.id == bindparam("number"))
    .values(
        state=bindparam("new_state"),
        due=bindparam("new_due"),
        attempts=_O.attempts + 1,
        last_error=bindparam("error"),
    )
)
_TELL_ONCE = insert_or_not(TOLD).on_conflict_do_nothing()
_FORGET_TOLD = delete(TOLD).where(TOLD.c.at <= bindparam("before"))
_NEWEST_TOLD = select(func.max(TOLD.c.id))
_TRIM_TOLD = delete(TOLD).where(TOLD.c.id <= bindparam("last"))
_SWEEP = delete(OUTBOX).where(_O.state == _GIVEN_UP, _O.due <= bindparam("before"))


@attrs.frozen
class Told:
    """What came of telling one row: delivered (`error` empty), to be told again at `due`, or given up (no `due`)."""

    number: int
    error: str = ""
    due: datetime | None = None


def hold(connection: StoreConnection, asked: Intent | Petition, transaction: int, now: datetime) -> None:
    """Keep a place for each notice of how a transaction will end, in the write transaction of its claim."""
    for kind in asked.notify:
        row = _row(kind, asked.key.profile, now, enclosure=asked.enclosure)
        connection.change(_ADD, {**row, "transaction": transaction, "state": _HELD})


def announce_pending(connection: StoreConnection, petition: Petition, transaction: int, now: datetime) -> None:
    """Let everybody know that a request waits for a person, and keep the places for how it ends."""
    hold(connection, petition, transaction, now)
    notice = Notice(
        profile=petition.key.profile,
        transaction_id=petition.key.transaction_id,
        request_id=petition.request_id,
        outcome="pending",
        subject=petition.subject,
        identity_method=petition.identity.method,
        identity_name=petition.identity.name,
    )
    for kind in petition.notify:
        _post(connection, Posting(kind, notice, petition.enclosure), now, transaction)


def release_issued(connection: StoreConnection, transaction: Transaction, certificate_der: bytes, now: datetime) -> None:
    """Let the notices of a certificate go, in the write transaction that records it."""
    if not _is_awaited(connection, transaction.id):  # mostly nobody is told: writing a notice costs ten times the look
        return
    notice = attrs.evolve(
        _notice(transaction, "issued"),
        serial=transaction.serial,
        not_after=transaction.not_after,
        certificate_der=certificate_der,
    )
    _release(connection, transaction.id, notice, now)


def release_rejected(connection: StoreConnection, transaction: Transaction, outcome: Rejected, now: datetime) -> None:
    """Let the notices of a transaction that was given up go."""
    _release(connection, transaction.id, attrs.evolve(_notice(transaction, "rejected"), reason=outcome.reason.value), now)


class Outbox(Writer):
    """The acts about the outbox; they leave no audit row, since none of them changes what was decided."""

    def add_notices(self, postings: Sequence[Posting]) -> int:
        """Keep notices of what never became a transaction, such as a refusal of somebody known.

        So many may wait to be told; returns how many are beyond that, and not kept. What is to be told `once` is left
        out where any writer kept it within the hour.
        """
        if not postings:
            return 0
        dropped = 0
        with self._act("add_notices") as now:
            self._connection.change(_FORGET_TOLD, {"before": time_text(now - _AGAIN)})
            waiting = self._connection.first(_COUNT_LOOSE)
            room = _MOST_LOOSE - (0 if waiting is None else waiting[0])
            for posting in postings:
                if room <= 0:
                    dropped += 1
                elif self._is_news(posting, now):
                    _post(self._connection, posting, now, None)
                    room -= 1
            newest = self._connection.first(_NEWEST_TOLD)
            last = ((newest and newest[0]) or 0) - _TOLD_KEPT
            self._connection.change(_TRIM_TOLD, {"last": last})
        return dropped

    def due_notices(self, limit: int) -> Sequence[Posting]:
        """Return what is to be told now, the longest due first; each notice has its row's number."""
        return self._postings(_WAITING, self._clock.now(), limit)

    def given_up_notices(self, limit: int = 100) -> Sequence[Posting]:
        """Return what nobody could be told, for an operator to look at."""
        return self._postings(_GIVEN_UP, datetime.max.replace(tzinfo=self._clock.now().tzinfo), limit)

    def settle_notices(self, told: Sequence[Told]) -> None:
        """Note what came of telling, in one write transaction."""
        if not told:
            return
        with self._act("settle_notices") as now:
            for each in told:
                if not each.error:
                    self._connection.change(_DONE, {"number": each.number})
                    continue
                values = {
                    "number": each.number,
                    "new_state": _WAITING if each.due else _GIVEN_UP,
                    "new_due": time_text(each.due or now),
                    "error": each.error[:_ERROR],
                }
                self._connection.change(_PUT_OFF, values)

    def sweep_notices(self) -> int:
        """Drop what was given up long ago; return how many rows."""
        with self._act("sweep_notices") as now:
            return self._connection.change(_SWEEP, {"before": time_text(now - _KEPT)})

    def _is_news(self, posting: Posting, now: datetime) -> bool:
        if not posting.once:
            return True
        values = {"kind": posting.kind, "digest": posting.once, "at": time_text(now)}
        return self._connection.change(_TELL_ONCE, values) == 1

    def _postings(self, state: str, until: datetime, limit: int) -> Sequence[Posting]:
        values = {"in_state": state, "now": time_text(until), "most": limit}
        rows = self._connection.rows(_DUE, values)
        return [
            Posting(kind, read_notice(body, number), enclosure, attempts)
            for number, kind, body, enclosure, attempts in rows
        ]


def write_notice(notice: Notice) -> str:
    """Return a notice as stored and sent: canonical JSON, times ISO 8601, the certificate base64 DER, the serial hex."""
    fields: dict[str, Any] = attrs.asdict(notice, recurse=False)
    for name in _LEFT_OUT:
        del fields[name]
    fields["serial"] = None if notice.serial is None else f"{notice.serial:x}"
    fields["not_after"] = None if notice.not_after is None else notice.not_after.isoformat()
    der = notice.certificate_der
    fields["certificate_der"] = None if der is None else base64.b64encode(der).decode()
    return to_json(fields)


def read_notice(text: str, number: int) -> Notice:
    """Return the notice of a row."""
    fields = json.loads(text)
    for name, read in (("serial", _hex), ("not_after", datetime.fromisoformat), ("certificate_der", base64.b64decode)):
        if fields[name] is not None:
            fields[name] = read(fields[name])
    return Notice(**fields, number=number)


def _hex(text: str) -> int:
    return int(text, 16)


def _notice(transaction: Transaction, outcome: str) -> Notice:
    return Notice(
        profile=transaction.key.profile,
        transaction_id=transaction.key.transaction_id,
        request_id=transaction.request_id,
        outcome=outcome,
        subject=transaction.subject,
        identity_method=transaction.identity.method,
        identity_name=transaction.identity.name,
    )


def _is_awaited(connection: StoreConnection, transaction: int) -> bool:
    return connection.first(_HOLDS, {"of": transaction}) is not None


def _release(connection: StoreConnection, transaction: int, notice: Notice, now: datetime) -> None:
    values = {"of": transaction, "new_body": write_notice(notice), "now": time_text(now)}
    connection.change(_RELEASE, values)


def _post(connection: StoreConnection, posting: Posting, now: datetime, transaction: int | None) -> None:
    row = _row(posting.kind, posting.notice.profile, now, enclosure=posting.enclosure)
    values = {"transaction": transaction, "state": _WAITING, "body": write_notice(posting.notice)}
    connection.change(_ADD, {**row, **values})


def _row(kind: str, profile: str, now: datetime, *, enclosure: bytes | None) -> dict[str, Any]:
    moment = time_text(now)
    return {
        "kind": kind,
        "profile": profile,
        "transaction": None,
        "state": _WAITING,
        "body": "",
        "enclosure": enclosure,
        "due": moment,
        "attempts": 0,
        "created": moment,
        "last_error": "",
    }

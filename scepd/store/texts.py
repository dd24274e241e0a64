"""Forgetting the texts of challenges, which are kept sealed where messages are encrypted with them (RFC 8894 section 3.1)."""

from datetime import datetime, timedelta

from sqlalchemy import and_, bindparam, exists, null, or_, select, update

from scepd.records import ChallengeState
from scepd.store import statements as sql
from scepd.store.rows import time_text
from scepd.store.schema import CHALLENGE, CHALLENGE_USE, TRANSACTION
from scepd.store.writer import Writer

_H, _U, _T = CHALLENGE.c, CHALLENGE_USE.c, TRANSACTION.c
_KEPT = timedelta(days=30)  # after the last use: the reply may be lost, and the device asks again
_BATCH = 100  # forgotten in one write transaction, since enrolments wait meanwhile

_reserved = exists().where(_U.challenge == _H.id, _U.state == sql.RESERVED)
_spent_lately = exists().where(
    _U.challenge == _H.id, _U.state == sql.SPENT, _T.id == _U.transaction, _T.updated > bindparam("since")
)
_is_over = or_(
    sql.is_in(_H.state, ChallengeState.CANCELLED),
    and_(sql.is_in(_H.state, ChallengeState.SPENT), ~_spent_lately),
    and_(sql.is_in(_H.state, ChallengeState.FREE), _H.expires <= bindparam("now"), ~_spent_lately),
)
# A request that waits with it will be answered under its text, even where it was cancelled meanwhile.
_USELESS = select(_H.id).where(_H.sealed.is_not(None), _is_over, ~_reserved).limit(bindparam("most"))
_FORGET = update(CHALLENGE).where(_H.id == bindparam("number"), _is_over, ~_reserved).values(sealed=null())


class Texts(Writer):
    """What housekeeping does about the texts of challenges; it leaves no audit row."""

    def forget_texts(self, now: datetime, limit: int = 10_000) -> int:
        """Drop the texts of challenges that serve no more, at most so many; return how many.

        Those are: cancelled; expired and free; spent, all for longer than thirty days.
        """
        terms = {"now": time_text(now), "since": time_text(now - _KEPT)}
        rows = self._connection.rows(_USELESS, {**terms, "most": limit})
        numbers = [row[0] for row in rows]
        forgotten = 0
        for start in range(0, len(numbers), _BATCH):
            with self._act("forget_texts"):
                for number in numbers[start : start + _BATCH]:
                    forgotten += self._connection.change(_FORGET, {**terms, "number": number})
        return forgotten

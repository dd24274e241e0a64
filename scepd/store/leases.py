"""Leases: a duty that only one process of all may do at a time has one holder, who must renew it."""

from datetime import datetime, timedelta

from sqlalchemy import bindparam, delete, insert, not_, or_, select, update

from scepd.store.engines import Conflict
from scepd.store.rows import time_text
from scepd.store.schema import LEASE
from scepd.store.writer import Writer

_L = LEASE.c
# A lease that ends later than any lease may was taken while the clock was wrong: it binds nobody.
_is_free = or_(_L.until <= bindparam("now"), _L.until > bindparam("horizon"))
_of_others = (_L.name == bindparam("lease"), _L.holder != bindparam("taker"), not_(_is_free))

_HELD = select(_L.holder).where(*_of_others)
_TAKE = (
    update(LEASE)
    .where(_L.name == bindparam("lease"), or_(_L.holder == bindparam("taker"), _is_free))
    .values(holder=bindparam("taker"), until=bindparam("new_until"))
)
_ADD = insert(LEASE)
_DROP = delete(LEASE).where(_L.name == bindparam("lease"), _L.holder == bindparam("taker"))


_LONGEST = timedelta(hours=1)


def _values(name: str, holder: str, now: datetime) -> dict[str, str]:
    return {"lease": name, "taker": holder, "now": time_text(now), "horizon": time_text(now + _LONGEST)}


class Leases(Writer):
    """The acts about leases; they leave no audit row."""

    def take_lease(self, name: str, holder: str, until: datetime) -> bool:
        """Take or prolong a lease; return whether it is the holder's until then. Whoever finds it held writes nothing."""
        values = _values(name, holder, self._clock.now())
        if self._connection.first(_HELD, values) is not None:
            return False
        with self._act("take_lease") as now:
            values = {**_values(name, holder, now), "new_until": time_text(until)}
            if self._connection.change(_TAKE, values):
                return True
            try:
                self._connection.change(_ADD, {"name": name, "holder": holder, "until": time_text(until)})
            except Conflict:  # another's since the look
                return False
            return True

    def drop_lease(self, name: str, holder: str) -> None:
        """Give a lease back before its time; another's stays."""
        with self._act("drop_lease"):
            self._connection.change(_DROP, {"lease": name, "taker": holder})

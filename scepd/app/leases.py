"""Leases: which process does a duty that only one may do, of all workers of all nodes."""

from datetime import UTC, datetime, timedelta

import attrs

from scepd.ports import Clock
from scepd.store.repository import Repository

_TERM = timedelta(seconds=20)
_RENEWED = timedelta(seconds=8)  # so often the holder writes
_LONG_AGO = datetime.min.replace(tzinfo=UTC)


@attrs.define
class Lease:
    """One lease as one process sees it, in the thread of its store connection.

    The holder keeps it for as long as it lives, so that what it remembers of the duty stays of use. A dead holder's
    lease is another's within `_TERM`.
    """

    name: str
    holder: str
    clock: Clock
    _held: bool = attrs.field(default=False, init=False)
    _asked: datetime = attrs.field(default=_LONG_AGO, init=False)

    def take(self, repository: Repository) -> bool:
        """Return whether the duty is this process's, for some seconds at least."""
        now = self.clock.now()
        if self._held and abs(now - self._asked) < _RENEWED:
            return True
        self._asked = now
        self._held = repository.take_lease(self.name, self.holder, now + _TERM)
        return self._held

    def drop(self, repository: Repository) -> None:
        """Let another have it."""
        if self._held:
            self._held = False
            repository.drop_lease(self.name, self.holder)

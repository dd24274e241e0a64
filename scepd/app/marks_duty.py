"""The duty of keeping the high-water marks of a node as high as its store, and of noticing a store that is behind them."""

import time
from collections.abc import Callable

import attrs

from scepd.app.clerk import Clerk
from scepd.app.clock_watch import ClockWatch
from scepd.app.leases import Lease
from scepd.store.marks import MarkFile
from scepd.store.repository import Repository

_EVERY = 5.0  # seconds: an older store that was restored within them passes for the present one


@attrs.define(kw_only=True)
class MarksDuty:
    """Raises the marks every few seconds; each CRL raises its own before it is published."""

    marks: MarkFile
    node: str
    lease: Lease
    clerk: Clerk
    watch: ClockWatch | None = None
    monotonic: Callable[[], float] = time.monotonic
    _due: float = attrs.field(default=0.0, init=False)

    async def attend(self) -> None:
        """Raise them where it is time to."""
        if self.monotonic() < self._due:
            return
        self._due = self.monotonic() + _EVERY
        await self.clerk.run(self._raise)

    def _raise(self, repository: Repository) -> None:
        if self.lease.take(repository):
            repository.settle(self.marks, self.node)
            step = None if self.watch is None else self.watch.step(repository.clock_belief(self.node))
            if step is not None:
                repository.follow_clock(self.node, step)

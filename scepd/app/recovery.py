"""After a death: finish the transactions that a worker had begun to issue (their drafts are in the store)."""

import time
from collections.abc import Callable
from typing import Protocol, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from scepd.app.belongings import Belongings, owner_name
from scepd.config.settings import Settings
from scepd.enroll.recall import recover
from scepd.hsm.faults import TokenFault
from scepd.refusal import Unavailable
from scepd.store.adoption import adopted_owner

T = TypeVar("T")

_LOOK = 10.0  # seconds between two looks for what a person had this node adopt


class RunsInLane(Protocol):
    """The gateway, as seen from here."""

    def run(self, function: Callable[[Belongings], T]) -> Deferred[T]:
        """Run the function in a free lane."""


class Estates:
    """The transactions of dead workers that this worker has to finish; tried again until it is done."""

    log = Logger()

    def __init__(self, settings: Settings, lanes: RunsInLane, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Owe nothing yet."""
        self._monotonic = monotonic
        self._next_look: float | None = None
        self._settings = settings
        self._lanes = lanes
        self._prefixes: list[str] = []
        self._strays = False
        self._busy = False

    def take(self, slot: int) -> None:
        """Take over what the former workers of that slot left."""
        self._prefixes.append(f"{self._settings.appliance.node}/{slot}.")

    def take_strays(self) -> None:
        """Take over what slots and lanes left that the configuration has no more."""
        self._strays = True

    def watch_adopted(self) -> None:
        """Look from now on, every few seconds, for what this node has adopted from one that is gone."""
        self._next_look = self._monotonic()

    def _look(self) -> None:
        if self._next_look is not None and self._monotonic() >= self._next_look:
            self._next_look = self._monotonic() + _LOOK
            self._prefixes.append(adopted_owner(self._settings.appliance.node))

    async def settle(self) -> None:
        """Finish what is owed, in one lane; on a fault of token or store it stays owed."""
        self._look()
        if self._busy or not (self._prefixes or self._strays):
            return
        self._busy = True
        prefixes, strays = list(self._prefixes), self._strays
        try:
            count = await self._lanes.run(lambda lane: self._finish(lane, prefixes, strays=strays))
        except (Unavailable, TokenFault):
            return
        finally:
            self._busy = False
        self._prefixes = [prefix for prefix in self._prefixes if prefix not in prefixes]
        self._strays = self._strays and not strays
        if count:
            self.log.info(event="transactions_recovered", count=count)

    def _finish(self, lane: Belongings, prefixes: list[str], *, strays: bool) -> int:
        # Another lane may be at work on one of these: the draft is the same, and the store keeps the first result.
        owners = {transaction.owner for transaction in lane.repository.unfinished_of_others(())}
        live = self._live_owners()
        chosen = {owner for owner in owners if owner.startswith(tuple(prefixes)) or (strays and owner not in live)}
        return sum(recover(lane, owner) for owner in sorted(chosen))

    def _live_owners(self) -> frozenset[str]:
        settings = self._settings
        slots, lanes = range(max(1, settings.workers)), range(settings.hsm.lanes)
        return frozenset(owner_name(settings, slot, lane) for slot in slots for lane in lanes)

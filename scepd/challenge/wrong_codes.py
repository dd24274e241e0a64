"""Wrong codes of entities: by network, so that a stranger locks out its own alone, and by entity for the store (threats S-30)."""

import threading
from collections import OrderedDict
from collections.abc import Mapping
from datetime import datetime, timedelta

import attrs

from scepd.records import Entity

FREE = 10  # wrong codes of a network for an entity before it has to wait
_FIRST_WAIT, _LONGEST_WAIT = timedelta(minutes=1), timedelta(hours=4)
_FORGOTTEN = timedelta(days=1)  # after the last wrong code

_Guesser = tuple[int, bytes | None, str]  # entity, digest of its code (another code begins anew), network


@attrs.frozen
class _Guesses:
    wrong: int
    last: datetime

    def is_locked(self, now: datetime) -> bool:
        if self.wrong < FREE:
            return False
        doubled = min(self.wrong - FREE, 16)
        return now < self.last + min(_FIRST_WAIT * (1 << doubled), _LONGEST_WAIT)


class WrongCodes:
    """Wrong codes of entities whose code a person chose; one for all lanes of a worker.

    By network they are kept in memory, the latest `networks` pairs of an entity and a network. By entity they wait to
    be written in one batch, so that nothing is fsynced on a guesser's packet; what waits counts already.
    """

    def __init__(self, most: int = 1_000, networks: int = 10_000) -> None:
        """Let the wrong codes of `most` entities wait; of more the store is not told in that batch."""
        self._most = most
        self._networks = networks
        self._waiting: dict[int, int] = {}
        self._guessers: OrderedDict[_Guesser, _Guesses] = OrderedDict()
        self._lock = threading.Lock()

    def note(self, entity: Entity, network: str, now: datetime) -> None:
        """Count a wrong code."""
        guesser = (entity.id, entity.digest, network)
        with self._lock:
            if entity.id in self._waiting or len(self._waiting) < self._most:
                self._waiting[entity.id] = self._waiting.get(entity.id, 0) + 1
            before = self._guessers.get(guesser)
            counted = before.wrong if before is not None and now < before.last + _FORGOTTEN else 0
            self._guessers[guesser] = _Guesses(counted + 1, now)
            self._guessers.move_to_end(guesser)
            if len(self._guessers) > self._networks:
                self._guessers.popitem(last=False)

    def is_locked(self, entity: Entity, network: str, now: datetime) -> bool:
        """Return whether the network has to wait before its next try at the entity."""
        guesses = self._guessers.get((entity.id, entity.digest, network))
        return guesses is not None and guesses.is_locked(now)

    def waiting(self, entity: int) -> int:
        """Return how many the store does not know of yet."""
        return self._waiting.get(entity, 0)

    def drain(self) -> Mapping[int, int]:
        """Return what waits, for `store.entities.count_wrong_codes`, and keep it no longer."""
        with self._lock:
            waiting, self._waiting = self._waiting, {}
        return waiting

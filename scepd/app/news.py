"""News: each process looks four times a second whether anything was changed by another, and reads what it holds of it."""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from scepd.app.clerk import Clerk
from scepd.app.halt import Halt
from scepd.app.responder_ends import ResponderEnds
from scepd.ca.shards import OpenShards
from scepd.ca.shelf import CrlShelf
from scepd.profile.switches import Switches
from scepd.records import Belief, Crl, crl_issuer, crl_name, crl_shard
from scepd.store.read_only import Standstill
from scepd.store.repository import Repository

_INTERVAL = 0.25  # seconds


@attrs.frozen
class Reading:
    """What a new generation of the store says: the newest CRL of each issuer, why it is read-only, its last act.

    `belief` is what the clock is held against.
    """

    generation: int
    crls: tuple[Crl, ...]
    standstill: Standstill | None
    newest_act: datetime | None
    belief: Belief | None


@attrs.frozen
class Audience:
    """Whom the news concern: `renew` takes each CRL, `switches` which profiles are off, `halt` whether all stands still.

    `hear` is told each generation, before anything else is read, in the clerk's thread; `shards` which CRL new
    certificates name: never one that is not there yet. `node` is this one. `ends` reads when the certificates of the OCSP keys end.
    """

    renew: Callable[[Crl], None]
    switches: Switches
    halt: Halt
    hear: Callable[[int], None] = lambda _generation: None
    shards: OpenShards = attrs.field(factory=OpenShards)
    node: str = ""
    ends: ResponderEnds = attrs.field(factory=ResponderEnds)


class News:
    """Reads the store's generation; where it moved, what it holds of it, and tells its audience."""

    log = Logger()

    def __init__(
        self, reactor: Any, clerk: Clerk, shelf: CrlShelf, issuers: Iterable[str], audience: Audience
    ) -> None:
        """Read through that clerk; `issuers` are those that publish CRLs."""
        self._clerk = clerk
        self._shelf = shelf
        self._issuers = tuple(issuers)
        self._audience = audience
        self._first: Deferred[None] = Deferred()
        self._generation = -1
        self._trouble = ""
        self._beat = LoopingCall(self._read)
        self._beat.clock = reactor

    def start(self) -> None:
        """Read now and from now on."""
        self._beat.start(_INTERVAL)

    def heard(self) -> Deferred[None]:
        """Return what fires when the store was read, or could not be, for the first time; for one who waits."""
        return self._first

    def stop(self) -> None:
        """Read no more."""
        if self._beat.running:
            self._beat.stop()

    def _read(self) -> Deferred[None]:
        return self._clerk.run(self._look).addCallbacks(self._tell, self._fail).addBoth(self._let_go)

    def _let_go(self, _outcome: object) -> None:
        if not self._first.called:
            self._first.callback(None)

    def _look(self, repository: Repository) -> Reading | None:
        generation = repository.generation()
        if generation == self._generation:
            return None
        self._audience.hear(generation)
        self._audience.switches.replace(frozenset(repository.disabled_profiles()))
        self._audience.ends.read(repository)
        standstill = repository.standstill()
        names = self._names(repository, is_behind=standstill is not None)
        found = (self._shelf.latest(repository, name) for name in names)
        crls = tuple(crl for crl in found if crl is not None)
        belief = repository.clock_belief(self._audience.node)
        return Reading(generation, crls, standstill, repository.newest_act(), belief)

    def _names(self, repository: Repository, *, is_behind: bool) -> list[str]:
        """Return the names of the CRLs, oldest shard first; a store that is behind may have forgotten shards."""
        names = []
        for issuer in self._issuers:
            forgotten = self._shelf.published(issuer) if is_behind else []
            names += [crl_name(issuer, shard) for shard in sorted({*repository.crl_shards(issuer), *forgotten})]
        return names

    def _tell(self, reading: Reading | None) -> None:
        self._trouble = ""
        if reading is not None:
            self._take(reading)
        self._audience.halt.look()

    def _take(self, reading: Reading) -> None:
        self._generation = reading.generation
        for crl in reading.crls:
            self._audience.renew(crl)
        self._audience.shards.replace({crl_issuer(crl.issuer): crl_shard(crl.issuer) for crl in reading.crls})
        if self._audience.halt.watch is not None:
            self._audience.halt.watch.learn(reading.newest_act, reading.belief)
        self._audience.halt.hear(reading.standstill)

    def _fail(self, failure: Failure) -> None:
        """Log what is in the way once, not four times a second."""
        trouble = repr(failure.value)
        if trouble != self._trouble:
            self._trouble = trouble
            self.log.failure("the store cannot be read", failure, event="news_lost")

"""News: each process looks four times a second whether anything was changed by another, and reads what it holds of it."""

from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from scepd.app.clerk import Clerk
from scepd.ca.shelf import CrlShelf
from scepd.profile.switches import Switches
from scepd.records import Crl
from scepd.store.repository import Repository

_INTERVAL = 0.25  # seconds

# The store's generation, and the newest CRL of each issuer that has one.
Reading = tuple[int, list[Crl]]


class News:
    """Reads the store's generation; where it moved, the newest CRLs, and tells `renew` of each."""

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        clerk: Clerk,
        shelf: CrlShelf,
        issuers: Iterable[str],
        renew: Callable[[Crl], None],
        switches: Switches,
    ) -> None:
        """Read through that clerk; `issuers` are those that publish CRLs, `switches` hear which profiles are off."""
        self._clerk = clerk
        self._shelf = shelf
        self._issuers = tuple(issuers)
        self._renew = renew
        self._switches = switches
        self._generation = -1
        self._trouble = ""
        self._beat = LoopingCall(self._read)
        self._beat.clock = reactor

    def start(self) -> None:
        """Read now and from now on."""
        self._beat.start(_INTERVAL)

    def stop(self) -> None:
        """Read no more."""
        if self._beat.running:
            self._beat.stop()

    def _read(self) -> Deferred[None]:
        return self._clerk.run(self._look).addCallbacks(self._tell, self._fail)

    def _look(self, repository: Repository) -> Reading:
        generation = repository.generation()
        if generation == self._generation:
            return generation, []
        self._switches.replace(frozenset(repository.disabled_profiles()))
        found = (self._shelf.latest(repository, issuer) for issuer in self._issuers)
        return generation, [crl for crl in found if crl is not None]

    def _tell(self, reading: Reading) -> None:
        self._generation, crls = reading
        for crl in crls:
            self._renew(crl)
        self._trouble = ""

    def _fail(self, failure: Failure) -> None:
        """Log what is in the way once, not four times a second."""
        trouble = repr(failure.value)
        if trouble != self._trouble:
            self._trouble = trouble
            self.log.failure("the store cannot be read", failure, event="news_lost")

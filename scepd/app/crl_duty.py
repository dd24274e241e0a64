"""The duty of publishing one issuer's CRL: drafted in slices in the clerk's thread, signed in a lane, stored by the clerk."""

import time
from collections.abc import Callable
from datetime import timedelta

import attrs
from twisted.logger import Logger, LogLevel

from scepd.app.clerk import Clerk
from scepd.app.leases import Lease
from scepd.app.turns import Setback, Turns
from scepd.ca.publish import Publisher
from scepd.enroll.answer import RunsInLane
from scepd.ports import Clock
from scepd.records import Crl
from scepd.store.marks import MarkFile
from scepd.store.position import Position
from scepd.store.published import PublishedCrl
from scepd.store.repository import Repository
from scepd.x509.crl import CrlDraft, sign_crl

_REST = 10  # times as long as a CRL took, before revocations alone make the next one
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0  # seconds after a failure


@attrs.frozen
class _Drafted:
    """An unsigned CRL, and the store's generation before its entries were read."""

    draft: CrlDraft
    generation: int
    begun: float


@attrs.define(kw_only=True)
class CrlDuty:
    """Publishes on schedule, and where the store's generation moved and the CRL would list something else.

    The token is asked for one signature over a digest; a hundred thousand entries take no lane longer than that.
    """

    publisher: Publisher
    lease: Lease
    clerk: Clerk
    lanes: RunsInLane
    marks: MarkFile
    published: PublishedCrl
    clock: Clock
    monotonic: Callable[[], float] = time.monotonic
    log = Logger()
    _generation: int = attrs.field(default=-1, init=False)  # at which the newest CRL lists everything
    _rest: float = attrs.field(default=0.0, init=False)
    _turns: Turns = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._turns = Turns(first=_FIRST_PAUSE, longest=_LONGEST_PAUSE, monotonic=self.monotonic)

    async def attend(self) -> None:
        """Publish where it is time to; a failure is logged and tried again, ever more seldom."""
        await self._turns.take(self._publish, self._alarm)

    async def _publish(self) -> bool:
        drafted = await self.clerk.run(self._draft)
        if drafted is None:
            return False
        issuer = self.publisher.issuer
        signature = await self.lanes.run(lambda lane: sign_crl(drafted.draft, lane.issuers[issuer].key))
        crl = await self.clerk.run(lambda repository: self._store(repository, drafted, signature))
        if crl is not None:
            taken = self.monotonic() - drafted.begun
            self._rest = self.monotonic() + _REST * taken
            self.log.info(
                event="crl_published",
                issuer=self.publisher.name,
                number=crl.number,
                entries=crl.entries,
                next_update=crl.next_update.isoformat(),
                ms=round(taken * 1000),
            )
        return True

    def _draft(self, repository: Repository) -> _Drafted | None:
        begun = self.monotonic()
        if not self.lease.take(repository):
            return None
        now, generation = self.clock.now(), repository.generation()
        if not self.publisher.is_due(repository, now) and (generation == self._generation or begun < self._rest):
            return None
        draft = self.publisher.draft(repository, now, above=self.marks.last_crl(self.publisher.name))
        if draft is None:
            self._generation = generation
            return None
        return _Drafted(draft, generation, begun)

    def _store(self, repository: Repository, drafted: _Drafted, signature: bytes) -> Crl | None:
        name = self.publisher.name
        self.marks.reserve_crl(name, drafted.draft.number)  # a number that is lost does no harm
        crl = self.publisher.publish(repository, drafted.draft, signature, who=self.lease.holder)
        if crl is not None:
            self.marks.raise_to(Position(crls={name: crl.number}))
            self.published.keep(crl)
        # A CRL moves the generation by one itself; by more, and something was revoked while this one was made.
        if crl is not None and repository.generation() == drafted.generation + 1:
            self._generation = drafted.generation + 1
        return crl

    def _alarm(self, setback: Setback) -> None:
        """Say what is in the way, what to do, and how long the old CRL still serves (C-295)."""
        latest = self.publisher.shelf.held(self.publisher.name)
        left = timedelta() if latest is None else latest.next_update - self.clock.now()
        urgent = left <= (self.publisher.terms.valid - self.publisher.terms.every) / 2
        self.log.emit(
            LogLevel.critical if urgent else LogLevel.error,
            event="crl_overdue",
            issuer=self.publisher.name,
            cause=setback.cause,
            hint=setback.hint,
            valid_until=None if latest is None else latest.next_update.isoformat(),
            retry_in=setback.retry_in,
        )

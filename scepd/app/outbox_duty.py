"""The duty of telling outside services how requests ended: at least once each, ever more seldom, not for ever."""

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

import attrs
from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger
from twisted.python.failure import Failure

from scepd.app.clerk import Clerk
from scepd.app.leases import Lease
from scepd.challenge.enclosure import Enclosures
from scepd.ports import Clock, Notifier
from scepd.records import Posting
from scepd.refusal import OperatorError, Unavailable
from scepd.store.outbox import Told
from scepd.store.repository import Repository

_BATCH = 16  # told at once
_FIRST_PAUSE, _LONGEST_PAUSE = timedelta(seconds=10), timedelta(hours=1)
_ATTEMPTS = 20  # over some 13 hours
_SWEEP = 3600.0  # seconds


@attrs.define(kw_only=True)
class OutboxDuty:
    """Tells what is due. A slow service keeps no other duty waiting: its round goes on beside them, one at a time.

    `notifiers` are found by profile and the name that the outbox's row has.
    """

    lease: Lease
    clerk: Clerk
    clock: Clock
    notifiers: Mapping[tuple[str, str], Notifier]
    enclosures: Enclosures
    monotonic: Callable[[], float] = time.monotonic
    log = Logger()
    _round: Deferred[None] | None = attrs.field(default=None, init=False)
    _sweep_at: float = attrs.field(default=0.0, init=False)

    async def attend(self) -> None:
        """Begin a round, unless there is one, nothing is due, or another process has the lease."""
        if self._round is not None:
            return
        postings: Sequence[Posting] = await self.clerk.run(self._due)
        if postings:
            self._round = Deferred.fromCoroutine(self._tell_all(postings))
            self._round.addErrback(self._broken)
            self._round.addBoth(self._over)

    def _over(self, _result: object) -> None:
        self._round = None

    def _broken(self, failure: Failure) -> None:
        # The rows are as they were: they are told again, at least once each.
        self.log.failure("a round of notices failed", failure, event="duty_failed", duty=self.lease.name)

    def _due(self, repository: Repository) -> Sequence[Posting]:
        if not self.lease.take(repository):
            return ()
        if self.monotonic() >= self._sweep_at:
            self._sweep_at = self.monotonic() + _SWEEP
            repository.sweep_notices()
            while repository.sweep_tickets():
                pass
        return repository.due_notices(_BATCH)

    async def _tell_all(self, postings: Sequence[Posting]) -> None:
        outcomes: Sequence[tuple[bool, Any]] = await DeferredList(
            [Deferred.fromCoroutine(self._tell(posting)) for posting in postings], consumeErrors=True
        )
        told = [
            outcome if succeeded else self._missed(posting, f"unexpected: {outcome.type.__name__}", 0)
            for posting, (succeeded, outcome) in zip(postings, outcomes, strict=True)
        ]
        await self.clerk.run(lambda repository: repository.settle_notices(told))

    async def _tell(self, posting: Posting) -> Told:
        notice = posting.notice
        notifier = self.notifiers.get((notice.profile, posting.kind))
        if notifier is None:
            return self._gave_up(posting, "the configuration has no such service any more")
        if posting.enclosure is not None:
            csr_der = self.enclosures.open(notice.profile, posting.enclosure)
            if csr_der is None:
                return self._gave_up(posting, "its request cannot be opened: the store key is another one")
            notice = attrs.evolve(notice, csr_der=csr_der)
        try:
            await notifier.notify(notice)
        except Unavailable as trouble:
            return self._missed(posting, trouble.cause, trouble.retry_after)
        except OperatorError as trouble:
            return self._gave_up(posting, trouble.problem)
        return Told(notice.number)

    def _missed(self, posting: Posting, cause: str, retry_after: int) -> Told:
        if posting.attempts + 1 >= _ATTEMPTS:
            return self._gave_up(posting, cause)
        pause = min(_FIRST_PAUSE * 2**posting.attempts, _LONGEST_PAUSE)
        due = self.clock.now() + max(pause, timedelta(seconds=retry_after))
        self.log.warn(  # noqa: G010 - the name in twisted.logger
            event="notice_put_off", **_about(posting), cause=cause, attempts=posting.attempts + 1, next=due.isoformat()
        )
        return Told(posting.notice.number, cause, due)

    def _gave_up(self, posting: Posting, cause: str) -> Told:
        hint = "mend the service, then look its state up there: the notice is kept 30 days in the outbox, but not sent"
        self.log.error(event="notice_given_up", **_about(posting), cause=cause, hint=hint)
        return Told(posting.notice.number, cause)


def _about(posting: Posting) -> dict[str, str]:
    notice = posting.notice
    return {
        "profile": notice.profile,
        "service": posting.kind,
        "transaction_id": notice.transaction_id,
        "outcome": notice.outcome,
        "request_id": notice.request_id,
    }

"""The duty of sealing the audit trail: drafted from the store, signed in a lane, kept in the store and in a file beside it."""

import time
from collections.abc import Callable
from datetime import datetime

import attrs
from twisted.logger import Logger

from scepd.app.clerk import Clerk
from scepd.app.leases import Lease
from scepd.config.settings import AuditSettings
from scepd.enroll.answer import RunsInLane
from scepd.enroll.context import Context
from scepd.hsm.faults import TokenFault
from scepd.observe.seal import Seal, sign_seal
from scepd.observe.seal_file import SealFile
from scepd.ports import Clock
from scepd.refusal import OperatorError, Unavailable
from scepd.store.repository import Repository

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0  # seconds after a failure


@attrs.define(kw_only=True)
class SealDuty:
    """Seals what was done since the newest seal; what was changed behind its back is told and never sealed (S-124)."""

    settings: AuditSettings
    lease: Lease
    clerk: Clerk
    lanes: RunsInLane
    clock: Clock
    monotonic: Callable[[], float] = time.monotonic
    log = Logger()
    _retry: float = attrs.field(default=0.0, init=False)
    _pause: float = attrs.field(default=_FIRST_PAUSE, init=False)

    async def attend(self) -> None:
        """Seal where it is time to; a failure is logged and tried again, ever more seldom."""
        if self.monotonic() < self._retry:
            return
        try:
            await self._seal()
            self._pause = _FIRST_PAUSE
        except (Unavailable, TokenFault, OperatorError) as trouble:
            self._retry = self.monotonic() + self._pause
            self._pause = min(self._pause * 2, _LONGEST_PAUSE)
            self._alarm(trouble)

    async def _seal(self) -> None:
        draft = await self.clerk.run(self._draft)
        if draft is None:
            return
        seal = await self.lanes.run(lambda lane: _sign(draft, lane))
        if await self.clerk.run(lambda repository: self._keep(repository, seal)):
            rows = sum(head.sequence for head in seal.heads.values())
            self.log.info(event="audit_sealed", number=seal.number, chains=len(seal.heads), rows=rows)

    def _draft(self, repository: Repository) -> Seal | None:
        if not self.lease.take(repository):
            return None
        newest = repository.newest_seal()
        if newest is not None:
            now, last = self.clock.now(), datetime.fromisoformat(newest.at)
            if last <= now < last + self.settings.seal_every:
                return None
        self._repeat(repository, newest)
        return repository.draft_seal()

    def _keep(self, repository: Repository, seal: Seal) -> bool:
        kept = repository.add_seal(seal)
        if kept:
            self._repeat(repository, seal)
        return kept

    def _repeat(self, repository: Repository, newest: Seal | None) -> None:
        """Bring the file up to the newest seal of the store: after a crash, or where another node sealed meanwhile."""
        file = SealFile(self.settings.seals)
        last, number = file.newest(), 0 if newest is None else newest.number
        if last is not None and (last.number > number or (last.number == number and last != newest)):
            raise OperatorError(
                f"{file.path} ends with seal {last.number}, which is not the store's: the store ends with seal {number}",
                f"scepd audit verify; after an older store was restored: mv {file.path} {file.path}.lost",
            )
        missing = repository.seals_after(0 if last is None else last.number)
        if missing:
            file.append(missing)

    def _alarm(self, trouble: Unavailable | TokenFault | OperatorError) -> None:
        retry_in = self._retry - self.monotonic()
        if isinstance(trouble, OperatorError):
            self.log.critical(event="audit_unsealed", cause=trouble.problem, hint=trouble.hint, retry_in=retry_in)
        else:
            self.log.error(event="audit_unsealed", cause=trouble.cause, hint="scepd status", retry_in=retry_in)


def _sign(draft: Seal, lane: Context) -> Seal:
    assert lane.audit_key is not None  # configured, or there is no such duty
    return sign_seal(draft, lane.audit_key)

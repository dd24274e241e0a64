"""The duty of sealing the audit trail: drafted from the store, signed in a lane, kept in the store and in a file beside it."""

import time
from collections.abc import Callable
from datetime import datetime

import attrs
from twisted.logger import Logger, LogLevel

from scepd.app.clerk import Clerk
from scepd.app.leases import Lease
from scepd.app.turns import Setback, Turns
from scepd.config.settings import AuditSettings
from scepd.enroll.answer import RunsInLane
from scepd.enroll.context import Context
from scepd.observe.seal import Seal, sign_seal
from scepd.observe.seal_file import SealFile
from scepd.ports import Clock
from scepd.refusal import OperatorError
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
    _turns: Turns = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._turns = Turns(first=_FIRST_PAUSE, longest=_LONGEST_PAUSE, monotonic=self.monotonic)

    async def attend(self) -> None:
        """Seal where it is time to; a failure is logged and tried again, ever more seldom."""
        await self._turns.take(self._seal, self._alarm)

    async def _seal(self) -> bool:
        draft = await self.clerk.run(self._draft)
        if draft is None:
            return False
        seal = await self.lanes.run(lambda lane: _sign(draft, lane))
        if await self.clerk.run(lambda repository: self._keep(repository, seal)):
            rows = sum(head.sequence for head in seal.heads.values())
            self.log.info(event="audit_sealed", number=seal.number, chains=len(seal.heads), rows=rows)
        return True

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

    def _alarm(self, setback: Setback) -> None:
        changed = isinstance(setback.trouble, OperatorError)
        self.log.emit(
            LogLevel.critical if changed else LogLevel.error,
            event="audit_unsealed",
            cause=setback.cause,
            hint=setback.hint,
            retry_in=setback.retry_in,
        )


def _sign(draft: Seal, lane: Context) -> Seal:
    assert lane.audit_key is not None  # configured, or there is no such duty
    return sign_seal(draft, lane.audit_key)

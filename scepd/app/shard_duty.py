"""The duty of publishing all CRLs of one issuer: certificates are dealt out to shards, and each shard has its CRL."""

import time
from collections.abc import Callable
from datetime import timedelta

import attrs
from twisted.logger import Logger

from scepd.app.clerk import Clerk
from scepd.app.crl_duty import CrlDuty
from scepd.app.leases import Lease
from scepd.ports import Clock
from scepd.store.repository import Repository

_COUNTING = 5.0  # seconds


@attrs.define(kw_only=True)
class ShardDuty:
    """Counts every few seconds what was issued and opens the next shard where one is full; publishes the CRL of each.

    `size` None: certificates do not say where the CRL is, so that nobody could know of a second one. A shard whose
    certificates all ended `kept` ago needs none any more (RFC 5280 section 3.3).
    """

    issuer: str
    size: int | None
    kept: timedelta
    clock: Clock
    lease: Lease
    clerk: Clerk
    make: Callable[[int], CrlDuty]
    monotonic: Callable[[], float] = time.monotonic
    log = Logger()
    _due: float = attrs.field(default=0.0, init=False)
    _duties: dict[int, CrlDuty] = attrs.field(factory=dict, init=False)

    async def attend(self) -> None:
        """Do what is due; one shard that cannot be published keeps no other from it."""
        for shard in await self.clerk.run(self._shards):
            if shard not in self._duties:
                self._duties[shard] = self.make(shard)
            await self._duties[shard].attend()

    def _shards(self, repository: Repository) -> tuple[int, ...]:
        if self.size is not None and self.monotonic() >= self._due and self.lease.take(repository):
            self._due = self.monotonic() + _COUNTING
            opened = repository.deal_shards(self.issuer, self.size, who=self.lease.holder)
            if opened is not None:
                self.log.info(event="crl_shard_opened", issuer=self.issuer, shard=opened)
        return repository.crl_shards(self.issuer, ends_after=self.clock.now() - self.kept)

"""The duty of renewing the certificate of one issuer's OCSP key: put on record, signed in a lane, stored by the clerk."""

import os
import time
from collections.abc import Callable
from datetime import datetime, timedelta

import attrs
from twisted.logger import Logger

from scepd.app import own_key
from scepd.app.clerk import Clerk
from scepd.app.leases import Lease
from scepd.app.turns import Setback, Turns
from scepd.ca.renewal import draft_responder
from scepd.ca.responder import newest_certificate
from scepd.enroll.answer import RunsInLane
from scepd.ports import Clock
from scepd.store.repository import Repository
from scepd.x509.draft import Draft
from scepd.x509.issuer import IssuerCertificate
from scepd.x509.ocsp import ResponderCertificate

_LOOK = 10.0  # seconds between two looks
_FIRST_PAUSE, _LONGEST_PAUSE = 20.0, 300.0  # seconds after a failure


@attrs.define(kw_only=True)
class ResponderDuty:
    """Renews when half of the certificate's life is over, or when there is none for the configured key."""

    issuer: str
    first: ResponderCertificate
    valid: timedelta
    lease: Lease
    clerk: Clerk
    lanes: RunsInLane
    clock: Clock
    monotonic: Callable[[], float] = time.monotonic
    random: Callable[[int], bytes] = os.urandom
    log = Logger()
    _turns: Turns = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._turns = Turns(look=_LOOK, first=_FIRST_PAUSE, longest=_LONGEST_PAUSE, monotonic=self.monotonic)

    async def attend(self) -> None:
        """Renew where it is time to; a failure is logged and tried again, ever more seldom."""
        await self._turns.take(self._renew, self._alarm)

    async def _renew(self) -> bool:
        if not await self.clerk.run(self._is_due):
            return False
        der = await own_key.certify(self.issuer, self._draft, self.clerk, self.lanes)
        not_after = ResponderCertificate.load(der).not_after
        await self.clerk.run(lambda repository: self._add(repository, der, not_after))
        self.log.info(event="responder_certified", issuer=self.issuer, not_after=not_after.isoformat())
        return True

    def _alarm(self, setback: Setback) -> None:
        self.log.error(
            event="responder_overdue",
            issuer=self.issuer,
            cause=setback.cause,
            hint=setback.hint,
            retry_in=setback.retry_in,
        )

    def _is_due(self, repository: Repository) -> bool:
        if not self.lease.take(repository):
            return False
        newest = newest_certificate(repository, self.issuer, self.first) or self.first
        now = self.clock.now()
        half = newest.not_before + (newest.not_after - newest.not_before) / 2
        return not newest.not_before <= now < half

    def _draft(self, issuer: IssuerCertificate) -> Draft:
        return draft_responder(self.first, issuer, self.clock.now(), self.random, validity=self.valid)

    def _add(self, repository: Repository, der: bytes, not_after: datetime) -> None:
        repository.add_responder_certificate(self.issuer, der, not_after=not_after, who=self.lease.holder)

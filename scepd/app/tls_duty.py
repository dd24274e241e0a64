"""The duty of renewing a listener's TLS certificate: drafted and put on record by the clerk, signed in a lane."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import attrs
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from twisted.logger import Logger

from scepd.app import own_key, service
from scepd.app.clerk import Clerk
from scepd.app.leases import Lease
from scepd.app.turns import Setback, Turns
from scepd.ca.renewal import draft_renewal, is_due
from scepd.enroll.answer import RunsInLane
from scepd.ports import Clock
from scepd.refusal import OperatorError
from scepd.store.repository import Repository
from scepd.x509.certificate import Locations
from scepd.x509.draft import Draft
from scepd.x509.issuer import IssuerCertificate

_LOOK = 10.0  # seconds between two looks
_FIRST_PAUSE, _LONGEST_PAUSE = 20.0, 3_600.0  # seconds after a failure
_RELOADING = 60.0  # seconds that a reload may take


@attrs.define(kw_only=True)
class TlsDuty:
    """Renews the certificate in a file when a third of its life is left, then asks for a reload.

    The key stays, and whatever follows the certificate in its file. Each node has files, and so a lease, of its own.
    A reload may be refused, by a configuration that somebody is just editing: while the file has another certificate of
    the same key than `served`, which this process began with, the reload is asked for again.
    """

    listener: str
    issuer: str
    path: Path
    served: x509.Certificate
    runtime: Path
    lease: Lease
    clerk: Clerk
    lanes: RunsInLane
    clock: Clock
    monotonic: Callable[[], float] = time.monotonic
    random: Callable[[int], bytes] = os.urandom
    locations: Locations = attrs.field(factory=Locations)
    log = Logger()
    _unserved_since: float | None = attrs.field(default=None, init=False)
    _turns: Turns = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._turns = Turns(look=_LOOK, first=_FIRST_PAUSE, longest=_LONGEST_PAUSE, monotonic=self.monotonic)

    async def attend(self) -> None:
        """Renew where it is time to; a failure is logged and tried again, ever more seldom."""
        await self._turns.take(self._renew, self._alarm)

    async def _renew(self) -> bool:
        task = await self.clerk.run(self._choose)
        if task == "renew":
            der = await own_key.certify(self.issuer, self._draft, self.clerk, self.lanes)
            await self.clerk.run(lambda _repository: self._use(der))
            self.log.info(event="tls_renewed", listener=self.listener, file=str(self.path))
        elif task == "reload":
            await self.clerk.run(lambda _repository: self._reload())
            self._overdue(f"the certificate in {self.path} is not served", "scepd reload", self._turns.put_off())
        return task == "renew"

    def _alarm(self, setback: Setback) -> None:
        self._overdue(setback.cause, setback.hint, setback.retry_in)

    def _overdue(self, cause: str, hint: str, retry_in: float) -> None:
        self.log.error(event="tls_overdue", listener=self.listener, cause=cause, hint=hint, retry_in=retry_in)

    def _choose(self, repository: Repository) -> Literal["renew", "reload"] | None:
        if not self.lease.take(repository):
            return None
        present = self._chain()[0]
        if is_due(present, self.clock.now()):
            return "renew"
        if present == self.served or present.public_key() != self.served.public_key():
            self._unserved_since = None
            return None
        if self._unserved_since is None:
            self._unserved_since = self.monotonic()
        return "reload" if self.monotonic() - self._unserved_since >= _RELOADING else None

    def _chain(self) -> list[x509.Certificate]:
        try:
            return x509.load_pem_x509_certificates(self.path.read_bytes())
        except (OSError, ValueError) as fault:
            raise OperatorError(f"no certificate can be read from {self.path}: {fault}", "scepd check") from fault

    def _draft(self, issuer: IssuerCertificate) -> Draft:
        return draft_renewal(self._chain()[0], issuer, self.clock.now(), self.random, self.locations)

    def _use(self, der: bytes) -> None:
        chain = [x509.load_der_x509_certificate(der), *self._chain()[1:]]
        try:
            _replace(self.path, b"".join(one.public_bytes(Encoding.PEM) for one in chain))
        except OSError as fault:
            hint = f"let the service's user write in {self.path.parent}"
            raise OperatorError(f"{self.path} cannot be replaced: {fault}", hint) from fault
        self._reload()

    def _reload(self) -> None:
        try:
            service.ask_for_reload(self.runtime)
        except OSError as fault:
            raise OperatorError(f"the supervisor does not hear of a reload: {fault}", "scepd reload") from fault


def _replace(path: Path, content: bytes) -> None:
    passing = path.with_name(f".{path.name}.renewed")
    passing.unlink(missing_ok=True)
    descriptor = os.open(passing, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    passing.replace(path)

"""One request on its way through the pipeline, and the trail it leaves."""

from collections.abc import Callable
from functools import cached_property
from typing import Protocol

import attrs

from scepd.enroll.context import Registration
from scepd.message.algorithms import KeyTransport
from scepd.message.certificate import SignerCertificate
from scepd.message.csr import CertificationRequest
from scepd.message.enveloped import Envelope, can_encrypt
from scepd.message.request import PKIMessage
from scepd.profile.model import Profile
from scepd.records import Identity, Origin, Secret, Step, TransactionKey
from scepd.x509.keys import spki_digest


class Trail:
    """The steps of one request with their times."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        """Begin to count."""
        self._monotonic = monotonic
        self._begun = monotonic()
        self._reached: list[tuple[str, float, str]] = []

    def step(self, name: str, note: str = "") -> None:
        """Note that a step was reached."""
        self._reached.append((name, self._monotonic(), note))

    def has(self, name: str) -> bool:
        """Return whether a step was reached."""
        return any(reached == name for reached, _, _ in self._reached)

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps so far."""
        begun = self._begun
        return tuple(Step(name, round((at - begun) * 1_000_000) / 1000, note) for name, at, note in self._reached)


@attrs.frozen
class Asker:
    """Somebody whom a method knows, and the request."""

    identity: Identity
    csr: CertificationRequest


class Asking(Protocol):
    """What issuing needs to know of a request, whatever it came in."""

    profile: Profile
    origin: Origin
    trail: Trail
    registration: Registration  # the RA that it is addressed to, and so the issuer
    asker: Asker | None  # from the moment on that somebody is

    @property
    def key(self) -> TransactionKey:
        """The identity of the transaction."""

    @property
    def message_type(self) -> int:
        """The messageType."""


@attrs.define
class Case:
    """What was received, and what has been learnt of it so far (for reply, log and trail)."""

    message: PKIMessage
    profile: Profile
    origin: Origin
    trail: Trail
    registration: Registration
    envelope: Envelope | None = None
    transport: KeyTransport | None = None
    password: Secret | None = None  # what protects the reply to a key that cannot encrypt
    subject: str = ""
    asker: Asker | None = None

    @property
    def signer(self) -> SignerCertificate:
        """The certificate that signed the request; present once the message is verified."""
        assert self.message.signer is not None  # verify_message refuses a message without
        return self.message.signer

    @property
    def message_type(self) -> int:
        """The messageType of RFC 8894 section 3.2.1.2."""
        return self.message.message_type

    @cached_property
    def needs_password(self) -> bool:
        """Whether only a password can protect the reply (RFC 8894 section 3.1)."""
        return not can_encrypt(self.signer.public_key())

    @cached_property
    def key(self) -> TransactionKey:
        """The identity of the transaction: the transactionID alone collides by design (RFC 8894 section 3.2.1.1)."""
        signer = self.message.signer
        requester = b"" if signer is None else spki_digest(signer.spki_der)  # without one it is refused in clear
        return TransactionKey(self.profile.name, self.message.transaction_id, requester)

"""Stand-ins for token and store: they answer at once what the token answered when a message was first enrolled."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import attrs
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from scepd.enroll.context import Context
from scepd.message.algorithms import KeyTransport
from scepd.message.certrep import ReplySigner
from scepd.ports import DecryptionKey
from scepd.records import Intent, Step, Transaction, TransactionKey, TransactionState
from scepd.store.values import claimed
from scepd.x509.draft import EcPlaceholder, RsaPlaceholder, placeholder

Sign = Callable[..., bytes]


@attrs.frozen
class StillClock:
    """A clock that stands, so that a message makes the same octets each time."""

    moment: datetime = attrs.field(factory=lambda: datetime.now(UTC))

    def now(self) -> datetime:
        """Return the one moment."""
        return self.moment


@attrs.define
class Memory:
    """What the token answered, by what it was asked."""

    signatures: dict[bytes, bytes] = attrs.field(factory=dict)
    content_keys: dict[bytes, bytes] = attrs.field(factory=dict)


class RecordedRsa(RsaPlaceholder):
    """An RSA key that answers from memory, and asks the token when that is allowed."""

    def __init__(self, key: rsa.RSAPrivateKey, memory: Memory) -> None:
        """Stand before that key."""
        super().__init__(key.public_key())
        self._ask: Sign = key.sign
        self._memory = memory.signatures

    def sign(self, data: Any, padding: Any, algorithm: Any) -> bytes:
        """Return the signature."""
        known = self._memory.get(data)
        if known is None:
            known = self._memory[data] = self._ask(data, padding, algorithm)
        return known


class RecordedEc(EcPlaceholder):
    """The same for an EC key."""

    def __init__(self, key: ec.EllipticCurvePrivateKey, memory: Memory) -> None:
        """Stand before that key."""
        super().__init__(key.public_key())
        self._ask: Sign = key.sign
        self._memory = memory.signatures

    def sign(self, data: Any, signature_algorithm: Any) -> bytes:
        """Return the signature."""
        known = self._memory.get(data)
        if known is None:
            known = self._memory[data] = self._ask(data, signature_algorithm)
        return known


@attrs.frozen
class RecordedDecryption:
    """A decryption key that answers from memory."""

    key: DecryptionKey
    memory: Memory

    def supports(self, transport: KeyTransport) -> bool:
        """Say what the key says."""
        return self.key.supports(transport)

    def unwrap(self, encrypted_key: bytes, transport: KeyTransport, length: int) -> bytes:
        """Return the content key."""
        known = self.memory.content_keys.get(encrypted_key)
        if known is None:
            known = self.key.unwrap(encrypted_key, transport, length)
            self.memory.content_keys[encrypted_key] = known
        return known


@attrs.define
class InstantStore:
    """The part of `ports.Store` that a first enrolment uses; nothing is written, the trail of the last one is kept."""

    owner: str
    clock: StillClock
    trail: tuple[Step, ...] = ()

    def recall(self, key: TransactionKey) -> None:  # noqa: ARG002 - the port's signature
        """Know nobody."""
        return

    def is_key_blocked(self, public_key: bytes) -> bool:  # noqa: ARG002 - the port's signature
        """Block nobody."""
        return False

    def claim(self, intent: Intent) -> tuple[Transaction, bool]:
        """Take it."""
        return claimed(intent, 1, self.owner, self.clock.now()), True

    def record(self, transaction: Transaction, certificate_der: bytes, trail: tuple[Step, ...]) -> Transaction:
        """Take it."""
        self.trail = trail
        # In place, since a copy costs 10 us that would be the stand-in's own; nobody else holds this one.
        object.__setattr__(transaction, "state", TransactionState.ISSUED)
        object.__setattr__(transaction, "certificate_der", certificate_der)
        return transaction


def recorded(context: Context, memory: Memory, *, sign_replies: bool) -> dict[str, Any]:
    """Return the fields of a context in which issuers and registrations answer from memory.

    A reply is encrypted with fresh padding each time, so that its signature cannot be remembered: replies are signed
    by the token, or with zeros.
    """
    return {
        "issuers": {
            name: attrs.evolve(issuer, key=_stand_in(issuer.key, memory)) for name, issuer in context.issuers.items()
        },
        "registrations": {
            name: attrs.evolve(
                registration,
                signer=registration.signer if sign_replies else _signer_of_zeros(registration.signer),
                decryption=tuple(RecordedDecryption(key, memory) for key in registration.decryption),
            )
            for name, registration in context.registrations.items()
        },
    }


def _signer_of_zeros(signer: ReplySigner) -> ReplySigner:
    return attrs.evolve(signer, key=placeholder(signer.key.public_key()))


def _stand_in(key: Any, memory: Memory) -> RecordedRsa | RecordedEc:
    return RecordedRsa(key, memory) if isinstance(key, rsa.RSAPrivateKey) else RecordedEc(key, memory)


@contextmanager
def repeatable(context: Context, number: int) -> Iterator[None]:
    """Let the random octets of a block be those of that number."""
    before = context.random
    context.random = random.Random(number).randbytes
    try:
        yield
    finally:
        context.random = before

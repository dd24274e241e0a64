"""What one lane holds while it serves: its store connection, its keys, the time and the random source."""

from collections.abc import Callable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Protocol

import attrs

from scepd.ca.local import LocalIssuer
from scepd.ca.prepared import PreparedAnswers
from scepd.ca.responder import NO_RESPONDERS, Responders
from scepd.ca.shards import OpenShards
from scepd.challenge.enclosure import Enclosures
from scepd.challenge.order import Methods
from scepd.enroll.budget import Budget
from scepd.enroll.succession import Succession
from scepd.message.certrep import ReplySigner
from scepd.message.enveloped import Recipient
from scepd.ports import Clock, DecryptionKey, Passwords, SigningKey, Store
from scepd.profile.blocked_keys import BlockedKeys
from scepd.profile.switches import Switches
from scepd.records import Crl


@attrs.frozen
class Registration:
    """The RA before one issuer: the key that signs replies, and per accepted RA certificate its name and decryption key.

    What is requested through it is issued by `issuer`. Without recipients requests come by password alone. `former` are
    the signing keys of former recipients, by their index: a device that knows the former certificates verifies the
    reply with them. `generation` is the index of the recipient in whose name this one answers.
    """

    issuer: str
    signer: ReplySigner
    recipients: tuple[Recipient, ...]
    decryption: tuple[DecryptionKey, ...]
    former: Mapping[int, ReplySigner] = MappingProxyType({})
    generation: int = 0

    def answering(self, index: int) -> "Registration":
        """Return this RA as it answers what is encrypted to the recipient of that index (C-055)."""
        return self if index not in self.former else attrs.evolve(self, signer=self.former[index], generation=index)


class CrlSource(Protocol):
    """Where GetCRL finds what is published."""

    def newest(self, store: Store, issuer: str, now: datetime) -> Crl | None:
        """Return the newest CRL of an issuer, None where there is none that is valid now."""


class Guesses(Protocol):
    """How often guesses at a challenge may fail."""

    def blocked(self, *, profile: str | None = None, key: bytes | None = None) -> float:
        """Return the seconds until another may be made, 0.0 for now; `key` is the SHA-256 of the signer's key."""

    def failed(self, *, profile: str, key: bytes) -> None:
        """Count one that failed."""


@attrs.define
class Context:
    """The belongings of one lane, used by its one thread only.

    `owes` is set while a transaction that this lane claimed is not finished; the lane finishes it before it serves
    the next request.
    """

    store: Store
    owner: str  # "node/slot.lane", unique among everything that writes to the store
    issuers: Mapping[str, LocalIssuer]
    registrations: Mapping[str, Registration]  # by issuer name
    challenges: Mapping[str, Methods]  # by profile name
    clock: Clock
    random: Callable[[int], bytes]
    monotonic: Callable[[], float]  # seconds
    crls: CrlSource
    forbidden_keys: frozenset[bytes] = frozenset()  # SHA-256 of the SubjectPublicKeyInfo of our own keys
    blocked_keys: BlockedKeys | None = None  # of which nobody is certified
    successions: Mapping[str, Succession] = MappingProxyType({})  # by the name of the issuer that is followed
    passwords: Mapping[str, Passwords] = MappingProxyType(
        {}
    )  # by profile name, of those that take PasswordRecipientInfo
    responders: Responders = NO_RESPONDERS
    shards: OpenShards = attrs.field(factory=OpenShards)  # one of all lanes of the process
    prepared: PreparedAnswers = attrs.field(factory=PreparedAnswers)  # one of all lanes of the process
    switches: Switches = attrs.field(factory=Switches)  # one of all lanes of the process
    guesses: Guesses | None = None  # None: no limits
    enclosures: Enclosures | None = None  # None: no service is sent requests as they were received
    audit_key: SigningKey | None = None  # None: nothing is sealed
    checkpoint: Callable[[str], None] = lambda _name: None
    owes: bool = False
    derivations: Budget = attrs.field(
        init=False, default=attrs.Factory(lambda self: Budget(self.monotonic), takes_self=True)
    )

"""What one lane holds while it serves: its store connection, its keys, the time and the random source."""

from collections.abc import Callable, Mapping

import attrs

from scepd.ca.local import LocalIssuer
from scepd.message.certrep import ReplySigner
from scepd.message.enveloped import Recipient
from scepd.ports import ChallengeMethod, Clock, DecryptionKey, Store


@attrs.frozen
class Registration:
    """The RA of one issuer: the key that signs replies, and per accepted RA certificate its name and decryption key."""

    signer: ReplySigner
    recipients: tuple[Recipient, ...]
    decryption: tuple[DecryptionKey, ...]


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
    challenges: Mapping[str, tuple[ChallengeMethod, ...]]  # by profile name
    clock: Clock
    random: Callable[[int], bytes]
    monotonic: Callable[[], float]  # seconds
    forbidden_keys: frozenset[bytes] = frozenset()  # SHA-256 of the SubjectPublicKeyInfo of our own keys
    checkpoint: Callable[[str], None] = lambda _name: None
    owes: bool = False

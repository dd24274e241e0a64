"""What the store keeps of those who may enrol: challenges, entities, tokens of generators."""

import enum
from datetime import datetime, timedelta

import attrs

# Tries at a code that a person chose, over all networks: so many at once, then one more each time that this has passed.
# One network comes to about 23 in a day and worker (`challenge.wrong_codes`); 16 workers let it try less than comes back.
MOST_TRIES, TRY_EVERY = 300, timedelta(minutes=5)


class ChallengeState(enum.Enum):
    """The life of a one-time challenge."""

    FREE = "free"
    RESERVED = "reserved"
    SPENT = "spent"
    CANCELLED = "cancelled"


@attrs.frozen
class Challenge:
    """A stored one-time challenge: never its text, only the keyed digest."""

    id: int
    profile: str
    digest: bytes
    common_name: str | None
    names: tuple[str, ...]  # as "dns:host"; empty = the profile's own rules alone
    expires: datetime
    uses: int
    uses_left: int
    state: ChallengeState
    created: datetime
    created_by: str
    transaction: int | None = None  # the last transaction that reserved or spent it
    spent_by: bytes | None = None  # SHA-256 of that requester's SubjectPublicKeyInfo
    sealed: bytes | None = None  # its text under the store key, where the profile takes password encryption
    subject: str | None = None  # RFC 4514, the whole of it
    key_type: str | None = None  # "rsa", "rsa-2048", "ec", "ec-256", "ed25519"


class EntityState(enum.Enum):
    """The life of an end entity: it may enrol, is about to, has its certificate, or guessed its code too often."""

    NEW = "NEW"
    RESERVED = "RESERVED"
    GENERATED = "GENERATED"
    FAILED = "FAILED"


@attrs.frozen
class Entity:
    """A registered end entity: what it is called, what is vouched for, whether it may enrol; never its code.

    `digest` is None where no code was given, as of those that a registration authority's request made.
    `tries_left` None: wrong codes are not counted, since nobody guesses a generated one. Else how many tries there were
    at `updated`.
    """

    id: int
    profile: str
    username: str  # the common name of its requests
    state: EntityState
    digest: bytes | None
    attributes: tuple[tuple[str, str], ...]  # pairs of short name and value
    names: tuple[str, ...]  # as "dns:host"
    tries_left: int | None
    expires: datetime | None
    created: datetime
    created_by: str
    updated: datetime
    transaction: int | None = None  # the last one that took it
    spent_by: bytes | None = None  # SHA-256 of that requester's SubjectPublicKeyInfo

    def tries_at(self, now: datetime) -> int | None:
        """Return how many wrong codes there may be at that moment; None where none is counted."""
        if self.tries_left is None:
            return None
        given_back = max((now - self.updated) // TRY_EVERY, 0)
        return min(self.tries_left + given_back, max(self.tries_left, MOST_TRIES))


@attrs.frozen
class Token:
    """What another system presents to have one-time challenges made: never its text, only the keyed digest."""

    id: int
    name: str
    digest: bytes
    profiles: tuple[str, ...]
    pattern: str | None  # what the common name must match that each challenge is bound to; None: any, or no binding
    per_minute: int
    left: int | None  # challenges that it may still have made; None: no end
    expires: datetime | None
    created: datetime
    created_by: str
    revoked: datetime | None = None

"""End entities that were registered before: the common name says who, the enrolment code proves it."""

import hmac
import threading
import unicodedata
from collections.abc import Mapping, Sequence
from datetime import datetime

from scepd.challenge.digest import keyed_digest
from scepd.message.csr import CertificationRequest
from scepd.ports import Store
from scepd.profile.access import EntityRule, StaticRule
from scepd.profile.model import Profile
from scepd.records import Entity, EntityState, Identity
from scepd.refusal import Reason, Reject
from scepd.x509.general_names import general_names_from_extension
from scepd.x509.keys import spki_digest
from scepd.x509.names import COMMON_NAME

METHOD = "entity"
TRIES = 10  # wrong codes that lock an entity whose code a person chose; nobody guesses a generated one

_SUBJECT_ALTERNATIVE_NAME = "2.5.29.17"
_NO_DIGEST = bytes(32)


class WrongCodes:
    """Wrong codes by entity, kept until they are written in one batch: nothing is fsynced on a guesser's packet.

    One for all lanes of a worker. What waits here counts already.
    """

    def __init__(self, most: int = 1_000) -> None:
        """Keep the wrong codes of so many entities at most; of more the store is not told in that batch."""
        self._most = most
        self._waiting: dict[int, int] = {}
        self._lock = threading.Lock()

    def note(self, entity: int) -> None:
        """Count a wrong code."""
        with self._lock:
            if entity in self._waiting or len(self._waiting) < self._most:
                self._waiting[entity] = self._waiting.get(entity, 0) + 1

    def waiting(self, entity: int) -> int:
        """Return how many the store does not know of yet."""
        return self._waiting.get(entity, 0)

    def drain(self) -> Mapping[int, int]:
        """Return what waits, for `store.entities.count_wrong_codes`, and keep it no longer."""
        with self._lock:
            waiting, self._waiting = self._waiting, {}
        return waiting


class EntityChallenge:
    """`ports.ChallengeMethod` over the register of one profile.

    `authority` are the keyed digests of the profile's static challenges where its register is open: who knows one of
    them is a registration authority, and its request enters the entity that it is for.
    """

    name = METHOD

    def __init__(
        self, profile: str, store_key: bytes, wrong_codes: WrongCodes, authority: Sequence[bytes] = ()
    ) -> None:
        """Look entities up in that profile alone."""
        self._profile = profile
        self._store_key = store_key
        self._wrong_codes = wrong_codes
        self._authority = tuple(authority)

    def authenticate(self, csr: CertificationRequest, store: Store, now: datetime) -> Identity | None:
        """Return which entity asks; None where the challenge is none of its code's, or nobody of that name is registered.

        Unknown names and wrong codes do the same work and have the same answer. A code that this very key has used is
        let through, so that its certificate is found again (C-207). Raises Reject(challenge_replayed,
        challenge_expired, challenge_not_for_request).
        """
        if not csr.challenge:
            return None
        presented = keyed_digest(self._store_key, csr.challenge.reveal())
        if self._is_authority(presented):
            return Identity(self.name, _one_common_name(csr))
        names = _common_names(csr)
        entity = store.find_entity(self._profile, names[0]) if len(names) == 1 else None
        known = (entity.digest if entity is not None else None) or _NO_DIGEST
        if not hmac.compare_digest(presented, known) or entity is None:
            self._count(entity)
            return None
        if self._is_locked(entity):
            return None  # as any wrong code: whoever guesses does not learn that it guessed right
        _check_usable(entity, spki_digest(csr.spki_der), now)
        _check_names(entity, csr)
        return Identity(
            self.name,
            entity.username,
            names=tuple(map(_folded, entity.names)),
            attributes=(("CN", entity.username), *entity.attributes),
            entity=entity.id,
        )

    def _is_authority(self, presented: bytes) -> bool:
        return any(hmac.compare_digest(presented, digest) for digest in self._authority)

    def _count(self, entity: Entity | None) -> None:
        if entity is not None and entity.state is EntityState.NEW and entity.tries_left:
            self._wrong_codes.note(entity.id)

    def _is_locked(self, entity: Entity) -> bool:
        if entity.state is EntityState.FAILED:
            return True
        return entity.tries_left is not None and self._wrong_codes.waiting(entity.id) >= entity.tries_left


def _check_usable(entity: Entity, public_key: bytes, now: datetime) -> None:
    if entity.state is not EntityState.NEW:
        if entity.spent_by != public_key:
            raise Reject(Reason.challenge_replayed, f"entity {entity.id} is {entity.state.value}")
    elif entity.expires is not None and entity.expires <= now:
        raise Reject(Reason.challenge_expired, f"the code of entity {entity.id} expired {entity.expires.isoformat()}")


def _check_names(entity: Entity, csr: CertificationRequest) -> None:
    """Refuse alternative names beside those registered; where none are registered the profile decides."""
    registered = {_folded(name) for name in entity.names}
    if registered and not _requested_names(csr) <= registered:
        raise Reject(Reason.challenge_not_for_request, f"entity {entity.id} is registered with other names")


def _one_common_name(csr: CertificationRequest) -> str:
    names = _common_names(csr)
    if len(names) != 1:
        raise Reject(Reason.challenge_not_for_request, "an entity is known by its one common name")
    return names[0]


def _common_names(csr: CertificationRequest) -> list[str]:
    values = [attribute.value for rdn in csr.subject for attribute in rdn if attribute.oid == COMMON_NAME]
    return [unicodedata.normalize("NFC", value) for value in values]


def _requested_names(csr: CertificationRequest) -> set[str]:
    return {
        f"{name.kind}:{name.value}"
        for extension in csr.extensions
        if extension.oid == _SUBJECT_ALTERNATIVE_NAME
        for name in general_names_from_extension(extension.value_der)
    }


def _folded(name: str) -> str:
    """Return a name as requests have it: DNS names know no case (RFC 4343)."""
    return name.lower() if name.startswith("dns:") else name


def authorities(profile: Profile, rule: EntityRule, store_key: bytes) -> Sequence[bytes]:
    """Return the digests of the texts that make a registration authority: the profile's static ones, of an open register."""
    if rule.mode != "open":
        return ()
    statics = (other.secret for other in profile.challenge if isinstance(other, StaticRule))
    return tuple(keyed_digest(store_key, secret.reveal()) for secret in statics)

"""End entities that were registered before: the common name says who, the enrolment code proves it."""

import hmac
import unicodedata
from collections.abc import Sequence
from datetime import datetime
from typing import Self

from scepd.challenge.digest import keyed_digest
from scepd.challenge.wrong_codes import WrongCodes
from scepd.message.csr import CertificationRequest
from scepd.ports import Store
from scepd.profile.access import EntityRule, StaticRule
from scepd.profile.model import Profile
from scepd.records import Entity, EntityState, Identity
from scepd.records.networks import site_of
from scepd.refusal import Reason, Reject
from scepd.x509.general_names import general_names_from_extension
from scepd.x509.keys import spki_digest
from scepd.x509.names import COMMON_NAME

METHOD = "entity"

_SUBJECT_ALTERNATIVE_NAME = "2.5.29.17"
_NO_DIGEST = bytes(32)


class EntityChallenge:
    """`ports.ChallengeMethod` over the register of one profile.

    `authority` are the keyed digests of the profile's static challenges where its register is open: who knows one of
    them is a registration authority, and its request enters the entity that it is for.
    """

    name = METHOD

    def __init__(
        self,
        profile: str,
        store_key: bytes,
        wrong_codes: WrongCodes,
        authority: Sequence[bytes] = (),
        *,
        address: str = "",
    ) -> None:
        """Look entities up in that profile alone."""
        self._profile = profile
        self._store_key = store_key
        self._wrong_codes = wrong_codes
        self._authority = tuple(authority)
        self._network = site_of(address)

    def of(self, address: str) -> Self:
        """Return the method as it is for a client of that address: wrong codes count against its network."""
        return type(self)(self._profile, self._store_key, self._wrong_codes, self._authority, address=address)

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
            self._count(entity, now)
            return None
        if self._is_locked(entity, now):
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

    def _count(self, entity: Entity | None, now: datetime) -> None:
        if entity is None or entity.state is not EntityState.NEW or entity.tries_left is None:
            return
        # What would be refused though it were right costs neither a count nor a write.
        if not self._is_locked(entity, now):
            self._wrong_codes.note(entity, self._network, now)

    def _is_locked(self, entity: Entity, now: datetime) -> bool:
        if entity.state is EntityState.FAILED:
            return True
        tries = entity.tries_at(now)
        if tries is None:
            return False
        return tries <= self._wrong_codes.waiting(entity.id) or self._wrong_codes.is_locked(entity, self._network, now)


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

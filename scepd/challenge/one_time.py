"""The one-time challenge: made for one device (or a counted few), bound to names, expiring, spent by its certificate."""

from datetime import datetime

from scepd.challenge.digest import keyed_digest
from scepd.challenge.requested import requested_key
from scepd.message.csr import CertificationRequest
from scepd.ports import Store
from scepd.records import Challenge, ChallengeState, Identity
from scepd.refusal import Reason, Reject
from scepd.x509.general_names import general_names_from_extension
from scepd.x509.keys import spki_digest
from scepd.x509.names import COMMON_NAME, to_text

_SUBJECT_ALTERNATIVE_NAME = "2.5.29.17"


class OneTimeChallenge:
    """`ports.ChallengeMethod` over the challenges that the store keeps for one profile."""

    name = "one-time"

    def __init__(self, profile: str, store_key: bytes) -> None:
        """Look challenges up in that profile alone: what was made for another is unknown here."""
        self._profile = profile
        self._store_key = store_key

    def authenticate(self, csr: CertificationRequest, store: Store, now: datetime) -> Identity | None:
        """Return who the challenge was made for; None when there is no such challenge in this profile.

        Read-only: `Store.claim` reserves it, and is the judge where two requests race. A challenge that this very
        public key took already is let through, so that `claim` finds the certificate that it got (C-207). Raises
        Reject(challenge_replayed | challenge_expired | challenge_not_for_request).
        """
        if not csr.challenge:
            return None
        challenge = store.find_challenge(self._profile, keyed_digest(self._store_key, csr.challenge.reveal()))
        if challenge is None:
            return None
        _check_usable(challenge, spki_digest(csr.spki_der), now)
        _check_binding(challenge, csr)
        vouched = tuple(_folded(name) for name in challenge.names)
        who = challenge.common_name or challenge.subject or f"challenge {challenge.id}"
        return Identity(self.name, who, challenge.id, vouched)


def _check_usable(challenge: Challenge, public_key: bytes, now: datetime) -> None:
    if challenge.state is ChallengeState.CANCELLED:
        raise Reject(Reason.challenge_replayed, f"challenge {challenge.id} was cancelled")
    if challenge.spent_by == public_key:
        return
    if challenge.uses_left == 0 and challenge.uses == 1:
        raise Reject(Reason.challenge_replayed, f"challenge {challenge.id} was used by another key")
    # Of several users only the last is noted here: whether this key was one of them, only `claim` can tell.
    if challenge.uses_left > 0 and challenge.expires <= now:
        raise Reject(Reason.challenge_expired, f"challenge {challenge.id} expired {challenge.expires.isoformat()}")


def _check_binding(challenge: Challenge, csr: CertificationRequest) -> None:
    if challenge.common_name is not None and _common_names(csr) != [challenge.common_name]:
        raise Reject(Reason.challenge_not_for_request, f"challenge {challenge.id} is bound to another common name")
    if challenge.names and _requested_names(csr) != {_folded(name) for name in challenge.names}:
        raise Reject(Reason.challenge_not_for_request, f"challenge {challenge.id} is bound to other names")
    if challenge.subject is not None and to_text(csr.subject) != challenge.subject:
        raise Reject(Reason.challenge_not_for_request, f"challenge {challenge.id} is bound to another subject")
    # "rsa" takes every size, "rsa-2048" that one.
    if challenge.key_type is not None and not f"{requested_key(csr)}-".startswith(f"{challenge.key_type}-"):
        raise Reject(Reason.challenge_not_for_request, f"challenge {challenge.id} is bound to another kind of key")


def _common_names(csr: CertificationRequest) -> list[str]:
    # All of them: a second common name beside the bound one would be one that nobody vouched for.
    return [attribute.value for rdn in csr.subject for attribute in rdn if attribute.oid == COMMON_NAME]


def _requested_names(csr: CertificationRequest) -> set[str]:
    return {
        _folded(f"{name.kind}:{name.value}")
        for extension in csr.extensions
        if extension.oid == _SUBJECT_ALTERNATIVE_NAME
        for name in general_names_from_extension(extension.value_der)
    }


def _folded(name: str) -> str:
    """Return a name as it is compared: DNS names know no case (RFC 4343)."""
    return name.lower() if name.startswith("dns:") else name

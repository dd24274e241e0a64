"""Challenges as passwords (RFC 8894 section 3.1): which of them a message may be encrypted with, and how they are kept."""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from scepd.ports import Store
from scepd.records import Challenge, Identity, Secret, TransactionKey

_PURPOSE = b"scepd: sealed challenges, 1"
_NONCE = 12  # octets
_KEY = 32


def seal(store_key: bytes, secret: Secret, *, profile: str, random: Callable[[int], bytes]) -> bytes:
    """Return a challenge encrypted under the store key, to be opened for the same profile alone."""
    nonce = random(_NONCE)
    return nonce + AESGCM(_sealing_key(store_key)).encrypt(nonce, secret.reveal().encode(), profile.encode())


def unseal(store_key: bytes, sealed: bytes, *, profile: str) -> Secret | None:
    """Return the challenge; None where it was sealed under another store key, for another profile, or is damaged."""
    return _open(AESGCM(_sealing_key(store_key)), sealed, profile)


def _sealing_key(store_key: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=_KEY, salt=None, info=_PURPOSE).derive(store_key)


def _open(key: AESGCM, sealed: bytes, profile: str) -> Secret | None:
    try:
        return Secret(key.decrypt(sealed[:_NONCE], sealed[_NONCE:], profile.encode()).decode())
    except (InvalidTag, ValueError):  # ValueError: shorter than a nonce
        return None


class ProfilePasswords:
    """`ports.Passwords` of a profile that takes PasswordRecipientInfo."""

    def __init__(self, profile: str, store_key: bytes, statics: tuple[Secret, ...], most: int = 8) -> None:
        """Take the profile's static challenges, and how many one-time challenges may wait at most (C-253)."""
        self._profile = profile
        self._key = AESGCM(_sealing_key(store_key))
        self._statics = statics
        self._most = most

    def candidates(
        self, store: Store, transaction_id: str, now: datetime, *, requester: bytes | None = None
    ) -> Sequence[Secret]:
        """Return the texts that a message may be encrypted with, in the order to try them.

        First that of the transaction which the requester (SHA-256 of its SubjectPublicKeyInfo) already has under
        that transactionID, then the static ones, then those of the waiting one-time challenges, unless there are
        more than we are ready to derive keys from: then none of these.
        """
        waiting = store.waiting_challenges(self._profile, now, self._most + 1)
        texts = [
            *self._known(store, transaction_id, requester),
            *self._statics,
            *(self._unsealed(challenge) for challenge in waiting[: self._most if len(waiting) <= self._most else 0]),
        ]
        distinct: list[Secret] = []
        for text in texts:
            if text is not None and text not in distinct:
                distinct.append(text)
        return distinct

    def of_identity(self, store: Store, identity: Identity) -> Secret | None:
        """Return the text that authenticated somebody.

        None where nothing is kept of it, and for a profile with several static challenges: which one it was is
        not on record.
        """
        if identity.method == "static":
            return self._statics[0] if len(self._statics) == 1 else None
        number = identity.challenge_id
        challenge = None if number is None else store.challenge(number)
        return None if challenge is None else self._unsealed(challenge)

    def _known(self, store: Store, transaction_id: str, requester: bytes | None) -> Iterator[Secret | None]:
        if requester is None:
            return
        transaction = store.recall(TransactionKey(self._profile, transaction_id, requester))
        if transaction is not None:
            yield self.of_identity(store, transaction.identity)

    def _unsealed(self, challenge: Challenge) -> Secret | None:
        return None if challenge.sealed is None else _open(self._key, challenge.sealed, self._profile)

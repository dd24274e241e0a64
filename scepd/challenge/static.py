"""The static challenge: one text for all devices of a profile."""

import hmac
from datetime import datetime

from scepd.challenge.digest import keyed_digest
from scepd.message.csr import CertificationRequest
from scepd.ports import Store
from scepd.records import Identity, Secret
from scepd.refusal import OperatorError


class StaticChallenge:
    """`ports.ChallengeMethod` that compares keyed digests in constant time."""

    name = "static"

    def __init__(self, digest: bytes, store_key: bytes) -> None:
        """Take the digest of the text under the store key; nothing keeps the text itself."""
        self._digest = digest
        self._store_key = store_key

    @classmethod
    def from_secret(cls, secret: Secret, store_key: bytes) -> "StaticChallenge":
        """Return the method for a text; OperatorError for an empty one, which would let everybody in (C-150)."""
        if not secret:
            raise OperatorError(
                "a static challenge is empty",
                'challenge = [{ method = "static", secret = { file = "static-challenge" } }]',
            )
        return cls(keyed_digest(store_key, secret.reveal()), store_key)

    def authenticate(self, csr: CertificationRequest, store: Store, now: datetime) -> Identity | None:  # noqa: ARG002 - the port's signature
        """Return the identity shared by all who know the text; None for any other challenge and for none."""
        if not csr.challenge:
            return None
        presented = keyed_digest(self._store_key, csr.challenge.reveal())
        return Identity(self.name, "shared challenge") if hmac.compare_digest(presented, self._digest) else None

"""No challenge at all: anybody may ask, and a person decides about each request."""

from datetime import datetime

from scepd.message.csr import CertificationRequest
from scepd.ports import Store
from scepd.records import Identity


class NoChallenge:
    """`ports.ChallengeMethod` that knows everybody; only a profile whose requests wait for a person may name it."""

    name = "none"

    def authenticate(self, csr: CertificationRequest, store: Store, now: datetime) -> Identity | None:  # noqa: ARG002 - the port's signature
        """Return the identity of nobody in particular; whatever challenge the request carries proves nothing here."""
        return Identity(self.name, "anybody")

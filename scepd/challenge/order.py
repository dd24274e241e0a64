"""A profile's challenge methods, asked one after the other."""

from collections.abc import Sequence
from datetime import datetime

from scepd.message.csr import CertificationRequest
from scepd.ports import ChallengeMethod, Store
from scepd.records import Identity
from scepd.refusal import Reason, Reject


def authenticate_in_order(
    methods: Sequence[ChallengeMethod],
    csr: CertificationRequest,
    store: Store,
    now: datetime,
) -> Identity:
    """Return the identity from the first method that knows the challenge; the profile's order decides, never its shape.

    Raises Reject(challenge_missing | challenge_invalid), or what a method raises for a challenge of its own.
    """
    for method in methods:
        identity = method.authenticate(csr, store, now)
        if identity is not None:
            return identity
    if not csr.challenge:
        raise Reject(Reason.challenge_missing, "the request carries no challenge")
    raise Reject(Reason.challenge_invalid, "no challenge method of the profile knows the challenge")

"""A profile's challenge methods, asked one after the other."""

from collections.abc import Sequence
from datetime import datetime

import attrs

from scepd.message.csr import CertificationRequest
from scepd.ports import ChallengeMethod, Store
from scepd.records import Identity
from scepd.refusal import Reason, Reject


@attrs.frozen
class RemotePlace:
    """Where a remote method stands in a profile's order: it is asked on the reactor, not in a lane."""

    name: str


Methods = Sequence[ChallengeMethod | RemotePlace]


def authenticate_in_order(
    methods: Methods,
    csr: CertificationRequest,
    store: Store,
    now: datetime,
    *,
    start: int = 0,
) -> Identity | int:
    """Return the identity from the first method that knows the challenge; the profile's order decides, never its shape.

    Where a remote method's turn comes, its index is returned; with the one after it as `start` the others follow.
    Raises Reject(challenge_missing | challenge_invalid), or what a method raises for a challenge of its own.
    """
    for index, method in enumerate(methods[start:], start):
        if isinstance(method, RemotePlace):
            return index
        identity = method.authenticate(csr, store, now)
        if identity is not None:
            return identity
    if not csr.challenge:
        raise Reject(Reason.challenge_missing, "the request carries no challenge")
    raise Reject(Reason.challenge_invalid, "no challenge method of the profile knows the challenge")

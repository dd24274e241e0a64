"""How often guesses at a challenge may fail, by network, by profile and by the key that signs them (threats F)."""

from collections.abc import Callable
from typing import Any

from scepd.refusal import WIRE, WRONG_CHALLENGE, Reason
from scepd.web.gcra import RateLimit

# Who guesses passwords for PasswordRecipientInfo is refused like anybody whose content cannot be read, and counted
# like them: what is counted must not tell apart what the answer does not.
_UNIFORM = frozenset(reason for reason in Reason if WIRE[reason] == WIRE[Reason.password_unknown])
CHALLENGE_FAILURES = WRONG_CHALLENGE | _UNIFORM
_FAILURE_WORDS = frozenset(reason.value for reason in CHALLENGE_FAILURES)


def is_challenge_failure(reason: str) -> bool:
    """Return whether a refusal of that reason counts as a failed guess."""
    return reason in _FAILURE_WORDS


class FailureLimits:
    """Counts failed guesses in memory; 0 means no limit. Each worker has its share of the rates.

    Only failures count: a network whose devices enrol is never in its own way. What is not given is neither asked nor
    counted.
    """

    def __init__(
        self, *, per_network: float = 0, per_profile: float = 0, per_key: float = 0, clock: Callable[[], int]
    ) -> None:
        """Take the rates a minute, and a clock that never goes back, in nanoseconds."""
        self._limits = {
            kind: RateLimit(rate, clock=clock)
            for kind, rate in (("network", per_network), ("profile", per_profile), ("key", per_key))
            if rate
        }

    def blocked(self, *, network: str | None = None, profile: str | None = None, key: bytes | None = None) -> float:
        """Return the seconds until another guess may be made, 0.0 for now; `key` is the SHA-256 of the signer's key."""
        return max((limit.wait(name) for limit, name in self._of(network, profile, key)), default=0.0)

    def failed(self, *, network: str | None = None, profile: str | None = None, key: bytes | None = None) -> None:
        """Count a failed guess."""
        for limit, name in self._of(network, profile, key):
            limit.take(name)

    def _of(self, network: str | None, profile: str | None, key: bytes | None) -> list[tuple[RateLimit, Any]]:
        names = {"network": network, "profile": profile, "key": None if key is None else key.hex()}
        return [(limit, names[kind]) for kind, limit in self._limits.items() if names[kind] is not None]

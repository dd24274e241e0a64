"""Guesses at a challenge: how often they may fail, and what comes after too many (threats S-30)."""

import math
from collections.abc import Callable

from scepd.enroll.case import Asking
from scepd.enroll.context import Context
from scepd.records import Certificate, Identity
from scepd.refusal import WRONG_CHALLENGE, Reject, Unavailable


def let_guess(context: Context, asking: Asking, act: Callable[[], Identity | int]) -> Identity | int:
    """Let a key try a challenge, not more often than may fail: over that its device comes again later."""
    if context.guesses is None:
        return act()
    wait = context.guesses.blocked(key=asking.key.requester)
    if wait:
        raise Unavailable("too many challenges failed", retry_after=math.ceil(wait))
    try:
        return act()
    except Reject as refused:
        count_guess(context, asking, refused)
        raise


def count_guess(context: Context, asking: Asking, refused: Reject) -> None:
    """Count a refusal that was a wrong challenge."""
    if context.guesses is not None and refused.reason in WRONG_CHALLENGE:
        context.guesses.failed(profile=asking.profile.name, key=asking.key.requester)


def is_besieged(context: Context, asking: Asking, previous: Certificate | None) -> bool:
    """Return whether so much fails at the profile that a person decides about who guessed right, too.

    Strangers can use up what a profile may fail: it must lock nobody out. A renewal guesses nothing.
    """
    if context.guesses is None or previous is not None or not context.guesses.blocked(profile=asking.profile.name):
        return False
    asking.trail.step("besieged", "too many challenges failed at the profile: a person decides")
    return True

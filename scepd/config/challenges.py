"""From [profile.NAME] challenge to the rules that say who is let in: their order, and what they must be together."""

import math
import string
from collections.abc import Iterator

from scepd.config.access_sections import ChallengeSection
from scepd.config.methods import compile_method
from scepd.config.secret import Surroundings
from scepd.problems import Place, Refused
from scepd.profile.model import ChallengeRule, StaticRule

_PASSWORD_BITS = 128  # of a challenge that protects messages too (C-256)
# What generated secrets are made of, smallest alphabet first; anything else counts as base64.
_ALPHABETS = tuple(
    map(frozenset, (string.digits, string.digits + "abcdef", string.digits + "ABCDEF", string.digits + string.ascii_lowercase,
                    string.digits + string.ascii_uppercase)),
)  # fmt: skip
_BASE64 = 64

# Two texts, or two services, are two methods; anything else is there once or twice the same.
_REPEATABLE = frozenset({"static", "webhook"})
# What never passes a request on to the method after it.
_LAST = {
    "none": "none lets everybody ask",
    "client-certificate": "whoever gets here has shown a certificate",
}


def compile_challenges(
    written: tuple[ChallengeSection, ...] | None,
    surroundings: Surroundings,
    place: Place,
    *,
    passwords: bool = False,
) -> tuple[ChallengeRule, ...]:
    """Return the rules in the order in which they are asked; `written` is None where the key was missing or unreadable.

    With `passwords` the challenges protect messages too, so that who records one can guess at leisure.
    """
    if written == ():
        # Without an authenticator anybody would be certified (threats S-32).
        place.problem("no challenge method is listed", 'challenge = [{ method = "one-time", valid = "24h" }]')
    challenges = written or ()
    _judge_order([challenge.method for challenge in challenges], place)
    rules = [compile_method(entry, surroundings, place / index) for index, entry in enumerate(challenges)]
    if passwords:
        for index, (entry, rule) in enumerate(zip(challenges, rules, strict=True)):
            for key, refused in _judge_password(entry, rule):
                (place / index / key).refuse(refused)
        if challenges and all(challenge.method not in {"one-time", "static", "none", None} for challenge in challenges):
            hint = 'challenge = [{ method = "one-time" }]; or leave password_encryption out'
            place.problem("there is no password to encrypt with", hint)
    return tuple(rule for rule in rules if rule is not None)


def _judge_order(methods: list[str | None], place: Place) -> None:
    for method in dict.fromkeys(methods):
        if method is not None and method not in _REPEATABLE and methods.count(method) > 1:
            place.problem(f"{method} is listed twice", "keep one of them")
    for method, reason in _LAST.items():
        if method in methods[:-1]:
            place_of_it = place / methods.index(method)
            place_of_it.problem(f"{reason}, so nothing after it is ever tried", "write it last")


def _judge_password(section: ChallengeSection, rule: ChallengeRule | None) -> Iterator[tuple[str, Refused]]:
    """Yield what keeps a challenge from protecting messages (RFC 8894 section 7.3)."""
    if section.method == "none":
        yield (
            "method",
            Refused("there is no password to encrypt with", "another method; or leave password_encryption out"),
        )
    if section.insecurely_short:
        hint = "a longer secret (openssl rand -hex 16); or leave password_encryption out"
        yield "insecurely_short", Refused("password_encryption needs generated challenges, never short ones", hint)
    elif isinstance(rule, StaticRule) and not _is_generated(rule.secret.reveal()):
        hint = "openssl rand -hex 16 makes a good one"
        yield (
            "secret",
            Refused(f"password_encryption needs generated challenges of at least {_PASSWORD_BITS} bits", hint),
        )


def _is_generated(text: str) -> bool:
    """Return whether a text can be what a generator of enough random bits wrote."""
    alphabet = next((len(letters) for letters in _ALPHABETS if letters.issuperset(text)), _BASE64)
    return len(text) * math.log2(alphabet) >= _PASSWORD_BITS and not any(character.isspace() for character in text)

"""From [profile.NAME] challenge to the rules that say who is let in."""

import math
import string
from collections.abc import Iterator

from scepd.config.problems import Place, Refused
from scepd.config.profile_sections import ChallengeSection
from scepd.config.secret import Surroundings, read_secret
from scepd.profile.model import ChallengeRule, NoChallengeRule, OneTimeRule, StaticRule

_SHORTEST_STATIC = 20  # characters (threats S-30)
_PASSWORD_BITS = 128  # of a challenge that protects messages too (C-256)
# What generated secrets are made of, smallest alphabet first; anything else counts as base64.
_ALPHABETS = tuple(
    map(frozenset, (string.digits, string.digits + "abcdef", string.digits + "ABCDEF", string.digits + string.ascii_lowercase,
                    string.digits + string.ascii_uppercase)),
)  # fmt: skip
_BASE64 = 64


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
    methods = [challenge.method for challenge in challenges]
    if methods.count("one-time") > 1:
        place.problem("one-time is listed twice", "keep one of them")
    if "none" in methods[:-1]:
        (place / methods.index("none")).problem(
            "none lets everybody ask, so nothing after it is ever tried", "write it last"
        )
    rules = [_compile_challenge(entry, surroundings, place / index) for index, entry in enumerate(challenges)]
    if passwords:
        for index, (entry, rule) in enumerate(zip(challenges, rules, strict=True)):
            for key, refused in _judge_password(entry, rule):
                (place / index / key).refuse(refused)
    return tuple(rule for rule in rules if rule is not None)


def _judge_password(section: ChallengeSection, rule: ChallengeRule | None) -> Iterator[tuple[str, Refused]]:
    """Yield what keeps a challenge from protecting messages (RFC 8894 section 7.3)."""
    if isinstance(rule, NoChallengeRule):
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


def _compile_challenge(section: ChallengeSection, surroundings: Surroundings, place: Place) -> ChallengeRule | None:
    if section.method == "one-time":
        if section.secret is not None:
            (place / "secret").problem(
                "a one-time challenge has no secret here", "scepd challenge new PROFILE makes them"
            )
        if section.insecurely_short:
            (place / "insecurely_short").problem("one-time challenges are made here, never short", "leave it out")
        return OneTimeRule() if section.valid is None else OneTimeRule(section.valid)
    if section.method == "none":
        for key in ("valid", "secret", "insecurely_short"):
            if getattr(section, key):
                (place / key).problem("nothing is asked, so nothing can be said about it", "leave it out")
        return NoChallengeRule()
    if section.method != "static":
        return None
    if section.valid is not None:
        (place / "valid").problem("a static challenge does not expire", 'leave it out, or write method = "one-time"')
    return _compile_static(section, surroundings, place / "secret")


def _compile_static(section: ChallengeSection, surroundings: Surroundings, place: Place) -> StaticRule | None:
    if section.secret is None:
        place.problem("is missing or cannot be used", 'secret = { credential = "routers-challenge" }')
        return None
    try:
        secret = read_secret(section.secret, surroundings)
    except Refused as refused:
        place.refuse(refused)
        return None
    text = secret.reveal()
    if not text.strip() or not text.isprintable():
        place.problem("the challenge has control characters or nothing but spaces", "write one line of text")
    elif len(text) < _SHORTEST_STATIC and not section.insecurely_short:
        hint = "openssl rand -hex 16 makes a good one; insecurely_short = true takes this one all the same"
        place.problem(f"the challenge is shorter than {_SHORTEST_STATIC} characters", hint)
    return StaticRule(secret)

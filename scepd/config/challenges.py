"""From [profile.NAME] challenge to the rules that say who is let in."""

from scepd.config.problems import Place, Refused
from scepd.config.secret import Surroundings, read_secret
from scepd.config.sections import ChallengeSection
from scepd.profile.model import ChallengeRule, OneTimeRule, StaticRule

_SHORTEST_STATIC = 20  # characters (threats S-30)


def compile_challenges(
    written: tuple[ChallengeSection, ...] | None,
    surroundings: Surroundings,
    place: Place,
) -> tuple[ChallengeRule, ...]:
    """Return the rules in the order in which they are asked; `written` is None where the key was missing or unreadable."""
    if written == ():
        # Without an authenticator anybody would be certified (threats S-32).
        place.problem("no challenge method is listed", 'challenge = [{ method = "one-time", valid = "24h" }]')
    challenges = written or ()
    if [challenge.method for challenge in challenges].count("one-time") > 1:
        place.problem("one-time is listed twice", "keep one of them")
    rules = (_compile_challenge(entry, surroundings, place / index) for index, entry in enumerate(challenges))
    return tuple(rule for rule in rules if rule is not None)


def _compile_challenge(section: ChallengeSection, surroundings: Surroundings, place: Place) -> ChallengeRule | None:
    if section.method == "one-time":
        if section.secret is not None:
            (place / "secret").problem(
                "a one-time challenge has no secret here", "scepd challenge new PROFILE makes them"
            )
        if section.insecurely_short:
            (place / "insecurely_short").problem("one-time challenges are made here, never short", "leave it out")
        return OneTimeRule() if section.valid is None else OneTimeRule(section.valid)
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

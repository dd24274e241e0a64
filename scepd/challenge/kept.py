"""The methods that are judged by what the profile and the store keep: one place that makes them from their rules."""

from scepd.challenge.entity import EntityChallenge, authorities
from scepd.challenge.none import NoChallenge
from scepd.challenge.one_time import OneTimeChallenge
from scepd.challenge.static import StaticChallenge
from scepd.challenge.wrong_codes import WrongCodes
from scepd.ports import ChallengeMethod
from scepd.profile.access import ChallengeRule, EntityRule, NoChallengeRule, OneTimeRule, StaticRule
from scepd.profile.model import Profile


def make_kept_method(
    rule: ChallengeRule, profile: Profile, store_key: bytes, wrong_codes: WrongCodes
) -> ChallengeMethod | None:
    """Return the method of a rule; None for a rule whose method needs a file, a connection or somebody outside."""
    match rule:
        case OneTimeRule():
            return OneTimeChallenge(profile.name, store_key)
        case StaticRule():
            return StaticChallenge.from_secret(rule.secret, store_key)
        case EntityRule():
            return EntityChallenge(profile.name, store_key, wrong_codes, authorities(profile, rule, store_key))
        case NoChallengeRule():
            return NoChallenge()
        case _:
            return None

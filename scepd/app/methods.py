"""The challenge methods that the lanes of a worker ask, made from the settings; `app.outside` has those of the reactor."""

from collections.abc import Mapping

import attrs
from twisted.logger import Logger

from scepd.challenge.anchors import AnchorFile
from scepd.challenge.client_certificate import ClientCertificateChallenge
from scepd.challenge.intune import IntuneMethod
from scepd.challenge.kept import make_kept_method
from scepd.challenge.order import Methods, RemotePlace
from scepd.challenge.signed import SignedChallenge
from scepd.challenge.webhook import WebhookMethod
from scepd.challenge.wrong_codes import WrongCodes
from scepd.config.settings import Settings
from scepd.ports import ChallengeMethod, Clock
from scepd.profile.access import ChallengeRule, ClientCertificateRule, IntuneRule, SignedRule, WebhookRule
from scepd.profile.model import Profile
from scepd.profile.switches import Switches
from scepd.refusal import OperatorError

_LOG = Logger(namespace="scepd.challenge")


@attrs.frozen
class Doorkeepers:
    """What all lanes of a worker share: the methods by profile, and what they count and hear of between requests."""

    methods: Mapping[str, Methods]
    wrong_codes: WrongCodes
    switches: Switches

    @classmethod
    def make(cls, settings: Settings, store_key: bytes, clock: Clock) -> "Doorkeepers":
        """Make them all; raises `OperatorError` for files that cannot be used."""
        wrong_codes = WrongCodes()
        methods = {
            profile.name: tuple(
                _make_method(rule, profile, store_key, clock, wrong_codes) for rule in profile.challenge
            )
            for profile in settings.profiles
        }
        return cls(methods, wrong_codes, Switches())


def _make_method(
    rule: ChallengeRule, profile: Profile, store_key: bytes, clock: Clock, wrong_codes: WrongCodes
) -> ChallengeMethod | RemotePlace:
    kept = make_kept_method(rule, profile, store_key, wrong_codes)
    if kept is not None:
        return kept
    match rule:
        case SignedRule():
            return SignedChallenge(rule, AnchorFile(rule.trust, clock.now(), _tell))
        case ClientCertificateRule():
            gate = profile.client_certificate
            return ClientCertificateChallenge("same" if gate is None else gate.subject)
        case WebhookRule():
            return RemotePlace(WebhookMethod.name)
        case IntuneRule():
            return RemotePlace(IntuneMethod.name)
        case _:  # never let in by a method that nobody asks
            raise TypeError(f"no method is made from {type(rule).__name__}")


def _tell(problem: OperatorError) -> None:
    _LOG.error(event="trust_not_renewed", problem=problem.problem, hint=problem.hint)

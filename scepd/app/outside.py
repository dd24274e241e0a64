"""The services outside that a worker asks and tells, put together from the profiles' rules."""

import os
from collections.abc import Mapping
from typing import Any, Self

import attrs

from scepd.challenge.intune import IntuneMethod, IntuneNotifier, IntuneService
from scepd.challenge.told import INTUNE, webhook_name
from scepd.challenge.webhook import Hook, WebhookCompliance, WebhookMethod, WebhookNotifier
from scepd.enroll.suspended import COMPLIANCE
from scepd.ports import Clock, Notifier, RemoteMethod
from scepd.profile.access import IntuneRule, WebhookRule
from scepd.profile.model import Profile


@attrs.frozen
class Outside:
    """What `enroll.answer.Answerer` and `OutboxDuty` are given."""

    remotes: Mapping[str, Mapping[int, RemoteMethod]]
    notifiers: Mapping[tuple[str, str], Notifier]

    @classmethod
    def of_profiles(cls, profiles: tuple[Profile, ...], reactor: Any, clock: Clock) -> Self:
        """Return the services of all profiles. Raises `OperatorError` for trust or credentials that cannot be used."""
        remotes: dict[str, dict[int, RemoteMethod]] = {}
        notifiers: dict[tuple[str, str], Notifier] = {}
        for profile in profiles:
            remotes[profile.name] = _remotes(profile, reactor, clock, notifiers)
            for rule in profile.notify:
                hook = Hook.of_rule(rule, reactor, clock, os.urandom)
                notifiers[profile.name, webhook_name(rule)] = WebhookNotifier(hook)
        return cls(remotes, notifiers)


def _remotes(
    profile: Profile, reactor: Any, clock: Clock, notifiers: dict[tuple[str, str], Notifier]
) -> dict[int, RemoteMethod]:
    remotes: dict[int, RemoteMethod] = {}
    last = len(profile.challenge) - 1
    for place, rule in enumerate(profile.challenge):
        if isinstance(rule, WebhookRule):
            remotes[place] = WebhookMethod(Hook.of_rule(rule, reactor, clock, os.urandom), rule.attributes)
        elif isinstance(rule, IntuneRule):
            service = IntuneService.of_rule(rule, reactor, clock, os.urandom)
            remotes[place] = IntuneMethod(service, is_last=place == last)
            notifiers[profile.name, INTUNE] = IntuneNotifier(service)
    if profile.compliance is not None:
        remotes[COMPLIANCE] = WebhookCompliance(Hook.of_rule(profile.compliance, reactor, clock, os.urandom))
    return remotes

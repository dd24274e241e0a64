"""Who is told how the requests of a profile end, by the names that the outbox knows them by."""

import hashlib

from scepd.profile.access import IntuneRule, WebhookRule
from scepd.profile.model import Profile

INTUNE = "intune"


def webhook_name(rule: WebhookRule) -> str:
    """Return the name of a notifier: the same as long as its URL is, wherever the configuration lists it."""
    return f"webhook-{hashlib.sha256(rule.url.encode()).hexdigest()[:12]}"


def notifiers_of(profile: Profile, identity_method: str) -> tuple[str, ...]:
    """Return who is told of a request by somebody whom that method knows; Intune hears of its own devices alone."""
    webhooks = tuple(dict.fromkeys(webhook_name(rule) for rule in profile.notify))
    is_intunes = identity_method == INTUNE and any(isinstance(rule, IntuneRule) for rule in profile.challenge)
    return (INTUNE, *webhooks) if is_intunes else webhooks


def wants_request(notifiers: tuple[str, ...]) -> bool:
    """Return whether somebody among them must be sent the request as it was received."""
    return INTUNE in notifiers

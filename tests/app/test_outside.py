"""From rules to services: each in its place, and told by a name that lasts."""

from datetime import timedelta

import pytest
import trustme
from twisted.internet.task import Clock as FakeReactor

from scepd.app.clock import UtcClock
from scepd.app.outside import Outside
from scepd.challenge.told import notifiers_of, wants_request, webhook_name
from scepd.enroll.suspended import COMPLIANCE
from scepd.profile.access import IntuneRule, StaticRule, WebhookRule
from scepd.profile.model import Profile
from scepd.records import Secret
from scepd.refusal import OperatorError


@pytest.fixture(scope="module")
def trust_pem():
    return trustme.CA().cert_pem.bytes()


def webhook(trust_pem, path="a"):
    return WebhookRule(url=f"https://mdm.example.net/{path}", secret=Secret("s" * 32), trust_pem=trust_pem)


def test_P5_C10_each_service_stands_in_its_place(trust_pem):
    intune = IntuneRule(tenant="t", client_id="c", secret=Secret("x"), trust_pem=trust_pem, timeout=timedelta(seconds=1))
    profile = Profile(
        name="laptops",
        challenge=(StaticRule(Secret("x" * 20)), intune, webhook(trust_pem)),
        compliance=webhook(trust_pem, "c"),
        notify=(webhook(trust_pem, "n"),),
    )
    plain = Profile(name="routers", challenge=(StaticRule(Secret("x" * 20)),))
    outside = Outside.of_profiles((profile, plain), FakeReactor(), UtcClock())
    assert {place: method.name for place, method in outside.remotes["laptops"].items()} == {
        1: "intune",
        2: "webhook",
        COMPLIANCE: "compliance",
    }
    assert outside.remotes["routers"] == {}
    names = notifiers_of(profile, "intune")
    assert {("laptops", name) for name in names} == set(outside.notifiers)
    assert (notifiers_of(profile, "webhook"), notifiers_of(plain, "intune")) == (names[1:], ())
    assert (wants_request(names), wants_request(names[1:])) == (True, False)


def test_P5_a_notifiers_name_follows_its_url(trust_pem):
    first, second = webhook(trust_pem, "a"), webhook(trust_pem, "b")
    one, other = Profile(name="p", notify=(first, second)), Profile(name="p", notify=(second, first, first))
    assert set(notifiers_of(one, "static")) == set(notifiers_of(other, "static")) == {webhook_name(first), webhook_name(second)}


def test_S94_trust_that_cannot_be_used_is_told_at_the_start():
    profile = Profile(name="p", notify=(webhook(b"-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n"),))
    with pytest.raises(OperatorError):
        Outside.of_profiles((profile,), FakeReactor(), UtcClock())

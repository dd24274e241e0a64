"""Services outside hear how the requests of known devices end: the places are held with the claim (P5, C9)."""

import secrets
from datetime import timedelta

import pytest

from scepd.challenge.enclosure import Enclosures
from scepd.challenge.told import INTUNE, webhook_name
from scepd.profile.access import IntuneRule, WebhookRule
from scepd.profile.model import ApprovalRule
from scepd.records import Identity, Secret
from tests import make
from tests.enroll.test_remote import Asked, Site
from tests.world import STATIC, STORE_KEY

NOTIFY = WebhookRule(url="https://mdm.example.net/told", secret=Secret("s" * 32))
INTUNES = IntuneRule(tenant="t", client_id="c", secret=Secret("x"), timeout=timedelta(seconds=1))
ENCLOSURES = Enclosures(STORE_KEY, secrets.token_bytes)


@pytest.fixture
def site(keys, tmp_path):
    def make_site(known=Identity("intune", "laptop 7"), **fields):  # noqa: B008 - a frozen value
        made = Site(keys, tmp_path, Asked(known), notify=(NOTIFY,), **fields)
        made.world.context.enclosures = ENCLOSURES
        return made

    return make_site


def due(site):
    return {(posting.kind, posting.notice.outcome): posting for posting in site.world.store.due_notices(100)}


def test_P5_a_webhook_hears_of_a_certificate(site):
    site = site(place=2)
    site.send(site.device.request(challenge=STATIC))
    [((kind, outcome), posting)] = due(site).items()
    assert (kind, outcome) == (webhook_name(NOTIFY), "issued")
    assert posting.notice.serial == site.world.issued()[0].serial
    assert posting.enclosure is None


def test_C9_intune_hears_of_its_own_and_gets_the_request_back(site):
    site = site(rule=INTUNES)
    body = make.csr(challenge="theirs")
    site.send(site.device.request(csr_der=body))
    told = due(site)
    assert set(told) == {(INTUNE, "issued"), (webhook_name(NOTIFY), "issued")}
    assert ENCLOSURES.open("default", told[INTUNE, "issued"].enclosure) == body


def test_P5_a_request_that_waits_is_told_of_twice(site):
    site = site(approval=ApprovalRule(), rule=INTUNES)
    site.send(site.device.request(challenge="theirs"))
    assert {outcome for _kind, outcome in due(site)} == {"pending"}
    [transaction] = site.world.store.transactions()
    site.world.store.decide(transaction.id, approve=True, who="test")
    site.send(site.device.poll())
    assert (INTUNE, "issued") in due(site)


def test_P5_nobody_is_told_of_a_stranger(site):
    site = site(known=None, rule=INTUNES)
    assert site.send(site.device.request(challenge="wrong")).reason == "challenge_invalid"
    assert due(site) == {}


def test_C9_without_a_key_to_seal_with_nothing_is_enclosed(site):
    site = site(rule=INTUNES)
    site.world.context.enclosures = None
    site.send(site.device.request(challenge="theirs"))
    assert due(site)[INTUNE, "issued"].enclosure is None

"""Profiles as people see them."""

import json
import re
from datetime import timedelta
from ipaddress import ip_network

import attrs
import pytest

from scepd.admin.api import handle
from scepd.profile import access
from scepd.profile.model import NamePolicy, Profile, SubjectPolicy
from scepd.records import Attribute, Secret

PROFILES = "/api/v1/profiles"


@pytest.fixture
def actions(actions):
    whole = Profile(
        name="whole",
        enabled=False,
        challenge=(
            access.OneTimeRule(timedelta(hours=2)),
            access.StaticRule(Secret("the secret of all")),
            access.EntityRule(),
            access.WebhookRule(url="https://mdm.example.net", secret=Secret("the key of the hook"), trust_pem=b"PEM"),
            access.ClientCertificateRule(),
            access.NoChallengeRule(),
        ),
        subject=SubjectPolicy(patterns=(("CN", re.compile("r.*")),), fixed=(Attribute("2.5.4.10", "Example"),)),
        names=NamePolicy(ip=(ip_network("192.0.2.0/24"),)),
    )
    return attrs.evolve(actions, profiles={**actions.profiles, "whole": whole})


def test_S33_a_profile_is_shown_whole_without_its_secrets(actions):
    status, shown = handle(actions, "GET", f"{PROFILES}/whole")
    text = json.dumps(shown)
    assert status == 200
    assert "the secret" not in text
    assert "the key" not in text
    assert [entry["method"] for entry in shown["challenge"]] == [
        "one-time", "static", "entity", "webhook", "client-certificate", "none",
    ]  # fmt: skip
    assert shown["challenge"][0]["valid"] == "7200s"
    assert shown["subject"]["patterns"] == [["CN", "r.*"]]
    assert shown["subject"]["fixed"] == ["O=Example"]
    assert shown["names"]["ip"] == ["192.0.2.0/24"]
    assert shown["validity"] == "31536000s"


def test_a_profile_is_switched_off_at_once_and_on_again(actions):
    for word, enabled in (("disable", False), ("disable", False), ("enable", True)):
        status, shown = handle(actions, "POST", f"{PROFILES}/routers/{word}", {}, who="user ann")
        assert (status, shown["enabled"]) == (200, enabled)
        listed = {row["name"]: row["enabled"] for row in handle(actions, "GET", PROFILES)[1]}
        assert listed == {"phones": True, "routers": enabled, "whole": False}
    rows = actions.repository.audit(target="profile routers")
    assert [(row.action, row.actor) for row in rows][::-1] == [
        ("profile_disabled", "user ann"),
        ("profile_enabled", "user ann"),
    ]


def test_what_the_configuration_has_off_stays_off(actions):
    status, told = handle(actions, "POST", f"{PROFILES}/whole/enable", {})
    assert (status, told["hint"]) == (400, "[profile.whole] enabled = true")


def test_a_profile_that_is_not_there(actions):
    for method, path in (("GET", "nobody"), ("POST", "nobody/enable"), ("POST", "nobody/disable")):
        assert handle(actions, method, f"{PROFILES}/{path}", {})[0] == 404

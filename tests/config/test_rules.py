"""Renewal, approval, signing time and challenges of a profile: what is written, and what it becomes."""

import re
from datetime import timedelta
from ipaddress import ip_network

import pytest

from scepd.profile.model import (
    ApprovalRule,
    AutomaticWhen,
    NoChallengeRule,
    OneTimeRule,
    RenewalRule,
    SigningTimeRule,
    StaticRule,
)
from scepd.profile.presets import PRESETS

from .pki import base, write_secret

DAY = timedelta(days=1)
ONE_TIME = {"method": "one-time"}
NONE = {"method": "none"}


def routers(compiled, **changes):
    tables = base()
    tables["profile"]["routers"].update(changes)
    return compiled(tables).profiles[0]


def problem_of(refused, **changes):
    tables = base()
    tables["profile"]["routers"].update(changes)
    (problem,) = refused(tables)
    return problem


@pytest.mark.parametrize(
    ("written", "rule"),
    [
        ({}, RenewalRule()),
        (False, None),
        ({"earliest": 0}, RenewalRule(earliest=0.0)),
        (
            {
                "earliest": 0.75,
                "grace": "7d",
                "same_key": False,
                "by_pkcsreq": False,
                "challenge": "required",
                "profiles": ["lab", "routers"],
                "issuers": ["devices"],
                "most": 10,
                "longest": "10y",
                "revoke_previous": "7d",
            },
            RenewalRule(
                earliest=0.75,
                grace=7 * DAY,
                same_key=False,
                by_pkcsreq=False,
                challenge="required",
                profiles=("lab", "routers"),
                issuers=("devices",),
                most=10,
                longest=3650 * DAY,
                revoke_previous=7 * DAY,
            ),
        ),
        ({"grace": "0s", "profiles": [], "issuers": []}, RenewalRule()),
    ],
)
def test_C181_renewal(compiled, written, rule):
    assert routers(compiled, renewal=written).renewal == rule


@pytest.mark.parametrize("written", ["1s", "59m"])
def test_C185_C208_a_renewed_certificate_is_not_revoked_before_its_reply_can_be_asked_for_again(refused, written):
    problem = problem_of(refused, renewal={"revoke_previous": written})
    assert (problem.path, problem.hint) == ("$.profile.routers.renewal.revoke_previous", 'write "1h" or more')


def test_C185_an_hour_is_enough(compiled):
    assert routers(compiled, renewal={"revoke_previous": "1h"}).renewal.revoke_previous == timedelta(hours=1)


def test_C184_renewal_is_on_where_nothing_is_written(compiled):
    assert routers(compiled).renewal == RenewalRule()
    assert routers(compiled).renewal.by_pkcsreq


@pytest.mark.parametrize(
    ("written", "rule"),
    [
        ("automatic", None),
        ("manual", ApprovalRule()),
        ({}, ApprovalRule()),
        ({"valid": "2d", "most": 5}, ApprovalRule(valid=2 * DAY, most=5)),
        (
            {"automatic": {"methods": ["one-time"]}},
            ApprovalRule(automatic=AutomaticWhen(methods=frozenset({"one-time"}))),
        ),
        (
            {"automatic": {"networks": ["10.0.0.0/8", "2001:db8::1"], "renewals": False}},
            ApprovalRule(
                automatic=AutomaticWhen(networks=(ip_network("10.0.0.0/8"), ip_network("2001:db8::1")), renewals=False)
            ),
        ),
    ],
)
def test_C200_approval(compiled, written, rule):
    assert routers(compiled, approval=written).approval == rule


def test_C200_nobody_is_asked_where_nothing_is_written(compiled):
    assert routers(compiled).approval is None


def test_C200_conditions_on_the_subject(compiled):
    rule = routers(compiled, approval={"automatic": {"subject": {"CN": "r[0-9]+", "O": "Example"}}}).approval
    assert [(word, pattern.pattern) for word, pattern in rule.automatic.subject] == [
        ("CN", "r[0-9]+"),
        ("O", "Example"),
    ]
    assert isinstance(rule.automatic.subject[0][1], re.Pattern)


def test_C200_renewals_alone_are_automatic(compiled):
    """No challenge method has that name, so every first request goes to a person."""
    automatic = routers(compiled, approval={"automatic": {"renewals": True}}).approval.automatic
    assert automatic.renewals
    assert automatic.methods.isdisjoint({"one-time", "static", "none"})
    assert automatic.methods


def test_a_condition_on_an_attribute_that_is_set(compiled):
    subject = {"allow": ["CN"], "set": {"O": "Example"}}
    rule = routers(compiled, subject=subject, approval={"automatic": {"subject": {"O": "Example"}}}).approval
    assert rule.automatic.subject[0][0] == "O"


@pytest.mark.parametrize(
    ("written", "rule"),
    [
        ({}, SigningTimeRule()),
        ({"skew": "1h"}, SigningTimeRule(skew=timedelta(hours=1))),
        ({"skew": False, "renewal_skew": False}, SigningTimeRule(skew=None, renewal_skew=None)),
        ({"renewal_skew": "5m", "required": True}, SigningTimeRule(renewal_skew=timedelta(minutes=5), required=True)),
    ],
)
def test_C238_signing_time(compiled, written, rule):
    assert routers(compiled, signing_time=written).signing_time == rule


def test_C239_signing_time_by_default_is_asked_of_renewals_alone(compiled):
    assert routers(compiled).signing_time == SigningTimeRule(skew=None, renewal_skew=DAY, required=False)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("unique_subject", True),
        ("get_cert", "public"),
        ("get_cert", "off"),
        ("password_encryption", True),
        ("get_only", True),
        ("ca_certificate_chain", True),
        ("insecurely_accept_raw_csr", True),
    ],
)
def test_C265_each_key_is_the_profile_s_own(compiled, key, value):
    assert getattr(routers(compiled, **{key: value}), key) == value
    assert getattr(routers(compiled), key) != value


def test_C218_names_that_are_copied_or_required(compiled):
    names = routers(compiled, names={"copy": ["unstructuredName"], "required": ["dns"]}).names
    assert (names.copy, names.required, names.takes_common_name) == (("unstructuredName",), ("dns",), True)


def test_C250_password_encryption_is_for_messages_and_opens_the_curves(compiled):
    profile = routers(compiled, password_encryption=True)
    assert profile.crypto.passwords
    assert profile.csr_crypto.passwords
    assert profile.keys.curves == {"P-256", "P-384", "P-521"}
    assert not routers(compiled).crypto.passwords


def test_C257_without_password_encryption_keys_are_rsa_unless_written(compiled):
    assert routers(compiled).keys.curves == frozenset()
    assert routers(compiled, key={"rsa": [3072, 4096]}).keys.curves == frozenset()
    assert routers(compiled, key={"curves": ["P-256"]}).keys.curves == {"P-256"}
    assert routers(compiled, password_encryption=True, key={"curves": ["P-384"]}).keys.curves == {"P-384"}


@pytest.mark.parametrize("key", [{"curves": ["P-256"]}, {"ed25519": True}])
def test_C257_keys_to_which_nothing_could_be_encrypted(refused, compiled, key):
    problem = problem_of(refused, key=key, renewal=False)
    assert problem.path == "$.profile.routers.key"
    assert "none could enrol" in problem.reason
    for way in ({"password_encryption": True}, {"insecurely_accept_raw_csr": True}, {"renewal": {}}):
        routers(compiled, key=key, **{"renewal": False, **way})


def test_ed25519_keys_sign_messages_too(compiled):
    assert routers(compiled, key={"ed25519": True}).crypto.ed25519
    assert not routers(compiled).crypto.ed25519


@pytest.mark.parametrize("approval", ["manual", {}, {"valid": "1d"}])
def test_S32_method_none_with_a_person(compiled, approval):
    profile = routers(compiled, challenge=[ONE_TIME, NONE], approval=approval)
    assert profile.challenge == (OneTimeRule(), NoChallengeRule())
    assert profile.approval.automatic is None


@pytest.mark.parametrize(
    "approval",
    [None, "automatic", {"automatic": {"renewals": True}}, {"automatic": {"networks": ["10.0.0.0/8"]}}],
)
def test_S32_method_none_without_a_person_does_not_start(refused, approval):
    written = {} if approval is None else {"approval": approval}
    problem = problem_of(refused, challenge=[NONE], **written)
    assert (problem.path, problem.hint) == ("$.profile.routers.approval", 'approval = "manual"')
    assert "a person must decide" in problem.reason


def test_S32_an_approval_that_cannot_be_read_is_one_problem(refused):
    assert "is not known here" in problem_of(refused, challenge=[NONE], approval="manuel").reason


def test_method_none_comes_last(refused):
    problem = problem_of(refused, challenge=[NONE, ONE_TIME], approval="manual")
    assert (problem.path, problem.hint) == ("$.profile.routers.challenge[0]", "write it last")


def test_S32_no_challenge_at_all_does_not_start_even_with_a_person(refused):
    assert problem_of(refused, challenge=[], approval="manual").path == "$.profile.routers.challenge"


GENERATED = [
    "9f86d081884c7d659a2feaa0c55ad015",  # 128 bits of hexadecimal
    "9F86D081884C7D659A2FEAA0C55AD015",
    "n4bQgYhMfWWaL+qgxVrQFQ",  # 128 bits of base64
    "k3w9x7q2m5n8r4t6y1z0a3c5e7",  # letters of one case and digits
    "123456789012345678901234567890123456789",  # digits
]
GUESSABLE = [
    "correct horse battery staple",
    "Correct-Horse-Battery",  # 21 characters
    "9f86d081884c7d659a2feaa0c55ad01",
    "K3W9X7Q2M5N8R4T6Y1Z0A3C5",
    "12345678901234567890123456789012345678",
]


@pytest.mark.parametrize("text", GENERATED)
def test_C256_static_challenges_that_can_be_random(compiled, site, text):
    write_secret(site / "s", text.encode())
    static = {"method": "static", "secret": {"file": "s"}}
    assert isinstance(routers(compiled, challenge=[static], password_encryption=True).challenge[0], StaticRule)


@pytest.mark.parametrize("text", GUESSABLE)
def test_C256_human_passwords_protect_no_messages(refused, compiled, site, text):
    write_secret(site / "s", text.encode())
    static = {"method": "static", "secret": {"file": "s"}}
    problem = problem_of(refused, challenge=[static], password_encryption=True)
    assert problem.path == "$.profile.routers.challenge[0].secret"
    assert "at least 128 bits" in problem.reason
    assert text not in str(problem)
    assert routers(compiled, challenge=[static]).challenge


def test_C256_short_challenges_protect_no_messages(refused, site):
    write_secret(site / "s", b"short")
    static = {"method": "static", "secret": {"file": "s"}, "insecurely_short": True}
    problem = problem_of(refused, challenge=[ONE_TIME, static], password_encryption=True)
    assert problem.path == "$.profile.routers.challenge[1].insecurely_short"


def test_C256_no_challenge_protects_no_messages(refused):
    problem = problem_of(refused, challenge=[NONE], approval="manual", password_encryption=True)
    assert problem.path == "$.profile.routers.challenge[0].method"


def test_tables_of_a_preset_are_joined_key_by_key(compiled, monkeypatch):
    preset = {
        "key": {"rsa": (2048, 3072), "curves": ("P-256",)},
        "renewal": {"earliest": 0.25, "grace": "1d"},
        "signing_time": {"skew": "1h", "renewal_skew": "2h"},
        "approval": {"automatic": {"methods": ["one-time"], "renewals": False}, "valid": "1d"},
        "unique_subject": True,
    }
    monkeypatch.setattr("scepd.config.profiles.PRESETS", {**PRESETS, "modern": preset})
    profile = routers(
        compiled,
        preset="modern",
        key={"rsa": [4096, 4096]},
        renewal={"earliest": 0.75},
        signing_time={"skew": False},
        approval={"automatic": {"renewals": True}},
    )
    assert (profile.keys.rsa_minimum, profile.keys.rsa_maximum, profile.keys.curves) == (4096, 4096, {"P-256"})
    assert (profile.renewal.earliest, profile.renewal.grace) == (0.75, DAY)
    assert (profile.signing_time.skew, profile.signing_time.renewal_skew) == (None, timedelta(hours=2))
    automatic = AutomaticWhen(methods=frozenset({"one-time"}))
    assert profile.approval == ApprovalRule(automatic=automatic, valid=DAY)
    assert profile.unique_subject


@pytest.mark.parametrize(("own", "rule"), [(False, None), ({}, RenewalRule(earliest=0.25))])
def test_a_table_of_a_preset_may_be_switched_off(compiled, monkeypatch, own, rule):
    monkeypatch.setattr("scepd.config.profiles.PRESETS", {**PRESETS, "modern": {"renewal": {"earliest": 0.25}}})
    assert routers(compiled, preset="modern", renewal=own).renewal == rule


def test_what_a_preset_switches_off_may_be_switched_on(compiled, monkeypatch):
    monkeypatch.setattr("scepd.config.profiles.PRESETS", {**PRESETS, "modern": {"renewal": False}})
    assert routers(compiled, preset="modern").renewal is None
    assert routers(compiled, preset="modern", renewal={}).renewal == RenewalRule()


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_compiles(compiled, preset):
    assert routers(compiled, preset=preset).name == "routers"


def test_S128_switches_of_a_preset_are_told(compiled, monkeypatch):
    monkeypatch.setattr("scepd.config.profiles.PRESETS", {**PRESETS, "modern": {"insecurely_accept_md5": True}})
    assert routers(compiled, preset="modern").insecure == ("insecurely_accept_md5",)

"""A request walks through a profile; nothing is issued and nothing is spent."""

import hashlib
import os
import re
from datetime import timedelta

import attrs
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from scepd.admin.explain import Bench, explain
from scepd.challenge.digest import keyed_digest
from scepd.message import tlv
from scepd.message.csr import Extension, build_csr, parse_csr
from scepd.profile import access
from scepd.profile.blocked_keys import BlockedKeys, read_entries
from scepd.profile.model import ApprovalRule, AutomaticWhen, NamePolicy, Profile, SubjectPolicy
from scepd.records import Attribute, Secret
from scepd.store.entities import Code, NewEntity
from scepd.x509.issuer import IssuerCertificate
from scepd.x509.keys import spki_digest
from scepd.x509.names import from_text
from tests.store.building import Device, Issuer, enrol
from tests.world import NOW, STORE_KEY, make_keys

STATIC = "the static challenge of all"
KEY = rsa.generate_private_key(65537, 2048)


@pytest.fixture(scope="module")
def issuer():
    return IssuerCertificate.load(make_keys(elliptic=True).ca_der)


@pytest.fixture
def bench(actions, issuer):
    return Bench(actions.repository, STORE_KEY, NOW, os.urandom, issuer)


def csr(challenge=STATIC, subject="CN=r1.example.net", key=KEY, extensions=()):
    return parse_csr(build_csr(subject=from_text(subject), private_key=key, challenge=challenge, extensions=extensions))


def routers(*rules, **fields):
    rules = rules or (access.OneTimeRule(), access.StaticRule(Secret(STATIC)))
    return Profile(name="routers", issuer="main", challenge=rules, **fields)


def walk(bench, request=None, profile=None):
    """Explain; whatever it says, the store is as before."""
    before = state(bench)
    explanation = explain(profile or routers(), request or csr(), bench)
    assert state(bench) == before
    return explanation


def state(bench):
    repository = bench.repository
    return hashlib.sha256(
        repr([list(repository.audit_chains()), repository.challenges(), repository.entities()]).encode()
    ).digest()


def verdict(explanation, step):
    (found,) = [finding for finding in explanation.findings if finding.step == step]
    return found


def test_N9_a_good_request_would_be_issued(bench):
    explanation = walk(bench)
    assert explanation.outcome == "issued"
    assert [finding.step for finding in explanation.findings] == [
        "profile", "signature", "request", "key", "challenge one-time", "challenge static",
        "extensions", "subject", "names", "approval", "limits", "draft",
    ]  # fmt: skip
    assert verdict(explanation, "key").reason == "RSAPublicKey 2048"
    assert verdict(explanation, "challenge static").reason == "knows 'shared challenge'"
    assert verdict(explanation, "subject").reason == "CN=r1.example.net"
    assert "2027-06-01" in verdict(explanation, "draft").reason
    assert all(finding.line.startswith("[profile.routers]") for finding in explanation.findings if finding.line)
    assert STATIC not in repr(explanation)


@pytest.mark.parametrize(
    ("step", "word", "line", "request_", "profile"),
    [
        ("profile", "profile_disabled", "enabled = false", csr(), {"enabled": False}),
        ("key", "key_refused", "rsa = [2048, 8192]", csr(key=rsa.generate_private_key(65537, 1024)), {}),
        ("challenge", "challenge_invalid", '["one-time", "static"]', csr("wrong"), {}),
        ("challenge", "challenge_missing", "challenge", csr(None), {}),
        ("subject", "subject_refused", "patterns = {CN = 'x.*'}", csr(), {"subject": SubjectPolicy(patterns=(("CN", re.compile("x.*")),))}),
        ("subject", "subject_refused", 'from = {O = "identity"}', csr(), {"subject": SubjectPolicy(sources=(("O", "identity"),))}),
        ("subject", "subject_refused", 'required = ["O"]', csr(), {"subject": SubjectPolicy(required=("O",))}),
        ("subject", "subject_refused", 'set = {C = "CH"}', csr(subject="CN=r1,DC=x"), {"subject": SubjectPolicy(fixed=(Attribute("2.5.4.6", "CH"),))}),
        ("names", "name_refused", 'required = ["dns"]', csr(), {"names": NamePolicy(required=("dns",), from_identity=True)}),
    ],
)  # fmt: skip
def test_N9_what_refuses_is_named_with_its_line(bench, step, word, line, request_, profile):
    explanation = walk(bench, request_, routers(**profile))
    found = verdict(explanation, step)
    assert explanation.outcome == "refused"
    assert (found.verdict, word in found.reason, line in found.line) == ("refused", True, True), found


def test_N9_extensions_and_names_are_judged(bench):
    ca = Extension("2.5.29.19", True, tlv.sequence(tlv.boolean(True)))
    explanation = walk(bench, csr(extensions=(ca,)))
    assert "extension_refused" in verdict(explanation, "extensions").reason
    name = Extension("2.5.29.17", False, tlv.sequence(tlv.implicit(2, b"evil.example", constructed=False)))
    found = verdict(walk(bench, csr(extensions=(name,))), "names")
    assert ("name_refused" in found.reason, "common_name = true" in found.line) == (True, True)
    own = Extension("2.5.29.17", False, tlv.sequence(tlv.implicit(2, b"r1.example.net", constructed=False)))
    good = walk(bench, csr(extensions=(own,)))
    assert verdict(good, "names").reason == "dns:r1.example.net"


def test_N9_a_signature_that_is_none_is_told(bench):
    broken = attrs.evolve(csr(), signature=b"\0" * 256)
    explanation = walk(bench, broken)
    assert "csr_signature_invalid" in verdict(explanation, "signature").reason
    assert verdict(explanation, "subject").verdict == "ok"  # all is judged, whatever came before


def test_N9_one_time_challenges_are_not_spent(bench, actions):
    actions.repository.add_challenge(
        "routers", keyed_digest(STORE_KEY, "once"), expires=NOW + timedelta(hours=1), created_by="ann", common_name="r1"
    )
    assert "challenge_not_for_request" in verdict(walk(bench, csr("once")), "challenge one-time").reason
    assert walk(bench, csr("once", "CN=r1")).outcome == "issued"
    assert walk(bench, csr("once", "CN=r1")).outcome == "issued"


def test_N9_entities_are_not_taken(bench, actions):
    new = NewEntity("r1", Code(keyed_digest(STORE_KEY, "code of r1"), None, 3))
    actions.repository.add_entities("routers", [new], who="ann")
    for mode in ("registered", "open"):
        profile = routers(access.EntityRule(mode=mode), access.StaticRule(Secret(STATIC)))
        assert verdict(walk(bench, csr("code of r1", "CN=r1"), profile), "challenge entity").reason == "knows 'r1'"
        assert walk(bench, csr("wrong", "CN=r1"), profile).outcome == "refused"
    asked = walk(bench, csr(STATIC, "CN=r9"), profile)
    assert verdict(asked, "challenge entity").reason == "knows 'r9'"


def test_N9_remote_methods_and_hooks_are_named_and_not_asked(bench):
    hook = access.WebhookRule(url="https://mdm.example.net/hook", secret=Secret("key"))
    explanation = walk(bench, csr("x"), routers(access.OneTimeRule(), hook, compliance=hook))
    assert verdict(explanation, "challenge webhook").verdict == "not asked"
    assert verdict(explanation, "compliance").reason.startswith("mdm.example.net would be asked")
    assert explanation.outcome == "issued"
    behind = walk(bench, csr("x"), routers(hook, access.OneTimeRule()))
    assert behind.outcome == "issued"


def test_N9_a_person_would_be_asked(bench):
    always = walk(bench, profile=routers(approval=ApprovalRule()))
    assert (always.outcome, verdict(always, "approval").verdict) == ("pending", "person")
    nobody = walk(bench, csr(None), routers(access.NoChallengeRule()))
    assert nobody.outcome == "pending"
    automatic = routers(approval=ApprovalRule(automatic=AutomaticWhen(methods=frozenset({"static"}))))
    assert walk(bench, profile=automatic).outcome == "issued"


def test_N9_limits_of_the_store_are_judged(bench, actions):
    issuer, device = Issuer.make(), Device.make("CN=r1.example.net")
    enrol(actions.repository, issuer, device, not_after=NOW + timedelta(days=9))
    found = verdict(walk(bench, profile=routers(unique_subject=True, most_active=3)), "limits")
    assert ("name_taken" in found.reason, "most_active = 3" in found.line) == (True, True)
    taken = walk(bench, csr(key=ec.generate_private_key(ec.SECP256R1())), routers(unique_key=True))
    assert taken.outcome == "issued"


def test_N9_a_profile_that_is_switched_off_refuses(bench, actions):
    actions.repository.switch_profile("routers", enabled=False, who="ann")
    assert "scepd profile enable routers" in verdict(walk(bench), "profile").reason


def test_S28_keys_of_the_service_are_refused(bench):
    own = attrs.evolve(bench, forbidden=frozenset({spki_digest(csr().spki_der)}))
    assert verdict(walk(own), "key").verdict == "refused"


def test_S28_listed_keys_are_refused(bench):
    listed = BlockedKeys.of([read_entries(spki_digest(csr().spki_der).hex())])
    found = verdict(walk(attrs.evolve(bench, blocked=listed)), "key")
    assert (found.verdict, "block list" in found.reason) == ("refused", True)


def test_without_the_issuer_no_draft_is_made(bench, issuer):
    assert verdict(walk(attrs.evolve(bench, issuer=None)), "draft").verdict == "not asked"
    early = attrs.evolve(bench, now=issuer.not_before - timedelta(days=1))
    assert verdict(walk(early), "draft").verdict == "refused"

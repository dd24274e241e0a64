"""Who administers a tenant: its own profiles and what belongs to them, and nothing of another's (threats S-09)."""

import json
import re
from ipaddress import ip_network
from types import SimpleNamespace

import attrs
import pytest

from scepd.admin.actions import PAGE
from scepd.admin.api import ROUTES, handle
from scepd.admin.generator import Grant, new_token
from scepd.profile.access import EntityRule
from scepd.profile.model import NamePolicy, OneTimeRule, Profile
from scepd.records import Refusal
from scepd.refusal import Reason
from tests.store.building import Device, Issuer, add_challenge, enrol, make_petition
from tests.world import NOW

API = "/api/v1"
ACME, GLOBEX = frozenset({"acme-phones", "acme-routers"}), frozenset({"globex"})
TENANTS = {"acme": ACME, "globex": GLOBEX}
EVERYTHING = ("challenges", "certificates", "requests", "entities", "tokens", "profiles")


@pytest.fixture(scope="module")
def issuer():
    return Issuer.make()


@pytest.fixture
def actions(actions):
    rules = (OneTimeRule(), EntityRule())
    return attrs.evolve(actions, profiles={name: Profile(name=name, challenge=rules) for name in ACME | GLOBEX})


def fill(actions, issuer, name):
    """Put one of everything into a profile; return their names in the API."""
    store, device = actions.repository, Device.make(f"CN={name}")
    waiting = store.petition(make_petition(issuer, device, profile=name, transaction_id=f"w-{name}"))[0]
    issued = enrol(store, issuer, Device.make(f"CN={name}-2"), profile=name, transaction_id=f"i-{name}")
    store.refused([Refusal(NOW, name, f"r-{name}", b"k", 19, Reason.csr_invalid, "d", "s", "a", f"id-{name}")])
    new_token(actions, "user root", f"token-{name}", Grant((name,)))
    body = {"profile": name, "entities": [{"cn": name}]}
    entity = handle(actions, "POST", f"{API}/entities", body)[1][0]["id"]
    return SimpleNamespace(
        profile=name, challenge=add_challenge(store, profile=name).id, waiting=waiting.id, refused=f"id-{name}",
        serial=f"{issued.serial:x}", entity=entity, token=f"token-{name}",
    )  # fmt: skip


@pytest.fixture
def things(actions, issuer):
    return {name: fill(actions, issuer, name) for name in sorted(ACME | GLOBEX)}


def verbs(thing):
    """Every call about one thing, in an order in which each can succeed."""
    entities = [{"cn": f"{thing.profile}-new"}]
    return [
        ("GET", f"/requests/{thing.waiting}", {}),
        ("GET", f"/requests/{thing.refused}", {}),
        ("POST", f"/requests/{thing.waiting}/approve", {}),
        ("POST", f"/requests/{thing.waiting}/reject", {}),
        ("GET", f"/certificates/{thing.serial}", {}),
        ("POST", f"/certificates/{thing.serial}/revoke", {"reason": "certificateHold"}),
        ("POST", f"/certificates/{thing.serial}/release", {}),
        ("POST", "/challenges", {"profile": thing.profile}),
        ("DELETE", f"/challenges/{thing.challenge}", {}),
        ("POST", "/entities", {"profile": thing.profile, "entities": entities}),
        ("GET", f"/entities/{thing.entity}", {}),
        ("POST", f"/entities/{thing.entity}/reset", {}),
        ("DELETE", f"/entities/{thing.entity}", {}),
        ("POST", "/tokens", {"name": f"{thing.profile}-own", "profiles": [thing.profile]}),
        ("DELETE", f"/tokens/{thing.token}", {}),
        ("GET", f"/profiles/{thing.profile}", {}),
        ("POST", f"/profiles/{thing.profile}/disable", {}),
        ("POST", f"/profiles/{thing.profile}/enable", {}),
    ]


def call(actions, tenant, method, path, body=None):
    return handle(actions, method, f"{API}{path}", body, who=f"user {tenant}", profiles=TENANTS[tenant])


def state(actions):
    """All that somebody could have changed."""
    return [handle(actions, "GET", f"{API}/{noun}?limit=10000")[1] for noun in EVERYTHING]


def test_the_matrix_has_every_verb_that_tenants_have(things):
    asked = {(method, f"{API}{path}") for method, path, _ in verbs(things["globex"])}
    for route in ROUTES:
        is_list = (route.method, "(?P<" in route.pattern.pattern) == ("GET", False)
        named = any(method == route.method and route.pattern.fullmatch(path) for method, path in asked)
        assert route.tenants is (named or is_list), (route.method, route.pattern.pattern)


@pytest.mark.parametrize("tenant", TENANTS)
@pytest.mark.parametrize("name", sorted(ACME | GLOBEX))
def test_S09_each_verb_on_each_thing_passes_only_on_the_diagonal(actions, things, tenant, name):
    before, is_own = state(actions), name in TENANTS[tenant]
    for method, path, body in verbs(things[name]):
        status, told = call(actions, tenant, method, path, body)
        assert status == 200 if is_own else status in {400, 404}, (method, path, told)
    assert (state(actions) == before) is not is_own


@pytest.mark.parametrize("tenant", TENANTS)
def test_S09_lists_show_what_is_ones_own(actions, things, tenant):
    own = TENANTS[tenant]
    for noun in EVERYTHING:
        status, rows = call(actions, tenant, "GET", f"/{noun}")
        seen = {name for row in rows for name in (row.get("profiles") or [row.get("profile", row.get("name"))])}
        assert (status, seen) == (200, set(own)), noun
    for other in sorted((ACME | GLOBEX) - own):
        for noun in ("challenges", "requests", "entities"):
            assert call(actions, tenant, "GET", f"/{noun}?profile={other}") == (200, [])
        assert call(actions, tenant, "GET", f"/certificates?subject={other}") == (200, [])


def test_S09_what_the_caller_says_of_the_owner_changes_nothing(actions, things):
    theirs = things["globex"]
    for method, path, body in verbs(theirs):
        claims = {**body, "tenant": "acme", "tenant_id": "acme", "profile": body.get("profile", "acme-phones")}
        assert call(actions, "acme", method, f"{path}?profile=acme-phones&tenant=acme", claims)[0] != 200


def test_S09_somebody_elses_is_answered_like_nothing(actions, things):
    theirs = things["globex"]
    numbers = {theirs.waiting, theirs.challenge, theirs.entity}
    nothing = SimpleNamespace(**{**vars(theirs), "waiting": 999, "entity": 998, "challenge": 997})
    unnamed = re.compile(rf"\b(?:{'|'.join(map(str, numbers | {999, 998, 997}))})\b")
    for one, other in zip(verbs(theirs), verbs(nothing), strict=True):
        answers = {unnamed.sub("N", json.dumps(call(actions, "acme", *asked))) for asked in (one, other)}
        assert len(answers) == 1, answers


def test_S03_what_is_of_the_whole_service_is_for_no_tenant(actions, things):
    closed = [route for route in ROUTES if not route.tenants]
    assert closed
    for route in closed:
        path = route.pattern.pattern.replace("(?P<id>[0-9]{1,12})", "1")
        status, told = handle(actions, route.method, path, {}, who="user acme", profiles=ACME)
        assert (status, "tenant" in told["problem"]) == (403, True)


def test_a_token_of_two_tenants_is_for_neither(actions, things):
    new_token(actions, "user root", "both", Grant(("globex", "acme-phones")))
    for tenant in TENANTS:
        assert "both" not in {row["name"] for row in call(actions, tenant, "GET", "/tokens")[1]}
        assert call(actions, tenant, "DELETE", "/tokens/both")[0] == 400
    body = {"name": "mine", "profiles": ["globex", "acme-phones"]}
    assert call(actions, "acme", "POST", "/tokens", body)[0] == 404


def test_whoever_runs_the_service_sees_what_the_configuration_has_no_more(actions, things):
    less = attrs.evolve(actions, profiles={"globex": actions.profiles["globex"]})
    assert len(handle(less, "GET", f"{API}/challenges")[1]) == 3


# Switches and tokens

_PROFILE = f"{API}/profiles/acme-phones"


def is_on(actions):
    return handle(actions, "GET", _PROFILE)[1]["enabled"]


def test_S09_what_the_service_switched_off_no_tenant_switches_on(actions):
    handle(actions, "POST", f"{_PROFILE}/disable", {}, who="user root")
    for word in ("enable", "disable", "enable"):  # it does not become the tenant's by being switched off again
        status, told = call(actions, "acme", "POST", f"/profiles/acme-phones/{word}", {})
        assert status == (400 if word == "enable" else 200), told
    assert "scepd profile enable acme-phones" in told["hint"]
    assert not is_on(actions)
    assert handle(actions, "POST", f"{_PROFILE}/enable", {}, who="user root")[0] == 200
    assert is_on(actions)
    assert call(actions, "acme", "POST", "/profiles/acme-phones/enable", {})[0] == 200  # nothing is to be undone


def test_S09_the_service_takes_over_what_a_tenant_had_switched_off_first(actions):
    call(actions, "acme", "POST", "/profiles/acme-phones/disable", {})
    handle(actions, "POST", f"{_PROFILE}/disable", {}, who="user root")
    assert call(actions, "acme", "POST", "/profiles/acme-phones/enable", {})[0] == 400
    assert not is_on(actions)


def test_a_tenants_administrator_switches_on_what_was_its_own_act(actions):
    for word, expected in (("disable", False), ("enable", True)):
        assert call(actions, "acme", "POST", f"/profiles/acme-phones/{word}", {})[0] == 200
        assert is_on(actions) is expected


def test_S09_the_tokens_of_others_hide_none_of_ones_own(actions):
    for name in ("first", "second"):
        new_token(actions, "user acme", name, Grant(("acme-phones",)))
    for number in range(2 * PAGE + 1):
        new_token(actions, "user root", f"other-{number}", Grant(("globex",)))
    assert [row["name"] for row in call(actions, "acme", "GET", "/tokens")[1]] == ["second", "first"]
    assert [row["name"] for row in call(actions, "acme", "GET", "/tokens?limit=1")[1]] == ["second"]
    assert call(actions, "acme", "GET", "/tokens?limit=0") == (200, [])


# Names that somebody vouches for

_SID = "uri:tag:microsoft.com,2022-09-14:sid:S-1-5-21-1-2-3-500"
_POLICY = NamePolicy(
    dns=("*.acme.example",), ip=(ip_network("192.0.2.0/24"),), email=("acme.example",), uri=(re.compile("urn:acme:.*|tag:.*"),)
)  # fmt: skip


@pytest.fixture
def strict(actions):
    profiles = {**actions.profiles, "acme-phones": Profile(name="acme-phones", challenge=(OneTimeRule(), EntityRule()), names=_POLICY)}
    return attrs.evolve(actions, profiles=profiles)


def entity(*names):
    return "/entities", {"profile": "acme-phones", "entities": [{"cn": "r1.globex.example", "names": list(names), "line": 2}]}


def challenge(*names):
    return "/challenges", {"profile": "acme-phones", "cn": "r1.globex.example", "names": list(names)}


@pytest.mark.parametrize(
    ("thing", "names"),
    [
        *((entity, name) for name in (
            "dns:www.globex.example", "dns:r1.globex.example", "dns:acme.example.evil", "ip:198.51.100.1",
            "email:root@globex.example", "uri:urn:globex:1", "upn:administrator@corp.example", _SID, _SID.replace("tag:micro", "TAG:Micro"),
        )),
        *((challenge, name) for name in ("dns:www.globex.example", "dns:r1.globex.example", "ip:198.51.100.1")),
    ],
)  # fmt: skip
def test_S09_S55_a_tenants_administrator_vouches_for_what_the_profile_allows_and_no_more(strict, thing, names):
    path, body = thing(names)
    status, told = call(strict, "acme", "POST", path, body)
    assert (status, "not allowed by the profile" in told["problem"]) == (400, True)
    assert "own administrator" in told["hint"]
    assert (strict.challenges(), strict.repository.entity_names("acme-phones")) == ([], frozenset())
    assert handle(strict, "POST", f"{API}{path}", body, who="user root")[0] == 200


def test_a_tenants_administrator_vouches_for_names_of_the_tenant(strict):
    names = ("dns:R1.acme.example", "ip:192.0.2.7")
    assert call(strict, "acme", "POST", *challenge(*names))[0] == 200
    assert call(strict, "acme", "POST", *entity(*names, "email:ann@acme.example", "uri:urn:acme:1"))[0] == 200


def test_a_dns_name_that_is_the_common_name_goes_where_the_profile_takes_it(actions):
    body = {"profile": "acme-phones", "subject": "O=x,CN=R1.acme.example", "names": ["dns:r1.acme.example"]}
    assert call(actions, "acme", "POST", "/challenges", body)[0] == 200
    assert call(actions, "acme", "POST", "/challenges", {**body, "subject": "O=x"})[0] == 400

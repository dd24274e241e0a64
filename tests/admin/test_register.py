"""The register of end entities as people keep it."""

import json

import attrs
import pytest

from scepd.admin import register
from scepd.admin.api import handle
from scepd.admin.entity_file import read_entities
from scepd.admin.register import MOST_ENTITIES, Registration
from scepd.challenge.digest import keyed_digest
from scepd.profile.access import EntityRule
from scepd.profile.model import Profile
from scepd.records import EntityState, Identity, Secret
from scepd.refusal import OperatorError
from tests.store.building import Device, Issuer, make_intent
from tests.world import NOW, STORE_KEY

ENTITIES = "/api/v1/entities"


@pytest.fixture
def actions(actions):
    profiles = {**actions.profiles, "factory": Profile(name="factory", challenge=(EntityRule(),))}
    return attrs.evolve(actions, profiles=profiles)


def add(actions, *entities, profile="factory"):
    return handle(actions, "POST", ENTITIES, {"profile": profile, "entities": list(entities)}, who="user ann")


def test_an_entity_is_entered_with_a_code_that_is_shown_once(actions):
    status, (made,) = add(actions, {"cn": "r1", "attributes": {"O": "Example"}, "names": ["dns:R1.example.net"]})
    assert status == 200
    stored = actions.repository.entity(made["id"])
    assert stored.digest == keyed_digest(STORE_KEY, made["code"])
    assert (stored.attributes, stored.names) == ((("O", "Example"),), ("dns:r1.example.net",))
    assert (stored.expires, stored.tries_left, stored.created_by) == (NOW + EntityRule().valid, None, "user ann")
    shown = [handle(actions, "GET", path)[1] for path in (ENTITIES, f"{ENTITIES}/{made['id']}")]
    assert made["code"] not in json.dumps(shown)
    assert shown[0][0] == shown[1]
    assert made["code"] not in "".join(map(str, actions.repository.audit_chains()))


def test_S30_a_code_that_a_person_chose_is_counted(actions):
    _, (made,) = add(actions, {"cn": "r1", "code": "Zürich-2026"})
    assert made["code"] is None
    stored = actions.repository.entity(made["id"])
    assert (stored.tries_left, stored.digest) == (300, keyed_digest(STORE_KEY, "Zürich-2026"))


def test_every_problem_is_told_at_once_and_nothing_is_entered(actions):
    add(actions, {"cn": "there"})
    status, told = add(
        actions,
        {"cn": "good", "line": 2},
        {"cn": "", "line": 3},
        {"cn": "x", "code": "short", "line": 4},
        {"cn": "there", "line": 5},
        {"cn": "good", "line": 6},
        {"cn": "a\u202eb", "line": 7},
        {"cn": "y", "attributes": {"C": "Switzerland", "nothing": "x"}, "line": 8},
        {"cn": "z", "names": ["dns:a b", "ip:1.2.3", "what:x", "dns:", "email:a@b.example"], "line": 9},
    )
    assert status == 400
    for line in range(3, 10):
        assert f"line {line}: " in told["problem"], told["problem"]
    assert "line 2" not in told["problem"].replace("in line 2", "")
    assert told["problem"].startswith("11 problems, nothing was entered:")
    assert actions.repository.entity_names("factory") == {"there"}


@pytest.mark.parametrize(
    "body",
    [
        {"profile": "factory", "entities": {}},
        {"profile": "factory", "entities": []},
        {"profile": "factory", "entities": ["r1"]},
        {"profile": "factory", "entities": [{"cn": 7}]},
        {"profile": "factory", "entities": [{"cn": "r1", "color": "red"}]},
        {"profile": "factory", "entities": [{"cn": "r1", "attributes": {"O": 7}}]},
        {"profile": "factory", "entities": [{"cn": "r1", "names": "dns:r1"}]},
        {"profile": "routers", "entities": [{"cn": "r1"}]},
    ],
)
def test_what_cannot_be_entered_has_problem_and_hint(actions, body):
    status, told = handle(actions, "POST", ENTITIES, body)
    assert status == 400
    assert all(told.values())


def test_too_many_at_once_are_refused(actions):
    with pytest.raises(OperatorError, match="at once"):
        register.register(actions, "user ann", "factory", [Registration("r")] * (MOST_ENTITIES + 1))


def test_who_was_faster_is_told(actions, monkeypatch):
    add(actions, {"cn": "r1"})
    monkeypatch.setattr(type(actions.repository), "entity_names", lambda _self, _profile: frozenset())
    status, told = add(actions, {"cn": "r0"}, {"cn": "r1"})
    assert (status, "nothing was entered" in told["problem"]) == (400, True)
    monkeypatch.undo()
    assert actions.repository.entity_names("factory") == {"r1"}


def test_an_entity_is_reset_and_removed(actions):
    _, (made,) = add(actions, {"cn": "r1", "code": "Zürich-2026"})
    path = f"{ENTITIES}/{made['id']}"
    status, fresh = handle(actions, "POST", f"{path}/reset", {}, who="user bob")
    assert status == 200
    assert actions.repository.entity(made["id"]).digest == keyed_digest(STORE_KEY, fresh["code"])
    assert handle(actions, "POST", f"{path}/reset", {"code": "short"})[0] == 400
    assert handle(actions, "POST", f"{path}/reset", {"code": "long enough"})[1]["code"] is None
    assert handle(actions, "DELETE", path, {})[1]["state"] == "removed"
    for method, rest in (("GET", ""), ("DELETE", ""), ("POST", "/reset")):
        assert handle(actions, method, f"{path}{rest}", {})[0] == 404


def test_an_entity_whose_request_is_under_way_stays(actions):
    _, (made,) = add(actions, {"cn": "r1"})
    identity = Identity("entity", "r1", entity=made["id"])
    actions.repository.claim(make_intent(Issuer.make(), Device.make(), profile="factory", identity=identity))
    path = f"{ENTITIES}/{made['id']}"
    for method, rest in (("DELETE", ""), ("POST", "/reset")):
        status, told = handle(actions, method, f"{path}{rest}", {})
        assert (status, "in use by request 1" in told["problem"]) == (400, True)


def test_entities_are_listed_by_state(actions):
    add(actions, {"cn": "r1"}, {"cn": "r2"})
    assert [row["cn"] for row in handle(actions, "GET", f"{ENTITIES}?state=new&profile=factory&limit=1")[1]] == ["r2"]
    assert handle(actions, "GET", f"{ENTITIES}?state=failed")[1] == []
    assert handle(actions, "GET", f"{ENTITIES}?state=asleep")[0] == 400
    assert EntityState.FAILED.value == "FAILED"


# Files


def test_a_file_names_its_columns():
    text = '\ufeffCN, code ,O,DNS,upn\nr1,,Example,r1.example.net r1.lan,\n\n,,,,\n"r,2",a code,,,ann@corp\n'
    first, second = read_entities(text)
    assert first == Registration("r1", None, (("O", "Example"),), ("dns:r1.example.net", "dns:r1.lan"), 2)
    assert second == Registration("r,2", Secret("a code"), (), ("upn:ann@corp",), 5)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["line 1: there is no column cn"]),
        ("name,code\nr1,x\n", ["line 1: there is no column cn"]),
        ("cn,colour,cn\nr1,x,y\n", ["'colour'", "cn stands there twice"]),
        ("cn,O\nr1\nr2,x,y\nr3,z\n", ["line 2: 1 values for 2", "line 3: 3 values for 2"]),
        ("cn\n", ["no entity follows"]),
        ('cn\n"r1\n', ["unexpected end"]),
        ('cn\n"r1"x\n', ["line 2"]),
    ],
)
def test_every_problem_of_a_file_is_told(text, words):
    with pytest.raises(OperatorError) as caught:
        read_entities(text)
    for word in words:
        assert word in caught.value.problem

import json

import attrs
import pytest

from scepd.admin.api import MOST_CHALLENGES, ROUTES, handle
from scepd.records import Refusal, Step
from scepd.refusal import Reason
from tests import make
from tests.world import NOW, STATIC, make_keys, make_world

CHALLENGES = "/api/v1/challenges"


def post(actions, **body):
    return handle(actions, "POST", CHALLENGES, body, who="user ann")


def test_a_challenge_is_made_listed_and_cancelled(actions):
    status, (made,) = post(actions, profile="routers", cn="r1", names=["dns:r1.example"], valid_seconds=60)
    assert status == 200
    assert made["expires"] == "2026-06-01T12:01:00Z"
    status, (listed,) = handle(actions, "GET", CHALLENGES)
    assert status == 200
    assert listed["id"] == made["id"]
    assert listed["created_by"] == "user ann"
    assert made["challenge"] not in json.dumps(listed)
    assert handle(actions, "DELETE", f"{CHALLENGES}/{made['id']}", {}, who="user bob")[0] == 200
    assert handle(actions, "GET", CHALLENGES)[1][0]["state"] == "cancelled"


def test_every_answer_is_json(actions):
    post(actions, profile="routers")
    for route in ROUTES:
        path = route.pattern.pattern.replace("(?P<id>[0-9]{1,12})", "1").replace("(?P<id>[^/]{1,1024})", "1")
        path = path.replace("(?P<serial>[0-9A-Fa-f]{1,64})", "1f").replace("(?P<name>[^/]{1,128})", "routers")
        status, value = handle(actions, route.method, path, {"profile": "routers"})
        assert status in {200, 400, 404}
        json.dumps(value)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/api/v1/nothing", 404),
        ("PUT", CHALLENGES, 405),
        ("DELETE", CHALLENGES, 405),
        ("DELETE", f"{CHALLENGES}/99", 404),
        ("DELETE", f"{CHALLENGES}/x", 404),
        ("GET", "/api/v1/certificates/zz", 404),
        ("GET", "/api/v1/certificates/1f", 404),
        ("GET", "/api/v1/requests/1", 404),
        ("GET", "/api/v1/requests/a%2Fb", 404),
    ],
)
def test_what_is_not_there_has_problem_and_hint(actions, method, path, status):
    found, value = handle(actions, method, path, {})
    assert found == status
    assert set(value) == {"problem", "hint"}
    assert all(value.values())


@pytest.mark.parametrize(
    "body",
    [
        {"profile": 7},
        {"profile": "routers", "cn": ["r1"]},
        {"profile": "routers", "subject": ""},
        {"profile": "routers", "subject": "r1"},
        {"profile": "routers", "subject": "CN=a\0b"},
        {"profile": "routers", "key_type": "dsa"},
        {"profile": "routers", "key_type": "rsa-"},
        {"profile": "routers", "key_type": 7},
        {"profile": "routers", "names": "dns:r1"},
        {"profile": "routers", "names": [1]},
        {"profile": "routers", "count": 0},
        {"profile": "routers", "count": MOST_CHALLENGES + 1},
        {"profile": "routers", "count": True},
        {"profile": "routers", "uses": "many"},
        {"profile": "routers", "valid_seconds": 0},
        {"profile": "routers", "valid_seconds": -5},
        {"profile": "routers", "valid_seconds": 10**30},
        {"profile": "routers", "valid_seconds": 1.5},
    ],
)
def test_an_unfit_body_is_400_and_nothing_is_made(actions, body):
    status, value = handle(actions, "POST", CHALLENGES, body)
    assert status == 400, value
    assert value["problem"]
    assert handle(actions, "GET", CHALLENGES)[1] == []


def test_lists_are_bounded(actions):
    post(actions, profile="routers", count=5)
    assert len(handle(actions, "GET", f"{CHALLENGES}?limit=3")[1]) == 3
    assert len(handle(actions, "GET", f"{CHALLENGES}?limit=junk")[1]) == 5
    assert handle(actions, "GET", f"{CHALLENGES}?profile=phones")[1] == []


def test_a_refused_request_is_shown_with_its_trail(actions):
    refusal = Refusal(
        at=NOW,
        profile="routers",
        transaction_id="8F/14=",
        requester=bytes(32),
        message_type=19,
        reason=Reason.challenge_invalid,
        detail="no such challenge",
        subject="CN=r1",
        address="192.0.2.7",
        request_id="abc123",
        trail=(Step("verified", 0.5), Step("decrypted", 1.25, "aes128")),
    )
    actions.repository.refused([refusal])
    (listed,) = handle(actions, "GET", "/api/v1/requests")[1]
    assert (listed["id"], listed["state"], listed["reason"]) == ("abc123", "REFUSED", "challenge_invalid")
    assert "trail" not in listed
    for name in ("abc123", "8F%2F14%3D"):
        (shown,) = handle(actions, "GET", f"/api/v1/requests/{name}")[1]
        assert [step["step"] for step in shown["trail"]] == ["verified", "decrypted"]
        assert shown["type"] == "PKCSReq"


def test_an_issued_certificate_is_shown_with_its_request(tmp_path, actions):
    (tmp_path / "world").mkdir()
    world = make_world(make_keys(elliptic=True), tmp_path / "world")
    recipient = make.Party(None, world.keys.decrypt_der)
    world.respond(make.pkcs_req(challenge=STATIC, recipient=recipient))
    over = attrs.evolve(actions, repository=world.store)
    (listed,) = handle(over, "GET", "/api/v1/certificates")[1]
    status, shown = handle(over, "GET", f"/api/v1/certificates/{listed['serial']}")
    assert status == 200
    assert shown["pem"].startswith("-----BEGIN CERTIFICATE-----")
    assert handle(over, "GET", f"/api/v1/certificates/{listed['serial']}?issuer=other")[0] == 404
    (request,) = handle(over, "GET", f"/api/v1/requests/{shown['request']}")[1]
    assert request["serial"] == listed["serial"]
    assert request["trail"]

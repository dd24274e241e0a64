"""The generator: tokens, and what their callers get (threats S-37)."""

import base64
import json
import time
from datetime import timedelta

import pytest

from scepd.admin import generator
from scepd.admin.api import handle
from scepd.admin.generator import LONGEST_BODY, Asked, Grant
from scepd.challenge.digest import keyed_digest
from scepd.observe.trail import verify
from scepd.refusal import OperatorError
from tests.world import NOW, STORE_KEY

TOKENS = "/api/v1/tokens"


@pytest.fixture
def token(actions):
    return make(actions)


def make(actions, name="jamf", **grant):
    _, secret = generator.new_token(actions, "user ann", name, Grant(**{"profiles": ("routers",), **grant}))
    return secret.reveal()


def call(actions, token, body=b"", *, method="POST", profile=None, **headers):
    fields = {"authorization": f"Bearer {token}", "content-type": "application/json"}
    fields |= {name.replace("_", "-"): text for name, text in headers.items()}
    octets = body if isinstance(body, bytes) else json.dumps(body).encode()
    return generator.answer(actions, Asked(method, profile, fields, octets))


def status(reply):
    assert ("Cache-Control", "no-store") in reply.headers
    return reply.status


def test_S37_a_token_makes_a_challenge_for_a_device(actions, token):
    bound = {"subject": "o=Example, CN=r1.example.net", "key_type": "ec-256"}
    wish = {"cn": "r1.example.net", "names": ["dns:R1.example.net"], "valid_seconds": 600, **bound}
    reply = call(actions, token, wish, profile="routers")
    assert (status(reply), reply.content_type) == (200, "application/json")
    value = json.loads(reply.body)
    stored = actions.repository.find_challenge("routers", keyed_digest(STORE_KEY, value["challenge"]))
    assert (stored.common_name, stored.names, stored.uses) == ("r1.example.net", ("dns:r1.example.net",), 1)
    assert (stored.subject, stored.key_type) == ("O=Example,CN=r1.example.net", "ec-256")
    assert stored.expires == NOW + timedelta(seconds=600)
    assert stored.created_by == "token jamf"
    assert value["profile"] == "routers"
    chains = list(actions.repository.audit_chains())
    assert list(verify(chains, actions.repository.audit_heads())) == []
    assert token not in "".join(map(str, chains))


def test_S37_who_gave_a_token_and_what_it_made_is_in_the_audit_trail(actions, token):
    made = json.loads(call(actions, token, {"cn": "r1.example.net"}).body)
    for refused in (
        call(actions, "guess"),
        call(actions, token, profile="phones"),
        call(actions, token, origin="https://evil.example"),
    ):
        assert status(refused) in {401, 403}
    generator.revoke_token(actions, "user bob", "jamf")
    rows = list(actions.repository.audit_chains())
    assert [(row.action, row.actor) for row in rows] == [
        ("token_added", "user ann"), ("challenge_added", "token jamf"), ("token_revoked", "user bob"),
    ]  # fmt: skip
    assert not [secret for secret in (token, made["challenge"]) if secret in repr(rows)]
    assert list(verify(rows, actions.repository.audit_heads())) == []


def test_callers_of_ndes_get_what_they_look_for(actions, token):
    page = call(actions, token, accept="text/html,*/*")
    assert page.body.startswith(b"<P>The enrollment challenge password is: <B> ")
    line = call(actions, token, accept="text/plain")
    text = line.body.decode().strip()
    assert (line.content_type, len(text)) == ("text/plain; charset=utf-8", 34)
    assert actions.repository.find_challenge("routers", keyed_digest(STORE_KEY, text)) is not None


def test_S37_the_token_may_come_as_the_password_of_basic(actions, token):
    basic = base64.b64encode(f"jamf:{token}".encode()).decode()
    assert status(call(actions, "", authorization=f"Basic {basic}")) == 200


@pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer x", "Basic !!", "Basic /w==", "Digest x", "Bearer \0"])
def test_S37_without_a_good_token_nothing_is_made(actions, token, authorization):
    reply = call(actions, token, authorization=authorization)
    assert status(reply) == 401
    assert {("WWW-Authenticate", "Bearer"), ("WWW-Authenticate", 'Basic realm="challenges"')} <= set(reply.headers)
    assert actions.challenges() == []


def test_S37_a_revoked_spent_or_expired_token_is_as_unknown_as_any(actions, token):
    unknown = call(actions, "unknown").body
    generator.revoke_token(actions, "user ann", "jamf")
    short = make(actions, "short", valid=timedelta(hours=1))
    once = make(actions, "once", most=1)
    assert status(call(actions, once)) == 200
    actions.clock.time += timedelta(hours=1)
    for one in (token, short, once):
        reply = call(actions, one)
        assert (status(reply), reply.body) == (401, unknown)


def test_S37_only_POST_and_no_web_page(actions, token):
    for method in ("GET", "HEAD", "PUT", "DELETE", "post"):
        reply = call(actions, token, method=method)
        assert (status(reply), ("Allow", "POST") in reply.headers) == (405, True)
    assert status(call(actions, token, origin="https://evil.example")) == 403
    assert status(call(actions, token, sec_fetch_site="cross-site")) == 403
    assert actions.challenges() == []


def test_S37_a_replayed_call_costs_of_the_rate_and_the_count(actions):
    token = make(actions, per_minute=2, most=3)
    assert [status(call(actions, token)) for _ in range(3)] == [200, 200, 429]
    reply = call(actions, token)
    assert ("Retry-After", "30") in reply.headers
    actions.clock.time += timedelta(minutes=1)
    assert [status(call(actions, token)) for _ in range(2)] == [200, 401]
    assert len(actions.challenges()) == 3


def test_S37_a_token_is_bound_to_profiles_and_names(actions, token):
    assert status(call(actions, token, profile="phones")) == 403
    assert status(call(actions, token, {"profile": "phones"})) == 403
    assert status(call(actions, token, {"profile": "routers"}, profile="phones")) == 403
    bound = make(actions, "bound", pattern="r*.example.net")
    assert status(call(actions, bound, {"cn": "r12.example.net"})) == 200
    for wish in ({}, {"cn": "admin"}, {"cn": "r12.example.net.evil"}):
        assert status(call(actions, bound, wish)) == 403


@pytest.mark.parametrize(
    ("pattern", "good", "bad"),
    [
        ("r1", ["r1"], ["r", "r12", "R1"]),
        ("*", ["r1", "a*b"], []),
        ("r*", ["r", "r1"], ["ar1"]),
        ("*.net", [".net", "r.net"], ["r.net.evil"]),
        ("ab*ba", ["abba", "ab-ba"], ["aba", "ab"]),
        ("a*b*b", ["abb", "a-b-b"], ["ab", "a-b"]),
        ("a**b*c*", ["abc", "a1b2c3"], ["acb", "ab"]),
        ("r[0-9]+", ["r[0-9]+"], ["r7"]),
        ("r.*", ["r.", "r.x"], ["rx"]),
    ],
)
def test_S37_a_star_stands_for_anything_and_all_else_for_itself(actions, pattern, good, bad):
    bound = make(actions, pattern=pattern, per_minute=1000)
    assert [status(call(actions, bound, {"cn": name})) for name in good] == [200] * len(good)
    assert [status(call(actions, bound, {"cn": name})) for name in bad] == [403] * len(bad)


def test_S37_no_pattern_of_a_caller_keeps_the_service_busy(actions):
    """A name that an expression such as (r|r)*x would be held against for hours; the longest one is read first."""
    for number, pattern in enumerate(("(r|r)*x", "*r" * 60 + "x")):
        bound = make(actions, f"slow{number}", pattern=pattern)
        begun = time.thread_time()
        assert status(call(actions, bound, {"cn": "r" * 64})) == 403
        assert time.thread_time() - begun < 0.5
        assert status(call(actions, bound, {"cn": "r" * 65})) == 400


@pytest.mark.parametrize("pattern", [None, "r*"])
def test_S37_S55_a_token_vouches_for_what_the_profile_allows_and_no_more(actions, pattern):
    token = make(actions, "names", pattern=pattern)
    for names in (["dns:www.example.com"], ["dns:r1.example.net", "ip:192.0.2.1"]):
        reply = call(actions, token, {"cn": "r1.example.net", "names": names})
        assert (status(reply), b"not allowed by the profile" in reply.body) == (400, True)
    assert actions.challenges() == []
    assert status(call(actions, token, {"cn": "r1.example.net", "names": ["dns:r1.example.net"]})) == 200


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b'"x"',
        b"\xff",
        b'{"cn": "a", "cn": "b"}',
        b'{"uses": 100}',
        b'{"cn": 7}',
        b'{"names": "dns:a"}',
        b'{"names": [7]}',
        b'{"names": ["dns:a b"]}',
        b'{"cn": "a\\u0000b"}',
        b'{"valid_seconds": 0}',
        b'{"valid_seconds": true}',
        b'{"valid_seconds": 1e400}',
        b'{"valid_seconds": 99999999}',
        b"[" * 10_000,
    ],
)
def test_S84_what_cannot_be_read_makes_nothing(actions, token, body):
    assert status(call(actions, token, body)) == 400
    assert actions.challenges() == []


@pytest.mark.parametrize("kind", ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; a=b"])
def test_S37_a_form_of_a_web_page_makes_nothing(actions, token, kind):
    assert status(call(actions, token, {"cn": "r1"}, content_type=kind)) == 415
    assert actions.challenges() == []
    assert status(call(actions, token, {"cn": "r1"}, content_type="Application/JSON ;charset=utf-8")) == 200


def test_a_webhook_of_jamf_gets_the_challenge_alone(actions, token):
    about = {"id": 7, "name": "scepd", "webhookEvent": "SCEPChallenge", "eventTimestamp": 1790000000000}
    reply = call(actions, token, {"webhook": about, "event": {"targetDevice": {"serialNumber": "C02XK1ABJG5H"}}})
    assert (status(reply), reply.content_type) == (200, "text/plain; charset=utf-8")
    stored = actions.repository.find_challenge("routers", keyed_digest(STORE_KEY, reply.body.decode()))
    assert (stored.common_name, stored.created_by) == (None, "token jamf")


@pytest.mark.parametrize(
    "wish",
    [
        {"webhook": {"webhookEvent": "ComputerAdded"}, "event": {}},
        {"webhook": {}, "event": {}},
        {"webhook": "SCEPChallenge", "event": {}},
        {"webhook": {"webhookEvent": "SCEPChallenge"}},
        {"webhook": {"webhookEvent": "SCEPChallenge"}, "event": {}, "profile": "phones"},
    ],
)
def test_S37_another_webhook_makes_nothing(actions, token, wish):
    assert status(call(actions, token, wish)) == 400
    bound = make(actions, "bound", pattern="r*")
    assert status(call(actions, bound, {"webhook": {"webhookEvent": "SCEPChallenge"}, "event": {}})) == 403
    assert actions.challenges() == []


def test_a_long_body_is_not_read(actions, token):
    assert status(call(actions, token, b" " * (LONGEST_BODY + 1))) == 413


def test_tokens_are_made_listed_and_revoked_by_people(actions):
    body = {
        "name": "jamf",
        "profiles": ["routers"],
        "per_minute": 5,
        "most": 9,
        "valid_seconds": 60,
        "cn_pattern": "r*",
    }
    code, made = handle(actions, "POST", TOKENS, body, who="user ann")
    assert code == 200
    (listed,) = handle(actions, "GET", TOKENS)[1]
    assert made["token"] not in json.dumps(listed)
    assert listed == {name: value for name, value in made.items() if name != "token"}
    assert (listed["per_minute"], listed["left"], listed["cn_pattern"]) == (5, 9, "r*")
    assert handle(actions, "DELETE", f"{TOKENS}/jamf", {})[0] == 200
    assert handle(actions, "DELETE", f"{TOKENS}/jamf", {})[0] == 400
    assert handle(actions, "GET", TOKENS)[1][0]["revoked"] is not None


@pytest.mark.parametrize(
    "grant",
    [
        {"profiles": ()},
        {"profiles": ("nobody",)},
        {"profiles": ("phones",)},
        {"per_minute": 0},
        {"per_minute": 10**6},
        {"most": 0},
        {"valid": timedelta()},
        {"pattern": ""},
        {"pattern": "*" * 129},
    ],
)
def test_a_token_that_could_do_nothing_is_not_made(actions, grant):
    with pytest.raises(OperatorError):
        make(actions, **grant)


def test_a_token_has_a_name_of_its_own(actions, token):
    for name in ("", "a b", "x" * 65, "jamf"):
        with pytest.raises(OperatorError):
            make(actions, name)

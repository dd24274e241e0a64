"""The generator over HTTP: its one path, its bounds, and what its log lines say (threats S-37)."""

import json

import pytest
from twisted.internet.defer import Deferred, fail, maybeDeferred

from scepd.admin import generator
from scepd.admin.generator import LONGEST_BODY, Grant
from scepd.admin.generator_resource import GeneratorResource
from scepd.challenge.digest import keyed_digest
from scepd.refusal import Unavailable
from scepd.web.gcra import RateLimit
from scepd.web.tree import Tree
from tests.live.http_wire import request
from tests.web.conftest import lines  # noqa: F401 - a fixture
from tests.web.harness import Setting
from tests.web.test_fail2ban import banned
from tests.world import STORE_KEY

PATH = "/api/v1/challenges/routers"
JSON = "Content-Type: application/json"


class Front:
    """The resource over real actions, behind a real site."""

    def __init__(self, actions):
        self.actions = actions
        _, secret = generator.new_token(actions, "user ann", "jamf", Grant(("routers",)))
        self.token = secret.reveal()
        self.answering = lambda asked: maybeDeferred(generator.answer, actions, asked)
        self.failures = RateLimit(3, clock=lambda: int(self.setting.clock.seconds() * 1e9))
        self.setting = Setting(Tree(None, None, GeneratorResource(self.answer, self.failures)))

    def answer(self, asked):
        return self.answering(asked)

    def call(self, body=b"", *fields, path=PATH, method="POST", token=None, host="192.0.2.7"):
        bearer = f"Authorization: Bearer {self.token if token is None else token}"
        octets = request(method, path, body, bearer, JSON, *fields)
        (reply,) = self.setting.client(host, tls=True).send(octets).replies
        return reply


@pytest.fixture
def front(actions):
    return Front(actions)


def test_S37_a_challenge_over_http(front, actions, lines):  # noqa: F811
    reply = front.call(json.dumps({"cn": "r1.example.net"}).encode())
    assert (reply.status, reply.headers[b"Cache-Control"]) == (200, b"no-store")
    text = json.loads(reply.body)["challenge"]
    assert actions.repository.find_challenge("routers", keyed_digest(STORE_KEY, text)).common_name == "r1.example.net"
    (line,) = lines
    assert "outcome=served profile=routers op=challenge ip=192.0.2.7" in line
    assert line.rstrip().endswith("token=jamf")
    assert text not in line
    assert front.token not in line


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/challenges/", "/api/v1/challenges/routers/", "/api/v1/challenges/../tokens", "/api/v1/tokens",
        "/api/v1/challenges%2Frouters", "/api/v1/Challenges", "/api/v1/requests", "/api/v1/certificates", "/api/",
        "/api/v1/challenges/1", "/scep/routers", "/crl/devices.crl",
    ],
)  # fmt: skip
def test_S37_S73_nothing_else_of_the_api_is_there(front, path):
    for method in ("GET", "POST", "DELETE"):
        assert front.call(path=path, method=method).status in {403, 404, 405}, method
    assert front.actions.challenges() == []


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "post"])
@pytest.mark.parametrize("fields", [(), ("Origin: https://evil.example", "Access-Control-Request-Method: POST")])
def test_S37_a_challenge_is_for_POST_alone(front, method, fields):
    reply = front.call(b"", *fields, method=method)
    # Methods that nothing here knows are refused before anybody looks at the path.
    assert (reply.status, reply.headers[b"Allow"]) == (405, b"POST" if method == "GET" else b"GET, HEAD, POST")
    assert_private(reply)
    assert front.actions.challenges() == []


def assert_private(reply):
    """Nobody keeps it, no page of another origin reads it, and no browser takes it for anything else."""
    assert (reply.headers[b"Cache-Control"], reply.headers[b"X-Content-Type-Options"]) == (b"no-store", b"nosniff")
    assert not [name for name in reply.headers if name.lower().startswith((b"access-control-", b"set-cookie", b"etag"))]


def test_S37_nobody_keeps_or_reads_along_what_is_answered(front):
    wishes = (
        (200, b"", ()), (200, b"", ("Accept: text/plain",)), (200, b"", ("Accept: text/html",)),
        (400, b"{", ()), (403, b'{"profile": "phones"}', ()), (403, b"", ("Origin: https://evil.example",)),
        (413, b" " * (LONGEST_BODY + 1), ()),
    )  # fmt: skip
    for expected, body, fields in wishes:
        reply = front.call(body, *fields)
        assert reply.status == expected, (expected, fields)
        assert_private(reply)
    for reply in (front.call(token="guess"), front.call(path="/api/v1/tokens"), *(front.call() for _ in range(60))):
        assert_private(reply)
    assert front.call().status == 429  # the last of these were over the token's rate


@pytest.mark.parametrize("where", ["query", "cookie", "body", "field"])
def test_S37_a_token_counts_in_its_own_field_alone(front, lines, where):  # noqa: F811
    """In a URL it would be in the logs of every proxy; a cookie a browser sends along by itself."""
    path = f"{PATH}?token={front.token}&access_token={front.token}" if where == "query" else PATH
    body = json.dumps({"token": front.token}).encode() if where == "body" else b""
    fields = {"cookie": (f"Cookie: token={front.token}",), "field": (f"X-Api-Key: {front.token}",)}.get(where, ())
    assert front.call(body, *fields, path=path, token="").status == 401
    assert front.actions.challenges() == []
    assert front.token not in "".join(lines)


def test_S37_a_replayed_call_gets_a_challenge_of_its_own_until_its_token_is_spent(front):
    _, secret = generator.new_token(front.actions, "user ann", "twice", Grant(("routers",), most=2))
    replies = [front.call(b'{"cn": "r1"}', token=secret.reveal()) for _ in range(3)]
    assert [reply.status for reply in replies] == [200, 200, 401]
    assert len({json.loads(reply.body)["challenge"] for reply in replies[:2]}) == len(front.actions.challenges()) == 2


@pytest.mark.parametrize(
    "fields", [("Origin: https://evil.example",), ("Origin: a", "Origin: b"), ("Sec-Fetch-Site: none",) * 2]
)
def test_S37_a_web_page_gets_nothing(front, lines, fields):  # noqa: F811
    assert front.call(b"", *fields).status == 403
    assert "reason=token_not_for_this" in lines[-1]


def test_S37_two_tokens_are_none(front):
    assert front.call(b"", f"Authorization: Bearer {front.token}").status == 401


def test_S30_guesses_at_tokens_end_before_the_store_is_asked(front, lines):  # noqa: F811
    guesses = [front.call(token=f"guess-{number}") for number in range(4)]
    assert [reply.status for reply in guesses] == [401, 401, 401, 429]
    assert guesses[-1].headers[b"Retry-After"] == b"20"
    assert "outcome=rejected reason=token_unknown" in lines[-2]
    assert "outcome=limited reason=rate" in lines[-1]
    front.answering = None  # nothing is asked any more
    assert front.call().status == 429
    assert front.call(host="192.0.2.8", path="/api/v1/challenges?x").status != 429  # whoever else comes


def test_S30_S37_who_guesses_tokens_is_banned_and_who_a_page_has_sent_is_not(front, lines, tmp_path):  # noqa: F811
    front.call(token="guess", host="198.51.100.7")
    front.call(b"", "Origin: https://evil.example", token="guess", host="198.51.100.8")
    front.call(host="198.51.100.9")
    assert banned(tmp_path, lines) == ["198.51.100.7"]


def test_S37_the_body_is_bounded(front):
    assert front.call(b" " * (LONGEST_BODY + 1)).status == 413


def test_a_busy_store_and_too_many_calls_are_put_off(front, lines):  # noqa: F811
    front.answering = lambda _asked: fail(Unavailable("the store is busy", retry_after=2))
    reply = front.call()
    assert (reply.status, reply.headers[b"Retry-After"]) == (503, b"2")
    front.answering = lambda _asked: Deferred()
    waiting = [front.setting.client(tls=True).send(request("POST", PATH, b"")) for _ in range(64)]
    assert [client.replies for client in waiting] == [[]] * 64
    assert front.call().status == 503
    assert "reason=overload" in lines[-1]

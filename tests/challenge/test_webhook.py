"""Webhooks against a real HTTPS receiver that is honest, down, slow, lying, oversized or somebody else."""

import base64
import gzip
import json
import os
import ssl
from datetime import timedelta

import attrs
import pytest
import trustme
from twisted.internet import reactor
from twisted.internet.interfaces import IHostnameResolver
from zope.interface import implementer

from scepd.challenge.remote_http import HttpsClient
from scepd.challenge.webhook import Hook, WebhookCompliance, WebhookMethod, WebhookNotifier
from scepd.message.csr import parse_csr
from scepd.profile.access import WebhookRule
from scepd.records import Identity, Notice, Secret
from scepd.refusal import OperatorError, Reason, Reject, Unavailable
from tests.challenge.remote import CHALLENGE, question
from tests.emulators.https import BlackHole, HttpsServer, Reply
from tests.emulators.reactor import Stage
from tests.emulators.webhook import SECRET, WebhookReceiver
from tests.store.building import BEGIN

TIMEOUT = 1.0


@pytest.fixture
def stage():
    stage = Stage()
    yield stage
    assert stage.stalls == []  # the reactor was never kept for more than 50 ms


@pytest.fixture
def receiver(clock):
    server = WebhookReceiver(clock)
    yield server
    server.close()


def rule_for(server, **changes):
    rule = WebhookRule(
        url=server.url("/scep/challenge"),
        secret=Secret(SECRET),
        trust_pem=server.trust_pem,
        timeout=timedelta(seconds=TIMEOUT),
        attributes=("CN", "O"),
    )
    return attrs.evolve(rule, **changes)


def hook(server, clock, **changes):
    return Hook.of_rule(rule_for(server, **changes), reactor, clock, os.urandom)


@pytest.fixture
def method(receiver, clock):
    return WebhookMethod(hook(receiver, clock), ("CN", "O"))


@pytest.fixture
def asked(csr):
    return question(csr(CHALLENGE, dns=("r1.example.net",)))


def unavailable(stage, method, asked):
    """Return the cause; it never repeats a secret."""
    with pytest.raises(Unavailable) as caught:
        stage.run(method.ask, asked)
    assert CHALLENGE not in caught.value.cause
    assert SECRET not in caught.value.cause
    return caught.value.cause


def test_P5_the_service_sees_the_request_and_its_word_is_the_identity(stage, receiver, method, asked):
    receiver.verdict = {
        "decision": "allow",
        "name": "asset 17",
        "attributes": {"O": "Example"},
        "names": ["dns:r1.example.net", "upn:r1@example.net"],
    }
    identity = stage.run(method.ask, asked)
    names = ("dns:r1.example.net", "upn:r1@example.net")
    assert identity == Identity("webhook", "asset 17", names=names, attributes=(("O", "Example"),))
    (told,) = receiver.asked
    assert parse_csr(base64.b64decode(told.pop("csr"))).challenge == Secret(CHALLENGE)
    assert len(told.pop("nonce")) == 32
    assert told == {
        "kind": "challenge",
        "profile": "routers",
        "transaction_id": "4B2F",
        "message_type": 19,
        "subject": "O=Example,CN=r1.example.net",
        "names": ["dns:r1.example.net"],
        "address": "192.0.2.7",
        "request_id": "r1",
        "challenge": CHALLENGE,
        "time": BEGIN.isoformat(),
    }


def test_S57_names_are_taken_as_certificates_have_them(stage, receiver, method, asked):
    receiver.verdict = {"decision": "allow", "names": ["dns:PKI.Example.NET", "ip:2001:DB8::1"]}
    assert stage.run(method.ask, asked).names == ("dns:pki.example.net", "ip:2001:db8::1")


def test_allow_without_more_names_the_request(stage, method, asked):
    assert stage.run(method.ask, asked) == Identity("webhook", asked.csr.fingerprint)


def test_P5_deny_is_a_refusal_and_unknown_leaves_it_to_the_next_method(stage, receiver, method, asked):
    receiver.verdict = {"decision": "deny", "name": "asset 17"}
    with pytest.raises(Reject) as caught:
        stage.run(method.ask, asked)
    assert caught.value.reason is Reason.challenge_backend_denied
    receiver.verdict = {"decision": "unknown"}
    assert stage.run(method.ask, asked) is None


def test_C149_without_a_challenge_nobody_is_asked(stage, receiver, method, csr):
    assert stage.run(method.ask, question(csr(None))) is None
    assert receiver.received == []


@pytest.mark.parametrize(
    "body",
    [
        b'{"decision": "allow", "decision": "deny"}',
        b'{"decision": "deny", "decision": "allow"}',
        b'{"decision": true}',
        b'{"decision": "ALLOW"}',
        b'{"decision": ["allow"]}',
        b'{"decision": null}',
        b'{"allow": true}',
        b"{}",
        b"[]",
        b"null",
        b'"allow"',
        b"",
        b"allow",
        b'{"decision": "allow"} {}',
        b'{"decision": "allow", "admin": true}',
        b'{"decision": "allow", "name": 7}',
        b'{"decision": "allow", "name": "a\\u001bb"}',
        b'{"decision": "allow", "attributes": []}',
        b'{"decision": "allow", "attributes": {"CN": 1}}',
        b'{"decision": "allow", "attributes": {"CN": ""}}',
        b'{"decision": "allow", "attributes": {"OU": "Admins"}}',
        b'{"decision": "allow", "names": "dns:x"}',
        b'{"decision": "allow", "names": ["x"]}',
        b'{"decision": "allow", "names": ["dns:"]}',
        b'{"decision": "allow", "names": [7]}',
        b'{"decision": "allow", "names": ["ip:999.1.1.1"]}',
        b'{"decision": "allow", "names": ["ip:10.0.0.0/8"]}',
        '{"decision": "allow", "names": ["dns:\xfc"]}'.encode(),
        b'{"decision": "allow", "names": ["dns:a..b"]}',
        b'{"decision": "allow", "names": ["email:nobody"]}',
        b'{"decision": "allow", "names": ["uri:nothing"]}',
        b'{"decision": "allow", "names": ["upn: x"]}',
        b'{"decision": "allow", "names": ["directory:3000"]}',
        b'{"decision": "deny", "names": ["dns:x"]}',
        b'{"decision": "unknown", "attributes": {"CN": "x"}}',
        b'{"decision": "allow", "name": NaN}',
        b'{"decision": "allow", "name": 1e999}',
        b'{"decision": "allow"}\xff',
        b"[" * 60_000,
        b'{"decision":' * 5_000,
    ],
)
def test_S84_any_other_answer_is_no_answer(stage, receiver, method, asked, body):
    receiver.reply = Reply(body=body)
    assert "not the agreed answer" in unavailable(stage, method, asked)


ALLOW = b'{"decision": "allow"}'


@pytest.mark.parametrize(
    ("reply", "cause"),
    [
        (Reply(body=ALLOW, wait=3 * TIMEOUT), "no answer within 1 s"),
        (Reply(body=ALLOW, drip=0.2), "no answer within 1 s"),
        (Reply(endless=200), "more than 65536 octets"),
        (Reply(body=ALLOW + b" " * 65_536), "more than 65536 octets"),
        (Reply(body=ALLOW, headers={"X-Long": "x" * 15_000} | {f"X-{n}": "y" * 15_000 for n in range(9)}), "more than"),
        (Reply(body=gzip.compress(ALLOW), headers={"Content-Encoding": "gzip"}), "compressed"),
        (Reply(body=ALLOW, headers={"Content-Encoding": "\xff"}), "compressed"),
        (Reply(body=ALLOW, cut=5), "before the answer did"),
        (Reply(silent=True), "before the answer did"),
        (Reply(body=ALLOW, status=500), "HTTP 500"),
        (Reply(body=ALLOW, status=201), "HTTP 201"),
        (Reply(body=ALLOW, status=204, headers={"Content-Length": "0"}), "HTTP 204"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_S84_down_slow_oversized_and_broken_fail_closed(stage, receiver, method, asked, reply, cause):
    receiver.reply = reply
    assert cause in unavailable(stage, method, asked)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_S83_a_redirect_is_not_followed(stage, receiver, method, asked, clock, status):
    other = WebhookReceiver(clock, authority=receiver.authority)
    receiver.reply = Reply(status=status, headers={"Location": other.url("/scep/challenge")})
    assert f"HTTP {status}" in unavailable(stage, method, asked)
    assert other.connections == 0
    other.close()


def test_S84_retry_after_is_honoured_within_bounds(stage, receiver, method, asked):
    for header, seconds in (("30", 30), ("99999", 300), ("0", 1), ("-1", 5), ("soon", 5), ("\xff", 5), ("3\xb2", 5)):
        receiver.reply = Reply(status=503, headers={"Retry-After": header})
        with pytest.raises(Unavailable) as caught:
            stage.run(method.ask, asked)
        assert caught.value.retry_after == seconds


def test_S84_nobody_listens(stage, receiver, method, asked):
    receiver.close()
    assert "refused" in unavailable(stage, method, asked)


def test_S84_whoever_cannot_be_reached_is_no_answer(stage, receiver, method, asked):
    receiver.close()
    hole = BlackHole(receiver.port)
    try:
        assert "no answer within" in unavailable(stage, method, asked)
    finally:
        hole.close()


def test_S84_a_certificate_of_another_authority_is_refused(stage, receiver, clock, asked):
    method = WebhookMethod(hook(receiver, clock, trust_pem=trustme.CA().cert_pem.bytes()))
    assert "certificate verify failed" in unavailable(stage, method, asked)
    assert receiver.received == []  # the challenge was not sent


def test_S84_a_certificate_for_another_host_is_refused(stage, clock, asked):
    server = WebhookReceiver(clock, host="elsewhere.example.net")
    method = WebhookMethod(hook(server, clock, url=server.url("/", host="localhost")))
    cause = unavailable(stage, method, asked)
    assert "another host" in cause or "verify failed" in cause
    assert server.received == []
    server.close()


def test_S101_tls_older_than_1_2_is_refused(stage, clock, asked):
    server = WebhookReceiver(clock, newest=ssl.TLSVersion.TLSv1_1)
    assert "TLS" in unavailable(stage, WebhookMethod(hook(server, clock)), asked)
    assert server.received == []
    server.close()


def test_S82_the_url_is_constant_whatever_a_request_says(stage, receiver, clock, csr, method):
    for subject in ("CN=x@169.254.169.254/", "CN=..%2f..%2fadmin", "CN={{7*7}}\\, ${x}"):
        stage.run(method.ask, question(csr(CHALLENGE, subject=subject)))
    assert {received.path for received in receiver.received} == {"/scep/challenge"}
    assert {received.headers["host"] for received in receiver.received} == {f"localhost:{receiver.port}"}


def test_S82_a_replayed_a_changed_and_a_retimed_body_are_refused_by_the_receiver(stage, receiver, method, asked, clock):
    stage.run(method.ask, asked)
    (received,) = receiver.received
    assert not receiver.accepts(received)  # the same once more
    receiver.seen.clear()
    assert receiver.accepts(received)
    receiver.seen.clear()
    changed = attrs.evolve(received, body=received.body.replace(b"r1", b"r2"))
    assert not receiver.accepts(changed)
    moment = int(BEGIN.timestamp())
    retimed = received.headers["scepd-signature"].replace(f"t={moment}", f"t={moment + 200}")
    assert not receiver.accepts(attrs.evolve(received, headers={"scepd-signature": retimed}))
    clock.moment = BEGIN + timedelta(hours=1)
    assert not receiver.accepts(received)  # too old


def test_S82_two_questions_never_share_a_nonce_or_a_connection(stage, receiver, method, asked):
    for _ in range(3):
        stage.run(method.ask, asked)
    assert len({told["nonce"] for told in receiver.asked}) == receiver.connections == 3


def test_S83_variables_of_the_environment_are_not_looked_at(stage, receiver, method, asked, monkeypatch):
    for name in ("http_proxy", "https_proxy", "HTTPS_PROXY", "ALL_PROXY", "SSL_CERT_FILE"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert stage.run(method.ask, asked) is not None


@pytest.mark.parametrize("address", ["127.0.0.1", "169.254.169.254", "::1", "fe80::1", "::ffff:127.0.0.1", "0.0.0.0"])
def test_S83_a_name_that_leads_to_this_machine_or_link_is_refused(stage, receiver, clock, asked, address, resolving):
    resolver = resolving(address)
    method = WebhookMethod(hook(receiver, clock, url=f"https://mdm.example.net:{receiver.port}/"))
    assert "leads to an address of this machine or link" in unavailable(stage, method, asked)
    assert resolver.asked == ["mdm.example.net"]  # once
    assert receiver.connections == 0


@pytest.fixture
def resolving():
    before = reactor.nameResolver

    def install(address):
        resolver = OneAddress(address)
        reactor.installNameResolver(resolver)
        return resolver

    yield install
    reactor.installNameResolver(before)


@implementer(IHostnameResolver)
class OneAddress:
    """A name server that says the same of every name."""

    def __init__(self, address):
        self.address, self.asked = address, []

    def resolveHostName(self, receiver, host, port=0, *_arguments, **_options):
        from twisted.internet.address import IPv4Address, IPv6Address

        kind = IPv6Address if ":" in self.address else IPv4Address
        self.asked.append(host)
        receiver.resolutionBegan(self)
        if self.address:
            receiver.addressResolved(kind("TCP", self.address, port))
        receiver.resolutionComplete()


def test_S83_a_name_without_an_address_is_no_answer(stage, receiver, clock, asked, resolving):
    resolving("")
    method = WebhookMethod(hook(receiver, clock, url=f"https://mdm.example.net:{receiver.port}/"))
    assert "has no address" in unavailable(stage, method, asked)


def test_a_plain_url_of_this_machine_works_unencrypted(stage, clock, asked):
    server = WebhookReceiver(clock, plain=True)
    method = WebhookMethod(hook(server, clock, url=server.url(), trust_pem=b""))
    assert stage.run(method.ask, asked) is not None
    server.close()


@pytest.mark.parametrize("url", ["http://mdm.example.net/", "http://192.0.2.1/", "http://169.254.169.254/"])
def test_S84_a_plain_url_of_another_machine_gets_nothing(stage, receiver, clock, asked, url):
    assert "not what was configured" in unavailable(stage, WebhookMethod(hook(receiver, clock, url=url)), asked)


def test_S84_who_is_configured_with_tls_never_speaks_without(stage, receiver, clock, asked):
    client = HttpsClient(reactor, receiver.trust_pem, timeout=TIMEOUT)
    method = WebhookMethod(Hook(client, "http://localhost:1/", Secret(SECRET), clock=clock, random=os.urandom))
    assert "not what was configured" in unavailable(stage, method, asked)


@pytest.mark.parametrize(
    "url",
    [
        "https://localhost:99999/",
        "https://localhost:-1/",
        "https://localhost:0/",
        "https://localhost:x/",
        "https://localhost:/",
        "https://[x/",
        "https://[::1%nowhere]:1/",
        "https:///path",
        "https://a..b/",
        f"https://{'a' * 64}.example.net/",
        "https://xn--\xfc.example.net/",
        "https://localhost/a b",
    ],
)
def test_S84_an_address_that_nobody_can_have_is_no_answer(stage, receiver, url):
    client = HttpsClient(reactor, receiver.trust_pem, timeout=TIMEOUT)
    with pytest.raises(Unavailable) as caught:
        stage.run(client.send, "GET", url, {})
    assert "no answer within" not in caught.value.cause


@pytest.mark.parametrize("pem", [b"nothing", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_S94_a_trust_bundle_that_cannot_be_used_is_refused_at_the_start(receiver, clock, pem):
    with pytest.raises(OperatorError):
        hook(receiver, clock, trust_pem=pem)


def test_S84_many_slow_questions_at_once_keep_nobody_waiting(stage, receiver, clock, csr):
    from twisted.internet.defer import Deferred, DeferredList

    receiver.reply = Reply(body=ALLOW, wait=0.3)
    method = WebhookMethod(hook(receiver, clock, timeout=timedelta(seconds=8)))
    asked = question(csr(CHALLENGE))

    async def ask_all():
        return await DeferredList([Deferred.fromCoroutine(method.ask(asked)) for _ in range(20)])

    assert all(succeeded for succeeded, _ in stage.run(ask_all))


def test_C10_the_compliance_hook_sees_who_asks_and_not_the_challenge(stage, receiver, clock, csr):
    known = Identity("one-time", "r1", names=("dns:r1",))
    asked = question(csr(CHALLENGE), identity=known, renews=0xAB)
    assert stage.run(WebhookCompliance(hook(receiver, clock)).ask, asked) == known
    (told,) = receiver.asked
    assert (told["kind"], told["identity"], told["renews"]) == ("compliance", {"method": "one-time", "name": "r1"}, "ab")
    assert "challenge" not in told
    assert parse_csr(base64.b64decode(told["csr"])).challenge is None
    assert CHALLENGE.encode() not in receiver.received[0].body


@pytest.mark.parametrize("decision", ["deny", "unknown"])
def test_C10_all_but_allow_is_a_refusal(stage, receiver, clock, asked, decision):
    receiver.verdict = {"decision": decision}
    with pytest.raises(Reject) as caught:
        stage.run(WebhookCompliance(hook(receiver, clock)).ask, asked)
    assert caught.value.reason is Reason.compliance_denied


def test_C10_no_answer_is_no_compliance(stage, receiver, clock, asked):
    receiver.verdict = {"decision": "allow", "attributes": {"CN": "root"}}
    unavailable(stage, WebhookCompliance(hook(receiver, clock)), asked)


NOTICE = Notice(
    profile="routers",
    transaction_id="4B2F",
    request_id="r1",
    outcome="issued",
    subject="CN=r1",
    serial=0xAB,
    not_after=BEGIN,
    certificate_der=b"\x30\x00",
    identity_method="static",
    identity_name="shared challenge",
    number=7,
    csr_der=b"secret octets",
)


def test_P5_a_notice_is_told_without_the_request(stage, receiver, clock):
    stage.run(WebhookNotifier(hook(receiver, clock)).notify, NOTICE)
    (told,) = receiver.asked
    assert (told["kind"], told["number"], told["outcome"], told["serial"]) == ("notice", 7, "issued", "ab")
    assert (told["certificate_der"], told["not_after"]) == ("MAA=", BEGIN.isoformat())
    assert "csr_der" not in told


@pytest.mark.parametrize("status", [200, 202, 204])
def test_P5_2xx_is_delivered_whatever_the_body(stage, receiver, clock, status):
    receiver.reply = Reply(status=status, body=b"" if status == 204 else b"thanks")
    stage.run(WebhookNotifier(hook(receiver, clock)).notify, NOTICE)


@pytest.mark.parametrize("status", [302, 404, 500])
def test_P5_anything_else_is_told_again_later(stage, receiver, clock, status):
    receiver.reply = Reply(status=status, body=b"{}")
    with pytest.raises(Unavailable):
        stage.run(WebhookNotifier(hook(receiver, clock)).notify, NOTICE)


def test_S33_no_secret_shows_in_what_is_printed(receiver, clock):
    rule = rule_for(receiver)
    shown = repr((rule, hook(receiver, clock).__dict__, NOTICE, Reply(body=b"x")))
    assert SECRET not in shown
    assert "secret octets" not in shown


def test_the_emulator_itself_tells_what_came(clock):
    server = HttpsServer(lambda _received: Reply(body=json.dumps({}).encode()))
    assert (server.received, server.connections) == ([], 0)
    server.close()

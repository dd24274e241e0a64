"""Intune's interface against an emulator of Entra, Graph and the validation service, honest and otherwise."""

import base64
import json
import os
from datetime import timedelta

import attrs
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from twisted.internet import reactor
from twisted.internet.defer import Deferred, DeferredList

from scepd.challenge.intune import IntuneMethod, IntuneNotifier, IntuneService
from scepd.challenge.intune_errors import CODES, NOT_OURS, hresult_of, refusal_of
from scepd.profile.access import IntuneRule
from scepd.records import Identity, Notice, Secret
from scepd.refusal import OperatorError, Reason, Reject, Unavailable
from tests.challenge.remote import CHALLENGE, question
from tests.emulators.https import ConnectProxy, Reply
from tests.emulators.intune import CLIENT, SECRET, TENANT, IntuneEmulator
from tests.emulators.reactor import Stage
from tests.store.building import BEGIN, Device, Issuer, certificate_of, make_intent


@pytest.fixture
def stage():
    stage = Stage()
    yield stage
    assert stage.stalls == []


@pytest.fixture
def intune():
    server = IntuneEmulator()
    yield server
    server.close()


def rule_for(server, **changes):
    rule = IntuneRule(
        tenant=TENANT,
        client_id=CLIENT,
        secret=Secret(SECRET),
        authority=server.url(""),
        graph=server.url(""),
        trust_pem=server.trust_pem,
        timeout=timedelta(seconds=1),
    )
    return attrs.evolve(rule, **changes)


def service_of(server, clock, **changes):
    return IntuneService.of_rule(rule_for(server, **changes), reactor, clock, os.urandom)


@pytest.fixture
def method(intune, clock):
    return IntuneMethod(service_of(intune, clock))


@pytest.fixture
def asked(csr):
    return question(csr(CHALLENGE, dns=("r1.example.net",)))


def unavailable(stage, method, asked):
    with pytest.raises(Unavailable) as caught:
        stage.run(method.ask, asked)
    for secret in (CHALLENGE, SECRET, "token-", "canary"):
        assert secret not in caught.value.cause
    return caught.value.cause


def test_C9_a_request_that_intune_validates_is_vouched_for(stage, intune, method, asked):
    identity = stage.run(method.ask, asked)
    assert identity == Identity(
        "intune",
        "O=Example,CN=r1.example.net",
        names=("dns:r1.example.net",),
        attributes=(("CN", "r1.example.net"), ("O", "Example")),
    )
    (request,) = intune.validated
    assert request["transactionId"] == "4B2F"
    assert base64.b64decode(request["certificateRequest"]) == asked.csr.der  # with its challenge
    assert request["callerInfo"] == "scepd"


def test_C9_token_and_address_are_kept_until_they_end(stage, intune, method, asked, clock):
    for _ in range(3):
        stage.run(method.ask, asked)
    assert (len(intune.asked("/token")), len(intune.asked("/endpoints"))) == (2, 1)
    clock.moment = BEGIN + timedelta(minutes=59)
    stage.run(method.ask, asked)
    assert (len(intune.asked("/token")), len(intune.asked("/endpoints"))) == (3, 1)
    clock.moment = BEGIN + timedelta(hours=25)
    stage.run(method.ask, asked)
    assert len(intune.asked("/endpoints")) == 2


def test_C9_many_at_once_ask_for_one_token(stage, intune, clock, csr):
    method = IntuneMethod(service_of(intune, clock, timeout=timedelta(seconds=8)))

    async def ask_all():
        return await DeferredList([Deferred.fromCoroutine(method.ask(question(csr(CHALLENGE)))) for _ in range(10)])

    assert all(succeeded for succeeded, _ in stage.run(ask_all))
    assert len(intune.asked("/token")) == 2  # one for Graph, one for Intune


def test_C9_a_token_that_is_refused_is_renewed_once(stage, intune, method, asked):
    stage.run(method.ask, asked)
    intune.revoke_tokens()
    assert stage.run(method.ask, asked) is not None
    intune.lies.replies["validateRequest"] = Reply(status=401)
    before = len(intune.asked("validateRequest"))
    assert "HTTP 401" in unavailable(stage, method, asked)
    assert len(intune.asked("validateRequest")) == before + 2


@pytest.mark.parametrize("code", sorted(CODES))
def test_S86_each_code_refuses_with_its_reason(stage, intune, method, asked, code):
    intune.code = code
    with pytest.raises(Reject) as caught:
        stage.run(method.ask, asked)
    assert caught.value.reason is CODES[code][0]
    assert code in caught.value.detail
    assert "canary" not in caught.value.detail


@pytest.mark.parametrize("code", ["success", "SUCCESS", "Success ", "", "OK", "NewCode2031", "a\nb", "x" * 5000])
def test_S86_a_code_that_is_not_known_fails_closed(stage, intune, method, asked, code):
    intune.code = code
    with pytest.raises(Reject) as caught:
        stage.run(method.ask, asked)
    assert caught.value.reason is Reason.challenge_backend_denied
    assert "\n" not in caught.value.detail
    assert len(caught.value.detail) < 200


@pytest.mark.parametrize("code", sorted(NOT_OURS))
def test_S93_what_is_none_of_intunes_goes_on_only_where_the_profile_lists_more(stage, intune, clock, asked, code):
    intune.code = code
    assert stage.run(IntuneMethod(service_of(intune, clock), is_last=False).ask, asked) is None
    with pytest.raises(Reject):
        stage.run(IntuneMethod(service_of(intune, clock)).ask, asked)


def test_S93_a_refusal_of_intunes_own_never_goes_on(stage, intune, clock, asked):
    intune.code = "ChallengeExpired"
    with pytest.raises(Reject):
        stage.run(IntuneMethod(service_of(intune, clock), is_last=False).ask, asked)


def test_C149_without_a_challenge_nobody_is_asked(stage, intune, method, csr):
    assert stage.run(method.ask, question(csr(None))) is None
    assert intune.connections == 0


FAULTS = {
    "slow": (Reply(wait=3), "no answer within 1 s"),
    "oversized": (Reply(endless=50), "more than 65536 octets"),
    "redirecting": (Reply(status=302, headers={"Location": "https://localhost/"}), "HTTP 302"),
    "broken": (Reply(silent=True), "before the answer did"),
    "not JSON": (Reply(body=b"<html>"), "no JSON"),
    "twice": (Reply(body=b'{"code": "Success", "code": "ChallengeExpired", "access_token": "x"}'), "twice"),
    "list": (Reply(body=b"[]"), "no JSON object"),
    "empty": (Reply(body=b"{}"), ""),
    "throttling": (Reply(status=429, headers={"Retry-After": "7"}), ""),
    "failing": (Reply(status=500), ""),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("hop", ["token", "endpoints", "validateRequest"])
def test_S84_each_hop_that_fails_fails_closed_and_the_next_request_works(stage, intune, method, asked, hop, fault):
    reply, cause = FAULTS[fault]
    intune.lies.replies[hop] = reply
    if (hop, fault) in {("token", "redirecting"), ("token", "not JSON")}:
        cause = ""
    assert cause in unavailable(stage, method, asked)
    intune.lies.replies.clear()
    assert stage.run(method.ask, asked) is not None


@pytest.mark.parametrize("hop", ["validateRequest"])
def test_S84_retry_after_reaches_the_device_within_bounds(stage, intune, method, asked, hop):
    for header, seconds in (("7", 7), ("86400", 300)):
        intune.lies.once[hop] = Reply(status=429, headers={"Retry-After": header})
        with pytest.raises(Unavailable) as caught:
            stage.run(method.ask, asked)
        assert caught.value.retry_after == seconds


@pytest.mark.parametrize(
    "answer",
    [
        {"code": True, "errorDescription": ""},
        {"code": None},
        {"code": ["Success"]},
        {"Code": "Success"},
        {"code": "Success", "errorDescription": 7},
        {"errorDescription": "Success"},
    ],
)
def test_S84_a_lying_validation_is_no_answer(stage, intune, method, asked, answer):
    intune.lies.replies["validateRequest"] = Reply(body=json.dumps(answer).encode())
    assert "without a code" in unavailable(stage, method, asked)


@pytest.mark.parametrize(
    "uri",
    [
        "http://localhost/FE",
        "https://user@localhost/FE",
        "https://localhost/FE?x=1",
        "https://localhost/FE#x",
        "ftp://localhost/",
        "https:///FE",
        "https://a b/",
        "https://[x",
        "https://localhost:99999/FE",
        "https://localhost:0/FE",
        "https://localhost:x/FE",
        7,
        None,
    ],
)
def test_S83_a_service_address_that_is_no_plain_https_url_gets_no_token(stage, intune, method, asked, uri):
    endpoint = {"providerName": "ScepRequestValidationFEService", "uri": uri}
    intune.lies.replies["endpoints"] = Reply(body=json.dumps({"value": [endpoint]}).encode())
    assert "no HTTPS URL" in unavailable(stage, method, asked)
    assert intune.validated == []


@pytest.mark.parametrize("value", [[], {}, None, ["x"], [{"providerName": "IWService", "uri": "https://localhost/"}]])
def test_C9_a_tenant_without_the_service_is_told_so(stage, intune, method, asked, value):
    intune.lies.replies["endpoints"] = Reply(body=json.dumps({"value": value}).encode())
    assert "does it have Intune" in unavailable(stage, method, asked)


@pytest.mark.parametrize(
    "bent",
    [
        {"access_token": 7},
        {"access_token": "a\nb"},
        {"access_token": ""},
        {"expires_in": "3599"},
        {"expires_in": True},
        {"expires_in": -1},
        {"expires_in": 10**9},
        {"token_type": "mac"},
    ],
)
def test_S84_a_lying_token_service_is_no_answer(stage, intune, method, asked, bent):
    token = {"token_type": "Bearer", "expires_in": 3599, "access_token": "x", **bent}
    intune.lies.replies["token"] = Reply(body=json.dumps(token).encode())
    assert "holds no token" in unavailable(stage, method, asked)


def test_C9_a_wrong_secret_is_told_by_entras_own_number(stage, intune, clock, asked):
    method = IntuneMethod(service_of(intune, clock, secret=Secret("wrong")))
    assert "invalid_client, AADSTS7000215" in unavailable(stage, method, asked)


def test_C9_the_address_is_asked_again_after_a_failure(stage, intune, method, asked):
    stage.run(method.ask, asked)
    intune.lies.once["validateRequest"] = Reply(status=404)
    unavailable(stage, method, asked)
    stage.run(method.ask, asked)
    assert len(intune.asked("/endpoints")) == 2


def test_S84_nobody_listens(stage, intune, method, asked):
    intune.close()
    assert "refused" in unavailable(stage, method, asked)


def make_credential(key):
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "scepd")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).serial_number(1)
    builder = builder.not_valid_before(BEGIN).not_valid_after(BEGIN + timedelta(days=30)).public_key(key.public_key())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM), Secret(pem)


@pytest.fixture(scope="module")
def credential():
    return make_credential(rsa.generate_private_key(65537, 2048))


def test_C9_the_application_proves_itself_by_certificate(stage, clock, asked, credential):
    certificate_pem, key_pem = credential
    server = IntuneEmulator(certificate_pem=certificate_pem)
    rule = {"secret": None, "certificate_pem": certificate_pem, "key_pem": key_pem}
    assert stage.run(IntuneMethod(service_of(server, clock, **rule)).ask, asked) is not None
    assert len(server.assertions) == 2  # never one twice
    assert b"client_secret" not in server.asked("/token")[0].body
    server.close()


def test_C9_a_credential_that_cannot_be_used_is_refused_at_the_start(intune, clock, credential):
    certificate_pem, key_pem = credential
    other_pem, other_key = make_credential(ec.generate_private_key(ec.SECP256R1()))
    _, third_key = make_credential(rsa.generate_private_key(65537, 2048))
    for bad in ((b"", key_pem), (certificate_pem, Secret("x")), (other_pem, other_key), (certificate_pem, third_key)):
        with pytest.raises(OperatorError):
            service_of(intune, clock, secret=None, certificate_pem=bad[0], key_pem=bad[1])


def test_C9_everything_goes_through_the_proxy(stage, intune, clock, asked):
    proxy = ConnectProxy()
    method = IntuneMethod(service_of(intune, clock, proxy=f"http://127.0.0.1:{proxy.port}"))
    assert stage.run(method.ask, asked) is not None
    assert len(proxy.heads) == 4
    assert {head.split(b"\r\n")[0] for head in proxy.heads} == {b"CONNECT localhost:%d HTTP/1.1" % intune.port}
    proxy.close()


@pytest.mark.parametrize(
    ("options", "cause"),
    [
        ({"status": b"407 Proxy Authentication Required"}, "407"),
        ({"status": b"302 Found"}, "302"),
        ({"status": b"200 OK", "extra": b"HTTP/1.1 200 OK\r\n\r\n{}"}, "did not let us through"),
        ({"status": b"x" * 9000}, "did not let us through"),
    ],
)
def test_S83_a_proxy_that_refuses_or_cheats_fails_closed(stage, intune, clock, asked, options, cause):
    proxy = ConnectProxy(**options)
    method = IntuneMethod(service_of(intune, clock, proxy=f"http://127.0.0.1:{proxy.port}"))
    assert cause in unavailable(stage, method, asked)
    assert intune.received == []
    proxy.close()


@pytest.fixture(scope="module")
def issued():
    issuer, device = Issuer.make(), Device.make()
    intent = make_intent(issuer, device)
    return Notice(
        profile="routers",
        transaction_id="4B2F",
        request_id="r1",
        outcome="issued",
        serial=intent.serial,
        certificate_der=certificate_of(issuer, device, intent),
        identity_method="intune",
        csr_der=b"the request as it was",
    )


def test_C9_a_certificate_is_reported(stage, intune, clock, issued):
    stage.run(IntuneNotifier(service_of(intune, clock)).notify, issued)
    (told,) = intune.successes
    certificate = x509.load_der_x509_certificate(issued.certificate_der)
    assert told == {
        "transactionId": "4B2F",
        "certificateRequest": base64.b64encode(b"the request as it was").decode(),
        "callerInfo": "scepd",
        "certificateThumbprint": certificate.fingerprint(hashes.SHA1()).hex().upper(),
        "certificateSerialNumber": f"{issued.serial:X}",
        "certificateExpirationDateUtc": "2027-03-01T12:00:00.000Z",
        "issuingCertificateAuthority": "CN=Test CA",
    }


def test_C9_a_refusal_is_reported_with_a_number_of_its_own(stage, intune, clock, issued):
    refused = attrs.evolve(issued, outcome="rejected", reason="name_refused", certificate_der=None)
    stage.run(IntuneNotifier(service_of(intune, clock)).notify, refused)
    (told,) = intune.failures
    assert (told["hResult"], told["errorDescription"]) == (hresult_of("name_refused"), "name_refused")
    numbers = {hresult_of(reason.value) for reason in Reason}
    assert len(numbers) == len(Reason)
    assert all(0xA0040000 <= number <= 0xA004FFFF for number in numbers)


def test_C9_others_requests_and_waiting_ones_are_not_reported(stage, intune, clock, issued):
    notifier = IntuneNotifier(service_of(intune, clock))
    for changes in ({"identity_method": "static"}, {"outcome": "pending"}, {"csr_der": None}):
        stage.run(notifier.notify, attrs.evolve(issued, **changes))
    assert intune.connections == 0


def test_C9_a_report_that_is_not_taken_is_made_again(stage, intune, clock, issued):
    intune.code = "ChallengeExpired"
    with pytest.raises(Unavailable, match="ChallengeExpired"):
        stage.run(IntuneNotifier(service_of(intune, clock)).notify, issued)


def test_S33_no_secret_shows_in_what_is_printed(intune, clock, credential):
    rule = rule_for(intune, certificate_pem=credential[0], key_pem=credential[1])
    service = service_of(intune, clock)
    shown = repr((rule, service.__dict__, service._directory.__dict__, service._directory._application))
    assert SECRET not in shown
    assert "PRIVATE KEY" not in shown


def test_S86_every_code_of_microsofts_library_is_known():
    assert len(CODES) == 24  # and Success
    assert refusal_of("x").reason is Reason.challenge_backend_denied

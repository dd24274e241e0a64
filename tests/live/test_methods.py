"""The real server asks others who may enrol: services up and down, the register, tokens, client certificates, switches."""

import base64
import json
import secrets
import signal
import ssl
import time
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta

import attrs
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from scepd.message.algorithms import CryptoPolicy
from scepd.message.certrep import read_certrep, read_certs_only
from scepd.message.enveloped import decrypt
from scepd.message.names import PkiStatus
from tests import make
from tests.challenge.test_signed import AUDIENCE, Mdm, certificate_pem
from tests.config.pki import write_secret
from tests.emulators import intune
from tests.emulators.https import Reply
from tests.emulators.webhook import SECRET, WebhookReceiver
from tests.live.device import EVERYTHING, certificate
from tests.live.http_wire import Wire, exchange, request
from tests.live.killing import wait_until
from tests.live.opened import WallClock, opened
from tests.live.server import STATIC, copy_of, run
from tests.ports import free_port
from tests.x509.factory import root

pytestmark = pytest.mark.live

TODAY = datetime.now(UTC)
DATES = {"begin": TODAY - timedelta(days=1), "end": TODAY + timedelta(days=30)}
TIMEOUT = 1.0  # seconds that a service has
REFUSED = "challenge rejected"
CHALLENGE = "whatever the service knows"

# What a service may do in place of an answer.
DOWN = {
    "500": Reply(status=500),
    "silent": Reply(silent=True),
    "cut": Reply(body=b'{"decision": "allow"}', cut=10),
    "slow": Reply(body=b'{"decision": "allow"}', wait=TIMEOUT + 1.0),
    "not strict": Reply(body=b'{"decision": "allow", "decision": "allow"}'),
    "oversized": Reply(body=b'{"decision": "allow"}', endless=3),
    "redirect": Reply(status=302, headers={"Location": "https://localhost:1/"}),
}

CONFIG = """
[listener.mtls]
address = "127.0.0.1:{mtls}"
tls = {{ certificate = "tls.pem", key = {{ file = "tls.key" }} }}
client_certificates = "optional"

[listener.mdm]
address = "127.0.0.1:{mdm}"
tls = {{ certificate = "tls.pem", key = {{ file = "tls.key" }} }}
serves = ["challenges"]

[profile.macs]
issuer = "devices"
challenge = [{{ method = "one-time" }}]

[profile.hooked]
issuer = "devices"
challenge = [{{ method = "webhook", {hook}, attributes = ["O"] }}]
subject = {{ from = {{ O = "identity" }} }}
names = {{ from_identity = true }}

[profile.undecided]
issuer = "devices"
challenge = [{{ method = "webhook", {hook}, on_failure = "pending" }}]

[profile.ordered]
issuer = "devices"
challenge = [{{ method = "static", secret = {{ file = "static-challenge" }} }}, {{ method = "webhook", {hook} }}, {{ method = "one-time" }}]

[profile.compliant]
issuer = "devices"
challenge = [{{ method = "static", secret = {{ file = "static-challenge" }} }}]
compliance = {{ {compliance} }}

[profile.reviewed]
issuer = "devices"
challenge = [{{ method = "static", secret = {{ file = "static-challenge" }} }}]
compliance = {{ {compliance}, on_failure = "pending" }}

[profile.told]
issuer = "devices"
challenge = [{{ method = "one-time" }}]
notify = [{{ {notices} }}]

[profile.managed]
issuer = "devices"
challenge = [{{ method = "intune", tenant = "{tenant}", client_id = "{client_id}", secret = {{ file = "intune-secret" }}, authority = "{intune}", graph = "{intune}", trust = "intune-trust.pem", timeout = "2s" }}]
subject = {{ allow = ["CN"], patterns = {{ CN = "c-.*" }} }}

[profile.register]
issuer = "devices"
challenge = [{{ method = "entity" }}]

[profile.registration]
issuer = "devices"
challenge = [{{ method = "entity", mode = "open" }}, {{ method = "static", secret = {{ file = "static-challenge" }} }}]

[profile.anybody]
issuer = "devices"
challenge = [{{ method = "none" }}]
approval = "manual"

[profile.signed]
issuer = "devices"
challenge = [{{ method = "signed", trust = "anchors.pem", audience = "{audience}" }}]

[profile.line]
issuer = "devices"
client_certificate = {{ trust = "factory.pem" }}
challenge = [{{ method = "client-certificate" }}]

[profile.few]
issuer = "devices"
challenge = [{{ method = "webhook", {hook} }}]
unique_key = true
most_active = 2

[profile.switched]
issuer = "devices"
challenge = [{{ method = "static", secret = {{ file = "static-challenge" }} }}]
"""


class Site:
    """A server whose profiles ask two services on loopback, a register, a signer of tokens and a factory's CA."""

    def __init__(self, server):
        self.server = server
        self.mtls, self.mdm_port = free_port(), free_port()
        self.clock = WallClock()
        self.hook, self.compliance, self.notices = (WebhookReceiver(self.clock) for _ in range(3))
        self.intune = intune.IntuneEmulator()
        (server.directory / "intune-trust.pem").write_bytes(self.intune.trust_pem)
        write_secret(server.directory / "intune-secret", intune.SECRET.encode())
        self.mdm = Mdm(server.directory, ec.generate_private_key(ec.SECP256R1()))
        self.mdm.path.write_bytes(certificate_pem(self.mdm.key, **DATES))
        self.factory = root("Factory", **DATES)
        (server.directory / "factory.pem").write_bytes(self.factory.pem)
        self.sign, self.decrypt = (certificate(server, f"devices-ra-{role}") for role in ("sign", "decrypt"))
        self.devices = server.directory / "clients"
        self.devices.mkdir()
        words = {name: self._service(name) for name in ("hook", "compliance", "notices")}
        words |= {"tenant": intune.TENANT, "client_id": intune.CLIENT, "intune": self.intune.url("")}
        with server.config.open("a") as config:
            config.write(CONFIG.format(mtls=self.mtls, mdm=self.mdm_port, audience=AUDIENCE, **words))

    def _service(self, name):
        receiver, directory = getattr(self, name), self.server.directory
        (directory / f"{name}-trust.pem").write_bytes(receiver.trust_pem)
        secret = write_secret(directory / f"{name}-secret", SECRET.encode())
        return f'url = "{receiver.url()}", secret = {{ file = "{secret.name}" }}, trust = "{name}-trust.pem", timeout = "1s"'

    def reset(self):
        for receiver in (self.hook, self.compliance, self.notices):
            receiver.verdict, receiver.reply = {"decision": "allow"}, None
            receiver.received.clear()
        self.intune.lies.replies.clear()

    def close(self):
        for receiver in (self.hook, self.compliance, self.notices, self.intune):
            receiver.close()

    def log_of(self, device):
        """The log lines of a device's requests."""
        return [line for line in self.server.log_lines() if device.transaction_id in line]

    def tls(self, holder=None):
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
        if holder is not None:
            file = self.server.directory / f"{secrets.token_hex(4)}.holder"
            file.write_bytes(holder.pem + holder.key_pem)
            made.load_cert_chain(file)
            file.unlink()
        return made


@attrs.define
class Device:
    """One enrolment, octets that never change."""

    site: Site
    profile: str
    challenge: str | None = CHALLENGE
    name: str = attrs.field(factory=lambda: f"d-{secrets.token_hex(6)}")
    party: make.Party = attrs.field(factory=lambda: make.party("methods"))
    holder: object = None
    transaction_id: str = attrs.field(factory=lambda: secrets.token_hex(16))
    extensions: tuple = ()
    body: bytes = b""

    def __attrs_post_init__(self):
        self.body = make.pkcs_req(
            challenge=self.challenge, subject=make.name(CN=self.name), signer=self.party,
            recipient=make.Party(None, self.site.decrypt), transaction_id=self.transaction_id,
            sender_nonce=secrets.token_bytes(16), signing_time=datetime.now(UTC), extensions=self.extensions,
        )  # fmt: skip

    def send(self):
        """Send the request once; return the HTTP reply."""
        gated = self.profile == "line"
        octets = request("POST", f"/scep{'-mtls' if gated else ''}/{self.profile}?operation=PKIOperation", self.body)
        if gated:
            return exchange(self.site.mtls, octets, tls=self.site.tls(self.holder))
        return exchange(self.site.server.http, octets)

    def read(self, reply):
        assert reply.status == 200, (reply, self.site.log_of(self))
        return read_certrep(reply.body, trusted=[self.site.sign])

    def enrol(self):
        """Send the request; return the certificate that came, which is for this device."""
        answer = self.read(self.send())
        assert answer.status is PkiStatus.SUCCESS, (answer, self.site.log_of(self))
        plain = decrypt(answer.content, self.party.certificate_der, self.party.key, CryptoPolicy())
        found = x509.load_der_x509_certificate(read_certs_only(plain)[0])
        assert found.public_key() == self.party.key.public_key()
        return found

    def refusal(self):
        """Send the request; return what the refusal says to the device, and the reason in the log."""
        answer = self.read(self.send())
        assert answer.status is PkiStatus.FAILURE, answer
        (line,) = self.site.log_of(self)[-1:]
        return answer.fail_info_text, line.partition(" reason=")[2].split()[0]

    def is_put_off(self):
        """Send the request; return whether the answer is a 503 that says when to come again."""
        reply = self.send()
        return (reply.status, int(reply.headers.get("retry-after", 0)) > 0) == (503, True)


@attrs.define
class Client:
    """A device that runs `scepd client`; its key stays in its file."""

    site: Site
    profile: str
    name: str = attrs.field(factory=lambda: f"c-{secrets.token_hex(6)}")

    @property
    def key(self):
        return self.site.devices / f"{self.name}.key"

    @property
    def out(self):
        return self.site.devices / f"{self.name}.pem"

    def enroll(self, challenge, *options):
        """Run it once; return exit status and words."""
        server = self.site.server
        done = run(
            *server.client("enroll"), "--url", f"{server.url}/{self.profile}", "--fingerprint", server.fingerprint(),
            "--challenge-file", "-", "--cn", self.name, "--key", self.key, "--out", self.out, *options,
            check=False, input=challenge,
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    def poll(self):
        done = run(*self.site.server.client("poll"), "--key", self.key, check=False)
        return done.returncode, done.stdout + done.stderr

    def has_certificate(self):
        if not self.out.exists():
            return False
        run("openssl", "verify", "-CAfile", self.site.server.ca, self.out)
        return True


@pytest.fixture(scope="module")
def started(template, place):
    server = copy_of(template, place / "methods")
    server.edit(r"^workers = \d+", "workers = 2")
    site = Site(server)
    try:
        server.start()
        yield site
    finally:
        status = server.stop()
        site.close()
    assert status in {0, -signal.SIGTERM}
    assert "unexpected" not in server.log.read_text()
    server.check_store()


@pytest.fixture
def site(started):
    started.reset()
    yield started
    started.reset()


def test_a_webhook_lets_our_client_in(site):
    client = Client(site, "hooked")
    site.hook.verdict = {"decision": "allow", "name": "asset 1", "attributes": {"O": "Hook"}, "names": [f"dns:{client.name}"]}
    status, words = client.enroll(CHALLENGE)
    assert (status, client.has_certificate()) == (0, True), words
    found = x509.load_pem_x509_certificate(client.out.read_bytes())
    assert set(found.subject.rfc4514_string().split(",")) == {f"CN={client.name}", "O=Hook"}
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [client.name]
    (asked,) = site.hook.asked
    assert (asked["kind"], asked["profile"], asked["challenge"]) == ("challenge", "hooked", CHALLENGE)
    assert CHALLENGE not in site.server.log.read_text()


@pytest.mark.parametrize("decision", ["deny", "unknown"])
def test_a_webhook_refuses_readably(site, decision):
    site.hook.verdict = {"decision": decision}
    client = Client(site, "undecided")
    status, words = client.enroll(CHALLENGE)
    assert (status, client.has_certificate(), REFUSED in words) == (1, False, True), words
    reason = "challenge_backend_denied" if decision == "deny" else "challenge_invalid"
    assert Device(site, "undecided").refusal() == (REFUSED, reason)


@pytest.mark.parametrize("way", DOWN)
def test_S83_S84_a_webhook_without_an_answer_puts_off_and_then_issues(site, way):
    device = Device(site, "ordered")
    site.hook.reply = DOWN[way]
    assert device.is_put_off()
    site.hook.reply, site.hook.verdict = None, {"decision": "allow", "name": way}
    first = device.enrol()
    assert device.enrol() == first


def test_S84_our_client_comes_again_after_the_webhook_was_gone(site):
    client, gone = Client(site, "ordered"), site.hook
    gone.close()
    try:
        status, words = client.enroll(CHALLENGE)
        assert (status, "HTTP 503" in words, client.has_certificate()) == (1, True, False), words
        assert Device(site, "ordered", STATIC).enrol()  # what is listed before needs no webhook
        assert Device(site, "ordered", site.server.challenge(profile="ordered")).is_put_off()
    finally:
        site.hook = WebhookReceiver(site.clock, authority=gone.authority, port=gone.port)
    status, words = client.enroll(CHALLENGE)
    assert (status, client.has_certificate()) == (0, True), words


def test_an_unknown_challenge_is_left_to_the_next_method(site):
    site.hook.verdict = {"decision": "unknown"}
    challenge = site.server.challenge(profile="ordered")
    assert Device(site, "ordered", challenge).enrol()
    assert Device(site, "ordered", challenge, party=make.party("other")).refusal() == (REFUSED, "challenge_replayed")
    assert Device(site, "ordered", "nobody-knows-this").refusal() == (REFUSED, "challenge_invalid")
    assert Device(site, "ordered", None).refusal() == (REFUSED, "challenge_missing")


def waiting(site, profile):
    """The number of the one request of the profile that waits for a person."""
    rows = json.loads(site.server.scepd("request", "list", "--profile", profile, "--json").stdout)
    (row,) = [row for row in rows if row["state"] == "PENDING"]
    return str(row["id"])


@pytest.mark.parametrize(("profile", "challenge", "service"), [("undecided", CHALLENGE, "hook"), ("reviewed", STATIC, "compliance")])
def test_S84_a_person_decides_while_a_service_is_down(site, profile, challenge, service):
    receiver = getattr(site, service)
    receiver.reply = DOWN["500"]
    client = Client(site, profile)
    status, words = client.enroll(challenge)
    assert (status, client.has_certificate()) == (3, False), words
    receiver.reply = None
    assert client.poll()[0] == 3  # the service's return decides nothing: a person was asked
    site.server.scepd("request", "approve", waiting(site, profile))
    status, words = client.poll()
    assert (status, client.has_certificate()) == (0, True), words
    device = Device(site, profile, challenge)
    receiver.reply = DOWN["silent"]
    assert device.read(device.send()).status is PkiStatus.PENDING
    site.server.scepd("request", "reject", waiting(site, profile))
    assert device.refusal()[1] == "rejected_by_approver"


def test_a_service_is_told_of_each_certificate(site):
    device = Device(site, "told", site.server.challenge(profile="told"))
    found = device.enrol()
    wait_until(lambda: site.notices.received, patience=10, what=site.server.log)
    (told,) = site.notices.asked
    assert (told["kind"], told["outcome"], told["transaction_id"]) == ("notice", "issued", device.transaction_id)
    assert (told["identity_method"], int(told["serial"], 16)) == ("one-time", found.serial_number)
    assert base64.b64decode(told["certificate_der"]) == found.public_bytes(Encoding.DER)


def test_P5_a_service_is_told_of_refusals_of_somebody_known_and_of_no_strangers(site):
    unwanted = (make.dns_names("evil.example"),)
    assert Device(site, "told", "nobody-knows-this", extensions=unwanted).refusal()[1] == "challenge_invalid"
    device = Device(site, "told", site.server.challenge(profile="told"), extensions=unwanted)
    assert device.refusal()[1] == device.refusal()[1] == "name_refused"
    wait_until(lambda: site.notices.received, patience=10, what=site.server.log)
    (told,) = site.notices.asked
    assert (told["outcome"], told["reason"], told["transaction_id"]) == ("rejected", "name_refused", device.transaction_id)
    assert (told["identity_method"], told["serial"]) == ("one-time", None)


def test_C9_intune_validates_and_hears_of_both_ends(site):
    client = Client(site, "managed")
    status, words = client.enroll("a challenge of Intune's")
    assert (status, client.has_certificate()) == (0, True), words
    refused = Device(site, "managed", "another")
    assert refused.refusal()[1] == "subject_refused"
    site.intune.code = "RegisteredKeyMismatch"
    assert Device(site, "managed", "a third").refusal() == (REFUSED, "challenge_not_for_request")
    site.intune.code = "Success"
    wait_until(lambda: site.intune.successes and site.intune.failures, patience=10, what=site.server.log)
    (success,), (failure,) = site.intune.successes, site.intune.failures
    found = x509.load_pem_x509_certificate(client.out.read_bytes())
    assert success["certificateSerialNumber"] == f"{found.serial_number:X}"
    assert (failure["transactionId"], failure["errorDescription"]) == (refused.transaction_id, "subject_refused")
    assert failure["certificateRequest"] == next(
        asked["certificateRequest"] for asked in site.intune.validated if asked["transactionId"] == refused.transaction_id
    )
    assert intune.SECRET not in site.server.log.read_text()


@pytest.mark.parametrize("way", ["500", "silent", "not strict", "redirect", "oversized"])
def test_C9_S84_intune_without_an_answer_puts_off_and_then_issues(site, way):
    device = Device(site, "managed", "theirs", name=f"c-{secrets.token_hex(6)}")
    word = secrets.choice(["token", "validateRequest"]) if way == "500" else "validateRequest"
    site.intune.lies.replies[word] = DOWN[way]
    site.intune.revoke_tokens()
    assert device.is_put_off()
    site.intune.lies.replies.clear()
    first = device.enrol()
    assert device.enrol() == first


def test_the_compliance_hook_says_yes_no_and_nothing(site):
    client = Client(site, "compliant")
    status, words = client.enroll(STATIC)
    assert (status, client.has_certificate()) == (0, True), words
    (asked,) = site.compliance.asked
    assert (asked["kind"], asked["identity"]["method"], "challenge" in asked) == ("compliance", "static", False)
    site.compliance.verdict = {"decision": "deny"}
    other = Client(site, "compliant")
    status, words = other.enroll(STATIC)
    assert (status, "device not compliant" in words) == (1, True), words
    assert Device(site, "compliant", STATIC).refusal() == ("device not compliant", "compliance_denied")
    asked = len(site.compliance.received)
    assert Device(site, "compliant", "guessed-guessed-guessed").refusal() == (REFUSED, "challenge_invalid")
    assert len(site.compliance.received) == asked
    device = Device(site, "compliant", STATIC)
    site.compliance.reply = DOWN["500"]
    assert device.is_put_off()
    site.reset()
    assert device.enrol()


def entity(site, *arguments):
    return json.loads(site.server.scepd("entity", *arguments, "--json").stdout)


def test_an_entity_enrols_once_and_again_after_reset(site):
    first = Client(site, "register")
    made = entity(site, "add", "register", "--cn", first.name)
    status, words = first.enroll(made["code"])
    assert (status, first.has_certificate()) == (0, True), words
    second = Device(site, "register", made["code"], name=first.name)
    assert second.refusal()[0] == REFUSED
    assert entity(site, "show", str(made["id"]))["state"].lower() == "generated"
    again = entity(site, "reset", str(made["id"]))
    assert second.refusal()[0] == REFUSED
    assert Device(site, "register", again["code"], name=first.name).enrol()
    third = Device(site, "register", again["code"], name=first.name, party=make.party("other"))
    assert third.refusal()[0] == REFUSED
    assert Device(site, "register", again["code"]).refusal()[0] == REFUSED  # somebody unknown


def test_E3_entities_are_entered_from_a_file(site):
    first, second = Client(site, "register"), Client(site, "register")
    file = site.server.directory / "entities.csv"
    file.write_text(f"cn,code,O\n{first.name},,Example\n{second.name},a code of ours,Example\n")
    made = json.loads(site.server.scepd("entity", "import", file, "--profile", "register", "--json").stdout)
    codes = {row["cn"]: row["code"] for row in made}
    assert codes[second.name] is None  # it was given
    for client, code in ((first, codes[first.name]), (second, "a code of ours")):
        status, words = client.enroll(code)
        assert (status, client.has_certificate()) == (0, True), words


def test_E4_a_registration_authority_enters_what_it_asks_for(site):
    device = Device(site, "registration", STATIC)
    assert device.enrol()
    rows = json.loads(site.server.scepd("entity", "list", "--profile", "registration", "--json").stdout)
    assert [(row["cn"], row["state"].lower()) for row in rows] == [(device.name, "generated")]
    assert Device(site, "registration", "nobody-knows-this").refusal()[0] == REFUSED


def test_N3_without_any_challenge_a_person_decides(site):
    device = Device(site, "anybody", None)
    assert device.read(device.send()).status is PkiStatus.PENDING
    site.server.scepd("request", "approve", waiting(site, "anybody"))
    assert device.enrol()
    other = Device(site, "anybody", None)
    assert other.read(other.send()).status is PkiStatus.PENDING
    site.server.scepd("request", "reject", waiting(site, "anybody"))
    assert other.refusal()[1] == "rejected_by_approver"


def call_generator(site, authorization, *options, profile="/macs"):
    """Have a challenge made as the manual shows it; return status, content type and body."""
    done = run(
        "curl", "--silent", "--path-as-is", "--cacert", site.server.ca, *authorization, *options,
        "-w", "\n%{http_code} %{content_type}", f"https://127.0.0.1:{site.mdm_port}/api/v1/challenges{profile}",
    ).stdout  # fmt: skip
    body, _, words = done.rpartition("\n")
    status, _, kind = words.partition(" ")
    return int(status), kind, body


def test_S37_an_mdm_system_gets_a_challenge_over_https_and_its_device_enrols(site):
    made = json.loads(site.server.scepd("challenge", "token", "new", "jamf", "--profile", "macs", "--per-minute", 4, "--json").stdout)
    bearer, basic = ("-H", f"Authorization: Bearer {made['token']}"), ("-u", f"jamf:{made['token']}")
    first, second = Client(site, "macs"), Client(site, "macs")
    wish = ("-H", "Content-Type: application/json", "-d", json.dumps({"cn": first.name, "valid_seconds": 3600}))
    status, kind, body = call_generator(site, bearer, *wish)
    assert (status, kind) == (200, "application/json"), body
    challenge = json.loads(body)["challenge"]
    assert second.enroll(challenge)[0] == 1  # it is for another name
    words = first.enroll(challenge)
    assert (words[0], first.has_certificate()) == (0, True), words
    assert Device(site, "macs", challenge, name=first.name).refusal() == (REFUSED, "challenge_replayed")
    about = {"webhook": {"id": 1, "name": "scepd", "webhookEvent": "SCEPChallenge"}, "event": {}}
    status, kind, text = call_generator(site, basic, "-H", "Content-Type: application/json", "-d", json.dumps(about))
    assert (status, kind, second.enroll(text)[0]) == (200, "text/plain; charset=utf-8", 0)
    # The rate is that of all workers, whoever of them is asked.
    answers = [call_generator(site, bearer, "-X", "POST")[0] for _ in range(4)]
    assert (answers.count(200), answers.count(429)) == (2, 2)
    assert call_generator(site, ("-u", "jamf:nobodys"), "-X", "POST")[0] == 401
    site.server.scepd("challenge", "token", "revoke", "jamf")
    assert call_generator(site, bearer, "-X", "POST")[0] == 401
    assert call_generator(site, bearer, "-X", "POST", profile="/../requests")[0] == 404
    assert exchange(site.server.http, request("POST", "/api/v1/challenges/macs", b"")).status == 404
    log = site.server.log.read_text()
    assert not [secret for secret in (made["token"], challenge, text) if secret in log]
    assert "outcome=served profile=macs op=challenge" in log
    assert "token=jamf" in log


def token(site, subject, **changes):
    now = int(time.time())
    dates = {"iat": now, "nbf": now, "exp": now + 600}
    binding = {"csr": {"subject": f"CN={subject}", "names": []}}
    return site.mdm.token(Mdm.claims(**dates, **binding, **changes))


def test_C9_a_signed_token_is_good_for_one_request(site):
    client = Client(site, "signed")
    text = token(site, client.name)
    status, words = client.enroll(text)
    assert (status, client.has_certificate()) == (0, True), words
    replayed = Device(site, "signed", text, name=client.name)
    assert replayed.refusal() == (REFUSED, "challenge_replayed")
    assert Device(site, "signed", token(site, "other")).refusal() == (REFUSED, "challenge_not_for_request")
    forged = Device(site, "signed", text[:-8] + "AAAAAAAA", name=client.name)
    assert forged.refusal() == (REFUSED, "challenge_signature_invalid")
    assert Device(site, "signed", token(site, "aud", aud="https://other")).refusal() == (REFUSED, "challenge_wrong_audience")
    limited = [Device(site, "signed", token(site, name, sub="device 9"), name=name) for name in ("s1", "s2", "s3", "s4")]
    assert all(device.enrol() for device in limited[:3])
    assert limited[3].refusal() == (REFUSED, "challenge_device_limit")


def test_S94_a_broken_trust_file_leaves_the_old_one_also_on_SIGHUP(site):
    good = site.mdm.path.read_bytes()
    site.mdm.path.write_bytes(good[: len(good) // 2])
    try:
        assert Device(site, "signed", token(site, "half"), name="half").enrol()
        site.server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: site.server.log_lines("reload_failed"), patience=20, what=site.server.log)
        assert Device(site, "signed", token(site, "still"), name="still").enrol()
    finally:
        site.mdm.path.write_bytes(good)
    assert "anchors.pem" in site.server.log_lines("reload_failed")[-1] + "".join(site.server.log_lines("trust_not_renewed"))


def test_a_client_certificate_is_who_enrols(site):
    holder = site.factory.issue("line-7", **DATES)
    assert Device(site, "line", None, name="line-7", holder=holder).enrol()
    other = Device(site, "line", None, holder=holder)
    assert other.refusal() == ("client certificate not accepted", "client_certificate_refused")
    nobody = Device(site, "line", None, name="line-7").send()
    assert (nobody.status, nobody.body.startswith(b"client certificate missing")) == (401, True)
    stranger = Device(site, "line", None, name="line-7", holder=root("Other", **DATES).issue("line-7", **DATES)).send()
    assert stranger.status == 401


def owners(site, devices):
    """The workers ("node/slot") that issued to these devices."""
    with opened(site.server) as (repository, _issuers):
        owners = {row.key.transaction_id: row.owner for row in repository.transactions(limit=EVERYTHING)}
    return [owners[device.transaction_id].partition(".")[0] for device in devices]


@contextmanager
def one_connection_to_each_worker(site):
    """Yield kept connections to the switched profile, one to each of the two workers."""
    with ExitStack() as stack:
        wires = [stack.enter_context(Wire(site.server.http)) for _ in range(24)]
        devices = [Device(site, "switched", STATIC) for _ in wires]
        assert {say(device, wire) for device, wire in zip(devices, wires, strict=True)} == {PkiStatus.SUCCESS}
        found = dict(zip(owners(site, devices), wires, strict=True))
        assert len(found) == 2, found
        yield list(found.values())


def say(device, wire):
    """Send a device's request on a kept connection; return the status of the answer."""
    reply = wire.send(request("POST", f"/scep/{device.profile}?operation=PKIOperation", device.body)).reply()
    return device.read(reply).status


def seconds_until(site, wires, status):
    """Return after how many seconds new devices hear this status, and nothing else, on all of these connections."""
    begun = last = time.monotonic()
    while time.monotonic() < begun + 1.5:
        for wire in wires:
            if say(Device(site, "switched", STATIC), wire) is not status:
                last = time.monotonic()
    return last - begun


def test_a_profile_is_switched_off_and_on_in_every_worker_within_a_second(site):
    client = Client(site, "switched")
    with one_connection_to_each_worker(site) as wires:
        site.server.scepd("profile", "disable", "switched")
        assert seconds_until(site, wires, PkiStatus.FAILURE) < 1.0
        assert Device(site, "switched", STATIC).refusal() == ("profile not enabled", "profile_disabled")
        status, words = client.enroll(STATIC)
        assert (status, "profile not enabled" in words) == (1, True), words
        assert Device(site, "compliant", STATIC).enrol()  # the others go on
        site.server.scepd("profile", "enable", "switched")
        assert seconds_until(site, wires, PkiStatus.SUCCESS) < 1.0
    status, words = client.enroll(STATIC)
    assert (status, client.has_certificate()) == (0, True), words


def test_limits_of_an_identity_and_of_a_key(site):
    site.hook.verdict = {"decision": "allow", "name": "asset 17"}
    first, second, third = (Device(site, "few", party=make.party(f"few-{number}")) for number in range(3))
    assert first.enrol()
    assert Device(site, "few", party=first.party).refusal()[1] == "key_taken"
    found = second.enrol()
    assert third.refusal() == ("too many active certificates", "identity_limit")
    site.server.scepd("cert", "revoke", f"{found.serial_number:x}")
    assert Device(site, "few", party=third.party).enrol()

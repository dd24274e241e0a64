"""Every method at every profile of every tenant: a credential is good where it was given, and nowhere else (threats S-09, S-43)."""

import json
import secrets
import signal
import ssl
import time
from datetime import UTC, datetime, timedelta

import attrs
import jwt
import pytest

from scepd.app.service import ask_desk
from scepd.message.certrep import read_certrep
from scepd.message.names import PkiStatus
from scepd.records import CertificateState
from tests import make
from tests.config.pki import write_secret
from tests.emulators import intune
from tests.emulators.webhook import SECRET, WebhookReceiver
from tests.live.device import EVERYTHING, certificate, running
from tests.live.http_wire import exchange, request
from tests.live.killing import wait_until
from tests.live.opened import WallClock, opened
from tests.live.server import copy_of
from tests.ports import free_port
from tests.x509.factory import make as make_holder
from tests.x509.factory import root

pytestmark = pytest.mark.live

TODAY = datetime.now(UTC)
DATES = {"begin": TODAY - timedelta(days=1), "end": TODAY + timedelta(days=30)}
VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
TENANTS = ("", "north", "south")  # "" is the server's own
METHODS = {
    "static": '{{ method = "static", secret = {{ file = "{name}.secret" }} }}',
    "one-time": '{{ method = "one-time" }}',
    "entity": '{{ method = "entity" }}',
    "signed": '{{ method = "signed", trust = "signer.pem", audience = "https://scep.example.net/{name}" }}',
    "webhook": '{{ method = "webhook", url = "{hook}", secret = {{ file = "hook.secret" }}, trust = "hook.pem" }}',
    "intune": '{{ method = "intune", tenant = "{directory}", client_id = "{client}", secret = {{ file = "intune.secret" }}, authority = "{intune}", graph = "{intune}", trust = "{trust}" }}',
}
TAKE_LONG = {"signed", "webhook", "intune"}  # challenges as long as a token
CONFIG = """
[listener.mtls]
address = "127.0.0.1:{mtls}"
tls = {{ certificate = "tls.pem", key = {{ file = "tls.key" }} }}
client_certificates = "optional"
"""
PROFILE = """
[profile.{name}]
issuer = "devices"
challenge = [{challenge}]
default = {default}
"""
GATED = """
[profile.{name}]
issuer = "devices"
client_certificate = {{ trust = "{name}.pem", subject = "any" }}
challenge = [{{ method = "client-certificate" }}]
"""
TENANT = """
[tenant.{tenant}]
profiles = [{profiles}]
"""


@attrs.frozen
class Place:
    """A profile, and the tenant that it belongs to."""

    tenant: str
    kind: str

    @property
    def name(self):
        return f"{self.tenant or 'own'}-{self.kind}"

    def path(self, tree="scep", tenant=None):
        tenant = self.tenant if tenant is None else tenant
        return f"/{tenant}/{tree}/{self.name}" if tenant else f"/{tree}/{self.name}"


@attrs.frozen
class Credential:
    """What lets one device in at one place: its challenge, and the name that it must ask for."""

    place: Place
    challenge: str
    subject: str


PLACES = [Place(tenant, method) for tenant in TENANTS for method in METHODS]
GATES = [Place(tenant, "line") for tenant in TENANTS]


class Services:
    """One webhook receiver, with a path for each profile, and an Intune for each tenant: each knows its own challenges."""

    def __init__(self, directory):
        self.hook = WebhookReceiver(WallClock())
        self.intunes = {tenant: intune.IntuneEmulator() for tenant in TENANTS}
        self.hook.known = {f"/{place.name}": set() for place in PLACES if place.kind == "webhook"}
        (directory / "hook.pem").write_bytes(self.hook.trust_pem)
        write_secret(directory / "hook.secret", SECRET.encode())
        write_secret(directory / "intune.secret", intune.SECRET.encode())
        for tenant, service in self.intunes.items():
            service.known = set()
            (directory / f"intune{tenant}.pem").write_bytes(service.trust_pem)

    def words(self, place):
        """What the configuration of a method says of the services."""
        return {
            "hook": self.hook.url(f"/{place.name}"), "intune": self.intunes[place.tenant].url(""),
            "trust": f"intune{place.tenant}.pem", "directory": intune.TENANT, "client": intune.CLIENT,
        }  # fmt: skip

    def new_challenge(self, place):
        """Let the service of a profile know one more challenge; return it."""
        known = self.hook.known[f"/{place.name}"] if place.kind == "webhook" else self.intunes[place.tenant].known
        known.add(made := secrets.token_urlsafe(24))
        return made

    def close(self):
        for service in (self.hook, *self.intunes.values()):
            service.close()


class Site:
    """A server with a profile of each method for each tenant, and a factory for each gate."""

    def __init__(self, server):
        self.server, self.mtls = server, free_port()
        self.sign, self.decrypt = (certificate(server, f"devices-ra-{role}") for role in ("sign", "decrypt"))
        self.signer = make_holder("MDM", extensions=(), **DATES)
        self.factories = {gate: root(f"Factory of {gate.name}", **DATES) for gate in GATES}
        self.secrets = {place: secrets.token_urlsafe(24) for place in PLACES if place.kind == "static"}
        self.services = Services(server.directory)
        (server.directory / "signer.pem").write_bytes(self.signer.pem)
        for place, text in self.secrets.items():
            file = server.directory / f"{place.name}.secret"
            file.touch(mode=0o600)
            file.write_text(text)
        for gate, factory in self.factories.items():
            (server.directory / f"{gate.name}.pem").write_bytes(factory.pem)
        with server.config.open("a") as config:
            config.write(CONFIG.format(mtls=self.mtls))
            for place in PLACES:
                default = "true" if place.tenant and place.kind == "static" else "false"
                challenge = METHODS[place.kind].format(name=place.name, **self.services.words(place))
                config.write(PROFILE.format(name=place.name, challenge=challenge, default=default))
            for gate in GATES:
                config.write(GATED.format(name=gate.name))
            for tenant in filter(None, TENANTS):
                names = [f'"{place.name}"' for place in (*PLACES, *GATES) if place.tenant == tenant]
                config.write(TENANT.format(tenant=tenant, profiles=", ".join(names)))

    def credential(self, place):
        """Have a credential made as an operator does."""
        subject = f"d-{secrets.token_hex(6)}"
        if place.kind == "static":
            return Credential(place, self.secrets[place], subject)
        if place.kind == "signed":
            return Credential(place, self._token(place, subject), subject)
        if place.kind in {"webhook", "intune"}:
            return Credential(place, self.services.new_challenge(place), subject)
        if place.kind == "entity":
            entity = {"cn": subject, "names": [], "attributes": {}}
            (made,) = self._ask("entities", place, entities=[entity])
            return Credential(place, made["code"], subject)
        (made,) = self._ask("challenges", place, count=1)
        return Credential(place, made["challenge"], subject)

    def _token(self, place, subject):
        now = int(time.time())
        claims = {
            "iss": "mdm", "sub": subject, "aud": f"https://scep.example.net/{place.name}", "iat": now, "nbf": now,
            "exp": now + 600, "jti": secrets.token_hex(16), "csr": {"subject": f"CN={subject}", "names": []},
        }  # fmt: skip
        return jwt.encode(claims, self.signer.key, algorithm="ES256")

    def _ask(self, noun, place, **body):
        status, made = ask_desk(running(self.server), "POST", f"/api/v1/{noun}", {"profile": place.name, **body})
        assert status == 200, made
        return made

    def _message(self, challenge, subject):
        return make.pkcs_req(
            challenge=challenge, subject=make.name(CN=subject), signer=make.party("diagonal"),
            recipient=make.Party(None, self.decrypt), transaction_id=secrets.token_hex(16), signing_time=datetime.now(UTC),
        )  # fmt: skip

    def present(self, credential, place):
        """Return the answer to a request with that credential at that place: status and what the device reads."""
        body = self._message(credential.challenge, credential.subject)
        reply = exchange(self.server.http, request("POST", f"{place.path()}?operation=PKIOperation", body))
        assert reply.status == 200, reply
        answer = read_certrep(reply.body, trusted=[self.sign])
        return answer.status, answer.fail_info_text

    def pass_gate(self, holder, gate, version):
        """Return the HTTP status, and that of the CertRep, of a request by the holder of a client certificate."""
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
        made.minimum_version = made.maximum_version = version
        file = self.server.directory / "holder"
        file.write_bytes(holder.pem + holder.key_pem)
        made.load_cert_chain(file)
        body = self._message(None, f"d-{secrets.token_hex(6)}")
        target = f"{gate.path('scep-mtls')}?operation=PKIOperation"
        reply = exchange(self.mtls, request("POST", target, body), tls=made)
        return reply.status, read_certrep(reply.body, trusted=[self.sign]).status if reply.status == 200 else None


@pytest.fixture(scope="module")
def site(template, place):
    server = copy_of(template, place / "diagonal")
    server.edit(r"^workers = \d+", "workers = 2")
    site = Site(server)
    try:
        server.start()
        yield site
    finally:
        status = server.stop()
        site.services.close()
    assert status in {0, -signal.SIGTERM}
    server.check_store()


def refusal_of(credential, place):
    """A token is longer than a challenge may be where no tokens are taken; every other credential is just a wrong one."""
    is_too_long = credential.place.kind == "signed" and place.kind not in TAKE_LONG
    return "certification request not accepted" if is_too_long else "challenge rejected"


def test_S09_S43_a_challenge_is_good_at_its_own_profile_alone(site):
    credentials = [site.credential(place) for place in PLACES]
    # Everywhere else first: none is spent by having been shown to others.
    for credential in credentials:
        for place in PLACES:
            if place != credential.place:
                found = site.present(credential, place)
                assert found == (PkiStatus.FAILURE, refusal_of(credential, place)), (credential.place, place)
    for credential in credentials:
        assert site.present(credential, credential.place)[0] is PkiStatus.SUCCESS, credential.place
    with opened(site.server) as (repository, _issuers):
        issued = {row.profile: row for row in repository.certificates(limit=EVERYTHING)}
        assert {name: (row.state, row.subject) for name, row in issued.items() if not name.endswith("-line")} == {
            one.place.name: (CertificateState.ISSUED, f"CN={one.subject}") for one in credentials
        }
    # A service was asked about its own profile alone, and has heard of no certificate but that of its own tenant.
    asked = {(received.path, json.loads(received.body)["profile"]) for received in site.services.hook.received}
    assert asked == {(path, path[1:]) for path in site.services.hook.known}
    for tenant, service in site.services.intunes.items():
        wait_until(lambda heard=service.successes: heard, what=f"a report to {service.url('')}")
        (heard,) = service.successes
        assert int(heard["certificateSerialNumber"], 16) == issued[Place(tenant, "intune").name].serial
        assert service.failures == []


@pytest.mark.parametrize("version", VERSIONS)
def test_S95_S43_a_client_certificate_is_good_at_its_own_gate_alone(site, version):
    matrix = {
        (own, gate): site.pass_gate(factory.issue("line-7", **DATES), gate, VERSIONS[version])
        for own, factory in site.factories.items()
        for gate in GATES
    }
    granted, refused = (200, PkiStatus.SUCCESS), (401, None)
    assert matrix == {(own, gate): granted if own == gate else refused for own in GATES for gate in GATES}


def test_S43_S73_a_profile_is_found_under_its_own_tenant_alone(site):
    for place in PLACES:
        for tenant in TENANTS:
            target = f"{place.path(tenant=tenant)}?operation=GetCACaps"
            status = exchange(site.server.http, request("GET", target)).status
            assert status == (200 if tenant == place.tenant else 404), (place, tenant)
    for gate in GATES:  # without TLS nowhere
        assert exchange(site.server.http, request("GET", f"{gate.path()}?operation=GetCACaps")).status == 404
        assert exchange(site.server.http, request("GET", f"{gate.path('scep-mtls')}?operation=GetCACaps")).status == 404

"""Gated profiles of the real server: certificate and challenge, our own store, files that change (threats M)."""

import secrets
import socket
import ssl
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID

from scepd.app.service import ask_desk
from scepd.message.algorithms import CryptoPolicy
from scepd.message.certrep import read_certrep, read_certs_only
from scepd.message.csr_attributes import Extension
from scepd.message.enveloped import decrypt
from scepd.message.names import PkiStatus
from tests import make
from tests.live.device import certificate, running
from tests.live.http_wire import Wire, exchange, request
from tests.live.server import STATIC, copy_of, run
from tests.ports import free_port
from tests.x509.factory import CLIENT, Holder, root
from tests.x509.factory import make as make_holder

pytestmark = pytest.mark.live

TODAY = datetime.now(UTC)
DATES = {"begin": TODAY - timedelta(days=1), "end": TODAY + timedelta(days=30)}


class Site:
    """A server with a listener that asks for certificates, and the CAs of two factories."""

    def __init__(self, server):
        self.server = server
        self.port, self.strict = free_port(), free_port()
        self.factories = {name: root(f"Factory {name}", **DATES) for name in ("a", "b")}
        for name, factory in self.factories.items():
            (server.directory / f"{name}.pem").write_bytes(factory.pem)
        with server.config.open("a") as config:
            config.write(
                f'\n[listener.mtls]\naddress = "127.0.0.1:{self.port}"\nclient_certificates = "optional"\n'
                f'tls = {{ certificate = "tls.pem", key = {{ file = "tls.key" }} }}\n'
                f'\n[listener.strict]\naddress = "127.0.0.1:{self.strict}"\nclient_certificates = "required"\n'
                f'tls = {{ certificate = "tls.pem", key = {{ file = "tls.key" }} }}\n'
            )
            for name, trust in (("a", "a.pem"), ("b", "b.pem"), ("ours", server.ca.name)):
                config.write(
                    f'\n[profile.{name}]\nissuer = "devices"\nclient_certificate = {{ trust = "{trust}", subject = "any" }}\n'
                    'challenge = [{ method = "static", secret = { file = "static-challenge" } }]\n'
                )
            config.write(
                '\n[profile.waiting]\nissuer = "devices"\nclient_certificate = { trust = "a.pem", subject = "any" }\napproval = "manual"\n'
                'challenge = [{ method = "static", secret = { file = "static-challenge" } }]\n'
            )
        self.sign, self.decrypt = (certificate(server, f"devices-ra-{role}") for role in ("sign", "decrypt"))

    def tls(self, holder=None, version=ssl.TLSVersion.TLSv1_3):
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
        made.minimum_version = made.maximum_version = version
        if holder is not None:
            file = self.server.directory / f"{secrets.token_hex(4)}.holder"
            file.write_bytes(holder.pem + holder.key_pem)
            made.load_cert_chain(file)
            file.unlink()
        return made

    def ask(self, profile, tls, tree="scep-mtls"):
        return exchange(self.port, request("GET", f"/{tree}/{profile}?operation=GetCACaps"), tls=tls)

    def enrol(self, profile, tls, party, challenge=STATIC, extensions=()):
        """Return the HTTP reply and, where it is a CertRep, its reading."""
        body = make.pkcs_req(
            challenge=challenge, subject=make.name(CN=f"d-{secrets.token_hex(4)}"), signer=party,
            recipient=make.Party(None, self.decrypt), transaction_id=secrets.token_hex(16),
            sender_nonce=secrets.token_bytes(16), signing_time=datetime.now(UTC), extensions=extensions,
        )  # fmt: skip
        reply = exchange(self.port, request("POST", f"/scep-mtls/{profile}?operation=PKIOperation", body), tls=tls)
        return reply, read_certrep(reply.body, trusted=[self.sign]) if reply.status == 200 else None


@pytest.fixture(scope="module")
def site(template, place):
    server = copy_of(template, place / "mtls")
    server.edit(r"^workers = \d+", "workers = 2")
    made = Site(server)
    server.start()
    yield made
    server.stop()
    server.check_store()


def device(site, name="a"):
    return site.factories[name].issue("line-7", **DATES)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_S95_only_the_diagonal_passes(site, version):
    for own in site.factories:
        tls = site.tls(device(site, own), version)
        assert {name: site.ask(name, tls).status for name in ("a", "b", "ours")} == {
            "a": 401, "b": 401, "ours": 401, own: 200,
        }  # fmt: skip


def test_S97_nobody_passes_without_a_certificate_nor_around_the_gate(site):
    tls = site.tls()
    reply = site.ask("a", tls)
    assert (reply.status, reply.body.startswith(b"client certificate missing: configure")) == (401, True)
    for target in ("/scep/a", "/scep/a/pkiclient.exe", "/scep-mtls/a"):
        plain = exchange(site.server.http, request("GET", f"{target}?operation=GetCACaps"))
        assert plain.status == 404
    assert site.ask("a", site.tls(device(site)), tree="scep").status == 404
    assert any("reason=client_certificate_missing" in line for line in site.server.log_lines())


def pointers(port):
    """Extensions that lead somebody who follows them to a port of this machine."""
    at = x509.UniformResourceIdentifier(f"http://127.0.0.1:{port}/canary")
    access = x509.AuthorityInformationAccess(
        [x509.AccessDescription(oid, at) for oid in (AuthorityInformationAccessOID.CA_ISSUERS, AuthorityInformationAccessOID.OCSP)]
    )
    crl = x509.CRLDistributionPoints([x509.DistributionPoint([at], None, None, None)])
    return access, crl, x509.FreshestCRL([x509.DistributionPoint([at], None, None, None)]), x509.SubjectAlternativeName([at])


def test_S81_nothing_that_a_request_or_a_certificate_points_to_is_fetched(site):
    with socket.create_server(("127.0.0.1", 0)) as canary:
        access, crl, freshest, uri = pointers(canary.getsockname()[1])
        # An intermediate that is not sent, and where it could be fetched: path building must not go there.
        between = site.factories["a"].issue("Between", ca=True, extensions=(access, crl), **DATES)
        orphan = between.issue("line-8", extensions=(CLIENT, access, crl, freshest), **DATES)
        assert site.ask("a", site.tls(orphan)).status == 401
        holder = site.factories["a"].issue("line-7", extensions=(CLIENT, access, crl, freshest), **DATES)
        signer = make_holder("d-pointing", key=make.party("pointing").key, extensions=(access, crl, uri), **DATES)
        party = make.Party(signer.key, signer.der)
        wishes = [Extension(found.oid.dotted_string, False, found.public_bytes()) for found in (access, crl, freshest)]
        _, reply = site.enrol("a", site.tls(holder), party, extensions=wishes)
        assert reply.status is PkiStatus.SUCCESS, reply
        # Refused, for the URI is no name that the profile allows; nobody looks what is there.
        _, refused = site.enrol("a", site.tls(holder), party, extensions=[Extension(uri.oid.dotted_string, False, uri.public_bytes())])
        assert refused.status is PkiStatus.FAILURE
        canary.settimeout(0.5)
        with pytest.raises(TimeoutError):
            canary.accept()


def test_our_client_shows_a_certificate(site, tmp_path):
    holder, stranger = device(site), device(site, "b")
    for name, one in (("holder", holder), ("stranger", stranger)):
        (tmp_path / f"{name}.pem").write_bytes(one.pem)
        (tmp_path / f"{name}.key").write_bytes(one.key_pem)

    def enroll(name, *options, port=site.port):
        url = ("--url", f"https://127.0.0.1:{port}/scep-mtls/a", "--ca-file", site.server.ca)
        trust = ("--fingerprint", site.server.fingerprint(), "--challenge-file", "-", "--cn", name)
        out = tmp_path / f"{name}-out.pem"
        done = run(*site.server.client("enroll"), *url, *trust, "--out", out, *options, check=False, input=STATIC)
        return done.returncode, done.stdout + done.stderr, out

    shown = ("--tls-certificate", tmp_path / "holder.pem", "--tls-key", tmp_path / "holder.key")
    for name, port in (("one", site.port), ("two", site.strict)):
        status, words, out = enroll(name, *shown, port=port)
        assert status == 0, words
        run("openssl", "verify", "-CAfile", site.server.ca, out)
    status, words, _ = enroll("three")
    assert (status, "HTTP 401" in words) == (1, True), words
    status, words, _ = enroll("four", port=site.strict)
    assert (status, "--tls-certificate FILE" in words) == (1, True), words
    other = ("--tls-certificate", tmp_path / "stranger.pem", "--tls-key", tmp_path / "stranger.key")
    status, words, _ = enroll("five", *other)
    assert (status, "HTTP 401" in words) == (1, True), words
    status, words, _ = enroll("six", *shown[:3], tmp_path / "stranger.key")
    assert (status, "cannot be shown to the server" in words) == (1, True), words


def approve(site, profile):
    """Approve the one request of the profile that waits."""
    status, rows = ask_desk(running(site.server), "GET", f"/api/v1/requests?profile={profile}", {})
    (row,) = [row for row in rows if row["state"] == "PENDING"]
    assert status == ask_desk(running(site.server), "POST", f"/api/v1/requests/{row['id']}/approve", {})[0] == 200


def test_our_client_shows_its_certificate_also_when_it_polls(site, tmp_path):
    files, key, out = (tmp_path / "tls.pem", tmp_path / "tls.key"), tmp_path / "d.key", tmp_path / "d.pem"

    def hold(holder):
        for file, octets in zip(files, (holder.pem, holder.key_pem), strict=True):
            file.write_bytes(octets)

    def poll():  # in another directory, and nothing is said again
        done = run(*site.server.client("poll"), "--key", key, cwd=site.server.directory, check=False)
        return done.returncode, done.stderr

    hold(device(site))
    asked = run(
        *site.server.client("enroll"), "--url", f"https://127.0.0.1:{site.strict}/scep-mtls/waiting", "--ca-file", site.server.ca,
        "--fingerprint", site.server.fingerprint(), "--challenge-file", "-", "--cn", "polls", "--key", key, "--out", out,
        "--tls-certificate", "tls.pem", "--tls-key", "tls.key", cwd=tmp_path, check=False, input=STATIC,
    )  # fmt: skip
    assert asked.returncode == 3, asked.stderr
    approve(site, "waiting")
    hold(device(site, "b"))
    status, words = poll()
    assert (status, "HTTP 401" in words) == (1, True), words
    files[1].unlink()
    status, words = poll()
    assert (status, f"{files[0]} and {files[1]} cannot be shown" in words) == (1, True), words
    assert not out.exists()
    hold(device(site))  # renewed meanwhile; nothing was lost by the polls that failed
    status, words = poll()
    assert status == 0, words
    run("openssl", "verify", "-CAfile", site.server.ca, out)
    assert not list(tmp_path.glob("*.pending"))
    polls = [line for line in site.server.log_lines() if "profile=waiting" in line and "type=CertPoll" in line]
    assert ["outcome=issued" in line for line in polls] == [True], polls


def test_the_certificate_and_the_challenge_are_both_needed(site):
    tls, party = site.tls(device(site)), make.party("d")
    reply, answer = site.enrol("a", tls, party, challenge="guessed-guessed-guessed")
    assert answer.status is PkiStatus.FAILURE
    reply, answer = site.enrol("a", site.tls(), party)
    assert (reply.status, answer) == (401, None)
    reply, answer = site.enrol("a", tls, party)
    assert answer.status is PkiStatus.SUCCESS


def test_S96_of_our_own_certificates_a_revoked_one_ends_on_its_kept_connection(site):
    party = make.party("ours")
    _reply, answer = site.enrol("a", site.tls(device(site)), party)
    plain = decrypt(answer.content, party.certificate_der, party.key, CryptoPolicy())
    holder = Holder(x509.load_der_x509_certificate(read_certs_only(plain)[0]), party.key)
    asked = request("GET", "/scep-mtls/ours?operation=GetCACaps")
    with Wire(site.port, tls=site.tls(holder)) as wire:
        assert wire.send(asked).reply().status == 200
        site.server.scepd("cert", "revoke", f"{holder.certificate.serial_number:x}")
        reply = wire.send(asked).reply()
        assert (reply.status, reply.body.startswith(b"client certificate revoked")) == (401, True)


def test_a_bundle_is_replaced_without_an_outage(site):
    tls, stop, statuses = site.tls(device(site, "b")), threading.Event(), []

    def go_on():
        while not stop.is_set():
            statuses.append(site.ask("b", tls).status)

    asking = threading.Thread(target=go_on)
    asking.start()
    new = root("Factory b2", **DATES)
    (site.server.directory / "b.pem").write_bytes(site.factories["b"].pem + new.pem)
    site.server.scepd("reload")
    stop.set()
    asking.join(20)
    assert set(statuses) == {200}
    assert site.ask("b", site.tls(new.issue("new", **DATES))).status == 200


def test_a_broken_bundle_leaves_the_old_one_and_fails_the_reload(site):
    path = site.server.directory / "a.pem"
    good = path.read_bytes()
    expired = root("Old", begin=TODAY - timedelta(days=9), end=TODAY - timedelta(days=1))
    for bad in (b"", b"nonsense", good + expired.pem, device(site).pem):
        path.write_bytes(bad)
        assert site.server.scepd("reload", check=False).returncode != 0
    path.write_bytes(b"nonsense")
    time.sleep(1.2)
    assert site.ask("a", site.tls(device(site))).status == 200
    path.write_bytes(good)
    site.server.scepd("reload")


def test_S97_TLS_of_the_other_listeners_asks_for_nothing(site):
    asked = request("GET", "/scep-mtls/a?operation=GetCACaps")
    assert exchange(site.server.https, asked, tls=site.tls(device(site))).status == 404

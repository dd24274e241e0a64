"""Real clients renew their certificates and wait for a person, against two workers with a token."""

import json
import threading
import time
from contextlib import contextmanager

import pytest

from tests.live import clients
from tests.live.server import run
from tests.live.test_clients import check_certificate

pytestmark = pytest.mark.live

PROFILES = """
[profile.renewing]
issuer = "devices"
challenge = [{ method = "one-time" }]
renewal = { earliest = 0.0 }
key = { curves = ["P-256"] }

[profile.elliptic]
issuer = "devices"
challenge = [{ method = "one-time" }]
approval = { automatic = { renewals = true, subject = { CN = "own" } } }
renewal = { earliest = 0.0 }
password_encryption = true
key = { curves = ["P-256", "P-384"], ed25519 = true }

[profile.waiting]
issuer = "devices"
challenge = [{ method = "one-time" }]
approval = "manual"

[profile.scepclient]
issuer = "devices"
challenge = [{ method = "one-time" }]
renewal = { earliest = 0.0 }
insecurely_accept_sha1 = true
insecurely_accept_des = true
"""


@pytest.fixture(scope="module", autouse=True)
def profiles(server):
    """Profiles that renew at once, and one where a person decides."""
    with server.config.open("a") as config:
        config.write(PROFILES)
    server.scepd("reload")


def serial(certificate):
    return run("openssl", "x509", "-in", certificate, "-noout", "-serial").stdout.strip().rpartition("=")[2]


def public_key(certificate):
    return run("openssl", "x509", "-in", certificate, "-noout", "-pubkey").stdout


def outcomes(server, profile, kind=""):
    """The outcomes of messages (of that kind) in that profile, from the log."""
    lines = [
        line.split() for line in server.log_lines() if f"profile={profile}" in line.split() and f"type={kind}" in line
    ]
    return [field.partition("=")[2] for line in lines for field in line if field.startswith("outcome=")]


def waiting(server):
    return [
        row
        for row in json.loads(server.scepd("request", "list", "--profile", "waiting", "--json").stdout)
        if row["state"] == "PENDING"
    ]


@contextmanager
def person(server, verb="approve", *, after=2):
    """Somebody who decides about the next request of the profile, once it has been answered PENDING so often."""
    decided = []

    def decide():
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not decided:
            if outcomes(server, "waiting").count("pending") - before >= after:
                decided.append(server.scepd("request", verb, str(waiting(server)[0]["id"])))
            time.sleep(0.1)

    before = outcomes(server, "waiting").count("pending")
    thread = threading.Thread(target=decide)
    thread.start()
    try:
        yield
    finally:
        thread.join()
    assert decided, "no request waited"


# Renewal ------------------------------------------------------------------------------------------------------


def check_renewed(server, result, before, cn):
    """The new certificate is right, and another one."""
    check_certificate(server, result, cn)
    assert serial(result.certificate) != serial(before)


def test_C170_strongswan_renews_with_a_new_key(server, tmp_path):
    url = f"{server.url}/renewing"
    first = clients.strongswan(url, tmp_path, server.challenge(profile="renewing"), ca=server.ca)
    check_certificate(server, first, "moon")
    renewals = len(outcomes(server, "renewing", "RenewalReq"))
    second = clients.strongswan_renews(url, tmp_path, ca=server.ca)
    check_renewed(server, second, first.certificate, "moon")
    assert outcomes(server, "renewing", "RenewalReq")[renewals:] == ["issued"]


def test_S49_strongswan_renews_a_certificate_once(server, tmp_path):
    url = f"{server.url}/renewing"
    clients.strongswan(url, tmp_path, server.challenge(profile="renewing"), ca=server.ca)
    assert clients.strongswan_renews(url, tmp_path, ca=server.ca).certificate
    again = clients.strongswan_renews(url, tmp_path, ca=server.ca)
    assert again.certificate is None
    assert "badRequest" in again.words


def test_C184_certmonger_renews_with_its_key(server, tmp_path):
    challenge = server.challenge(profile="renewing")
    result = clients.certmonger(
        f"{server.url}/renewing", tmp_path, challenge, ca=server.ca, then=clients.CERTMONGER_RENEWS
    )
    check_renewed(server, result, tmp_path / "before.pem", "certmonger")
    assert public_key(result.certificate) == public_key(tmp_path / "before.pem")


def test_C184_certmonger_renews_with_a_new_key(server, tmp_path):
    challenge = server.challenge(profile="renewing")
    result = clients.certmonger(
        f"{server.url}/renewing", tmp_path, challenge, ca=server.ca, then=clients.CERTMONGER_REKEYS
    )
    check_renewed(server, result, tmp_path / "before.pem", "certmonger")
    assert public_key(result.certificate) != public_key(tmp_path / "before.pem")


def test_C170_scepclient_renews_with_its_key(server, tmp_path):
    url = f"{server.url}/scepclient"
    first = clients.scepclient(url, tmp_path, server.challenge(profile="scepclient"))
    check_certificate(server, first, "scepclient")
    (tmp_path / "before.pem").write_bytes(first.certificate.read_bytes())
    second = clients.scepclient(url, tmp_path, "")
    check_renewed(server, second, tmp_path / "before.pem", "scepclient")
    assert outcomes(server, "scepclient", "RenewalReq") == ["issued"]


def test_C170_nothing_but_openssl_renews(server, tmp_path):
    url = f"{server.url}/renewing"
    first = clients.openssl(url, tmp_path, server.challenge(profile="renewing"))
    check_certificate(server, first, "openssl")
    check_renewed(server, clients.openssl_renews(url, tmp_path), first.certificate, "openssl")


@pytest.mark.parametrize("options", [(), ("--same-key",), ("--as-pkcsreq",), ("--key-type", "ec:P-256"), ("--get",)])
def test_C170_our_own_client_renews(server, tmp_path, options):
    first = enroll(server, tmp_path, "renewing", "own")
    assert first.returncode == 0, first.stderr
    key = tmp_path / ("own.key" if "--same-key" in options else "new.key")
    run(
        *server.client("renew"), "--url", f"{server.url}/renewing", "--fingerprint", server.fingerprint(), *options,
        "--cert", tmp_path / "own.pem", "--key", tmp_path / "own.key", "--out", tmp_path / "new.pem",
    )  # fmt: skip
    result = clients.Result(tmp_path / "new.pem", key, "")
    check_renewed(server, result, tmp_path / "own.pem", "own")


@pytest.mark.parametrize("kind", ["ec:P-256", "ec:P-384", "ed25519"])
def test_C252_our_own_client_enrols_and_renews_keys_that_cannot_decrypt(server, tmp_path, kind):
    first = enroll(server, tmp_path, "elliptic", "own", "--key-type", kind)
    assert first.returncode == 0, first.stderr
    own = clients.Result(tmp_path / "own.pem", tmp_path / "own.key", "")
    check_certificate(server, own, "own")
    arguments = (
        *server.client("renew"), "--url", f"{server.url}/elliptic", "--fingerprint", server.fingerprint(),
        "--cert", own.certificate, "--key", own.key, "--out", tmp_path / "new.pem", "--key-type", kind,
    )  # fmt: skip
    assert "--challenge-file" in run(*arguments, check=False).stderr  # nothing else could protect the reply (C-257)
    run(*arguments, "--challenge", server.challenge(profile="elliptic"))
    check_renewed(server, clients.Result(tmp_path / "new.pem", tmp_path / "new.key", ""), own.certificate, "own")


def test_C251_our_own_client_encrypts_its_request_with_the_challenge(server, tmp_path):
    asked = enroll(server, tmp_path, "elliptic", "own", "--transport", "pwri", "--key-type", "ec:P-256")
    assert asked.returncode == 0, asked.stderr
    check_certificate(server, clients.Result(tmp_path / "own.pem", tmp_path / "own.key", ""), "own")


# Waiting for a person -------------------------------------------------------------------------------------------


def enroll(server, directory, profile, name, *options):
    return run(
        *server.client("enroll"), "--url", f"{server.url}/{profile}", "--fingerprint", server.fingerprint(),
        "--challenge", server.challenge(profile=profile), "--cn", name, "--out", directory / f"{name}.pem", *options,
        check=False,
    )  # fmt: skip


def test_C202_strongswan_polls_until_a_person_approves(server, tmp_path):
    patience = ("--interval", "1", "--maxpolltime", "45")
    challenge = server.challenge(profile="waiting")
    with person(server):
        result = clients.strongswan(f"{server.url}/waiting", tmp_path, challenge, ca=server.ca, options=patience)
    check_certificate(server, result, "moon")
    assert "pending" in result.words


def test_C203_strongswan_is_told_when_a_person_rejects(server, tmp_path):
    patience = ("--interval", "1", "--maxpolltime", "45")
    challenge = server.challenge(profile="waiting")
    with person(server, "reject"):
        result = clients.strongswan(f"{server.url}/waiting", tmp_path, challenge, ca=server.ca, options=patience)
    assert result.certificate is None
    assert "badRequest" in result.words


def test_C205_certmonger_sends_its_request_again_until_a_person_approves(server, tmp_path):
    challenge = server.challenge(profile="waiting")
    polls = len(outcomes(server, "waiting", "CertPoll"))
    with person(server):
        result = clients.certmonger(
            f"{server.url}/waiting", tmp_path, challenge, ca=server.ca, wait=3, then=clients.CERTMONGER_POLLS
        )
    check_certificate(server, result, "certmonger")
    assert len(outcomes(server, "waiting", "CertPoll")) == polls  # this client knows no CertPoll


def test_C202_nothing_but_openssl_polls_until_a_person_approves(server, tmp_path):
    url = f"{server.url}/waiting"
    assert "pending" in clients.openssl(url, tmp_path, server.challenge(profile="waiting")).words
    with person(server, after=1):
        assert "pending" in clients.openssl_polls(url, tmp_path).words
    check_certificate(server, clients.openssl_polls(url, tmp_path), "openssl")


def test_C217_our_own_client_polls_in_another_process_after_a_reload(server, tmp_path):
    asked = enroll(server, tmp_path, "waiting", "own")
    assert asked.returncode == 3, asked.stderr
    poll = (*server.client("poll"), "--key", tmp_path / "own.key")
    server.scepd("reload")
    with person(server, after=1):
        assert run(*poll, check=False).returncode == 3
    run(*poll)
    check_certificate(server, clients.Result(tmp_path / "own.pem", tmp_path / "own.key", ""), "own")
    assert not list(tmp_path.glob("*.pending"))


def test_C203_our_own_client_is_told_when_a_person_rejects(server, tmp_path):
    with person(server, "reject"):
        refused = enroll(server, tmp_path, "waiting", "own", "--poll-timeout", "45", "--poll-interval", "0.5")
    assert refused.returncode == 1
    assert "request rejected" in refused.stderr
    assert not list(tmp_path.glob("*.pending"))


# Looking up -----------------------------------------------------------------------------------------------------


def test_C225_C229_our_own_client_looks_up_its_certificate_and_the_crl(server, tmp_path):
    assert enroll(server, tmp_path, "renewing", "own").returncode == 0
    link = ("--url", f"{server.url}/renewing", "--fingerprint", server.fingerprint())
    own = ("--cert", tmp_path / "own.pem", "--key", tmp_path / "own.key")
    number = serial(tmp_path / "own.pem")
    run(*server.client("getcert"), number, *link, *own, "--out", tmp_path / "again.pem")
    assert (tmp_path / "again.pem").read_bytes() == (tmp_path / "own.pem").read_bytes()
    strangers = run(*server.client("getcert"), number, *link, check=False)
    assert strangers.returncode == 1
    assert "no such certificate" in strangers.stderr
    run(*server.client("getcrl"), *link, *own, "--out", tmp_path / "devices.crl")
    verified = run("openssl", "crl", "-in", tmp_path / "devices.crl", "-CAfile", server.ca, "-noout", check=False)
    assert "verify OK" in verified.stderr

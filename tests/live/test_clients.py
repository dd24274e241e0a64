"""Real clients against `twistd scepd` with a token: each gets its certificate, each is refused readably."""

import pytest

from tests.live import clients
from tests.live.server import STATIC, run

pytestmark = pytest.mark.live


def check_certificate(server, result, cn):
    """The certificate verifies against the CA, names the device, and is for the key that the client made."""
    assert result.certificate, result.words
    run("openssl", "verify", "-CAfile", server.ca, result.certificate)
    subject = run("openssl", "x509", "-in", result.certificate, "-noout", "-subject").stdout
    assert cn in subject
    public = run("openssl", "x509", "-in", result.certificate, "-noout", "-pubkey").stdout
    assert public == run("openssl", "pkey", "-in", result.key, "-pubout").stdout


def test_every_real_client_is_installed():
    assert [name for name, path in clients.available().items() if path is None] == []


@pytest.fixture(scope="module", autouse=True)
def legacy(template, server):
    """A profile with exactly the two switches that scepclient needs, and one with a single one of them."""
    with server.config.open("a") as config:
        for name, switches in (("scepclient", "sha1 des"), ("sha1-only", "sha1")):
            lines = "".join(f"insecurely_accept_{switch} = true\n" for switch in switches.split())
            config.write(f'\n[profile.{name}]\nissuer = "devices"\nchallenge = [{{ method = "one-time" }}]\n{lines}')
    server.scepd("reload")


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_strongswan_enrols(server, tmp_path, scheme):
    url = server.url if scheme == "http" else server.tls_url
    result = clients.strongswan(url, tmp_path, server.challenge(), ca=server.ca)
    check_certificate(server, result, "moon")


def test_strongswan_is_refused_with_a_wrong_challenge(server, tmp_path):
    result = clients.strongswan(server.url, tmp_path, "wrong", ca=server.ca)
    assert result.certificate is None
    assert "badRequest" in result.words or "fail" in result.words.lower()


def test_scepclient_enrols_with_exactly_its_switches(server, tmp_path):
    result = clients.scepclient(f"{server.url}/scepclient", tmp_path, server.challenge(profile="scepclient"))
    check_certificate(server, result, "scepclient")


def test_insecure_switches_are_told_in_the_log(server):
    told = server.log.read_text()
    for profile, switch in (("scepclient", "sha1"), ("scepclient", "des"), ("sha1-only", "sha1")):
        assert f"event=insecure switch=profile.{profile}.insecurely_accept_{switch}" in told


@pytest.mark.parametrize("profile", ["default", "sha1-only"])
def test_scepclient_is_refused_with_badAlg_without_them(server, tmp_path, profile):
    result = clients.scepclient(f"{server.url}/{profile}", tmp_path, server.challenge(profile=profile))
    assert result.certificate is None
    assert "badAlg" in result.words


def test_scepclient_is_refused_with_a_wrong_challenge(server, tmp_path):
    result = clients.scepclient(f"{server.url}/scepclient", tmp_path, "wrong")
    assert result.certificate is None
    assert "badRequest" in result.words


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_certmonger_enrols(server, tmp_path, scheme):
    url = server.url if scheme == "http" else server.tls_url
    result = clients.certmonger(url, tmp_path, server.challenge(), ca=server.ca)
    check_certificate(server, result, "certmonger")


def test_certmonger_is_refused_with_a_wrong_challenge(server, tmp_path):
    result = clients.certmonger(server.url, tmp_path, "wrong", ca=server.ca, wait=8)
    assert result.certificate is None
    assert "CA_REJECTED" in result.words


def test_nothing_but_openssl_enrols(server, tmp_path):
    result = clients.openssl(server.url, tmp_path, server.challenge())
    check_certificate(server, result, "openssl")


def test_nothing_but_openssl_is_refused_with_a_wrong_challenge(server, tmp_path):
    result = clients.openssl(server.url, tmp_path, "wrong")
    assert result.certificate is None
    assert "refused: failInfo 2 challenge rejected" in result.words


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--get",),
        ("--transport", "oaep-sha256", "--signature", "pss"),
        ("--cipher", "aes256", "--digest", "sha512", "--transport", "oaep-sha1"),
    ],
)
def test_our_own_client_enrols(server, tmp_path, options):
    for url, trust in ((server.url, ()), (server.tls_url, ("--ca-file", server.ca))):
        challenge = server.challenge("--cn", "own")
        name = url.split(":", 1)[0]
        run(
            *server.client("enroll"), "--url", url, "--challenge", challenge, "--cn", "own", *trust, *options,
            "--fingerprint", server.fingerprint(), "--out", tmp_path / f"{name}.pem", "--key", tmp_path / f"{name}.key",
        )  # fmt: skip
        check_certificate(server, clients.Result(tmp_path / f"{name}.pem", tmp_path / f"{name}.key", ""), "own")


def test_our_own_client_is_refused_readably(server, tmp_path):
    refused = run(
        *server.client("enroll"), "--url", f"{server.url}/static", "--challenge", STATIC + "x", "--cn", "own",
        "--fingerprint", server.fingerprint(), "--out", tmp_path / "cert.pem", check=False,
    )  # fmt: skip
    assert refused.returncode == 1
    assert "badRequest: challenge rejected" in refused.stderr

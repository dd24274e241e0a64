import stat

import pytest
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from scepd.cli.main import program
from tests.cli.responder import CHALLENGE, Responder, authority, serving


@pytest.fixture
def url():
    with serving(Responder()) as address:
        yield address


def run(*arguments, **options):
    return CliRunner().invoke(program, [str(argument) for argument in arguments], **options)


def enroll(url, directory, *more, name="r1", **options):
    out = directory / f"{name}.pem"
    trust = () if "--insecurely-trust-first-ca" in more else ("--fingerprint", authority().fingerprint)
    return run("client", "enroll", "--url", url, *trust, "--cn", name, "--out", out, *more, **options), out


def test_enroll_writes_certificate_key_and_chain_and_says_what(url, tmp_path):
    chain = tmp_path / "chain.pem"
    result, out = enroll(url, tmp_path, "--challenge", CHALLENGE, "--chain-out", chain)
    assert result.exit_code == 0, result.output
    certificate = x509.load_pem_x509_certificate(out.read_bytes())
    key = load_pem_private_key((tmp_path / "r1.key").read_bytes(), None)
    assert certificate.public_key() == key.public_key()
    assert stat.S_IMODE((tmp_path / "r1.key").stat().st_mode) == 0o600
    assert x509.load_pem_x509_certificate(chain.read_bytes()).subject == certificate.issuer
    assert f"{certificate.serial_number:x}" in result.output
    assert CHALLENGE not in result.output


def test_a_key_that_is_there_is_used(url, tmp_path):
    enroll(url, tmp_path, "--challenge", CHALLENGE)
    before = (tmp_path / "r1.key").read_bytes()
    result, out = enroll(url, tmp_path, "--challenge", CHALLENGE, "--key", tmp_path / "r1.key", name="again")
    assert result.exit_code == 0
    assert (tmp_path / "r1.key").read_bytes() == before
    assert (
        x509.load_pem_x509_certificate(out.read_bytes()).public_key() == load_pem_private_key(before, None).public_key()
    )


def test_the_challenge_comes_from_a_file_or_standard_input(url, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text(CHALLENGE + "\n")
    assert enroll(url, tmp_path, "--challenge-file", secret)[0].exit_code == 0
    result, _ = enroll(url, tmp_path, "--challenge-file", "-", name="r2", input=CHALLENGE + "\n")
    assert result.exit_code == 0, result.output


def test_a_refusal_leaves_with_1_and_no_certificate(url, tmp_path):
    result, out = enroll(url, tmp_path, "--challenge", "wrong")
    assert result.exit_code == 1
    assert "refused: badRequest: challenge rejected" in result.output
    assert "try: " in result.output
    assert not out.exists()


def test_a_certificate_that_is_there_is_not_overwritten_and_nothing_is_asked(tmp_path):
    responder = Responder()
    (tmp_path / "r1.pem").write_text("mine")
    with serving(responder) as url:
        result, out = enroll(url, tmp_path, "--challenge", CHALLENGE)
    assert result.exit_code == 1
    assert "exists already" in result.output
    assert out.read_text() == "mine"
    assert responder.requests == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--cn", "x", "--no-challenge", "--out", "x"], "--fingerprint is missing"),
        (["--fingerprint", "00", "--no-challenge", "--out", "x"], "--cn or --subject"),
        (["--fingerprint", "00", "--cn", "x", "--out", "x"], "--challenge-file is missing"),
        (["--fingerprint", "00", "--cn", "x", "--out", "x", "--challenge", "a", "--no-challenge"], "only one of"),
        (["--fingerprint", "00", "--subject", "nonsense", "--out", "x", "--no-challenge"], "nonsense"),
        (["--fingerprint", "00", "--cn", "x", "--ip", "300.1.1.1", "--out", "x", "--no-challenge"], "IP address"),
    ],
)
def test_wrong_usage_leaves_with_2_and_asks_nobody(arguments, words):
    result = run("client", "enroll", "--url", "http://127.0.0.1:9/scep", *arguments)
    assert result.exit_code in ({1, 2} if words == "nonsense" else {2})
    assert words in result.output


def test_trusting_the_first_ca_must_be_said(url, tmp_path):
    result, out = enroll(url, tmp_path, "--challenge", CHALLENGE, "--insecurely-trust-first-ca")
    assert result.exit_code == 0
    assert out.exists()


def test_a_common_name_with_commas_is_one_name(url, tmp_path):
    out = tmp_path / "odd.pem"
    arguments = ["--fingerprint", authority().fingerprint, "--challenge", CHALLENGE, "--out", out]
    result = run("client", "enroll", "--url", url, "--cn", "r1, building 7 + roof", *arguments)
    assert result.exit_code == 0, result.output
    (attribute,) = x509.load_pem_x509_certificate(out.read_bytes()).subject
    assert attribute.value == "r1, building 7 + roof"


def test_getcaps_prints_words(url):
    assert "POSTPKIOperation\n" in run("client", "getcaps", "--url", url).output
    assert '"AES"' in run("client", "getcaps", "--url", url, "--json").output


def test_getca_prints_fingerprints_and_writes_pem(url, tmp_path):
    out = tmp_path / "ca.pem"
    result = run("client", "getca", "--url", url, "--out", out)
    assert authority().fingerprint in result.output
    assert len(x509.load_pem_x509_certificates(out.read_bytes())) == 3
    as_json = run("client", "getca", "--url", url, "--json")
    assert '"md5"' in as_json.output


@pytest.mark.parametrize("url", ["ftp://x/scep", "pki.example.net", "http://x/scep?a=b", "http://127.0.0.1:9/scep"])
def test_a_url_that_cannot_be_is_said_readably(url):
    result = run("client", "getcaps", "--url", url)
    assert result.exit_code == 1
    assert "error: " in result.output
    assert "try: " in result.output


def test_an_encrypted_key_is_refused_readably(url, tmp_path):
    from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

    from tests.cli.responder import rsa_key

    sealed = rsa_key("client").private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))
    (tmp_path / "sealed.key").write_bytes(sealed)
    result, _ = enroll(url, tmp_path, "--challenge", CHALLENGE, "--key", tmp_path / "sealed.key")
    assert result.exit_code == 1
    assert "passphrase" in result.output

import json
import os
import re
import stat
import subprocess
import sys
import tomllib

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from scepd.config.load import load
from scepd.store.migrate import current
from scepd.store.schema import SCHEMA_VERSION
from tests.cli.conftest import scepd

PUBLIC = {"devices-ca.pem", "devices-ra-sign.pem", "devices-ra-decrypt.pem", "scepd-audit.pem", "tls.pem", "softhsm2.conf"}


def certificate(installation, name):
    return x509.load_pem_x509_certificate((installation.directory / f"{name}.pem").read_bytes())


def test_the_ca_has_the_key_that_was_asked_for_and_signed_everything(installation):
    ca = certificate(installation, "devices-ca")
    key = ca.public_key()
    if installation.kind == "ec-p256":
        assert isinstance(key, ec.EllipticCurvePublicKey)
        assert key.curve.name == "secp256r1"
    else:
        assert isinstance(key, rsa.RSAPublicKey)
        assert key.key_size == 3072
    for name in ("devices-ca", "devices-ra-sign", "devices-ra-decrypt", "tls"):
        certificate(installation, name).verify_directly_issued_by(ca)


def test_C051_the_ra_pair_has_one_role_each(installation):
    sign, decrypt = (certificate(installation, f"devices-ra-{role}") for role in ("sign", "decrypt"))
    usages = [one.extensions.get_extension_for_class(x509.KeyUsage).value for one in (sign, decrypt)]
    assert [usage.digital_signature for usage in usages] == [True, False]
    assert [usage.key_encipherment for usage in usages] == [False, True]
    assert sign.public_key().key_size == decrypt.public_key().key_size == 2048
    assert sign.public_key() != decrypt.public_key()


def test_S119_the_keys_are_in_the_token_and_never_leave_it(installation):
    rows = json.loads(installation.scepd("hsm", "list", "--json").stdout)
    assert {row["label"]: row["usage"] for row in rows} == {
        "devices-ca": ["sign"],
        "devices-ra-sign": ["sign"],
        "devices-ra-decrypt": ["decrypt"],
        "scepd-audit": ["sign"],
    }
    for row in rows:
        assert {"sensitive", "always sensitive", "never extractable", "local"} <= set(row["access"])
        assert "extractable" not in row["access"]


def test_C053_the_printed_fingerprints_are_those_of_the_ca_certificate(installation):
    ca = certificate(installation, "devices-ca")
    for word, algorithm in (("SHA-256", hashes.SHA256()), ("SHA-1", hashes.SHA1()), ("MD5", hashes.MD5())):
        printed = re.search(rf"{word}\s+([0-9A-F:]+)$", installation.output, re.MULTILINE)
        assert printed
        assert bytes.fromhex(printed[1].replace(":", "")) == ca.fingerprint(algorithm)


def test_the_configuration_loads_and_names_one_default_profile(installation):
    settings = load(installation.config)
    assert settings.default_profile.name == "default"
    assert [listener.tls is not None for listener in settings.listeners] == [True, False]
    assert settings.workers == 1
    assert settings.hsm.softhsm2_conf == installation.directory / "softhsm2.conf"


def test_C283_every_listener_serves_the_crl_too(installation):
    settings = load(installation.config)
    assert {listener.serves for listener in settings.listeners} == {("scep", "publication")}
    issuer = settings.issuer["devices"]
    assert (issuer.crl.valid.days, issuer.crl.every.days) == (7, 1)
    assert settings.default_profile.get_crl
    assert settings.insecure == ()


def test_the_store_is_migrated(installation):
    settings = load(installation.config)
    assert current(settings.store.url, settings.appliance.state) == SCHEMA_VERSION


def test_S128_secrets_are_files_of_their_owner_alone(installation):
    for path in installation.directory.rglob("*"):
        mode = stat.S_IMODE(path.stat().st_mode)
        if path.is_dir() or path.name not in PUBLIC:
            assert mode & 0o077 == 0, path


def test_S113_no_pin_is_printed_or_kept_where_it_does_not_belong(installation):
    pins = [(installation.directory / name).read_text().strip() for name in ("hsm-pin", "hsm-so-pin")]
    assert all(len(pin) >= 20 for pin in pins)
    assert pins[0] != pins[1]
    for path in installation.directory.rglob("*"):
        if path.is_file() and path.name not in ("hsm-pin", "hsm-so-pin"):
            content = path.read_bytes()
            assert not any(pin.encode() in content for pin in pins), path
    assert not any(pin in installation.output for pin in pins)


def test_the_tls_key_belongs_to_its_certificate_and_names_loopback(installation):
    key = load_pem_private_key((installation.directory / "tls.key").read_bytes(), None)
    tls = certificate(installation, "tls")
    assert key.public_key() == tls.public_key()
    names = tls.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert "127.0.0.1" in [str(one) for one in names.get_values_for_type(x509.IPAddress)]
    assert "localhost" in names.get_values_for_type(x509.DNSName)


def test_openssl_accepts_the_chain(installation):
    ca = installation.directory / "devices-ca.pem"
    for name in ("devices-ca", "devices-ra-sign", "devices-ra-decrypt", "tls"):
        checked = subprocess.run(
            ["openssl", "verify", "-x509_strict", "-CAfile", ca, installation.directory / f"{name}.pem"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert checked.returncode == 0, checked.stderr


def snapshot(directory):
    return {path: path.read_bytes() for path in directory.rglob("*") if path.is_file() and ".lock" not in path.name}


def test_a_second_run_reuses_everything(elliptic):
    before = snapshot(elliptic.directory)
    again = scepd("init", "--if-needed", "--directory", elliptic.directory)
    assert "nothing to do" in again.stdout
    assert again.stderr == ""
    assert snapshot(elliptic.directory) == before


def test_a_run_cut_off_after_its_last_step_is_tidied_up(elliptic):
    left = elliptic.directory / "init.unfinished.json"
    left.write_text("{}")
    scepd("init", "--if-needed", "--directory", elliptic.directory)
    assert not left.exists()


def test_a_file_half_written_by_a_dead_run_is_removed(tmp_path):
    (tmp_path / "init.unfinished.json").write_text('{"module": "/usr/lib/softhsm/libsofthsm2.so", "ca_key": "ec-p256"}')
    (tmp_path / ".tls.key.0123456789ab").write_text("half a ke")
    (tmp_path / "state").mkdir(mode=0o700)
    scepd("init", "--directory", tmp_path)
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_second_run_that_wants_another_address_is_told_where_to_write_it(elliptic):
    again = scepd("init", "--if-needed", "--directory", elliptic.directory, "--http", "127.0.0.1:4711")
    assert "127.0.0.1:4711" in again.stderr


def test_without_if_needed_a_second_run_is_refused(elliptic):
    before = snapshot(elliptic.directory)
    again = scepd("init", "--directory", elliptic.directory, check=False)
    assert again.returncode == 1
    assert "exists already" in again.stderr
    assert snapshot(elliptic.directory) == before


@pytest.mark.parametrize("name", ["tls.key", "devices-ca.pem", "store-key", "hsm-pin"])
def test_nothing_that_is_there_is_overwritten(tmp_path, name):
    (tmp_path / name).write_text("mine")
    result = scepd("init", "--directory", tmp_path, check=False)
    assert result.returncode == 1
    assert name in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == [name]


# Every step of the first run is cut off once, by a process that dies there.
STEPS = {
    "token": "scepd.hsm.softhsm._set_user_pin",
    "keys": "scepd.cli.init_token.generate_rsa",
    "ca": "scepd.ca.ceremony.Ceremony.certify_ra",
    "tls": "scepd.ca.ceremony.Ceremony.certify_tls",
    "store": "scepd.cli.init.upgrade",
    "link": "scepd.cli.init._show_result",
}
DYING = """
import os, sys
from unittest import mock
from scepd.cli.main import main
sys.argv = ["scepd", *sys.argv[2:]]
with mock.patch({target!r}, side_effect=lambda *a, **k: os._exit(9)):
    main()
"""


@pytest.mark.parametrize("step", STEPS)
def test_an_interrupted_first_run_goes_on(tmp_path, step):
    directory = tmp_path / "var"
    arguments = ["init", "--directory", str(directory), "--ca-key", "ec-p256", "--https", "127.0.0.1:0"]
    died = subprocess.run(
        [sys.executable, "-c", DYING.format(target=STEPS[step]), "-", *arguments], capture_output=True, check=False, timeout=60
    )
    assert died.returncode == 9, died.stderr
    if step != "link":
        assert not (directory / "scepd.toml").exists()
    kept = {name: (directory / name).read_bytes() for name in PUBLIC if (directory / name).exists()}
    scepd("init", "--if-needed", "--directory", directory)
    settings = load(directory / "scepd.toml")
    assert settings.default_profile.name == "default"
    for name, content in kept.items():
        assert (directory / name).read_bytes() == content
    leftovers = [path.name for path in directory.rglob("*") if ".new" in path.name or "unfinished" in path.name]
    assert leftovers == []
    scepd("hsm", "list", "--config", directory / "scepd.toml")


def test_answers_from_a_file(tmp_path):
    answers = tmp_path / "answers.toml"
    answers.write_text(
        'name = "Example PKI"\nca_name = "CN=Example Devices CA,O=Example"\nca_key = "ec-p384"\nca_years = 3\n'
        'http = ["127.0.0.1:0"]\nhttps = []\nprofile = "routers"\npublic_url = "http://pki.example.net"\n'
    )
    scepd("init", "--directory", tmp_path / "var", "--answers", answers)
    written = tomllib.loads((tmp_path / "var/scepd.toml").read_text())
    assert written["appliance"]["name"] == "Example PKI"
    assert list(written["profile"]) == ["routers"]
    assert list(written["listener"]) == ["plain"]
    ca = x509.load_pem_x509_certificate((tmp_path / "var/devices-ca.pem").read_bytes())
    assert ca.subject.rfc4514_string() == "CN=Example Devices CA,O=Example"
    assert ca.public_key().curve.name == "secp384r1"
    assert not (tmp_path / "var/tls.key").exists()


def test_another_token_by_label_and_pin_file(elliptic, tmp_path):
    """A token that exists is used; one that has keys of our names is refused."""
    environment = {**os.environ, "SOFTHSM2_CONF": str(elliptic.directory / "softhsm2.conf")}
    result = scepd(
        "init", "--directory", tmp_path / "var", "--token", "scepd", "--pin-file", elliptic.directory / "hsm-pin",
        check=False, env=environment,
    )  # fmt: skip
    assert result.returncode == 1
    assert "has a key 'devices-ca' already" in result.stderr
    assert not (tmp_path / "var").exists()


def test_a_path_too_long_for_sockets_is_refused_before_anything_is_made(tmp_path):
    directory = tmp_path / ("x" * 100)
    result = scepd("init", "--directory", directory, check=False)
    assert result.returncode == 1
    assert "too long" in result.stderr
    assert not directory.exists()


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--http", "localhost:80", "no IP address"),
        ("--https", "127.0.0.1", "port"),
        ("--ca-years", "99", "out of bounds"),
        ("--ca-name", "CN=", "ca_name"),
        ("--profile", "Über", "cannot be a name"),
        ("--module", "/nonexistent.so", "is not there"),
    ],
)
def test_unfit_answers_are_refused_readably(tmp_path, option, value, words):
    result = scepd("init", "--directory", tmp_path / "var", option, value, check=False)
    assert result.returncode == 1
    assert words in result.stderr



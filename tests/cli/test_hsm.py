"""`scepd hsm keygen` and `probe` with a real token."""

import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from tests.cli.conftest import initialise


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    return initialise(tmp_path_factory.mktemp("hsm") / "var", "ec-p256")


def keygen(site, *arguments, check=True):
    return site.scepd("hsm", "keygen", *arguments, check=check)


def rows(site):
    return {row["label"]: row for row in json.loads(site.scepd("hsm", "list", "--json").stdout)}


def test_S119_a_signing_key_is_made_that_only_signs_and_never_leaves(site):
    made = json.loads(keygen(site, "other-ca", "--role", "sign", "--type", "ec:P-384", "--json").stdout)
    public_key = load_pem_public_key(made["public_key"].encode())
    assert isinstance(public_key, ec.EllipticCurvePublicKey)
    assert public_key.curve.name == "secp384r1"
    row = rows(site)["other-ca"]
    assert row["usage"] == ["sign"]
    assert {"sensitive", "never extractable", "local"} <= set(row["access"])
    assert made["uri"] == row["uri"] == "pkcs11:token=scepd;object=other-ca"


def test_a_decryption_key_is_printed_as_its_configuration_line_and_public_key(site):
    result = keygen(site, "other-ra-decrypt", "--role", "decrypt")
    line, _, pem = result.stdout.partition("\n")
    assert line == 'key = "pkcs11:token=scepd;object=other-ra-decrypt"'
    public_key = load_pem_public_key(pem.encode())
    assert isinstance(public_key, rsa.RSAPublicKey)
    assert public_key.key_size == 2048
    assert rows(site)["other-ra-decrypt"]["usage"] == ["decrypt"]


def test_S16_a_key_with_both_roles_is_made_only_by_that_word(site):
    made = json.loads(keygen(site, "single-ra", "--role", "both", "--json").stdout)
    assert made["role"] == "both"
    row = rows(site)["single-ra"]
    assert row["usage"] == ["decrypt", "sign"]
    assert {"sensitive", "never extractable", "local"} <= set(row["access"])


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["x"], 2, "--role"),
        (["x", "--role", "wrap"], 2, "--role"),
        (["x", "--role", "both", "--type", "ec:P-256"], 2, "RSA"),
        (["x", "--role", "sign", "--type", "rsa:1024"], 2, "rsa:2048"),
        (["x", "--role", "decrypt", "--type", "ec:P-256"], 2, "RSA"),
        (["devices-ca", "--role", "sign"], 1, "has a key 'devices-ca' already"),
    ],
)
def test_what_cannot_be_made_is_said_readably(site, arguments, status, words):
    before = rows(site)
    result = keygen(site, *arguments, check=False)
    assert result.returncode == status, result.stderr
    assert words in result.stderr
    assert rows(site) == before


def test_keys_can_be_made_while_the_issuer_still_waits_for_them(site, tmp_path):
    whole = site.config.read_text()
    text = whole.replace("object=devices-ra-decrypt", "object=devices-ra-sign")
    assert text != whole
    site.config.write_text(text)
    try:
        refused = site.scepd("check", check=False)
        assert refused.returncode == 78
        assert "scepd hsm keygen" in refused.stderr
        keygen(site, "late-ra-decrypt", "--role", "decrypt")
    finally:
        site.config.write_text(whole)


def test_S116_probe_tries_every_configured_key(site):
    report = json.loads(site.scepd("hsm", "probe", "--json").stdout)
    assert report["ok"] is True
    assert {(key["uri"].rpartition("=")[2], key["role"]) for key in report["keys"]} == {
        ("devices-ca", "sign"), ("devices-ra-sign", "sign"), ("devices-ra-decrypt", "decrypt"), ("scepd-audit", "sign"),
    }  # fmt: skip
    plain = site.scepd("hsm", "probe").stdout
    assert "pkcs1v15" in plain
    assert plain.count("\n") == 5


def test_S117_probe_says_what_is_wrong_and_tries_a_bad_pin_once(site):
    pin = site.directory / "hsm-pin"
    right = pin.read_text()
    pin.write_text("wrong\n")
    try:
        first = site.scepd("hsm", "probe", check=False)
        again = site.scepd("hsm", "probe", check=False)
        key = keygen(site, "never", "--role", "sign", check=False)
    finally:
        pin.write_text(right)
    assert (first.returncode, again.returncode, key.returncode) == (1, 1, 1)
    assert "refused the PIN" in first.stderr
    assert "not tried again" in again.stderr
    assert "not tried again" in key.stderr
    assert site.scepd("hsm", "probe").returncode == 0

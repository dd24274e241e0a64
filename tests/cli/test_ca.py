"""`scepd ca`: what is shown, the next generation of an issuer, fresh RA keys; with a real token."""

import json
import os
import shutil
import subprocess
import sys
import tomllib
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from scepd.ca.local import LocalIssuer
from scepd.cli.ca_keys import Made
from scepd.cli.ca_plan import next_subject
from scepd.cli.ca_tables import duration, issuer_table, rewrite, value, with_keys, with_table
from scepd.cli.main import program
from scepd.config.issuer_settings import CrlSettings, IssuerSettings, RaSettings
from scepd.config.load import load
from scepd.profile.model import Profile
from scepd.records import Template
from scepd.refusal import OperatorError
from scepd.x509.issuer import IssuerCertificate
from scepd.x509.keys import encode_public_key
from scepd.x509.names import from_text, to_text
from tests.cli.conftest import Installation, initialise
from tests.founding import found

AT = "2030-01-01T00:00:00Z"
REQUEST_AGENT = ObjectIdentifier("1.3.6.1.4.1.311.20.2.1")


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    return initialise(tmp_path_factory.mktemp("template") / "var", "ec-p256")


@pytest.fixture
def site(template, tmp_path):
    """A copy of the installation, for a test that changes it."""
    copy = Installation(tmp_path / "var", template.kind, template.output)
    shutil.copytree(template.directory, copy.directory)
    for path in (copy.config, copy.directory / "softhsm2.conf"):
        path.write_text(path.read_text().replace(str(template.directory), str(copy.directory)))
    return copy


@pytest.fixture(scope="module")
def rolled(tmp_path_factory):
    """An installation whose next CA is made and written."""
    site = initialise(tmp_path_factory.mktemp("rolled") / "var", "ec-p384")
    result = site.scepd("ca", "rollover", "devices", "--from", AT, "--write", "--yes")
    return site, result


def read(path):
    return x509.load_pem_x509_certificate(path.read_bytes())


def usages(certificate):
    found = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    words = ("digital_signature", "key_encipherment", "key_cert_sign", "crl_sign")
    return {word for word in words if getattr(found, word)}


def keys_of(site):
    return {row["label"]: row["usage"] for row in json.loads(site.scepd("hsm", "list", "--json").stdout)}


def test_E7_rollover_makes_keys_and_certificates_and_writes_the_lines(rolled):
    site, result = rolled
    assert 'next = "devices-2"' in result.stdout
    assert "scepd check" in result.stderr
    settings = load(site.config)
    old, new = settings.issuer["devices"], settings.issuer["devices-2"]
    assert old.next.issuer == "devices-2"
    assert (old.next.at, old.next.overlap) == (datetime(2030, 1, 1, tzinfo=UTC), timedelta(days=30))
    assert new.next is None
    assert {label: keys_of(site)[label] for label in ("devices-2-ca", "devices-2-ra-sign", "devices-2-ra-decrypt")} == {
        "devices-2-ca": ["sign"], "devices-2-ra-sign": ["sign"], "devices-2-ra-decrypt": ["decrypt"],
    }  # fmt: skip
    assert "token" in json.loads(site.scepd("check", "--hsm", "--json").stdout)["passed"]


def test_E7_the_next_generation_resembles_the_present_one(rolled):
    site, _ = rolled
    ca = read(site.directory / "devices-2-ca.pem")
    assert ca.subject.rfc4514_string() == "CN=scepd Devices CA G2"
    assert ca.public_key().curve.name == "secp384r1"
    ca.verify_directly_issued_by(ca)
    assert usages(ca) == {"key_cert_sign", "crl_sign"}
    for role, usage in (("sign", "digital_signature"), ("decrypt", "key_encipherment")):
        ra = read(site.directory / f"devices-2-ra-{role}.pem")
        ra.verify_directly_issued_by(ca)
        assert isinstance(ra.public_key(), rsa.RSAPublicKey)
        # C-052, and what macOS, Windows and Cisco look for in an RA certificate.
        assert usages(ra) == {usage}
        purposes = ra.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        assert list(purposes) == [REQUEST_AGENT]
        assert ra.not_valid_before_utc >= ca.not_valid_before_utc


def test_C068_what_the_next_ca_issues_early_never_begins_before_it(rolled):
    site, _ = rolled
    der = read(site.directory / "devices-2-ca.pem").public_bytes(Encoding.DER)
    issuer = IssuerCertificate.load(der)
    profile = Profile(name="p")
    template = Template(
        from_text("CN=r1"), (), profile.key_usage, profile.extended_key_usage, profile.validity, timedelta(days=30)
    )
    key = encode_public_key(ec.generate_private_key(ec.SECP256R1()).public_key())
    local = LocalIssuer("devices-2", issuer, key=None)
    now = issuer.not_before + timedelta(minutes=6)
    _serial, draft = local.draft(template, key, now=now, random=lambda size: bytes(range(size)))
    assert draft.not_before == issuer.not_before


def test_C053_show_tells_fingerprints_validity_and_successor(rolled):
    site, _ = rolled
    rows = {row["issuer"]: row for row in json.loads(site.scepd("ca", "show", "--json").stdout)}
    certificate = read(site.directory / "devices-ca.pem")
    assert rows["devices"]["SHA-256"] == certificate.fingerprint(hashes.SHA256()).hex(":").upper()
    assert rows["devices"]["SHA-1"] == certificate.fingerprint(hashes.SHA1()).hex(":").upper()
    assert (rows["devices"]["next"], rows["devices"]["next_from"]) == ("devices-2", AT)
    assert rows["devices"]["answered_until"] == "2030-01-31T00:00:00Z"
    assert rows["devices-2"]["subject"] == "CN=scepd Devices CA G2"
    assert "next" not in rows["devices-2"]
    plain = site.scepd("ca", "show").stdout
    assert rows["devices-2"]["SHA-256"] in plain
    assert "EC secp384r1" in plain


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nobody", "--from", AT], "there is no issuer nobody"),
        (["devices", "--from", AT], "devices-2 follows devices already"),
        (["devices-2", "--from", "2020-01-01"], "is past"),
        (["devices-2", "--from", "2099-01-01"], "before the overlap does"),
        (["devices-2", "--from", AT, "--name", "devices"], "there is an issuer devices already"),
        (["devices-2", "--from", AT, "--name", "Über"], "cannot be a name"),
        (["devices-2", "--from", "soon"], "is no moment"),
        (["devices-2", "--from", AT, "--overlap", "x"], "--overlap"),
        (["devices-2", "--from", AT, "--key-type", "rsa:1024"], "rsa:3072"),
        (["devices-2", "--from", AT, "--subject", "CN"], "error"),
    ],
)
def test_what_cannot_follow_is_said_before_anything_is_made(rolled, monkeypatch, arguments, words):
    site, _ = rolled
    monkeypatch.setenv("SOFTHSM2_CONF", str(site.directory / "softhsm2.conf"))  # restored afterwards
    before = contents(site)
    result = CliRunner().invoke(program, ["ca", "rollover", *arguments, "--config", str(site.config)])
    assert result.exit_code in {1, 2}
    assert words in result.stderr
    assert contents(site) == before


def contents(site):
    """Every file of the installation with its octets, the token's included."""
    return {path: path.read_bytes() for path in site.directory.rglob("*") if path.is_file()}


def test_without_write_the_configuration_stays_and_the_lines_are_right(site):
    before = site.config.read_text()
    options = ("--name", "next", "--key-type", "rsa:2048", "--validity", "5y", "--subject", "CN=Other,O=Example")
    result = site.scepd("ca", "rollover", "devices", "--from", AT, "--overlap", "12h", *options, "--yes")
    assert site.config.read_text() == before
    assert "put these lines into" in result.stderr
    table, _, keys = result.stdout.partition("# in [issuer.devices]:\n")
    changed = before.replace("[issuer.devices]\n", "[issuer.devices]\n" + keys) + "\n" + table
    site.config.write_text(changed)
    settings = load(site.config)
    assert settings.issuer["devices"].next.overlap == timedelta(hours=12)
    ca = read(site.directory / "next-ca.pem")
    assert ca.public_key().key_size == 2048
    assert to_text(from_text("CN=Other,O=Example")) == ca.subject.rfc4514_string()
    assert timedelta(days=5 * 365) <= ca.not_valid_after_utc - ca.not_valid_before_utc < timedelta(days=5 * 365 + 1)


def test_C283_the_next_generation_says_where_it_will_publish_itself(site):
    text = site.config.read_text()
    crl = 'crl_urls = ["http://pki.example.net/crl/devices.crl"]\n'
    site.config.write_text(text.replace("[issuer.devices]\n", f"[issuer.devices]\n{crl}"))
    for command, name in (
        (("rollover", "devices", "--from", AT), "devices-2"),
        (("ra", "devices", "--pair"), "devices"),
    ):
        steps = json.loads(site.scepd("ca", *command, "--plan").stdout)["steps"]
        ra = [step for step in steps if step["makes"].startswith("ra")]
        assert [step["crl_urls"] for step in ra] == [[f"http://pki.example.net/crl/{name}.crl"]] * 2
        assert not any("crl_urls" in step for step in steps if step not in ra)


def test_C055_a_fresh_ra_decryption_key_leaves_the_old_one_accepted(site):
    old = load(site.config).issuer["devices"].ra_decrypt
    for number in (2, 3):
        site.scepd("ca", "ra", "devices", "--write", "--yes")
        issuer = load(site.config).issuer["devices"]
        assert issuer.ra_decrypt.key.endswith(f"devices-ra-decrypt-{number}")
        assert issuer.ra_decrypt_previous[-1] == old
        assert len(issuer.ra_decrypt_previous) == number - 1
    fresh = read(site.directory / "devices-ra-decrypt-3.pem")
    assert usages(fresh) == {"key_encipherment"}
    fresh.verify_directly_issued_by(read(site.directory / "devices-ca.pem"))
    assert "token" in json.loads(site.scepd("check", "--hsm", "--json").stdout)["passed"]


def test_E12_a_ca_that_is_its_own_ra_is_followed_by_another_such(site):
    found(site.config, "ca")
    result = site.scepd("ca", "rollover", "devices", "--from", AT, "--write", "--yes")
    assert "insecurely_ca_is_ra = true" in result.stdout
    issuer = load(site.config).issuer["devices-2"]
    assert issuer.ca_is_ra
    assert issuer.ra_sign == issuer.ra_decrypt == RaSettings(issuer.key, issuer.certificate_der)
    assert keys_of(site)["devices-2-ca"] == ["decrypt", "sign"]
    expected = {"digital_signature", "key_encipherment", "key_cert_sign", "crl_sign"}
    assert usages(read(site.directory / "devices-2-ca.pem")) == expected
    assert "token" in json.loads(site.scepd("check", "--hsm", "--json").stdout)["passed"]


def test_a_single_ra_key_is_followed_by_another_such_and_not_rotated_alone(site):
    found(site.config, "both")
    refused = site.scepd("ca", "ra", "devices", "--write", "--yes", check=False)
    assert refused.returncode == 1
    assert "no decryption key of its own" in refused.stderr
    site.scepd("ca", "rollover", "devices", "--from", AT, "--write", "--yes")
    issuer = load(site.config).issuer["devices-2"]
    assert issuer.has_one_ra_key
    assert keys_of(site)["devices-2-ra"] == ["decrypt", "sign"]
    assert usages(read(site.directory / "devices-2-ra.pem")) == {"digital_signature", "key_encipherment"}
    assert "token" in json.loads(site.scepd("check", "--hsm", "--json").stdout)["passed"]


def test_S109_an_ocsp_key_is_made_certified_and_follows_its_issuer(site):
    told = site.scepd("ca", "responder", "devices", "--yes")
    assert "# in [issuer.devices]:" in told.stdout
    assert load(site.config).issuer["devices"].ocsp is None
    site.scepd("ca", "responder", "devices", "--yes", "--write", "--key-type", "rsa:2048")
    ocsp = load(site.config).issuer["devices"].ocsp
    assert ocsp.key.endswith("object=devices-ocsp-2")  # the first one was only shown
    certificate = x509.load_der_x509_certificate(ocsp.certificate_der)
    certificate.verify_directly_issued_by(read(site.directory / "devices-ca.pem"))
    assert usages(certificate) == {"digital_signature"}
    purposes = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(purposes) == [ExtendedKeyUsageOID.OCSP_SIGNING]
    assert (certificate.not_valid_after_utc - certificate.not_valid_before_utc).days == 30
    assert keys_of(site)["devices-ocsp-2"] == ["sign"]
    path = site.config
    path.write_text(path.read_text().replace('devices-ocsp-2.pem" }', 'devices-ocsp-2.pem", cache = "1m" }'))
    site.scepd("ca", "rollover", "devices", "--from", AT, "--write", "--yes")
    following = load(site.config).issuer["devices-2"]
    assert following.ocsp.key.endswith("object=devices-2-ocsp")
    assert following.ocsp.cache == timedelta(minutes=1)
    x509.load_der_x509_certificate(following.ocsp.certificate_der).verify_directly_issued_by(
        read(site.directory / "devices-2-ca.pem")
    )
    assert "token" in json.loads(site.scepd("check", "--hsm", "--json").stdout)["passed"]
    site.scepd("ca", "responder", "devices", "--yes", "--write")
    assert load(site.config).issuer["devices"].ocsp.cache == timedelta(minutes=1)  # terms stay where the key changes


def test_a_reader_that_goes_away_keeps_nothing_from_being_written(site):
    reading, writing = os.pipe()
    os.close(reading)
    command = [
        sys.executable,
        "-m",
        "scepd.cli.main",
        "ca",
        "responder",
        "devices",
        "--write",
        "--yes",
        "--config",
        site.config,
    ]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False, timeout=60)
    os.close(writing)
    assert done.returncode == 0, done.stderr
    assert load(site.config).issuer["devices"].ocsp.key.endswith("object=devices-ocsp")


# Without a token.


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("CN=Example CA", "CN=Example CA G2"),
        ("CN=Example CA G2,O=Example", "CN=Example CA G3,O=Example"),
        ("CN=CA G99", "CN=CA G100"),
        ("CN=G7", "CN=G7 G2"),
    ],
)
def test_the_next_name_is_the_same_with_the_next_generation(old, new):
    assert to_text(next_subject(from_text(old))) == new


@pytest.mark.parametrize("name", ["O=Example", "CN=" + "x" * 62])
def test_a_name_without_room_for_a_generation_has_to_be_given(name):
    with pytest.raises(OperatorError) as caught:
        next_subject(from_text(name))
    assert "--subject" in caught.value.hint


@pytest.mark.parametrize(
    ("span", "text"),
    [
        (timedelta(days=30), "30d"),
        (timedelta(hours=36), "36h"),
        (timedelta(minutes=90), "90m"),
        (timedelta(seconds=7), "7s"),
    ],
)
def test_durations_are_spelled_as_they_are_read(span, text):
    assert duration(span) == text


def test_values_are_read_back_as_toml():
    values = {
        "flag": True, "off": False, "text": 'a "quoted" \\ path', "list": ["a", "b"], "at": datetime(2030, 1, 2, 3, tzinfo=UTC),
        "pair": {"key": "k", "certificate": "c"}, "pairs": [{"key": "k", "certificate": "c"}],
    }  # fmt: skip
    text = "".join(f"{word} = {value(one)}\n" for word, one in values.items())
    assert tomllib.loads(text) == values


def issuer(**changes):
    ra = RaSettings("pkcs11:object=ra", b"ra")
    return IssuerSettings("devices", "pkcs11:object=ca", b"ca", (), ra, ra, **changes)


def test_the_next_issuer_publishes_as_its_elder_under_its_own_name(tmp_path):
    model = issuer(
        crl=CrlSettings(timedelta(days=3), timedelta(hours=12)),
        crl_urls=("http://pki.example.net/crl/devices.crl", "http://devices.example.net/x.crl"),
        issuer_urls=("http://pki.example.net/ca/devices.cer",),
    )
    table = issuer_table("devices-2", {"": Made("pkcs11:object=x", tmp_path / "x.pem")}, model)
    assert table["crl"] == {"valid": "3d", "every": "12h"}
    assert table["crl_urls"] == ["http://pki.example.net/crl/devices-2.crl", "http://devices.example.net/x.crl"]
    assert table["issuer_urls"] == ["http://pki.example.net/ca/devices-2.cer"]
    assert issuer_table("x", {"": Made("", tmp_path)}, issuer())["crl"] is False
    assert "crl" not in issuer_table("x", {"": Made("", tmp_path)}, issuer(crl=CrlSettings()))


ODD = """# top
[ issuer . "devices" ]  # ours
ra_decrypt = { key = "a", certificate = "b" }  # gone
kind = "local"

[profile.x]
ra_decrypt = "not this one"
"""


def test_keys_are_set_in_their_table_alone_whatever_its_spelling():
    text = with_keys(ODD, "devices", {"ra_decrypt": {"key": "c", "certificate": "d"}, "next": "n"})
    expected = tomllib.loads(ODD)
    expected["issuer"]["devices"] |= {"ra_decrypt": {"key": "c", "certificate": "d"}, "next": "n"}
    assert tomllib.loads(text) == expected
    assert "# top" in text
    assert "# ours" in text


def test_a_table_is_added_at_the_end():
    text = with_table(ODD, "devices-2", {"key": "k"})
    assert tomllib.loads(text)["issuer"]["devices-2"] == {"key": "k"}
    assert text.startswith(ODD.rstrip("\n"))


@pytest.mark.parametrize(
    "text",
    [
        'issuer.devices.kind = "local"\n',
        '[issuer]\ndevices = { kind = "local" }\n',
        '[issuer.devices]\nnext = """\nx"""\n',
        '[issuer.devices]\n"next" = "x"\n',
    ],
)
def test_a_file_that_is_written_otherwise_is_left_to_its_author(tmp_path, text):
    path = tmp_path / "issuers.toml"
    path.write_text(text)

    def mean(tables):
        tables["issuer"]["devices"] |= {"next": "n"}

    with pytest.raises(OperatorError) as caught:
        rewrite(path, lambda old: with_keys(old, "devices", {"next": "n"}), mean, tmp_path / "scepd.toml")
    assert "nothing was changed" in caught.value.problem
    assert path.read_text() == text


def test_an_included_file_is_changed_where_the_issuer_stands(site):
    text = site.config.read_text()
    start, end = text.index("[issuer.devices]"), text.index("[listener.public]")
    (site.directory / "issuers.toml").write_text(text[start:end])
    (site.directory / "issuers.toml").chmod(0o640)
    site.config.write_text('include = ["issuers.toml"]\n' + text[:start] + text[end:])
    site.scepd("ca", "rollover", "devices", "--from", AT, "--write", "--yes")
    assert "devices-2" in (site.directory / "issuers.toml").read_text()
    assert (site.directory / "issuers.toml").stat().st_mode & 0o777 == 0o640
    assert load(site.config).issuer["devices"].next.issuer == "devices-2"


def test_a_subordinate_ca_is_followed_by_hand(site):
    root = ec.generate_private_key(ec.SECP256R1())
    own = read(site.directory / "devices-ca.pem")
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Root")])
    builder = x509.CertificateBuilder(
        name,
        own.subject,
        own.public_key(),
        5,
        own.not_valid_before_utc.replace(tzinfo=None),
        own.not_valid_after_utc.replace(tzinfo=None),
        list(own.extensions),
    )
    certificate = builder.sign(root, hashes.SHA256())
    (site.directory / "devices-ca.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    result = site.scepd("ca", "rollover", "devices", "--from", AT, "--yes", check=False)
    assert result.returncode == 1
    assert "certified by CN=Root" in result.stderr
    assert "--certificate" in result.stderr

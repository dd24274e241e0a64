import os
import pwd
import shutil
import tempfile
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from scepd.cli.init_answers import Answers, ask_the_rest, read_answers
from scepd.cli.init_ceremony import tls_names
from scepd.cli.init_layout import Layout, write_configuration
from scepd.refusal import OperatorError
from tests.cli.conftest import scepd

MODULE = "/usr/lib/softhsm/libsofthsm2.so"


def ask(known, typed):
    """Return what a person who types those lines answers."""
    found = {}

    @click.command()
    def questions():
        found.update(ask_the_rest(known))

    result = CliRunner().invoke(questions, input=typed)
    assert result.exit_code == 0, result.output
    return found, result.output


def test_every_question_has_a_default():
    found, _ = ask({}, "\n" * 12)
    answers = Answers.from_mapping(found, "test")
    assert answers.token == "scepd"
    assert answers.ca_key == "rsa-3072"
    assert answers.ca_name == "CN=scepd Devices CA"
    assert answers.https == ("0.0.0.0:443",)
    assert answers.http == ()
    assert answers.pin_file is None


def test_what_is_known_is_not_asked():
    known = {"name": "Example", "ca_key": "ec-p256", "http": ("127.0.0.1:80",)}
    found, shown = ask(known, "\n" * 12)
    assert found["ca_name"] == "CN=Example Devices CA"
    assert found["ca_key"] == "ec-p256"
    assert "Name of this installation" not in shown
    assert "plain http" not in shown


def test_another_module_is_asked_for_its_pin_file():
    found, shown = ask({"module": "/opt/hsm/lib.so"}, "\n" * 12)
    assert found["pin_file"] == "/etc/scepd/hsm-pin"
    assert "file with the token's PIN" in shown


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"colour": "blue"}, "no question of init"),
        ({"name": ""}, "empty"),
        ({"name": 7}, "must be a text"),
        ({"ca_key": "dsa-1024"}, "no key that init makes"),
        ({"ca_years": 0}, "out of bounds"),
        ({"ca_years": "ten"}, "out of bounds"),
        ({"workers": True}, "out of bounds"),
        ({"http": "127.0.0.1:80"}, "no list"),
        ({"http": ["pki.example:80"]}, "no IP address"),
        ({"public_url": "pki.example"}, "no http or https URL"),
        ({"ca_name": "Example CA"}, "no attribute of a name"),
    ],
)
def test_unfit_answers_say_which_and_how(change, words):
    with pytest.raises(OperatorError, match=words) as caught:
        Answers.from_mapping({"module": MODULE, **change}, "answers.toml")
    assert "answers.toml" in caught.value.problem
    assert caught.value.hint


def test_an_answers_file_that_is_no_toml(tmp_path):
    path = tmp_path / "answers.toml"
    path.write_text("name = ")
    with pytest.raises(OperatorError, match="no TOML"):
        read_answers(path)
    with pytest.raises(OperatorError, match="cannot be read"):
        read_answers(tmp_path / "none.toml")


def test_tls_names_are_those_by_which_it_is_reached():
    answers = Answers(module=MODULE, https=("192.0.2.1:443", "[2001:db8::1]:443"), public_url="https://PKI.example.net:8443")
    assert [(name.kind, name.value) for name in tls_names(answers)] == [
        ("dns", "pki.example.net"),
        ("ip", "192.0.2.1"),
        ("ip", "2001:db8::1"),
        ("dns", "localhost"),
        ("ip", "127.0.0.1"),
    ]


def test_a_configuration_survives_odd_names():
    import tomllib

    answers = Answers(module=MODULE, name='Büro "7" \\ C:', token="my token; odd", http=("127.0.0.1:1",), workers=0)
    written = tomllib.loads(write_configuration(answers, Layout.of_the_system()))
    assert written["appliance"]["name"] == answers.name
    assert written["hsm"]["token"] == answers.token
    assert written["issuer"]["devices"]["key"] == "pkcs11:token=my%20token%3B%20odd;object=devices-ca"
    assert written["workers"] == 0
    assert set(written["listener"]) == {"public", "plain"}


@pytest.mark.parametrize(
    ("http", "public_url", "words"),
    [
        (("0.0.0.0:80",), "http://pki.example.net", "certificates name it by public_url"),
        (("0.0.0.0:80",), "https://pki.example.net", "crl_urls = "),
        (("0.0.0.0:80",), None, "crl_urls = "),
        ((), "http://pki.example.net", "crl_urls = "),
    ],
)
def test_the_crl_is_on_and_the_file_says_how_certificates_name_it(http, public_url, words):
    import tomllib

    text = write_configuration(Answers(module=MODULE, http=http, public_url=public_url), Layout.of_the_system())
    written = tomllib.loads(text)
    assert written["issuer"]["devices"]["crl"] == {"valid": "7d", "every": "1d"}
    assert all(listener["serves"] == ["scep", "publication"] for listener in written["listener"].values())
    (line,) = [line for line in text.splitlines() if line.startswith("crl = ")]
    assert words in line


def test_a_user_owns_what_root_made_for_him():
    """As root everything belongs to the user; anybody else is told that only root can do that."""
    directory = Path(tempfile.mkdtemp(prefix="scepd-"))
    try:
        directory.chmod(0o755)
        options = ("--directory", directory / "v", "--ca-key", "ec-p256", "--user", "nobody")
        result = scepd("init", *options, check=False)
        if os.geteuid() != 0:
            assert result.returncode == 1
            assert "only root" in result.stderr
            return
        assert result.returncode == 0, result.stderr
        nobody = pwd.getpwnam("nobody").pw_uid
        assert {path.stat().st_uid for path in (directory / "v").rglob("*")} == {nobody}
    finally:
        shutil.rmtree(directory)


def test_a_user_who_does_not_exist_is_refused(tmp_path):
    result = scepd("init", "--directory", tmp_path / "v", "--user", "no-such-user", check=False)
    assert result.returncode == 1
    assert "there is no user" in result.stderr


def test_what_the_module_reads_is_exported_and_written(tmp_path):
    given = ("P11_KIT_SERVER_ADDRESS=unix:path=/run/hsm/pkcs11,x=1",)
    answers = Answers.from_mapping({"module": "/opt/hsm.so", "pin_file": "/pin", "environment": given}, "test")
    assert answers.variables == {"P11_KIT_SERVER_ADDRESS": "unix:path=/run/hsm/pkcs11,x=1"}
    text = write_configuration(answers, Layout.under(tmp_path))
    assert 'environment = { P11_KIT_SERVER_ADDRESS = "unix:path=/run/hsm/pkcs11,x=1" }\n' in text


@pytest.mark.parametrize(("given", "words"), [("X", "no NAME=VALUE"), ("LD_PRELOAD=x", "not the module's"), ("PIN=1", "secret")])
def test_what_no_module_should_read_is_refused(given, words):
    with pytest.raises(OperatorError, match=words):
        Answers.from_mapping({"module": MODULE, "environment": [given]}, "test")

"""Secrets stand elsewhere: where from, under which modes, and never in a message."""

import os
import traceback

import pytest

from scepd.config.hsm_settings import PinPart, PinReference
from scepd.config.load import load
from scepd.config.pin import ask_pin, read_pin, refer_to_pin
from scepd.config.secret import SecretReference, Surroundings
from scepd.problems import ConfigurationError
from scepd.records import Secret
from scepd.refusal import OperatorError

from .pki import NOW, base, write_configuration, write_secret

WHERE = {
    "hsm-pin": ("hsm", "pin"),
    "store-key": ("store", "key"),
    "lab-challenge": ("profile", "lab", "challenge", 0, "secret"),
    "tls.key": ("listener", "tls", "tls", "key"),
}


def path_of(name):
    return "$" + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in WHERE[name])


def refer(tables, name, reference):
    *above, last = WHERE[name]
    for step in above:
        tables = tables[step]
    tables[last] = reference


def one(source, path=None):
    """A PIN of one part."""
    return PinReference((PinPart(source, path),))


@pytest.mark.parametrize("name", WHERE)
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o622, 0o611])
def test_S128_secret_open_to_others(site, refused, name, mode):
    (site / name).chmod(mode)
    (problem,) = refused(base())
    assert (problem.path, problem.hint) == (path_of(name), f"chmod 600 {site / name}")


@pytest.mark.parametrize("name", WHERE)
def test_S128_secret_behind_a_symbolic_link(site, refused, name):
    (site / name).rename(site / "elsewhere")
    (site / name).symlink_to(site / "elsewhere")
    (problem,) = refused(base())
    assert problem.path == path_of(name)
    assert "is a symbolic link" in problem.reason
    assert str(site / "elsewhere") in problem.hint


@pytest.mark.parametrize("name", WHERE)
def test_S128_secret_that_is_no_file(site, refused, name):
    (site / name).unlink()
    os.mkfifo(site / name, 0o600)
    (problem,) = refused(base())
    assert "is no regular file" in problem.reason


@pytest.mark.parametrize("name", WHERE)
def test_credential_of_systemd(site, tmp_path, compiled, name):
    # systemd's files carry an ACL that shows as a group's right to read.
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    write_secret(credentials / "the.credential", (site / name).read_bytes()).chmod(0o440)
    (site / name).unlink()
    tables = base()
    refer(tables, name, {"credential": "the.credential"})
    settings = compiled(tables, CREDENTIALS_DIRECTORY=str(credentials))
    if name == "hsm-pin":
        assert settings.hsm.pin == one("credential", credentials / "the.credential")
    if name == "store-key":
        assert settings.store.key_file == credentials / "the.credential"


def test_credential_without_systemd_says_how_to_check_by_hand(refused):
    tables = base()
    refer(tables, "hsm-pin", {"credential": "hsm-pin"})
    (problem,) = refused(tables)
    assert "/run/credentials/scepd.service/hsm-pin is not there" in problem.reason
    assert "LoadCredential=hsm-pin:FILE" in problem.hint


def test_credential_of_the_running_service(site):
    running = Surroundings(site, {}, NOW, credentials=site)
    pin = refer_to_pin((SecretReference("credential", "hsm-pin"),), running)
    assert pin.paths == (site / "hsm-pin",)


def test_secret_that_this_user_cannot_read(site):
    (site / "hsm-pin").chmod(0)
    privileged = os.geteuid() == 0
    path = write_configuration(site, base())
    if privileged:
        for directory in (site, *list(site.parents)[:-2]):
            directory.chmod(0o755)
        os.chown(site / "hsm-pin", 65534, -1)
        for name in ("tls.key", "store-key", "lab-challenge"):
            os.chown(site / name, 65534, -1)
        os.seteuid(65534)
    try:
        with pytest.raises(ConfigurationError) as caught:
            load(path, environ={}, now=NOW)
    finally:
        if privileged:
            os.seteuid(0)
    (problem,) = caught.value.problems
    assert problem.path == "$.hsm.pin"
    assert "cannot be read by this user" in problem.reason


def test_static_challenge_from_the_environment(compiled):
    tables = base()
    refer(tables, "lab-challenge", {"env": "LAB"})
    rule = compiled(tables, LAB="a shared secret of length").profiles[1].challenge[0]
    assert rule.secret.reveal() == "a shared secret of length"


@pytest.mark.parametrize("name", ["hsm-pin", "store-key", "tls.key"])
def test_S113_what_the_environment_may_not_hold(refused, name):
    tables = base()
    refer(tables, name, {"env": "PIN"})
    (problem,) = refused(tables, PIN="1234")
    assert problem.path == path_of(name)
    assert "not taken from the environment" in problem.reason


def test_prompted_pin(compiled):
    tables = base()
    refer(tables, "hsm-pin", {"prompt": True})
    assert compiled(tables).hsm.pin == one("prompt")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"\xff\xfe", "not UTF-8"),
        (b"12\n34", "control characters"),
        (b"1" * 256, "too long"),
        (b"1\x00", "control"),
    ],
)
def test_pin_file_without_a_pin(site, refused, content, reason):
    write_secret(site / "hsm-pin", content)
    (problem,) = refused(base())
    assert problem.path == "$.hsm.pin"
    assert reason in problem.reason


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff" * 30, b"a\nb" * 20, b" " * 30, b"nineteen characters"])
def test_S30_S32_static_challenge_that_is_none(site, refused, content):
    write_secret(site / "lab-challenge", content)
    (problem,) = refused(base())
    assert problem.path == "$.profile.lab.challenge[0].secret"


def test_S30_static_challenge_at_the_limit(site, compiled):
    write_secret(site / "lab-challenge", b"twenty characters ok\r\n")
    settings = compiled(base())
    assert settings.profiles[1].challenge[0].secret.reveal() == "twenty characters ok"
    assert settings.insecure == ()


def test_short_static_challenge_only_by_its_switch(site, compiled):
    write_secret(site / "lab-challenge", b"short")
    tables = base()
    tables["profile"]["lab"]["challenge"][0]["insecurely_short"] = True
    settings = compiled(tables)
    assert settings.profiles[1].insecure == ("insecurely_short",)
    assert settings.insecure == ("profile.lab.insecurely_short",)


def test_S33_no_secret_in_any_message(site, compiled):
    canaries = ["canary-pin-4711", "canary-key-4711", "canary-challenge-4711", "canary-tls-4711", "canary-more-4711"]
    tables = base()
    refer(tables, "hsm-pin", "canary-pin-4711")
    refer(tables, "store-key", {"file": "lab-challenge"})
    refer(tables, "tls.key", {"file": "lab-challenge"})
    write_secret(site / "lab-challenge", b"canary-challenge-4711")
    tables["profile"]["lab"]["challenge"] = [
        {"method": "static", "secret": "canary-key-4711"},
        {"method": "static", "secret": ["canary-tls-4711"]},
        {"method": "static", "secret": {"file": "lab-challenge"}},
        {"method": "static", "secret": {"env": "MORE"}},
    ]
    tables["log"]["level"] = "loud"
    with pytest.raises(ConfigurationError) as caught:
        compiled(tables, MORE=canaries[-1] + "\x01")
    shown = caught.value.render() + repr(caught.value) + "".join(traceback.format_exception(caught.value))
    assert not [canary for canary in canaries if canary in shown]


def test_S113_settings_do_not_show_secrets(compiled):
    shown = repr(compiled(base()))
    assert "123456" not in shown
    assert "battery" not in shown
    assert "PRIVATE KEY" not in shown


def test_pin_is_read_at_the_start(site, compiled):
    pin = compiled(base()).hsm.pin
    assert pin == one("file", site / "hsm-pin")
    assert read_pin(pin).reveal() == "123456"
    write_secret(site / "hsm-pin", b"654321")
    assert read_pin(pin).reveal() == "654321"
    (site / "hsm-pin").chmod(0o644)
    with pytest.raises(OperatorError, match="open to others") as caught:
        read_pin(pin)
    assert caught.value.hint == f"chmod 600 {site}/hsm-pin"


def test_prompted_pin_is_what_was_typed():
    assert read_pin(one("prompt"), (Secret("98 76"),)).reveal() == "98 76"


@pytest.mark.parametrize("typed", [(), (Secret(""),), (Secret("1\n"),), (Secret("1" * 256),)])
def test_prompted_pin_that_is_none(typed):
    with pytest.raises(OperatorError):
        read_pin(one("prompt"), typed)


def test_S113_a_pin_of_two_keepers_is_joined_in_memory_and_stands_nowhere(site, compiled):
    tables = base()
    write_secret(site / "pin-1", b"first \n")
    write_secret(site / "pin-2", b"k33per\n")
    tables["hsm"]["pin"] = [{"file": "pin-1"}, {"file": "pin-2"}]
    settings = compiled(tables)
    assert read_pin(settings.hsm.pin).reveal() == "first k33per"
    assert settings.hsm.pin.paths == (site / "pin-1", site / "pin-2")
    assert "k33per" not in repr(settings)
    assert "k33per" not in repr(read_pin(settings.hsm.pin))


def test_S113_a_part_is_typed_in_its_place(site, compiled):
    tables = base()
    tables["hsm"]["pin"] = [{"prompt": True}, {"file": "hsm-pin"}, {"prompt": True}]
    pin, asked = compiled(tables).hsm.pin, []
    typed = ask_pin(pin, lambda part: asked.append(part) or f"<{len(asked)}>")
    assert asked == ["part 1 of 3", "part 3 of 3"]
    assert read_pin(pin, typed).reveal() == "<1>123456<2>"
    with pytest.raises(OperatorError, match="empty"):
        read_pin(pin, typed[:1])
    assert ask_pin(one("prompt"), lambda part: part or "whole")[0].reveal() == "whole"


@pytest.mark.parametrize(
    ("parts", "word"),
    [
        ([], "2 to 4"),
        ([{"file": "hsm-pin"}], "2 to 4"),
        ([{"prompt": True}] * 5, "2 to 4"),
        ([{"file": "hsm-pin"}, {"file": "hsm-pin"}], "one keeper"),
        ([{"file": "hsm-pin"}, {"file": "./hsm-pin"}], "one keeper"),
        ([{"file": "hsm-pin"}, {"env": "PIN"}], "environment"),
        ([{"file": "hsm-pin"}, "1234"], "never written here"),
        ([{"file": "hsm-pin"}, {"file": "gone"}], "gone"),
    ],
)
def test_S113_parts_that_are_no_two_keepers_are_refused(refused, parts, word):
    tables = base()
    tables["hsm"]["pin"] = parts
    (problem,) = refused(tables, PIN="1234")
    assert problem.path.startswith("$.hsm.pin")
    assert word in problem.reason

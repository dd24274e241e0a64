import json
import re
import socket
import sqlite3

import pytest

from tests.cli.conftest import initialise, scepd


@pytest.fixture
def fresh(tmp_path):
    return initialise(tmp_path / "var", "ec-p256")


def check(installation, *options):
    result = installation.scepd("check", "--json", *options, check=False)
    return result.returncode, json.loads(result.stdout)


def edit(installation, old, new):
    text = installation.config.read_text()
    assert old in text
    installation.config.write_text(text.replace(old, new))


def test_a_first_run_passes_every_check(installation):
    code, found = check(installation, "--hsm")
    assert code == 0, found
    assert found["problems"] == []
    assert found["passed"][-1] == "token"


def test_all_problems_are_found_at_once_each_with_a_hint(fresh):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        text, count = re.subn(r"address = .*\n\n\[profile", f'address = "127.0.0.1:{port}"\n\n[profile', fresh.config.read_text())
        assert count == 1
        fresh.config.write_text(text)
        (fresh.directory / "state/scepd.sqlite").unlink()
        (fresh.directory / "hsm-pin").write_text("wrong\n")
        code, found = check(fresh, "--hsm")
    assert code == 1
    words = " | ".join(problem["what"] for problem in found["problems"])
    for expected in (f"cannot listen on 127.0.0.1:{port}", "there is no store", "refused the PIN"):
        assert expected in words
    assert all(problem["hint"] for problem in found["problems"])


def test_S117_a_wrong_pin_is_tried_once(fresh):
    (fresh.directory / "hsm-pin").write_text("wrong\n")
    check(fresh, "--hsm")
    code, found = check(fresh, "--hsm")
    assert code == 1
    assert "not tried again" in found["problems"][0]["what"]


def test_configuration_faults_leave_with_78_all_of_them(fresh):
    edit(fresh, 'validity = "1y"', 'validity = "soon"')
    edit(fresh, 'name = "scepd"', 'nmae = "scepd"')
    (fresh.directory / "store-key").chmod(0o644)
    code, found = check(fresh)
    assert code == 78
    places = " ".join(problem["where"] for problem in found["problems"])
    for path in ("$.profile.default.validity", "$.appliance.nmae", "$.store.key"):
        assert path in places
    assert all(problem["hint"] for problem in found["problems"])


def test_a_key_that_is_not_its_certificates_is_found(fresh):
    edit(fresh, "object=devices-ra-sign", "object=devices-other")
    code, found = check(fresh, "--hsm")
    assert code == 1
    assert "devices-other" in found["problems"][0]["what"]


def test_a_clock_that_went_back_is_found(fresh):
    fresh.scepd("challenge", "new", "default")
    with sqlite3.connect(fresh.directory / "state/scepd.sqlite") as store:
        store.execute("UPDATE audit SET at = replace(at, '20', '21')")
    code, found = check(fresh)
    assert code == 1
    assert "the clock says" in found["problems"][0]["what"]


def test_the_plain_words_have_three_parts(fresh):
    (fresh.directory / "state/scepd.sqlite").unlink()
    result = fresh.scepd("check", check=False)
    assert result.returncode == 1
    for part in ("error: there is no store", "   at: [store] url", "  try: restore the backup; or scepd run"):
        assert part in result.stderr


def test_switches_that_weaken_are_warnings(fresh):
    edit(fresh, 'validity = "1y"', 'validity = "1y"\ninsecurely_accept_sha1 = true')
    code, found = check(fresh)
    assert code == 0
    assert "insecurely_accept_sha1" in found["warnings"][0]["what"]


def test_check_of_nothing_leaves_with_78(tmp_path):
    assert scepd("check", "--config", tmp_path / "none.toml", check=False).returncode == 78


def test_S105_marks_elsewhere_must_be_there_and_on_another_volume(fresh):
    marks = fresh.directory / "marks"
    edit(fresh, "[appliance]", f'[appliance]\nmarks = "{marks}"')
    code, found = check(fresh)
    assert code == 1
    assert {(one["what"], one["where"]) for one in found["problems"]} == {(f"{marks} does not exist", "[appliance] marks")}
    marks.mkdir(mode=0o700)
    code, found = check(fresh)
    assert code == 0
    assert any("is on the volume of the store" in one["what"] for one in found["warnings"])
    fresh.scepd("challenge", "new", "default")
    assert (marks / "high-water.json").exists()
    assert not (fresh.directory / "state/high-water.json").exists()
    (marks / "high-water.json").unlink()  # a volume that is not mounted
    assert "are missing" in fresh.scepd("challenge", "new", "default", check=False).stderr

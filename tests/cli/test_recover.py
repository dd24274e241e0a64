"""`scepd recover` and its neighbours over a real installation that is not running (threats S-105)."""

import json
import shutil

import pytest

from tests.cli.conftest import initialise, scepd


@pytest.fixture(scope="module")
def behind(tmp_path_factory):
    """An installation whose store is older than its marks: nobody has started it since."""
    made = initialise(tmp_path_factory.mktemp("rc") / "var", "ec-p256")
    made.scepd("challenge", "new", "default")
    backup = made.directory.parent / "backup"
    made.scepd("backup", backup)
    made.scepd("challenge", "new", "default", "--count", "3")
    made.scepd("challenge", "cancel", "2")
    old = made.directory / "state/old"
    old.mkdir()
    for path in (made.directory / "state").glob("scepd.sqlite*"):
        shutil.move(path, old / path.name)
    scepd("restore", "--yes", backup)
    return made


def test_S105_an_older_store_is_found_asked_about_and_recovered_once(behind):
    checked = behind.scepd("check", check=False)
    assert checked.returncode == 1
    assert "it lacks 3 challenges (after number 1)" in checked.stderr
    assert "try: scepd recover --plan" in checked.stderr
    refused = behind.scepd("challenge", "new", "default", check=False)
    assert refused.returncode == 1
    assert "read-only until scepd recover" in refused.stderr
    assert len(json.loads(behind.scepd("challenge", "list", "--json").stdout)) == 1  # reading is free

    plan = behind.scepd("recover", "--plan").stdout
    assert "lost         3 challenges (after number 1)" in plan
    assert "worthless    1 challenges, 0 enrolment codes" in plan
    assert "stays good, INSECURELY: 1 challenges" in behind.scepd(
        "recover", "--plan", "--insecurely-keep-challenges"
    ).stdout
    unasked = behind.scepd("recover", check=False)  # nobody answers
    assert unasked.returncode == 1
    assert "Recover now?" in unasked.stderr
    assert "read-only" in behind.scepd("challenge", "new", "default", check=False).stderr

    done = json.loads(behind.scepd("recover", "--yes", "--json").stdout)
    assert (done["challenges"], done["revocations"]) == (1, 0)
    assert "nothing to recover" in behind.scepd("recover", "--yes").stdout
    assert behind.scepd("check").returncode == 0
    assert behind.scepd("audit", "verify").returncode == 0
    states = [row["state"] for row in json.loads(behind.scepd("challenge", "list", "--json").stdout)]
    assert states == ["cancelled"]
    behind.scepd("challenge", "new", "default")
    (row,) = json.loads(behind.scepd("audit", "list", "--target", "store", "--json").stdout)
    assert row["action"] == "recovered"

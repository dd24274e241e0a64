"""`scepd recover` and its neighbours over a real installation that is not running (threats S-105)."""

import hashlib
import json
import os
import shutil

import pytest

from scepd.app.clock import UtcClock, present
from scepd.app.migration import _migrate
from scepd.app.parcel import Parcel
from scepd.cli.configured import load_settings
from scepd.records import Belief
from scepd.store.engines import StoreConnection, open_engine
from scepd.store.reader import Reader
from tests.cli.conftest import initialise, scepd

FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"


@pytest.fixture(scope="module")
def behind(tmp_path_factory):
    """An installation whose store is older than its marks: nobody has started it since."""
    made = initialise(tmp_path_factory.mktemp("rc") / "var", "ec-p256")
    made.scepd("challenge", "new", "default")
    backup = made.directory.parent / "backup"
    made.scepd("backup", backup)
    digest = hashlib.sha256((backup / "manifest.json").read_bytes()).hexdigest()
    made.scepd("challenge", "new", "default", "--count", "3")
    made.scepd("challenge", "cancel", "2")
    old = made.directory / "state/old"
    old.mkdir()
    for path in (made.directory / "state").glob("scepd.sqlite*"):
        shutil.move(path, old / path.name)
    scepd("restore", "--yes", "--manifest", digest, backup)
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


@pytest.fixture(scope="module")
def ahead(tmp_path_factory):
    """An installation to which somebody did something while its clock was a year ahead."""
    made = initialise(tmp_path_factory.mktemp("ah") / "var", "ec-p256")
    later = {**os.environ, "LD_PRELOAD": FAKETIME, "FAKETIME": "+365d", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    made.scepd("challenge", "new", "default", env=later)
    return made


def test_S111_a_clock_that_ran_ahead_is_mended_by_a_person_who_vouches_for_the_time(ahead):
    checked = ahead.scepd("check", check=False)
    assert checked.returncode == 1
    assert "try: timedatectl; date -u; if that time is right: scepd recover --clock" in checked.stderr
    plan = ahead.scepd("recover", "--clock", "--plan").stdout
    assert "on record    acts of 1 audit chains that are later" in plan
    assert "n1/cli row" in plan
    unasked = ahead.scepd("recover", "--clock", check=False)  # nobody answers
    assert unasked.returncode == 1
    assert "UTC now?" in unasked.stderr
    assert ahead.scepd("check", check=False).returncode == 1
    assert "accepted" in ahead.scepd("recover", "--clock", "--yes").stdout
    assert ahead.scepd("check").returncode == 0
    assert "nothing on record speaks against it" in ahead.scepd("recover", "--clock", "--plan").stdout
    assert not json.loads(ahead.scepd("recover", "--clock", "--plan", "--json").stdout)["in_doubt"]
    (row,) = [row for row in json.loads(ahead.scepd("audit", "list", "--json").stdout) if row["action"] == "clock_accepted"]
    assert row["target"] == "clock n1"
    assert ahead.scepd("audit", "verify").returncode == 0
    assert ahead.scepd("fsck").returncode == 0


def belief(settings):
    connection = StoreConnection(open_engine(settings.store.url, settings.appliance.state))
    try:
        return Reader(connection).clock_belief(settings.appliance.node)
    finally:
        connection.close()


def test_S111_a_start_believes_the_clock_and_a_reload_does_not(ahead):
    settings = load_settings(ahead.config)
    _migrate(settings, Parcel(b""))
    first = belief(settings)
    assert abs(first.ahead(present(UtcClock()))) < first.uptime
    _migrate(settings, Parcel(b"", recover=False))  # a TLS certificate was renewed, say
    assert belief(settings) == first
    _migrate(settings, Parcel(b""))
    assert isinstance(belief(settings), Belief)
    assert belief(settings) != first

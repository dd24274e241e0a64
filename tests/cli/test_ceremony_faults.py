"""What stops a ceremony leaves it with one readable line, and on the audit trail: a token that lies, a store that fails."""

import sqlite3
import sys

import pytest

from tests.cli.conftest import initialise
from tests.cli.test_ceremonies import STOPPING, copy, run
from tests.faulty_token import SOFTHSM, Board, compile_module, surrounding

CREATE = ("ca", "create", "root-ca", "--subject", "CN=Root,O=Example", "--yes")


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    return initialise(tmp_path_factory.mktemp("template") / "var", "ec-p256")


@pytest.fixture
def site(template, tmp_path):
    return copy(template, tmp_path)


@pytest.fixture
def lying(site, tmp_path):
    """The same site with a module before SoftHSM that is told what to break."""
    module = compile_module(tmp_path)
    site.config.write_text(site.config.read_text().replace(SOFTHSM, str(module)))
    with surrounding(Board(tmp_path / "board")) as board:
        yield board


def ends(site):
    """The actions on the trail of ceremonies, with what was noted."""
    database = sqlite3.connect(site.directory / "state" / "scepd.sqlite")
    try:
        found = database.execute("SELECT action, details FROM audit WHERE action LIKE 'ceremony%' ORDER BY sequence")
        return list(found)
    finally:
        database.close()


def refused(site, *command):
    told = site.scepd(*command, check=False, cwd=site.directory)
    assert told.returncode == 1
    assert "Traceback" not in told.stderr
    (error,) = [line for line in told.stderr.splitlines() if line.startswith("error: ")]
    assert "\n  try: " in told.stderr
    return error


# Signatures in order: the probe of the audit key, that of the new CA key, the certificate, the record.
@pytest.mark.parametrize(
    ("command", "good"),
    [(CREATE, 2), (CREATE, 3), (("ca", "request", "sub-ca", "--subject", "CN=Sub", "--yes"), 2)],
)
def test_S110_a_token_that_lies_is_told_on_one_line_and_noted(site, lying, command, good):
    words = "C_Sign gave a signature that does not verify"
    lying.strike("Sign", "flip", skip=good)
    error = refused(site, *command)
    assert words in error
    assert lying.struck("Sign") == 1
    (_, (action, details)) = ends(site)
    assert action == "ceremony_failed"
    assert words in details
    assert not list((site.directory / "state" / "ceremonies").glob("2*.json"))  # no record
    if good == 2:
        assert not list(site.directory.glob("root-ca.*")) + list(site.directory.glob("sub-ca.*"))


def test_a_store_that_cannot_be_used_is_told_on_one_line(site):
    (site.directory / "state" / "scepd.sqlite").write_bytes(b"no database at all" * 99)
    assert "not possible now: store: " in refused(site, *CREATE)
    assert not (site.directory / "root-ca.pem").exists()


def test_a_file_that_was_changed_while_a_ceremony_was_interrupted_is_not_kept(site):
    command = ("ca", "rollover", "devices", "--from", "2030-01-01T00:00:00Z", "--yes", "--config", site.config)
    run(sys.executable, "-c", STOPPING, *command, check=False)
    ca = site.directory / "devices-2-ca.pem"
    text = ca.read_text()
    place = text.rindex("\n-----END") - 6
    ca.write_text(text[:place] + ("A" if text[place] != "A" else "B") + text[place + 1 :])
    (plan,) = (site.directory / "state" / "ceremonies").glob("unfinished-*.json")
    notes = plan.with_suffix(".made")
    notes.write_text(notes.read_text() + '"pkcs11:token=scepd;obj')  # the power went while this was written
    error = refused(site, "ca", "perform", plan, "--yes")
    assert "devices-2-ca.pem is not what this plan makes" in error
    ca.write_text(text)
    site.scepd("ca", "perform", plan, "--yes")

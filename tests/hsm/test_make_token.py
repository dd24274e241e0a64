"""softhsm/make_token.py: a token for development, made once, its PINs in files of our own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from scepd.hsm.listing import list_tokens
from scepd.hsm.module import load_module
from scepd.hsm.token import Token, TokenSettings
from scepd.records import Secret

from .tokens import SOFTHSM

ROOT = Path(__file__).parents[2]


def make(directory: Path, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "softhsm/make_token.py", str(directory), *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.usefixtures("prepared")
def test_S113_token_is_made_once_and_its_pin_stands_in_a_private_file(tmp_path, monkeypatch):
    for _ in range(2):
        made = make(tmp_path, "--label", "dev")
        assert made.returncode == 0, made.stderr
        assert made.stdout == f"SOFTHSM2_CONF={tmp_path}/softhsm2.conf\n"
    monkeypatch.setenv("SOFTHSM2_CONF", f"{tmp_path}/softhsm2.conf")
    module = load_module(SOFTHSM)
    assert [row.label for row in list_tokens(module)] == ["dev"]
    pin = tmp_path / "pin"
    assert pin.stat().st_mode & 0o077 == 0
    assert Token.open(module, TokenSettings(SOFTHSM, "dev"), Secret(pin.read_text().strip())).session().find({}) == []
    module.finalise()


def test_a_module_that_is_not_there_is_explained(tmp_path):
    made = make(tmp_path, "--module", "/nowhere/libsofthsm2.so")
    assert made.returncode == 78
    assert "not there" in made.stderr

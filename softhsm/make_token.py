#!/usr/bin/env python3
"""Make a SoftHSM2 token for development and tests: DIRECTORY/softhsm2.conf, DIRECTORY/tokens and DIRECTORY/pin."""

import argparse
import os
import secrets
import sys
from pathlib import Path

from scepd.hsm.module import load_module
from scepd.hsm.softhsm import MODULES, configuration, initialise_token
from scepd.hsm.token import TokenMissing, TokenSettings, find_token
from scepd.records import Secret
from scepd.refusal import OperatorError


def main() -> int:
    """Make what is missing and print the variable that SoftHSM reads."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--label", default="scepd", help="the token's label")
    parser.add_argument("--module", help="libsofthsm2.so, where it is not in the usual place")
    options = parser.parse_args()
    directory = options.directory.absolute()
    (directory / "tokens").mkdir(mode=0o700, parents=True, exist_ok=True)
    conf = directory / "softhsm2.conf"
    conf.write_text(configuration(directory / "tokens"))
    os.environ["SOFTHSM2_CONF"] = str(conf)
    try:
        make(options.module or _find_module(), options.label, directory)
    except OperatorError as error:
        print(error, file=sys.stderr)
        return 78
    print(f"SOFTHSM2_CONF={conf}")
    return 0


def make(path: str, label: str, directory: Path) -> None:
    """Make the token unless it is there; its PINs go to files that only we read, never to a command line."""
    module = load_module(path)
    try:
        find_token(module, TokenSettings(path, label))
    except TokenMissing:
        pin, so_pin = (_new_pin(directory / name) for name in ("pin", "so-pin"))
        initialise_token(module, label, pin=pin, so_pin=so_pin)
    finally:
        module.finalise()


def _new_pin(path: Path) -> Secret:
    """Return the PIN in the file, written now where there is none."""
    if not path.exists():
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(8) + "\n")
    return Secret(path.read_text().strip())


def _find_module() -> str:
    found = next((path for path in MODULES if path.is_file()), None)
    if found is None:
        raise OperatorError("SoftHSM2 is not installed", "apt install softhsm2")
    return str(found)


if __name__ == "__main__":
    sys.exit(main())

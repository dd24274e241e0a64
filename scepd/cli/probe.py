"""The token's self-test in a child process of the command line: a module that crashes takes only the child with it."""

import base64
import json
import os
import subprocess
import sys
from typing import Any

import click

from scepd.app.gateway import pin_memory, token_settings
from scepd.app.keys import key_checks
from scepd.challenge.digest import load_store_key
from scepd.config.hsm_settings import HsmSettings
from scepd.config.pin import ask_pin, read_pin
from scepd.config.settings import Premises, Settings, dump, restore
from scepd.hsm.pin import PinMemory
from scepd.hsm.probe import Report, self_test
from scepd.records import Secret
from scepd.refusal import OperatorError

_PATIENCE = 120  # seconds; a network HSM may be slow to open


def probe(settings: Settings) -> dict[str, Any]:
    """Return the report of the self-test as `hsm.probe.Report.to_json` writes it; asks for the PIN where it must."""
    pin = obtain_pin(settings.hsm)
    parcel = {"settings": base64.b64encode(dump(settings)).decode("ascii"), "pin": pin.reveal()}
    try:
        child = subprocess.run(
            [sys.executable, "-P", "-m", "scepd.cli.probe"],
            input=json.dumps(parcel).encode(),  # by pipe: arguments and environment can be seen by others
            stdout=subprocess.PIPE,
            timeout=_PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise OperatorError(
            f"the module {settings.hsm.module} did not answer in {_PATIENCE} s", "is the HSM reachable?"
        ) from error
    if child.returncode != 0:
        raise OperatorError(
            f"the module {settings.hsm.module} ended the self-test with status {child.returncode}",
            f"pkcs11-tool --module {settings.hsm.module} --list-token-slots",
        )
    report: dict[str, Any] = json.loads(child.stdout)
    return report


def obtain_pin(hsm: HsmSettings) -> Secret:
    """Return the PIN from where the configuration says; a person is asked at a terminal only."""
    return read_pin(hsm.pin, ask_pin(hsm.pin, lambda part: _ask(f"{hsm.token}, {part}" if part else hsm.token)))


def memory_of(settings: Settings | Premises) -> PinMemory:
    """Return the memory of failed logins that the service uses too, so that no bad PIN is tried twice."""
    return pin_memory(settings.appliance.state, load_store_key(settings.store.key_file))


def _ask(token: str) -> str:
    if not sys.stdin.isatty():
        raise OperatorError("the configuration wants the PIN typed, and this is no terminal", "run it in a terminal")
    answer: str = click.prompt(f"PIN of token {token}", hide_input=True, err=True)
    return answer


def _self_test(settings: Settings, pin: Secret) -> Report:
    keys = key_checks(settings.issuers, settings.audit)
    return self_test(token_settings(settings.hsm), pin, keys, memory=memory_of(settings), lanes=settings.hsm.lanes)


def _main() -> None:
    parcel = json.loads(sys.stdin.buffer.read())
    settings = restore(base64.b64decode(parcel["settings"]))
    os.environ.update(settings.hsm.variables)
    sys.stdout.write(_self_test(settings, Secret(parcel["pin"])).to_json())


if __name__ == "__main__":
    _main()

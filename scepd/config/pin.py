"""The PIN: one secret, or parts that several persons or places keep, joined in memory when somebody logs in."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from scepd.config.files import read_private
from scepd.config.hsm_settings import PinPart, PinReference
from scepd.config.secret import (
    SecretReference,
    Source,
    Surroundings,
    locate,
    read_reference,
    refuse_environment,
    to_text,
)
from scepd.problems import Refused
from scepd.records import Secret
from scepd.refusal import OperatorError

_MOST_PARTS = 4
_LONGEST_PIN = 255  # octets
_FORM = 'pin = [{ credential = "hsm-pin-1" }, { prompt = true }]'


def read_pin_references(raw: object) -> tuple[SecretReference, ...]:
    """Return where the parts of the PIN are: of one reference one, of an array all in its order."""
    if not isinstance(raw, list):
        return (read_reference(raw),)
    if not 1 < len(raw) <= _MOST_PARTS:
        raise Refused(f"an array of parts has 2 to {_MOST_PARTS}", f"write {_FORM}")
    parts = tuple(read_reference(part) for part in raw)
    kept = [part for part in parts if part.source != "prompt"]
    if len(set(kept)) != len(kept):
        raise Refused("two parts come from one place: that is one keeper", f"write {_FORM}")
    return parts


def refer_to_pin(references: tuple[SecretReference, ...], surroundings: Surroundings) -> PinReference:
    """Return where the PIN is; its parts are read once to see that they are there, and forgotten."""
    pin = PinReference(tuple(_refer(reference, surroundings) for reference in references))
    if len(set(pin.paths)) != len(pin.paths):
        raise Refused("two parts come from one file: that is one keeper", f"write {_FORM}")
    return pin


def ask_pin(pin: PinReference, ask: Callable[[str], str]) -> tuple[Secret, ...]:
    """Ask for the parts that persons type; `ask` is told which, "" or "part 2 of 3"."""
    places = enumerate(pin.parts, 1)
    words = {number: f"part {number} of {len(pin.parts)}" if len(pin.parts) > 1 else "" for number, _ in places}
    return tuple(Secret(ask(words[number])) for number, part in enumerate(pin.parts, 1) if part.source == "prompt")


def read_pin(pin: PinReference, asked: tuple[Secret, ...] = ()) -> Secret:
    """Return the whole PIN; `asked` is what persons typed, in order. Raises OperatorError where it cannot be had."""
    typed = iter(asked)
    try:
        parts = [
            _check(next(typed, Secret(""))) if part.path is None else _read_file(part.path, part.source)
            for part in pin.parts
        ]
        return _check(Secret("".join(part.reveal() for part in parts)))
    except Refused as refused:
        raise OperatorError(f"PIN: {refused.reason}", refused.hint) from None


def _refer(reference: SecretReference, surroundings: Surroundings) -> PinPart:
    refuse_environment(reference, "a PIN")
    if reference.source == "prompt":
        return PinPart("prompt")
    source: Literal["credential", "file"] = "file" if reference.source == "file" else "credential"
    path = locate(reference, surroundings)
    _read_file(path, source)
    return PinPart(source, path)


def _read_file(path: Path, source: Source) -> Secret:
    return _check(to_text(read_private(path, modes=source == "file")))


def _check(pin: Secret) -> Secret:
    if not pin:
        raise Refused("the PIN is empty", "put the PIN alone on one line; a prompt needs a terminal")
    if len(pin.reveal().encode()) > _LONGEST_PIN:
        raise Refused("the PIN is too long", "put the PIN alone on one line")
    if not pin.reveal().isprintable():
        raise Refused("the PIN has control characters", "put the PIN alone on one line")
    return pin

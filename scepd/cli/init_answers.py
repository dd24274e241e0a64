"""What the first run must know: from flags, from a TOML file, from the person at the terminal, else by default."""

import json
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs
import click

from scepd.config.scalars import read_address, read_name, read_text, read_url
from scepd.config.variables import read_assignment
from scepd.hsm.softhsm import MODULES
from scepd.problems import Refused
from scepd.refusal import OperatorError
from scepd.x509.names import from_text

CA_KEYS = ("rsa-3072", "rsa-4096", "rsa-2048", "ec-p256", "ec-p384", "ec-p521")
_LONGEST_LIFE = 50  # years


@attrs.frozen(kw_only=True)
class Answers:
    """Everything that the first run decides; `pin_file` None = a SoftHSM token of our own is made."""

    name: str = "scepd"
    ca_name: str = "CN=scepd Devices CA"
    ca_key: str = "rsa-3072"
    ca_years: int = 10
    module: str = ""
    token: str = "scepd"  # noqa: S105 - a label
    pin_file: str | None = None
    environment: tuple[str, ...] = ()  # NAME=VALUE, what the module reads
    http: tuple[str, ...] = ()
    https: tuple[str, ...] = ("0.0.0.0:443",)
    public_url: str | None = None
    profile: str = "default"
    workers: int | None = None

    @property
    def variables(self) -> dict[str, str]:
        """What the module reads to find its token."""
        return dict(read_assignment(one) for one in self.environment)

    def to_json(self) -> bytes:
        """Return the answers as they are kept while the first run is not finished."""
        return json.dumps(attrs.asdict(self), indent=2).encode() + b"\n"

    @classmethod
    def from_mapping(cls, raw: Mapping[str, Any], where: str) -> "Answers":
        """Return checked answers; raises `OperatorError` for an unknown key or an unfit value."""
        known = attrs.fields_dict(cls)
        unknown = sorted(set(raw) - set(known))
        if unknown:
            raise OperatorError(f"{where}: {unknown[0]!r} is no question of init", f"known: {', '.join(known)}")
        values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in raw.items()}
        answers = cls(**values)
        for key, reader in _READERS.items():
            _check(where, key, getattr(answers, key), reader)
        return answers


def read_answers(path: Path) -> dict[str, Any]:
    """Return the table of an answers file; raises `OperatorError`."""
    try:
        return tomllib.loads(path.read_text())
    except OSError as error:
        raise OperatorError(f"{path} cannot be read: {error.strerror}", "--answers FILE.toml") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise OperatorError(f"{path} is no TOML: {error}", 'name = "Example Networks PKI"') from error


def default_module() -> str:
    """Return where SoftHSM is on this machine; empty when it is not."""
    return next((str(path) for path in MODULES if path.is_file()), "")


def ask_the_rest(known: Mapping[str, Any]) -> dict[str, Any]:
    """Ask the person at the terminal for what is not known yet; every question has a default."""
    answers = dict(known)

    def ask(key: str, question: str, default: Any, **options: Any) -> None:
        if key not in answers:
            answers[key] = click.prompt(question, default=default, err=True, **options)

    ask("name", " 1/5 Name of this installation", "scepd")
    ask("module", " 2/5 PKCS#11 module", default_module() or "/usr/lib/softhsm/libsofthsm2.so")
    ask("token", "     token (made, if the module is SoftHSM)", "scepd")
    if "softhsm" not in answers["module"]:
        ask("pin_file", "     file with the token's PIN", "/etc/scepd/hsm-pin")
    ask("ca_name", " 3/5 Name of the CA", f"CN={answers['name']} Devices CA")
    ask("ca_key", "     its key", "rsa-3072", type=click.Choice(CA_KEYS))
    ask("ca_years", "     valid for years", 10, type=click.IntRange(1, _LONGEST_LIFE))
    _ask_addresses(answers, "https", " 4/5 https on", "0.0.0.0:443")
    _ask_addresses(answers, "http", "     plain http on (old routers need it; empty: off)", "")
    ask("profile", " 5/5 First profile (one-time challenges)", "default")
    return answers


def _ask_addresses(answers: dict[str, Any], key: str, question: str, default: str) -> None:
    if key not in answers:
        text = click.prompt(question, default=default, show_default=bool(default), err=True)
        answers[key] = tuple(part.strip() for part in text.split(",") if part.strip())


def _check(where: str, key: str, value: Any, reader: Callable[[Any], object]) -> None:
    try:
        reader(value)
    except Refused as refused:
        raise OperatorError(f"{where}: {key}: {refused.reason}", refused.hint) from refused
    except OperatorError as error:
        raise OperatorError(f"{where}: {key}: {error.problem}", error.hint) from error


def _read_ca_name(value: object) -> object:
    name = from_text(read_text(value))
    if not name:
        raise Refused("is empty", 'ca_name = "CN=Example Devices CA,O=Example"')
    return name


def _one_of_keys(value: object) -> object:
    if value not in CA_KEYS:
        raise Refused(f"{value!r} is no key that init makes", f"one of {', '.join(CA_KEYS)}")
    return value


def _whole(low: int, high: int) -> Callable[[Any], object]:
    def read(value: Any) -> object:
        if value is None or (isinstance(value, int) and not isinstance(value, bool) and low <= value <= high):
            return value
        raise Refused(f"{value!r} is out of bounds", f"a number from {low} to {high}")

    return read


def _optional(reader: Callable[[object], object]) -> Callable[[Any], object]:
    return lambda value: None if value is None else reader(value)


def _addresses(value: Any) -> object:
    if not isinstance(value, tuple):
        raise Refused("is no list", '["127.0.0.1:8080"]')
    return [read_address(one) for one in value]


def _assignments(value: Any) -> object:
    if not isinstance(value, tuple):
        raise Refused("is no list", '["P11_KIT_SERVER_ADDRESS=unix:path=/run/hsm/pkcs11"]')
    return [read_assignment(one) for one in value]


_READERS: dict[str, Callable[[Any], object]] = {
    "name": read_text,
    "ca_name": _read_ca_name,
    "ca_key": _one_of_keys,
    "ca_years": _whole(1, _LONGEST_LIFE),
    "module": read_text,
    "token": read_text,
    "pin_file": _optional(read_text),
    "environment": _assignments,
    "http": _addresses,
    "https": _addresses,
    "public_url": _optional(read_url),
    "profile": read_name,
    "workers": _whole(0, 256),
}

"""Secrets stand in the configuration as references; the values come from credentials, files, environment or a person."""

import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Literal

import attrs

from scepd.config.files import read_private
from scepd.problems import Refused, suggest
from scepd.records import Secret

Source = Literal["credential", "file", "env", "prompt"]

_FORMS = {
    "credential": '{ credential = "hsm-pin" }',
    "file": '{ file = "/etc/scepd/hsm-pin" }',
    "env": '{ env = "SCEPD_CHALLENGE" }',
    "prompt": "{ prompt = true }",
}


@attrs.frozen
class SecretReference:
    """Where a secret is: a systemd credential's name, a file's path, a variable's name, or a person (name empty)."""

    source: Source
    name: str = ""


@attrs.frozen
class Surroundings:
    """What a configuration is judged against: its directory, the environment, the time, the machine's cores.

    `credentials` is where systemd puts the running service's credentials; a process that systemd started is told so.
    `named` and `secrets` collect what the configuration names, for a backup: files and directories, and secret files.
    """

    directory: Path
    environ: Mapping[str, str] = attrs.field(repr=False)  # it may hold a static challenge
    now: datetime
    cores: int = 1
    credentials: Path = Path("/run/credentials/scepd.service")
    named: list[Path] = attrs.field(factory=list, eq=False, repr=False)
    secrets: list[Path] = attrs.field(factory=list, eq=False, repr=False)

    def resolve(self, text: str) -> Path:
        """Return a path as an absolute one: relative paths begin at the configuration file's directory."""
        self.named.append(self.directory / text)
        return self.named[-1]


def read_reference(raw: object) -> SecretReference:
    """Return a secret reference; a secret written in its place is refused and not repeated."""
    forms = " or ".join(_FORMS.values())
    if not isinstance(raw, dict):
        raise Refused("must say where the secret is; the secret itself is never written here", f"write {forms}")
    unknown = [key for key in raw if key not in _FORMS]
    if unknown:
        raise Refused(f"{unknown[0]!r} is no source of secrets", suggest(unknown[0], _FORMS))
    if len(raw) != 1:
        raise Refused("must name exactly one source", f"write {forms}")
    source, value = next(iter(raw.items()))
    if source == "prompt":
        if value is not True:
            raise Refused("prompt can only be true", f"write {_FORMS['prompt']}")
        return SecretReference("prompt")
    if not isinstance(value, str) or not value or not value.isprintable():
        raise Refused(f"{source} must be followed by a name", f"write {_FORMS[source]}")
    if source == "credential" and not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", value.lstrip(".")):
        raise Refused("a credential's name has no slash", f"write {_FORMS['credential']}")
    return SecretReference(source, value)


def locate(reference: SecretReference, surroundings: Surroundings) -> Path:
    """Return the file of a credential or file reference, as an absolute path."""
    path = _locate(reference, surroundings)
    surroundings.secrets.append(path)
    return path


def _locate(reference: SecretReference, surroundings: Surroundings) -> Path:
    if reference.source == "file":
        return surroundings.directory / reference.name
    directory = surroundings.environ.get("CREDENTIALS_DIRECTORY")
    if directory:
        return Path(directory) / reference.name
    # A command that root types beside the running service sees what the service sees.
    path = surroundings.credentials / reference.name
    if not path.exists():
        raise Refused(
            f"no credential {reference.name!r}: this process was not started by systemd, and {path} is not there",
            f"LoadCredential={reference.name}:FILE in scepd.service; by hand: sudo scepd check, while it runs",
        )
    return path


def refuse_environment(reference: SecretReference, what: str) -> None:
    """Refuse what must not stand in the environment, which children inherit and /proc/PID/environ shows."""
    if reference.source == "env":
        raise Refused(f"{what} is not taken from the environment", f"write {_FORMS['credential']} or {_FORMS['file']}")


def read_octets(reference: SecretReference, surroundings: Surroundings) -> bytes:
    """Return the octets that a reference names; a prompt has none."""
    if reference.source == "env":
        value = surroundings.environ.get(reference.name)
        if not value:
            raise Refused(f"the environment has no {reference.name}", f"Environment={reference.name}=... in the unit")
        return value.encode("utf-8", "surrogateescape")
    if reference.source == "prompt":
        raise Refused("a person cannot be asked for this secret", f"write {_FORMS['credential']} or {_FORMS['file']}")
    return read_private(locate(reference, surroundings), modes=reference.source == "file")


def read_secret(reference: SecretReference, surroundings: Surroundings) -> Secret:
    """Return the text that a reference names, without the line end that editors add."""
    return to_text(read_octets(reference, surroundings))


def to_text(octets: bytes) -> Secret:
    """Return octets as a secret text, without the line end that editors add; raises `Refused`."""
    try:
        text = octets.decode("utf-8")
    except UnicodeDecodeError:
        raise Refused("the secret is not UTF-8 text", "write it as one line of text") from None
    text = text.removesuffix("\n").removesuffix("\r")
    if not text:
        raise Refused("the secret is empty", "write it as one line of text")
    return Secret(text)

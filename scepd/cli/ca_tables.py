"""The lines of an issuer in the operator's configuration: written, shown, and put into the file on wish.

The file is the operator's: comments, order and spelling stay. A line is only ever inserted or replaced where the
result, read as TOML, says exactly what is meant; otherwise the lines are for the operator to paste.
"""

import os
import re
import tomllib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs

from scepd.ca.performance import read_certificate
from scepd.cli.ca_keys import Made
from scepd.cli.files import create
from scepd.cli.init_layout import quoted
from scepd.config.issuer_settings import CrlSettings, IssuerSettings, OcspSettings
from scepd.config.load import load
from scepd.refusal import OperatorError
from scepd.x509.certificate import Locations

_UNITS = ((86_400, "d"), (3_600, "h"), (60, "m"), (1, "s"))


def find_table(config: Path, issuer: str) -> tuple[Path, dict[str, Any]]:
    """Return the file that has [issuer.NAME], the configuration or one that it includes, and that table."""
    for path in _files(config):
        table = tomllib.loads(path.read_text()).get("issuer", {}).get(issuer)
        if table is not None:
            return path, table
    raise OperatorError(f"there is no [issuer.{issuer}] in {config}", "scepd ca show")


def is_own_ra(table: Mapping[str, Any], kind: str) -> bool:
    """Return whether the CA key of an issuer's table decrypts as well: of a CA that is its own RA."""
    return table.get("insecurely_ca_is_ra") is True and kind.startswith("rsa:")


def issuer_of(config: Path, certificate: Path) -> str | None:
    """Return the issuer of the configuration that has this very certificate, None where there is none.

    A configuration that cannot be read has none: a plan needs no configuration, and what carries it out says so.
    """
    wanted = read_certificate(certificate)
    try:
        tables = [tomllib.loads(path.read_text()).get("issuer", {}) for path in _files(config)]
    except (OSError, ValueError):
        return None
    for name, table in (pair for issuers in tables for pair in issuers.items()):
        own = table.get("certificate")
        if isinstance(own, str) and _holds(config.parent / own, wanted):
            return str(name)
    return None


def _holds(file: Path, wanted: bytes) -> bool:
    try:
        return read_certificate(file) == wanted
    except OperatorError:  # of another issuer, which is not what this is about
        return False


def _files(config: Path) -> list[Path]:
    included = tomllib.loads(config.read_text()).get("include", ())
    return [config, *sorted(path for pattern in included for path in config.parent.glob(pattern))]


def issuer_table(name: str, made: Mapping[str, Made], model: IssuerSettings) -> dict[str, Any]:
    """Return the table of a new issuer that publishes as its model does, under its own name."""
    table: dict[str, Any] = {"key": made[""].uri, "certificate": str(made[""].certificate)}
    table |= {word: pair(one) for word, one in made.items() if word}
    if model.ca_is_ra:
        table["insecurely_ca_is_ra"] = True
    if model.crl is None:
        table["crl"] = False
    elif model.crl != CrlSettings():
        table["crl"] = {"valid": duration(model.crl.valid), "every": duration(model.crl.every)}
        if model.crl.shard_size != CrlSettings().shard_size:
            table["crl"]["shard_size"] = model.crl.shard_size
    if "ocsp" in table:
        table["ocsp"] |= ocsp_terms(model.ocsp)
    table |= {word: list(urls) for word, urls in attrs.asdict(locations_as(name, model)).items() if urls}
    return table


def locations_as(name: str, model: IssuerSettings) -> Locations:
    """Return the locations of an issuer that publishes as its model does, under its own name."""
    # In the path alone: the host may be called like the issuer.
    own_name = re.compile(rf"(?<=[^/:]/){re.escape(model.name)}(?=\.|/|$)")
    found = attrs.asdict(model.locations)
    return Locations(**{word: tuple(own_name.sub(name, url) for url in urls) for word, urls in found.items()})


def ocsp_terms(ocsp: OcspSettings | None) -> dict[str, str]:
    """Return how long answers and certificates of an OCSP key hold, where that is not what is usual."""
    words = ("valid", "cache", "certificate_valid")
    usual = attrs.fields_dict(OcspSettings)
    found = {} if ocsp is None else {word: getattr(ocsp, word) for word in words}
    return {word: duration(span) for word, span in found.items() if span != usual[word].default}


def pair(made: Made) -> dict[str, str]:
    """Return a key and its certificate as the configuration names them."""
    return {"key": made.uri, "certificate": str(made.certificate)}


def duration(span: timedelta) -> str:
    """Return a duration as the configuration spells it."""
    seconds = round(span.total_seconds())
    size, unit = next((size, unit) for size, unit in _UNITS if seconds % size == 0)
    return f"{seconds // size}{unit}"


def lines(table: Mapping[str, Any]) -> list[str]:
    """Return a table's lines."""
    return [f"{word} = {value(one)}" for word, one in table.items()]


def value(one: Any) -> str:
    """Return a value as TOML on one line."""
    match one:
        case bool():
            return "true" if one else "false"
        case int():
            return str(one)
        case datetime():
            return f"{one.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
        case Mapping():
            return "{ " + ", ".join(f"{word} = {value(part)}" for word, part in one.items()) + " }"
        case list():
            return "[" + ", ".join(value(part) for part in one) + "]"
        case _:
            return quoted(one)


def with_table(text: str, name: str, table: Mapping[str, Any]) -> str:
    """Return the text with a new [issuer.NAME] at its end."""
    return "\n".join([text.rstrip("\n"), "", f"[issuer.{name}]", *lines(table), ""])


def with_keys(text: str, issuer: str, keys: Mapping[str, Any]) -> str:
    """Return the text with those keys of [issuer.NAME] set: lines of the same keys go, the new follow the header."""
    name = re.escape(issuer)
    header = re.compile(
        rf"""^[ \t]*\[[ \t]*issuer[ \t]*\.[ \t]*(?:{name}|"{name}"|'{name}')[ \t]*\][^\n]*\n""", re.MULTILINE
    )
    found = header.search(text)
    if found is None:
        return text
    head, body = text[: found.end()], text[found.end() :]
    following = re.search(r"^[ \t]*\[", body, re.MULTILINE)
    end = len(body) if following is None else following.start()
    own, rest = body[:end], body[end:]
    for word in keys:
        own = re.sub(rf"^[ \t]*{word}[ \t]*=[^\n]*\n", "", own, flags=re.MULTILINE)
    return head + "".join(f"{line}\n" for line in lines(keys)) + own + rest


def rewrite(path: Path, change: Callable[[str], str], mean: Callable[[dict[str, Any]], None], config: Path) -> None:
    """Change a file of the configuration in one step, once the whole is proven to load.

    `change` edits the text, `mean` the same in the parsed tables. Raises `OperatorError` where the two differ, since
    the file is then written in a way that only its author should edit.
    """
    old = path.read_text()
    new, meant = change(old), tomllib.loads(old)
    mean(meant)
    try:
        same = tomllib.loads(new) == meant
    except tomllib.TOMLDecodeError:
        same = False
    if not same:
        raise OperatorError(f"{path} is not written line by line; nothing was changed in it", "paste the lines above")
    _replace(path, new, config)


def _replace(path: Path, text: str, config: Path) -> None:
    passing, status = path.with_name(f".{path.name}.new"), path.stat()
    passing.unlink(missing_ok=True)
    owner = (status.st_uid, status.st_gid) if os.geteuid() == 0 else None
    create(passing, text.encode(), status.st_mode & 0o777, owner)
    try:
        if path == config:
            load(passing)
        passing.replace(path)
    finally:
        passing.unlink(missing_ok=True)

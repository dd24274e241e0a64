"""Options and readers that the `scepd ca` commands share."""

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import attrs
import click

from scepd.cli.ceremony import Manner
from scepd.cli.configured import load_token
from scepd.config.scalars import read_duration, read_instant, read_url
from scepd.hsm.uri import KeyName, parse_uri
from scepd.problems import Refused
from scepd.refusal import OperatorError
from scepd.x509.certificate import Locations

Command = TypeVar("Command", bound=Callable[..., Any])


def as_duration(_ctx: click.Context, _option: click.Parameter, text: str) -> timedelta:
    """Read a duration such as 90d or 10y, for click."""
    try:
        return read_duration(text)
    except Refused as refused:
        raise click.BadParameter(f"{refused.reason}; {refused.hint}") from None


def as_instant(_ctx: click.Context, _option: click.Parameter, text: str) -> datetime:
    """Read a moment such as 2031-03-01T06:00:00Z, for click."""
    try:
        return read_instant(datetime.fromisoformat(text))
    except (ValueError, Refused):
        raise click.BadParameter(f"{text!r} is no moment such as 2031-03-01T06:00:00Z") from None


def file_option(word: str, *, help: str, required: bool = False) -> Callable[[Command], Command]:  # noqa: A002 - click's word
    """Return an option that takes a path, made absolute: a plan may be carried out from elsewhere."""
    return click.option(word, callback=_absolute, required=required, help=help)


def _absolute(_ctx: click.Context, _option: click.Parameter, text: str | None) -> str | None:
    if text is None:
        return None
    path = Path(text).absolute()
    return str(path.resolve() if ".." in path.parts else path)


def location_options(command: Command) -> Command:
    """Give a command the options that say where the signer publishes, which `locations_of` takes out again."""
    options = (
        click.option("--crl-url", "crl_urls", multiple=True, callback=_as_urls, help="Where the signer's CRL is."),
        click.option("--ocsp-url", "ocsp_urls", multiple=True, callback=_as_urls, help="Where OCSP answers for it."),
        click.option(
            "--aia-url", "issuer_urls", multiple=True, callback=_as_urls, help="Where the signer's certificate is."
        ),
        click.option("--no-urls", is_flag=True, help="Write none of them, whatever the configuration says."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def _as_urls(_ctx: click.Context, _option: click.Parameter, texts: tuple[str, ...]) -> tuple[str, ...]:
    try:
        return tuple(read_url(text) for text in texts)
    except Refused as refused:
        raise click.BadParameter(f"{refused.reason}; {refused.hint}") from None


def locations_of(wishes: dict[str, Any], configured: Locations) -> Locations:
    """Take the options of `location_options` out of a command's arguments; what is not given is as configured."""
    none = wishes.pop("no_urls")
    given = {word: wishes.pop(word) for word in attrs.fields_dict(Locations)}
    if none and any(given.values()):
        raise OperatorError("URLs are given, and none are to be written", "one or the other")
    return Locations() if none else attrs.evolve(configured, **{word: urls for word, urls in given.items() if urls})


def read_pem(file: Path) -> str:
    """Return the text of a PEM file. Raises `OperatorError`."""
    try:
        return file.read_text("ascii")
    except OSError as error:
        raise OperatorError(f"{file} cannot be read: {error.strerror}", f"ls -l {file}") from error
    except ValueError as error:
        raise OperatorError(f"{file} is no PEM file", f"openssl req -inform DER -in {file} -out {file}.pem") from error


def key_uri(name: str, manner: Manner) -> str:
    """Return the URI of a key that was given by its label, or as a URI already. Raises `OperatorError`."""
    if name.startswith("pkcs11:"):
        return str(parse_uri(name))
    return str(KeyName(label=name, token=load_token(manner.config).hsm.token))

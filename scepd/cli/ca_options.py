"""Options and readers that the `scepd ca` commands share."""

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import click

from scepd.cli.ceremony import Manner
from scepd.cli.configured import load_token
from scepd.config.problems import Refused
from scepd.config.scalars import read_duration, read_instant
from scepd.hsm.uri import KeyName, parse_uri

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


def key_uri(name: str, manner: Manner) -> str:
    """Return the URI of a key that was given by its label, or as a URI already. Raises `OperatorError`."""
    if name.startswith("pkcs11:"):
        return str(parse_uri(name))
    return str(KeyName(label=name, token=load_token(manner.config).hsm.token))

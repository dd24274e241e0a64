"""Spans of time as people write them on the command line."""

import re
from datetime import timedelta

import click

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def read_duration(text: str) -> timedelta:
    """Return the span in a text such as 30m, 24h or 7d; raises `click.BadParameter` for --valid."""
    match = re.fullmatch(r"([0-9]{1,6})([smhdw])", text)
    if match is None:
        raise click.BadParameter(f"{text!r} is no duration; write 30m, 24h or 7d", param_hint="--valid")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})

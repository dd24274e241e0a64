"""How the command line speaks: tables, JSON, and errors in three parts (what, where, try)."""

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any

import click

FAILED = 1
MISCONFIGURED = 78  # EX_CONFIG: systemd's RestartPreventExitStatus


class Failure(click.ClickException):
    """A command failed: what is wrong, where, and what to try; leaves with `exit_code`."""

    def __init__(self, what: str, *, where: str = "", hint: str = "", exit_code: int = FAILED) -> None:
        """Keep the three parts; `where` and `hint` may be empty."""
        super().__init__(what)
        self.where = where
        self.hint = hint
        self.exit_code = exit_code  # type: ignore[misc]  # click documents it as an attribute, typed for classes

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the three parts on standard error."""
        click.echo(three_parts(self.message, self.where, self.hint), file=file, err=True)


def three_parts(what: str, where: str = "", hint: str = "") -> str:
    """Return the words of an error: what, where, try; empty parts are left out."""
    lines = [f"error: {what}"]
    if where:
        lines.append(f"   at: {where}")
    if hint:
        lines.append(f"  try: {hint}")
    return "\n".join(lines)


def say_done(line: str, *, err: bool = False) -> None:
    """Print what was done already: a reader that went away (`| head`) must not keep the rest from being done."""
    try:
        click.echo(line, err=err)
    except BrokenPipeError:
        nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        os.dup2(nowhere, (sys.stderr if err else sys.stdout).fileno())
        os.close(nowhere)


def show_rows(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], *, as_json: bool, empty: str) -> None:
    """Print a list: JSON with every field, or a table of the named columns; `empty` says that there is nothing."""
    if as_json:
        show_json(list(rows))
        return
    if not rows:
        click.echo(empty, err=True)
        return
    table = [[column.upper().replace("_", " ") for column in columns]]
    table.extend([_cell(row.get(column)) for column in columns] for row in rows)
    widths = [max(len(line[index]) for line in table) for index in range(len(columns))]
    for line in table:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def show_fields(fields: Mapping[str, Any], *, as_json: bool) -> None:
    """Print one thing: JSON, or a line per field that has a value; a table within it has a line per field of its own."""
    if as_json:
        show_json(fields)
        return
    fields = dict(_flat(fields))
    width = max((len(name) for name in fields), default=0)
    for name, value in fields.items():
        if value not in (None, "", [], ()):
            click.echo(f"{name.replace('_', ' ').ljust(width)}  {_cell(value)}")


def _flat(fields: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in fields.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{name} ")
        elif isinstance(value, list) and any(isinstance(part, Mapping) for part in value):
            yield from _flat({str(number): part for number, part in enumerate(value, 1)}, f"{before}{name} ")
        else:
            yield f"{before}{name}", value


def show_json(value: Any) -> None:
    """Print JSON for programs."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def _cell(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "-", True: "yes", False: "no"}[value]
    text = ", ".join(str(part) for part in value) if isinstance(value, list | tuple) else str(value)
    return printable(text)


def printable(text: str) -> str:
    """Return a text that cannot steer the terminal, whatever a device had put into it."""
    return "".join(character if character.isprintable() else "?" for character in text)

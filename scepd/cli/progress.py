"""How far a long command has come: a bar at a terminal, nothing in a log."""

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

import click

T = TypeVar("T")

_EVERY = 500  # steps between two updates of the bar


def with_progress(things: Iterable[T], total: int, label: str) -> Iterator[T]:
    """Yield the things, and show how many of `total` are done."""
    if not sys.stderr.isatty():
        yield from things
        return
    with click.progressbar(length=total, label=label, file=sys.stderr) as bar:
        count = 0
        for thing in things:
            yield thing
            count += 1
            if count % _EVERY == 0:
                bar.update(_EVERY)
        bar.update(count % _EVERY)

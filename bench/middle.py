"""Several runs of the same, by turns with others, as one: a machine that is slower for some seconds spoils one of them."""

import statistics
from collections.abc import Sequence
from typing import Any

TURNS = 3


def middle(runs: Sequence[Any]) -> Any:
    """Return the median of each figure of runs that have the same ones, in dictionaries within dictionaries."""
    first = runs[0]
    if isinstance(first, dict):
        return {name: middle([run[name] for run in runs]) for name in first}
    return statistics.median(runs)

"""What the benchmarks say while they run, and how they end when something is broken."""

import sys
import time

_BEGUN = time.monotonic()


class Broken(Exception):  # noqa: N818 - what happened
    """There is nothing to measure: a refusal, a server that died, a reply that does not verify."""


def say(text: str) -> None:
    """Show progress on standard error."""
    print(f"[{time.monotonic() - _BEGUN:6.1f} s] {text}", file=sys.stderr, flush=True)

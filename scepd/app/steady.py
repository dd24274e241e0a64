"""A reactor that measures time with a clock that nobody sets."""

import time
from typing import Any


def steady(reactor: Any) -> Any:
    """Let a reactor count its timers by the monotonic clock; returns it.

    Twisted takes the wall clock: when that is set forward (NTP, a clock that was wrong at boot) every timer is due at
    once, and each child that was heard a moment ago seems silent for years (threats S-111). To be called before the
    first timer is set.
    """
    reactor.seconds = time.monotonic
    return reactor

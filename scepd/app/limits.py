"""The limits of the configuration as the web room takes them: one worker's share of each."""

import time

from scepd.config.settings import LimitSettings
from scepd.web.failures import FailureLimits
from scepd.web.gcra import RateLimit
from scepd.web.limits import HttpLimits
from scepd.web.standing import Standings

_FEW_FAILURES = 3  # a minute


def http_limits(limits: LimitSettings) -> HttpLimits:
    """Return the bounds of the HTTP rim as the configuration says them."""
    return HttpLimits(
        body=limits.body,
        request_line=limits.request_line,
        header_fields=limits.header_bytes,
        header_count=limits.header_lines,
        idle=limits.idle_seconds,
        head=limits.header_seconds,
        content=limits.body_seconds,
        write=limits.write_seconds,
    )


def rate_limit(limits: LimitSettings, workers: int) -> RateLimit | None:
    """Return the limit of one worker's share of the requests, None for no limit."""
    if not limits.requests_per_network:
        return None
    return RateLimit(limits.requests_per_network / (workers or 1), clock=time.monotonic_ns)


def failure_limits(limits: LimitSettings, workers: int) -> FailureLimits:
    """Return the limits of one worker's share of the refused challenges."""
    return FailureLimits(
        per_network=_share(limits.failures_per_network, workers),
        per_profile=_share(limits.failures_per_profile, workers),
        per_key=_share(limits.failures_per_key, workers),
        clock=time.monotonic_ns,
    )


def _share(rate: int, workers: int) -> float:
    """Return one worker's share, but a few at least: who mistyped a challenge tries again at once, whichever worker hears."""
    return max(rate / (workers or 1), min(rate, _FEW_FAILURES))


def standings_of(limits: LimitSettings, workers: int) -> Standings:
    """Return what one worker knows of the networks, with its share of what the doubtful ones may ask."""
    return Standings(clock=time.monotonic_ns, after_failure=limits.requests_after_failure / (workers or 1))

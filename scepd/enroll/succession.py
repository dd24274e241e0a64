"""Which issuer serves when: CA rollover (RFC 8894 sections 4.7 and 5.1) as arithmetic over names and times."""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta

import attrs


@attrs.frozen
class Succession:
    """The issuer that takes over `at` a time; requests encrypted to the old RA are answered for `overlap` more."""

    issuer: str
    at: datetime
    overlap: timedelta


Successions = Mapping[str, Succession]  # by the name of the issuer that is followed


def generations(issuer: str, successions: Successions) -> tuple[str, ...]:
    """Return the issuer and all that ever follow it, in their order, whatever the time."""
    if issuer not in successions:
        return (issuer,)
    return tuple(_line(issuer, successions))


def serving(issuer: str, successions: Successions, now: datetime) -> str:
    """Return the name of the issuer that serves now where a profile names `issuer`."""
    if issuer not in successions:
        return issuer
    return next(name for name in _line(issuer, successions) if not _is_followed(name, successions, now))


def announced(issuer: str, successions: Successions, now: datetime) -> Succession | None:
    """Return the succession that GetNextCACert announces now; None while nothing follows the serving issuer (C-037)."""
    return successions.get(serving(issuer, successions, now))


def accepted(issuer: str, successions: Successions, now: datetime) -> tuple[str, ...]:
    """Return the issuers whose RA a request may be encrypted to now (C-066, C-067).

    First the serving one, then the next one, if any, then those that were followed within their overlap, newest first.
    """
    if issuer not in successions:
        return (issuer,)
    line = generations(issuer, successions)
    position = line.index(serving(issuer, successions, now))
    elders = (name for name in reversed(line[:position]) if not is_superseded(name, successions, now))
    return (*line[position : position + 2], *elders)


def is_superseded(issuer: str, successions: Successions, now: datetime) -> bool:
    """Return whether another took over from the issuer so long ago that even the overlap has passed (C-067)."""
    succession = successions.get(issuer)
    return succession is not None and now >= succession.at + succession.overlap


def _is_followed(issuer: str, successions: Successions, now: datetime) -> bool:
    succession = successions.get(issuer)
    return succession is not None and now >= succession.at


def _line(issuer: str, successions: Successions) -> Iterator[str]:
    name: str | None = issuer
    while name is not None:
        yield name
        succession = successions.get(name)
        name = succession.issuer if succession else None

"""What a person may see and change: everything, or what belongs to the profiles of a tenant (threats S-09)."""

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any, TypeVar

import attrs

T = TypeVar("T")


@attrs.frozen
class Scope:
    """The profiles in question; None for all, those included that the configuration has no more.

    The owner of a thing is the profile in its own row, never what a caller says; it does not change, so that it may be
    read before the act. What lies outside does not exist there.
    """

    profiles: frozenset[str] | None = None

    def has(self, *profiles: str) -> bool:
        """Return whether all of these profiles are in it."""
        return self.profiles is None or self.profiles.issuperset(profiles)

    def of(self, rows: Sequence[T]) -> Sequence[T]:
        """Return those rows whose profile is in it."""
        return [row for row in rows if self.has(_profile(row))]

    def newest(
        self, fetch: Callable[[str | None], Sequence[T]], profile: str | None, limit: int, order: str = "id"
    ) -> Sequence[T]:
        """Return the newest rows of a profile, or of all in the scope; `fetch` gets them for one, or (None) for all."""
        if profile is not None:
            return fetch(profile) if self.has(profile) else []
        if self.profiles is None:
            return fetch(None)
        rows = [row for name in sorted(self.profiles) for row in fetch(name)]
        return sorted(rows, key=attrgetter(order), reverse=True)[:limit]


def _profile(row: Any) -> str:
    """Return whose a row is: a transaction's is in its key."""
    return str(row.profile if hasattr(row, "profile") else row.key.profile)

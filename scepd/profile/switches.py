"""Profiles that a person has switched off, as a process knows them."""

from scepd.profile.model import Profile
from scepd.refusal import Reason, Reject


class Switches:
    """One for all lanes of a process: replaced whole when there is news, so that reading needs no lock."""

    def __init__(self) -> None:
        """Know of none that is off."""
        self._off: frozenset[str] = frozenset()

    def replace(self, off: frozenset[str]) -> None:
        """Take what the store says now (`store.switches.disabled_profiles`)."""
        self._off = off

    def is_on(self, profile: Profile) -> bool:
        """Return whether a profile serves now."""
        return profile.enabled and profile.name not in self._off

    def require_on(self, profile: Profile) -> None:
        """Raise Reject(profile_disabled) where a profile is off."""
        if not self.is_on(profile):
            by = "a person" if profile.enabled else "the configuration"
            raise Reject(Reason.profile_disabled, f"switched off by {by}")

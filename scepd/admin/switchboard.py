"""Profiles as people see them: which there are, what they decide, and switching one off and on at run time."""

from collections.abc import Sequence

import attrs

from scepd.admin.actions import Actions
from scepd.profile.model import Profile
from scepd.refusal import OperatorError


@attrs.frozen
class ProfileState:
    """A profile and whether it serves now: switched off by a person, or by the configuration."""

    profile: Profile
    enabled: bool
    configured: bool  # enabled in the configuration


def profiles(actions: Actions) -> Sequence[ProfileState]:
    """Return every profile of the configuration, by name."""
    off = actions.repository.disabled_profiles()
    return [
        ProfileState(profile, profile.enabled and name not in off, profile.enabled)
        for name, profile in sorted(actions.profiles.items())
    ]


def profile(actions: Actions, name: str) -> ProfileState:
    """Return one profile; raises `NotFound`."""
    found = actions.profile(name)
    return ProfileState(found, found.enabled and name not in actions.repository.disabled_profiles(), found.enabled)


def switch(actions: Actions, who: str, name: str, *, enabled: bool) -> ProfileState:
    """Switch a profile off or on for every process; raises `OperatorError` where the configuration has it off.

    A tenant's administrator switches on only what its own act had switched off.
    """
    found = actions.profile(name)
    if enabled and not found.enabled:
        raise OperatorError(f"the configuration has profile {name!r} off", f"[profile.{name}] enabled = true")
    only_own = actions.scope.profiles is not None
    actions.repository.switch_profile(name, enabled=enabled, who=who, only_own=only_own)
    state = profile(actions, name)
    if enabled and only_own and not state.enabled:
        hint = f"ask the service's own administrator for: scepd profile enable {name}"
        raise OperatorError(f"profile {name!r} was switched off by somebody else", hint)
    return state

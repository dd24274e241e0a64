"""Who vouches for which alternative names: only the service's own administrator for more than the profile allows."""

from collections.abc import Iterator, Sequence

from scepd.admin.scope import Scope
from scepd.profile.alternative_names import judge_names
from scepd.profile.model import Profile
from scepd.profile.renewal import stored_names
from scepd.refusal import Reject


def refused_names(scope: Scope, profile: Profile, names: Sequence[str], common_name: str | None) -> Iterator[str]:
    """Yield why each name ("dns:host") is none that somebody of that scope may vouch for (threats S-09, S-55).

    A name that is vouched for goes into certificates past the profile's own rules. Whoever has a part of the service,
    a tenant's administrator or the holder of a token, is held to those rules: no name of another's, no UPN and no
    security identifier.
    """
    if scope.profiles is None:
        return
    for name in stored_names(tuple(names)):
        try:
            judge_names(profile.names, (name,), common_name=common_name, vouched=())
        except Reject as refusal:
            yield refusal.detail


def refusal_hint(profile: Profile) -> str:
    """Return what helps against `refused_names`."""
    return f'[profile.{profile.name}] names = {{ dns = ["*.example.net"] }}, or ask the service\'s own administrator'

"""From [tenant.NAME] to settings: profiles that answer below a path of their own, with issuers and administrators."""

from collections.abc import Mapping

from scepd.config.patterns import read_path
from scepd.config.profile_sections import ProfileSection, RenewalSection
from scepd.config.sections import TenantSection
from scepd.config.settings import TenantSettings
from scepd.problems import Place, Refused, suggest
from scepd.profile.model import Profile


def tenants_of(
    sections: Mapping[str, TenantSection], profiles: Mapping[str, ProfileSection], place: Place
) -> dict[str, str]:
    """Return the tenant of each profile that has one; note what the tenants may not be called or share."""
    owners: dict[str, str] = {}
    for name, section in sections.items():
        here = place / name
        try:
            read_path(name)
        except Refused as refused:
            here.problem(f"the name is the beginning of its URLs, and {refused.reason}", refused.hint)
        if section.profiles == ():
            (here / "profiles").problem("lists no profile", 'profiles = ["routers"]')
        for index, profile in enumerate(section.profiles or ()):
            at = here / "profiles" / index
            if profiles and profile not in profiles:
                at.problem(f"there is no [profile.{profile}]", suggest(profile, profiles))
            elif profile in owners:
                at.problem(f"{profile} belongs to tenant {owners[profile]} already", "a profile of its own")
            else:
                owners[profile] = name
    return owners


def judge_separation(profiles: Mapping[str, ProfileSection], owners: Mapping[str, str], place: Place) -> None:
    """Note what would let a device of one tenant reach into another (threats S-43)."""
    owners_of: dict[str, set[str]] = {}
    for name, profile in profiles.items():
        owners_of.setdefault(profile.issuer or "", set()).add(owners.get(name, ""))
    for name, profile in profiles.items():
        here = place / name
        if profile.get_cert == "public" and len(owners_of[profile.issuer or ""]) > 1:
            reason = f"issuer {profile.issuer} serves other tenants too, whose certificates would be public here"
            (here / "get_cert").problem(reason, 'get_cert = "owner"; or an issuer of its own')
        renewal = profile.renewal
        for index, other in enumerate((renewal.profiles or ()) if isinstance(renewal, RenewalSection) else ()):
            if other in profiles and owners.get(other, "") != owners.get(name, ""):
                at = here / "renewal" / "profiles" / index
                at.problem(f"{other} belongs to another tenant", "name profiles of the same tenant only")


def compile_tenants(sections: Mapping[str, TenantSection], profiles: tuple[Profile, ...]) -> tuple[TenantSettings, ...]:
    """Return the tenants with their profiles as compiled."""
    tenants = []
    for name, section in sections.items():
        own = [profile for profile in profiles if profile.tenant == name]
        tenants.append(
            TenantSettings(
                name=name,
                profiles=tuple(profile.name for profile in own),
                default=next((profile.name for profile in own if profile.default), None),
                issuers=tuple(dict.fromkeys(profile.issuer for profile in own)),
                administrators=tuple(dict.fromkeys(section.administrators)),
            )
        )
    return tuple(tenants)

"""From [profile.NAME] to `profile.model.Profile`."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from cryptography import x509

from scepd.config import certificates as judge
from scepd.config.agreement import answers_get_crl
from scepd.config.backends import compile_webhook
from scepd.config.challenges import compile_challenges
from scepd.config.gates import compile_gate
from scepd.config.issuer_settings import IssuerSettings
from scepd.config.patterns import read_path
from scepd.config.policies import compile_crypto, compile_keys, compile_names, compile_subject, switches_on
from scepd.config.profile_sections import ProfileSection
from scepd.config.rules import compile_approval, compile_renewal, compile_signing_time
from scepd.config.secret import Surroundings
from scepd.problems import Place, Refused, suggest
from scepd.profile.model import Profile
from scepd.profile.presets import PRESETS

# Keys of [profile.NAME] that are Profile's own words; what is not written keeps Profile's default.
_AS_WRITTEN = (
    "must_staple",
    "unknown_extensions",
    "validity",
    "backdate",
    "serve_root",
    "advertise_sha384",
    "omit_fail_info_text",
    "omit_empty_content",
    "verisign_extension_request",
    "strict_nonce",
    "unique_subject",
    "unique_key",
    "most_active",
    "enabled",
    "get_cert",
    "get_crl",
    "password_encryption",
    "get_only",
    "ca_certificate_chain",
    "insecurely_accept_raw_csr",
)


def compile_profiles(
    sections: Mapping[str, ProfileSection],
    issuers: Mapping[str, IssuerSettings | None],
    surroundings: Surroundings,
    *,
    reserved: frozenset[str],
    owners: Mapping[str, str] = MappingProxyType({}),
    place: Place,
) -> tuple[Profile, ...]:
    """Return the profiles; `issuers` has None for one that is written but faulty, `reserved` the appliance's names.

    `owners` are the tenants of the profiles that have one; each tenant has paths and a default profile of its own.
    """
    defaults = _choose_in_each_tenant(sections, owners, place)
    compiled = []
    for name, section in sections.items():
        here = place / name
        issuer = _find_issuer(section, issuers, here / "issuer")
        certificate = _compile_certificate(section, issuer, here)
        crypto = compile_crypto(section)
        compiled.append(
            Profile(
                name=name,
                path=section.path or name,
                tenant=owners.get(name, ""),
                default=name in defaults,
                **_compile_access(section, surroundings, here),
                subject=compile_subject(section.subject, here / "subject"),
                names=compile_names(section.names, reserved),
                crypto=crypto,
                csr_crypto=crypto,
                keys=compile_keys(section, here / "key"),
                renewal=compile_renewal(section.renewal, sections, issuers, here / "renewal"),
                approval=compile_approval(section, here / "approval"),
                signing_time=compile_signing_time(section.signing_time),
                insecure=switches_on(section),
                **certificate,
            )
        )
    return tuple(compiled)


def _compile_access(section: ProfileSection, surroundings: Surroundings, place: Place) -> dict[str, Any]:
    """Return who is let in: the methods, the gate before them, who is asked afterwards, and who is told."""
    compliance, gate = section.compliance, section.client_certificate
    told = (
        compile_webhook(entry, surroundings, place / "notify" / index) for index, entry in enumerate(section.notify)
    )
    return {
        "challenge": compile_challenges(
            section.challenge, surroundings, place / "challenge", passwords=section.password_encryption
        ),
        "compliance": None if compliance is None else compile_webhook(compliance, surroundings, place / "compliance"),
        "notify": tuple(rule for rule in told if rule is not None),
        "client_certificate": None if gate is None else compile_gate(gate, surroundings, place / "client_certificate"),
    }


def apply_preset(raw: object) -> object:
    """Return the table of a profile with the keys of its preset where it has none of its own, also in its tables."""
    if not isinstance(raw, Mapping) or not isinstance(raw.get("preset", "default"), str):
        return raw
    return _join(PRESETS.get(raw.get("preset", "default"), {}), raw)


def _join(preset: Mapping[str, Any], raw: Mapping[str, Any]) -> dict[str, Any]:
    both = {
        key: _join(preset[key], raw[key])
        for key in preset.keys() & raw.keys()
        if isinstance(preset[key], Mapping) and isinstance(raw[key], Mapping)
    }
    return {**preset, **raw, **both}


def _choose_in_each_tenant(
    sections: Mapping[str, ProfileSection], owners: Mapping[str, str], place: Place
) -> frozenset[str]:
    """Return the default profiles: one of each tenant, and one of those that have none; note paths that they share."""
    groups: dict[str, dict[str, ProfileSection]] = {}
    for name, section in sections.items():
        groups.setdefault(owners.get(name, ""), {})[name] = section
    for group in groups.values():
        _judge_paths(group, place)
    return frozenset(filter(None, (_choose_default(group, place) for group in groups.values())))


def _judge_paths(sections: Mapping[str, ProfileSection], place: Place) -> None:
    """Note profiles that share a path; where none is written the name is the path, and judged like one."""
    taken: dict[str, str] = {}
    for name, section in sections.items():
        path = section.path or name
        if section.path is None:
            try:
                read_path(name)
            except Refused as refused:
                (place / name / "path").problem(f"is not written, and the name {refused.reason}", 'path = "devices"')
        owner = taken.setdefault(path, name)
        if owner != name:
            (place / name / "path").problem(f"{path!r} is the path of profile {owner} already", f'path = "{path}-2"')


def _choose_default(sections: Mapping[str, ProfileSection], place: Place) -> str | None:
    """Return the profile that answers /scep and /cgi-bin/pkiclient.exe; a profile alone need not say it."""
    chosen = [name for name, section in sections.items() if section.default]
    if not chosen and len(sections) == 1:
        name, section = next(iter(sections.items()))
        chosen = [name] if section.default is None else []
    for name in chosen[1:]:
        (place / name / "default").problem(
            f"{chosen[0]} is the default profile already", "default = true in one profile only"
        )
    if not chosen and sections and not _is_default_in_doubt(place):
        name = next(iter(sections))
        (place / name / "default").problem("no profile is the default one", "default = true in exactly one profile")
    return chosen[0] if chosen else None


def _is_default_in_doubt(place: Place) -> bool:
    """Return whether a profile, or whether it is the default one, could not be read: that is the problem to mend."""
    depth = len(place.path)
    below = (path[depth + 1 :] for path, _, _ in place.found if path[:depth] == place.path)
    return any(rest in {(), ("default",)} for rest in below)


def _find_issuer(
    section: ProfileSection,
    issuers: Mapping[str, IssuerSettings | None],
    place: Place,
) -> IssuerSettings | None:
    if issuers and section.issuer is not None and section.issuer not in issuers:
        place.problem(f"there is no [issuer.{section.issuer}]", suggest(section.issuer, issuers))
    return issuers.get(section.issuer or "")


def _compile_certificate(section: ProfileSection, issuer: IssuerSettings | None, place: Place) -> dict[str, Any]:
    """Return what the profile says of the certificates it gives, judged against its issuer where that is readable."""
    if section.key_usage == ():
        (place / "key_usage").problem("lists nothing", 'key_usage = ["digitalSignature", "keyEncipherment"]')
    if section.extended_key_usage == ():
        # An absent extension would mean "any purpose" (threats S-59).
        (place / "extended_key_usage").problem("lists nothing", 'extended_key_usage = ["clientAuth"]')
    values: dict[str, Any] = {
        name: getattr(section, name) for name in _AS_WRITTEN if getattr(section, name) is not None
    }
    if section.include_chain is not None:
        values["reply_chain"] = section.include_chain
    if section.key_usage:
        values["key_usage"] = frozenset(section.key_usage)
    if section.extended_key_usage:
        values["extended_key_usage"] = tuple(dict.fromkeys(section.extended_key_usage))
    if issuer is not None:
        values |= {
            "issuer": issuer.name,
            "get_crl": answers_get_crl(section, issuer),
        }
        _judge_against_issuer(section, issuer, place)
    return values


def _judge_against_issuer(section: ProfileSection, issuer: IssuerSettings, place: Place) -> None:
    certificate = x509.load_der_x509_certificate(issuer.certificate_der)
    longest = judge.lifetime(certificate)
    if section.validity is not None and section.validity > longest:
        (place / "validity").problem(
            f"{section.validity.days} days are longer than the issuer's whole life of {longest.days}",
            f'validity = "{max(1, longest.days // 2)}d"',
        )
    if section.serve_root and not _has_root(issuer):
        hint = f'[issuer.{issuer.name}] chain = ["root.pem"]'
        (place / "serve_root").problem("there is no root certificate to serve", hint)


def _has_root(issuer: IssuerSettings) -> bool:
    ders = (issuer.certificate_der, *issuer.chain)
    return judge.is_self_signed(x509.load_der_x509_certificate(ders[-1]))

"""From what the operator wrote to what the processes run on; nothing is opened but the files that are named."""

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import attrs

from scepd.config.agreement import judge_agreement
from scepd.config.audit import compile_audit, judge_audit_key
from scepd.config.blocked import compile_blocked_keys
from scepd.config.files import check_directory, check_file
from scepd.config.gates import judge_gates
from scepd.config.hsm_settings import HsmSettings, PinReference
from scepd.config.issuer_settings import IssuerSettings
from scepd.config.issuers import IssuerCompiler, published_at
from scepd.config.listener_settings import ListenerSettings
from scepd.config.listeners import compile_listeners, host_names, judge_renewals
from scepd.config.pin import refer_to_pin
from scepd.config.profiles import apply_preset, compile_profiles
from scepd.config.scalars import read_text
from scepd.config.secret import SecretReference, Surroundings, locate, read_octets, refuse_environment
from scepd.config.sections import (
    ApplianceSection,
    HsmSection,
    LogSection,
    RootSection,
    StoreSection,
    read_log_format,
    read_log_level,
)
from scepd.config.settings import Appliance, LimitSettings, LogFormat, LogLevel, LogSettings, Settings, StoreSettings
from scepd.config.structure import read_section
from scepd.config.succession import judge_successions
from scepd.config.tenants import compile_tenants, judge_separation, tenants_of
from scepd.problems import Place, Refused
from scepd.profile.model import Profile

_STORE_KEY = 32  # octets
_LONGEST_RUNTIME = 85  # octets; a Unix socket's whole path has room for 107
_LONGEST_LABEL = 32  # octets (PKCS#11 CK_TOKEN_INFO)
_DEFAULT_STORE = "sqlite:///scepd.sqlite"


def compile_settings(raw: Mapping[str, Any], surroundings: Surroundings, place: Place) -> Settings | None:
    """Return the settings, None where something they need is lacking; every problem is noted at `place`."""
    root = read_section(RootSection, _with_presets(raw), place)
    _require_entries(root, place)
    appliance = compile_appliance(root.appliance, surroundings, place / "appliance")
    hsm = None if root.hsm is None else compile_hsm(root.hsm, surroundings, place / "hsm")
    store = compile_store(root.store or StoreSection(), appliance.state, surroundings, place / "store")
    audit = compile_audit(root.audit, appliance.state, surroundings, place / "audit")
    blocked_keys = compile_blocked_keys(root.appliance.blocked_keys, surroundings, place / "appliance" / "blocked_keys")
    listeners = compile_listeners(root.listener or {}, surroundings, place / "listener")
    issuers = _compile_issuers(root, published_at(appliance, listeners), surroundings, place / "issuer")
    reserved = host_names(listeners) | _public_host(appliance)
    owners = tenants_of(root.tenant, root.profile or {}, place / "tenant")
    profiles = compile_profiles(
        root.profile or {}, issuers, surroundings, reserved=reserved, owners=owners, place=place / "profile"
    )
    judge_separation(root.profile or {}, owners, place / "profile")
    judge_agreement(root, issuers, place)
    judge_renewals(listeners, issuers, place / "listener")
    judge_gates(root, place)
    judge_audit_key(audit, issuers.values(), place / "audit")
    log = _compile_log(root.log, surroundings, place)
    if hsm is None or store is None or place.found:
        return None
    return Settings(
        appliance=appliance,
        hsm=hsm,
        store=store,
        issuers=tuple(issuer for issuer in issuers.values() if issuer is not None),
        listeners=listeners,
        profiles=profiles,
        blocked_keys=blocked_keys,
        workers=surroundings.cores if root.workers is None else root.workers,
        cpu_affinity=root.cpu_affinity,
        limits=LimitSettings(**attrs.asdict(root.limits)),
        log=log,
        insecure=_switches_on(issuers, listeners, profiles),
        tenants=compile_tenants(root.tenant, profiles),
        audit=audit,
        warnings=place.warnings,
    )


def _compile_issuers(
    root: RootSection,
    published: str | None,
    surroundings: Surroundings,
    place: Place,
) -> dict[str, IssuerSettings | None]:
    sections = root.issuer or {}
    in_use = frozenset(profile.issuer for profile in (root.profile or {}).values() if profile.issuer is not None)
    issuers = IssuerCompiler(surroundings, published, place).compile_all(sections, in_use)
    judge_successions(sections, issuers, place)
    return issuers


def _switches_on(
    issuers: Mapping[str, IssuerSettings | None], listeners: Iterable[ListenerSettings], profiles: Iterable[Profile]
) -> tuple[str, ...]:
    """Return the paths of the insecure switches that are on, for the log and `scepd check`."""
    authorities = (issuer for issuer in issuers.values() if issuer is not None and issuer.ca_is_ra)
    return (
        *(f"issuer.{issuer.name}.insecurely_ca_is_ra" for issuer in authorities),
        *(f"listener.{listener.name}.{switch}" for listener in listeners for switch in listener.insecure),
        *(f"profile.{profile.name}.{switch}" for profile in profiles for switch in profile.insecure),
    )


def compile_appliance(section: ApplianceSection, surroundings: Surroundings, place: Place) -> Appliance:
    """Return the appliance's settings; its directories need not exist yet."""
    state = surroundings.resolve(section.state)
    appliance = Appliance(
        name=section.name,
        public_url=None if section.public_url is None else section.public_url.rstrip("/"),
        state=state,
        runtime=surroundings.resolve(section.runtime),
        node=section.node,
        marks=state if section.marks is None else surroundings.resolve(section.marks),
    )
    named = {"state": appliance.state, "runtime": appliance.runtime}
    if section.marks is not None:
        named["marks"] = appliance.marks
    for key, directory in named.items():
        try:
            check_directory(directory)
        except Refused as refused:
            (place / key).refuse(refused)
    if len(str(appliance.runtime).encode()) > _LONGEST_RUNTIME:
        (place / "runtime").problem(
            f"is longer than {_LONGEST_RUNTIME} octets, too long for the sockets in it", 'runtime = "/run/scepd"'
        )
    return appliance


def compile_store(
    section: StoreSection,
    state: Path,
    surroundings: Surroundings,
    place: Place,
) -> StoreSettings | None:
    """Return the store's settings; a relative SQLite path begins at the state directory."""
    override = _read_override("SCEPD_STORE", read_text, surroundings, place)
    url = override or section.url or _DEFAULT_STORE
    address = _split_store(url)
    if address is None:
        at = place / "url" if override is None else place.aside("SCEPD_STORE")
        at.problem("is no store that this version has", f'url = "{_DEFAULT_STORE}", a file in the state directory')
    if section.key is None:
        return None
    try:
        _check_store_key(section.key, surroundings)
    except Refused as refused:
        (place / "key").refuse(refused)
        return None
    if address is None:
        return None
    return StoreSettings(url=f"sqlite:///{state / address}", key_file=locate(section.key, surroundings))


def _check_store_key(reference: SecretReference, surroundings: Surroundings) -> None:
    refuse_environment(reference, "the store key")
    length = len(read_octets(reference, surroundings))
    if length != _STORE_KEY:
        raise Refused(
            f"the store key has {length} octets, not {_STORE_KEY}",
            "openssl rand -out store-key 32; chmod 600 store-key",
        )


def _split_store(url: str) -> str | None:
    match = re.fullmatch(r"sqlite:///([^?#]*[^/?#])", url)
    return None if match is None or match[1] == ":memory:" else match[1]


def compile_hsm(section: HsmSection, surroundings: Surroundings, place: Place) -> HsmSettings | None:
    """Return which module and token, None where one of them is lacking; neither is touched."""
    module = _locate_file(section.module, surroundings, place / "module")
    softhsm2_conf = _locate_file(section.softhsm2_conf, surroundings, place / "softhsm2_conf")
    pin = _locate_pin(section, surroundings, place / "pin")
    if section.token is not None and len(section.token.encode()) > _LONGEST_LABEL:
        (place / "token").problem(f"is longer than {_LONGEST_LABEL} octets", "softhsm2-util --show-slots")
    if module is None or section.token is None or pin is None:
        return None
    return HsmSettings(
        module=module,
        token=section.token,
        serial=section.serial,
        pin=pin,
        lanes=section.lanes,
        deadline=section.deadline,
        queue=section.queue,
        call_limit=section.call_limit,
        module_sha256=section.module_sha256,
        softhsm2_conf=softhsm2_conf,
        environment=section.environment,
    )


def _locate_pin(section: HsmSection, surroundings: Surroundings, place: Place) -> PinReference | None:
    try:
        return None if section.pin is None else refer_to_pin(section.pin, surroundings)
    except Refused as refused:
        place.refuse(refused)
        return None


def _locate_file(name: str | None, surroundings: Surroundings, place: Place) -> Path | None:
    """Return the path of a file that others may not write; it is not read here."""
    if name is None:
        return None
    try:
        check_file(surroundings.resolve(name))
    except Refused as refused:
        place.refuse(refused)
        return None
    return surroundings.resolve(name)


def _compile_log(section: LogSection, surroundings: Surroundings, place: Place) -> LogSettings:
    form = _read_override("SCEPD_LOG_FORMAT", read_log_format, surroundings, place) or section.format
    level = _read_override("SCEPD_LOG_LEVEL", read_log_level, surroundings, place) or section.level
    return LogSettings(cast("LogFormat", form), cast("LogLevel", level))


def _read_override(
    name: str,
    reader: Callable[[object], str],
    surroundings: Surroundings,
    place: Place,
) -> str | None:
    """Return the value of an environment variable that stands above the file, None where it is not set."""
    text = surroundings.environ.get(name)
    if text is None:
        return None
    try:
        return reader(text)
    except Refused as refused:
        place.aside(name).refuse(refused)
        return None


def _with_presets(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    profiles = raw.get("profile")
    if not isinstance(profiles, Mapping):
        return raw
    profiles = {name: apply_preset(table) for name, table in profiles.items()}
    return {**raw, "profile": profiles}


def _require_entries(root: RootSection, place: Place) -> None:
    for key, table in (("issuer", root.issuer), ("listener", root.listener), ("profile", root.profile)):
        if table == {}:
            (place / key).problem("none is defined", attrs.fields_dict(RootSection)[key].metadata["example"])


def _public_host(appliance: Appliance) -> frozenset[str]:
    host = None if appliance.public_url is None else urlsplit(appliance.public_url).hostname
    return frozenset() if host is None else frozenset({host})

"""The example and its manual page: complete, and true."""

import re
import tomllib
import types
import typing
from pathlib import Path

import attrs
import pytest

from scepd.config import sections
from scepd.config.issuer_settings import OcspSettings
from scepd.config.load import load
from scepd.config.settings import LimitSettings
from scepd.config.structure import key_of

from .pki import NOW

ROOT = Path(__file__).parents[2]
EXAMPLE = (ROOT / "etc/scepd.toml").read_text()
MANUAL = (ROOT / "docs/configuration.md").read_text()
UNCOMMENTED = re.sub(r"^#(?=[a-z0-9_]+ = |\[)", "", EXAMPLE, flags=re.MULTILINE)


@pytest.fixture
def installed(site, tmp_path):
    """Write an example text beside generated certificates, with systemd's credentials."""
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    for name in ("hsm-pin", "store-key", "lab-challenge", "webhook-key", "intune-key"):
        (site / name).rename(credentials / name)

    def install(text):
        path = site / "scepd.toml"
        path.write_text(text.replace("/usr/lib/softhsm/libsofthsm2.so", str(site / "module.so")))
        path.chmod(0o644)
        return load(path, environ={"CREDENTIALS_DIRECTORY": str(credentials)}, now=NOW, cores=1)

    return install


def test_example_compiles(installed):
    settings = installed(EXAMPLE)
    assert [profile.name for profile in settings.profiles] == ["routers", "lab"]
    assert settings.default_profile.name == "routers"
    assert settings.insecure == ()


def test_example_compiles_with_every_key_in_place(installed):
    assert installed(UNCOMMENTED).workers == 2


def test_example_shows_the_defaults(installed):
    # Each commented key says what holds without it, unless it has no default.
    short, full = installed(EXAMPLE), installed(UNCOMMENTED)
    assert full.limits == short.limits == LimitSettings()
    assert full.cpu_affinity is short.cpu_affinity is True
    assert attrs.evolve(full.audit, previous_der=()) == short.audit is not None
    assert (full.hsm, full.log, full.store) == (
        attrs.evolve(
            short.hsm,
            serial=full.hsm.serial,
            softhsm2_conf=full.hsm.softhsm2_conf,
            module_sha256=full.hsm.module_sha256,
        ),
        short.log,
        short.store,
    )
    for one, other in zip(full.profiles[:2], short.profiles, strict=True):
        reserved = attrs.evolve(other.names, reserved=one.names.reserved)
        # The second profile shows what has no default.
        begun = {"renewal": one.renewal, "approval": one.approval} if one.name == "lab" else {}
        assert attrs.evolve(other, **begun, names=reserved) == one
    one, other = full.issuers[0], short.issuers[0]
    assert attrs.evolve(one, crl_urls=(), ocsp_urls=(), issuer_urls=(), ra_decrypt_previous=(), ocsp=None, next=None) == other
    assert one.ocsp == OcspSettings(one.ocsp.key, one.ocsp.certificate_der)


def test_example_s_commented_tables_are_what_they_say(installed):
    settings = installed(UNCOMMENTED)
    assert settings.issuer["devices"].next.issuer == "devices-2"
    assert settings.issuer["sensors"].ra_decrypt is None
    assert settings.issuer["pix"].ca_is_ra
    assert settings.insecure == (
        "issuer.pix.insecurely_ca_is_ra", "listener.mdm-behind.insecurely_plain_challenges",
        "listener.mtls-unproven.insecurely_unproven_proxies",
    )  # fmt: skip
    assert [profile.name for profile in settings.profiles] == [
        "routers", "lab", "servers", "laptops", "phones", "tablets", "machines", "visitors", "sensors",
    ]  # fmt: skip
    assert [listener.name for listener in settings.listeners] == [
        "plain", "tls", "mtls", "mdm", "mdm-behind", "behind", "mtls-behind", "mtls-unproven", "balanced",
    ]  # fmt: skip
    assert [(tenant.name, tenant.profiles) for tenant in settings.tenants] == [("acme", ("servers",))]
    assert settings.warnings == ()


def test_smallest_example_of_the_manual_compiles(site, installed):
    (text,) = re.findall(r"```toml\n(.*?)```", MANUAL, flags=re.DOTALL)
    for name in ("hsm-pin", "store-key"):
        (site.parent / "credentials" / name).rename(site / name)
    settings = installed(text)
    assert settings.default_profile.name == "routers"
    assert [listener.tls for listener in settings.listeners] == [None]


def leaves(section, raw, path=()):
    """Yield each key of a section with what a TOML document has there."""
    for field in attrs.fields(section):
        name = key_of(field.name)
        yield (*path, name), raw
        kind = strip(field.type)
        if attrs.has(kind):
            yield from leaves(kind, raw, (*path, name))


def strip(kind):
    """Return the section class in an annotation, or the annotation."""
    origin = typing.get_origin(kind)
    if origin in {typing.Union, types.UnionType}:
        return strip(next(option for option in typing.get_args(kind) if option is not type(None)))
    if origin is tuple:
        return strip(typing.get_args(kind)[0])
    if origin is not None and origin is not typing.Annotated:
        return strip(typing.get_args(kind)[1])
    return kind


def keys():
    """Return every key that can be written, once."""
    return sorted({path for path, _ in leaves(sections.RootSection, None)})


def find(raw, path):
    """Return whether a document has that key, in any entry of tables with free names and of arrays."""
    if not path:
        return True
    if isinstance(raw, list):
        return any(find(entry, path) for entry in raw)
    if not isinstance(raw, dict):
        return False
    if path[0] in raw:
        return find(raw[path[0]], path[1:])
    return any(isinstance(entry, dict) and path[0] in entry and find(entry, path) for entry in raw.values())


def test_every_key_is_in_the_example_and_in_the_manual():
    document = tomllib.loads(UNCOMMENTED)
    assert [path for path in keys() if not find(document, path)] == []
    headings = {(name,) for name in re.findall(r"^## \[(\w+)", MANUAL, flags=re.MULTILINE)}
    assert [path for path in keys() if path not in headings and f"`{path[-1]}`" not in MANUAL] == []
    assert len(keys()) > 80


def test_manual_has_the_limits_that_hold():
    for name, value in attrs.asdict(LimitSettings()).items():
        assert re.search(rf"`{name}`[^\n]*\b{value}\b", MANUAL), name

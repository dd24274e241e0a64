"""What the operator writes: one class for each TOML table.

The annotation of a field names its reader (`config.scalars`, `config.patterns`); a field with the metadata
of `required` must be written. A field whose value was refused keeps its default, so that
the checks which follow can find the other problems too.
"""

from collections.abc import Mapping
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network
from re import Pattern
from typing import Annotated

import attrs

from scepd.config import scalars
from scepd.config.patterns import (
    read_attribute,
    read_dns,
    read_email,
    read_expression,
    read_key_usage,
    read_network,
    read_path,
    read_purpose,
)
from scepd.config.secret import SecretReference, read_reference
from scepd.profile.presets import PRESETS

Text = Annotated[str, scalars.read_text]
Flag = Annotated[bool, scalars.read_flag]
Duration = Annotated[timedelta, scalars.read_duration]
Url = Annotated[str, scalars.read_url]
KeyUri = Annotated[str, scalars.read_key_uri]
Address = Annotated[tuple[str, int], scalars.read_address]
Secretly = Annotated[SecretReference, read_reference]

read_log_format = scalars.one_of("logfmt", "text", "json")
read_log_level = scalars.one_of("debug", "info", "warn", "error")


def required(example: str, *, single: bool = False) -> dict[str, object]:
    """Return the metadata of a key that must be written: the line to write, and whether one value does for an array."""
    return {"example": example, "single": single}


@attrs.frozen
class ApplianceSection:
    """[appliance]."""

    name: Text = "scepd"
    public_url: Url | None = None
    state: Text = "/var/lib/scepd"
    runtime: Text = "/run/scepd"
    node: Annotated[str, scalars.read_name] = "n1"


@attrs.frozen
class HsmSection:
    """[hsm]."""

    module: Text | None = attrs.field(default=None, metadata=required('module = "/usr/lib/softhsm/libsofthsm2.so"'))
    token: Text | None = attrs.field(default=None, metadata=required('token = "scepd"'))
    pin: Secretly | None = attrs.field(default=None, metadata=required('pin = { credential = "hsm-pin" }'))
    serial: Text | None = None
    lanes: Annotated[int, scalars.whole(1, 64)] = 1
    deadline: Duration = timedelta(seconds=10)
    queue: Annotated[int, scalars.whole(1, 10_000)] = 64
    softhsm2_conf: Text | None = None


@attrs.frozen
class StoreSection:
    """[store]."""

    key: Secretly | None = attrs.field(default=None, metadata=required('key = { credential = "store-key" }'))
    url: Text | None = None


@attrs.frozen
class LogSection:
    """[log]."""

    format: Annotated[str, read_log_format] = "logfmt"
    level: Annotated[str, read_log_level] = "info"


@attrs.frozen
class LimitSection:
    """[limits]."""

    body: Annotated[int, scalars.whole(16_384, 1_048_576)] = 262_144
    request_line: Annotated[int, scalars.whole(8_192, 1_048_576)] = 65_536
    header_lines: Annotated[int, scalars.whole(16, 1_000)] = 100
    header_bytes: Annotated[int, scalars.whole(2_048, 262_144)] = 16_384
    header_seconds: Annotated[int, scalars.whole(1, 600)] = 10
    body_seconds: Annotated[int, scalars.whole(1, 600)] = 30
    write_seconds: Annotated[int, scalars.whole(1, 600)] = 30
    idle_seconds: Annotated[int, scalars.whole(1, 600)] = 60
    connections: Annotated[int, scalars.whole(1, 100_000)] = 2_000
    connections_per_address: Annotated[int, scalars.whole(1, 100_000)] = 100
    in_flight_bytes: Annotated[int, scalars.whole(1_048_576, 1_073_741_824)] = 67_108_864
    requests_per_network: Annotated[int, scalars.whole(0, 1_000_000)] = 0


@attrs.frozen
class RaSection:
    """[issuer.NAME] ra_sign and ra_decrypt."""

    key: KeyUri | None = attrs.field(
        default=None, metadata=required('key = "pkcs11:token=scepd;object=devices-ra-sign"')
    )
    certificate: Text | None = attrs.field(default=None, metadata=required('certificate = "devices-ra-sign.pem"'))


@attrs.frozen
class IssuerSection:
    """[issuer.NAME]."""

    key: KeyUri | None = attrs.field(default=None, metadata=required('key = "pkcs11:token=scepd;object=devices-ca"'))
    certificate: Text | None = attrs.field(default=None, metadata=required('certificate = "devices-ca.pem"'))
    ra_sign: RaSection | None = attrs.field(
        default=None, metadata=required('ra_sign = { key = "pkcs11:object=ra-sign", certificate = "ra-sign.pem" }')
    )
    ra_decrypt: RaSection | None = attrs.field(
        default=None,
        metadata=required('ra_decrypt = { key = "pkcs11:object=ra-decrypt", certificate = "ra-decrypt.pem" }'),
    )
    ra_decrypt_previous: tuple[RaSection, ...] = ()
    kind: Annotated[str, scalars.one_of("local")] = "local"
    chain: tuple[Text, ...] = ()
    crl_urls: tuple[Url, ...] = ()
    ocsp_urls: tuple[Url, ...] = ()
    issuer_urls: tuple[Url, ...] = ()


@attrs.frozen
class TlsSection:
    """[listener.NAME] tls."""

    certificate: Text | None = attrs.field(default=None, metadata=required('certificate = "tls.pem"'))
    key: Secretly | None = attrs.field(default=None, metadata=required('key = { file = "tls.key" }'))
    minimum: Annotated[str, scalars.one_of("1.2", "1.3")] = "1.2"


@attrs.frozen
class ListenerSection:
    """[listener.NAME]."""

    address: tuple[Address, ...] | None = attrs.field(
        default=None, metadata=required('address = "0.0.0.0:80"', single=True)
    )
    tls: TlsSection | None = None
    serves: tuple[Annotated[str, scalars.one_of("scep")], ...] = ("scep",)


@attrs.frozen
class ChallengeSection:
    """One entry of [profile.NAME] challenge."""

    method: Annotated[str, scalars.one_of("one-time", "static")] | None = attrs.field(
        default=None, metadata=required('method = "one-time"')
    )
    valid: Duration | None = None
    secret: Secretly | None = None
    insecurely_short: Flag = False


@attrs.frozen
class SubjectSection:
    """[profile.NAME] subject."""

    allow: tuple[Annotated[str, read_attribute], ...] | None = None
    patterns: Mapping[str, Annotated[Pattern[str], read_expression]] = attrs.field(factory=dict)
    set: Mapping[str, Text] = attrs.field(factory=dict)
    required: tuple[Annotated[str, read_attribute], ...] = ()


@attrs.frozen
class NamesSection:
    """[profile.NAME] names."""

    dns: tuple[Annotated[str, read_dns], ...] = ()
    ip: tuple[Annotated[IPv4Network | IPv6Network, read_network], ...] = ()
    email: tuple[Annotated[str, read_email], ...] = ()
    uri: tuple[Annotated[Pattern[str], read_expression], ...] = ()
    common_name: Flag | None = None


@attrs.frozen
class KeySection:
    """[profile.NAME] key."""

    rsa: tuple[Annotated[int, scalars.whole(1_024, 8_192)], ...] | None = None
    curves: tuple[Annotated[str, scalars.one_of("P-256", "P-384", "P-521")], ...] | None = None
    ed25519: Flag = False


@attrs.frozen
class ProfileSection:
    """[profile.NAME]."""

    issuer: Text | None = attrs.field(default=None, metadata=required('issuer = "devices"'))
    challenge: tuple[ChallengeSection, ...] | None = attrs.field(
        default=None, metadata=required('challenge = [{ method = "one-time", valid = "24h" }]')
    )
    path: Annotated[str, read_path] | None = None
    default: Flag | None = None
    preset: Annotated[str, scalars.one_of(*PRESETS)] | None = None
    subject: SubjectSection = SubjectSection()
    names: NamesSection = NamesSection()
    key: KeySection = KeySection()
    key_usage: tuple[Annotated[str, read_key_usage], ...] | None = None
    extended_key_usage: tuple[Annotated[str, read_purpose], ...] | None = None
    unknown_extensions: Annotated[str, scalars.one_of("drop", "refuse")] | None = None
    validity: Duration | None = None
    backdate: Duration | None = None
    include_chain: Annotated[str, scalars.one_of("none", "issuer", "full")] | None = None
    serve_root: Flag | None = None
    advertise_sha384: Flag | None = None
    omit_fail_info_text: Flag | None = None
    omit_empty_content: Flag | None = None
    verisign_extension_request: Flag | None = None
    strict_nonce: Flag | None = None
    insecurely_accept_md5: Flag = False
    insecurely_accept_sha1: Flag = False
    insecurely_accept_des: Flag = False
    insecurely_accept_3des: Flag = False
    insecurely_accept_small_rsa: Flag = False


@attrs.frozen
class RootSection:
    """The tables of a configuration, each read by itself: a fault in one hides none in another."""

    appliance: ApplianceSection = ApplianceSection()
    hsm: HsmSection | None = attrs.field(
        default=None, metadata=required('[hsm]\nmodule = "/usr/lib/softhsm/libsofthsm2.so"')
    )
    store: StoreSection | None = attrs.field(
        default=None, metadata=required('[store]\nkey = { credential = "store-key" }')
    )
    log: LogSection = LogSection()
    limits: LimitSection = LimitSection()
    workers: Annotated[int, scalars.whole(0, 256)] | None = None
    issuer: Mapping[str, IssuerSection] = attrs.field(
        default=None, metadata=required('[issuer.devices]\nkey = "pkcs11:token=scepd;object=devices-ca"')
    )
    listener: Mapping[str, ListenerSection] = attrs.field(
        default=None, metadata=required('[listener.plain]\naddress = "0.0.0.0:80"')
    )
    profile: Mapping[str, ProfileSection] = attrs.field(
        default=None, metadata=required('[profile.routers]\nissuer = "devices"')
    )

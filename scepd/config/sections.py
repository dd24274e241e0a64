"""What the operator writes: one class for each TOML table.

The annotation of a field names its reader (`config.fields`); a field with the metadata of `required` must be
written. A field whose value was refused keeps its default, so that the checks which follow can find the other
problems too. A field that is a table or something else (`crl = false`) lists the table first.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Literal

import attrs

from scepd.config import scalars
from scepd.config.audit import AuditSection
from scepd.config.fields import (
    Address,
    Delay,
    Duration,
    Environment,
    Flag,
    Instant,
    KeyUri,
    PinParts,
    Secretly,
    Text,
    Url,
    required,
)
from scepd.config.profile_sections import ProfileSection

read_log_format = scalars.one_of("logfmt", "text", "json")
read_log_level = scalars.one_of("debug", "info", "warn", "error")


@attrs.frozen
class ApplianceSection:
    """[appliance]."""

    name: Text = "scepd"
    public_url: Url | None = None
    state: Text = "/var/lib/scepd"
    runtime: Text = "/run/scepd"
    node: Annotated[str, scalars.read_name] = "n1"
    marks: Text | None = None
    blocked_keys: tuple[Text, ...] = ()


@attrs.frozen
class HsmSection:
    """[hsm]."""

    module: Text | None = attrs.field(default=None, metadata=required('module = "/usr/lib/softhsm/libsofthsm2.so"'))
    token: Text | None = attrs.field(default=None, metadata=required('token = "scepd"'))
    pin: PinParts | None = attrs.field(default=None, metadata=required('pin = { credential = "hsm-pin" }'))
    serial: Text | None = None
    lanes: Annotated[int, scalars.whole(1, 64)] = 1
    deadline: Duration = timedelta(seconds=10)
    queue: Annotated[int, scalars.whole(1, 10_000)] = 512
    call_limit: Duration = timedelta(seconds=10)
    module_sha256: Annotated[str, scalars.read_sha256] | None = None
    softhsm2_conf: Text | None = None
    environment: Environment = ()


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
    failures_per_network: Annotated[int, scalars.whole(0, 1_000_000)] = 120
    failures_per_profile: Annotated[int, scalars.whole(0, 1_000_000)] = 0
    failures_per_key: Annotated[int, scalars.whole(0, 1_000_000)] = 10
    requests_after_failure: Annotated[int, scalars.whole(0, 1_000_000)] = 600


@attrs.frozen
class RaSection:
    """[issuer.NAME] ra_sign, ra_decrypt, ra."""

    key: KeyUri | None = attrs.field(
        default=None, metadata=required('key = "pkcs11:token=scepd;object=devices-ra-sign"')
    )
    certificate: Text | None = attrs.field(default=None, metadata=required('certificate = "devices-ra-sign.pem"'))


@attrs.frozen
class FormerRaSection(RaSection):
    """Entries of [issuer.NAME] ra_decrypt_previous; `sign` is the signing key of its time, where that changed too."""

    sign: RaSection | None = None


@attrs.frozen
class CrlSection:
    """[issuer.NAME] crl."""

    valid: Duration = timedelta(days=7)
    every: Duration = timedelta(days=1)
    shard_size: Annotated[int, scalars.whole(2, 10_000_000)] = 100_000


@attrs.frozen
class OcspSection:
    """[issuer.NAME] ocsp."""

    key: KeyUri | None = attrs.field(default=None, metadata=required('key = "pkcs11:token=scepd;object=devices-ocsp"'))
    certificate: Text | None = attrs.field(default=None, metadata=required('certificate = "devices-ocsp.pem"'))
    valid: Duration = timedelta(hours=12)
    cache: Delay = timedelta(minutes=5)
    certificate_valid: Duration = timedelta(days=30)


@attrs.frozen
class IssuerSection:
    """[issuer.NAME]."""

    key: KeyUri | None = attrs.field(default=None, metadata=required('key = "pkcs11:token=scepd;object=devices-ca"'))
    certificate: Text | None = attrs.field(default=None, metadata=required('certificate = "devices-ca.pem"'))
    ra_sign: RaSection | None = None
    ra_decrypt: RaSection | None = None
    ra: RaSection | None = None  # one key with both roles
    insecurely_ca_is_ra: Flag = False
    ra_decrypt_previous: tuple[FormerRaSection, ...] = ()
    kind: Annotated[str, scalars.one_of("local")] = "local"
    chain: tuple[Text, ...] = ()
    crl: CrlSection | Annotated[Literal[False], scalars.read_off] = CrlSection()
    ocsp: OcspSection | None = None
    next: Text | None = None
    next_from: Instant | None = None
    next_overlap: Duration | None = None
    crl_urls: tuple[Url, ...] | None = None  # None: where we publish it ourselves
    ocsp_urls: tuple[Url, ...] | None = None  # None: where we answer ourselves
    issuer_urls: tuple[Url, ...] = ()


@attrs.frozen
class TlsSection:
    """[listener.NAME] tls."""

    certificate: Text | None = attrs.field(default=None, metadata=required('certificate = "tls.pem"'))
    key: Secretly | None = attrs.field(default=None, metadata=required('key = { file = "tls.key" }'))
    minimum: Annotated[str, scalars.one_of("1.2", "1.3")] = "1.2"
    issuer: Text | None = None  # None: nobody here renews it


TLS_HINT = 'tls = { certificate = "tls.pem", key = { file = "tls.key" } }'


@attrs.frozen
class ListenerSection:
    """[listener.NAME]."""

    address: tuple[Address, ...] | None = attrs.field(
        default=None, metadata=required('address = "0.0.0.0:80"', single=True)
    )
    tls: TlsSection | None = None
    serves: tuple[Annotated[str, scalars.one_of("scep", "publication", "challenges")], ...] = ("scep",)
    insecurely_plain_challenges: Flag = False
    client_certificates: Annotated[str, scalars.one_of("off", "optional", "required")] = "off"
    trusted_proxies: Text | None = None
    client_address_header: Annotated[str, scalars.one_of("X-Forwarded-For", "CF-Connecting-IP")] | None = None
    client_certificate_header: Annotated[str, scalars.one_of("Client-Cert", "X-SSL-Client-Cert")] | None = None
    proxy_trust: Text | None = None
    insecurely_unproven_proxies: Flag = False
    proxy_protocol: Flag = False


@attrs.frozen
class TenantSection:
    """[tenant.NAME]."""

    profiles: tuple[Text, ...] | None = attrs.field(default=None, metadata=required('profiles = ["routers"]'))
    administrators: tuple[Annotated[str, scalars.read_name], ...] = ()


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
    audit: AuditSection | None = None
    log: LogSection = LogSection()
    limits: LimitSection = LimitSection()
    workers: Annotated[int, scalars.whole(0, 256)] | None = None
    cpu_affinity: Flag = True
    issuer: Mapping[str, IssuerSection] = attrs.field(
        default=None, metadata=required('[issuer.devices]\nkey = "pkcs11:token=scepd;object=devices-ca"')
    )
    listener: Mapping[str, ListenerSection] = attrs.field(
        default=None, metadata=required('[listener.plain]\naddress = "0.0.0.0:80"')
    )
    profile: Mapping[str, ProfileSection] = attrs.field(
        default=None, metadata=required('[profile.routers]\nissuer = "devices"')
    )
    tenant: Mapping[str, TenantSection] = attrs.field(factory=dict)

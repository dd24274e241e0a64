"""What the processes run on: the configuration after every check, as frozen values that travel by pipe."""

import pickle
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import attrs

from scepd.config.hsm_settings import HsmSettings
from scepd.config.issuer_settings import IssuerSettings
from scepd.config.listener_settings import ListenerSettings
from scepd.problems import Problem
from scepd.profile.blocked_keys import BlockedKeys
from scepd.profile.model import Profile

LogFormat = Literal["logfmt", "text", "json"]
LogLevel = Literal["debug", "info", "warn", "error"]


@attrs.frozen
class Appliance:
    """The installation: its name, its URL as clients see it (None = only by address), and its two directories."""

    name: str
    public_url: str | None
    state: Path  # survives restarts: store, failed-login memory
    runtime: Path  # sockets and locks
    node: str = "n1"  # unique among the nodes that share a store
    # What must not go back where the store does: high-water marks, the newest CRLs; the state directory by default.
    marks: Path = attrs.field(default=attrs.Factory(lambda self: self.state, takes_self=True))


@attrs.frozen
class StoreSettings:
    """The store's URL (sqlite:///absolute/path or postgresql://...) and the file with the 32-byte store key."""

    url: str
    key_file: Path


@attrs.frozen
class AuditSettings:
    """The audit key (RFC 7512 URI) and its SubjectPublicKeyInfo; how often it seals, and the file that repeats the seals."""

    key: str
    public_key_der: bytes
    seal_every: timedelta
    seals: Path
    previous_der: tuple[bytes, ...] = ()  # SubjectPublicKeyInfos of keys that sealed before
    public_key_file: Path = Path("scepd-audit.pem")  # what it was read from

    @property
    def public_keys(self) -> tuple[bytes, ...]:
        """The keys whose seals are believed, the current one first."""
        return (self.public_key_der, *self.previous_der)


@attrs.frozen
class Premises:
    """What is there before any issuer, listener or profile: directories, token, store, audit key; enough to log in."""

    appliance: Appliance
    hsm: HsmSettings
    store: StoreSettings
    audit: AuditSettings | None = None


@attrs.frozen
class LimitSettings:
    """What a client may cost before it has proved anything; octets, seconds and counts, per process unless said."""

    body: int = 262_144
    request_line: int = 65_536  # a GET carries the whole message: 4 KiB with RSA-2048, 16 KiB with RSA-8192 and a chain
    header_lines: int = 100
    header_bytes: int = 16_384
    header_seconds: int = 10
    body_seconds: int = 30
    write_seconds: int = 30
    idle_seconds: int = 60
    connections: int = 2_000
    connections_per_address: int = 100
    in_flight_bytes: int = 64 * 1024 * 1024
    requests_per_network: int = 0  # a minute, of all workers, for each IPv4 /24 or IPv6 /48; 0 = no limit
    # Refused authentications, a minute, of all workers; 0 = no limit (threats F).
    failures_per_network: int = 120  # for each IPv4 /24 or IPv6 /48, at each profile
    failures_per_profile: int = 0
    failures_per_key: int = 10  # for each key that signs requests
    requests_after_failure: int = 600  # a minute, of all networks together whose guess failed within the last one


@attrs.frozen
class TenantSettings:
    """A tenant: the profiles that answer under /<name>/scep, and nowhere else, and who administers them.

    `default` is the profile that answers /<name>/scep itself.
    """

    name: str
    profiles: tuple[str, ...]
    default: str | None = None
    issuers: tuple[str, ...] = ()  # those of its profiles
    administrators: tuple[str, ...] = ()


@attrs.frozen
class LogSettings:
    """How the log is written."""

    format: LogFormat = "logfmt"
    level: LogLevel = "info"


@attrs.frozen
class Settings:
    """The whole configuration, compiled: no path left to open but the store and its key."""

    appliance: Appliance
    hsm: HsmSettings
    store: StoreSettings
    issuers: tuple[IssuerSettings, ...]
    listeners: tuple[ListenerSettings, ...]
    profiles: tuple[Profile, ...]
    workers: int
    cpu_affinity: bool = True  # a core for each worker, where there are enough
    limits: LimitSettings = LimitSettings()
    log: LogSettings = LogSettings()
    insecure: tuple[str, ...] = ()  # "profile.routers.insecurely_accept_sha1", ...
    tenants: tuple[TenantSettings, ...] = ()
    audit: AuditSettings | None = None  # None: nothing is sealed
    blocked_keys: BlockedKeys | None = None  # of no profile certified
    warnings: tuple[Problem, ...] = ()  # what can be used as it stands, and will still surprise somebody

    @property
    def default_profile(self) -> Profile:
        """The one profile that answers /scep and /cgi-bin/pkiclient.exe; where tenants have them all, the first one's."""
        return min((profile for profile in self.profiles if profile.default), key=lambda profile: bool(profile.tenant))

    @property
    def issuer(self) -> Mapping[str, IssuerSettings]:
        """The issuers by name."""
        return MappingProxyType({issuer.name: issuer for issuer in self.issuers})


def dump(settings: Settings) -> bytes:
    """Return the settings as bytes for a child's private pipe; they hold secrets and are never written to a file."""
    return pickle.dumps(settings, protocol=5)


def restore(data: bytes) -> Settings:
    """Return the settings that our own parent dumped."""
    # Unpickling runs whatever its writer likes. Here the writer is the supervisor that started this process and the
    # way is a pipe that nobody else ever held, so the bytes are as trusted as our own code; no file, socket or store
    # is ever read in this manner.
    settings = pickle.loads(data)  # noqa: S301
    if not isinstance(settings, Settings):
        raise TypeError("the pipe did not carry Settings")
    return settings

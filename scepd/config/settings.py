"""What the processes run on: the configuration after every check, as frozen values that travel by pipe."""

import pickle
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import attrs

from scepd.config.problems import Problem
from scepd.profile.blocked_keys import BlockedKeys
from scepd.profile.model import Profile
from scepd.records import Secret
from scepd.x509.certificate import Locations

LogFormat = Literal["logfmt", "text", "json"]
LogLevel = Literal["debug", "info", "warn", "error"]
TlsMinimum = Literal["1.2", "1.3"]
ClientCertificates = Literal["off", "optional", "required"]
AddressHeader = Literal["X-Forwarded-For", "CF-Connecting-IP"]
CertificateHeader = Literal["Client-Cert", "X-SSL-Client-Cert"]


@attrs.frozen
class Appliance:
    """The installation: its name, its URL as clients see it (None = only by address), and its two directories."""

    name: str
    public_url: str | None
    state: Path  # survives restarts: store, failed-login memory
    runtime: Path  # sockets and locks
    node: str = "n1"  # unique among the nodes that share a store


@attrs.frozen
class PinPart:
    """Where one part of the PIN comes from; `path` is None where a person is asked."""

    source: Literal["credential", "file", "prompt"]
    path: Path | None = None


@attrs.frozen
class PinReference:
    """Where the PIN comes from: mostly one part, else parts of several keepers, joined in this order.

    The PIN itself is never part of Settings.
    """

    parts: tuple[PinPart, ...]

    @property
    def prompts(self) -> int:
        """How many of them persons type."""
        return sum(part.source == "prompt" for part in self.parts)

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files that hold the others."""
        return tuple(part.path for part in self.parts if part.path is not None)


@attrs.frozen
class HsmSettings:
    """The PKCS#11 module and token, and how each worker uses them."""

    module: Path
    token: str  # label
    serial: str | None
    pin: PinReference
    lanes: int = 1  # threads with a session each, per worker
    deadline: timedelta = timedelta(seconds=10)  # of one lane hop, waiting included
    queue: int = 64  # hops that may wait, per worker
    module_sha256: str | None = None  # hex: the only content of the module that is loaded
    call_limit: timedelta = timedelta(seconds=10)  # of one call into the module, after which the worker is replaced
    softhsm2_conf: Path | None = None  # SoftHSM finds its tokens by this file alone: exported as SOFTHSM2_CONF
    environment: tuple[tuple[str, str], ...] = ()  # further variables that the module reads

    @property
    def variables(self) -> dict[str, str]:
        """What must stand in the environment of every process that loads the module."""
        named = {} if self.softhsm2_conf is None else {"SOFTHSM2_CONF": str(self.softhsm2_conf)}
        return {**dict(self.environment), **named}


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
class RaSettings:
    """One RA key (RFC 7512 URI) and its certificate; of a former decryption key, who signed when it was current.

    `sign` None: whoever encrypts to it is answered with the current signing key.
    """

    key: str
    certificate_der: bytes
    sign: "RaSettings | None" = None


@attrs.frozen
class CrlSettings:
    """The CRL of an issuer: how long each is valid, and after how long the next follows (RFC 5280 section 5.1.2.5).

    Of so many certificates each has a CRL of their own, where certificates say where theirs is.
    """

    valid: timedelta = timedelta(days=7)
    every: timedelta = timedelta(days=1)
    shard_size: int = 100_000


@attrs.frozen
class OcspSettings:
    """The OCSP key of an issuer, and how long its answers hold.

    `certificate_der` certifies the key for the first time; it may have ended, since the service renews it in the store,
    each for `certificate_valid`. `valid` is an answer's, `cache` how long it is given out again.
    """

    key: str
    certificate_der: bytes
    valid: timedelta = timedelta(hours=12)
    cache: timedelta = timedelta(minutes=5)
    certificate_valid: timedelta = timedelta(days=30)


@attrs.frozen
class SuccessionSettings:
    """The issuer that follows another: by name, from when on, and how long the old one is accepted afterwards."""

    issuer: str
    at: datetime
    overlap: timedelta = timedelta(days=30)


@attrs.frozen
class IssuerSettings:
    """A local issuer: its key by URI, its certificate, the certificates above it (nearest first), its RA pair.

    Where the CA is its own RA, `ra_sign` and `ra_decrypt` name the CA's key and certificate; a single RA key stands
    in both. `ra_decrypt` None: requests come by PasswordRecipientInfo alone, since the RA key cannot decrypt.
    """

    name: str
    key: str
    certificate_der: bytes
    chain: tuple[bytes, ...]
    ra_sign: RaSettings
    ra_decrypt: RaSettings | None
    ra_decrypt_previous: tuple[RaSettings, ...] = ()  # still served and accepted while devices learn the new one
    crl: CrlSettings | None = None  # None: this issuer publishes none
    ocsp: OcspSettings | None = None  # None: OCSP does not answer for it
    next: SuccessionSettings | None = None
    ca_is_ra: bool = False  # the key of the CA does everything (insecurely_ca_is_ra)
    crl_urls: tuple[str, ...] = ()
    ocsp_urls: tuple[str, ...] = ()
    issuer_urls: tuple[str, ...] = ()

    @property
    def recipients(self) -> tuple[RaSettings, ...]:
        """The RA decryption keys that requests may be encrypted to, the current one first."""
        return (*filter(None, (self.ra_decrypt,)), *self.ra_decrypt_previous)

    @property
    def former_signers(self) -> tuple[RaSettings, ...]:
        """The signing keys of former decryption keys that had one of their own, each once."""
        return tuple(dict.fromkeys(one.sign for one in self.ra_decrypt_previous if one.sign is not None))

    @property
    def own_certificates(self) -> tuple[bytes, ...]:
        """The certificates (DER) of every key that the service uses for this issuer."""
        pairs = (one.certificate_der for one in (*self.recipients, *self.former_signers))
        responder = () if self.ocsp is None else (self.ocsp.certificate_der,)
        return (self.certificate_der, self.ra_sign.certificate_der, *pairs, *responder)

    @property
    def locations(self) -> Locations:
        """Where its certificates say that what it publishes is found."""
        return Locations(self.crl_urls, self.ocsp_urls, self.issuer_urls)

    @property
    def has_one_ra_key(self) -> bool:
        """Whether one key signs replies and decrypts requests."""
        return self.ra_decrypt == self.ra_sign


@attrs.frozen
class TlsRenewal:
    """Which issuer of ours renews a listener's certificate, and the file that has it."""

    issuer: str
    file: Path


@attrs.frozen
class TlsSettings:
    """A listener's certificate chain and key, both PEM: a respawned worker has what its elders have.

    `renewal` None: the certificate is somebody else's to renew.
    """

    certificate_pem: bytes
    key_pem: Secret
    minimum: TlsMinimum = "1.2"
    renewal: TlsRenewal | None = None


@attrs.frozen
class ListenerSettings:
    """A listener: (host, port) pairs, TLS or not, and what it serves; port 0 lets the system choose.

    `trusted_proxies` is a file of networks that is read again when it changes: only a peer in one of them is believed
    what it says of its client, by `client_address_header` or by the PROXY protocol.
    """

    name: str
    addresses: tuple[tuple[str, int], ...]
    tls: TlsSettings | None
    serves: tuple[str, ...]
    insecurely_plain_challenges: bool = False  # serves challenges without TLS
    client_certificates: ClientCertificates = "off"  # whether TLS asks for one; the profile judges it
    trusted_proxies: Path | None = None
    client_address_header: AddressHeader | None = None
    client_certificate_header: CertificateHeader | None = None  # of a trusted proxy whose TLS asks for certificates
    proxy_protocol: bool = False  # every connection begins with a PROXY header


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

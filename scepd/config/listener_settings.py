"""The listeners as compiled: their addresses, their TLS, whom they believe."""

from pathlib import Path
from typing import Literal

import attrs

from scepd.records import Secret

TlsMinimum = Literal["1.2", "1.3"]
ClientCertificates = Literal["off", "optional", "required"]
AddressHeader = Literal["X-Forwarded-For", "CF-Connecting-IP"]
CertificateHeader = Literal["Client-Cert", "X-SSL-Client-Cert"]


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
    what it says of its client, by `client_address_header` or by the PROXY protocol. What it says of its client's
    certificate is believed only from a peer that has a certificate of its own under `proxy_trust`, where that is given.
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
    proxy_trust: Path | None = None  # anchors of the proxies' own certificates; None: their address is enough
    insecurely_unproven_proxies: bool = False  # on a network, and their address is enough
    proxy_protocol: bool = False  # every connection begins with a PROXY header

    @property
    def asks(self) -> ClientCertificates:
        """Whether TLS asks for a certificate: the client's own, or that of a proxy."""
        return "optional" if self.client_certificates == "off" and self.proxy_trust else self.client_certificates

    @property
    def insecure(self) -> tuple[str, ...]:
        """The names of its insecure switches that are on."""
        switches = ("insecurely_plain_challenges", "insecurely_unproven_proxies")
        return tuple(switch for switch in switches if getattr(self, switch))

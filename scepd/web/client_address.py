"""Whose address a request counts under: the one that is logged, limited and banned (threats S-77)."""

import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import attrs
from twisted.internet.interfaces import IAddress

from scepd.profile.networks import Networks, read_address

if TYPE_CHECKING:
    from scepd.web.client_certificate import Gate

FORWARDED_FOR = b"x-forwarded-for"
CONNECTING_IP = b"cf-connecting-ip"

_LONGEST_HOP = 64  # octets
# "[2001:db8::7]:443", "[2001:db8::7]" and "192.0.2.7:443", as some proxies write them.
_WITH_PORT = re.compile(r"\[([0-9A-Fa-f:.%a-z]+)\](?::[0-9]{1,5})?|([0-9.]+):[0-9]{1,5}")

Fields = Iterable[tuple[bytes, bytes]]


def peer_host(address: IAddress | None) -> str:
    """Return the host of a transport's peer as canonical text: no zone, IPv4 out of its IPv6 mapping; else "local"."""
    host = getattr(address, "host", None)
    parsed = read_address(host) if isinstance(host, str) else None  # a Unix socket has none
    return "local" if parsed is None else str(parsed)


def nobody() -> Networks | None:
    """Trust no proxy."""
    return None


@attrs.frozen
class Approach:
    """How clients come to a listener: directly, or through proxies that are believed.

    `proxies` are the networks whose word counts, as they are at this moment. `address_header` is the one header that
    names the client, in lower case; `certificate_header` the one that holds the certificate which a proxy's TLS asked
    for, and `proxy_gate` admits the proxies whose word that is; None: their address is enough. `asks_certificate`:
    TLS asks for one, ours or that of a proxy.
    """

    proxies: Callable[[], Networks | None] = nobody
    address_header: bytes | None = None
    certificate_header: bytes | None = None
    asks_certificate: bool = False
    proxy_gate: "Gate | None" = None

    def is_proxy(self, address: str) -> bool:
        """Return whether that address is a trusted proxy's."""
        networks = self.proxies()
        return networks is not None and address in networks

    def client_of(self, peer: str, fields: Fields) -> str:
        """Return the client's address as canonical text, of a request that came from that peer with those fields.

        From anybody but a trusted proxy the header is not even read. A proxy without a usable header is its own client.
        """
        if self.address_header is None or not self.is_proxy(peer):
            return peer
        values = [value for name, value in fields if name.lower() == self.address_header]
        if self.address_header == FORWARDED_FOR:
            return self._last_stranger(peer, b",".join(values))
        only = values[0] if len(values) == 1 else b""
        return _read_hop(only) or peer

    def _last_stranger(self, peer: str, value: bytes) -> str:
        """Return the rightmost hop that is no trusted proxy: what stands left of it, that one may have made up."""
        found = peer
        for hop in reversed(value.split(b",")):
            address = _read_hop(hop.strip(b"\t "))
            if address is None:
                break
            found = address
            if not self.is_proxy(address):
                break
        return found


def _read_hop(value: bytes) -> str | None:
    if len(value) > _LONGEST_HOP:
        return None
    text = value.decode("latin-1")
    match = _WITH_PORT.fullmatch(text)
    address = read_address((match[1] or match[2]) if match else text)
    return None if address is None else str(address)

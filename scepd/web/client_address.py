"""Whose address a request counts under."""

import ipaddress

from twisted.internet.interfaces import IAddress


def peer_host(address: IAddress | None) -> str:
    """Return the host of a transport's peer as canonical text: no zone, IPv4 out of its IPv6 mapping; else "local".

    That is the client's address: headers are never believed.
    """
    host = getattr(address, "host", None)
    if not isinstance(host, str):  # a Unix socket
        return "local"
    try:
        parsed = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return "local"
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return str(mapped or parsed)

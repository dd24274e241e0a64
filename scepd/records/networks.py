"""Which addresses count as one client: what rates, bounds and wrong codes are counted by."""

import ipaddress
from functools import lru_cache

# What shares one rate: a site, as it is commonly given addresses. Whoever holds an IPv6 /48 holds 65,536 /64s.
_IPV4_SITE, _IPV6_SITE = 24, 48


def network_of(host: str, *, ipv4: int = 32, ipv6: int = 64) -> str:
    """Return what shares one bound: the network of so many bits, or the text itself where it is no address."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is None:
            return str(ipaddress.IPv6Network((int(address), ipv6), strict=False))
        address = address.ipv4_mapped
    return str(address) if ipv4 == 32 else str(ipaddress.IPv4Network((int(address), ipv4), strict=False))


@lru_cache(maxsize=1024)  # a fleet behind one address translation, or a client with one connection for many requests
def site_of(address: str) -> str:
    """Return the site that an address belongs to: what shares one rate of requests."""
    return network_of(address, ipv4=_IPV4_SITE, ipv6=_IPV6_SITE)

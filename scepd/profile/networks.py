"""Lists of networks, as an operator or a provider writes them: one on each line."""

import ipaddress
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from scepd.refusal import OperatorError

_MAXIMUM = 10_000
_HINT = "one network on each line, as 192.0.2.0/24 or 2001:db8::/32; # begins a remark"


class Networks:
    """A set of networks; asking costs one look for each length of prefix in it, however many there are."""

    def __init__(self, networks: Iterable[IPv4Network | IPv6Network]) -> None:
        """Take the networks."""
        self._prefixes: dict[tuple[int, int], set[int]] = {}
        for network in networks:
            shift = network.max_prefixlen - network.prefixlen
            self._prefixes.setdefault((network.version, shift), set()).add(int(network.network_address) >> shift)

    def __contains__(self, host: str) -> bool:
        """Return whether an address is in one of the networks; what is no address is in none."""
        address = read_address(host)
        if address is None:
            return False
        return any(
            address.version == version and int(address) >> shift in prefixes
            for (version, shift), prefixes in self._prefixes.items()
        )


def read_address(text: str) -> IPv4Address | IPv6Address | None:
    """Return an address without its zone, IPv4 out of its IPv6 mapping; None for other text."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def read_networks(data: bytes) -> Networks:
    """Return the networks of a file; raises OperatorError for a line that is none, for an empty list, for all the world."""
    networks = []
    for number, line in enumerate(data.decode("ascii", "replace").splitlines(), 1):
        text = line.partition("#")[0].strip()
        if text:
            networks.append(_read_network(text, number))
    if not 0 < len(networks) <= _MAXIMUM:
        raise OperatorError(f"it lists {len(networks)} networks", _HINT)
    return Networks(networks)


def _read_network(text: str, number: int) -> IPv4Network | IPv6Network:
    try:
        network = ipaddress.ip_network(text)
    except ValueError:
        raise OperatorError(f"line {number} is no network", _HINT) from None
    if network.prefixlen == 0:
        raise OperatorError(f"line {number} is everybody", "list the proxies alone")
    return network

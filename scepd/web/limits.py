"""What an HTTP client may cost: sizes, deadlines, connections, and the bytes that a process holds for all of them."""

import attrs


@attrs.frozen
class HttpLimits:
    """The bounds of one listener: sizes in octets, deadlines in seconds from the start of their phase."""

    body: int = 262_144
    request_line: int = 32_768  # a GET PKIOperation with an RSA-4096 key and a chain is about 16 KiB long
    header_fields: int = 16_384
    header_count: int = 100
    read_ahead: int = 16_384  # octets of pipelined requests that wait for the answer in progress
    idle: float = 15.0  # between two requests of one connection
    head: float = 10.0  # from connection (a TLS handshake included) or first octet to the end of the header
    content: float = 30.0
    answer: float = 60.0
    write: float = 30.0
    linger: float = 2.0  # for the client to read an error that came before its body ended


class Occupancy:
    """What all listeners of a process hold at this moment: connections, by network, and octets of requests."""

    def __init__(self, *, connections: int = 1024, per_network: int = 128, octets: int = 67_108_864) -> None:
        """Keep the bounds; `per_network` 0 means no bound (behind a proxy all clients share its address)."""
        self._maximum = connections
        self._per_network = per_network
        self._octets_maximum = octets
        self._networks: dict[str, int] = {}
        self.connections = 0
        self.octets = 0
        self.replies = 0
        self.turned_away = 0

    def admit(self, network: str, *, bounded: bool = True) -> bool:
        """Count a connection of that network in, unless it would be one too many; `bounded` false: it is a proxy's."""
        held = self._networks.get(network, 0)
        if self.connections >= self._maximum or (bounded and self._per_network and held >= self._per_network):
            self.turned_away += 1
            return False
        self._networks[network] = held + 1
        self.connections += 1
        return True

    def leave(self, network: str) -> None:
        """Count a connection out."""
        self.connections -= 1
        left = self._networks[network] - 1
        if left:
            self._networks[network] = left
        else:
            del self._networks[network]

    def take(self, octets: int) -> bool:
        """Reserve octets of the budget, unless they exceed it."""
        if self.octets + octets > self._octets_maximum:
            return False
        self.octets += octets
        return True

    def take_reply(self, octets: int) -> bool:
        """Reserve octets for a reply that is one client's own copy, unless those of all would exceed half of the budget.

        They are counted apart, so that slow readers of long replies never keep requests out.
        """
        if self.replies + octets > self._octets_maximum // 2:
            return False
        self.replies += octets
        return True

    def give_reply(self, octets: int) -> None:
        """Return what was reserved for a reply."""
        self.replies -= octets

    def give(self, octets: int) -> None:
        """Return octets to the budget."""
        self.octets -= octets

"""The listening sockets: bound once by the supervisor, one per worker slot and address, inherited by every worker."""

import errno
import os
import socket
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path

import attrs

from scepd.config.listener_settings import ListenerSettings
from scepd.refusal import OperatorError

_BACKLOG = 1024


@attrs.frozen
class Place:
    """One address of one listener, for one worker slot."""

    listener: str
    host: str
    port: int
    slot: int


class Sockets:
    """All listening sockets of the service; they outlive the workers, so queued connections do too.

    A reload asks for the places of the new configuration first and lets the others go when the old workers left.
    """

    def __init__(self) -> None:
        """Hold none."""
        self._bound: dict[Place, socket.socket] = {}

    def provide(self, listeners: Sequence[ListenerSettings], slots: int) -> frozenset[Place]:
        """Bind and listen wherever it is not done yet; return all places of that configuration.

        Raises `OperatorError` and keeps what there was when one cannot be bound.
        """
        wanted = [
            Place(listener.name, host, port, slot)
            for listener in listeners
            for host, port in listener.addresses
            for slot in range(slots)
        ]
        added: list[Place] = []
        try:
            for place in wanted:
                if place not in self._bound:
                    self._bound[place] = self._bind(place)
                    added.append(place)
        except OperatorError:
            self._close(added)
            raise
        return frozenset(wanted)

    def keep(self, places: frozenset[Place]) -> None:
        """Close every socket that is not at one of these places."""
        self._close([place for place in self._bound if place not in places])

    def of_slot(self, places: frozenset[Place], slot: int) -> list[tuple[Place, socket.socket]]:
        """Return the sockets of one worker slot."""
        return [(place, bound) for place, bound in self._bound.items() if place in places and place.slot == slot]

    def addresses(self, places: frozenset[Place]) -> list[tuple[str, str, int]]:
        """Return (listener, host, port) as really bound, once each."""
        found = {
            (place.listener, *self._bound[place].getsockname()[:2]): None for place in self._bound if place in places
        }
        return list(found)

    def _close(self, places: Iterable[Place]) -> None:
        for place in places:
            self._bound.pop(place).close()

    def _bind(self, place: Place) -> socket.socket:
        family = [bound for other, bound in self._bound.items() if _share_port(other, place)]
        port = family[0].getsockname()[1] if family else place.port
        if not family and port:
            _refuse_foreign_listener(place.host, port)
        return listen(place.host, port)


def _share_port(one: Place, other: Place) -> bool:
    """Tell whether two places are worker slots of one address, whatever its listener was called before a reload."""
    if (one.host, one.port) != (other.host, other.port):
        return False
    # Port 0 is no address yet: the system chooses one for each listener.
    return one.port != 0 or one.listener == other.listener


def listen(host: str, port: int) -> socket.socket:
    """Return a non-blocking listening socket with SO_REUSEPORT (socket(7)); raises `OperatorError`."""
    bound = socket.socket(_family(host), socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if bound.family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind((host, port))
        bound.listen(_BACKLOG)
    except OSError as fault:
        bound.close()
        raise _explain(host, port, fault) from fault
    return bound


def _refuse_foreign_listener(host: str, port: int) -> None:
    # SO_REUSEPORT would let two services of one user share a port, each with half of the connections.
    with closing(socket.socket(_family(host), socket.SOCK_STREAM)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if probe.family == socket.AF_INET6:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            probe.bind((host, port))
        except OSError as fault:
            raise _explain(host, port, fault) from fault


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _explain(host: str, port: int, fault: OSError) -> OperatorError:
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    hints = {
        errno.EADDRINUSE: f"ss -ltnp 'sport = :{port}'   # shows who has it",
        errno.EACCES: "AmbientCapabilities=CAP_NET_BIND_SERVICE in the unit, or a port above 1023",
        errno.EADDRNOTAVAIL: "ip -br address   # shows the addresses of this machine",
    }
    reason = os.strerror(fault.errno) if fault.errno else str(fault)
    return OperatorError(f"cannot listen on {where}: {reason}", hints.get(fault.errno or 0, "scepd check"))


def listen_unix(path: Path) -> socket.socket:
    """Return a non-blocking listening Unix socket, mode 0600, in place of one that a dead process left there."""
    path.unlink(missing_ok=True)
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    mask = os.umask(0o177)
    try:
        bound.bind(str(path))
        bound.listen(_BACKLOG)
    except OSError as fault:
        bound.close()
        raise OperatorError(f"cannot make the socket {path}: {fault.strerror}", f"ls -ld {path.parent}") from fault
    finally:
        os.umask(mask)
    return bound

"""The supervisor's control socket: one JSON line asks, one JSON line answers."""

import json
import os
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.protocols.basic import LineOnlyReceiver
from twisted.protocols.policies import TimeoutMixin

from scepd.app.child import StartFailure
from scepd.refusal import OperatorError

# Answers to each command; an OperatorError or StartFailure becomes a list of problems.
Commands = Mapping[str, Callable[[], Awaitable[dict[str, Any]]]]


_PATIENCE = 10  # seconds for a command line to arrive


def peer_user(connection: socket.socket) -> int:
    """Return the user id at the other end of a Unix socket (SO_PEERCRED, unix(7))."""
    _pid, user, _group = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return int(user)


def is_own(user: int) -> bool:
    """Return whether a user id is that of this process, or root's."""
    return user in (os.getuid(), 0)


def is_own_user(connection: socket.socket) -> bool:
    """Return whether the peer is the user of this process, or root."""
    return is_own(peer_user(connection))


class Control(LineOnlyReceiver, TimeoutMixin):
    """One connection of the control socket."""

    delimiter = b"\n"
    MAX_LENGTH = 4096
    log = Logger()

    def __init__(self, commands: Commands) -> None:
        """Keep the commands."""
        self._commands = commands

    def connectionMade(self) -> None:  # noqa: N802 - Twisted's name
        """Let in who may ask."""
        transport: Any = self.transport
        if not is_own_user(transport.getHandle()):
            transport.abortConnection()
            return
        self.setTimeout(_PATIENCE)  # type: ignore[no-untyped-call]

    def lineReceived(self, line: bytes) -> None:  # noqa: N802 - Twisted's name
        """Run one command and answer."""
        self.setTimeout(None)  # type: ignore[no-untyped-call]
        Deferred.fromCoroutine(self._answer(line)).addErrback(
            lambda failure: self.log.failure("the control socket failed", failure, event="control_fault")
        )

    def connectionLost(self, reason: Any = None) -> None:  # noqa: ARG002, N802 - Twisted's name
        """Forget the timer."""
        self.setTimeout(None)  # type: ignore[no-untyped-call]

    async def _answer(self, line: bytes) -> None:
        try:
            command = self._commands[json.loads(line)["command"]]
            reply = {"ok": True, **await command()}
        except (ValueError, KeyError, TypeError):
            reply = _refusal([OperatorError("not a command of the control socket", "scepd status | reload | stop")])
        except OperatorError as problem:
            reply = _refusal([problem])
        except StartFailure as failure:
            reply = _refusal(failure.problems)
        transport: Any = self.transport
        transport.write(json.dumps(reply).encode() + b"\n")
        transport.loseConnection()


def _refusal(problems: list[OperatorError] | tuple[OperatorError, ...]) -> dict[str, Any]:
    rows = [{"problem": problem.problem, "hint": problem.hint} for problem in problems]
    return {"ok": False, "problems": rows}


class ControlFactory(Factory):
    """Makes the connections of the control socket."""

    noisy = False

    def __init__(self, commands: Commands) -> None:
        """Keep the commands."""
        self._commands = commands

    def buildProtocol(self, addr: Any) -> Control:  # noqa: ARG002, N802 - Twisted's name
        """Make one."""
        return Control(self._commands)

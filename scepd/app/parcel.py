"""What a child is given by the supervisor, and how it answers: the child's side of its three pipes.

Standard input carries one parcel (settings, PIN, slot), then command lines; its end means that the supervisor
is gone. Descriptor 3 carries status lines (JSON) back. Listening sockets follow from descriptor 4 on.
"""

import base64
import json
import os
from collections.abc import Mapping
from typing import Any

import attrs

from scepd.records import Secret
from scepd.refusal import OperatorError

COMMANDS = 0
STATUS = 3
FIRST_SOCKET = 4

EXIT_FAILED = 1
EXIT_CONFIGURATION = 78  # EX_CONFIG of sysexits.h; systemd's RestartPreventExitStatus

_LENGTH = 8  # octets of the length in front of a parcel


@attrs.frozen
class Inherited:
    """One listening socket as a child finds it: the descriptor and the listener it serves."""

    listener: str
    descriptor: int
    family: int


@attrs.frozen
class Parcel:
    """Everything a child needs; it travels through a pipe, never through arguments or environment."""

    settings: bytes  # as `config.settings.dump` made them
    pin: Secret | None = None
    slot: int = 0
    slots: int = 1  # how many workers there are
    sockets: tuple[Inherited, ...] = ()
    recover: bool = True  # whether nobody else works on this slot's transactions now
    checkpoints: str | None = None  # path, crash tests only
    log_file: str | None = None  # path; None = standard error

    def encode(self) -> bytes:
        """Return the octets for the pipe: length, then JSON."""
        body = json.dumps(
            {
                "settings": base64.b64encode(self.settings).decode("ascii"),
                "pin": None if self.pin is None else self.pin.reveal(),
                "slot": self.slot,
                "slots": self.slots,
                "sockets": [attrs.astuple(inherited) for inherited in self.sockets],
                "recover": self.recover,
                "checkpoints": self.checkpoints,
                "log_file": self.log_file,
            }
        ).encode()
        return len(body).to_bytes(_LENGTH, "big") + body

    @classmethod
    def decode(cls, body: bytes) -> "Parcel":
        """Read the JSON of `encode` back."""
        fields = json.loads(body)
        return cls(
            settings=base64.b64decode(fields["settings"]),
            pin=None if fields["pin"] is None else Secret(fields["pin"]),
            slot=fields["slot"],
            slots=fields["slots"],
            sockets=tuple(Inherited(*entry) for entry in fields["sockets"]),
            recover=fields["recover"],
            checkpoints=fields["checkpoints"],
            log_file=fields["log_file"],
        )


def receive(descriptor: int = COMMANDS) -> Parcel:
    """Read this child's parcel; raises EOFError when the supervisor left before it was complete."""
    return Parcel.decode(_read(descriptor, int.from_bytes(_read(descriptor, _LENGTH), "big")))


def _read(descriptor: int, size: int) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        part = os.read(descriptor, size - len(parts))
        if not part:
            raise EOFError("the supervisor closed the pipe")
        parts += part
    return bytes(parts)


def tell(event: str, fields: Mapping[str, Any] | None = None, descriptor: int = STATUS) -> None:
    """Send one status line to the supervisor; lost silently when it is gone (the end of stdin tells that)."""
    line = json.dumps({"event": event, **(fields or {})}) + "\n"
    try:
        os.write(descriptor, line.encode())  # below PIPE_BUF, so whole or not at all
    except (BrokenPipeError, BlockingIOError):
        return


def tell_problem(error: OperatorError, descriptor: int = STATUS) -> None:
    """Send one problem of the operator's."""
    tell("problem", {"problem": error.problem, "hint": error.hint}, descriptor)

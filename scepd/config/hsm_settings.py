"""The token as compiled: the PKCS#11 module, where the PIN comes from, how workers use it."""

from datetime import timedelta
from pathlib import Path
from typing import Literal

import attrs


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
    queue: int = 512  # hops that may wait, per worker
    module_sha256: str | None = None  # hex: the only content of the module that is loaded
    call_limit: timedelta = timedelta(seconds=10)  # of one call into the module, after which the worker is replaced
    softhsm2_conf: Path | None = None  # SoftHSM finds its tokens by this file alone: exported as SOFTHSM2_CONF
    environment: tuple[tuple[str, str], ...] = ()  # further variables that the module reads

    @property
    def variables(self) -> dict[str, str]:
        """What must stand in the environment of every process that loads the module."""
        named = {} if self.softhsm2_conf is None else {"SOFTHSM2_CONF": str(self.softhsm2_conf)}
        return {**dict(self.environment), **named}

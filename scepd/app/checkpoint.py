"""Named points of an enrolment at which a crash test can let a worker die."""

import os
import signal
from pathlib import Path

import attrs


@attrs.frozen
class Checkpoints:
    """Call with a point's name: does nothing, unless a test armed that point by writing its name into `path`.

    Arming is good for one death: the process removes the file and then kills itself with SIGKILL, so that
    the worker that replaces it passes the same point.
    """

    path: Path | None = attrs.field(default=None, converter=attrs.converters.optional(Path))

    def __call__(self, name: str) -> None:
        """Pass the point, or die at it."""
        if self.path is None:
            return
        try:
            armed = self.path.read_text().strip()
            if armed != name:
                return
            self.path.unlink()  # of two processes at the point, the one that removes the file dies
        except FileNotFoundError:
            return
        os.kill(os.getpid(), signal.SIGKILL)

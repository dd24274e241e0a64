"""Whether this process must let everything stand as it is: a store that is behind its marks is served from, not written.

Nor is anything signed while the clock is in doubt: behind what was already done by it, or ahead of the time that passed.
"""

import attrs
from twisted.logger import Logger

from scepd.app.clock_watch import ClockWatch
from scepd.refusal import Unavailable
from scepd.store.read_only import ReadOnly, Standstill

_RECOVER = "scepd recover --plan"
_LOOK_AT_CLOCK = "date -u; timedatectl; if that time is right: scepd recover --clock"


@attrs.define
class Halt:
    """One of each process, told by its news; until they were heard for the first time, everything waits.

    `tells`: whether this process is the one that writes the log line. `watch`: the clock is looked at before each act.
    """

    tells: bool = False
    watch: ClockWatch | None = None
    log = Logger()
    _known: bool = attrs.field(default=False, init=False)
    _found: Standstill | None = attrs.field(default=None, init=False)
    _doubt: str = attrs.field(default="", init=False)  # about the clock

    def hear(self, found: Standstill | None) -> None:
        """Take what the store says; the change is logged."""
        before, self._found, self._known = self._found, found, True
        if not self.tells or (before is None) == (found is None):
            return
        if found is None:
            self.log.info(event="read_write")
        else:
            self.log.critical(event="read_only", cause=found.cause, since=found.since, hint=_RECOVER)

    def distrust(self, doubt: str) -> None:
        """Take what is wrong with the clock, empty for nothing; the change is logged."""
        before, self._doubt = self._doubt, doubt
        if not self.tells or bool(before) == bool(doubt):
            return
        if doubt:
            self.log.critical(event="clock_doubtful", cause=doubt, hint=_LOOK_AT_CLOCK)
        else:
            self.log.info(event="clock_trusted")

    @property
    def cause(self) -> str:
        """Why nothing is signed or changed; empty where that is not so."""
        return self._doubt if self._found is None else self._found.cause

    @property
    def hint(self) -> str:
        """What to try; empty where nothing is in the way."""
        if self._found is not None:
            return _RECOVER
        return _LOOK_AT_CLOCK if self._doubt else ""

    @property
    def is_on(self) -> bool:
        """Whether nothing may be signed or changed now."""
        self.look()
        return not self._known or self._found is not None or bool(self._doubt)

    def look(self) -> None:
        """Look at the clock."""
        if self.watch is not None:
            self.distrust(self.watch.doubt())

    def require_off(self) -> None:
        """Raise `Unavailable` where nothing may be signed or changed now."""
        self.look()
        if self._found is not None:
            raise ReadOnly(self._found.cause)
        if not self._known:
            raise Unavailable("starting: the store was not read yet", retry_after=1)
        if self._doubt:
            raise Unavailable(self._doubt, retry_after=60)

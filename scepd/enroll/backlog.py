"""What is written of refusals after their answers: kept in memory, written in one batch, so that no packet costs an fsync."""

import hashlib
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence

import attrs
from twisted.logger import Logger

from scepd.enroll.context import Context
from scepd.enroll.respond import Response
from scepd.records import Posting, Refusal, to_json

_HOUR = 3600.0  # seconds
_REMEMBERED = 10_000  # refusals that somebody was told of
_MOST_NOTICES = 200  # between two batches


class Backlog:
    """Refusals for the trail, the newest `kept` of them, and notices for services outside.

    Somebody known who repeats the same refused request is told of once an hour at most: this process's own repetitions
    go no further, and the store leaves out what another process wrote. Notices that could not be written wait
    for the next batch; what goes beyond the bounds is counted in the log, and missing outside.
    """

    _log = Logger(namespace="scepd.enroll")

    def __init__(self, seconds: Callable[[], float], *, kept: int) -> None:
        """Take a monotonic time."""
        self._seconds = seconds
        self._refusals: deque[Refusal] = deque(maxlen=kept)
        self._notices: deque[Posting] = deque()
        self._told: OrderedDict[tuple[object, ...], float] = OrderedDict()
        self._dropped = 0

    def add(self, response: Response) -> None:
        """Keep what an answer left to be written."""
        refusal = response.refusal
        if refusal is None:
            return
        self._refusals.append(refusal)
        if response.notices and not self._was_told(refusal):
            room = max(0, _MOST_NOTICES - len(self._notices))  # those that were put back may be more than the bound
            once = _digest(refusal)
            self._notices.extend(attrs.evolve(posting, once=once) for posting in response.notices[:room])
            self._dropped += max(0, len(response.notices) - room)

    def take(self) -> tuple[Sequence[Refusal], Sequence[Posting]]:
        """Return what is to be written now; it is kept no more."""
        taken = tuple(self._refusals), tuple(self._notices)
        self._refusals.clear()
        self._notices.clear()
        return taken

    def put_back(self, notices: Sequence[Posting]) -> None:
        """Keep notices for the next batch."""
        self._notices.extendleft(reversed(notices))

    def tell(self, dropped: int) -> None:
        """Say how many notices nobody will hear of, if there are any: `dropped` by the store, and those of our own bound."""
        dropped, self._dropped = dropped + self._dropped, 0
        if dropped:
            hint = "too many refusals of known devices: look for the one that repeats, scepd request list --state refused"
            self._log.warn(event="notices_dropped", count=dropped, hint=hint)

    def _was_told(self, refusal: Refusal) -> bool:
        now, key = self._seconds(), _sameness(refusal)
        told = self._told.pop(key, None)
        is_fresh = told is not None and now - told < _HOUR
        self._told[key] = told if told is not None and is_fresh else now
        if len(self._told) > _REMEMBERED:
            self._told.popitem(last=False)
        return is_fresh


def _sameness(refusal: Refusal) -> tuple[str, ...]:
    return (refusal.profile, refusal.transaction_id, refusal.requester.hex(), refusal.reason.value)


def _digest(refusal: Refusal) -> bytes:
    return hashlib.sha256(to_json(_sameness(refusal)).encode("utf-8", "surrogatepass")).digest()


def write(context: Context, refusals: Sequence[Refusal], notices: Sequence[Posting]) -> int:
    """Write a batch in a lane; return how many notices the outbox had no room for."""
    context.store.refused(refusals)
    return context.store.add_notices(notices)

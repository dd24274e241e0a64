"""The one door from the reactor into the enrolment path."""

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, Protocol, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from scepd.enroll.backlog import Backlog, write
from scepd.enroll.context import Context
from scepd.enroll.raw import respond_raw
from scepd.enroll.reply import Answer
from scepd.enroll.respond import Response, respond, respond_again
from scepd.enroll.suspended import Suspended, Verdict
from scepd.observe.legacy import LegacyWatch
from scepd.ports import RemoteMethod
from scepd.profile.model import Profile
from scepd.records import Origin, Standing
from scepd.refusal import WIRE, Reason, Reject, Unavailable

T = TypeVar("T")

# By profile and place: an index into its challenge methods, or COMPLIANCE.
Remotes = Mapping[str, Mapping[int, RemoteMethod]]

# What depends on decrypted bytes that nobody has answered for yet.
_UNIFORM_REASONS = frozenset(
    reason.value
    for reason in Reason
    if WIRE[reason] in (WIRE[Reason.decryption_failed], WIRE[Reason.lookup_unreadable])
)


class RunsInLane(Protocol):
    """What the door needs of the lanes."""

    def run(self, function: Callable[[Context], T], standing: Standing = Standing.good) -> "Deferred[T]":
        """Run the function in a free lane; of several that wait the best standing comes first."""


class Timer(Protocol):
    """What the door needs of the reactor."""

    def seconds(self) -> float:
        """Return a monotonic time."""

    def callLater(self, delay: float, callable: Callable[..., Any], *arguments: Any) -> Any:  # noqa: A002, N802 - Twisted's names
        """Call after that many seconds."""


class Answerer:
    """Sends PKIMessages through the lanes and keeps the refusals until they are written in one batch.

    `slot` are the seconds to which the answers that depend on decrypted bytes are rounded up, so that their time
    tells nothing. `kept` bounds the refusals that wait to be written: on an attacker's packet nothing is fsynced.
    `remotes` are what must be asked over the network, by profile and by their place in its order of methods.
    `admit` is called before each message, and again after each question; it raises `Unavailable` while nothing may be answered.
    """

    def __init__(
        self,
        lanes: RunsInLane,
        timer: Timer,
        *,
        remotes: Remotes = MappingProxyType({}),
        admit: Callable[[], None] = lambda: None,
        slot: float = 0.05,
        kept: int = 1000,
    ) -> None:
        """Keep the collaborators."""
        self._lanes = lanes
        self._timer = timer
        self._remotes = remotes
        self._admit = admit
        self._slot = slot
        self._backlog = Backlog(timer.seconds, kept=kept)
        self._log = Logger(namespace="scepd.enroll")
        self.legacy = LegacyWatch(timer.seconds)

    async def answer(self, profile: Profile, body: bytes, origin: Origin) -> Answer:
        """Return the answer to one PKIOperation; every failure of ours becomes a 503, never a FAILURE."""
        return await self._answer(profile, origin, lambda context: respond(context, profile, body, origin))

    async def answer_raw(self, profile: Profile, body: bytes, origin: Origin) -> Answer:
        """Return the answer to a bare PKCS#10 on the raw route of a profile that takes such (C-108)."""
        return await self._answer(profile, origin, lambda context: respond_raw(context, profile, body, origin))

    async def _answer(self, profile: Profile, origin: Origin, act: Callable[[Context], Response | Suspended]) -> Answer:
        begun = self._timer.seconds()
        try:
            self._admit()
            response = await self._run(act, origin.standing)
        except Unavailable as trouble:
            return Answer(b"", "unavailable", status=503, detail=trouble.cause, retry_after=trouble.retry_after)
        except Exception:  # noqa: BLE001 - the request boundary: no input may end the process
            failure = Failure()  # type: ignore[no-untyped-call]
            self._log.failure("unexpected error, request {request}", failure, request=origin.request_id)
            return Answer(
                b"", "unavailable", status=503, reason="unexpected", detail=repr(failure.value), retry_after=5
            )
        self._tell_legacy(profile, response.answer, origin)
        self._backlog.add(response)
        if response.answer.reason in _UNIFORM_REASONS:
            await self._until_slot(begun)
        return response.answer

    async def _run(self, act: Callable[[Context], Response | Suspended], standing: Standing) -> Response:
        """Run in a lane, and again after each question that the reactor asked the network."""
        reached: Response | Suspended = await self._lanes.run(act, standing)
        while isinstance(reached, Suspended):
            verdict = await self._ask(reached)
            self._admit()  # time has passed, and the clock may have jumped
            reached = await self._lanes.run(partial(respond_again, suspended=reached, verdict=verdict), standing)
        return reached

    async def _ask(self, suspended: Suspended) -> Verdict:
        method = self._remotes[suspended.case.profile.name][suspended.index]
        try:
            return await method.ask(suspended.question)
        except (Reject, Unavailable) as verdict:
            return verdict

    async def flush(self) -> int:
        """Write the refusals that were kept, and their notices, in one lane hop; return how many refusals."""
        refusals, notices = self._backlog.take()
        if not refusals and not notices:
            return 0
        try:
            dropped = await self._lanes.run(partial(write, refusals=refusals, notices=notices))
        except Unavailable:
            self._backlog.put_back(notices)
            raise
        self._backlog.tell(dropped)
        return len(refusals)

    def _tell_legacy(self, profile: Profile, answer: Answer, origin: Origin) -> None:
        for switch in answer.legacy:
            if self.legacy.note(profile.name, switch, origin.address):
                fields = {"profile": profile.name, "switch": switch, "address": origin.address}
                self._log.warn(event="legacy_used", **fields)

    def _until_slot(self, begun: float) -> "Deferred[None]":
        elapsed = self._timer.seconds() - begun
        waiting: Deferred[None] = Deferred()
        self._timer.callLater(self._slot - elapsed % self._slot, waiting.callback, None)
        return waiting

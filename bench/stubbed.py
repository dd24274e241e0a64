"""The enrolment path with token and store stubbed: what Python and the public-key operations cost."""

import itertools
import statistics
import time
from collections.abc import Sequence
from typing import Any

import attrs

from bench.opened import Inside, answer_of, copy_context
from bench.operations import BLOCK
from bench.report import Broken
from bench.request import Prepared, verify
from bench.stand_ins import InstantStore, Memory, StillClock, recorded, repeatable
from scepd.enroll.context import Context


@attrs.frozen
class Stubbed:
    """The enrolment path with the private keys' answers recorded, over a store or a stand-in for one.

    Public-key operations stay inside, as do AES, the drafting of the certificate and its lint.
    """

    inside: Inside
    context: Context
    requests: Sequence[Prepared]
    memory: Memory

    @classmethod
    def of(cls, inside: Inside, requests: Sequence[Prepared], memory: Memory, store: Any = None) -> "Stubbed":
        """Return it over that store, or one that answers at once."""
        clock = StillClock()
        stand_in = store or InstantStore(inside.belongings.owner, clock)
        changes = recorded(inside.belongings, memory, sign_replies=False)
        context = copy_context(inside.belongings, store=stand_in, clock=clock, **changes)
        return cls(inside, context, requests, memory)

    def record(self) -> None:
        """Enrol each request once with the token, keep its answers, and verify the replies."""
        context = attrs.evolve(self.context, **recorded(self.inside.belongings, self.memory, sign_replies=True))
        for number, request in enumerate(self.requests):
            with repeatable(context, number):
                answer = answer_of(context, self.inside.profile, request.body)
            fault = verify(request, answer.status, answer.body, self.inside.certificates)
            if fault is not None:
                raise Broken(fault)

    def timed(self, number: int) -> float:
        """Return the CPU milliseconds of one enrolment."""
        number %= len(self.requests)
        body, profile, context = self.requests[number].body, self.inside.profile, self.context
        with repeatable(context, number):
            begun = time.thread_time()
            answer = answer_of(context, profile, body)
            taken = time.thread_time() - begun
        if answer.outcome != "issued":
            raise Broken(f"{answer.outcome} {answer.reason} {answer.detail}")
        return taken * 1000


def stubbed_figures(inside: Inside, count: int) -> dict[str, Any]:
    """Return what remains of the path without the token: in DER, in BER, and with a store that spares fsync."""
    memory = Memory()
    requests, ber = inside.requests(count), inside.requests(count, ber=True)
    plain = Stubbed.of(inside, requests, memory)
    other = Stubbed.of(inside, ber, memory)
    stored = Stubbed(
        inside,
        attrs.evolve(plain.context, store=inside.with_store("stubbed", durable=False).store),
        requests,
        memory,
    )
    stepped = attrs.evolve(plain, context=attrs.evolve(plain.context, monotonic=time.thread_time))
    for stubbed in (plain, other):
        stubbed.record()
    times: dict[str, list[float]] = {"der": [], "ber": [], "stored": []}
    steps: dict[str, list[float]] = {}
    for start in range(0, count, BLOCK):
        numbers = range(start, min(start + BLOCK, count))
        # The store takes each transaction once; the others go round three times, for a steadier median.
        for number in itertools.chain(numbers, numbers, numbers):
            times["der"].append(plain.timed(number))
        for number in itertools.chain(numbers, numbers, numbers):
            times["ber"].append(other.timed(number))
        for number in numbers:
            times["stored"].append(stored.timed(number))
            _note_steps(steps, stepped.context.store, stepped.timed(number))
    found: dict[str, Any] = {name: statistics.median(taken) for name, taken in times.items()}
    return {
        "python_ms_der": found["der"],
        "python_ms_ber": found["ber"],
        "store_ms": found["stored"] - found["der"],
        "steps": {name: statistics.median(taken) for name, taken in steps.items()},
    }


def _note_steps(steps: dict[str, list[float]], store: Any, whole: float) -> None:
    before = 0.0
    for step in (*store.trail,):
        steps.setdefault(step.name, []).append(step.at - before)
        before = step.at
    steps.setdefault("reply", []).append(whole - before)

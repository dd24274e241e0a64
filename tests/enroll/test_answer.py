"""The door: lanes in, answers out, faults of ours as 503, refusals kept and written in batches."""

import pytest
from twisted.internet.defer import Deferred, ensureDeferred, fail, succeed
from twisted.internet.task import Clock

from scepd.enroll.answer import Answerer
from scepd.enroll.state import MOVES, may_move
from scepd.records import TransactionState
from scepd.refusal import Unavailable
from tests import make
from tests.world import ORIGIN, STATIC


class OneLane:
    """A lane that runs at once."""

    def __init__(self, context):
        self.context = context

    def run(self, function, standing=None):
        try:
            return succeed(function(self.context))
        except Exception as error:  # noqa: BLE001 - as the lanes do
            return fail(error)


class NoLane:
    """Lanes that are full."""

    def run(self, _function, _standing=None):
        return fail(Unavailable("queue full", retry_after=3))


@pytest.fixture
def clock():
    return Clock()


def answer(answerer, world, body):
    results = []
    deferred = ensureDeferred(answerer.answer(world.profiles["default"], body, ORIGIN))
    deferred.addCallback(results.append)
    return results


def test_an_answer_comes_at_once(device, world, clock):
    (reply,) = answer(Answerer(OneLane(world.context), clock), world, device.request())
    assert (reply.outcome, reply.status, reply.message_type) == ("issued", 200, "PKCSReq")


def test_C094_C070_unreadable_bytes_are_400(device, world, clock):
    for body in (b"", b"junk", device.request() + b"\0"):
        (reply,) = answer(Answerer(OneLane(world.context), clock), world, body)
        assert (reply.outcome, reply.status, reply.body) == ("malformed", 400, b"")


def test_C025_full_lanes_are_503_with_retry_after(device, world, clock):
    (reply,) = answer(Answerer(NoLane(), clock), world, device.request())
    assert (reply.status, reply.retry_after, reply.detail) == (503, 3, "queue full")


def test_S105_while_nothing_may_be_answered_no_lane_is_asked(device, world, clock):
    def admit():
        raise Unavailable("read-only", retry_after=300)

    lane = OneLane(world.context)
    lane.run = pytest.fail
    (reply,) = answer(Answerer(lane, clock, admit=admit), world, device.request())
    assert (reply.status, reply.retry_after, reply.detail, reply.body) == (503, 300, "read-only", b"")


def test_S132_an_unexpected_error_is_503_and_counted_as_such(device, world, clock):
    world.context.issuers = {}
    (reply,) = answer(Answerer(OneLane(world.context), clock), world, device.request())
    assert (reply.status, reply.reason, reply.retry_after) == (503, "unexpected", 5)


def test_S11_uniform_refusals_leave_at_the_next_slot_and_others_at_once(device, world, clock):
    answerer = Answerer(OneLane(world.context), clock, slot=0.05)
    clock.advance(1.013)
    bad = make.bent_envelope(recipient=device.ra).bend(encrypted_key=bytes(256))
    waiting = answer(answerer, world, make.message(bad.der()))
    assert waiting == []
    clock.advance(0.049)
    assert waiting == []
    clock.advance(0.002)
    assert waiting[0].reason in {"decryption_failed", "content_malformed", "signer_mismatch"}
    assert answer(answerer, world, device.request(challenge="wrong"))


def test_S41_refusals_are_kept_within_bounds_and_written_in_one_batch(device, world, clock):
    answerer = Answerer(OneLane(world.context), clock, kept=3)
    for number in range(5):
        answer(answerer, world, device.request(challenge="wrong", transaction_id=f"t{number}"))
    assert world.store.refusals() == []
    written = []
    ensureDeferred(answerer.flush()).addCallback(written.append)
    assert written == [3]
    assert sorted(row.transaction_id for row in world.store.refusals()) == ["t2", "t3", "t4"]
    ensureDeferred(answerer.flush()).addCallback(written.append)
    assert written == [3, 0]


def test_a_client_is_not_told_before_its_lane_is_done(device, world, clock):
    class Slow:
        def __init__(self):
            self.waiting = []

        def run(self, function, standing=None):
            deferred = Deferred()
            self.waiting.append((deferred, function))
            return deferred

    lanes = Slow()
    replies = answer(Answerer(lanes, clock), world, device.request(challenge=STATIC))
    assert replies == []
    deferred, function = lanes.waiting.pop()
    deferred.callback(function(world.context))
    assert replies[0].outcome == "issued"


def test_the_table_of_moves_ends_where_it_should():
    assert may_move(None, TransactionState.ISSUING)
    assert may_move(TransactionState.ISSUING, TransactionState.ISSUING)  # crash recovery signs the stored draft again
    assert not may_move(TransactionState.ISSUED, TransactionState.REJECTED)
    ends = {state for state, following in MOVES.items() if not following}
    assert ends == {TransactionState.ISSUED, TransactionState.REJECTED, TransactionState.EXPIRED}
    assert {state for state in MOVES if state} == set(TransactionState)


def test_C108_a_bare_request_goes_through_the_same_door(world, clock):
    results = []
    answerer = Answerer(OneLane(world.context), clock)
    body = make.csr(challenge=STATIC)
    ensureDeferred(answerer.answer_raw(world.profiles["default"], body, ORIGIN)).addCallback(results.append)
    assert [(reply.outcome, reply.status) for reply in results] == [("issued", 200)]


def test_S11_a_lookup_that_fails_waits_for_the_same_slot_as_garbage(device, world, clock):
    body = make.message(make.envelope(b"no lookup", device.ra), message_type=21)
    results = answer(Answerer(OneLane(world.context), clock), world, body)
    assert results == []
    clock.advance(0.05)
    assert [reply.reason for reply in results] == ["lookup_unreadable"]

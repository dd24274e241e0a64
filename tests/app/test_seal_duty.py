"""The duty of sealing: what happened is signed on time, once, and repeated in the file; what was changed is told (S-124)."""

from datetime import timedelta
from types import SimpleNamespace

import pytest
from twisted.internet.testing import EventLoggingObserver
from twisted.logger import globalLogPublisher

from scepd.app.leases import Lease
from scepd.app.seal_duty import SealDuty
from scepd.config.settings import AuditSettings
from scepd.hsm.faults import TokenFault
from scepd.refusal import Unavailable
from tests.store.building import Clock, add_challenge, open_repository, prepare
from tests.store.sealing import Sealer

from .town import Inline, attend

HOUR = timedelta(hours=1)


class Node:
    """One worker's duty over the shared store, with a file of its own where `file` says so."""

    def __init__(self, town, number, file="audit-seals.jsonl"):
        self.store = open_repository(town.directory, town.clock, owner=f"alpha/{number}.duties")
        self.sealer = Sealer.within(town.directory)
        self.clerk = Inline(self.store)
        self.lane = Inline(SimpleNamespace(audit_key=town.sealer.key))
        self.duty = SealDuty(
            settings=AuditSettings("pkcs11:object=audit", town.sealer.spki, HOUR, town.directory / file),
            lease=Lease("seal", self.store.owner, town.clock),
            clerk=self.clerk,
            lanes=self.lane,
            clock=town.clock,
            monotonic=town.seconds,
        )

    def attend(self):
        attend(self.duty)


class Town:
    def __init__(self, directory):
        self.directory, self.clock, self.sealer = directory, Clock(), Sealer.within(directory)
        self.nodes, self.elapsed = [], 0.0
        self.open()

    def open(self, **options):
        self.nodes.append(Node(self, len(self.nodes), **options))
        return self.nodes[-1]

    def seconds(self):
        return self.elapsed

    def wait(self, **span):
        """Let time pass, or set the clock back meanwhile."""
        self.clock.moment += timedelta(**span)
        self.elapsed += abs(timedelta(**span).total_seconds())

    @property
    def numbers(self):
        return [seal.number for seal in self.nodes[0].store.seals_after(0)]


@pytest.fixture
def town(tmp_path):
    prepare(tmp_path)
    town = Town(tmp_path)
    yield town
    for node in town.nodes:
        node.store.close()


@pytest.fixture
def log():
    observer = EventLoggingObserver()
    globalLogPublisher.addObserver(observer)
    yield observer
    globalLogPublisher.removeObserver(observer)


def told(log, name):
    return [event for event in log if event.get("event") == name]


def test_S124_what_happened_is_sealed_on_time_and_repeated_in_the_file(town, log):
    node = town.nodes[0]
    node.attend()
    assert town.numbers == []  # nothing happened yet
    add_challenge(node.store)
    node.attend()
    assert town.numbers == [1]
    add_challenge(node.store)
    town.wait(minutes=59)
    node.attend()
    assert town.numbers == [1]
    town.wait(minutes=2)
    node.attend()
    assert town.numbers == [1, 2]
    town.wait(hours=2)
    node.attend()
    assert town.numbers == [1, 2]  # nothing happened since
    assert town.sealer.problems(node.store) == []
    assert [seal.number for seal in town.sealer.file.lines()] == [1, 2]
    assert [(event["number"], event["rows"]) for event in told(log, "audit_sealed")] == [(1, 1), (2, 2)]


def test_a_clock_that_went_back_does_not_keep_the_trail_unsealed(town):
    node = town.nodes[0]
    add_challenge(node.store)
    node.attend()
    town.wait(days=-3)
    add_challenge(node.store)
    node.attend()
    assert town.numbers == [1, 2]


def test_one_of_all_seals_and_another_goes_on_after_it(town):
    one, two = town.nodes[0], town.open()
    add_challenge(one.store)
    one.attend()
    two.attend()
    assert town.numbers == [1]
    add_challenge(one.store)
    town.wait(hours=2)  # the first has died
    two.attend()
    assert town.numbers == [1, 2]
    assert town.sealer.problems(one.store) == []


def test_a_node_s_own_file_gets_the_seals_that_others_made(town):
    one, two = town.nodes[0], town.open(file="other.jsonl")
    for node in (one, two):
        add_challenge(node.store)
        node.attend()
        town.wait(hours=2)
    assert [seal.number for seal in Sealer.within(town.directory).file.lines()] == [1]
    assert (town.directory / "other.jsonl").read_text().count("\n") == 2


def test_a_seal_that_a_crash_kept_out_of_the_file_is_repeated(town):
    node = town.nodes[0]
    add_challenge(node.store)
    node.attend()
    town.sealer.file.path.unlink()
    town.wait(hours=2)
    add_challenge(node.store)
    node.attend()
    assert [seal.number for seal in town.sealer.file.lines()] == [1, 2]


@pytest.mark.parametrize("fault", [Unavailable("the token is away"), TokenFault("device", "gone")])
def test_a_token_that_is_away_is_told_and_asked_ever_more_seldom(town, log, fault):
    node = town.nodes[0]
    add_challenge(node.store)
    node.lane.fault = fault
    for _ in range(3):
        node.attend()
        town.wait(seconds=1)
    assert node.lane.calls == 2  # at once, after one second, and not yet after the next
    assert [event["cause"] for event in told(log, "audit_unsealed")] == [fault.cause] * 2
    node.lane.fault = None
    town.wait(seconds=60)
    node.attend()
    assert town.numbers == [1]


def test_S124_a_changed_trail_is_a_critical_alarm_and_not_sealed(town, log):
    node = town.nodes[0]
    for _ in range(2):
        add_challenge(node.store)
    node.attend()
    with node.store._connection.write():
        node.store._connection._run("DELETE FROM audit WHERE sequence = 2")
    add_challenge(node.store)
    town.wait(hours=2)
    node.attend()
    (alarm,) = told(log, "audit_unsealed")
    assert alarm["log_level"].name == "critical"
    assert "alpha/0.duties row 2: is gone" in alarm["cause"]
    assert alarm["hint"] == "scepd audit verify"
    assert town.numbers == [1]


def test_S105_S124_a_file_ahead_of_the_store_is_an_alarm_until_it_is_moved_away(town, log):
    node = town.nodes[0]
    add_challenge(node.store)
    node.attend()
    with node.store._connection.write():
        node.store._connection._run("DELETE FROM audit_seal")
    node.attend()
    (alarm,) = told(log, "audit_unsealed")
    assert "ends with seal 1, which is not the store's: the store ends with seal 0" in alarm["cause"]
    path = town.sealer.file.path
    assert alarm["hint"].endswith(f"mv {path} {path}.lost")
    path.rename(f"{path}.lost")
    town.wait(minutes=2)
    node.attend()
    assert town.sealer.problems(node.store) == []
    assert town.numbers == [1]


def test_a_seal_that_another_made_first_is_given_up(town, log):
    one, two = town.nodes[0], town.open()
    add_challenge(one.store)
    draft = one.store.draft_seal()
    two.attend()
    assert not one.store.add_seal(draft)
    assert one.duty._keep(one.store, draft) is False
    assert town.numbers == [1]

"""A worker may die at any instant: the device that repeats its message gets its one certificate."""

import http.client
import os
import random
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from scepd.records import ChallengeState, TransactionState
from tests.live.device import Fleet, hear, opened_connection, say
from tests.live.killing import (
    ENROLMENT,
    POINTS,
    RECOVERY,
    arm,
    frozen,
    is_dead,
    kills,
    named_checkpoints,
    ready_pids,
    startup_times,
    startup_words,
    wait_ready,
    wait_until,
    workers,
)
from tests.live.opened import opened
from tests.live.server import copy_of

pytestmark = pytest.mark.live

SCALE = int(os.environ.get("SCALE", "1"))
KILLS = 200 * SCALE
NAMED = KILLS * 2 // 5  # of them at checkpoints; the others at any instant
PATIENCE = 900 * SCALE  # seconds for all of them on a machine that has other work too
CLIENTS = 3
STEADY = 3  # certificates between two kills: a load that never gets anything is none
YOUNG = 0.03  # chance that a kill meets a worker that is still starting


@pytest.fixture(scope="module")
def one(template, place):
    """A server with one worker that dies where it is told to; accounted for at the end of the module."""
    yield from served(copy_of(template, place / "crash1"), workers=1)


@pytest.fixture(scope="module")
def two(elliptic_template, place):
    """A server with two workers and a P-256 issuing key, for deaths at any instant."""
    yield from served(copy_of(elliptic_template, place / "crash2"), workers=2)


def served(server, *, workers):
    server.edit(r"^workers = \d+", f"workers = {workers}")
    server.arguments = ("--test-checkpoints", str(point_file(server)))
    server.start()
    fleet = Fleet(server)
    try:
        yield fleet
    finally:
        status = server.stop()
    assert status in {0, -signal.SIGTERM}  # twistd ends with the signal that asked for it
    fleet.settle_account()


def point_file(server):
    return server.directory / "checkpoint"


def standing(fleet, device):
    """What the store holds of a device: the states of its transaction and of its challenge."""
    with opened(fleet.server) as (repository, _issuers):
        rows = [row for row in repository.transactions() if row.key.transaction_id == device.transaction_id]
        challenge = next(row for row in repository.challenges() if row.id == device.challenge[0])
    assert len(rows) <= 1
    return rows[0].state if rows else None, challenge.state


def die_at(fleet, device, point):
    """Send the device's message; the worker dies at the point and the connection breaks."""
    path = point_file(fleet.server)
    arm(path, point)
    try:
        reply = fleet.send(device)
    except (OSError, http.client.HTTPException):
        pass
    else:
        raise AssertionError(f"an answer in spite of {point}: {reply}")
    assert not path.exists(), f"the worker died somewhere else than at {point}"


def test_C219_every_checkpoint_of_an_enrolment_is_in_the_list():
    direct, suffixes, acts, calls = named_checkpoints()
    stored = {f"{act}{suffix}" for act in ENROLMENT for suffix in suffixes}
    assert direct | stored == set(POINTS)
    assert suffixes == {".before_commit", ".after_commit"}
    assert acts > ENROLMENT
    assert calls == len(direct) + len(suffixes), "a checkpoint whose name this test does not see"


@pytest.mark.parametrize("point", POINTS)
def test_C219_S34_death_at_a_checkpoint_leaves_what_the_next_worker_can_finish(one, point):
    transaction, challenge = POINTS[point]
    expected = transaction and TransactionState[transaction], ChallengeState[challenge]
    device = one.device()
    wait_ready(one.server)
    before = kills(one.server)
    with frozen(one.server.process.pid):  # nobody replaces the worker while the store is looked at
        die_at(one, device, point)
        assert standing(one, device) == expected
    wait_ready(one.server)
    assert kills(one.server) == before + 1
    if transaction:  # finished before the device asks again
        assert standing(one, device) == (TransactionState.ISSUED, ChallengeState.SPENT)
    first = one.enrol(device)
    assert one.enrol(device) == first
    assert one.is_refused(one.stranger(device.challenge)), "the challenge worked twice"


def test_death_of_the_whole_service_is_made_good_by_its_next_start(one):
    device = one.device()
    wait_ready(one.server)
    with frozen(one.server.process.pid):
        die_at(one, device, "after_intent")
        one.server.process.kill()
    one.server.process.wait(10)
    assert standing(one, device) == (TransactionState.ISSUING, ChallengeState.RESERVED)
    one.server.start()
    assert standing(one, device) == (TransactionState.ISSUED, ChallengeState.SPENT)
    one.enrol(device)


def test_connections_that_queue_while_the_worker_is_dead_are_answered_by_its_replacement(one):
    wait_ready(one.server)
    [pid] = ready_pids(one.server)
    devices = [one.device() for _ in range(4)]
    with frozen(one.server.process.pid):
        with frozen(pid):  # alive and deaf: the kernel takes these connections
            connections = [opened_connection(one.server) for _ in devices[:2]]
            say(connections[0], one.server, devices[0].body)
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: is_dead(pid), what="the worker's death")
        connections += [opened_connection(one.server) for _ in devices[2:]]  # nobody is there at all
        say(connections[2], one.server, devices[2].body)
    say(connections[1], one.server, devices[1].body)
    say(connections[3], one.server, devices[3].body)
    for device, connection in zip(devices, connections, strict=True):
        reply = hear(connection)
        connection.close()
        assert reply.status == 200  # on the very connection
        one.accept(device, reply)
        one.enrol(device)
    wait_ready(one.server)
    assert ready_pids(one.server) != [pid]


def sweep(fleet, wanted, deadline):
    """Kill the one worker at every checkpoint in turn, and again while its replacement makes that good."""
    made = 0
    doubles = [(point, again) for point in ("after_intent", "record.before_commit") for again in RECOVERY]
    deaths = [*((point,) for point in POINTS), *doubles]
    while made < wanted:
        for points in deaths:
            assert time.monotonic() < deadline, f"{made} of {wanted} kills in time"
            device = fleet.device()
            die_at(fleet, device, points[0])
            for point in points[1:]:
                arm(point_file(fleet.server), point)
                wait_until(lambda: not point_file(fleet.server).exists(), what=f"a second death at {point}")
            fleet.enrol(device)
            made += len(points)
            if made >= wanted:
                break
    wait_ready(fleet.server)
    return made


@pytest.fixture
def traffic(two):
    """Clients that enrol without pause; a broken connection or a 503 makes them repeat their message."""
    over, faults = threading.Event(), []

    def work():
        try:
            while not over.is_set():
                two.enrol(two.device(), patience=90, pause=0.02)
                over.wait(random.uniform(0, 0.03))
        except BaseException as fault:
            faults.append(fault)
            raise

    with ThreadPoolExecutor(CLIENTS) as pool:
        futures = [pool.submit(work) for _ in range(CLIENTS)]
        yield faults
        over.set()
        for future in futures:
            future.result(90)


def strike(fleet, wanted, faults, deadline):
    """Kill a worker at random instants of a steady load; now and then one that does not serve yet."""
    made = issued = 0
    while made < wanted and not faults:
        assert time.monotonic() < deadline, f"{made} of {wanted} kills in time"
        time.sleep(random.uniform(0, 0.2))
        rows = workers(fleet.server)
        serving = [row["pid"] for row in rows if row["state"] == "ready"]
        starting = [row["pid"] for row in rows if row["state"] == "starting"]
        if fleet.issued < issued + STEADY or not serving:
            continue
        if starting and random.random() < YOUNG:  # seldom: the supervisor waits longer before each next try
            serving = starting
        os.kill(random.choice(serving), signal.SIGKILL)
        issued = fleet.issued
        made += 1
    return made


def test_C217_C219_S34_two_hundred_kills_cost_no_certificate_and_no_challenge(one, two, traffic, capsys):
    before = [kills(fleet.server) for fleet in (one, two)]
    began, deadline = time.monotonic(), time.monotonic() + PATIENCE
    with ThreadPoolExecutor(1) as pool:
        named = pool.submit(sweep, one, NAMED, deadline)
        struck = strike(two, KILLS - NAMED, traffic, deadline)
        swept = named.result(PATIENCE)
    assert traffic == []
    wait_ready(two.server)
    seconds = time.monotonic() - began
    counted = [kills(fleet.server) - number for fleet, number in zip((one, two), before, strict=True)]
    times = [ms for fleet in (one, two) for ms in startup_times(fleet.server)]
    shown = [row["startup_milliseconds"] for fleet in (one, two) for row in fleet.server.status()["workers"]]
    assert set(shown) <= set(times)
    repeated = sum(device.attempts > 1 for device in two.devices)
    with capsys.disabled():
        print(
            f"\n{swept} kills at checkpoints, {struck} at random under {len(two.devices)} enrolments "
            f"({repeated} of them repeated), {seconds:.0f} s; {startup_words(times)}"
        )
    assert counted == [swept, struck]
    assert swept + struck >= KILLS
    assert repeated >= struck // 4, "the kills met hardly any request"

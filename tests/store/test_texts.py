"""The texts of challenges are forgotten once they serve no more; looking for waiting ones costs little whatever is stored."""

import time
from datetime import timedelta

import pytest

from scepd.store.check import check_store

from .building import (
    BEGIN,
    Clock,
    Device,
    add_challenge,
    enrol,
    finish,
    make_intent,
    make_petition,
    open_repository,
)

DAY = timedelta(days=1)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def store(directory, clock, issuer):
    repository = open_repository(directory, clock)
    yield repository
    assert check_store(repository, {"main": issuer.der}) == []
    repository.close()


def is_kept(store, challenge):
    return store.challenge(challenge.id).sealed is not None


def test_S33_texts_that_serve_no_more_are_forgotten(store, issuer, clock):
    live = add_challenge(store, sealed=b"live", expires=BEGIN + 2 * DAY)
    expired = add_challenge(store, sealed=b"expired")
    cancelled = add_challenge(store, sealed=b"cancelled", expires=BEGIN + 2 * DAY)
    spent = add_challenge(store, sealed=b"spent")
    claimed = add_challenge(store, sealed=b"claimed")
    waiting = add_challenge(store, sealed=b"waiting")
    add_challenge(store)
    enrol(store, issuer, Device.make(), challenge=spent.id)
    store.claim(make_intent(issuer, Device.make(), challenge=claimed.id))
    store.petition(make_petition(issuer, Device.make(), challenge=waiting.id))
    store.cancel_challenge(cancelled.id, cancelled_by="ann")
    store.cancel_challenge(waiting.id, cancelled_by="ann")
    assert store.forget_texts(BEGIN) == 1
    assert not is_kept(store, cancelled)
    assert store.forget_texts(BEGIN + DAY) == 1
    assert not is_kept(store, expired)
    assert all(is_kept(store, one) for one in (live, spent, claimed, waiting))
    # What waits and what is being issued is answered under its text, however long that takes.
    assert store.forget_texts(BEGIN + 30 * DAY - timedelta(seconds=1)) == 1
    assert not is_kept(store, live)
    assert store.forget_texts(BEGIN + 30 * DAY) == 1
    assert not is_kept(store, spent)
    assert is_kept(store, claimed)
    assert is_kept(store, waiting)
    clock.moment += 7 * DAY
    store.expire_pending()
    assert store.forget_texts(clock.moment) == 1
    assert not is_kept(store, waiting)


def test_S33_a_challenge_for_several_is_kept_as_long_as_one_may_come_back(store, issuer):
    several = add_challenge(store, sealed=b"several", uses=3)
    enrol(store, issuer, Device.make(), challenge=several.id)
    store.petition(make_petition(issuer, Device.make(), challenge=several.id))
    assert store.forget_texts(BEGIN + 40 * DAY) == 0
    store.decide(2, approve=False, who="ann")
    assert store.forget_texts(BEGIN + 29 * DAY) == 0
    assert store.forget_texts(BEGIN + 31 * DAY) == 1


def test_texts_are_forgotten_a_part_at_a_time(store):
    for _ in range(230):
        add_challenge(store, sealed=b"text")
    assert [store.forget_texts(BEGIN + DAY, 220), store.forget_texts(BEGIN + DAY), store.forget_texts(BEGIN + DAY)] == [
        220,
        10,
        0,
    ]


def test_S41_expired_challenges_cost_nobody_a_scan(store):
    connection = store._connection
    with connection.write():
        connection._run(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50000) "
            "INSERT INTO challenge (profile, digest, names, expires, uses, uses_left, state, created, created_by, sealed) "
            "SELECT 'routers', randomblob(32), '[]', '2020-01-01T00:00:00.000000+00:00', 1, 1, 'free', "
            "'2020-01-01T00:00:00.000000+00:00', 't', randomblob(60) FROM n"
        )
    began = time.process_time()
    assert store.waiting_challenges("routers", BEGIN, 9) == []
    assert time.process_time() - began < 0.02
    fresh = add_challenge(store, sealed=b"text")
    assert store.waiting_challenges("routers", BEGIN, 9) == [fresh]


def test_what_a_gone_node_had_begun_is_adopted(directory, store, issuer):
    gone = open_repository(directory, owner="beta/0.1")
    device = Device.make()
    claimed, _ = gone.claim(make_intent(issuer, device))
    finished = enrol(gone, issuer, Device.make())
    mine, _ = store.claim(make_intent(issuer, Device.make()))
    assert store.adopt("beta/0", who="ann") == []
    assert store.adopt("alpha", who="ann") == []
    assert store.adopt("beta", who="user ann") == [claimed]
    assert store.adopt("beta", who="ann") == []
    assert store.transaction(finished.id).owner == "beta/0.1"
    [adopted] = store.unfinished("alpha/adopted")
    assert list(store.unfinished_of_others({"alpha/0"})) == [adopted]
    assert list(store.unfinished("alpha/0")) == [mine]
    [row] = [row for row in store.audit() if row.action == "transaction_adopted"]
    assert (row.actor, row.target) == ("user ann", f"transaction {claimed.id}")
    # The node comes back: its result counts as well as ours.
    finish(gone, issuer, device, claimed)
    assert list(store.unfinished("alpha/adopted")) == []
    gone.close()

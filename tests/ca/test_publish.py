"""When CRLs are published and what they list, over a real store."""

import resource
import sqlite3
import threading
import time
from datetime import timedelta

import attrs
import pytest
from cryptography import x509

from scepd.records import Crl, Revocation, RevocationReason
from scepd.refusal import OperatorError
from scepd.store.rows import serial_text, time_text
from scepd.x509.crl import sign_crl
from scepd.x509.draft import SealError
from scepd.x509.issuer import IssuerCertificate
from tests.store.building import open_repository
from tests.x509.material import certificate, usage

from .conftest import BEGIN, DAY, WEEK

SECOND = timedelta(seconds=1)


def listed(crl):
    return {entry.serial_number for entry in x509.load_der_x509_crl(crl.der)}


def number(crl):
    return x509.load_der_x509_crl(crl.der).extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


def test_C290_C291_the_first_crl_is_published_at_once_and_may_be_empty(town):
    crl = town.publish()
    assert crl == town.store.latest_crl("main")
    assert (crl.number, number(crl), crl.entries, listed(crl)) == (1, 1, 0, set())
    assert crl.this_update == BEGIN.replace(microsecond=0)
    assert crl.next_update - crl.this_update == WEEK


def test_C290_the_next_follows_on_schedule_with_the_next_number(town):
    town.publish()
    town.wait(DAY - 2 * SECOND)
    assert not town.publisher.is_due(town.store, town.clock.now())
    assert town.publish() is None
    town.wait(2 * SECOND)
    assert town.publisher.is_due(town.store, town.clock.now())
    assert number(town.publish()) == 2
    assert town.publish() is None


def test_C290_a_revocation_makes_the_next_one_before_its_time(town):
    one, other = town.enrol("r1"), town.enrol("r2")
    town.publish()
    town.wait(SECOND)
    town.revoke(one)
    crl = town.publish()
    assert (number(crl), listed(crl), crl.entries) == (2, {one}, 1)
    assert town.publish() is None
    town.revoke(other)
    assert listed(town.publish()) == {one, other}


def test_C296_a_hold_is_listed_and_leaves_when_it_is_released_and_everything_else_stays(town):
    held, lost = town.enrol("r1"), town.enrol("r2")
    town.revoke(held, RevocationReason.certificateHold)
    town.revoke(lost, RevocationReason.keyCompromise)
    assert listed(town.publish()) == {held, lost}
    town.store.release("main", held, who="ann")
    with pytest.raises(OperatorError):
        town.store.release("main", lost, who="ann")
    crl = town.publish()
    assert (number(crl), listed(crl)) == (2, {lost})


def test_C296_a_hold_that_becomes_permanent_is_published_with_its_new_reason(town):
    held = town.enrol("r1")
    town.revoke(held, RevocationReason.certificateHold)
    town.publish()
    town.revoke(held, RevocationReason.keyCompromise)
    (entry,) = x509.load_der_x509_crl(town.publish().der)
    assert entry.extensions.get_extension_for_class(x509.CRLReason).value.reason is x509.ReasonFlags.key_compromise


@pytest.mark.parametrize("late", [timedelta(0), DAY / 2, 3 * DAY, 30 * DAY])
def test_C293_S107_an_entry_stays_until_a_scheduled_crl_issued_after_the_notAfter_had_it(town, late):
    """However late the schedule runs: the first CRL after the notAfter lists it; a whole `valid` later it is gone."""
    end = BEGIN + 2 * DAY + late / 2
    serial = town.enrol("r1", not_after=end)
    town.revoke(serial)
    first_after = None
    listed_after = []
    town.publish()
    while town.clock.now() < end + 4 * WEEK + 2 * late:
        town.wait(DAY + late)
        crl = town.publish()
        if crl.this_update > end:
            first_after = first_after or crl
            listed_after.append((crl.this_update, serial in listed(crl)))
    assert serial in listed(first_after)
    assert listed_after[-1][1] is False
    assert all(present for moment, present in listed_after if moment <= end + WEEK)


def test_C293_S107_an_early_crl_does_not_shorten_the_stay(town):
    """A CRL that a revocation made just after the notAfter is none of the schedule: the next scheduled one lists it too."""
    end = BEGIN + 2 * DAY
    serial, other = town.enrol("r1", not_after=end), town.enrol("r2")
    town.revoke(serial)
    town.publish()
    town.wait(2 * DAY + SECOND)
    town.revoke(other)
    assert listed(town.publish()) == {serial, other}
    town.wait(DAY)
    assert listed(town.publish()) == {serial, other}


def test_C293_an_entry_that_only_grows_old_makes_no_crl_between(town):
    serial = town.enrol("r1", not_after=BEGIN + DAY / 2)
    town.revoke(serial)
    town.publish()
    town.wait(DAY - SECOND)
    assert town.publish() is None


def test_C290_S106_of_two_that_generate_at_once_one_wins_and_numbers_rise(town):
    rounds = 6
    serials = [town.enrol(f"r{count}") for count in range(rounds)]
    barrier = threading.Barrier(2, timeout=20)
    outcomes = [[], []]

    def compete(place):
        store, publisher = open_repository(town.directory, town.clock), town.make_publisher()
        for serial in serials:
            draft = publisher.draft(store, town.clock.now())
            barrier.wait()
            signature = sign_crl(draft, town.issuer.key)
            outcomes[place].append(publisher.publish(store, draft, signature, who=f"alpha/{place}.duties"))
            if barrier.wait() == 0:
                store.revoke("main", serial, Revocation(BEGIN, RevocationReason.superseded), who="ann")
            barrier.wait()
        store.close()

    threads = [threading.Thread(target=compete, args=(place,)) for place in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    pairs = list(zip(*outcomes, strict=True))
    assert len(pairs) == rounds
    assert all(pair.count(None) == 1 for pair in pairs)
    assert [crl.number for pair in pairs for crl in pair if crl is not None] == list(range(1, rounds + 1))


def test_C290_S105_numbers_never_fall_back_where_an_old_store_was_restored(town):
    town.publish()
    draft = town.publisher.draft(town.store, town.clock.now(), above=41)
    assert draft.number == 42
    crl = town.publisher.publish(town.store, draft, sign_crl(draft, town.issuer.key), who="alpha/0.duties")
    assert town.store.latest_crl_number("main") == crl.number == 42
    assert town.publisher.draft(town.store, town.clock.now(), above=42) is None
    town.wait(DAY)
    assert town.publish().number == 43


def test_C290_a_restarted_process_goes_on_where_the_store_is(town):
    serial = town.enrol()
    town.publish()
    again = town.make_publisher()
    assert town.publish(again) is None
    town.revoke(serial)
    assert number(town.publish(town.make_publisher())) == 2


def test_S110_a_signature_of_another_key_is_never_published(town):
    draft = town.publisher.draft(town.store, town.clock.now())
    other = attrs.evolve(draft, digest=bytes(32))
    with pytest.raises(SealError):
        town.publisher.publish(town.store, draft, sign_crl(other, town.issuer.key), who="alpha/0.duties")
    assert town.store.latest_crl("main") is None


def test_a_ca_that_may_not_sign_crls_is_the_operators_mistake(town):
    without = certificate(
        constraints=(x509.BasicConstraints(ca=True, path_length=0), True), usage=(usage("key_cert_sign"), True)
    )
    publisher = town.make_publisher(certificate=IssuerCertificate.load(without))
    with pytest.raises(OperatorError, match="cRLSign") as found:
        publisher.draft(town.store, town.clock.now())
    assert "crl = false" in found.value.hint


def test_drafting_pauses_between_slices_and_ends_where_the_pause_raises(town):
    for count in range(3):
        town.revoke(town.enrol(f"r{count}"))
    calls = []

    def pause():
        calls.append(1)
        if len(calls) > 1:
            raise InterruptedError

    publisher = town.make_publisher(pause=pause)
    assert publisher.draft(town.store, town.clock.now()).entries == 3
    with pytest.raises(InterruptedError):
        publisher.draft(town.store, town.clock.now())


def revoke_many(town, count):
    """Write revoked certificates past the acts of the store, which take a write transaction each."""
    begin, end = time_text(BEGIN - DAY), time_text(BEGIN + 30 * DAY)
    rows = (
        ("main", serial_text((0x5C << 136) + number), "revoked", "p", "CN=x", "[]", b"", begin, end, begin, begin, 4)
        for number in range(count)
    )
    with sqlite3.connect(town.directory / "scepd.sqlite") as connection:
        connection.executemany(
            "INSERT INTO certificate (issuer, serial, state, profile, subject, names, public_key, not_before, not_after,"
            f" created, revoked, revocation_reason) VALUES ({', '.join('?' * 12)})",
            rows,
        )
    connection.close()


def test_S112_a_hundred_thousand_entries_take_seconds_little_memory_and_short_slices(town):
    revoke_many(town, 100_000)
    slices, last = [], [time.thread_time()]

    def pause():
        now = time.thread_time()
        slices.append(now - last[0])
        last[0] = now

    begun, memory = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    crl = town.publish(town.make_publisher(pause=pause))
    assert time.perf_counter() - begun < 10
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 200 * 1024
    assert crl.entries == len(x509.load_der_x509_crl(crl.der)) == 100_000
    assert len(slices) == 500
    assert max(slices) < 0.05


class Counting:
    """The store's CRLs, counting how often their octets are read."""

    def __init__(self, store):
        self.store, self.reads = store, 0

    def latest_crl_number(self, issuer):
        return self.store.latest_crl_number(issuer)

    def latest_crl(self, issuer):
        self.reads += 1
        return self.store.latest_crl(issuer)


def test_the_shelf_reads_a_crl_once_and_the_next_when_there_is_one(town):
    store, shelf = Counting(town.store), town.publisher.shelf.__class__()
    assert shelf.held("main") is None
    assert shelf.newest(store, "main", town.clock.now()) is None
    first = town.publish()
    assert isinstance(first, Crl)
    reads = store.reads
    assert [shelf.newest(store, "main", town.clock.now()) for _ in range(3)] == [first] * 3
    assert store.reads == reads + 1
    assert shelf.held("main") == first
    town.wait(DAY)
    assert shelf.newest(store, "main", town.clock.now()) == first
    second = town.publish()
    assert shelf.newest(store, "main", town.clock.now()) == second
    assert store.reads == reads + 2


def test_C232_the_shelf_gives_no_crl_that_is_over(town):
    crl = town.publish()
    shelf = town.publisher.shelf
    assert shelf.newest(town.store, "main", crl.next_update - SECOND) == crl
    assert shelf.newest(town.store, "main", crl.next_update) is None
    assert shelf.latest(town.store, "main") == crl
    assert shelf.newest(town.store, "nobody", town.clock.now()) is None

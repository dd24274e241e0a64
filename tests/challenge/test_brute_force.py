"""Guessing from many places at once: nobody gets in, devices do, and the disk is left alone (threats S-30)."""

import itertools
import os
import statistics
import time
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from scepd.challenge.digest import keyed_digest, new_challenge
from scepd.challenge.entity import EntityChallenge
from scepd.challenge.one_time import OneTimeChallenge
from scepd.challenge.order import authenticate_in_order
from scepd.challenge.static import StaticChallenge
from scepd.challenge.wrong_codes import WrongCodes
from scepd.records import EntityState, Secret
from scepd.refusal import Reason, Reject
from scepd.store.entities import Code, NewEntity
from scepd.web.gcra import RateLimit
from tests.store.building import BEGIN, add_challenge

from .conftest import STORE_KEY

SCALE = int(os.environ.get("SCALE", "1"))
GUESSES, ADDRESSES, DEVICES = 2_000 * SCALE, 200, 100
TRIES = 10


@pytest.fixture
def wrong():
    return WrongCodes()


@pytest.fixture
def methods(wrong):
    return (
        OneTimeChallenge("routers", STORE_KEY),
        EntityChallenge("routers", STORE_KEY, wrong),
        StaticChallenge.from_secret(Secret("a generated text of many bits"), STORE_KEY),
    )


@pytest.fixture
def devices(store):
    """The texts of devices that have one-time challenges."""
    texts = [new_challenge(os.urandom).reveal() for _ in range(DEVICES)]
    for text in texts:
        add_challenge(store, digest=keyed_digest(STORE_KEY, text))
    return texts


def enter(store, name, *, tries):
    code = Code(keyed_digest(STORE_KEY, f"the code of {name}"), None, tries)
    return store.add_entities("routers", [NewEntity(name, code)], who="ann")[0]


def attempt(methods, store, request):
    try:
        return authenticate_in_order(methods, request, store, BEGIN), None
    except Reject as refusal:
        return None, refusal


def test_S30_guesses_open_nothing_and_devices_enrol_meanwhile(store, csr, methods, devices, wrong):
    chosen = enter(store, "chosen.example.net", tries=TRIES)
    generated = enter(store, "generated.example.net", tries=None)
    names = ("chosen.example.net", "generated.example.net", "nobody.example.net", "r1.example.net")
    guesses = [csr(f"guess {number}", subject=f"CN={names[number % 4]}") for number in range(40)]
    genuine = [csr(text) for text in devices]
    rows = len(list(store.audit_chains()))
    now = itertools.count(0, 60_000_000_000 // GUESSES)  # nanoseconds: all of it within a minute
    moment = [0]
    limit = RateLimit(3, clock=lambda: moment[0])
    refusals, spent, let_in, held_back = set(), [], 0, 0
    for number in range(GUESSES):
        moment[0] = next(now)
        if limit.take(f"198.51.{number % ADDRESSES}") > 0:
            held_back += 1
        else:
            identity, refusal = attempt(methods, store, guesses[number % 40])
            assert identity is None
            refusals.add((refusal.reason, refusal.fail_info_text))
        if number % (GUESSES // DEVICES) == 0:
            begun = time.perf_counter()
            identity, _ = attempt(methods, store, genuine[number // (GUESSES // DEVICES)])
            spent.append(time.perf_counter() - begun)
            let_in += identity is not None
            store.count_wrong_codes(wrong.drain())  # as the worker does each second
    assert refusals == {(Reason.challenge_invalid, "challenge rejected")}
    assert let_in == DEVICES
    assert held_back > 0
    assert (store.entity(chosen).state, store.entity(chosen).tries_left) == (EntityState.NEW, 0)
    assert store.entity(generated).state is EntityState.NEW
    assert len(list(store.audit_chains())) == rows + 1  # that it is slowed; no row for a guess
    quiet = [_timed(methods, store, request) for request in genuine]
    assert statistics.median(spent) < 2 * statistics.median(quiet) + 0.001


def _timed(methods, store, request):
    begun = time.perf_counter()
    attempt(methods, store, request)
    return time.perf_counter() - begun


def test_S30_a_guessing_network_does_not_use_up_what_another_may():
    limit = RateLimit(5, clock=lambda: 0)
    assert [limit.take("198.51.100.0/24") > 0 for _ in range(7)] == [False] * 5 + [True] * 2
    assert limit.take("192.0.2.0/24") == 0


def test_S30_slowing_one_entity_spares_the_others(store, csr, wrong):
    method = EntityChallenge("routers", STORE_KEY, wrong)
    numbers = [enter(store, f"r{number}.example.net", tries=TRIES) for number in range(3)]
    for guess in range(1_000):
        method.authenticate(csr(f"guess {guess}", subject="CN=r0.example.net"), store, BEGIN)
    assert sum(wrong.drain().values()) == TRIES
    store.count_wrong_codes({numbers[0]: 1_000})
    assert [store.entity(number).tries_left for number in numbers] == [0, TRIES, TRIES]
    assert method.authenticate(csr("the code of r1.example.net", subject="CN=r1.example.net"), store, BEGIN) is not None
    store.reset_entity(numbers[0], Code(keyed_digest(STORE_KEY, "fresh code"), BEGIN + timedelta(1), TRIES), who="ann")
    assert method.authenticate(csr("fresh code", subject="CN=r0.example.net"), store, BEGIN) is not None


def test_S31_where_a_guess_goes_wrong_does_not_tell_how_near_it_was(store, csr, methods):
    text = new_challenge(os.urandom).reveal()
    add_challenge(store, digest=keyed_digest(STORE_KEY, text))
    last = "x" if text[-1] != "x" else "y"
    requests = [csr(text[:-1] + last), csr("x" + text[1:]), csr("x" * len(text))]
    spent = [[] for _ in requests]
    for _ in range(500):
        for times, request in zip(spent, requests, strict=True):
            times.append(_timed(methods, store, request))
    medians = [statistics.median(times) for times in spent]
    assert max(medians) - min(medians) < 0.000_1, medians


def test_S35_one_key_cannot_stand_for_another(store, csr, devices, methods):
    mine, theirs = csr(devices[0]), csr(devices[0], key=ec.generate_private_key(ec.SECP256R1()))
    assert attempt(methods, store, mine)[0] is not None
    assert attempt(methods, store, theirs)[0] is not None  # both are judged alike: the claim lets one win

"""End entities: the common name says who, the code proves it; wrong codes are counted, and nothing tells which it was."""

import statistics
import time
from datetime import timedelta
from unittest.mock import Mock

import attrs
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from scepd.challenge.digest import keyed_digest
from scepd.challenge.entity import EntityChallenge
from scepd.challenge.order import authenticate_in_order
from scepd.challenge.wrong_codes import FREE, WrongCodes
from scepd.records import EntityState, Identity
from scepd.records.credentials import MOST_TRIES, TRY_EVERY
from scepd.refusal import Reason, Reject
from scepd.store.entities import Code, NewEntity
from scepd.x509.keys import spki_digest
from tests.store.building import BEGIN, Device, Issuer, certificate_of, make_intent

from .conftest import STORE_KEY

NAME, CODE, SECRET = "r1.example.net", "k3vx-29ab-77qd", "the secret of the registration authority"


@pytest.fixture
def wrong():
    return WrongCodes()


@pytest.fixture
def method(wrong):
    return EntityChallenge("routers", STORE_KEY, wrong)


@pytest.fixture
def open_method(wrong):
    return EntityChallenge("routers", STORE_KEY, wrong, [keyed_digest(STORE_KEY, SECRET)])


def add(store, name=NAME, code=CODE, *, expires=None, tries=None, profile="routers", **fields):
    new = NewEntity(name, Code(keyed_digest(STORE_KEY, code), expires, tries), **fields)
    return store.add_entities(profile, [new], who="user ann")[0]


def refused(method, store, request, now=BEGIN):
    with pytest.raises(Reject) as caught:
        method.authenticate(request, store, now)
    assert CODE not in caught.value.detail
    return caught.value.reason


def enrol(store, number, request, key):
    issuer, device = Issuer.make(), Device(request.subject, key)
    identity = Identity("entity", NAME, entity=number)
    intent = make_intent(issuer, device, identity=identity, wishes=request.wishes)
    claimed, _ = store.claim(intent)
    return store.record(claimed, certificate_of(issuer, device, intent), ())


def test_an_entity_is_known_by_name_and_code(method, store, csr):
    number = add(store, attributes=(("O", "Example"),), names=("dns:R1.example.net",))
    identity = method.authenticate(csr(CODE), store, BEGIN)
    vouched = {"names": ("dns:r1.example.net",), "attributes": (("CN", NAME), ("O", "Example"))}
    assert identity == Identity("entity", NAME, entity=number, **vouched)
    assert store.entity(number).state is EntityState.NEW  # judged, not taken


@pytest.mark.parametrize(
    "code", ["K3VX-29AB-77QD", CODE[:-1], CODE + " ", "", None, CODE + "\0", "ä" * 300, "x" * 10_240]
)
def test_S31_S32_another_code_or_none_is_nobodys(method, store, csr, code):
    add(store)
    assert method.authenticate(csr(code), store, BEGIN) is None


def test_S32_a_code_is_one_text_in_every_encoding(method, store, csr):
    add(store, code="Zürich-2026")
    for text, tag in (("Zürich-2026", 12), ("Zürich-2026", 30), ("Zu\u0308rich-2026", 12)):
        assert method.authenticate(csr(text, tag=tag), store, BEGIN) is not None


@pytest.mark.parametrize(
    "subject", ["CN=r2.example.net", "O=r1.example.net", "CN=R1.example.net", "", "CN=r1.example.net,CN=r1.example.net"]
)
def test_another_name_or_two_are_nobodys(method, store, csr, subject):
    add(store)
    assert method.authenticate(csr(CODE, subject=subject), store, BEGIN) is None


def test_S36_an_entity_of_another_profile_is_unknown(store, csr, wrong, method):
    add(store, profile="phones")
    assert method.authenticate(csr(CODE), store, BEGIN) is None
    assert EntityChallenge("phones", STORE_KEY, wrong).authenticate(csr(CODE), store, BEGIN) is not None


def test_C152_names_beside_the_registered_ones_are_refused(method, store, csr):
    add(store, names=("dns:a.example", "dns:b.example"))
    for dns in ((), ("b.example",), ("A.example", "b.example")):
        assert method.authenticate(csr(CODE, dns=dns), store, BEGIN) is not None
    assert refused(method, store, csr(CODE, dns=("a.example", "c.example"))) is Reason.challenge_not_for_request
    add(store, "r2", code="another code")
    free = csr("another code", subject="CN=r2", dns=("any.example",))
    assert method.authenticate(free, store, BEGIN) is not None  # the profile decides


def test_C152_a_code_expires(method, store, csr):
    add(store, expires=BEGIN + timedelta(days=7))
    end = BEGIN + timedelta(days=7)
    assert method.authenticate(csr(CODE), store, end - timedelta(microseconds=1)) is not None
    assert refused(method, store, csr(CODE), end) is Reason.challenge_expired


def test_S36_C207_a_used_code_serves_only_the_key_that_used_it(method, store, csr, device_key):
    number = add(store)
    enrol(store, number, csr(CODE), device_key)
    other = ec.generate_private_key(ec.SECP256R1())
    assert refused(method, store, csr(CODE, key=other)) is Reason.challenge_replayed
    assert method.authenticate(csr(CODE), store, BEGIN).entity == number
    assert store.entity(number).spent_by == spki_digest(csr(CODE).spki_der)
    # Without the code nobody learns that the entity exists.
    assert method.authenticate(csr("wrong", key=other), store, BEGIN) is None


def test_an_operator_makes_it_new_with_a_new_code(method, store, csr, device_key):
    number = add(store)
    enrol(store, number, csr(CODE), device_key)
    store.reset_entity(number, Code(keyed_digest(STORE_KEY, "new code"), None, None), who="user ann")
    other = ec.generate_private_key(ec.SECP256R1())
    assert method.authenticate(csr(CODE, key=other), store, BEGIN) is None
    assert method.authenticate(csr("new code", key=other), store, BEGIN).entity == number


def test_S30_wrong_codes_slow_an_entity_whose_code_was_chosen(method, store, csr, wrong):
    number = add(store, tries=3)
    for _ in range(2):
        assert method.authenticate(csr("guess"), store, BEGIN) is None
    assert store.count_wrong_codes(wrong.drain()) == []
    assert method.authenticate(csr(CODE), store, BEGIN) is not None
    method.authenticate(csr("guess"), store, BEGIN)
    # What the store does not know of yet counts already, and a right guess now is answered as a wrong one.
    assert method.authenticate(csr(CODE), store, BEGIN) is None
    assert store.count_wrong_codes(wrong.drain()) == [number]
    assert wrong.drain() == {}
    assert store.entity(number).state is EntityState.NEW
    assert method.authenticate(csr(CODE), store, BEGIN) is None
    method.authenticate(csr("guess"), store, BEGIN)
    assert wrong.drain() == {}  # a slowed one costs no further write
    assert method.authenticate(csr(CODE), store, BEGIN + TRY_EVERY - timedelta(seconds=1)) is None
    assert method.authenticate(csr(CODE), store, BEGIN + TRY_EVERY) is not None


def test_S30_a_network_waits_twice_as_long_after_each_wrong_code(method, store, csr, wrong):
    add(store, tries=MOST_TRIES)
    mine, neighbour, owner = (method.of(host) for host in ("198.51.100.7", "198.51.100.9", "192.0.2.7"))
    for _ in range(30):
        mine.authenticate(csr("guess"), store, BEGIN)
    assert set(wrong.drain().values()) == {FREE}  # what would not be let in is not counted
    now = BEGIN
    for minutes in (1, 2, 4, 8, 16, 32, 64, 128, 240, 240):
        assert neighbour.authenticate(csr(CODE), store, now + timedelta(minutes=minutes, seconds=-1)) is None
        assert owner.authenticate(csr(CODE), store, now) is not None
        now += timedelta(minutes=minutes)
        assert neighbour.authenticate(csr(CODE), store, now) is not None
        mine.authenticate(csr("guess"), store, now)
    assert neighbour.authenticate(csr(CODE), store, now + timedelta(days=1)) is not None
    mine.authenticate(csr("guess"), store, now + timedelta(days=1))  # forgotten: this one is its first
    assert neighbour.authenticate(csr(CODE), store, now + timedelta(days=1)) is not None


def test_S30_one_network_never_comes_to_what_slows_an_entity(method, store, csr, wrong):
    number = add(store, tries=MOST_TRIES)
    guesser = method.of("198.51.100.7")
    for minute in range(3 * 1440):
        now = BEGIN + timedelta(minutes=minute)
        guesser.authenticate(csr("guess"), store, now)
    assert sum(wrong.drain().values()) < 40
    assert store.entity(number).tries_at(now) == MOST_TRIES


def test_S30_another_code_begins_anew(method, store, csr):
    number = add(store, tries=MOST_TRIES)
    for _ in range(FREE):
        method.authenticate(csr("guess"), store, BEGIN)
    assert method.authenticate(csr(CODE), store, BEGIN) is None
    store.reset_entity(number, Code(keyed_digest(STORE_KEY, "new code"), None, MOST_TRIES), who="user ann")
    assert method.authenticate(csr("new code"), store, BEGIN) is not None


def test_S30_an_entity_that_an_older_version_locked_stays_so(method, store, csr):
    number = add(store, tries=3)
    entity = attrs.evolve(store.entity(number), state=EntityState.FAILED)
    assert method.authenticate(csr(CODE), Mock(find_entity=lambda *_: entity), BEGIN) is None


def test_S30_wrong_codes_for_generated_ones_are_not_counted(method, store, csr, wrong):
    add(store)
    for _ in range(50):
        method.authenticate(csr("guess"), store, BEGIN)
    assert wrong.drain() == {}
    assert method.authenticate(csr(CODE), store, BEGIN) is not None


def test_S41_wrong_codes_wait_in_a_bounded_place(store):
    wrong = WrongCodes(most=2, networks=2)
    entities = [store.entity(add(store, f"r{number}", tries=MOST_TRIES)) for number in range(3)]
    for number in (0, 1, 2, 0):
        wrong.note(entities[number], "198.51.100.0/24", BEGIN)
    assert [wrong.waiting(entity.id) for entity in entities] == [2, 1, 0]
    assert wrong.drain() == {entities[0].id: 2, entities[1].id: 1}
    for _ in range(FREE):
        wrong.note(entities[0], "198.51.100.0/24", BEGIN)
    wrong.note(entities[1], "198.51.100.0/24", BEGIN)
    assert wrong.is_locked(entities[0], "198.51.100.0/24", BEGIN)
    wrong.note(entities[2], "198.51.100.0/24", BEGIN)
    assert not wrong.is_locked(entities[0], "198.51.100.0/24", BEGIN)


def test_S31_unknown_name_and_wrong_code_have_one_answer(method, store, csr):
    add(store, tries=3)
    answers = set()
    for request in (csr("guess"), csr("guess", subject="CN=nobody"), csr(CODE, subject="CN=nobody")):
        with pytest.raises(Reject) as caught:
            authenticate_in_order([method], request, store, BEGIN)
        answers.add((caught.value.reason, caught.value.detail, caught.value.fail_info_text))
    assert len(answers) == 1


def test_S31_unknown_name_and_wrong_code_take_the_same_time(method, store, csr):
    add(store, tries=1_000_000)
    requests = {"known": csr("a wrong code"), "unknown": csr("a wrong code", subject="O=Example,CN=r9.example.net")}
    spent = {name: [] for name in requests}
    for _ in range(400):
        for name, request in requests.items():
            begun = time.perf_counter_ns()
            method.authenticate(request, store, BEGIN)
            spent[name].append(time.perf_counter_ns() - begun)
    known, unknown = (statistics.median(spent[name]) for name in ("known", "unknown"))
    # A row that is found is also read into a record; a write, as a count on the spot would be, costs thousands.
    assert abs(known - unknown) < 200_000, (known, unknown)


def test_the_request_of_an_authority_needs_no_code(open_method, method, store, csr):
    assert open_method.authenticate(csr(SECRET), store, BEGIN) == Identity("entity", NAME)
    assert method.authenticate(csr(SECRET), store, BEGIN) is None
    add(store)
    assert open_method.authenticate(csr(CODE), store, BEGIN).entity is not None
    assert open_method.authenticate(csr("neither"), store, BEGIN) is None


@pytest.mark.parametrize("subject", ["", "O=Example", "CN=a,CN=b"])
def test_the_request_of_an_authority_is_for_one_entity(open_method, store, csr, subject):
    assert refused(open_method, store, csr(SECRET, subject=subject)) is Reason.challenge_not_for_request

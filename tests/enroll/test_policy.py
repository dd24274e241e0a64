"""Entities, limits of a profile and its switch, on the whole path of a request."""

import attrs
import pytest

from scepd.challenge.digest import keyed_digest
from scepd.challenge.entity import EntityChallenge
from scepd.challenge.wrong_codes import WrongCodes
from scepd.enroll.respond import respond
from scepd.profile.model import ApprovalRule, SubjectPolicy
from scepd.records import EntityState, Origin, TransactionState
from scepd.records.credentials import MOST_TRIES, TRY_EVERY
from scepd.store.entities import Code, NewEntity
from tests import make
from tests.world import STATIC, STORE_KEY

CODE = "the code of device"


def with_profile(world, **changes):
    world.profiles["default"] = attrs.evolve(world.profiles["default"], **changes)


@pytest.fixture
def entity(world):
    """A registered entity whose name is that of the test's usual request."""
    method = EntityChallenge("default", STORE_KEY, WrongCodes())
    world.context.challenges = {"default": (method, *world.context.challenges["default"])}
    new = NewEntity("device", Code(keyed_digest(STORE_KEY, CODE), None, None), (("O", "Example"),))
    return world.store.add_entities("default", [new], who="ann")[0]


def test_an_entity_enrols_once_and_its_registration_fills_the_subject(world, device, entity):
    with_profile(world, subject=SubjectPolicy(sources=(("O", "identity"), ("CN", "identity"))))
    leaf = device.enrol(challenge=CODE)
    assert world.issued()[0].subject in {"CN=device,O=Example", "O=Example,CN=device"}
    assert leaf
    assert world.store.entity(entity).state is EntityState.GENERATED
    other = make.party("other")
    assert device.refusal(device.request(CODE, signer=other))[0] == "challenge_replayed"


def test_an_entity_whose_certificate_cannot_be_is_free_again(world, device, entity):
    with_profile(world, subject=SubjectPolicy(required=("L",)))
    assert device.refusal(device.request(CODE))[0] == "subject_refused"
    assert world.store.entity(entity).state is EntityState.NEW


def test_S34_S35_a_spent_code_stays_spent_after_a_person_rejected_an_authoritys_request(world, device, entity):
    authority = "a secret of the registration authority"
    method = EntityChallenge("default", STORE_KEY, WrongCodes(), [keyed_digest(STORE_KEY, authority)])
    world.context.challenges = {"default": (method,)}
    device.enrol(challenge=CODE)
    with_profile(world, approval=ApprovalRule())
    device.send(device.request(authority, signer=make.party("another"), transaction_id="the authority's"))
    [waiting] = world.store.transactions(state=TransactionState.PENDING)
    world.store.decide(waiting.id, approve=False, who="ann", detail="not today")
    assert world.store.entity(entity).state is EntityState.NEW
    with_profile(world, approval=None)
    thief = device.request(CODE, signer=make.party("thief"), transaction_id="the thief's")
    assert device.refusal(thief)[0] == "challenge_invalid"
    assert len(world.issued()) == 1


def test_a_profile_that_is_switched_off_refuses_until_it_is_on(world, device):
    world.context.switches.replace(frozenset({"default"}))
    assert device.refusal(device.request(STATIC)) == ("profile_disabled", "badRequest", "profile not enabled")
    world.context.switches.replace(frozenset())
    assert device.enrol(challenge=STATIC)


def test_S41_a_subject_has_so_many_certificates(world, device):
    with_profile(world, most_active=2)
    for number in range(2):
        device.enrol(challenge=STATIC, signer=make.party(f"p{number}"), transaction_id=f"t{number}")
    body = device.request(STATIC, signer=make.party("p2"), transaction_id="t2")
    assert device.refusal(body)[0] == "identity_limit"


def test_S28_a_key_is_certified_once(world, device):
    with_profile(world, unique_key=True)
    device.enrol(challenge=STATIC)
    assert device.refusal(device.request(STATIC, transaction_id="another"))[0] == "key_taken"


# A code that a person chose is guessed at


@pytest.fixture
def guessed(world):
    """An entity with a chosen code, and what asks for it from an address: the refusal's word, or "issued"."""
    wrong = WrongCodes()
    world.context.challenges = {"default": (EntityChallenge("default", STORE_KEY, wrong),)}
    new = NewEntity("device", Code(keyed_digest(STORE_KEY, CODE), None, MOST_TRIES))
    number = world.store.add_entities("default", [new], who="ann")[0]

    def ask(body, address):
        answer = respond(world.context, world.profiles["default"], body, Origin(address, "request-1")).answer
        world.store.count_wrong_codes(wrong.drain())
        return answer.reason or answer.outcome

    ask.number = number
    return ask


def test_S30_ten_guesses_of_a_stranger_leave_the_owner_able_to_enrol(world, device, guessed):
    for number in range(40):
        guess = device.request(f"guess {number}", signer=make.party("thief"), transaction_id=f"guess {number}")
        assert guessed(guess, "198.51.100.7") == "challenge_invalid"
    right = device.request(CODE, signer=make.party("thief"), transaction_id="right")
    assert guessed(right, "198.51.100.8") == "challenge_invalid"  # its network has to wait, and learns nothing
    assert guessed(device.request(CODE), "192.0.2.7") == "issued"


def test_S30_guesses_from_many_networks_slow_an_entity_and_never_lock_it(world, device, guessed):
    for number in range(MOST_TRIES + 20):
        guess = device.request(f"guess {number}", signer=make.party("thief"), transaction_id=f"guess {number}")
        assert guessed(guess, f"198.{18 + number // 200}.{number % 200}.7") == "challenge_invalid"
    assert world.store.entity(guessed.number).tries_left == 0
    assert guessed(device.request(CODE), "192.0.2.7") == "challenge_invalid"
    world.clock.time += TRY_EVERY
    assert guessed(device.request("another guess", transaction_id="x"), "203.0.113.7") == "challenge_invalid"
    assert guessed(device.request(CODE), "192.0.2.7") == "challenge_invalid"  # a guesser had the one try
    world.clock.time += TRY_EVERY
    assert guessed(device.request(CODE), "192.0.2.7") == "issued"

"""Challenges as passwords: sealed, found again, few enough to try."""

import os
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scepd.challenge.digest import keyed_digest, new_challenge
from scepd.challenge.passwords import ProfilePasswords, seal, unseal
from scepd.records import Identity, Secret
from tests.store.building import BEGIN, Device, Issuer, add_challenge, certificate_of, make_intent

from .conftest import STORE_KEY

STATIC = Secret("a-static-challenge-of-some-length")
HOUR = timedelta(hours=1)


@pytest.fixture
def issuer():
    return Issuer.make()


@pytest.fixture
def device():
    return Device.make()


def passwords(*statics, profile="routers", **options):
    return ProfilePasswords(profile, STORE_KEY, statics, **options)


def add(store, text, *, profile="routers", sealed=True, **options):
    """Add a challenge as a profile with password encryption does."""
    kept = seal(STORE_KEY, Secret(text), profile=profile, random=os.urandom) if sealed else None
    return add_challenge(store, digest=keyed_digest(STORE_KEY, text), profile=profile, sealed=kept, **options)


def tried(store, using=None, *, now=BEGIN, transaction_id="fresh", requester=None):
    using = using or passwords()
    return [secret.reveal() for secret in using.candidates(store, transaction_id, now, requester=requester)]


# Sealing


@given(st.text(max_size=300), st.text(max_size=20))
@settings(max_examples=50, deadline=None)
def test_C153_sealed_texts_open_for_their_profile_alone(text, profile):
    sealed = seal(STORE_KEY, Secret(text), profile=profile, random=os.urandom)
    assert unseal(STORE_KEY, sealed, profile=profile) == Secret(text)
    assert unseal(STORE_KEY, sealed, profile=profile + "x") is None
    assert unseal(bytes(32), sealed, profile=profile) is None


def test_C153_a_sealed_text_is_not_readable_and_no_two_are_alike():
    one, two = (seal(STORE_KEY, STATIC, profile="routers", random=os.urandom) for _ in range(2))
    assert one != two
    assert STATIC.reveal().encode() not in one
    assert seal(STORE_KEY, STATIC, profile="routers", random=bytes) == seal(
        STORE_KEY, STATIC, profile="routers", random=bytes
    )


def test_C153_the_store_key_itself_seals_nothing():
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    sealed = seal(STORE_KEY, STATIC, profile="routers", random=os.urandom)
    with pytest.raises(InvalidTag):
        AESGCM(STORE_KEY).decrypt(sealed[:12], sealed[12:], b"routers")


def test_C153_a_damaged_text_does_not_open():
    sealed = seal(STORE_KEY, STATIC, profile="routers", random=os.urandom)
    for position in range(len(sealed)):
        bent = bytearray(sealed)
        bent[position] ^= 1
        assert unseal(STORE_KEY, bytes(bent), profile="routers") is None
    for length in range(len(sealed)):
        assert unseal(STORE_KEY, sealed[:length], profile="routers") is None


# C-253: which challenge a message may be encrypted with


def test_C253_without_any_challenge_there_is_nothing_to_try(store):
    assert tried(store) == []


def test_C253_static_challenges_come_before_waiting_ones_newest_first(store):
    add(store, "first")
    add(store, "second")
    assert tried(store, passwords(STATIC, Secret("older"))) == [STATIC.reveal(), "older", "second", "first"]


def test_C253_up_to_eight_waiting_challenges_are_tried_more_are_none(store):
    for number in range(8):
        add(store, f"challenge {number}")
    assert len(tried(store)) == 8
    assert len(tried(store, passwords(STATIC))) == 9
    add(store, "one too many")
    assert tried(store) == []
    assert tried(store, passwords(STATIC)) == [STATIC.reveal()]
    assert len(tried(store, passwords(most=9))) == 9
    assert tried(store, passwords(most=0)) == []


def test_C253_other_profiles_expired_cancelled_and_unsealed_challenges_are_not_tried(store):
    add(store, "another profile's", profile="phones")
    add(store, "expired", expires=BEGIN + HOUR)
    add(store, "unsealed", sealed=False)
    store.cancel_challenge(add(store, "cancelled").id, cancelled_by="bob")
    assert tried(store, now=BEGIN + HOUR) == []
    assert tried(store, now=BEGIN) == ["expired"]


def test_C253_what_cannot_be_opened_is_passed_over(store):
    sealed = seal(bytes(32), Secret("under an old store key"), profile="routers", random=os.urandom)
    add_challenge(store, sealed=sealed)
    add(store, "readable")
    assert tried(store) == ["readable"]


def test_C253_each_text_is_tried_once(store):
    add(store, STATIC.reveal())
    assert tried(store, passwords(STATIC, STATIC)) == [STATIC.reveal()]


def enrolled(store, issuer, device, challenge, **changes):
    intent = make_intent(issuer, device, challenge=challenge.id, transaction_id="known", **changes)
    claimed, _ = store.claim(intent)
    return store.record(claimed, certificate_of(issuer, device, intent), ())


def test_C253_C207_the_challenge_of_the_known_transaction_comes_first_spent_as_it_is(store, issuer, device):
    challenge = add(store, "spent")
    enrolled(store, issuer, device, challenge)
    add(store, "waiting")
    using = passwords(STATIC)
    again = {"transaction_id": "known", "requester": device.key_digest}
    assert tried(store, using, **again) == ["spent", STATIC.reveal(), "waiting"]
    # Nobody else has that transaction.
    for other in (
        {"transaction_id": "unknown", "requester": device.key_digest},
        {"transaction_id": "known", "requester": bytes(32)},
        {"transaction_id": "known"},
    ):
        assert tried(store, using, **other) == [STATIC.reveal(), "waiting"]
    assert tried(store, passwords(profile="phones"), **again) == []


def test_C253_C207_even_where_too_many_wait(store, issuer, device):
    enrolled(store, issuer, device, add(store, "spent"))
    for number in range(9):
        add(store, f"challenge {number}")
    assert tried(store, transaction_id="known", requester=device.key_digest) == ["spent"]


# What protects a later reply


def test_C252_a_reply_to_a_stored_transaction_is_protected_by_its_challenge(store, issuer, device):
    transaction = enrolled(store, issuer, device, add(store, "spent"))
    assert passwords(STATIC).of_identity(store, transaction.identity) == Secret("spent")


def test_C252_static_challenges_protect_where_there_is_one_of_them(store, issuer, device):
    transaction, _ = store.claim(make_intent(issuer, device))
    assert transaction.identity.method == "static"
    assert passwords(STATIC).of_identity(store, transaction.identity) == STATIC
    assert passwords().of_identity(store, transaction.identity) is None
    assert passwords(STATIC, Secret("older")).of_identity(store, transaction.identity) is None


def test_C257_what_is_not_kept_protects_nothing(store, issuer, device):
    unsealed = enrolled(store, issuer, device, add(store, "unsealed", sealed=False))
    assert passwords(STATIC).of_identity(store, unsealed.identity) is None
    renewal = make_intent(issuer, Device.make("CN=r2"), identity=Identity("renewal", "r2"))
    transaction, _ = store.claim(renewal)
    assert passwords(STATIC).of_identity(store, transaction.identity) is None


def test_C256_generated_challenges_make_good_passwords(store):
    secret = new_challenge(os.urandom)
    add(store, secret.reveal())
    assert tried(store) == [secret.reveal()]
    assert 31**28 > 2**128


def test_C153_no_text_reaches_the_store(store, tmp_path):
    add(store, "canary-7f3a-canary")
    for path in tmp_path.iterdir():
        assert b"canary-7f3a" not in path.read_bytes()


def test_S33_nothing_shows_a_text(store):
    add(store, "canary-7f3a-canary")
    using = passwords(Secret("canary-7f3a-static"))
    assert "canary" not in repr(using.candidates(store, "x", BEGIN))
    assert "canary" not in repr(vars(using))

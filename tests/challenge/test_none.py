"""The method that asks for nothing."""

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from scepd.challenge.none import NoChallenge
from scepd.challenge.one_time import OneTimeChallenge
from scepd.challenge.order import authenticate_in_order
from scepd.challenge.static import StaticChallenge
from scepd.records import Identity, Secret
from scepd.refusal import Reason, Reject
from tests.store.building import BEGIN

from .conftest import STORE_KEY
from .test_one_time import add

ANYBODY = Identity("none", "anybody")


@pytest.mark.parametrize("text", [None, "", "whatever the device was shipped with"])
def test_C150_anybody_may_ask_with_or_without_a_challenge(csr, store, text):
    assert NoChallenge().authenticate(csr(text), store, BEGIN) == ANYBODY


def test_nobody_is_vouched_for(csr, store):
    identity = NoChallenge().authenticate(csr(None, dns=("admin.example",)), store, BEGIN)
    assert (identity.challenge_id, identity.names) == (None, ())


def test_in_the_profiles_order_it_takes_what_the_others_do_not_know(csr, store):
    challenge = add(store, "known")
    methods = [
        StaticChallenge.from_secret(Secret("shared"), STORE_KEY),
        OneTimeChallenge("routers", STORE_KEY),
        NoChallenge(),
    ]
    assert authenticate_in_order(methods, csr("shared"), store, BEGIN).method == "static"
    assert authenticate_in_order(methods, csr("known"), store, BEGIN).challenge_id == challenge.id
    for text in (None, "unknown"):
        assert authenticate_in_order(methods, csr(text), store, BEGIN) == ANYBODY
    assert authenticate_in_order([NoChallenge(), *methods], csr("known"), store, BEGIN) == ANYBODY


def test_C151_a_spent_challenge_is_refused_all_the_same(csr, store):
    challenge = add(store, "spent")
    store.cancel_challenge(challenge.id, cancelled_by="bob")
    methods = [OneTimeChallenge("routers", STORE_KEY), NoChallenge()]
    with pytest.raises(Reject) as caught:
        authenticate_in_order(methods, csr("spent", key=ec.generate_private_key(ec.SECP256R1())), store, BEGIN)
    assert caught.value.reason is Reason.challenge_replayed

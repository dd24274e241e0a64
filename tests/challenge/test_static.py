"""The static challenge."""

import hmac

import pytest

from scepd.challenge.digest import keyed_digest
from scepd.challenge.static import StaticChallenge
from scepd.records import Identity, Secret
from scepd.refusal import OperatorError

from .conftest import STORE_KEY

TEXT = "correct horse battery"


@pytest.fixture
def method():
    return StaticChallenge.from_secret(Secret(TEXT), STORE_KEY)


def test_the_right_text_is_known(method, csr, store, clock):
    assert method.authenticate(csr(TEXT), store, clock.now()) == Identity("static", "shared challenge")


@pytest.mark.parametrize("text", [TEXT + " ", TEXT.upper(), TEXT[:-1], "x", "x" * 255, TEXT + "\0"])
def test_any_other_text_is_not(method, csr, store, clock, text):
    assert method.authenticate(csr(text), store, clock.now()) is None


@pytest.mark.parametrize("text", [None, ""])
def test_C150_no_challenge_and_an_empty_one_are_nothing(method, csr, store, clock, text):
    assert method.authenticate(csr(text), store, clock.now()) is None
    # Not even where somebody stored the digest of nothing.
    assert StaticChallenge(keyed_digest(STORE_KEY, ""), STORE_KEY).authenticate(csr(text), store, clock.now()) is None


def test_C150_an_empty_static_challenge_does_not_start():
    with pytest.raises(OperatorError):
        StaticChallenge.from_secret(Secret(""), STORE_KEY)


@pytest.mark.parametrize("tag", [12, 19, 20, 22, 28, 30])
def test_C146_the_string_type_does_not_matter(method, csr, store, clock, tag):
    assert method.authenticate(csr(TEXT, tag=tag), store, clock.now()) is not None


def test_C154_S31_digests_are_compared_in_constant_time_at_one_length(method, csr, store, clock, monkeypatch):
    compared = []

    def recording(one, two):
        compared.append((len(one), len(two)))
        return one == two

    monkeypatch.setattr(hmac, "compare_digest", recording)
    for text in ("x", TEXT, "ü" * 100):
        method.authenticate(csr(text), store, clock.now())
    assert compared == [(32, 32)] * 3


def test_C153_the_text_is_not_kept(method):
    assert TEXT not in repr(vars(method))
    assert all(TEXT.encode() not in value for value in vars(method).values())

"""Keyed digests, generated challenges, the store key file."""

import hashlib
import hmac
import os
import stat
import unicodedata

import pytest

from scepd.challenge.digest import ALPHABET, create_store_key, keyed_digest, load_store_key, new_challenge
from scepd.records import Secret
from scepd.refusal import OperatorError

KEY = bytes(range(32))


def test_C153_a_challenge_is_kept_as_hmac_sha256_under_the_store_key():
    assert keyed_digest(KEY, "grün") == hmac.new(KEY, "grün".encode(), hashlib.sha256).digest()
    assert keyed_digest(KEY, "grün") != keyed_digest(bytes(32), "grün")


@pytest.mark.parametrize("text", ["", "a", "ü", "nul\0nul", "x" * 10_240, "\udcff", "💥"])
def test_C154_S31_every_text_has_a_digest_of_one_length(text):
    assert len(keyed_digest(KEY, text)) == 32


def test_composed_and_decomposed_texts_are_one_nothing_else_is():
    assert keyed_digest(KEY, unicodedata.normalize("NFD", "é")) == keyed_digest(KEY, "é")
    distinct = ["abc", "Abc", "abc ", " abc", "abc\0", "\uff41bc", "ab"]
    assert len({keyed_digest(KEY, text) for text in distinct}) == len(distinct)


def test_generated_challenges_have_138_bits_in_typeable_groups():
    assert len(ALPHABET) ** 28 > 2**128
    assert not set("01ilo") & set(ALPHABET)
    seen = set()
    for _ in range(200):
        challenge = new_challenge(os.urandom)
        assert isinstance(challenge, Secret)
        groups = challenge.reveal().split("-")
        assert [len(group) for group in groups] == [4] * 7
        assert set("".join(groups)) <= set(ALPHABET)
        seen.add(challenge.reveal())
    assert len(seen) == 200
    assert len({text[0] for text in seen}) > 20
    assert len({text[-1] for text in seen}) > 20


def test_a_challenge_comes_from_the_randomness_given():
    assert new_challenge(bytes) == Secret("-".join(["2222"] * 7))
    assert new_challenge(lambda n: b"\xff" * n) == new_challenge(lambda n: b"\xff" * n)


def test_the_store_key_is_made_once_for_its_owner_alone(tmp_path):
    path = tmp_path / "store-key"
    key = create_store_key(path, os.urandom)
    assert len(key) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_store_key(path) == key
    with pytest.raises(OperatorError):
        create_store_key(path, os.urandom)
    assert load_store_key(path) == key


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o601])
def test_a_store_key_open_to_others_is_refused(tmp_path, mode):
    path = tmp_path / "store-key"
    create_store_key(path, os.urandom)
    path.chmod(mode)
    with pytest.raises(OperatorError) as caught:
        load_store_key(path)
    assert caught.value.hint == f"chmod 600 {path}"


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_store_key_of_another_size_is_refused(tmp_path, size):
    path = tmp_path / "store-key"
    path.write_bytes(bytes(size))
    path.chmod(0o600)
    with pytest.raises(OperatorError, match="32 octets"):
        load_store_key(path)


def test_a_missing_store_key_is_refused(tmp_path):
    with pytest.raises(OperatorError) as caught:
        load_store_key(tmp_path / "store-key")
    assert caught.value.hint.startswith("restore the store key")

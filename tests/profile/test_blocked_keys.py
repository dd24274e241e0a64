"""The block list of public keys (threats S-28)."""

import hashlib
import os
import subprocess
import time

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from scepd.profile.blocked_keys import BlockedKeys, read_entries
from scepd.refusal import Reason, Reject


@pytest.fixture(scope="module")
def rsa_key():
    return rsa.generate_private_key(65537, 2048)


def spki(key):
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def parse(*texts):
    return BlockedKeys.of(map(read_entries, texts))


def refused(blocked, der):
    with pytest.raises(Reject) as caught:
        blocked.check(der)
    assert caught.value.reason is Reason.key_refused


def test_S28_a_listed_key_is_refused_and_others_pass(rsa_key):
    one, other = (spki(ec.generate_private_key(ec.SECP256R1())) for _ in range(2))
    lines = ["# leaked in March", "", hashlib.sha256(one).hexdigest().upper() + "  # r7", "ab" * 32]
    blocked = parse("\n".join(lines))
    assert len(blocked) == 2
    refused(blocked, one)
    blocked.check(other)
    blocked.check(spki(rsa_key))


def test_S28_fingerprints_may_have_colons(rsa_key):
    digest = hashlib.sha256(spki(rsa_key)).digest()
    refused(parse(digest.hex(":")), spki(rsa_key))


def test_S28_debians_weak_keys_are_named_as_its_lists_name_them(rsa_key):
    # What openssl-vulnkey compares: the end of the SHA-1 of what `openssl rsa -noout -modulus` prints.
    printed = subprocess.run(
        ["openssl", "rsa", "-pubin", "-inform", "DER", "-noout", "-modulus"],
        input=spki(rsa_key),
        capture_output=True,
        check=True,
    ).stdout
    entry = hashlib.sha1(printed).hexdigest()[20:]
    blocked = parse(f"{entry}\n{'0' * 20}\n")
    refused(blocked, spki(rsa_key))
    blocked.check(spki(rsa.generate_private_key(65537, 2048)))
    blocked.check(spki(ec.generate_private_key(ec.SECP256R1())))


@pytest.mark.parametrize("line", ["abc", "g" * 64, "0" * 63, "0" * 40, "DEADBEEF # x"])
def test_a_line_that_names_no_key_is_told(line):
    with pytest.raises(ValueError, match="line 2"):
        parse(f"# list\n{line}\n")


def test_an_empty_list_blocks_nothing(rsa_key):
    parse("").check(spki(rsa_key))


def test_S28_a_long_list_costs_little(rsa_key):
    text = "\n".join(os.urandom(10).hex() for _ in range(100_000))
    blocked, der = parse(text), spki(rsa_key)
    begun = time.perf_counter()
    for _ in range(20):
        blocked.check(der)
    assert (time.perf_counter() - begun) / 20 < 0.020


def test_S28_several_lists_are_one(rsa_key):
    other, digest = rsa.generate_private_key(65537, 2048), hashlib.sha256(spki(rsa_key)).hexdigest()
    blocked = parse(f"{'0' * 20}\n", f"# leaked\n{digest}\n", hashlib.sha256(spki(other)).hexdigest())
    assert len(blocked) == 3
    refused(blocked, spki(rsa_key))
    refused(blocked, spki(other))

"""The answer to GetCACaps."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scepd.message.algorithms import MODERN_CIPHERS, MODERN_DIGESTS, Cipher, CryptoPolicy, Digest
from scepd.message.capabilities import capabilities, parse_capabilities

KEYWORDS = {
    "AES",
    "DES3",
    "GetNextCACert",
    "POSTPKIOperation",
    "Renewal",
    "SHA-1",
    "SHA-256",
    "SHA-384",
    "SHA-512",
    "SCEPStandard",
}
POLICIES = st.builds(
    CryptoPolicy,
    digests=st.frozensets(st.sampled_from(list(Digest))),
    ciphers=st.frozensets(st.sampled_from(list(Cipher))),
)


@given(POLICIES, st.booleans(), st.booleans())
def test_C030_C033_C040_keywords_are_the_rfcs_and_sha384_and_no_private_ones(policy, renewal, next_ca):
    body = capabilities(policy, renewal=renewal, next_ca=next_ca)
    assert parse_capabilities(body) <= KEYWORDS
    assert parse_capabilities(body.replace(b"\n", b"\r\n")) == parse_capabilities(body)


@given(POLICIES, st.booleans(), st.booleans())
def test_C032_the_body_has_no_blank_line_mark_or_trailing_space(policy, renewal, next_ca):
    lines = capabilities(policy, renewal=renewal, next_ca=next_ca).decode("ascii").split("\n")
    assert all(line and line == line.strip() for line in lines)
    assert len(set(lines)) == len(lines)


def test_C030_C031_the_default_body_is_short_ascii_text():
    body = capabilities(CryptoPolicy(), renewal=True, next_ca=False)
    assert body == b"AES\nPOSTPKIOperation\nRenewal\nSHA-256\nSHA-384\nSHA-512\nSCEPStandard"
    assert len(body) < 1024


@given(POLICIES)
def test_C034_scep_standard_needs_aes_and_sha256(policy):
    words = parse_capabilities(capabilities(policy, renewal=False, next_ca=False))
    assert ("SCEPStandard" in words) == (Cipher.AES128 in policy.ciphers and Digest.SHA256 in policy.digests)


def test_C034_C039_the_least_policy_offers_post_alone():
    for policy in (
        CryptoPolicy(digests=frozenset(), ciphers=frozenset()),
        CryptoPolicy(digests=frozenset({Digest.MD5})),
    ):
        words = parse_capabilities(capabilities(policy, renewal=False, next_ca=False))
        assert words - {"AES"} == {"POSTPKIOperation"}


def test_C034_without_post_there_is_no_scep_standard():
    words = parse_capabilities(capabilities(CryptoPolicy(), renewal=True, next_ca=False, post=False))
    assert words == {"AES", "Renewal", "SHA-256", "SHA-384", "SHA-512"}


def test_C039_a_profile_without_any_capability_has_an_empty_list():
    nothing = CryptoPolicy(digests=frozenset(), ciphers=frozenset())
    assert capabilities(nothing, renewal=False, next_ca=False, post=False) == b""


def test_C035_the_single_keywords_stand_beside_scep_standard():
    words = parse_capabilities(capabilities(CryptoPolicy(), renewal=False, next_ca=False))
    assert {"AES", "POSTPKIOperation", "SHA-256", "SCEPStandard"} <= words


@pytest.mark.parametrize(
    ("policy", "word"),
    [
        (CryptoPolicy(ciphers=MODERN_CIPHERS | {Cipher.DES3}), "DES3"),
        (CryptoPolicy(digests=MODERN_DIGESTS | {Digest.SHA1}), "SHA-1"),
    ],
)
def test_C036_legacy_words_stand_only_for_legacy_policies(policy, word):
    assert word in parse_capabilities(capabilities(policy, renewal=True, next_ca=True))
    assert word not in parse_capabilities(capabilities(CryptoPolicy(), renewal=True, next_ca=True))


def test_C036_md5_and_des_have_no_word():
    policy = CryptoPolicy(digests=frozenset(Digest), ciphers=frozenset(Cipher))
    assert not {"MD5", "DES"} & parse_capabilities(capabilities(policy, renewal=True, next_ca=True))


def test_C037_next_ca_and_renewal_stand_only_when_offered():
    for renewal in (False, True):
        for next_ca in (False, True):
            words = parse_capabilities(capabilities(CryptoPolicy(), renewal=renewal, next_ca=next_ca))
            assert ("Renewal" in words, "GetNextCACert" in words) == (renewal, next_ca)


def test_C038_C041_the_list_is_that_of_the_policy_given():
    bodies = {
        capabilities(policy, renewal=False, next_ca=False)
        for policy in (
            CryptoPolicy(),
            CryptoPolicy(digests=frozenset({Digest.SHA512})),
            CryptoPolicy(ciphers=frozenset({Cipher.DES})),
        )
    }
    assert len(bodies) == 3


@given(st.binary(max_size=100))
def test_any_body_of_capabilities_is_read(body):
    assert all(word.strip() for word in parse_capabilities(body))

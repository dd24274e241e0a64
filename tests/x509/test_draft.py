"""Drafts are sealed over exactly the octets that were linted."""

import copy

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from scepd.message import tlv
from scepd.message.algorithms import Digest
from scepd.x509.draft import (
    EcPlaceholder,
    RsaPlaceholder,
    SealError,
    placeholder,
    seal,
    signature_algorithm,
    split,
    verifies,
)
from tests.x509.material import (
    ca_key,
    draft,
    ec_key,
    issuer,
    openssl_verify,
    rsa_key,
)


class Counting(RsaPlaceholder):
    """A token key: it signs with a key in memory, and may be told to sign something else."""

    def __init__(self, key, change=lambda data: data):
        super().__init__(key.public_key())
        self.key, self.change, self.calls = key, change, []

    def sign(self, data, padding, algorithm):
        self.calls.append((data, padding, algorithm))
        return self.key.sign(self.change(data), padding, algorithm)


@pytest.mark.parametrize(
    ("kind", "digest"),
    [
        ("rsa", None),
        ("rsa", Digest.SHA384),
        ("rsa", Digest.SHA512),
        ("p256", None),
        ("p256", Digest.SHA384),
        ("p384", None),
        ("p384", Digest.SHA512),
    ],
)
def test_C284_S110_a_sealed_draft_carries_its_octets_and_verifies(kind, digest, tmp_path):
    by = issuer(kind, digest)
    made = draft(by=by)
    sealed = seal(made.der, ca_key(kind), by.public_key)
    assert split(sealed)[:2] == split(made.der)[:2]
    assert split(sealed)[0] == made.tbs
    code, said = openssl_verify(tmp_path, sealed, by.der)
    assert (code, said) == (0, f"{tmp_path}/leaf.pem: OK\n")


def test_S110_the_key_is_called_once_with_the_drafts_tbs():
    made = draft()
    key = Counting(ca_key("rsa"))
    seal(made.der, key, issuer().public_key)
    (data, scheme, algorithm), *more = key.calls
    assert not more
    assert data == made.tbs
    assert isinstance(scheme, padding.PKCS1v15)
    assert isinstance(algorithm, hashes.SHA256)


@pytest.mark.parametrize("bit", [0, 700, 5000])
def test_S110_signing_one_bit_off_raises_the_alarm(bit):
    def flip(data):
        return (int.from_bytes(data, "big") ^ (1 << bit)).to_bytes(len(data), "big")

    with pytest.raises(SealError, match="does not verify"):
        seal(draft().der, Counting(ca_key("rsa"), flip), issuer().public_key)


def test_S110_octets_that_change_while_framed_raise_the_alarm(monkeypatch):
    def flip(tbs, *rest):
        return tlv.sequence(tbs[:100] + bytes([tbs[100] ^ 1]) + tbs[101:], *rest)

    with monkeypatch.context() as patch:
        patch.setattr("scepd.x509.draft.tlv", type("Faulty", (), {"sequence": flip, "bit_string": tlv.bit_string}))
        with pytest.raises(SealError, match="not the draft's"):
            seal(draft().der, ca_key("rsa"), issuer().public_key)


def test_S110_another_key_than_the_issuers_raises_the_alarm():
    with pytest.raises(SealError, match="does not verify"):
        seal(draft().der, rsa_key("other"), issuer().public_key)


@pytest.mark.parametrize("key", [ec_key("other"), ec_key("ca", "secp384r1")])
def test_S26_a_key_of_another_kind_signs_nothing(key):
    with pytest.raises(SealError, match="not the key's"):
        seal(draft().der, key, issuer().public_key)
    with pytest.raises(SealError, match="not the key's"):
        seal(draft("p256").der, ca_key("rsa"), issuer("p256").public_key)


@pytest.mark.parametrize(
    "der",
    [
        b"",
        b"\x30",
        b"\x31\0",
        b"\x30\0",
        draft().der[:-1],
        draft().der + b"\0",
        tlv.sequence(tlv.sequence(), tlv.sequence(), b"\x03\0"),
        tlv.sequence(tlv.sequence(), tlv.sequence(), b"\x03\x02\x01\x00"),
        tlv.sequence(tlv.sequence(), tlv.sequence(), tlv.octet_string(b"")),
        tlv.sequence(tlv.sequence(), tlv.sequence(), tlv.bit_string(b""), tlv.null()),
    ],
)
def test_S110_what_is_no_draft_is_not_sealed(der):
    with pytest.raises(SealError, match="unreadable"):
        seal(der, ca_key("rsa"), issuer().public_key)


def test_S26_verification_takes_the_known_algorithms_of_the_keys_kind_only():
    tbs, algorithm, signature = split(seal(draft().der, ca_key("rsa"), issuer().public_key))
    assert verifies(tbs, algorithm, signature, issuer().public_key)
    assert not verifies(tbs + b"\0", algorithm, signature, issuer().public_key)
    assert not verifies(tbs, algorithm, signature, issuer("p256").public_key)
    assert not verifies(tbs, bytes.fromhex("300d06092a864886f70d0101050500"), signature, issuer().public_key)


@pytest.mark.parametrize("public_key", [rsa_key("ca").public_key(), ec_key("ca").public_key()])
def test_a_placeholder_is_a_key_that_can_do_nothing_but_stand_in(public_key):
    key = placeholder(public_key)
    assert key.public_key() is public_key
    assert key.key_size == public_key.key_size
    assert copy.copy(key) is key
    assert copy.deepcopy(key) is key
    for use in (
        key.private_numbers,
        lambda: key.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    ):
        with pytest.raises(TypeError, match="Placeholder"):
            use()


def test_placeholders_neither_decrypt_nor_agree():
    with pytest.raises(TypeError, match="decrypt"):
        RsaPlaceholder(rsa_key("ca").public_key()).decrypt(b"", padding.PKCS1v15())
    key = EcPlaceholder(ec_key("ca").public_key())
    with pytest.raises(TypeError, match="agree"):
        key.exchange(ec.ECDH(), ec_key("other").public_key())
    assert key.curve.name == "secp256r1"


@pytest.mark.parametrize("kind", ["rsa", "p256"])
def test_S110_a_placeholder_signature_never_verifies(kind):
    made = draft(kind)
    assert not verifies(*split(made.der), issuer(kind).public_key)
    assert isinstance(issuer("rsa").public_key, rsa.RSAPublicKey)


def test_S26_no_algorithm_for_an_old_digest():
    for key in (ca_key("rsa"), ca_key("p256")):
        with pytest.raises(ValueError, match="SHA1 signs no certificate"):
            signature_algorithm(key.public_key(), Digest.SHA1)

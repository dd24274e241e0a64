"""Content keys under a challenge password: read within limits, unwrapped, made; against openssl and the RFC's vectors."""

import hashlib
import os
import threading
import time
from contextlib import suppress

import attrs
import pytest
from asn1crypto import cms
from hypothesis import given, settings
from hypothesis import strategies as st

from scepd.message import names, password, tlv
from scepd.message.algorithms import (
    MODERN_CIPHERS,
    OAEP_SHA256,
    PKCS1V15,
    RSA_ENCRYPTION,
    Cipher,
    CryptoPolicy,
    Digest,
)
from scepd.message.cbc import encrypt_blocks
from scepd.message.enveloped import (
    Recipient,
    choose_recipient,
    decrypt,
    decrypt_content,
    encrypt,
    encrypt_for_password,
    parse_envelope,
)
from scepd.message.password import PasswordRecipient, unwrap_by_any, unwrap_password, wrap_password
from scepd.message.signature import write_algorithm
from scepd.records import Secret
from scepd.refusal import FailInfo, Reason, Reject
from tests import make
from tests.message import oracles

POLICY = CryptoPolicy(passwords=True)
EVERYTHING = CryptoPolicy(ciphers=frozenset(Cipher), passwords=True)
CONTENT = b"content that takes more than one block"
CHALLENGE = Secret("k3vx-29ab-77qd-m4zt-wxyh-6p2c-9t2m")
WRONG = Secret("k3vx-29ab-77qd-m4zt-wxyh-6p2c-9t2n")
EC_DEVICE = make.party("ec device", "p256")
OTHER = make.party("other device", "p256")

PBKDF2 = "1.2.840.113549.1.5.12"
PWRI_KEK = "1.2.840.113549.1.9.16.3.9"
HMAC = {
    Digest.SHA1: "1.2.840.113549.2.7",
    Digest.SHA256: "1.2.840.113549.2.9",
    Digest.SHA384: "1.2.840.113549.2.10",
    Digest.SHA512: "1.2.840.113549.2.11",
}
derive = hashlib.pbkdf2_hmac  # for the tests' own messages, which do not count


@pytest.fixture
def derivations(monkeypatch):
    """The iterations of every key derivation, counted where it happens."""
    counted = []

    def counting(prf, text, salt, iterations, size):
        counted.append(iterations)
        return derive(prf, text, salt, iterations, size)

    monkeypatch.setattr(hashlib, "pbkdf2_hmac", counting)
    return counted


# A client that can bend every field


@attrs.frozen
class Bent:
    """The parts of a PasswordRecipientInfo as DER, around a content key wrapped as they say where that can be."""

    prf: Digest = Digest.SHA1
    cipher: Cipher = Cipher.AES128
    iterations: int = 1_000
    salt: bytes = b"saltsalt"
    key_length: int | None = None
    version: int = 0
    derivation: bytes | None = None
    encryption: bytes | None = None
    wrapped: bytes | None = None
    trailing: bytes = b""

    def der(self, content_key, challenge=CHALLENGE):
        iv = bytes(range(self.cipher.block_size))
        return tlv.implicit(
            3,
            tlv.integer(self.version)
            + (self._derivation() if self.derivation is None else self.derivation)
            + (self._encryption(iv) if self.encryption is None else self.encryption)
            + tlv.octet_string(self._wrap(content_key, challenge, iv) if self.wrapped is None else self.wrapped)
            + self.trailing,
            constructed=True,
        )

    def _derivation(self):
        length = b"" if self.key_length is None else tlv.integer(self.key_length)
        return pbkdf2(tlv.octet_string(self.salt), tlv.integer(self.iterations), length, algorithm(HMAC[self.prf]))

    def _encryption(self, iv):
        return kek(algorithm(self.cipher.oid, tlv.octet_string(iv)))

    def _wrap(self, content_key, challenge, iv):
        if not 1 <= self.iterations <= 1_000_000:
            return bytes(32)
        text = challenge.reveal().encode()
        key = derive(self.prf.name, text, self.salt, self.iterations, self.cipher.key_size)
        return wrap(self.cipher, key, iv, content_key)


def wrap(cipher, key, iv, content_key, *, head=None, pad=b""):
    """Return the double encryption of RFC 3211 section 2.3.1, its head bent if one is given."""
    plain = (head or bytes((len(content_key), *(o ^ 0xFF for o in content_key[:3])))) + content_key + pad
    plain += bytes(-len(plain) % cipher.block_size)
    plain = plain.ljust(2 * cipher.block_size, b"\0")
    inner = encrypt_blocks(cipher, key, iv, plain)
    return encrypt_blocks(cipher, key, inner[-cipher.block_size :], inner)


def algorithm(oid, parameters=None):
    return write_algorithm(oid, parameters)


def kek(inner, oid=PWRI_KEK):
    return tlv.sequence(tlv.oid(oid), inner)


def pbkdf2(*parameters, oid=PBKDF2):
    return tlv.implicit(0, tlv.oid(oid) + tlv.sequence(*parameters), constructed=True)


def envelope(*bent, cipher=Cipher.AES128, keys=(), others=()):
    """Return an envelope with those password recipients, beside key transport to those parties."""
    content_key, iv = os.urandom(cipher.key_size), bytes(cipher.block_size)
    padding = cipher.block_size - len(CONTENT) % cipher.block_size
    entries = tuple(
        attrs.evolve(make.bent_envelope(recipient=who).entry, encrypted_key=transported(who, content_key))
        for who in keys
    )
    return make.Enveloped(
        entries=entries,
        others=(*(b.der(content_key) for b in bent), *others),
        cipher_algorithm=algorithm(cipher.oid, tlv.octet_string(iv)),
        ciphertext=encrypt_blocks(cipher, content_key, iv, CONTENT + bytes((padding,)) * padding),
        version=3,
    ).der()


def transported(who, content_key):
    from cryptography.hazmat.primitives.asymmetric import padding

    return who.key.public_key().encrypt(content_key, padding.PKCS1v15())


def reason(der, policy=POLICY):
    try:
        parse_envelope(der, policy)
    except Reject as reject:
        return reject.reason
    return None


def opened(der, challenge=CHALLENGE, policy=POLICY, who=EC_DEVICE):
    return decrypt(der, who.certificate_der, who.key, policy, password=challenge)


# Round trips


@given(
    content=st.binary(max_size=300),
    text=st.text(min_size=1, max_size=60),
    cipher=st.sampled_from(list(Cipher)),
)
@settings(max_examples=40, deadline=None)
def test_C250_C135_envelopes_under_a_password_round_trip(content, text, cipher):
    der = encrypt_for_password(content, Secret(text), cipher=cipher, random=os.urandom)
    assert opened(der, Secret(text), EVERYTHING) == content
    entry = parse_envelope(der, EVERYTHING).passwords[0]
    assert unwrap_password(entry, Secret(text + "x"), cipher.key_size) is None


@given(st.binary(min_size=3, max_size=32), st.sampled_from(list(Cipher)))
@settings(max_examples=40, deadline=None)
def test_C251_content_keys_of_every_length_round_trip(content_key, cipher):
    info = wrap_password(content_key, CHALLENGE, cipher=cipher, random=os.urandom)
    entry = password.read_password_recipient(tlv.read(info), EVERYTHING)
    assert unwrap_password(entry, CHALLENGE, len(content_key)) == content_key
    assert unwrap_password(entry, CHALLENGE, len(content_key) + 1) is None
    assert unwrap_password(entry, CHALLENGE, len(content_key) - 1) is None


@pytest.mark.parametrize("kind", ["p256", "p384", "p521", "ed25519"])
def test_C250_a_key_that_cannot_encrypt_gets_its_content_under_the_password(kind):
    who = make.party("device", kind)
    der = encrypt(
        CONTENT, who.certificate_der, cipher=Cipher.AES256, transport=PKCS1V15, random=os.urandom, password=CHALLENGE
    )
    assert CONTENT not in der
    envelope = parse_envelope(der, POLICY)
    assert (envelope.recipients, len(envelope.passwords)) == ((), 1)
    assert opened(der, who=who) == CONTENT


def test_C252_a_key_that_can_encrypt_gets_key_transport_whatever_password_there_is():
    der = encrypt(
        CONTENT,
        make.device().certificate_der,
        cipher=Cipher.AES256,
        transport=OAEP_SHA256,
        random=os.urandom,
        password=CHALLENGE,
    )
    envelope = parse_envelope(der, POLICY)
    assert (len(envelope.recipients), envelope.passwords) == (1, ())
    assert decrypt(der, make.device().certificate_der, make.device().key, POLICY) == CONTENT


def test_C250_the_structure_is_that_of_the_rfc():
    der = encrypt_for_password(CONTENT, CHALLENGE, cipher=Cipher.AES128, random=os.urandom)
    info = cms.ContentInfo.load(der, strict=True)
    assert info["content_type"].native == "enveloped_data"
    data = info["content"]
    assert data["version"].native == "v3"
    (recipient,) = data["recipient_infos"]
    assert recipient.name == "pwri"
    pwri = recipient.chosen
    assert pwri["version"].native == "v0"
    derivation = pwri["key_derivation_algorithm"]
    assert derivation["algorithm"].native == "pbkdf2"
    parameters = derivation["parameters"].native
    assert parameters["prf"]["algorithm"] == "sha256"
    assert parameters["iteration_count"] == 10_000
    assert len(parameters["salt"]) == 16
    assert parameters["key_length"] is None
    assert pwri["key_encryption_algorithm"]["algorithm"].dotted == PWRI_KEK
    assert info.dump(force=True) == der


def test_all_randomness_comes_from_the_caller():
    asked = []

    def random(size):
        asked.append(size)
        return bytes(range(size))

    first, second = (encrypt_for_password(CONTENT, CHALLENGE, cipher=Cipher.AES128, random=random) for _ in range(2))
    assert first == second
    assert asked == [16, 16, 16, 16, 12] * 2  # content key, IV; salt, IV, filling of the wrapped key


@pytest.mark.parametrize("prf", HMAC, ids=lambda d: d.name)
@pytest.mark.parametrize("cipher", list(Cipher), ids=lambda c: c.name)
def test_C251_every_prf_and_cipher_of_the_policy_is_taken(prf, cipher):
    der = envelope(Bent(prf=prf, cipher=cipher), cipher=cipher)
    assert opened(der, policy=EVERYTHING) == CONTENT
    expected = None if cipher in MODERN_CIPHERS else Reason.algorithm_unsupported
    assert reason(der) is expected


def test_C251_the_wrap_may_use_another_cipher_than_the_content():
    der = envelope(Bent(cipher=Cipher.AES256), cipher=Cipher.AES128)
    assert opened(der) == CONTENT
    assert opened(envelope(Bent(cipher=Cipher.AES128), cipher=Cipher.AES256)) == CONTENT


def test_C251_the_wrap_is_held_against_the_policy_too():
    for cipher in (Cipher.DES, Cipher.DES3):
        der = envelope(Bent(cipher=cipher), cipher=Cipher.AES128)
        assert reason(der) is Reason.password_parameters_refused
        assert opened(der, policy=EVERYTHING) == CONTENT


def test_passwords_are_utf_8_in_one_form():
    composed, decomposed = Secret("pässword-of-some-length"), Secret("pa\u0308ssword-of-some-length")
    der = encrypt_for_password(CONTENT, composed, cipher=Cipher.AES128, random=os.urandom)
    assert opened(der, decomposed) == CONTENT
    assert opened(openssl_encrypt("-aes128", challenge=composed), decomposed) == CONTENT


# The independent reader and writer


CIPHERS = {
    Cipher.DES: "-des",
    Cipher.DES3: "-des3",
    Cipher.AES128: "-aes128",
    Cipher.AES192: "-aes192",
    Cipher.AES256: "-aes256",
}
LEGACY = ("-provider", "legacy", "-provider", "default")


def openssl_encrypt(*options, challenge=CHALLENGE):
    return oracles.openssl(
        "cms", "-encrypt", "-binary", "-outform", "DER", "-pwri_password", challenge.reveal(), *LEGACY, *options,
        stdin=CONTENT,
    )  # fmt: skip


def openssl_decrypt(der, challenge=CHALLENGE):
    return oracles.openssl(
        "cms", "-decrypt", "-binary", "-inform", "DER", "-pwri_password", challenge.reveal(), *LEGACY, stdin=der
    )


@pytest.mark.parametrize("cipher", CIPHERS, ids=lambda c: c.name)
@pytest.mark.parametrize("form", [(), ("-stream", "-indef")], ids=["der", "ber"])
def test_C251_envelopes_of_openssl_are_decrypted(cipher, form):
    der = openssl_encrypt(CIPHERS[cipher], *form)
    assert opened(der, policy=EVERYTHING) == CONTENT
    with pytest.raises(Reject) as caught:
        opened(der, WRONG, EVERYTHING)
    assert caught.value.reason is Reason.password_unknown


@pytest.mark.parametrize("cipher", CIPHERS, ids=lambda c: c.name)
def test_C250_C252_envelopes_for_openssl_are_decrypted(cipher):
    der = encrypt_for_password(CONTENT, CHALLENGE, cipher=cipher, random=os.urandom)
    assert openssl_decrypt(der) == CONTENT
    with pytest.raises(AssertionError):
        openssl_decrypt(der, WRONG)


@pytest.mark.parametrize("prf", HMAC, ids=lambda d: d.name)
def test_C251_what_the_tests_bend_is_what_openssl_reads(prf):
    assert openssl_decrypt(envelope(Bent(prf=prf, key_length=16))) == CONTENT


# RFC 3211 section 3: vectors of derivation and wrap


@pytest.mark.parametrize(
    ("text", "iterations", "cipher", "iv", "content_key", "wrapped"),
    [
        ("password", 5, Cipher.DES, "efe598ef21b33d6d", "8c627c897323a2f8", "b81b2565ee373ca6dedca26a178b0c10"),
        (
            "All n-entities must communicate with other n-entities via n-1 entiteeheehees",
            500,
            Cipher.DES3,
            "baf1ca7931213c4e",
            "8c637d887223a2f965b566eb014b0fa5d52300a3f7ea40fffc577203c71baf3b",
            "c03c514abdb9e2c5aac038572b5e24553876b377aafb82eca5a9d73f8ab143d9ec74e6cad7db260c",
        ),
    ],
)
def test_C251_vectors_of_rfc_3211(text, iterations, cipher, iv, content_key, wrapped):
    entry = PasswordRecipient(
        prf=Digest.SHA1,
        salt=bytes.fromhex("1234567878563412"),
        iterations=iterations,
        cipher=cipher,
        iv=bytes.fromhex(iv),
        encrypted_key=bytes.fromhex(wrapped),
    )
    assert unwrap_password(entry, Secret(text), len(content_key) // 2).hex() == content_key
    assert unwrap_password(entry, Secret(text + " "), len(content_key) // 2) is None


def entry_of(der):
    return parse_envelope(der, POLICY).passwords[0]


@pytest.mark.parametrize("position", range(4))
@pytest.mark.parametrize("bit", [1, 0x80])
def test_C251_every_octet_of_the_check_counts(position, bit):
    content_key, iv = bytes(range(100, 116)), bytes(16)
    entry = PasswordRecipient(Digest.SHA256, bytes(16), 1_000, Cipher.AES128, iv, b"")
    key = hashlib.pbkdf2_hmac("sha256", CHALLENGE.reveal().encode(), bytes(16), 1_000, 16)
    head = bytearray((16, *(o ^ 0xFF for o in content_key[:3])))
    good = attrs.evolve(entry, encrypted_key=wrap(Cipher.AES128, key, iv, content_key, head=bytes(head)))
    assert unwrap_password(good, CHALLENGE, 16) == content_key
    head[position] ^= bit
    bad = attrs.evolve(entry, encrypted_key=wrap(Cipher.AES128, key, iv, content_key, head=bytes(head)))
    assert unwrap_password(bad, CHALLENGE, 16) is None


def test_C251_the_filling_may_be_longer_than_needed():
    der = envelope(Bent())
    content_key = bytes(range(16))
    key = hashlib.pbkdf2_hmac("sha1", CHALLENGE.reveal().encode(), b"saltsalt", 1_000, 16)
    wrapped = wrap(Cipher.AES128, key, bytes(range(16)), content_key, pad=bytes(200))
    assert unwrap_password(attrs.evolve(entry_of(der), encrypted_key=wrapped), CHALLENGE, 16) == content_key


def test_a_wrapped_key_too_short_for_the_cipher_costs_nothing(derivations):
    entry = entry_of(envelope(Bent(), cipher=Cipher.AES128))
    assert unwrap_password(entry, CHALLENGE, 29) is None
    assert derivations == []
    assert unwrap_password(entry, CHALLENGE, 28) is None
    assert derivations == [1_000]


# Limits, all judged before anything is derived


def refused(bent, *, cipher=Cipher.AES128):
    der = envelope(bent, cipher=cipher)
    with pytest.raises(Reject) as caught:
        parse_envelope(der, POLICY)
    assert caught.value.reason is Reason.password_parameters_refused
    assert caught.value.fail_info is FailInfo.badAlg


@pytest.mark.parametrize(
    "iterations", [-1, 0, 1, 999, 1_000_001, 10**9, 2**63, 2**2000], ids=lambda n: f"{n.bit_length()} bits"
)
def test_C254_iterations_outside_the_limits_are_refused_without_deriving(derivations, iterations):
    refused(Bent(iterations=iterations, wrapped=bytes(32)))
    assert derivations == []


def test_C254_the_limits_themselves_are_taken(derivations):
    for bent in (
        Bent(iterations=1_000, wrapped=bytes(32)),
        Bent(iterations=1_000_000, wrapped=bytes(32)),
        Bent(salt=bytes(8), wrapped=bytes(32)),
        Bent(salt=bytes(64), wrapped=bytes(32)),
        Bent(key_length=16, wrapped=bytes(32)),
        Bent(wrapped=bytes(288)),
    ):
        assert reason(envelope(bent)) is None
    assert derivations == []


@pytest.mark.parametrize("size", [0, 1, 7, 65, 1_000, 100_000])
def test_C254_salts_outside_the_limits_are_refused_without_deriving(derivations, size):
    refused(Bent(salt=bytes(size), wrapped=bytes(32)))
    assert derivations == []


@pytest.mark.parametrize(
    "length", [-1, 0, 15, 17, 24, 32, 10**9, 2**3000], ids=lambda n: f"{n.bit_length()} bits, {n % 100}"
)
def test_C254_a_key_length_that_is_not_the_ciphers_is_refused(derivations, length):
    refused(Bent(key_length=length, wrapped=bytes(32)))
    assert derivations == []


SALT, COUNT = tlv.octet_string(bytes(8)), tlv.integer(1_000)
DERIVATIONS = {
    "PBKDF1": pbkdf2(SALT, COUNT, oid="1.2.840.113549.1.5.1"),
    "scrypt": pbkdf2(SALT, COUNT, tlv.integer(8), tlv.integer(1), oid="1.3.6.1.4.1.11591.4.11"),
    "unknown": pbkdf2(SALT, COUNT, oid="1.2.3"),
    "nothing": pbkdf2(),
    "no parameters": tlv.implicit(0, tlv.oid(PBKDF2), constructed=True),
    "NULL": tlv.implicit(0, tlv.oid(PBKDF2) + tlv.null(), constructed=True),
    "more": tlv.implicit(0, tlv.oid(PBKDF2) + tlv.sequence(SALT, COUNT) + tlv.null(), constructed=True),
    "no salt": pbkdf2(COUNT),
    "no count": pbkdf2(SALT),
    "other source": pbkdf2(algorithm("1.2.3"), COUNT),
    "PRF SHA-224": pbkdf2(SALT, COUNT, algorithm("1.2.840.113549.2.8")),
    "PRF MD5": pbkdf2(SALT, COUNT, algorithm("1.2.840.113549.2.6")),
    "PRF a digest": pbkdf2(SALT, COUNT, algorithm(Digest.SHA256.oid)),
    "PRF with parameters": pbkdf2(SALT, COUNT, algorithm(HMAC[Digest.SHA256], tlv.integer(1))),
    "PRF twice": pbkdf2(SALT, COUNT, algorithm(HMAC[Digest.SHA1]), algorithm(HMAC[Digest.SHA1])),
    "nested": pbkdf2(SALT, COUNT, tlv.sequence(tlv.oid(PBKDF2), tlv.sequence(SALT, COUNT))),
    "primitive": tlv.write(0xA0, b""),
    "count in octets": pbkdf2(SALT, tlv.octet_string(b"\3\xe8")),
}


@pytest.mark.parametrize("derivation", DERIVATIONS.values(), ids=DERIVATIONS)
def test_C254_other_derivations_are_refused(derivations, derivation):
    refused(Bent(derivation=derivation, wrapped=bytes(32)))
    assert derivations == []


def test_C254_the_prf_may_leave_its_null_out():
    plain = pbkdf2(tlv.octet_string(b"saltsalt"), COUNT, tlv.sequence(tlv.oid(HMAC[Digest.SHA1])))
    absent = pbkdf2(tlv.octet_string(b"saltsalt"), COUNT)
    for derivation in (plain, absent):
        assert opened(envelope(Bent(derivation=derivation))) == CONTENT


IV = tlv.octet_string(bytes(16))
KEKS = {
    "AES key wrap": algorithm("2.16.840.1.101.3.4.1.5"),
    "unknown": kek(algorithm(Cipher.AES128.oid, IV), oid="1.2.3"),
    "a cipher itself": algorithm(Cipher.AES128.oid, IV),
    "unknown cipher": kek(algorithm("1.2.3", IV)),
    "GCM": kek(algorithm("2.16.840.1.101.3.4.1.6", IV)),
    "RC2": kek(algorithm("1.2.840.113549.3.2", IV)),
    "nested": kek(kek(algorithm(Cipher.AES128.oid, IV))),
    "deeply nested": kek(make.nested(20, core=algorithm(Cipher.AES128.oid, IV))),
    "short IV": kek(algorithm(Cipher.AES128.oid, tlv.octet_string(bytes(8)))),
    "no IV": kek(tlv.sequence(tlv.oid(Cipher.AES128.oid))),
    "IV of NULL": kek(algorithm(Cipher.AES128.oid)),
    "no cipher": tlv.sequence(tlv.oid(PWRI_KEK)),
    "NULL": kek(tlv.null()),
    "more": tlv.sequence(tlv.oid(PWRI_KEK), algorithm(Cipher.AES128.oid, IV), tlv.null()),
    "not switched on": kek(algorithm(Cipher.DES3.oid, tlv.octet_string(bytes(8)))),
    "no sequence": tlv.null(),
}


@pytest.mark.parametrize("encryption", KEKS.values(), ids=KEKS)
def test_C254_S15_other_key_wraps_are_refused(derivations, encryption):
    refused(Bent(encryption=encryption, wrapped=bytes(32)))
    assert derivations == []


@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 31, 33, 47, 304, 4096])
def test_C254_wrapped_keys_of_impossible_lengths_are_refused(derivations, size):
    refused(Bent(wrapped=bytes(size)))
    assert derivations == []


def test_C259_without_a_key_derivation_it_is_bad_alg(derivations):
    refused(Bent(derivation=b"", wrapped=bytes(32)))
    assert derivations == []


@pytest.mark.parametrize(
    "other",
    [
        tlv.implicit(3, b"", constructed=True),
        tlv.implicit(3, tlv.integer(0), constructed=True),
        tlv.implicit(3, tlv.null() * 4, constructed=True),
        Bent(trailing=tlv.null()).der(bytes(16)),
    ],
)
def test_C106_what_is_no_password_recipient_is_refused(other):
    assert reason(envelope(others=(other,))) is Reason.envelope_invalid


def test_the_version_is_not_judged():
    assert opened(envelope(Bent(version=2))) == CONTENT


def test_C254_several_password_recipients_are_refused(derivations):
    assert reason(envelope(Bent(), Bent())) is Reason.password_parameters_refused
    assert derivations == []


def test_C258_a_request_in_the_clear_is_refused_for_ec_keys_too():
    request = make.csr(private_key=EC_DEVICE.key)
    signed = make.message(request, signer=EC_DEVICE)
    for content in (request, signed, tlv.sequence(tlv.oid(names.DATA), tlv.explicit(0, tlv.octet_string(request)))):
        assert reason(content) is Reason.envelope_invalid
    assert reason(b"") is Reason.envelope_missing


# Which kinds of recipient are taken


def test_C105_S15_without_the_profiles_switch_password_recipients_are_bad_alg():
    der = envelope(Bent())
    assert reason(der, CryptoPolicy()) is Reason.algorithm_unsupported
    assert reason(der) is None
    for hostile in (Bent(iterations=1, wrapped=bytes(32)), Bent(derivation=b"", wrapped=bytes(32))):
        assert reason(envelope(hostile), CryptoPolicy()) is Reason.algorithm_unsupported
    beside = parse_envelope(envelope(Bent(), keys=[make.ra()]), CryptoPolicy())
    assert (len(beside.recipients), beside.passwords) == (1, ())


def test_C251_S13_key_transport_for_us_comes_before_a_password(derivations):
    der = envelope(Bent(), keys=[make.ra()])
    read = parse_envelope(der, POLICY)
    assert (len(read.recipients), len(read.passwords)) == (1, 1)
    ours = Recipient.from_certificate(make.ra().certificate_der)
    assert choose_recipient(read, (ours,), POLICY)[0] == 0
    assert decrypt(der, make.ra().certificate_der, make.ra().key, POLICY, password=WRONG) == CONTENT
    assert derivations == []


def test_C251_key_transport_for_others_leaves_the_password():
    der = envelope(Bent(), keys=[make.party("foreign")])
    assert opened(der) == CONTENT
    with pytest.raises(Reject) as caught:
        decrypt(der, make.ra().certificate_der, make.ra().key, POLICY)
    assert caught.value.reason is Reason.recipient_unknown


@pytest.mark.parametrize(
    "odd",
    [
        Bent(iterations=10**9, wrapped=bytes(32)),
        Bent(derivation=b"", wrapped=bytes(32)),
        Bent(encryption=algorithm(RSA_ENCRYPTION), wrapped=bytes(32)),
        Bent(trailing=tlv.null()),
    ],
)
def test_S15_an_odd_password_recipient_beside_key_transport_does_not_matter(odd, derivations):
    der = envelope(odd, keys=[make.ra()])
    assert parse_envelope(der, POLICY).passwords == ()
    assert decrypt(der, make.ra().certificate_der, make.ra().key, POLICY, password=CHALLENGE) == CONTENT
    assert derivations == []


def test_a_key_that_cannot_decrypt_is_no_accident():
    der = make.envelope(CONTENT, attrs.evolve(make.ra(), key=EC_DEVICE.key))
    with pytest.raises(Reject) as caught:
        decrypt(der, make.ra().certificate_der, EC_DEVICE.key, POLICY)
    assert caught.value.reason is Reason.decryption_failed


# Wrong passwords


@pytest.mark.parametrize("text", ["", "x", CHALLENGE.reveal().upper(), CHALLENGE.reveal() + " ", "x" * 10_000])
def test_C260_a_wrong_password_is_uniform(text):
    der = envelope(Bent())
    with pytest.raises(Reject) as caught:
        opened(der, Secret(text))
    assert caught.value.reason is Reason.password_unknown
    wire = (caught.value.fail_info, caught.value.fail_info_text)
    for other in (Reason.decryption_failed, Reason.content_malformed, Reason.signer_mismatch):
        assert wire == (Reject(other).fail_info, Reject(other).fail_info_text)
    assert CHALLENGE.reveal() not in str(caught.value)


def test_C260_a_wrong_password_that_passes_the_check_ends_in_the_same_answer():
    read, answers = parse_envelope(envelope(Bent()), POLICY), set()
    for _ in range(8):
        try:
            assert decrypt_content(read, os.urandom(16)) != CONTENT  # of 256 keys one leaves a padding that fits
        except Reject as reject:
            answers.add(reject.fail_info_text)
    assert answers == {Reject(Reason.password_unknown).fail_info_text}


def test_C253_the_password_that_fits_is_found(derivations):
    der = envelope(Bent())
    read = parse_envelope(der, POLICY)
    found, content_key = unwrap_by_any(read.passwords[0], (WRONG, CHALLENGE, Secret("never tried")), 16)
    assert found is CHALLENGE
    assert decrypt_content(read, content_key) == CONTENT
    assert derivations == [1_000] * 2
    assert unwrap_by_any(read.passwords[0], (WRONG,), 16) is None
    assert unwrap_by_any(read.passwords[0], (), 16) is None


@pytest.mark.parametrize(
    ("bent", "tried"),
    [
        (Bent(iterations=2_048), 9),
        (Bent(iterations=100_000), 9),
        (Bent(iterations=120_000), 8),
        (Bent(iterations=500_000), 2),
        (Bent(iterations=1_000_000), 1),
        (Bent(iterations=100_000, cipher=Cipher.AES256), 5),
        (Bent(iterations=100_000, cipher=Cipher.AES256, prf=Digest.SHA256), 9),
    ],
)
def test_C254_all_tries_together_cost_no_more_than_one_at_the_limits(monkeypatch, bent, tried):
    # The derivation itself is left out: what counts is how often it would run.
    runs = []
    monkeypatch.setattr(hashlib, "pbkdf2_hmac", lambda *a: (runs.append(a), b"k" * a[-1])[1])
    entry = entry_of(envelope(attrs.evolve(bent, wrapped=bytes(48))))
    assert unwrap_by_any(entry, [WRONG] * 9, 16) is None
    assert len(runs) == tried
    assert tried * entry.cost <= 1_000_000


def test_C254_the_parts_of_a_long_key_count_each():
    # 32 octets are two outputs of HMAC-SHA-1.
    with pytest.raises(Reject) as caught:
        entry_of(envelope(Bent(iterations=500_001, cipher=Cipher.AES256)))
    assert caught.value.reason is Reason.password_parameters_refused
    assert entry_of(envelope(Bent(iterations=500_000, cipher=Cipher.AES256))).cost == 1_000_000


def test_C255_other_threads_run_while_a_key_is_derived():
    entry = entry_of(envelope(Bent(iterations=400_000, wrapped=bytes(32))))
    moments = []
    thread = threading.Thread(target=unwrap_password, args=(entry, WRONG, 16))
    thread.start()
    while thread.is_alive():
        moments.append(time.perf_counter())
        time.sleep(0.001)
    thread.join()
    # With the interpreter locked there would be one or two.
    assert len(moments) > 5


# Whatever is flipped


ENVELOPE = envelope(Bent())


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_C106_a_flipped_octet_is_refused_or_decrypts_and_nothing_else_is_raised(data):
    der = bytearray(ENVELOPE)
    der[data.draw(st.integers(0, len(der) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with suppress(Reject):
        read = parse_envelope(bytes(der), EVERYTHING)
        if read.passwords and read.passwords[0].iterations > 20_000:
            return  # allowed, and slow
        opened(bytes(der), policy=EVERYTHING)


@given(st.binary(max_size=60))
@settings(max_examples=100, deadline=None)
def test_C106_any_octets_as_password_recipient_are_refused(octets):
    assert reason(envelope(others=(tlv.implicit(3, octets, constructed=True),))) in {
        Reason.envelope_invalid,
        Reason.password_parameters_refused,
    }


def test_names_of_the_content_are_those_of_all_envelopes():
    assert tlv.read(ENVELOPE).children[0].oid() == names.ENVELOPED_DATA

"""EnvelopedData: clear data judged, recipient chosen, content decrypted; and built."""

import os
from contextlib import suppress

import attrs
import pytest
from cryptography.hazmat.primitives.asymmetric import padding
from hypothesis import given, settings
from hypothesis import strategies as st

from scepd.message import enveloped, names, tlv
from scepd.message.algorithms import (
    MGF1,
    MODERN_CIPHERS,
    OAEP_SHA1,
    OAEP_SHA256,
    PKCS1V15,
    RSA_ENCRYPTION,
    RSAES_OAEP,
    Cipher,
    CryptoPolicy,
    Digest,
    KeyTransport,
)
from scepd.message.cbc import encrypt_blocks
from scepd.message.csr import Extension
from scepd.message.enveloped import (
    Recipient,
    can_encrypt,
    choose_recipient,
    decrypt,
    decrypt_content,
    encrypt,
    parse_envelope,
)
from scepd.message.signature import write_algorithm
from scepd.records import Secret
from scepd.refusal import FailInfo, Reason, Reject
from tests import make

POLICY = CryptoPolicy()
EVERYTHING = CryptoPolicy(
    ciphers=frozenset(Cipher), transports=frozenset({PKCS1V15, *(KeyTransport(digest) for digest in Digest)})
)
CONTENT = b"content that takes more than one block"
RA = Recipient.from_certificate(make.ra().certificate_der)


def reason(content, policy=POLICY, recipients=(RA,)):
    """Return why clear data is refused, None when a recipient is chosen."""
    try:
        choose_recipient(parse_envelope(content, policy), recipients, policy)
    except Reject as reject:
        return reject.reason
    return None


def opened(content, policy=POLICY):
    return decrypt(content, make.ra().certificate_der, make.ra().key, policy)


# Round trips


TRANSPORTS = [PKCS1V15, OAEP_SHA1, OAEP_SHA256, KeyTransport(Digest.SHA384), KeyTransport(Digest.SHA512)]


@given(st.binary(max_size=500), st.sampled_from(list(Cipher)), st.sampled_from(TRANSPORTS))
@settings(max_examples=60, deadline=None)
def test_C135_envelopes_round_trip(content, cipher, transport):
    der = make.envelope(content, cipher=cipher, transport=transport)
    envelope = parse_envelope(der, EVERYTHING)
    assert envelope.cipher is cipher
    assert choose_recipient(envelope, (RA,), EVERYTHING)[1].transport == transport
    assert make.open_up(der).version == 0
    assert opened(der, EVERYTHING) == content
    assert opened(make.ber_envelope(der, fragment=99), EVERYTHING) == content


@pytest.mark.parametrize("content", [None, b""])
def test_C107_no_content_is_refused_as_such(content):
    with pytest.raises(Reject) as caught:
        parse_envelope(content, POLICY)
    assert caught.value.reason is Reason.envelope_missing
    assert caught.value.fail_info is FailInfo.badRequest


def test_C108_a_bare_request_as_content_is_refused():
    assert reason(make.csr()) is Reason.envelope_invalid
    assert reason(tlv.sequence(tlv.oid(names.SIGNED_DATA), tlv.explicit(0, make.csr()))) is Reason.envelope_invalid


def test_C100_encrypted_content_of_another_type_is_refused():
    assert reason(attrs.evolve(make.bent_envelope(), content_type=names.SIGNED_DATA).der()) is Reason.envelope_invalid


# Recipients


def with_identifier(identifier):
    extension = Extension(names.SUBJECT_KEY_IDENTIFIER, False, tlv.octet_string(identifier))
    return make.certificate(make.key("ra"), subject=make.name(CN="ra"), extensions=(extension,))


def test_C101_recipients_named_by_issuer_and_serial_or_key_identifier_are_found():
    assert reason(make.bent_envelope().der()) is None
    named = Recipient.from_certificate(with_identifier(b"ra key"))
    bent = make.bent_envelope().bend(version=2, rid=make.key_identifier_sid(b"ra key"))
    assert reason(attrs.evolve(bent, version=2).der(), recipients=(named,)) is None
    assert reason(bent.der()) is Reason.recipient_unknown
    assert decrypt(bent.der(), with_identifier(b"ra key"), make.ra().key, POLICY) == make.csr()


def entries(*parties):
    """Return one entry for each party, all with the content key of the first."""
    bent = make.bent_envelope(recipient=parties[0])
    others = [make.bent_envelope(recipient=who).entry for who in parties[1:]]
    return attrs.evolve(bent, entries=(bent.entry, *others))


def test_C102_S13_of_several_recipients_the_one_that_names_ours_is_chosen():
    ca, foreign = make.party("ca"), make.party("foreign")
    ours = tuple(Recipient.from_certificate(who.certificate_der) for who in (make.party("previous ra"), make.ra()))
    for parties in ((make.ra(),), (foreign, make.ra()), (make.ra(), ca, foreign), (ca, foreign, make.ra())):
        envelope = parse_envelope(entries(*parties).der(), POLICY)
        index, entry = choose_recipient(envelope, ours, POLICY)
        assert index == 1
        assert entry == envelope.recipients[parties.index(make.ra())]


@pytest.mark.parametrize(
    "parties",
    [("foreign",), ("foreign", "ca"), ("ra", "ra"), ("ra", "ca", "ra"), ("ra", "previous ra"), ("ra", "ra", "ra")],
)
def test_C102_S13_none_or_several_that_name_ours_are_refused_without_any_key(parties):
    ours = tuple(Recipient.from_certificate(make.party(who).certificate_der) for who in ("ra", "previous ra"))
    with pytest.raises(Reject) as caught:
        der = entries(*(make.party(who) for who in parties)).der()
        choose_recipient(parse_envelope(der, POLICY), ours, POLICY)
    assert caught.value.reason is Reason.recipient_unknown
    assert caught.value.fail_info is FailInfo.badRequest


def test_S13_the_same_entry_for_two_certificates_of_one_name_is_not_ambiguous():
    assert reason(make.bent_envelope().der(), recipients=(RA, RA)) is None


def test_S13_an_envelope_without_recipients_is_not_for_us():
    assert reason(attrs.evolve(make.bent_envelope(), entries=()).der()) is Reason.recipient_unknown


def test_S13_an_entry_of_the_same_serial_and_another_issuer_is_not_ours():
    rid = tlv.sequence(make.write_name(make.name(CN="other")), tlv.integer(0x1001))
    assert reason(make.bent_envelope().bend(rid=rid).der()) is Reason.recipient_unknown


def test_S25_recipients_are_bounded():
    foreign = make.party("foreign")
    assert reason(entries(make.ra(), *[foreign] * 15).der()) is None
    assert reason(entries(make.ra(), *[foreign] * 16).der()) is Reason.envelope_invalid


# Algorithms


@pytest.mark.parametrize("cipher", list(Cipher), ids=lambda c: c.name)
def test_C103_C104_ciphers_are_those_of_the_policy(cipher):
    der = make.envelope(CONTENT, cipher=cipher)
    modern = cipher in MODERN_CIPHERS
    assert reason(der) is (None if modern else Reason.algorithm_unsupported)
    assert reason(der, CryptoPolicy(ciphers=frozenset({cipher}))) is None
    assert reason(der, CryptoPolicy(ciphers=frozenset(Cipher) - {cipher})) is Reason.algorithm_unsupported
    assert Reject(Reason.algorithm_unsupported).fail_info is FailInfo.badAlg


@pytest.mark.parametrize("oid", ["1.2.840.113549.3.2", "1.2.840.113549.3.4", "2.16.840.1.101.3.4.1.6", "1.2.3"])
def test_C104_rc2_rc4_gcm_and_unknown_ciphers_are_bad_alg(oid):
    bent = attrs.evolve(make.bent_envelope(), cipher_algorithm=write_algorithm(oid, tlv.octet_string(bytes(16))))
    assert reason(bent.der(), EVERYTHING) is Reason.algorithm_unsupported


def oaep(digest, *, mask=None, label=b"", hashed=True, extra=b""):
    """Return an RSAES-OAEP algorithm whose parameters can be bent."""
    parts = [tlv.explicit(0, write_algorithm(digest.oid))] if hashed else []
    parts += [tlv.explicit(1, write_algorithm(MGF1, write_algorithm((mask or digest).oid)))]
    return write_algorithm(RSAES_OAEP, tlv.sequence(*parts, label, extra))


LABEL = tlv.explicit(2, write_algorithm("1.2.840.113549.1.1.9", tlv.octet_string(b"")))
OTHER_LABEL = tlv.explicit(2, write_algorithm("1.2.840.113549.1.1.9", tlv.octet_string(b"label")))


@pytest.mark.parametrize(
    ("algorithm", "transport"),
    [
        (write_algorithm(RSA_ENCRYPTION), PKCS1V15),
        (tlv.sequence(tlv.oid(RSA_ENCRYPTION)), PKCS1V15),
        (write_algorithm(RSAES_OAEP, tlv.sequence()), OAEP_SHA1),
        (oaep(Digest.SHA1), OAEP_SHA1),
        (oaep(Digest.SHA1, hashed=False), OAEP_SHA1),
        (oaep(Digest.SHA256), OAEP_SHA256),
        (oaep(Digest.SHA256, label=LABEL), OAEP_SHA256),
        (oaep(Digest.SHA512), KeyTransport(Digest.SHA512)),
        (tlv.sequence(tlv.oid(RSAES_OAEP)), None),
        (write_algorithm(RSAES_OAEP), None),
        (write_algorithm(RSA_ENCRYPTION, tlv.integer(1)), None),
        (oaep(Digest.SHA256, mask=Digest.SHA1), None),
        (oaep(Digest.SHA256, label=OTHER_LABEL), None),
        (oaep(Digest.SHA256, extra=tlv.null()), None),
        (write_algorithm("1.2.3"), None),
    ],
)
def test_C105_S15_key_transports_are_read_or_unknown(algorithm, transport):
    envelope = parse_envelope(make.bent_envelope().bend(algorithm=algorithm).der(), POLICY)
    assert envelope.recipients[0].transport == transport
    expected = None if transport in POLICY.transports else Reason.algorithm_unsupported
    assert reason(make.bent_envelope().bend(algorithm=algorithm).der()) is expected


def test_C105_S15_an_unknown_digest_of_oaep_is_bad_alg():
    hashed = write_algorithm("1.2.3")
    parameters = tlv.sequence(tlv.explicit(0, hashed), tlv.explicit(1, write_algorithm(MGF1, hashed)))
    bent = make.bent_envelope().bend(algorithm=write_algorithm(RSAES_OAEP, parameters))
    assert reason(bent.der(), EVERYTHING) is Reason.algorithm_unsupported


def test_C105_an_unknown_transport_of_somebody_elses_entry_does_not_matter():
    bent = entries(make.ra(), make.party("foreign"))
    foreign = attrs.evolve(bent.entries[1], algorithm=write_algorithm("1.2.3"))
    assert reason(attrs.evolve(bent, entries=(bent.entry, foreign)).der()) is None


OTHER_KINDS = {
    "kari": tlv.implicit(1, tlv.integer(3) + tlv.null(), constructed=True),
    "kekri": tlv.implicit(2, tlv.integer(4), constructed=True),
    "pwri": tlv.implicit(3, tlv.integer(0), constructed=True),
    "ori": tlv.implicit(4, tlv.oid("1.2.3"), constructed=True),
    "unknown": tlv.implicit(9, tlv.null(), constructed=True),
    "primitive": tlv.implicit(1, b"x", constructed=False),
}


@pytest.mark.parametrize("kind", OTHER_KINDS)
def test_C105_S15_recipients_of_other_kinds_are_bad_alg_and_never_looked_into(kind):
    alone = attrs.evolve(make.bent_envelope(), entries=(), others=(OTHER_KINDS[kind],))
    assert reason(alone.der()) is Reason.algorithm_unsupported
    beside = attrs.evolve(make.bent_envelope(), others=(OTHER_KINDS[kind],))
    assert reason(beside.der()) is None


@pytest.mark.parametrize(
    "outer",
    [
        "1.2.840.113549.1.9.16.1.23",  # AuthEnvelopedData
        "1.2.840.113549.1.9.16.1.9",  # CompressedData
        "1.2.840.113549.1.7.5",  # DigestedData
        "1.2.840.113549.1.7.6",  # EncryptedData
        names.DATA,
        names.SIGNED_DATA,
    ],
)
def test_S15_cms_types_that_nobody_asked_for_are_refused(outer):
    assert reason(attrs.evolve(make.bent_envelope(), outer_type=outer).der()) is Reason.envelope_invalid


def test_S15_no_cms_of_a_library_is_ever_called(monkeypatch):
    from cryptography.hazmat.bindings._rust import pkcs7 as rust_pkcs7
    from cryptography.hazmat.primitives.serialization import pkcs7

    def refuse(*_args, **_kwargs):
        pytest.fail("a CMS function of the library was called")

    for module in (pkcs7, rust_pkcs7):
        for function in [
            n for n in dir(module) if n.startswith(("pkcs7_", "load_", "serialize", "encrypt", "decrypt", "sign"))
        ]:
            monkeypatch.setattr(module, function, refuse, raising=False)
    assert opened(make.envelope(CONTENT)) == CONTENT


# Structure


def test_C111_originator_info_and_unprotected_attributes_are_passed_over():
    bent = attrs.evolve(
        make.bent_envelope(),
        originator=tlv.implicit(0, b"", constructed=True),
        unprotected=tlv.implicit(1, make.attribute("1.2.3", tlv.null()), constructed=True),
    )
    assert reason(bent.der()) is None
    crowded = attrs.evolve(bent, unprotected=tlv.implicit(1, tlv.null() * 2000, constructed=True))
    assert reason(crowded.der()) is Reason.envelope_invalid


def test_C071_the_bare_form_that_goes_with_id_enveloped_data_is_read():
    assert opened(attrs.evolve(make.bent_envelope(CONTENT), bare=True).der()) == CONTENT


@pytest.mark.parametrize(
    "bend",
    [
        {"ciphertext": None},
        {"ciphertext_der": tlv.octet_string(bytes(16))},
        {"trailing": tlv.null()},
        {"cipher_algorithm": tlv.sequence(tlv.oid(Cipher.AES128.oid))},
        {"cipher_algorithm": write_algorithm(Cipher.AES128.oid)},
        {"cipher_algorithm": write_algorithm(Cipher.AES128.oid, tlv.octet_string(bytes(8)))},
        {"cipher_algorithm": write_algorithm(Cipher.AES128.oid, tlv.octet_string(bytes(100_000)))},
        {"unprotected": tlv.null()},
    ],
)
def test_C106_structures_that_are_wrong_in_clear_data_are_refused(bend):
    assert reason(attrs.evolve(make.bent_envelope(), **bend).der()) is Reason.envelope_invalid


def test_wire_constructed_encrypted_content_of_definite_length_is_read():
    bent = make.bent_envelope(CONTENT)
    pieces = make.fragments(bent.ciphertext, 16, tag=0xA0, definite=True)  # as micromdm 2.1.0 sends it
    assert opened(attrs.evolve(bent, ciphertext_der=pieces).der()) == CONTENT


@pytest.mark.parametrize("data", [b"\x30", b"\x30\0", b"not asn.1", b"\x30\x80\0\0", b"\x04\0"])
def test_C106_octets_that_are_no_envelope_are_refused(data):
    assert reason(data) is Reason.envelope_invalid


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_C106_a_flipped_octet_is_refused_or_decrypts_and_nothing_else_is_raised(data):
    der = bytearray(ENVELOPE)
    der[data.draw(st.integers(0, len(der) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with suppress(Reject):
        opened(bytes(der), EVERYTHING)


ENVELOPE = make.envelope(CONTENT)


# Decryption


def test_C106_S10_every_bad_padding_of_the_content_key_is_the_same_refusal():
    bent = make.bent_envelope(CONTENT)
    content_key = make.ra().key.decrypt(bent.entry.encrypted_key, padding.PKCS1v15())
    for label, encrypted_key in make.bad_paddings(make.ra().key.public_key(), content_key).items():
        with pytest.raises(Reject) as caught:
            opened(bent.bend(encrypted_key=encrypted_key).der())
        assert caught.value.reason is Reason.decryption_failed, label


@pytest.mark.parametrize("size", [0, 15, 17, 31, 33])
def test_C106_S25_ciphertext_of_no_whole_blocks_is_refused_before_the_cipher(monkeypatch, size):
    envelope = parse_envelope(attrs.evolve(make.bent_envelope(), ciphertext=bytes(size)).der(), POLICY)
    monkeypatch.setattr(enveloped, "decrypt_blocks", lambda *_: pytest.fail("the cipher was called"))
    with pytest.raises(Reject) as caught:
        decrypt_content(envelope, bytes(16))
    assert caught.value.reason is Reason.decryption_failed


@pytest.mark.parametrize("size", [0, 8, 15, 17, 24, 32])
def test_C106_a_content_key_of_the_wrong_length_is_refused(size):
    with pytest.raises(Reject) as caught:
        decrypt_content(parse_envelope(ENVELOPE, POLICY), bytes(size))
    assert caught.value.reason is Reason.decryption_failed


def envelope_of_blocks(cipher, padded):
    """Return an Envelope whose decryption is exactly those octets, and its key."""
    content_key, iv = os.urandom(cipher.key_size), os.urandom(cipher.block_size)
    ciphertext = encrypt_blocks(cipher, content_key, iv, padded)
    return enveloped.Envelope(cipher, iv, ciphertext, ()), content_key


@pytest.mark.parametrize("cipher", list(Cipher), ids=lambda c: c.name)
def test_C106_S12_padding_is_taken_off_or_refused_for_every_last_octet(cipher):
    block = cipher.block_size
    for last in range(256):
        padded = b"\x55" * block * 2 + bytes((last,)) * block
        envelope, content_key = envelope_of_blocks(cipher, padded)
        if 1 <= last <= block:
            assert decrypt_content(envelope, content_key) == padded[: len(padded) - last]
        else:
            with pytest.raises(Reject) as caught:
                decrypt_content(envelope, content_key)
            assert caught.value.reason is Reason.decryption_failed


@pytest.mark.parametrize("cipher", list(Cipher), ids=lambda c: c.name)
def test_C106_S12_every_octet_of_the_padding_counts(cipher):
    block = cipher.block_size
    for length in range(2, block + 1):
        for position in range(2, length + 1):
            padded = bytearray(b"\x55" * (2 * block - length) + bytes((length,)) * length)
            padded[-position] ^= 0x80
            envelope, content_key = envelope_of_blocks(cipher, bytes(padded))
            with pytest.raises(Reject):
                decrypt_content(envelope, content_key)


@given(st.binary(min_size=16, max_size=48).filter(lambda octets: len(octets) % 16 == 0))
def test_S12_padding_agrees_with_the_plain_rule(padded):
    length, bad = enveloped._padding(padded, 16)
    plain = 1 <= padded[-1] <= 16 and padded.endswith(bytes((padded[-1],)) * padded[-1])
    assert (bad == 0) == plain
    assert length == padded[-1]


# Building


def test_C104_single_des_is_triple_des_with_the_key_three_times():
    envelope = parse_envelope(make.envelope(CONTENT, cipher=Cipher.DES), EVERYTHING)
    content_key = make.ra().key.decrypt(envelope.recipients[0].encrypted_key, padding.PKCS1v15())
    assert len(content_key) == 8
    triple = attrs.evolve(envelope, cipher=Cipher.DES3)
    assert decrypt_content(triple, content_key * 3) == decrypt_content(envelope, content_key) == CONTENT


def test_encrypting_takes_its_randomness_from_the_caller():
    asked = []

    def random(size):
        asked.append(size)
        return bytes(size)

    first, second = (parse_envelope(make.envelope(CONTENT, random=random), POLICY) for _ in range(2))
    assert asked == [16, 16] * 2
    assert first.iv == bytes(16)
    assert first.ciphertext == second.ciphertext


@pytest.mark.parametrize("kind", ["p256", "p384", "p521", "ed25519"])
def test_C257_C258_without_a_password_nothing_is_encrypted_to_a_key_that_cannot_decrypt(kind):
    for password in (None, Secret("")):
        with pytest.raises(Reject) as caught:
            encrypt(
                CONTENT,
                make.party("device", kind).certificate_der,
                cipher=Cipher.AES128,
                transport=PKCS1V15,
                random=os.urandom,
                password=password,
            )
        assert caught.value.reason is Reason.reply_unprotectable
        assert (caught.value.fail_info, caught.value.fail_info_text) == (
            FailInfo.badRequest,
            "no encryption method for this key",
        )


def test_S28_nothing_is_encrypted_to_an_odd_curve():
    with pytest.raises(Reject) as caught:
        make.envelope(CONTENT, make.party("odd curve", "k256"))
    assert caught.value.reason is Reason.signer_key_refused


def test_C250_which_keys_can_encrypt():
    kinds = {"rsa2048": True, "p256": False, "p384": False, "p521": False, "ed25519": False}
    assert {kind: can_encrypt(make.key("device", kind).public_key()) for kind in kinds} == kinds


def test_a_key_too_small_for_the_transport_is_refused():
    small = make.party("small", "rsa1024")
    with pytest.raises(Reject, match="signer_key_refused"):
        make.envelope(CONTENT, small, transport=KeyTransport(Digest.SHA512))
    with pytest.raises(Reject, match="signer_key_refused"):
        encrypt(
            CONTENT,
            make.party("small", "rsa1024").certificate_der,
            cipher=Cipher.AES256,
            transport=KeyTransport(Digest.SHA512),
            random=os.urandom,
        )


@pytest.mark.parametrize("serial_der", [tlv.integer((1 << 256) - 1), tlv.write(tlv.INTEGER, b"\0\0\x05")])
def test_C122_the_recipient_is_named_octet_for_octet(serial_der):
    certificate = make.certificate(make.key("device"), serial_der=serial_der)
    der = encrypt(CONTENT, certificate, cipher=Cipher.AES128, transport=PKCS1V15, random=os.urandom)
    assert tlv.read(make.open_up(der).entry.rid).children[1].der == serial_der

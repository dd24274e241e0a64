"""GetNextCACert: built, read by our client code, and seen by openssl and asn1crypto."""

import contextlib

import pytest
from asn1crypto import cms

from scepd.message import tlv
from scepd.message.algorithms import CryptoPolicy, Digest
from scepd.message.certificate import load_certificate
from scepd.message.certrep import certs_only, read_certs_only
from scepd.message.errors import MessageError
from scepd.message.names import CONTENT_TYPE, DATA, MESSAGE_DIGEST, SIGNED_DATA
from scepd.message.next_ca import build_next_ca, read_next_ca
from scepd.message.signature import sign, write_algorithm
from scepd.message.signed import (
    digest_content,
    read_signed_data,
    write_content_info,
    write_encapsulated,
    write_issuer_and_serial,
)
from scepd.refusal import Reason, Reject
from tests import make
from tests.message import oracles

CA = make.party("current ca")
STRANGER = make.party("somebody else")
ELLIPTIC = make.party("elliptic ca", kind="p256")
STRONGER = make.party("stronger ca", kind="p384")
NEXT = [make.party("next ra").certificate_der, make.party("next ca").certificate_der]
CONTENT = certs_only(NEXT)


def build(certificates=NEXT, signer=CA, digest=Digest.SHA256):
    return build_next_ca(certificates, signer=(signer.certificate_der, signer.key), digest=digest)


def read(body, *trusted, **changes):
    return read_next_ca(body, trusted=trusted or (CA.certificate_der,), **changes)


def outer(body):
    return cms.ContentInfo.load(body, strict=True)["content"]


@pytest.mark.parametrize(
    ("signer", "digest"),
    [(CA, Digest.SHA256), (CA, Digest.SHA512), (ELLIPTIC, Digest.SHA256), (STRONGER, Digest.SHA384)],
)
def test_C060_C267_rsa_and_ec_ca_keys_sign_it(signer, digest):
    body = build(signer=signer, digest=digest)
    assert read(body, signer.certificate_der) == NEXT
    assert oracles.cms_verify(body, signer.certificate_der) == certs_only(NEXT)


def test_C061_the_signed_content_is_a_certs_only_message():
    content = outer(build())["encap_content_info"]["content"].native
    assert read_certs_only(content) == NEXT
    inner = outer(content)
    assert len(inner["signer_infos"]) == 0
    assert [one.dump() for one in inner["certificates"]] == NEXT


def test_C062_the_outer_bag_holds_the_signer_and_the_new_certificates_in_their_order():
    assert [one.dump() for one in outer(build())["certificates"]] == [CA.certificate_der, *NEXT]


def test_C063_only_the_attributes_of_CMS_are_signed():
    (info,) = outer(build())["signer_infos"]
    assert {attribute["type"].dotted for attribute in info["signed_attrs"]} == {CONTENT_TYPE, MESSAGE_DIGEST}


def test_C064_an_unsigned_answer_is_refused():
    with pytest.raises(MessageError):
        read(certs_only(NEXT))


def test_C060_a_stranger_s_signature_is_refused():
    with pytest.raises(Reject) as caught:
        read(build(signer=STRANGER))
    assert caught.value.reason is Reason.signer_missing


def test_C060_a_message_that_names_the_CA_but_is_signed_by_another_key_is_refused():
    forged = build_next_ca(NEXT, signer=(CA.certificate_der, STRANGER.key), digest=Digest.SHA256)
    with pytest.raises(Reject) as caught:
        read(forged)
    assert caught.value.reason is Reason.signature_invalid


def test_C060_another_content_under_the_signature_is_refused():
    body = build()
    position = body.index(certs_only(NEXT)) + len(certs_only(NEXT)) - 10
    changed = bytearray(body)
    changed[position] ^= 1
    with pytest.raises((Reject, MessageError)):
        read(bytes(changed))


@pytest.mark.parametrize("position", range(0, 2000, 37))
def test_a_flipped_octet_never_changes_what_is_read(position):
    body = bytearray(build())
    body[position % len(body)] ^= 0x01
    with contextlib.suppress(MessageError, Reject):
        assert read(bytes(body)) == NEXT


@pytest.mark.parametrize("digest", [Digest.SHA1, Digest.MD5])
def test_a_digest_outside_the_policy_is_refused_and_inside_read(digest):
    body = build(digest=digest)
    with pytest.raises(Reject) as caught:
        read(body)
    assert caught.value.reason is Reason.algorithm_unsupported
    assert read(body, policy=CryptoPolicy(digests=frozenset({digest}))) == NEXT


def rebuilt(*attributes, content=CONTENT, signer_infos=1, bag=()):
    """Return a message with those signed attributes, signed by the CA whatever they are."""
    said = tlv.set_of(attributes)
    algorithm, signature = sign(CA.key, said, Digest.SHA256, pss=False)
    info = tlv.sequence(
        tlv.integer(1),
        write_issuer_and_serial(load_certificate(CA.certificate_der)),
        write_algorithm(Digest.SHA256.oid),
        tlv.retag(0xA0, said) if attributes else b"",
        algorithm,
        tlv.octet_string(signature),
    )
    data = tlv.sequence(
        tlv.integer(1),
        tlv.write(tlv.SET, write_algorithm(Digest.SHA256.oid)),
        write_encapsulated(content),
        tlv.implicit(0, b"".join(bag), constructed=True) if bag else b"",
        tlv.write(tlv.SET, *[info] * signer_infos),
    )
    return write_content_info(SIGNED_DATA, data)


def attribute(oid, *values):
    return tlv.sequence(tlv.oid(oid), tlv.write(tlv.SET, *values))


def digest_of(content):
    return tlv.octet_string(digest_content(Digest.SHA256, content))


TYPE = attribute(CONTENT_TYPE, tlv.oid(DATA))
DIGEST = attribute(MESSAGE_DIGEST, digest_of(certs_only(NEXT)))


@pytest.mark.parametrize("bag", [(), (STRANGER.certificate_der,), NEXT[:1]])
def test_C061_what_the_outer_bag_holds_is_not_believed(bag):
    assert read(rebuilt(TYPE, DIGEST, bag=bag)) == NEXT


@pytest.mark.parametrize(
    ("body", "error", "words"),
    [
        (rebuilt(), MessageError, "no signed attributes"),
        (rebuilt(DIGEST), Reject, "contentType"),
        (rebuilt(TYPE), Reject, "messageDigest"),
        (rebuilt(TYPE, DIGEST, DIGEST), MessageError, "twice"),
        (rebuilt(TYPE, DIGEST, signer_infos=2), MessageError, "2 SignerInfos"),
        (rebuilt(TYPE, attribute(MESSAGE_DIGEST, digest_of(b"")), content=None), MessageError, "no signed certificates"),
    ],
)
def test_C063_C064_what_is_no_such_message_is_refused(body, error, words):
    with pytest.raises(error, match=words):
        read(body)


def test_the_draft_s_signature_of_the_RA_is_read_where_it_is_trusted():
    ra = make.party("ra")
    assert read(build(signer=ra), CA.certificate_der, ra.certificate_der) == NEXT


def test_the_openssl_command_s_own_message_is_read():
    body = oracles.cms_sign(certs_only(NEXT), CA, "-nosmimecap")
    assert read_signed_data(body).content == certs_only(NEXT)
    assert read(body) == NEXT

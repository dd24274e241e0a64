"""Part B of `rows.toml` as far as it is the message: encodings, algorithms, attributes, certificates."""

import re
from datetime import timedelta

import attrs
import pytest
from cryptography import x509

from scepd.hsm.software import software_decryption_key
from scepd.message import names, tlv
from scepd.message.algorithms import RSA_ENCRYPTION, Cipher, Digest
from scepd.message.csr import Extension, build_csr
from scepd.message.enveloped import Recipient
from scepd.message.request import parse_message
from scepd.message.signature import write_algorithm
from scepd.records import Attribute
from tests import make
from tests.wire import clients
from tests.wire.test_recorded import poll
from tests.world import NOW, STATIC


def issued(server, body, party=None):
    reply = server.post(body)
    assert reply.status == 200
    return x509.load_der_x509_certificate(server.check_success(reply.body, body, party or make.device()))


def req(server, **fields):
    return make.pkcs_req(challenge=STATIC, recipient=server.ra, **fields)


def bent(server, **fields):
    return make.take_apart(req(server, **fields))


@pytest.mark.parametrize("fragment", [1, 100, 4096])
def test_WB16_C093_BER_inside_and_outside(server, fragment):
    inner = make.ber_envelope(make.envelope(make.csr(challenge=STATIC), server.ra), fragment=max(fragment, 100))
    body = make.ber_message(make.message(inner), fragment=max(fragment, 4))
    assert issued(server, body)


def test_WB16_nested_and_definite_constructed_strings(server):
    parts = make.open_up(make.envelope(make.csr(challenge=STATIC), server.ra))
    halves = (parts.ciphertext[:500], parts.ciphertext[500:])
    nested = tlv.write(0xA0, *(tlv.write(0x24, tlv.octet_string(half)) for half in halves))
    content = attrs.evolve(parts, ciphertext_der=nested).der()
    message = attrs.evolve(make.take_apart(make.message(content)), content_der=make.fragments(content, 700, definite=True))
    assert issued(server, message.der())


def test_WB17_signed_attributes_in_any_order(server):
    reverse = bent(server)
    reverse = reverse.bend(attributes=tuple(sorted(reverse.signer.attributes, reverse=True)))
    as_they_stand = reverse.resign(order=False).der()
    ordered = attrs.evolve(reverse, signers=(attrs.evolve(reverse.signer, signature=bent_signature(reverse)),)).der()
    assert as_they_stand != ordered
    for body in (as_they_stand, ordered):
        assert issued(server, body)


def bent_signature(message):
    """The signature over the attributes in DER order, whatever order they are sent in."""
    return message.resign().signer.signature


@pytest.mark.parametrize("digest", [Digest.SHA256, Digest.SHA512], ids=lambda d: d.name)
@pytest.mark.parametrize("oid", [RSA_ENCRYPTION, None], ids=["rsaEncryption", "shaWithRSA"])
def test_WB18_C090_both_names_of_an_RSA_signature(server, digest, oid):
    parts = bent(server, digest=digest)
    assert issued(server, parts.bend(signature_algorithm=write_algorithm(oid or clients.WITH_RSA[digest])).der())


@pytest.mark.parametrize(("digest", "word"), [(Digest.MD5, "md5"), (Digest.SHA1, "sha1")])
def test_WB19_C266_old_digests_by_their_switch_alone_and_mirrored(serve, digest, word):
    server = serve(
        profiles={
            "devices": {},
            "old": {f"insecurely_accept_{word}": True},
            "other": {f"insecurely_accept_{'sha1' if word == 'md5' else 'md5'}": True},
        }
    )
    body = req(server, digest=digest)
    for path in (b"/scep/devices", b"/scep/other"):
        assert server.check_refusal(server.post(body, path=path).body)[0] == "badAlg"
    reply = server.post(body, path=b"/scep/old")
    assert server.check_success(reply.body, body, make.device())


@pytest.mark.parametrize(("cipher", "word"), [(Cipher.DES, "des"), (Cipher.DES3, "3des")])
def test_WB20_C266_C104_old_ciphers_by_their_switch_alone_and_mirrored(serve, cipher, word):
    other = "3des" if word == "des" else "des"
    server = serve(
        profiles={
            "devices": {},
            "old": {f"insecurely_accept_{word}": True},
            "other": {f"insecurely_accept_{other}": True},
        }
    )
    body = req(server, cipher=cipher)
    for path in (b"/scep/devices", b"/scep/other"):
        assert server.check_refusal(server.post(body, path=path).body)[0] == "badAlg"
    reply = server.post(body, path=b"/scep/old")
    assert server.check_success(reply.body, body, make.device())


@pytest.mark.parametrize("nonce", [b"12345678", b"", bytes(64), None], ids=["8", "empty", "64", "missing"])
def test_WB21_C084_nonces_of_any_length_or_none(server, nonce):
    parts = bent(server, sender_nonce=nonce or b"")
    if nonce is None:
        parts = parts.without_attribute(names.SENDER_NONCE).resign()
    assert issued(server, parts.der())
    said = parse_message(server.post(parts.der()).body)
    assert (said.recipient_nonce, len(said.sender_nonce)) == (nonce or None, 16)


@pytest.mark.parametrize("skew", [None, -9000, 9000], ids=["missing", "behind", "ahead"])
def test_WB22_signingTime_missing_or_off_by_years(server, skew):
    assert issued(server, req(server, signing_time=None if skew is None else NOW + timedelta(days=skew)))


TRANSACTIONS = {
    "MD5 upper": "0123456789ABCDEF0123456789ABCDEF",
    "SHA-1 lower": "0123456789abcdef0123456789abcdef01234567",
    "SHA-256": "A" * 64,
    "base64": "q+Zs/3R0YyH4m1JpD7bX0aVZ2xk=",
    "77 digits": "1" * 77,
    "words": "SSCEP transactionId",
    "one": "0",
    "255": "x" * 255,
}


@pytest.mark.parametrize("transaction", TRANSACTIONS.values(), ids=TRANSACTIONS)
def test_WB23_C213_transactionIDs_of_all_forms(server, transaction):
    assert issued(server, req(server, transaction_id=transaction))


def test_WB23_a_poll_in_another_letter_case(server):
    assert issued(server, req(server, transaction_id="0123456789ABCDEF"))
    body = poll(server, make.device(), "0123456789abcdef")
    assert server.leaf(server.post(body).body, make.device())
    assert parse_message(server.post(body).body).transaction_id == "0123456789abcdef"


def test_WB24_C205_the_same_transaction_again_is_the_same_certificate(server):
    first = issued(server, req(server))
    again = issued(server, req(server, sender_nonce=bytes(16)))
    polled = server.leaf(server.post(poll(server, make.device(), make.TRANSACTION)).body, make.device())
    assert first == again == x509.load_der_x509_certificate(polled)
    assert len(server.world.issued()) == 1


def test_WB25_C085_messageType_as_INTEGER(server):
    assert issued(server, bent(server).with_attribute(names.MESSAGE_TYPE, tlv.integer(19)).resign().der())


@pytest.mark.parametrize("tag", [tlv.PRINTABLE_STRING, tlv.UTF8_STRING, tlv.IA5_STRING])
@pytest.mark.parametrize("place", ["before", "after", "inside"])
def test_WB26_C145_C146_the_challenge_in_any_string_and_place(server, tag, place):
    wish = make.dns_names("device")
    if place == "inside":
        inside = Extension(names.CHALLENGE_PASSWORD, False, tlv.text(tag, STATIC))
        attributes = (clients.wishes(wish, inside),)
    else:
        attributes = (clients.password(tag), clients.wishes(wish))
        attributes = attributes if place == "before" else attributes[::-1]
    sent = clients.plain(server, attributes=attributes)
    leaf = issued(server, sent.body, sent.party)
    assert leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(
        x509.DNSName
    ) == ["device"]


CISCO = (
    (Attribute("2.5.4.3", "device", 19),),
    (Attribute("1.2.840.113549.1.9.2", "device.example.net", 22), Attribute("2.5.4.5", "FTX1234A5B6", 19)),
    (Attribute("1.2.840.113549.1.9.8", "192.0.2.9", 19),),
)


def test_WB27_C096_cisco_signs_with_another_subject_than_it_asks_for(server):
    body = req(server, subject=CISCO)
    assert "2.5.4.5" not in str(x509.load_der_x509_certificate(make.device().certificate_der).subject)
    leaf = issued(server, body)
    assert leaf.subject.rfc4514_string(
        {x509.ObjectIdentifier("1.2.840.113549.1.9.2"): "unstructuredName",
         x509.ObjectIdentifier("1.2.840.113549.1.9.8"): "unstructuredAddress"}
    ).count("=") == 4  # fmt: skip
    assert [a.value for a in leaf.subject] == ["device", "FTX1234A5B6", "device.example.net", "192.0.2.9"]


@pytest.mark.parametrize("preset", ["cisco-ios", "cisco-ios-legacy", "cisco-pix"])
def test_WB27_E10_cisco_finds_its_host_name_among_the_alternative_names(serve, preset):
    server = serve(preset=preset, names={"dns": ["*.example.net"]})
    leaf = issued(server, req(server, subject=CISCO))
    alternatives = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert alternatives.get_values_for_type(x509.DNSName) == ["device.example.net"]


def test_WB27_E10_pix_gets_nothing_without_a_host_name(serve):
    server = serve(preset="cisco-pix")
    reply = server.post(req(server, subject=((Attribute("2.5.4.3", "not a host"),),)))
    assert server.check_refusal(reply.body) == ("badRequest", None)


ODD = (
    Extension("2.5.29.35", True, tlv.sequence(tlv.implicit(0, bytes(20), constructed=False))),
    Extension("1.3.6.1.4.1.311.20.2", False, tlv.text(tlv.BMP_STRING, "IPSECIntermediateOffline")),
    Extension("1.3.6.1.4.1.99999.7", True, b"\x30\x80\xff"),
    Extension("2.5.29.19", True, tlv.sequence(tlv.boolean(True))),
)


def test_WB28_C095_windows_signs_with_a_critical_AKI_and_odd_extensions(server):
    key = make.device().key
    party = make.Party(key, make.certificate(key, extensions=ODD))
    assert issued(server, req(server, signer=party), party)


def test_WB28_windows_asks_in_its_own_attribute_among_others_of_its_own(server):
    attributes = (
        clients.password(),
        make.attribute("1.3.6.1.4.1.311.13.2.3", tlv.text(tlv.IA5_STRING, "10.0.26100.2")),  # OS version
        make.attribute("1.3.6.1.4.1.311.13.2.2", tlv.sequence(tlv.integer(1))),  # enrolment CSP
        clients.wishes(make.dns_names("device"), oid=names.MICROSOFT_EXTENSION_REQUEST),
    )
    sent = clients.plain(server, attributes=attributes)
    assert b"device" in issued(server, sent.body, sent.party).public_bytes(make.Encoding.DER)
    assert server.world.issued()[0].names == ("dns:device",)


def by_key_identifier(server):
    parts = make.open_up(make.envelope(make.csr(challenge=STATIC), server.ra))
    identifier = x509.load_der_x509_certificate(server.ra.certificate_der).extensions.get_extension_for_class(
        x509.SubjectKeyIdentifier
    )
    return parts.bend(rid=make.key_identifier_sid(identifier.value.digest), version=2).der()


def test_WB29_C101_a_recipient_named_by_key_identifier(server):
    assert issued(server, make.message(by_key_identifier(server)))


def test_WB29_C055_a_recipient_that_was_the_RA_before(server):
    old = make.party("the RA before")
    registrations = server.world.context.registrations
    now = registrations["devices"]
    before = attrs.evolve(
        now,
        recipients=(*now.recipients, Recipient.from_certificate(old.certificate_der)),
        decryption=(*now.decryption, software_decryption_key(old.key, bytes(32))),
    )
    server.world.context.registrations = {**registrations, "devices": before}
    assert issued(server, make.pkcs_req(challenge=STATIC, recipient=old))


@pytest.mark.parametrize("content_type", [names.DATA, names.ENVELOPED_DATA])
@pytest.mark.parametrize("bare", [False, True])
def test_WB30_C071_both_content_types_and_the_bare_envelope(server, content_type, bare):
    content = make.envelope(make.csr(challenge=STATIC), server.ra)
    if bare:
        content = attrs.evolve(make.open_up(content), bare=True).der()
    parts = attrs.evolve(make.take_apart(make.message(content)), content_type=content_type)
    body = parts.with_attribute(names.CONTENT_TYPE, tlv.oid(content_type)).resign().der()
    reply = server.post(body)
    assert server.leaf(reply.body, make.device())
    said = parse_message(reply.body)
    assert (said.proof.content_type, said.proof.content_type_attribute) == (names.DATA, names.DATA)


def test_WB31_C123_more_certificates_and_the_reply_for_the_signer_alone(server):
    bag = [make.party("root").certificate_der, make.device().certificate_der, server.keys.ca_der]
    assert issued(server, req(server, certificates=bag))


def renew(server, old, key, **fields):
    """A request signed by the certificate that it renews; who made it, as a party."""
    csr_der = build_csr(subject=make.name(CN="device"), private_key=key, challenge=None)
    return make.pkcs_req(csr_der=csr_der, signer=old, recipient=server.ra, **fields)


@pytest.mark.parametrize("message_type", [19, 17], ids=["PKCSReq", "RenewalReq"])
@pytest.mark.parametrize("key", ["same", "new"])
def test_WB32_WA29_C170_C184_renewal_by_the_old_certificate(server, message_type, key):
    leaf = server.leaf(server.post(req(server)).body, make.device())
    old = make.Party(make.device().key, leaf)
    server.world.clock.time += timedelta(days=300)
    private_key = make.device().key if key == "same" else make.key("renewed")
    body = renew(
        server, old, private_key, message_type=message_type, transaction_id="renewal", signing_time=server.world.clock.time
    )
    new = server.leaf(server.post(body).body, old)
    assert make.spki(private_key) in new
    assert new != leaf
    assert re.search(b"device", new)

"""What `openssl cms` builds is read; what is built for requests, openssl reads."""

import os

import attrs
import pytest

from scepd.message import names, tlv
from scepd.message.algorithms import OAEP_SHA1, OAEP_SHA256, PKCS1V15, Cipher, CryptoPolicy, Digest, KeyTransport
from scepd.message.csr import parse_csr
from scepd.message.enveloped import decrypt, parse_envelope
from scepd.message.request import parse_message, verify_message
from scepd.message.signed import read_signed_data, read_signer_info
from tests import make
from tests.message import oracles

EVERYTHING = CryptoPolicy(
    digests=frozenset(Digest), ciphers=frozenset(Cipher), transports=frozenset({PKCS1V15, *map(KeyTransport, Digest)})
)
CONTENT = os.urandom(3000)
CIPHERS = {
    Cipher.DES: "-des",
    Cipher.DES3: "-des3",
    Cipher.AES128: "-aes128",
    Cipher.AES192: "-aes192",
    Cipher.AES256: "-aes256",
}
TRANSPORTS = {
    PKCS1V15: (),
    OAEP_SHA1: ("-keyopt", "rsa_padding_mode:oaep"),
    OAEP_SHA256: ("-keyopt", "rsa_padding_mode:oaep", "-keyopt", "rsa_oaep_md:sha256"),
}
DIGESTS = {digest: digest.name.lower() for digest in Digest}
STREAM = ("-stream", "-indef")


@pytest.mark.parametrize("cipher", CIPHERS, ids=lambda c: c.name)
@pytest.mark.parametrize("transport", TRANSPORTS, ids=str)
@pytest.mark.parametrize("form", [(), STREAM], ids=["der", "ber"])
def test_C103_C105_C093_envelopes_of_openssl_are_decrypted(cipher, transport, form):
    der = oracles.cms_encrypt(CONTENT, make.ra(), CIPHERS[cipher], *TRANSPORTS[transport], *form)
    envelope = parse_envelope(der, EVERYTHING)
    assert (envelope.cipher, envelope.recipients[0].transport) == (cipher, transport)
    assert decrypt(der, make.ra().certificate_der, make.ra().key, EVERYTHING) == CONTENT


def test_C101_envelopes_of_openssl_by_key_identifier_are_decrypted():
    extension = make.Extension(names.SUBJECT_KEY_IDENTIFIER, False, tlv.octet_string(b"0123456789abcdef0123"))
    who = make.Party(make.key("ra"), make.certificate(make.key("ra"), extensions=(extension,)))
    der = oracles.cms_encrypt(CONTENT, who, "-aes128", "-keyid")
    assert decrypt(der, who.certificate_der, who.key, EVERYTHING) == CONTENT


@pytest.mark.parametrize("cipher", CIPHERS, ids=lambda c: c.name)
@pytest.mark.parametrize("transport", [*TRANSPORTS, KeyTransport(Digest.SHA512)], ids=str)
def test_C103_C105_envelopes_for_openssl_are_decrypted(cipher, transport):
    der = make.envelope(CONTENT, cipher=cipher, transport=transport)
    assert oracles.cms_decrypt(der, make.ra()) == CONTENT


FORMS = {"der": (), "ber": STREAM, "keyid": ("-keyid",)}
# What openssl 3.0 can make: no MD5 but with RSA PKCS#1 v1.5, no stream with PSS.
SIGNED = [
    (digest, kind, form)
    for digest in DIGESTS
    for kind in ("rsa2048", "p256", "pss")
    for form in FORMS
    if not (digest is Digest.MD5 and kind != "rsa2048") and not (kind == "pss" and form == "ber")
]


@pytest.mark.parametrize(("digest", "kind", "form"), SIGNED, ids=lambda value: getattr(value, "name", value))
def test_C090_C093_signatures_of_openssl_are_verified(digest, kind, form):
    key = make.key("openssl", "rsa2048" if kind == "pss" else kind)
    extension = make.Extension(names.SUBJECT_KEY_IDENTIFIER, False, tlv.octet_string(b"identifier"))
    who = make.Party(key, make.certificate(key, extensions=(extension,)))
    options = ("-keyopt", "rsa_padding_mode:pss") if kind == "pss" else ()
    der = oracles.cms_sign(CONTENT, who, "-md", DIGESTS[digest], *options, *FORMS[form])
    # openssl adds no SCEP attributes: its own are verified as those of a message that has them.
    data = read_signed_data(der)
    (info,) = map(read_signer_info, data.signer_infos)
    template = parse_message(make.pkcs_req())
    said = {a.children[0].oid(): a.children[1].inner() for a in info.attributes.children}
    assert data.content == CONTENT
    proof = attrs.evolve(
        template.proof,
        signer_info=info,
        digest_oids=data.digest_oids,
        message_digest=said[names.MESSAGE_DIGEST].octets(),
    )
    signer = attrs.evolve(template.signer, spki_der=make.spki(key))
    message = attrs.evolve(template, digest=digest, digest_oid=digest.oid, content=CONTENT, signer=signer, proof=proof)
    verify_message(message, EVERYTHING)


@pytest.mark.parametrize("digest", DIGESTS, ids=lambda d: d.name)
@pytest.mark.parametrize("form", ["der", "ber"])
def test_C136_requests_are_verified_and_opened_by_openssl(digest, form):
    der = make.pkcs_req(digest=digest)
    content = oracles.cms_verify(make.ber_message(der) if form == "ber" else der, make.device().certificate_der)
    assert parse_csr(oracles.cms_decrypt(content, make.ra())).challenge.reveal() == "secret"


def test_C141_requests_are_verified_by_openssl():
    der = make.csr(extensions=[make.dns_names("a.example")])
    text = oracles.openssl("req", "-inform", "DER", "-verify", "-noout", "-text", stdin=der)
    assert b"DNS:a.example" in text


def test_what_asn1crypto_sees_in_a_request():
    said = oracles.signed_attributes(make.pkcs_req())
    assert said[names.MESSAGE_TYPE].dump() == tlv.printable("19")
    assert said[names.TRANSACTION_ID].dump() == tlv.printable(make.TRANSACTION)
    assert said[names.SENDER_NONCE].dump() == tlv.octet_string(make.NONCE)

"""Who signs: RSA with both paddings, the NIST curves, Ed25519; verified, mirrored, and read by independent readers."""

import hashlib
import itertools
import os

import attrs
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from scepd.message import names, tlv
from scepd.message.algorithms import (
    ED25519,
    MODERN_DIGESTS,
    PKCS1V15,
    RSASSA_PSS,
    Cipher,
    CryptoPolicy,
    Digest,
)
from scepd.message.certrep import ReplySigner, failure, pending, read_certrep, read_certs_only, success
from scepd.message.csr import parse_csr
from scepd.message.enveloped import decrypt
from scepd.message.request import parse_message, verify_message
from scepd.message.signature import can_sign, sign, write_algorithm
from scepd.records import Secret
from scepd.refusal import FailInfo, Reason, Reject
from scepd.x509.keys import KeyPolicy, check_public_key, load_public_key, verify_csr
from tests import make
from tests.message import oracles

DIGESTS = sorted(MODERN_DIGESTS, key=lambda d: d.name)
EVERYTHING = CryptoPolicy(digests=frozenset(Digest), ciphers=frozenset(Cipher), ed25519=True)
CHALLENGE = Secret("k3vx-29ab-77qd-m4zt-wxyh-6p2c-9t2m")
ISSUED = make.certificate(make.key("issued"), subject=make.name(CN="issued"), issuer=make.party("ca"))
RA = ReplySigner(make.ra().certificate_der, make.ra().key)
CURVES = {"p256": 256, "p384": 384, "p521": 521}


def verdict(der, policy=EVERYTHING):
    try:
        verify_message(parse_message(der), policy)
    except Reject as reject:
        return reject.reason
    return None


def reply(request, *, signer=RA, cipher=Cipher.AES128, password=None):
    return success(
        parse_message(request),
        [ISSUED],
        cipher=cipher,
        transport=PKCS1V15,
        signer=signer,
        now=make.NOW,
        random=os.urandom,
        password=password,
    )


def algorithm_of(body):
    return oracles.signed_data(body)["signer_infos"][0]["signature_algorithm"]


# RSASSA-PSS


@pytest.mark.parametrize("digest", DIGESTS, ids=lambda d: d.name)
def test_C090_C127_pss_signers_enrol_and_are_answered_in_pss_with_their_digest(digest):
    request = make.pkcs_req(digest=digest, pss=True)
    assert verdict(request, CryptoPolicy()) is None
    body = reply(request)
    parameters = algorithm_of(body)["parameters"].native
    assert algorithm_of(body)["algorithm"].dotted == RSASSA_PSS
    assert parameters["hash_algorithm"]["algorithm"] == digest.name.lower()
    assert parameters["mask_gen_algorithm"]["parameters"]["algorithm"] == digest.name.lower()
    assert (parameters["salt_length"], parameters["trailer_field"]) == (digest.size, "trailer_field_bc")
    assert oracles.cms_verify(body, RA.certificate_der) == read_certrep(body, trusted=[RA.certificate_der]).content


@pytest.mark.parametrize("digest", DIGESTS, ids=lambda d: d.name)
@pytest.mark.parametrize("salt", [0, 20, 32, 64, 128])
def test_C090_pss_salts_of_any_length_are_verified(digest, salt):
    from cryptography.hazmat.primitives.asymmetric import padding

    bent = make.take_apart(make.pkcs_req(digest=digest, pss=True))
    hashed = write_algorithm(digest.oid)
    parameters = tlv.sequence(
        tlv.explicit(0, hashed),
        tlv.explicit(1, write_algorithm("1.2.840.113549.1.1.8", hashed)),
        tlv.explicit(2, tlv.integer(salt)),
    )
    signed = tlv.write(tlv.SET, *bent.signer.attributes)
    scheme = padding.PSS(padding.MGF1(digest.hash), salt)
    bent = bent.bend(
        signature=make.device().key.sign(signed, scheme, digest.hash),
        signature_algorithm=write_algorithm(RSASSA_PSS, parameters),
    )
    assert verdict(bent.der(), CryptoPolicy()) is None


FIELDS = {"signer": RA, "now": make.NOW, "random": os.urandom, "policy": CryptoPolicy()}
REPLIES = {
    "success": reply,
    "failure": lambda der: failure(parse_message(der), FailInfo.badRequest, "no", **FIELDS),
    "pending": lambda der: pending(parse_message(der), **FIELDS),
}


@pytest.mark.parametrize("build", REPLIES.values(), ids=REPLIES)
def test_C127_pss_is_answered_only_where_it_was_asked(build):
    for pss in (False, True):
        assert parse_message(build(make.pkcs_req(pss=pss))).pss is pss


# The NIST curves


@pytest.mark.parametrize(
    ("kind", "digest"), list(itertools.product(CURVES, DIGESTS)), ids=lambda v: getattr(v, "name", v)
)
def test_C252_ec_signers_are_verified_and_answered_under_their_challenge(kind, digest):
    who = make.party("ec device", kind)
    request = make.pkcs_req(challenge=CHALLENGE.reveal(), signer=who, digest=digest)
    assert verdict(request, CryptoPolicy()) is None
    csr = parse_csr(decrypt(parse_message(request).content, make.ra().certificate_der, make.ra().key, CryptoPolicy()))
    verify_csr(csr, CryptoPolicy())
    assert csr.challenge == CHALLENGE
    body = reply(request, password=csr.challenge)
    assert parse_message(body).digest is digest
    assert not parse_message(body).pss
    content = read_certrep(body, trusted=[RA.certificate_der]).content
    inner = decrypt(content, who.certificate_der, who.key, CryptoPolicy(), password=CHALLENGE)
    assert read_certs_only(inner) == [ISSUED]
    assert openssl_opened(oracles.cms_verify(body, RA.certificate_der)) == inner


def openssl_opened(envelope):
    return oracles.openssl(
        "cms", "-decrypt", "-binary", "-inform", "DER", "-pwri_password", CHALLENGE.reveal(),
        "-provider", "legacy", "-provider", "default",
        stdin=envelope,
    )  # fmt: skip


@pytest.mark.parametrize("cipher", list(Cipher), ids=lambda c: c.name)
def test_C124_C252_the_cipher_is_mirrored_under_a_password_too(cipher):
    who = make.party("ec device", "p256")
    body = reply(make.pkcs_req(signer=who), cipher=cipher, password=CHALLENGE)
    content = read_certrep(body, trusted=[RA.certificate_der]).content
    assert openssl_opened(content)
    assert cipher.oid in {element.oid() for element in object_identifiers(tlv.read(content))}
    inner = decrypt(content, who.certificate_der, who.key, EVERYTHING, password=CHALLENGE)
    assert read_certs_only(inner) == [ISSUED]


def object_identifiers(element):
    if element.tag == tlv.OID:
        yield element
    for child in element.children if element.tag & 0x20 else ():
        yield from object_identifiers(child)


@pytest.mark.parametrize("kind", ["p256", "ed25519"])
def test_C257_C258_no_password_no_reply(kind):
    request = make.message(b"x", signer=make.party("device", kind), digest=Digest.SHA512)
    assert verdict(request) is None
    with pytest.raises(Reject) as caught:
        reply(request)
    assert caught.value.reason is Reason.reply_unprotectable
    assert caught.value.fail_info is FailInfo.badRequest


def test_C258_the_certificate_is_never_in_the_clear():
    for kind in ("p256", "p384", "p521", "rsa2048", "ed25519"):
        who = make.party("device", kind)
        body = reply(make.message(b"x", signer=who, digest=Digest.SHA512), password=CHALLENGE)
        assert ISSUED not in body
        assert ISSUED[-64:] not in body


@pytest.mark.parametrize(
    ("kind", "digest"), list(itertools.product(CURVES, DIGESTS)), ids=lambda v: getattr(v, "name", v)
)
def test_C127_ec_keys_sign_replies(kind, digest):
    who = make.party("ec ra", kind)
    for pss in (False, True):
        body = reply(make.pkcs_req(digest=digest, pss=pss), signer=ReplySigner(who.certificate_der, who.key))
        assert parse_message(body).digest is digest
        assert algorithm_of(body)["algorithm"].native == f"{digest.name.lower()}_ecdsa"
        assert oracles.cms_verify(body, who.certificate_der)


# Ed25519 (RFC 8419)


ED = make.party("ed device", "ed25519")


def ed_request(**fields):
    return make.message(b"x", signer=ED, digest=Digest.SHA512, **fields)


def test_S26_ed25519_signers_only_by_the_profile():
    assert verdict(ed_request()) is None
    assert verdict(ed_request(), CryptoPolicy()) is Reason.signer_key_refused
    assert Reject(Reason.signer_key_refused).fail_info is FailInfo.badAlg
    assert verdict(ed_request(), CryptoPolicy(ed25519=True)) is None


def test_S26_ed25519_signs_the_attributes_themselves_and_sha512_digests_the_content():
    data = oracles.signed_data(ed_request())
    (info,) = data["signer_infos"]
    assert info["digest_algorithm"]["algorithm"].dotted == Digest.SHA512.oid
    assert info["signature_algorithm"]["algorithm"].dotted == ED25519
    assert info["signature_algorithm"].dump() == tlv.sequence(tlv.oid(ED25519))  # RFC 8410: no parameters
    said = oracles.signed_attributes(ed_request())
    assert said[names.MESSAGE_DIGEST].native == hashlib.sha512(b"x").digest()
    signed = info["signed_attrs"].untag().dump()
    certificate = x509.load_der_x509_certificate(data["certificates"][0].chosen.dump())
    certificate.public_key().verify(info["signature"].native, signed)
    certificate.public_key().verify(certificate.signature, certificate.tbs_certificate_bytes)


@pytest.mark.parametrize("digest", [d for d in Digest if d is not Digest.SHA512], ids=lambda d: d.name)
def test_S26_ed25519_goes_with_sha512_alone(digest):
    bent = make.take_apart(ed_request()).redigest(digest).resign(ED.key, digest=Digest.SHA512)
    assert verdict(bent.der()) is Reason.algorithm_unsupported
    assert not can_sign(ED.key, digest)
    with pytest.raises(KeyError):
        sign(ED.key, b"x", digest, pss=False)
    assert can_sign(ED.key, Digest.SHA512)


def test_C125_a_key_that_hashes_itself_signs_with_its_own_digests_alone():
    class Key(rsa.RSAPrivateKey):
        hashes = frozenset({"SHA256"})
        key_size = decrypt = private_bytes = private_numbers = public_key = sign = __copy__ = __deepcopy__ = None

    assert [can_sign(Key(), digest) for digest in (Digest.SHA256, Digest.MD5)] == [True, False]


def test_S26_ed25519_signatures_are_verified():
    bent = make.take_apart(ed_request())
    for signature in (b"", bytes(64), bent.signer.signature[:-1], bent.signer.signature + b"\0"):
        assert verdict(bent.bend(signature=signature).der()) is Reason.signature_invalid
    other = bent.resign(make.key("other", "ed25519"), digest=Digest.SHA512)
    assert verdict(other.der()) is Reason.signature_invalid
    swapped = attrs.evolve(bent, content=b"y")
    assert verdict(swapped.der()) is Reason.signature_invalid


@pytest.mark.parametrize(
    ("kind", "oid"),
    [
        ("ed25519", "1.2.840.10045.4.3.4"),
        ("ed25519", "1.2.840.113549.1.1.13"),
        ("ed25519", "1.2.840.113549.1.1.1"),
        ("ed25519", "1.3.101.113"),
        ("rsa2048", ED25519),
        ("p256", ED25519),
    ],
)
def test_S26_signature_oids_of_another_kind_of_key_are_bad_alg(kind, oid):
    who = make.party("crossed", kind)
    bent = make.take_apart(make.message(b"x", signer=who, digest=Digest.SHA512))
    assert verdict(bent.bend(signature_algorithm=write_algorithm(oid)).der()) is Reason.algorithm_unsupported


def test_C250_an_ed25519_device_enrols_from_end_to_end():
    challenge = CHALLENGE.reveal()
    request = make.pkcs_req(challenge=challenge, signer=ED, digest=Digest.SHA512)
    policy = CryptoPolicy(ed25519=True)
    message = parse_message(request)
    verify_message(message, policy)
    csr = parse_csr(decrypt(message.content, make.ra().certificate_der, make.ra().key, policy))
    assert csr.spki_der == message.signer.spki_der
    verify_csr(csr, policy)
    check_public_key(load_public_key(csr.spki_der), KeyPolicy(ed25519=True))
    with pytest.raises(Reject):
        check_public_key(load_public_key(csr.spki_der), KeyPolicy())
    body = reply(request, password=csr.challenge)
    assert parse_message(body).digest is Digest.SHA512
    content = read_certrep(body, trusted=[RA.certificate_der]).content
    assert read_certs_only(decrypt(content, ED.certificate_der, ED.key, policy, password=CHALLENGE)) == [ISSUED]
    text = oracles.openssl("req", "-inform", "DER", "-verify", "-noout", "-text", stdin=csr.der)
    assert b"ED25519" in text


# MD5, by switch


MD5 = CryptoPolicy(digests=MODERN_DIGESTS | {Digest.MD5})


def test_C088_C125_C143_md5_from_end_to_end_by_switch():
    csr_der = make.csr(digest=Digest.MD5)
    request = make.pkcs_req(csr_der=csr_der, digest=Digest.MD5, cipher=Cipher.DES)
    policy = attrs.evolve(MD5, ciphers=frozenset(Cipher))
    assert verdict(request, CryptoPolicy()) is Reason.algorithm_unsupported
    assert verdict(request, policy) is None
    csr = parse_csr(decrypt(parse_message(request).content, make.ra().certificate_der, make.ra().key, policy))
    verify_csr(csr, policy)
    with pytest.raises(Reject) as caught:
        verify_csr(csr, CryptoPolicy())
    assert caught.value.reason is Reason.csr_algorithm_refused
    body = reply(request, cipher=Cipher.DES)
    data = oracles.signed_data(body)
    assert data["signer_infos"][0]["digest_algorithm"]["algorithm"].native == "md5"
    content = oracles.cms_verify(body, RA.certificate_der)
    inner = oracles.cms_decrypt(content, make.device())
    assert read_certs_only(inner) == [ISSUED]


@pytest.mark.parametrize("digest", list(Digest), ids=lambda d: d.name)
@pytest.mark.parametrize("cipher", list(Cipher), ids=lambda c: c.name)
def test_C124_C125_every_digest_and_cipher_is_mirrored(digest, cipher):
    request = make.pkcs_req(digest=digest, cipher=cipher)
    body = reply(request, cipher=cipher)
    content = oracles.cms_verify(body, RA.certificate_der)
    assert parse_message(body).digest is digest
    assert read_certs_only(oracles.cms_decrypt(content, make.device())) == [ISSUED]

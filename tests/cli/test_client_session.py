import os
from datetime import UTC, datetime, timedelta

import attrs
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from scepd.ca.ceremony import Ceremony
from scepd.cli.client_application import Wish, enrolment
from scepd.cli.client_choice import choose
from scepd.cli.client_exchange import Refused, StillPending
from scepd.cli.client_http import Server
from scepd.cli.client_keys import public_key_der
from scepd.cli.client_session import Patience, Session
from scepd.cli.client_trust import establish
from scepd.message.algorithms import OAEP_SHA256, Cipher, Digest
from scepd.message.names import MessageType
from scepd.message.universal import encode_oid
from scepd.records import GeneralName, Secret
from scepd.refusal import OperatorError
from scepd.x509.names import from_text
from tests.cli.responder import CHALLENGE, Responder, authority, ec_key, rsa_key, serving
from tests.x509.factory import Holder

NAME = from_text("CN=r1.example.net")
WISH = Wish(NAME, challenge=Secret(CHALLENGE))


@attrs.define
class Sleeper:
    slept: list = attrs.field(factory=list)

    def __call__(self, seconds):
        self.slept.append(seconds)


def enrol(
    responder, *, key=None, wish=WISH, fingerprint=None, patience=0, sleep=None, passing=False, exact=False, **choice
):
    key = key or rsa_key("client")
    with serving(responder) as url:
        session = Session(Server(url), lambda: datetime.now(UTC), os.urandom, sleep or Sleeper(), exact=exact)
        chosen = choose(session.capabilities(), **choice)
        trusted = establish(session.certificates(), fingerprint or responder.authority.fingerprint, session.now())
        options = {"digest": chosen.digest, "now": session.now(), "random": session.random, "passing": passing}
        application = enrolment(key, wish, **options)
        return session.apply(application, trusted, chosen, Patience(patience))


def test_an_enrolment_gives_a_certificate_for_the_key_and_its_chain():
    responder = Responder()
    result = enrol(responder)
    certificate = x509.load_der_x509_certificate(result.certificate_der)
    assert certificate.public_key() == rsa_key("client").public_key()
    assert result.chain == (responder.authority.ca_der,)
    ((method, message),) = responder.requests
    assert method == "POST"
    assert message.digest is Digest.SHA256
    assert len(message.sender_nonce) == 16


@pytest.mark.parametrize(
    "choice",
    [
        {"get": True},
        {"digest": "sha512", "cipher": "aes256"},
        {"digest": "sha384", "cipher": "aes192", "transport": "oaep-sha1"},
        {"digest": "sha1", "cipher": "des3", "transport": "oaep-sha256"},
        {"digest": "md5", "cipher": "des", "get": True},
    ],
)
def test_every_algorithm_that_is_asked_for_is_used(choice):
    responder = Responder()
    wanted = choose(frozenset({"SCEPStandard"}), **choice)
    responder.cipher = wanted.cipher
    assert enrol(responder, **choice).chain
    method, message = responder.requests[0]
    assert method == ("GET" if choice.get("get") else "POST")
    assert message.digest is wanted.digest


def test_a_challenge_with_letters_outside_printable_string_arrives_whole(monkeypatch):
    secret = "grüße, @lle_zusammen!"
    monkeypatch.setattr("tests.cli.responder.CHALLENGE", secret)
    assert enrol(Responder(), wish=Wish(NAME, challenge=Secret(secret))).certificate_der


def test_an_ec_key_is_certified_through_a_passing_rsa_signer():
    key = ec.generate_private_key(ec.SECP256R1())
    responder = Responder()
    result = enrol(responder, key=key, passing=True)
    assert x509.load_der_x509_certificate(result.certificate_der).public_key() == key.public_key()
    signer = responder.requests[0][1].signer.public_key()
    assert isinstance(signer, rsa.RSAPublicKey)


@pytest.mark.parametrize(
    "key",
    [ec.generate_private_key(curve()) for curve in (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)]
    + [ed25519.Ed25519PrivateKey.generate()],
    ids=["P-256", "P-384", "P-521", "Ed25519"],
)
def test_C252_a_key_that_cannot_decrypt_signs_itself_and_opens_its_reply_with_the_challenge(key):
    responder = Responder()
    result = enrol(responder, key=key)
    assert x509.load_der_x509_certificate(result.certificate_der).public_key() == key.public_key()
    assert responder.requests[0][1].signer.public_key() == key.public_key()


def test_C252_such_a_key_without_a_challenge_is_told_what_it_needs_before_anything_is_sent():
    responder = Responder()
    with pytest.raises(OperatorError, match="only the challenge can protect") as caught:
        enrol(responder, key=ec_key("client"), wish=Wish(NAME))
    assert "--challenge-file" in caught.value.hint
    assert responder.requests == []


@pytest.mark.parametrize("key", [rsa_key("client"), ec_key("client")], ids=["rsa", "ec"])
def test_C251_a_request_to_an_ec_ra_is_encrypted_with_the_challenge(key):
    responder = Responder(authority=authority("elliptic", elliptic=True))
    result = enrol(responder, key=key)
    assert x509.load_der_x509_certificate(result.certificate_der).public_key() == key.public_key()
    assert b"\x06\x0b" + encode_oid("1.2.840.113549.1.9.16.3.9") in responder.requests[0][1].content  # id-alg-PWRI-KEK


def test_C251_an_ec_ra_without_a_challenge_is_told_of():
    with pytest.raises(OperatorError, match="only the challenge can protect"):
        enrol(Responder(authority=authority("elliptic", elliptic=True)), wish=Wish(NAME))


def test_pwri_is_used_where_it_is_asked_for():
    responder = Responder()
    assert enrol(responder, transport="pwri").certificate_der
    assert encode_oid("1.2.840.113549.1.9.16.3.9") in responder.requests[0][1].content


def test_a_reply_is_by_password_only_where_the_clients_is_right():
    with pytest.raises(Refused):  # the responder cannot open it, and answers so
        enrol(Responder(), transport="pwri", wish=Wish(NAME, challenge=Secret("another")))


def test_pss_signs_the_message():
    responder = Responder()
    assert enrol(responder, pss=True, digest="sha384").certificate_der
    assert responder.requests[0][1].pss


def test_an_ec_key_does_not_sign_with_md5():
    responder = Responder()
    with pytest.raises(OperatorError, match="cannot sign with MD5"):
        enrol(responder, key=ec_key("client"), digest="md5")
    assert responder.requests == []


def test_names_are_wished_for_in_the_request(monkeypatch):
    seen = []
    responder = Responder()
    issue = type(responder.authority).issue
    monkeypatch.setattr(
        type(responder.authority),
        "issue",
        lambda self, csr, **options: (seen.append(csr), issue(self, csr, **options))[1],
    )
    enrol(
        responder, wish=attrs.evolve(WISH, names=(GeneralName("dns", "r1.example.net"), GeneralName("ip", "192.0.2.7")))
    )
    (extension,) = seen[0].extensions
    assert extension.oid == "2.5.29.17"
    assert b"r1.example.net" in extension.value_der
    assert bytes([192, 0, 2, 7]) in extension.value_der


def test_a_refusal_is_readable():
    with pytest.raises(Refused, match="refused: badRequest: challenge rejected"):
        enrol(Responder(), wish=Wish(NAME, challenge=Secret("wrong")))


def test_an_http_error_is_readable_and_harmless_to_the_terminal():
    with pytest.raises(OperatorError, match="PKIOperation: HTTP 503 not now") as caught:
        enrol(Responder(status=503))
    assert "\x1b" not in str(caught.value)
    assert "later" in caught.value.hint


def test_pending_is_polled_with_cert_poll_under_the_same_transaction():
    responder, sleeper = Responder(pending=3), Sleeper()
    assert enrol(responder, patience=60, sleep=sleeper).certificate_der
    types = [message.message_type for _method, message in responder.requests]
    assert types == [MessageType.PKCSReq, *[MessageType.CertPoll] * 3]
    assert len({message.transaction_id for _method, message in responder.requests}) == 1
    assert len({message.sender_nonce for _method, message in responder.requests}) == 4
    assert all(0 < seconds <= 10 for seconds in sleeper.slept)


def test_pending_without_patience_says_how_to_go_on():
    with pytest.raises(StillPending, match="pending") as caught:
        enrol(Responder(pending=1))
    assert "scepd client poll" in caught.value.hint


def test_the_same_key_asks_under_the_same_transaction_id():
    responder = Responder()
    enrol(responder)
    enrol(responder)
    first, second = (message.transaction_id for _method, message in responder.requests)
    assert first == second


# What a wrong server does is not believed ---------------------------------------------------------------------


def test_a_reply_by_another_authority_is_not_believed():
    other = authority("strangers")
    with pytest.raises(OperatorError, match="not by the CA or its RA"):
        enrol(Responder(signer=(other.sign_der, other.sign_key)))


def test_a_reply_whose_signature_is_by_another_key_is_not_believed():
    ours = authority()
    with pytest.raises(OperatorError, match="not by the CA or its RA"):
        enrol(Responder(signer=(ours.sign_der, rsa_key("thief"))))


def test_a_reply_that_does_not_echo_the_nonce_is_not_believed():
    with pytest.raises(OperatorError, match="nonce"):
        enrol(Responder(nonce=b"0123456789abcdef"))


def test_a_reply_to_another_transaction_is_not_believed():
    with pytest.raises(OperatorError, match="another transaction"):
        enrol(Responder(transaction="another"))


def test_a_certificate_for_another_key_is_not_taken():
    with pytest.raises(OperatorError, match="another key"):
        enrol(Responder(spki=public_key_der(rsa_key("thief"))))


def test_a_certificate_of_another_ca_is_not_taken():
    with pytest.raises(OperatorError, match="does not lead to the pinned CA"):
        enrol(Responder(issuer=authority("strangers")))


def upstream(name="r1.example.net", ca=None, **fields):
    """A certificate for the client's key as a CA upstream makes it, whatever was asked for."""
    ca = ca or authority()
    issuer, now = Holder(x509.load_der_x509_certificate(ca.ca_der), ca.ca_key), datetime.now(UTC)
    dates = {"begin": now - timedelta(days=1), "end": now + timedelta(days=1)}
    return issuer.issue(name, **{"key": rsa_key("client"), **dates, **fields}).der


def host(*names):
    return x509.SubjectAlternativeName([x509.DNSName(name) for name in names])


def namesake():
    """Another CA with the pinned one's name."""
    ceremony = Ceremony(rsa_key("strangers ca"), datetime.now(UTC), os.urandom)
    return attrs.evolve(authority("strangers"), ca_der=ceremony.found_ca(from_text("CN=devices CA"), timedelta(days=9)))


@pytest.mark.parametrize(
    ("forged", "words"),
    [
        (lambda: upstream(key=rsa_key("thief")), "another key"),
        (lambda: upstream(ca=authority("strangers")), "does not lead to the pinned CA"),
        (lambda: upstream(ca=namesake()), "does not lead to the pinned CA"),
        (lambda: upstream(begin=datetime(2020, 1, 1, tzinfo=UTC), end=datetime(2020, 1, 2, tzinfo=UTC)), "not valid"),
        (lambda: upstream(extensions=(x509.BasicConstraints(True, None),)), "that of a CA"),
    ],
)
def test_S85_what_an_upstream_swaps_is_not_taken(forged, words):
    with pytest.raises(OperatorError, match=words):
        enrol(Responder(forged=lambda _csr: forged()))


@pytest.mark.parametrize(
    ("made", "asked", "words"),
    [
        ({"name": "admin"}, (), "the subject is CN=admin, not CN=r1.example.net"),
        ({"extensions": [host("evil.example")]}, (), "names that were not asked for: dns:evil.example"),
        ({"extensions": []}, ("r1.example.net",), "names that are missing: dns:r1.example.net"),
        ({"extensions": [x509.SubjectAlternativeName([x509.RegisteredID(x509.ObjectIdentifier("1.2.3"))])]}, (), "not asked for"),
    ],
)
def test_S85_other_names_than_asked_for_are_told_or_refused(made, asked, words):
    wish = attrs.evolve(WISH, names=tuple(GeneralName("dns", name) for name in asked))
    responder = Responder(forged=lambda _csr: upstream(**made))
    (told,) = enrol(responder, wish=wish).differences
    assert words in told
    with pytest.raises(OperatorError, match="not the certificate that was asked for"):
        enrol(responder, wish=wish, exact=True)


def test_S85_exactly_what_was_asked_for_is_taken():
    wish = attrs.evolve(WISH, names=(GeneralName("dns", "R1.example.net"),))
    responder = Responder(forged=lambda _csr: upstream(extensions=[host("r1.example.net")]))
    assert enrol(responder, wish=wish, exact=True).differences == ()


def test_S85_somebody_between_over_plain_http_learns_no_challenge():
    strangers = authority("strangers")
    served = [strangers.sign_der, strangers.decrypt_der, authority().ca_der]
    responder = Responder(authority=strangers, served=served)
    with pytest.raises(OperatorError, match="none of the server's certificates can take"):
        enrol(responder, fingerprint=authority().fingerprint)
    assert responder.requests == []


def test_a_reply_in_a_weaker_cipher_than_asked_for_is_not_read():
    with pytest.raises(OperatorError, match="cannot be decrypted"):
        enrol(Responder(cipher=Cipher.DES))


# Trust --------------------------------------------------------------------------------------------------------


def now():
    return datetime.now(UTC)


def test_C053_another_fingerprint_than_the_pinned_one_is_refused_before_anything_is_sent():
    responder = Responder()
    with pytest.raises(OperatorError, match="not the pinned one"):
        enrol(responder, fingerprint="00" * 32)
    assert responder.requests == []


def test_a_fingerprint_may_have_colons_capitals_and_be_sha1():
    ours = authority()
    served = [ours.sign_der, ours.decrypt_der, ours.ca_der]
    for pin in (ours.fingerprint.upper(), ":".join(ours.fingerprint[i : i + 2] for i in range(0, 64, 2))):
        assert establish(served, pin, now()).anchor == ours.ca_der
    sha1 = x509.load_der_x509_certificate(ours.ca_der).fingerprint(hashes.SHA1())
    assert establish(served, sha1.hex(), now()).anchor == ours.ca_der


@pytest.mark.parametrize("pin", ["", "zz" * 32, "00" * 16, "0x00"])
def test_what_is_no_fingerprint_is_refused(pin):
    ours = authority()
    with pytest.raises(OperatorError, match="no fingerprint"):
        establish([ours.ca_der], pin, now())


def test_the_fingerprint_of_an_ra_certificate_is_no_anchor():
    ours = authority()
    pin = x509.load_der_x509_certificate(ours.decrypt_der).fingerprint(hashes.SHA256())
    with pytest.raises(OperatorError, match="RA certificate"):
        establish([ours.decrypt_der, ours.ca_der], pin.hex(), now())


def test_requests_are_encrypted_to_the_encryption_certificate_and_replies_signed_by_the_other():
    ours = authority()
    for served in ([ours.sign_der, ours.decrypt_der, ours.ca_der], [ours.ca_der, ours.decrypt_der, ours.sign_der]):
        trusted = establish(served, ours.fingerprint, now())
        assert trusted.recipient == ours.decrypt_der
        assert ours.sign_der in trusted.signers
        assert ours.decrypt_der not in trusted.signers
        assert trusted.issuer == ours.ca_der


def test_an_ra_certificate_of_another_ca_in_the_answer_is_neither_recipient_nor_signer():
    ours, other = authority(), authority("strangers")
    trusted = establish(
        [other.decrypt_der, other.sign_der, ours.decrypt_der, ours.sign_der, ours.ca_der, other.ca_der],
        ours.fingerprint,
        now(),
    )
    assert trusted.recipient == ours.decrypt_der
    assert other.sign_der not in trusted.signers


def test_a_device_certificate_in_the_answer_is_no_ra():
    ours = authority()
    thief = rsa_key("thief")

    @attrs.frozen
    class Asked:
        subject: object
        spki_der: bytes

    device = ours.issue(Asked(from_text("CN=thief"), public_key_der(thief)))
    trusted = establish([device, ours.decrypt_der, ours.sign_der, ours.ca_der], ours.fingerprint, now())
    assert trusted.recipient == ours.decrypt_der
    assert device not in trusted.signers


def test_an_expired_ra_certificate_is_not_used():
    ours = authority()
    with pytest.raises(OperatorError, match="none of the server's certificates"):
        establish([ours.decrypt_der, ours.sign_der, ours.ca_der], ours.fingerprint, now() + timedelta(days=400))


def test_a_single_ca_certificate_that_cannot_be_encrypted_to_is_said():
    with pytest.raises(OperatorError, match="can take an encrypted request"):
        enrol(Responder(single=True))


# Choice -------------------------------------------------------------------------------------------------------


def test_the_choice_follows_the_capabilities():
    modern = choose(frozenset({"SHA-256", "AES", "POSTPKIOperation"}))
    assert (modern.digest, modern.cipher, modern.post) == (Digest.SHA256, Cipher.AES128, True)
    assert choose(frozenset({"SHA-512", "AES"})).digest is Digest.SHA512
    assert choose(frozenset({"SHA-512", "AES"})).post is False
    assert choose(frozenset({"SCEPStandard"})).post is True
    assert choose(frozenset({"SCEPStandard"}), get=True).post is False
    assert choose(frozenset(), transport="oaep-sha256").transport == OAEP_SHA256
    assert choose(frozenset()).cipher is Cipher.AES128


def test_forged_capabilities_bring_nobody_to_weak_algorithms():
    with pytest.raises(OperatorError, match="no SHA-2"):
        choose(frozenset({"AES", "SHA-1"}))
    with pytest.raises(OperatorError, match="no AES"):
        choose(frozenset({"DES3", "SHA-256"}))
    assert choose(frozenset({"DES3", "SHA-1"}), digest="sha1", cipher="des3").cipher is Cipher.DES3


def test_a_server_without_get_ca_caps_is_tried_by_get():
    responder = Responder(capabilities=b"")
    assert enrol(responder).certificate_der
    assert responder.requests[0][0] == "GET"

"""Keys on SoftHSM: exactly one object, the right attributes, proved against the certificate."""

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from pkcs11 import Attribute, KeyType, MechanismFlag, ObjectClass
from pkcs11.util.rsa import decode_rsa_private_key

from scepd.hsm.attributes import KeyRules
from scepd.hsm.generate import generate_ec, generate_rsa
from scepd.hsm.keys import KeyName, Opening, open_decryption_key, open_signing_key, signing_key_for
from scepd.hsm.signing import sign_and_verify
from scepd.message.algorithms import PKCS1V15
from scepd.refusal import OperatorError

from .tokens import SECRET, certificate_for

SIGN = MechanismFlag.SIGN | MechanismFlag.VERIFY
DECRYPT = MechanismFlag.DECRYPT | MechanismFlag.ENCRYPT


def make_rsa(bench, label: str, capabilities=SIGN, identity: bytes = b"\x77", **attributes) -> bytes:
    """Make an RSA key whose private part has the given attributes; return a certificate for it."""
    template = {Attribute[name]: value for name, value in attributes.items()}
    public, _ = bench.token.session(writable=True).handle.generate_keypair(
        KeyType.RSA, 2048, store=True, label=label, id=identity, capabilities=capabilities, private_template=template
    )
    numbers = rsa.RSAPublicNumbers(65537, int.from_bytes(public[Attribute.MODULUS], "big"))
    return certificate_for(numbers.public_key())


def refusal(bench, label: str, certificate: bytes, role: str = "sign", opening: Opening | None = None) -> OperatorError:
    opening = opening or Opening()
    with pytest.raises(OperatorError) as caught:
        if role == "sign":
            open_signing_key(bench.token.session(), KeyName(label=label), certificate, opening)
        else:
            open_decryption_key(bench.token.session(), KeyName(label=label), certificate, SECRET, opening)
    assert caught.value.hint
    return caught.value


@pytest.mark.parametrize(
    ("attributes", "word"),
    [
        ({"EXTRACTABLE": True}, "extractable"),
        ({"SENSITIVE": False}, "not sensitive"),
        ({"UNWRAP": True}, "unwrap"),
        ({"DERIVE": True}, "derive"),
        ({"PRIVATE": False}, "not private"),
        ({"ALWAYS_AUTHENTICATE": True}, "always authenticate"),
    ],
)
def test_S119_each_wrong_attribute_is_refused(bench, attributes, word):
    certificate = make_rsa(bench, "wrong", **attributes)
    assert word in refusal(bench, "wrong", certificate).problem


def import_key(bench, label: str) -> bytes:
    key = rsa.generate_private_key(65537, 2048)
    der = key.private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    attributes = decode_rsa_private_key(der, SIGN) | {
        Attribute.TOKEN: True,
        Attribute.LABEL: label,
        Attribute.ID: b"\x55",
    }
    attributes |= {Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False, Attribute.PRIVATE: True}
    attributes |= {Attribute.UNWRAP: False, Attribute.DERIVE: False, Attribute.DECRYPT: False}
    bench.token.session(writable=True).handle.create_object(attributes)
    return certificate_for(key.public_key())


def test_S119_imported_key_is_refused_unless_the_rules_say_so(bench):
    certificate = import_key(bench, "imported")
    problem = refusal(bench, "imported", certificate).problem
    assert "not local" in problem
    assert "not never extractable" in problem
    open_signing_key(bench.token.session(), KeyName(label="imported"), certificate, Opening(KeyRules(imported=True)))


@pytest.mark.parametrize("role", ["sign", "decrypt"])
def test_S16_key_with_both_roles_is_refused_unless_the_rules_say_so(bench, role):
    certificate = make_rsa(bench, "both", SIGN | DECRYPT)
    assert "one role" in refusal(bench, "both", certificate, role).problem
    opening = Opening(KeyRules(both_roles=True))
    if role == "sign":
        open_signing_key(bench.token.session(), KeyName(label="both"), certificate, opening)
    else:
        open_decryption_key(bench.token.session(), KeyName(label="both"), certificate, SECRET, opening)


def test_S16_keys_in_the_wrong_role_are_refused(bench):
    assert "may not sign" in refusal(bench, "ra-decrypt", bench.certificates["ra-decrypt"]).problem
    assert "may not decrypt" in refusal(bench, "ra-sign", bench.certificates["ra-sign"], "decrypt").problem
    assert "EC certificate" in refusal(bench, "ca", bench.certificates["ca"], "decrypt").problem


def test_S120_missing_key_lists_what_is_there(bench):
    problem = refusal(bench, "ra-sgin", bench.certificates["ra-sign"]).problem
    assert "'ra-sign'" in problem
    assert "'test'" in problem


def test_S120_duplicate_label_is_refused_and_an_id_resolves_it(bench):
    certificate = make_rsa(bench, "ra-sign", identity=b"\x42")
    error = refusal(bench, "ra-sign", certificate)
    assert "2 private keys" in error.problem
    assert ";id=%" in error.hint
    open_signing_key(bench.token.session(), KeyName(label="ra-sign", id=b"\x42"), certificate)


def test_S120_duplicate_id_is_refused(bench):
    certificate = make_rsa(bench, "first", identity=b"\x42")
    make_rsa(bench, "second", identity=b"\x42")
    assert "2 private keys" in refusal(bench, "first", certificate).problem


def test_S120_swapped_keys_are_found_by_the_probe(bench):
    certificate = make_rsa(bench, "another")
    assert "not the key of its certificate" in refusal(bench, "ra-sign", certificate).problem
    other = make_rsa(bench, "another-decrypt", DECRYPT, b"\x78")
    assert "does not decrypt" in refusal(bench, "ra-decrypt", other, "decrypt").problem
    assert "EC" in refusal(bench, "ca", certificate).problem
    curve = ec.generate_private_key(ec.SECP256R1())
    assert "not the key" in refusal(bench, "ca", certificate_for(curve.public_key())).problem


@pytest.mark.parametrize("field", ["token", "serial", "manufacturer", "model"])
def test_S121_key_of_another_token_is_refused(bench, field):
    name = KeyName(label="ca", **{field: "other"})
    with pytest.raises(OperatorError) as caught:
        open_signing_key(bench.token.session(), name, bench.certificates["ca"])
    assert f"token {'label' if field == 'token' else field} 'other'" in caught.value.problem


def test_S119_generated_keys_are_never_extractable_and_have_the_role_asked_for(bench):
    session = bench.token.session(writable=True)
    generate_rsa(session, "new-sign", 2048, "sign")
    generate_rsa(session, "new-decrypt", 3072, "decrypt")
    generate_rsa(session, "new-both", 2048, "both")
    generate_ec(session, "new-ec", "P-384")
    wanted = {
        "new-sign": (True, False), "new-decrypt": (False, True), "new-both": (True, True), "new-ec": (True, False),
    }  # fmt: skip
    for label, (sign, decrypt) in wanted.items():
        (key,) = session.find({Attribute.CLASS: ObjectClass.PRIVATE_KEY, Attribute.LABEL: label})
        for attribute in ("SENSITIVE", "ALWAYS_SENSITIVE", "NEVER_EXTRACTABLE", "LOCAL", "PRIVATE", "TOKEN"):
            assert key[Attribute[attribute]] is True, attribute
        for attribute in ("EXTRACTABLE", "UNWRAP", "DERIVE", "SIGN_RECOVER", "MODIFIABLE"):
            assert key[Attribute[attribute]] is False, attribute
        assert (key[Attribute.SIGN], key[Attribute.DECRYPT]) == (sign, decrypt)


def test_E12_a_generated_key_with_both_roles_signs_and_decrypts_under_its_rules_alone(bench):
    certificate = certificate_for(generate_rsa(bench.token.session(writable=True), "single", 2048, "both"))
    for role in ("sign", "decrypt"):
        assert "one role" in refusal(bench, "single", certificate, role).problem
    opening, name = Opening(KeyRules(both_roles=True)), KeyName(label="single")
    signing = open_signing_key(bench.token.session(), name, certificate, opening)
    sign_and_verify(signing, b"data")
    decryption = open_decryption_key(bench.token.session(), name, certificate, SECRET, opening)
    assert decryption.supports(PKCS1V15)


def test_generate_refuses_a_taken_label_and_odd_sizes(bench):
    session = bench.token.session(writable=True)
    for attempt in (
        lambda: generate_rsa(session, "ca", 2048, "sign"),
        lambda: generate_ec(session, "ca", "P-256"),
        lambda: generate_rsa(session, "x", 1024, "sign"),
        lambda: generate_ec(session, "x", "P-192"),
        lambda: generate_rsa(bench.token.session(), "x", 2048, "sign"),
    ):
        with pytest.raises(OperatorError):
            attempt()


def test_S120_a_key_that_has_no_certificate_is_known_by_its_public_key(bench):
    spki = bench.public_key("ca").public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    key = open_signing_key(bench.token.session(), KeyName(label="ca"), spki)
    assert key.public_key() == bench.public_key("ca")
    other = ec.generate_private_key(ec.SECP256R1()).public_key()
    spki = other.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    with pytest.raises(OperatorError, match="is not the key of its certificate"):
        open_signing_key(bench.token.session(), KeyName(label="ca"), spki)


def test_key_without_certificate_is_opened_by_its_public_key(bench):
    session = bench.token.session(writable=True)
    public = generate_ec(session, "root", "P-521")
    key = signing_key_for(session, KeyName(label="root"), public)
    algorithm = ec.ECDSA(hashes.SHA512())
    public.verify(key.sign(b"data", algorithm), b"data", algorithm)

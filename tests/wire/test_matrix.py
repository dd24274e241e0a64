"""Digest x cipher x key transport x signer x policy: a mirrored reply that others can open, or badAlg.

In CI a choice in which every two values meet, accepted and refused; at SCALE 10 every cell.
"""

import os

import attrs
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from scepd.enroll.respond import respond
from scepd.message import names
from scepd.message.algorithms import (
    MODERN_CIPHERS,
    MODERN_DIGESTS,
    OAEP_SHA1,
    OAEP_SHA256,
    PKCS1V15,
    Cipher,
    CryptoPolicy,
    Digest,
)
from scepd.message.enveloped import encrypt_for_password
from scepd.records import Origin, Secret
from tests import make
from tests.message.oracles import signed_attributes
from tests.wire import opened
from tests.wire.cells import DIMENSIONS, ELLIPTIC, Cell, every_cell, pairwise
from tests.world import STATIC, default_profile, make_world

CELLS = every_cell() if int(os.environ.get("SCALE", "1")) >= 10 else pairwise()
CIPHERS = dict(zip(DIMENSIONS["cipher"], Cipher, strict=True))
TRANSPORTS = {"v1.5": PKCS1V15, "oaep-sha1": OAEP_SHA1, "oaep-sha256": OAEP_SHA256}
KINDS = {"rsa": "rsa2048", "rsa-pss": "rsa2048", "p256": "p256", "p384": "p384"}
MODERN = CryptoPolicy(digests=MODERN_DIGESTS, ciphers=MODERN_CIPHERS, passwords=True)
LEGACY = CryptoPolicy(digests=frozenset(Digest), ciphers=frozenset(Cipher), passwords=True)


@pytest.fixture(scope="module")
def world(keys, tmp_path_factory):
    """One store for all cells: each has a transaction of its own."""
    profiles = [
        default_profile(name=name, crypto=policy, password_encryption=True, default=name == "modern")
        for name, policy in (("modern", MODERN), ("legacy", LEGACY))
    ]
    return make_world(keys, tmp_path_factory.mktemp("matrix"), profiles=profiles)


def test_every_two_values_meet_in_the_choice():
    chosen, everything = pairwise(), every_cell()
    assert (len(everything), len(set(chosen))) == (800, len(chosen))
    assert len(chosen) < 100
    assert frozenset().union(*(c.pairs for c in chosen)) == frozenset().union(*(c.pairs for c in everything))
    assert {cell.refused for cell in chosen} == {True, False}


def request(world, cell, party):
    """The PKCSReq of a cell."""
    csr = make.csr(challenge=STATIC, private_key=party.key)
    cipher, ra = CIPHERS[cell.cipher], make.Party(world.keys.decrypt, world.keys.decrypt_der)
    if cell.transport == "pwri":
        content = encrypt_for_password(csr, Secret(STATIC), cipher=cipher, random=os.urandom)
    else:
        content = make.envelope(csr, ra, cipher=cipher, transport=TRANSPORTS[cell.transport])
    digest = Digest[cell.digest.upper()]
    nameless = cell.signer in ELLIPTIC and digest is Digest.MD5
    body = make.message(
        content,
        signer=party,
        transaction_id=str(cell),
        digest=Digest.SHA256 if nameless else digest,
        pss=cell.signer == "rsa-pss",
    )
    # The nearest thing to ECDSA with MD5: the digest is MD5, the signature says ecdsa-with-SHA256.
    return make.take_apart(body).redigest(Digest.MD5).resign(party.key).der() if nameless else body


@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_C265_C103_C105_C088_C090_C124_C125_C126_C127_S26_each_combination(world, cell):
    party = make.party(f"matrix {cell.signer}", KINDS[cell.signer])
    answer = respond(
        world.context, world.profiles[cell.policy], request(world, cell, party), Origin("192.0.2.7", "request-1")
    ).answer
    assert answer.status == 200
    said = {oid: value.native for oid, value in signed_attributes(answer.body).items()}
    assert said[names.TRANSACTION_ID] == str(cell)
    if cell.refused:
        assert (said[names.PKI_STATUS], said[names.FAIL_INFO]) == ("2", "0")
        return
    assert said[names.PKI_STATUS] == "0", answer
    assert said[names.RECIPIENT_NONCE] == make.NONCE
    check_reply(world, cell, party, answer.body)


def check_reply(world, cell, party, body):
    """Open the reply by other hands: it mirrors the request, and brings a certificate for the party's key."""
    envelope = opened.verify(body, world.keys.sign_der)
    assert opened.algorithms(body, envelope) == (cell.digest, cell.reply_signature, cell.cipher, cell.reply_transport)
    if cell.reply_transport == "pwri":
        inner = opened.decrypt_by_password(envelope, STATIC)
    else:
        inner = opened.decrypt(envelope, party)
    leaf, issuer = (x509.load_der_x509_certificate(der) for der in opened.certificates(inner))
    leaf.verify_directly_issued_by(issuer)
    spki = leaf.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert spki == make.spki(party.key)


def test_C265_a_rule_of_the_matrix_names_values_that_are_there():
    from tests.wire.cells import REFUSED

    assert all(value in DIMENSIONS[dimension] for rule in REFUSED for dimension, value in rule.items())
    assert attrs.fields_dict(Cell).keys() == DIMENSIONS.keys()

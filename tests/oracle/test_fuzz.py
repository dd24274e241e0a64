"""Bounded fuzzing of the whole PKIOperation path in one process: nothing unexpected, nothing unauthorized, nothing ill-formed."""

import itertools
import os

import attrs
import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scepd.enroll import pipeline
from scepd.enroll.reply import Answer
from scepd.enroll.respond import Response
from scepd.message import tlv
from scepd.message.request import parse_message
from scepd.records import Secret
from scepd.x509.certificate import IssuerCertificate
from scepd.x509.chain import ChainError, verify_issued
from scepd.x509.lint import lint
from tests import make
from tests.enroll.conftest import Device
from tests.oracle.hostile import hostile_requests, signed
from tests.oracle.surgery import Node, edits, surgeries
from tests.world import STATIC, make_keys, make_world

SCALE = int(os.environ.get("SCALE", "1"))
KEYS = make_keys()
RA = make.Party(KEYS.decrypt, KEYS.decrypt_der)
ISSUER = IssuerCertificate.load(KEYS.ca_der)
VICTIM, ATTACKER = make.party("fuzz"), make.party("attacker")
NEVER = "x" + STATIC


def bounded(examples):
    """The settings of one fuzz: so many examples at SCALE 1."""
    return settings(
        max_examples=examples * SCALE, deadline=None, print_blob=True,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
    )  # fmt: skip


def request(challenge=STATIC, party=VICTIM, **fields):
    return make.pkcs_req(challenge=challenge, signer=party, recipient=RA, subject=make.name(CN="fuzz"), **fields)


@attrs.define
class Judge:
    """Sends bodies and holds every answer, and every certificate that comes of it, against what must always be true."""

    world: object
    outcomes: dict = attrs.field(factory=dict)
    numbers: itertools.count = attrs.field(factory=itertools.count)

    def transaction(self):
        """A transactionID that was never used here."""
        return f"fuzz-{next(self.numbers)}"

    def send(self, body):
        """Return the certificate that a body made, None where it made none."""
        before = self.newest()
        response = self.world.respond(body)  # any exception is a finding
        assert isinstance(response, Response)
        assert isinstance(response.answer, Answer)
        answer = response.answer
        self.outcomes[answer.outcome] = self.outcomes.get(answer.outcome, 0) + 1
        assert answer.outcome in {"issued", "pending", "rejected", "malformed"}, answer
        assert answer.status == (400 if answer.outcome == "malformed" else 200)
        assert (response.refusal is not None) == (answer.outcome == "rejected")
        if answer.outcome != "malformed":
            assert parse_message(answer.body).message_type == 3
        after = self.newest()
        if answer.outcome != "issued" or answer.again:
            assert after == before, "a certificate came of an answer that gives none"
            return None
        assert after != before
        return self.judged(after.der)

    def newest(self):
        return next(iter(self.world.store.certificates(limit=1)), None)

    def judged(self, der):
        """A certificate, after everything that must be true of it whatever was asked for."""
        assert lint(der, ISSUER, "leaf") == []
        verify_issued(der, ISSUER, self.world.clock.now())
        found = x509.load_der_x509_certificate(der)
        usage = found.extensions.get_extension_for_class(x509.KeyUsage).value
        assert not usage.key_cert_sign
        assert not usage.crl_sign
        assert list(found.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [ExtendedKeyUsageOID.CLIENT_AUTH]
        constraints = [one.value for one in found.extensions if one.oid == x509.BasicConstraints.oid]
        assert not any(one.ca for one in constraints)
        alternatives = [one.value for one in found.extensions if one.oid == x509.SubjectAlternativeName.oid]
        common_names = {a.value.lower() for a in found.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)}
        for names_ in alternatives:  # the profile lists no names: at most the common name as a dNSName
            assert {name.value.lower() for name in names_ if isinstance(name, x509.DNSName)} <= common_names
            assert all(isinstance(name, x509.DNSName) for name in names_)
        return found


@pytest.fixture
def judge(tmp_path):
    return Judge(make_world(KEYS, tmp_path))


AUTHORIZED = [request(), make.ber_message(request(), fragment=300), request(digest=make.Digest.SHA512)]
UNAUTHORIZED = [
    request(NEVER), make.ber_message(request(NEVER), fragment=300), request(None), Device(type("W", (), {"keys": KEYS})).poll(VICTIM),
    make.message(make.envelope(make.csr(challenge=NEVER), RA), message_type=17, signer=VICTIM),
]  # fmt: skip


@given(st.data())
@bounded(600)
def test_S132_edited_messages_without_authorization_get_nothing(judge, data):
    assert judge.send(data.draw(edits(UNAUTHORIZED))) is None


@given(st.data())
@bounded(250)
def test_S132_S04_edited_messages_get_what_was_signed_or_nothing(judge, data):
    body = data.draw(edits(AUTHORIZED))
    assert_is_the_victims(judge.send(body), body)


def assert_is_the_victims(found, body):
    """A certificate may come of a bent message only while all that is signed says what the victim said."""
    if found is None:
        return
    said = parse_message(body)
    assert found.public_key() == VICTIM.key.public_key()
    assert found.subject.rfc4514_string() == "CN=fuzz"
    assert (said.transaction_id, said.message_type) == (make.TRANSACTION, 19)
    assert said.content in {parse_message(one).content for one in AUTHORIZED}


@given(st.data())
@bounded(500)
def test_S132_C070_messages_after_surgery_get_what_was_signed_or_nothing(judge, data):
    """Elements of the outer message doubled, dropped, swapped, wrapped, taken from others, written as BER."""
    donors = [AUTHORIZED[0], UNAUTHORIZED[0], make.message(b"", signer=ATTACKER)]
    body = data.draw(surgeries(AUTHORIZED[0], donors))
    assert_is_the_victims(judge.send(body), body)


@given(st.data())
@bounded(300)
def test_S07_S132_attributes_after_surgery_well_signed_by_an_attacker_get_nothing(judge, data):
    """The attacker holds a message of the victim and signs whatever he makes of its attributes with a key of his own."""
    parts = make.take_apart(make.rewrap(AUTHORIZED[0], ATTACKER))
    whole = tlv.write(tlv.SET, *parts.signer.attributes)
    bent = data.draw(surgeries(whole, [tlv.write(tlv.SET, *make.take_apart(UNAUTHORIZED[3]).signer.attributes)]))
    body = parts.bend(attributes=children_of(bent)).resign(ATTACKER.key, order=data.draw(st.booleans())).der()
    assert judge.send(body) is None


def children_of(der):
    """The children of a value that may have stopped to be readable."""
    try:
        return tuple(child.encode() for child in Node.read(der).children or ())
    except ValueError:
        return (der,)


@given(st.data())
@bounded(300)
def test_S15_S132_envelopes_after_surgery_in_well_signed_messages(judge, data):
    content = parse_message(UNAUTHORIZED[0]).content
    donors = [parse_message(AUTHORIZED[0]).content, make.envelope(b"x", ATTACKER)]
    bent = data.draw(surgeries(content, donors) | edits([content]))
    body = make.message(bent, signer=ATTACKER, transaction_id=judge.transaction())
    assert judge.send(body) is None


def test_C145_S62_S132_requests_after_surgery_well_signed_and_well_enveloped(judge):
    """The info of the PKCS#10 is bent, then signed: what comes of it has the requester's key and its challenge."""
    wish = [make.dns_names("fuzz")]
    other = info_of(make.csr(challenge=NEVER, private_key=ATTACKER.key, extensions=[make.dns_names("a", "b")]))
    infos = {
        challenge: info_of(make.csr(challenge=challenge, subject=make.name(CN="fuzz"), private_key=VICTIM.key, extensions=wish))
        for challenge in (STATIC, NEVER)
    }

    @given(st.data())
    @bounded(300)
    def fuzz(data):
        challenge = data.draw(st.sampled_from([STATIC, STATIC, NEVER]))
        bent = signed(data.draw(surgeries(infos[challenge], [other])), VICTIM)
        found = judge.send(request(csr_der=bent, transaction_id=judge.transaction()))
        if found is not None:
            assert challenge == STATIC
            assert STATIC.encode() in bent
            assert found.public_key() == VICTIM.key.public_key()

    fuzz()
    assert {"issued", "rejected"} <= judge.outcomes.keys()


def info_of(csr):
    return tlv.read(csr).children[0].der


def test_C145_S56_S58_S132_hostile_requests_get_a_sound_certificate_or_nothing(judge):
    @given(hostile_requests())
    @bounded(400)
    def fuzz(hostile):
        found = judge.send(request(csr_der=hostile.der, party=hostile.party, transaction_id=judge.transaction()))
        if found is not None:
            assert hostile.authorized
            assert found.public_key() == hostile.party.key.public_key()

    fuzz()
    assert judge.outcomes["issued"] > 10, "what is all refused at the door tests the door alone"


@given(st.binary(max_size=600) | st.sampled_from(list(make.bombs(4000).values())))
@bounded(200)
def test_S132_any_octets_are_malformed(judge, body):
    assert judge.send(body) is None
    assert set(judge.outcomes) == {"malformed"}


@given(st.data())
@bounded(100)
def test_S132_any_plaintext_in_a_good_envelope_gets_nothing(judge, data):
    csr = make.csr(challenge=STATIC, private_key=VICTIM.key)
    plaintext = data.draw(st.binary(max_size=300) | st.just(csr).map(lambda der: der + b"\0") | edits([csr]).filter(lambda der: der != csr))
    found = judge.send(request(csr_der=plaintext, party=ATTACKER, transaction_id=judge.transaction()))
    assert found is None


# The fuzz itself can fail ---------------------------------------------------------------------------------------


def test_S132_the_inputs_of_the_fuzz_are_good_ones(judge):
    """Unbent, the ones are refused for the challenge alone and the others are issued, once."""
    for body in UNAUTHORIZED[:3]:
        assert judge.world.respond(body).answer.reason in {"challenge_invalid", "challenge_missing"}
    for number, body in enumerate(AUTHORIZED):
        assert (judge.send(body) is not None) == (number == 0)  # then the same transaction again
    assert judge.outcomes == {"issued": 3}


def test_S132_a_pipeline_that_lets_everybody_in_is_found(judge, monkeypatch):
    identify = pipeline.identify

    def let_in(context, profile, csr, previous, **fields):
        return identify(context, profile, attrs.evolve(csr, challenge=Secret(STATIC)), previous, **fields)

    monkeypatch.setattr(pipeline, "identify", let_in)
    assert judge.send(UNAUTHORIZED[0]) is not None


def test_S58_S132_an_ill_formed_certificate_is_found(judge):
    judge.send(AUTHORIZED[0])
    ill_formed = bytearray(judge.newest().der)
    ill_formed[-1] ^= 1
    with pytest.raises(ChainError):
        judge.judged(bytes(ill_formed))
    with pytest.raises(AssertionError):
        judge.judged(KEYS.sign_der)


@pytest.mark.parametrize("fault", [ValueError, IndexError, RecursionError])
def test_S132_an_exception_of_the_path_is_found(judge, monkeypatch, fault):
    def fail(*_):
        raise fault

    monkeypatch.setattr("scepd.enroll.respond.decide", fail)
    with pytest.raises(fault):
        judge.send(AUTHORIZED[0])

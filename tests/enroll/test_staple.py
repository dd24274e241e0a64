"""Certificates that must be stapled leave only when OCSP has an answer about them (RFC 7633, C-318)."""

from datetime import timedelta

import attrs
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import ocsp

from scepd.ca.responder import NO_RESPONDERS, Authorities, Responder, Responders
from scepd.enroll.raw import respond_raw
from scepd.records import TransactionState
from scepd.x509.ocsp import ResponderCertificate
from tests import make
from tests.vouching import first_responder
from tests.world import ORIGIN, STATIC, default_profile, make_world

MINUTES = timedelta(minutes=5)


@pytest.fixture
def world(keys, tmp_path):
    world = make_world(keys, tmp_path, profiles=[default_profile(must_staple="always")])
    answer_ocsp(world)
    return world


def answer_ocsp(world, valid=timedelta(days=30)):
    issuer, key = world.context.issuers["devices"], ec.generate_private_key(ec.SECP256R1())
    terms = {"now": world.clock.now(), "valid": valid, "random": world.context.random}
    der = first_responder(issuer.certificate, issuer.key, key.public_key(), **terms)
    responder = Responder("devices", key, ResponderCertificate.load(der), timedelta(hours=12), MINUTES)
    world.context.responders = Responders.of(Authorities({"devices": issuer.certificate}), [responder])


def answers(world, certificate):
    """What is kept about a certificate, by each of the two CertIDs."""
    asked = world.context.responders.authorities.asked_as("devices", certificate.serial_number)
    return [world.context.prepared.find(one.der, world.clock.now()) for one in asked]


def test_C318_both_answers_are_ready_when_the_certificate_goes_out(world, device):
    certificate = x509.load_der_x509_certificate(device.enrol())
    assert list(certificate.extensions.get_extension_for_class(x509.TLSFeature).value) == [
        x509.TLSFeatureType.status_request
    ]
    for answer in answers(world, certificate):
        read = ocsp.load_der_ocsp_response(answer.der)
        assert read.serial_number == certificate.serial_number
        assert read.certificate_status is ocsp.OCSPCertStatus.GOOD


@pytest.mark.parametrize("trouble", ["no responder", "ended"])
def test_C318_without_an_answer_the_device_waits_and_comes_back_to_the_same_certificate(world, device, trouble):
    if trouble == "ended":
        answer_ocsp(world, valid=timedelta(minutes=6))
        world.clock.time += timedelta(minutes=7)
    else:
        world.context.responders = NO_RESPONDERS
    body = device.request()
    for _ in range(2):
        answer = device.send(body).answer
        assert (answer.status, answer.body, answer.outcome) == (503, b"", "unavailable")
        assert answer.retry_after > 0
    (kept,) = world.issued()
    answer_ocsp(world)
    certificate = x509.load_der_x509_certificate(device.certificates(device.send(body))[0])
    assert certificate.serial_number == kept.serial
    assert all(answers(world, certificate))


def test_C318_a_bare_request_waits_as_well(world):
    world.context.responders = NO_RESPONDERS
    profile = attrs.evolve(world.profiles["default"], insecurely_accept_raw_csr=True)
    body = make.csr(challenge=STATIC)
    answer = respond_raw(world.context, profile, body, ORIGIN).answer
    assert (answer.status, answer.body) == (503, b"")
    answer_ocsp(world)
    assert respond_raw(world.context, profile, body, ORIGIN).answer.status == 200


def test_C318_a_certificate_that_is_not_on_record_is_not_stapled(world, device, monkeypatch):
    monkeypatch.setattr(type(world.store), "certificate_status", lambda *_: None)
    answer = device.send(device.request()).answer
    assert answer.status == 503
    monkeypatch.undo()
    assert [row.state for row in world.store.transactions()] == [TransactionState.ISSUED]


def test_C317_other_profiles_ask_nobody(keys, tmp_path):
    from tests.enroll.conftest import Device

    world = make_world(keys, tmp_path, profiles=[default_profile(must_staple="requested")])
    device = Device(world)
    certificate = x509.load_der_x509_certificate(device.enrol())
    with pytest.raises(x509.ExtensionNotFound):
        certificate.extensions.get_extension_for_class(x509.TLSFeature)

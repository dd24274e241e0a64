"""OCSP answers over a real store: what is said of each state of a certificate, by whom, and for how long it is kept."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.x509 import ocsp
from cryptography.x509.ocsp import OCSPCertStatus

from scepd.ca.prepared import PreparedAnswers
from scepd.ca.responder import Authorities, OcspAnswer, Responder, Responders
from scepd.records import RevocationReason
from scepd.refusal import Reason, Unavailable
from scepd.x509.ocsp import ResponderCertificate
from scepd.x509.ocsp_request import SHA1, SHA256, OcspRequest
from tests.store.building import Device, finish, make_intent
from tests.vouching import first_responder, next_responder
from tests.x509 import material

HALF_A_DAY = timedelta(hours=12)
MONTH = timedelta(days=30)
GOOD, REVOKED, UNKNOWN = OCSPCertStatus.GOOD, OCSPCertStatus.REVOKED, OCSPCertStatus.UNKNOWN


def certify(town, key="ocsp", valid=MONTH, issuer=None):
    by, public_key = issuer or town.issuer, material.ec_key(key).public_key()
    return first_responder(by.certificate, by.key, public_key, now=town.clock.now(), valid=valid, random=counting)


def counting(size):
    return bytes(range(1, size + 1))


def whole(town):
    """The present in whole seconds, as an answer says it."""
    return town.clock.now().replace(microsecond=0)


def responders(town, der=None, **more):
    certificates = {"main": town.issuer.certificate, **more}
    first = ResponderCertificate.load(der or certify(town))
    return Responders.of(
        Authorities(certificates), [Responder(name, material.ec_key("ocsp"), first, HALF_A_DAY) for name in certificates]
    )


def asked(serial, issuer=None, algorithm=SHA1):
    found = Authorities({"x": issuer or material.issuer("p256")}).asked_as("x", serial)
    return next(one for one in found if one.algorithm == algorithm)


def answer(town, *about, by=None, nonce=None):
    found = (by or responders(town)).answer(town.store, OcspRequest(about, nonce), town.clock.now())
    return found, ocsp.load_der_ocsp_response(found.der)


def status(town, serial, **fields):
    return answer(town, asked(serial, **fields))[1].certificate_status


@pytest.mark.parametrize("algorithm", [SHA1, SHA256])
def test_C303_S108_good_revoked_held_and_released(town, algorithm):
    serial, other = town.enrol(), town.enrol("r2")
    assert status(town, serial, algorithm=algorithm) is GOOD
    town.revoke(serial, RevocationReason.certificateHold)
    assert status(town, serial, algorithm=algorithm) is REVOKED
    town.store.release("main", serial, who="ann")
    assert status(town, serial, algorithm=algorithm) is GOOD
    town.revoke(serial, RevocationReason.keyCompromise)
    _, found = answer(town, asked(serial, algorithm=algorithm))
    assert found.revocation_reason is x509.ReasonFlags.key_compromise
    assert found.revocation_time_utc == whole(town)
    assert found.serial_number == serial
    assert status(town, other) is GOOD


def test_C304_S108_what_was_never_issued_is_never_good(town):
    found, read = answer(town, asked(7))
    assert read.certificate_status is REVOKED
    assert (read.revocation_reason, read.revocation_time_utc) == (
        x509.ReasonFlags.certificate_hold,
        datetime(1970, 1, 1, tzinfo=UTC),
    )
    assert [extension.oid.dotted_string for extension in read.extensions] == ["1.3.6.1.5.5.7.48.1.9"]
    assert not found.known


def test_C305_a_reserved_serial_is_good_only_when_its_certificate_is_on_record(town):
    device = Device.make("CN=r1")
    intent = make_intent(town.ca, device)
    transaction, _ = town.store.claim(intent)
    assert status(town, transaction.serial) is REVOKED
    finish(town.store, town.ca, device, transaction)
    assert status(town, transaction.serial) is GOOD


def test_S108_a_serial_that_failed_is_not_good(town):
    device = Device.make("CN=r1")
    transaction, _ = town.store.claim(make_intent(town.ca, device))
    town.store.abandon(transaction, Reason.interrupted, "", ())
    assert status(town, transaction.serial) is REVOKED


def test_C301_S108_a_foreign_issuer_is_unknown_and_alone_not_answered(town):
    foreign = asked(town.enrol(), issuer=material.issuer("rsa"))
    request = OcspRequest((foreign,))
    assert responders(town).answer(town.store, request, town.clock.now()) is None
    found, read = answer(town, foreign, asked(8), asked(town.enrol("r2")), by=responders(town))
    assert [one.certificate_status for one in read.responses] == [UNKNOWN, REVOKED, GOOD]
    assert not found.known


def test_C302_an_issuer_of_ours_is_unknown_to_another_issuers_responder(town):
    ours, theirs = asked(town.enrol()), asked(1, issuer=material.issuer("rsa"))
    _, read = answer(town, ours, theirs, by=responders(town, other=material.issuer("rsa")))
    assert [one.certificate_status for one in read.responses] == [GOOD, UNKNOWN]


def test_two_names_of_one_ca_are_one_issuer(town):
    serial = town.enrol()
    both = responders(town, again=town.issuer.certificate)
    assert answer(town, asked(serial), by=both)[1].certificate_status is GOOD
    renamed = Responders.of(
        Authorities({"before": town.issuer.certificate, "main": town.issuer.certificate}), both.by_issuer.values()
    )
    renamed = Responders(renamed.authorities, {**both.by_issuer, "before": both.by_issuer["again"]})
    assert answer(town, asked(serial), by=renamed)[1].certificate_status is GOOD


def test_C306_S108_an_answer_holds_for_its_time_and_carries_the_nonce(town):
    found, read = answer(town, asked(town.enrol()), nonce=b"n" * 32)
    assert (read.this_update_utc, read.next_update_utc) == (whole(town), whole(town) + HALF_A_DAY)
    assert (found.this_update, found.next_update) == (read.this_update_utc, read.next_update_utc)
    assert read.next_update_utc - read.this_update_utc <= timedelta(hours=24)
    assert read.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce == b"n" * 32
    assert read.responder_key_hash is not None


def test_S109_the_newest_certificate_of_the_configured_key_answers_and_an_ended_one_never(town):
    first = certify(town)
    by = responders(town, first)
    serial = town.enrol()

    def answering():
        return answer(town, asked(serial), by=by)[1].certificates[0]

    assert answering() == x509.load_der_x509_certificate(first)
    town.wait(MONTH / 2)
    by_ca = (town.issuer.certificate, town.issuer.key)
    fresh = next_responder(first, *by_ca, now=town.clock.now(), valid=MONTH, random=counting)
    town.store.add_responder_certificate(
        "main", fresh, not_after=ResponderCertificate.load(fresh).not_after, who="alpha/0.duties"
    )
    assert answering() == x509.load_der_x509_certificate(fresh)
    other = certify(town, key="another")
    town.store.add_responder_certificate("main", other, not_after=town.clock.now() + MONTH, who="alpha/0.duties")
    assert answering() == x509.load_der_x509_certificate(first)  # the key is not the one that was configured
    town.wait(2 * MONTH)
    with pytest.raises(Unavailable, match="valid now"):
        answering()


# What is kept.


def kept(at, generation=1, lasting=HALF_A_DAY):
    return OcspAnswer(b"der", at, at + lasting, generation, known=True)


NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTES = timedelta(minutes=5)


def test_C308_an_answer_is_given_out_again_for_its_short_time_alone():
    prepared = PreparedAnswers()
    assert prepared.find(b"a", NOW) is None
    prepared.keep(b"a", kept(NOW), MINUTES)
    assert prepared.find(b"a", NOW + MINUTES - timedelta(seconds=1)).tag.startswith(b'"')
    assert prepared.find(b"a", NOW + MINUTES) is None
    assert prepared.find(b"a", NOW - timedelta(seconds=1)) is None  # the clock was set back
    prepared.keep(b"a", kept(NOW, lasting=timedelta(minutes=1)), MINUTES)
    assert prepared.find(b"a", NOW + timedelta(minutes=1)) is None
    prepared.keep(b"b", kept(NOW), timedelta())
    assert prepared.find(b"b", NOW) is None


def test_C309_S108_news_drops_all_and_an_answer_from_before_the_news_is_not_kept():
    prepared = PreparedAnswers()
    prepared.hear(1)
    prepared.keep(b"a", kept(NOW), MINUTES)
    prepared.hear(1)
    assert prepared.find(b"a", NOW) is not None
    prepared.hear(2)
    assert prepared.find(b"a", NOW) is None
    prepared.keep(b"a", kept(NOW, generation=1), MINUTES)
    assert prepared.find(b"a", NOW) is None
    prepared.keep(b"a", kept(NOW, generation=3), MINUTES)  # of what this process has not heard yet
    assert prepared.find(b"a", NOW) is not None
    prepared.hear(1)  # an old store was restored
    prepared.keep(b"a", kept(NOW, generation=1), MINUTES)
    assert prepared.find(b"a", NOW) is not None


def test_S112_no_more_is_kept_than_there_is_room_for():
    prepared = PreparedAnswers(most=3)
    for name in (b"a", b"b", b"c", b"a", b"d"):
        prepared.keep(name, kept(NOW), MINUTES)
    assert [name for name in (b"a", b"b", b"c", b"d") if prepared.find(name, NOW)] == [b"a", b"c", b"d"]


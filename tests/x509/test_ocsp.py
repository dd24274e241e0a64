"""OCSP answers: octet for octet what cryptography's builder writes where it can, read back and verified by openssl."""

import re
from datetime import UTC, datetime, timedelta

import asn1crypto.ocsp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509 import ocsp

from scepd.records import Revocation, RevocationReason
from scepd.x509.draft import SealError
from scepd.x509.ocsp import (
    FOREIGN,
    NEVER_ISSUED,
    CertificateStatus,
    OcspStatus,
    ResponderCertificate,
    issuer_hashes,
    refuse_request,
    sign_answer,
    write_answer,
)
from scepd.x509.ocsp_request import SHA1, SHA256, CertId, write_cert_id
from tests.x509 import material
from tests.x509.material import NOW, SERIAL, ec_key, issuer, leaf, openssl, pem

HALF_A_DAY = timedelta(hours=12)
GOOD = CertificateStatus()
HASHES = {SHA1: hashes.SHA1(), SHA256: hashes.SHA256()}


def revoked(reason=RevocationReason.keyCompromise, at=NOW - timedelta(days=1)):
    return CertificateStatus(Revocation(at, reason))


def asked(serial=SERIAL, algorithm=SHA1):
    hashed = next(one for one in issuer_hashes(issuer()) if one[0] == algorithm)
    return CertId(write_cert_id(*hashed, serial), *hashed, serial)


def responder():
    return ResponderCertificate.load(
        material.seal(material.ocsp().der, material.ca_key("rsa"), issuer().public_key)
    )


def write(*statuses, algorithm=SHA1, **fields):
    listed = [(asked(SERIAL + number, algorithm), status) for number, status in enumerate(statuses)]
    return write_answer(listed, responder(), **{"now": NOW, "valid": HALF_A_DAY, **fields})


def answer(*statuses, **fields):
    return ocsp.load_der_ocsp_response(sign_answer(write(*statuses, **fields)[0], ec_key("ocsp"), responder()))


STATUSES = {
    "good": (GOOD, ocsp.OCSPCertStatus.GOOD, None, None),
    "revoked": (revoked(), ocsp.OCSPCertStatus.REVOKED, NOW - timedelta(days=1), x509.ReasonFlags.key_compromise),
    "without a reason": (
        revoked(RevocationReason.unspecified), ocsp.OCSPCertStatus.REVOKED, NOW - timedelta(days=1), None
    ),
    "unknown": (FOREIGN, ocsp.OCSPCertStatus.UNKNOWN, None, None),
}  # fmt: skip


@pytest.mark.parametrize("nonce", [None, b"0123456789abcdef"])
@pytest.mark.parametrize("algorithm", [SHA1, SHA256])
@pytest.mark.parametrize("name", STATUSES)
def test_C302_C303_C306_C307_C310_an_answer_is_what_the_builder_writes(name, algorithm, nonce):
    status, said, at, reason = STATUSES[name]
    found = answer(status, algorithm=algorithm, nonce=nonce)
    one = asked(algorithm=algorithm)
    builder = ocsp.OCSPResponseBuilder().add_response_by_hash(
        one.name_hash, one.key_hash, SERIAL, HASHES[algorithm], said, NOW, NOW + HALF_A_DAY, at, reason
    )
    builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, responder().certificate)
    builder = builder.certificates([responder().certificate])
    if nonce is not None:
        builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
    theirs = builder.sign(ec_key("ocsp"), hashes.SHA256()).tbs_response_bytes
    # The one thing that differs is producedAt, which the builder takes from the machine's clock.
    produced = theirs.index(b"\x18\x0f")
    ours = found.tbs_response_bytes
    assert ours[:produced] + ours[produced + 17 :] == theirs[:produced] + theirs[produced + 17 :]
    assert (found.this_update_utc, found.next_update_utc) == (NOW, NOW + HALF_A_DAY)
    assert found.produced_at_utc == NOW
    assert found.certificates == [responder().certificate]


def test_C303_C304_one_answer_for_each_certificate_and_the_extension_where_one_was_never_issued():
    found = answer(GOOD, revoked(), NEVER_ISSUED)
    singles = list(found.responses)
    assert [one.serial_number for one in singles] == [SERIAL, SERIAL + 1, SERIAL + 2]
    never = singles[2]
    assert never.certificate_status is ocsp.OCSPCertStatus.REVOKED
    assert never.revocation_reason is x509.ReasonFlags.certificate_hold
    assert never.revocation_time_utc == datetime(1970, 1, 1, tzinfo=UTC)
    (extension,) = asn1crypto.ocsp.OCSPResponse.load(_der(GOOD, revoked(), NEVER_ISSUED), strict=True)[
        "response_bytes"]["response"].parsed["tbs_response_data"]["response_extensions"]  # fmt: skip
    assert extension["extn_id"].dotted == "1.3.6.1.5.5.7.48.1.9"
    assert extension["critical"].native is False
    assert len(answer(GOOD, revoked()).extensions) == 0


def _der(*statuses):
    return sign_answer(write(*statuses)[0], ec_key("ocsp"), responder())


def test_C306_fractions_are_cut_and_no_answer_outlives_the_responder():
    late = responder().not_after - timedelta(hours=1, microseconds=5)
    data, next_update = write(GOOD, now=late)
    assert next_update == responder().not_after
    octets = ocsp.load_der_ocsp_response(sign_answer(data, ec_key("ocsp"), responder())).tbs_response_bytes
    times = re.findall(rb"\x18(.)(20\d{12}[^\x18]?)", octets, re.DOTALL)  # GeneralizedTime: its length, and what it says
    assert len(times) == 3
    assert all(length == b"\x0f" and text.endswith(b"Z") for length, text in times), times
    assert answer(GOOD, now=NOW + timedelta(microseconds=7)).this_update_utc == NOW


def test_C302_openssl_takes_the_answer_for_the_certificate(tmp_path):
    (tmp_path / "ca.pem").write_bytes(pem(issuer().der))
    (tmp_path / "leaf.pem").write_bytes(pem(leaf()))
    (tmp_path / "answer.der").write_bytes(_der(GOOD))
    said = openssl(
        "ocsp", "-respin", tmp_path / "answer.der", "-issuer", tmp_path / "ca.pem", "-cert", tmp_path / "leaf.pem",
        "-CAfile", tmp_path / "ca.pem", "-attime", str(int(NOW.timestamp())), "-validity_period", "999999999",
    )  # fmt: skip
    assert ": good" in str(said)


def test_S110_a_signature_that_is_not_the_responders_is_never_sent():
    data = write(GOOD)[0]
    with pytest.raises(SealError, match="does not verify"):
        sign_answer(data, ec_key("another"), responder())
    with pytest.raises(SealError, match="algorithm"):
        sign_answer(data, material.rsa_key("another"), responder())


def test_S110_octets_that_read_otherwise_than_they_were_written_are_never_sent(monkeypatch):
    real = ocsp.load_der_ocsp_response
    other = _der(revoked())
    monkeypatch.setattr(ocsp, "load_der_ocsp_response", lambda _der: real(other))
    with pytest.raises(SealError, match="not those"):
        sign_answer(write(GOOD)[0], ec_key("ocsp"), responder())


@pytest.mark.parametrize("status", OcspStatus)
def test_C301_errors_are_unsigned_and_empty(status):
    found = ocsp.load_der_ocsp_response(refuse_request(status))
    assert found.response_status.value == status.value
    assert len(refuse_request(status)) == 5


def test_C302_only_a_certificate_for_ocsp_signing_answers():
    assert responder().public_key == ec_key("ocsp").public_key()
    for der in (leaf(), issuer().der, material.certificate(purposes=None)):
        with pytest.raises(ValueError, match="OCSP signing"):
            ResponderCertificate.load(der)
    foreign = material.certificate(
        purposes=(material.purposes("OCSPSigning"), False), key=material.ed_key("ocsp").public_key()
    )
    with pytest.raises(ValueError, match="OCSP signing"):
        ResponderCertificate.load(foreign)



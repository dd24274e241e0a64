"""OCSP requests: those of cryptography and openssl are read, whatever is not within bounds is refused."""

import asn1crypto.ocsp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from hypothesis import given
from hypothesis import strategies as st

from scepd.message import tlv
from scepd.message.errors import MessageError
from scepd.x509.ocsp import issuer_hashes
from scepd.x509.ocsp_request import MOST_CERTIFICATES, SHA1, SHA256, parse_ocsp_request, write_cert_id
from tests.x509.material import SERIAL, issuer, leaf, openssl, pem

NONCE = "1.3.6.1.5.5.7.48.1.2"
HASHES = {SHA1: hashes.SHA1(), SHA256: hashes.SHA256()}


def request(*, algorithm=SHA1, nonce=None, kind="rsa"):
    made = ocsp.OCSPRequestBuilder().add_certificate(
        x509.load_der_x509_certificate(leaf(kind)), issuer(kind).certificate, HASHES[algorithm]
    )
    if nonce is not None:
        made = made.add_extension(x509.OCSPNonce(nonce), critical=False)
    return made.build().public_bytes(Encoding.DER)


def cert_id(serial=SERIAL, algorithm=SHA1):
    return write_cert_id(*next(one for one in issuer_hashes(issuer()) if one[0] == algorithm), serial)


def extension(oid, value, *, critical=False):
    flag = tlv.boolean(True) if critical else b""
    return tlv.sequence(tlv.oid(oid), flag, tlv.octet_string(value))


def extensions(*several, number=2):
    return tlv.explicit(number, tlv.sequence(*several))


def nonce_extension(octets):
    return extension(NONCE, tlv.octet_string(octets))


def frame(*cert_ids, before=b"", after=b"", single=b"", signature=b""):
    listed = tlv.sequence(*(tlv.sequence(one, single) for one in cert_ids))
    return tlv.sequence(tlv.sequence(before, listed, after), signature)


def raw_id(algorithm=SHA1, size=20, serial=None, parameters=None):
    hashed = tlv.octet_string(bytes(size))
    parameters = tlv.null() if parameters is None else parameters
    return tlv.sequence(tlv.sequence(tlv.oid(algorithm), parameters), hashed, hashed, serial or tlv.integer(SERIAL))


@pytest.mark.parametrize("kind", ["rsa", "p256"])
@pytest.mark.parametrize("algorithm", [SHA1, SHA256])
def test_C303_S108_both_digests_name_the_issuer(algorithm, kind):
    (asked,) = parse_ocsp_request(request(algorithm=algorithm, kind=kind)).certificates
    assert (asked.algorithm, asked.name_hash, asked.key_hash) in issuer_hashes(issuer(kind))
    assert asked.serial == SERIAL
    assert asked.der == write_cert_id(algorithm, asked.name_hash, asked.key_hash, SERIAL)


def test_what_openssl_writes_is_read(tmp_path):
    (tmp_path / "ca.pem").write_bytes(pem(issuer().der))
    (tmp_path / "leaf.pem").write_bytes(pem(leaf()))
    openssl(
        "ocsp", "-issuer", tmp_path / "ca.pem", "-cert", tmp_path / "leaf.pem", "-sha256", "-cert", tmp_path / "leaf.pem",
        "-serial", "7", "-nonce", "-reqout", tmp_path / "request.der",
    )  # fmt: skip
    found = parse_ocsp_request((tmp_path / "request.der").read_bytes())
    assert [one.serial for one in found.certificates] == [SERIAL, SERIAL, 7]
    assert [one.algorithm for one in found.certificates] == [SHA1, SHA256, SHA256]
    assert len(found.nonce) == 16


def test_C311_signatures_and_names_of_requestors_are_passed_over():
    signature = tlv.explicit(0, tlv.sequence(tlv.sequence(tlv.oid(SHA1)), tlv.bit_string(b"not a signature")))
    name = tlv.explicit(1, tlv.explicit(4, issuer().subject_der))
    version = tlv.explicit(0, tlv.integer(0))
    plain = parse_ocsp_request(frame(cert_id()))
    assert parse_ocsp_request(frame(cert_id(), before=version + name, signature=signature)) == plain
    read = asn1crypto.ocsp.OCSPRequest.load(frame(cert_id(), before=name), strict=True)  # the form is the standard's
    assert read["tbs_request"]["request_list"][0]["req_cert"]["serial_number"].native == SERIAL


@pytest.mark.parametrize("size", [1, 16, 32, 128])
def test_C307_a_nonce_of_any_usual_length_is_kept(size):
    assert parse_ocsp_request(request(nonce=b"n" * size)).nonce == b"n" * size


def test_what_is_understood_may_be_critical_and_what_is_not_may_stand_there():
    response_types = extension("1.3.6.1.5.5.7.48.1.4", tlv.sequence(tlv.oid("1.3.6.1.5.5.7.48.1.1")), critical=True)
    odd = extension("1.2.3.4", tlv.null())
    assert parse_ocsp_request(frame(cert_id(), after=extensions(response_types, odd))).nonce is None
    assert parse_ocsp_request(frame(cert_id(), single=extensions(odd, number=0))).certificates[0].serial == SERIAL


def test_another_digest_names_nobody():
    (asked,) = parse_ocsp_request(frame(raw_id("2.16.840.1.101.3.4.2.3", size=64))).certificates
    assert (asked.algorithm, asked.name_hash, asked.key_hash) not in issuer_hashes(issuer())


REFUSED = {
    "empty": b"",
    "text": b"GET / HTTP/1.0",
    "no certificate": frame(),
    "many certificates": frame(*[cert_id()] * (MOST_CERTIFICATES + 1)),
    "ten thousand certificates": frame(*[cert_id()] * 10_000),
    "version 2": frame(cert_id(), before=tlv.explicit(0, tlv.integer(1))),
    "trailing octets": frame(cert_id()) + b"\0",
    "a short hash": frame(raw_id(size=19)),
    "a long serial": frame(raw_id(serial=tlv.integer(1 << 168))),
    "a padded serial": frame(raw_id(serial=bytes.fromhex("02020007"))),
    "an empty serial": frame(raw_id(serial=bytes.fromhex("0200"))),
    "a NULL with contents": frame(raw_id(parameters=bytes.fromhex("050100"))),
    "other parameters": frame(raw_id(parameters=tlv.integer(1))),
    "an empty nonce": frame(cert_id(), after=extensions(nonce_extension(b""))),
    "a huge nonce": frame(cert_id(), after=extensions(nonce_extension(bytes(129)))),
    "a nonce of a megabyte": frame(cert_id(), after=extensions(nonce_extension(bytes(1_000_000)))),
    "a bare nonce": frame(cert_id(), after=extensions(extension(NONCE, b"\1\2\3\4"))),
    "two nonces": frame(cert_id(), after=extensions(nonce_extension(b"a"), nonce_extension(b"b"))),
    "a critical extension": frame(cert_id(), after=extensions(extension("1.2.3.4", tlv.null(), critical=True))),
    "a critical extension of one": frame(
        cert_id(), single=extensions(extension("1.2.3.4", tlv.null(), critical=True), number=0)
    ),
    "indefinite length": b"\x30\x80" + frame(cert_id())[2:] + b"\0\0",
}


@pytest.mark.parametrize("name", REFUSED)
def test_C301_S108_what_is_no_request_within_bounds_is_refused(name):
    with pytest.raises(MessageError):
        parse_ocsp_request(REFUSED[name])


WHOLE = request(nonce=b"0123456789abcdef")


@given(st.integers(0, len(WHOLE) - 1), st.integers(0, 255))
def test_S108_a_changed_octet_is_read_or_refused(position, octet):
    try:
        found = parse_ocsp_request(WHOLE[:position] + bytes([octet]) + WHOLE[position + 1 :])
    except MessageError:
        return
    assert len(found.certificates) == 1

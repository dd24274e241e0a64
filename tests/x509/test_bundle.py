"""Files of anchors and of revocation lists, judged before anybody is admitted by them."""

from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from scepd.message import tlv
from scepd.refusal import OperatorError
from scepd.x509.bundle import judge_bundle, read_bundle
from scepd.x509.revocation import judge_crls, read_crls
from tests.x509.factory import make, root, usage
from tests.x509.material import NOW, bend


def problems(pem):
    return [problem.problem for problem in judge_bundle(pem, NOW)]


def as_pem(der):
    import base64

    return b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(der) + b"-----END CERTIFICATE-----\n"


def test_good_anchors_are_read_once_each():
    one, two = root("A"), root("B")
    assert problems(one.pem + two.pem + one.pem) == []
    assert read_bundle(b"remark\n" + one.pem + two.pem + one.pem).certificates == (one.certificate, two.certificate)


@pytest.mark.parametrize(
    ("pem", "word"),
    [
        (lambda: b"", "no PEM certificate"),
        (lambda: b"# nothing yet\n", "no PEM certificate"),
        (lambda: root().der, "no PEM certificate"),
        (lambda: root().pem + root().key_pem, "private key"),
        (lambda: as_pem(b"\x30\x03\x02\x01\x00"), "unreadable"),
        (lambda: root().pem.replace(b"M", b"!", 3), "unreadable"),
        (lambda: as_pem(bend(root().der, 0, tlv.explicit(0, tlv.integer(7)))), "unreadable"),
        (lambda: make("device").pem, "no CA certificate"),
        (lambda: root(extensions=(usage(crl_sign=True),)).pem, "may not sign certificates"),
        (lambda: root(key=rsa.generate_private_key(65537, 1024)).pem, "1024 bits"),
        (lambda: root(key=ed25519.Ed25519PrivateKey.generate(), issuer=root()).pem, "neither RSA nor EC"),
    ],
)
def test_what_is_no_file_of_anchors(pem, word):
    data = pem()
    assert word in problems(data)[0]
    with pytest.raises(OperatorError, match=word):
        read_bundle(data)


def test_too_many_anchors():
    key = root()
    many = b"".join(key.issue(f"CA {n}", ca=True, key=key.key).pem for n in range(501))
    assert "501 certificates" in problems(many)[0]


def test_expired_and_future_anchors_are_told_all_at_once_and_still_read():
    old = root("Old", begin=NOW - timedelta(days=9), end=NOW - timedelta(days=1))
    new = root("New", begin=NOW + timedelta(days=1))
    found = problems(old.pem + new.pem + make("device").pem)
    assert ["expired" in found[0], "valid only from" in found[1], "no CA" in found[2]] == [True] * 3
    assert len(read_bundle(old.pem + new.pem).certificates) == 2


def test_lists_in_both_forms():
    ca = root()
    crl = ca.crl(7)
    assert judge_crls(crl.public_bytes(Encoding.DER), NOW) == ()
    assert judge_crls(b"remark\n" + crl.public_bytes(Encoding.PEM) * 2, NOW) == ()
    assert read_crls(crl.public_bytes(Encoding.DER))


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (lambda: b"", "no CRL"),
        (lambda: root().pem, "no CRL"),
        (lambda: b"\x30\x00", "unreadable"),
        (lambda: b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----", "unreadable"),
        (lambda: der(root().crl(extensions=[(x509.DeltaCRLIndicator(1), True)])), "partial"),
        (lambda: der(root().crl(extensions=[(x509.IssuingDistributionPoint(
            full_name=None, relative_name=None, only_contains_user_certs=True, only_contains_ca_certs=False,
            only_some_reasons=None, indirect_crl=False, only_contains_attribute_certs=False), False)])), "partial"),
        (lambda: der(root().crl(extensions=[(x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3"), b"\5\0"), True)])),
         "partial"),
    ],
)  # fmt: skip
def test_what_is_no_file_of_lists(data, word):
    octets = data()
    assert word in judge_crls(octets, NOW)[0].problem
    with pytest.raises(OperatorError, match=word):
        read_crls(octets)


def test_lists_out_of_date_are_told_and_still_read():
    ca = root()
    old = der(ca.crl(begin=NOW - timedelta(days=9), end=NOW - timedelta(days=1)))
    assert "out of date" in judge_crls(old, NOW)[0].problem
    assert read_crls(old)


def test_a_list_of_a_CA_that_signs_with_a_strange_key_is_nobodys():
    from scepd.x509.revocation import ListMissing

    key = ed25519.Ed25519PrivateKey.generate()
    strange = make("Strange CA", key=key, issuer=root(), ca=True)
    path = [strange.certificate, strange.certificate]
    with pytest.raises(ListMissing):
        read_crls(der(root("Strange CA").crl())).judge(path, NOW)


def der(crl):
    return crl.public_bytes(Encoding.DER)


def test_a_list_is_verified_once_and_its_number_is_no_partiality():
    ca = root()
    device = ca.issue("device")
    lists = read_crls(der(ca.crl(extensions=[(x509.CRLNumber(7), False)])))
    for _ in range(2):
        lists.judge([device.certificate, ca.certificate], NOW)


def test_a_list_signed_in_a_way_nobody_knows_is_nobodys():
    from scepd.x509.revocation import ListMissing

    ca = root()
    sha256, unknown = bytes.fromhex("06082a8648ce3d040302"), bytes.fromhex("06082a8648ce3d04037f")
    octets = der(ca.crl())
    assert octets.count(sha256) == 2
    with pytest.raises(ListMissing):
        read_crls(octets.replace(sha256, unknown)).judge([ca.issue("d").certificate, ca.certificate], NOW)

"""A client's certificate against the anchors of one profile."""

import subprocess
from datetime import timedelta

import attrs
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from scepd.x509.bundle import read_bundle
from scepd.x509.client import ClientFault, ClientRefused, ClientTrust, identify, judge_lists, verify_client
from scepd.x509.revocation import ListMissing, read_crls
from tests.x509.factory import CLIENT, SERVER, make, root, usage
from tests.x509.material import NOW


def trust(*anchors, **fields):
    return ClientTrust(read_bundle(b"".join(anchor.pem for anchor in anchors)), **fields)


def fault(presented, trusted, now=NOW):
    with pytest.raises(ClientRefused) as refused:
        verify_client(presented, trusted, now)
    return refused.value.fault


def test_S95_a_certificate_of_the_anchor_is_admitted_and_its_path_returned():
    factory = root()
    device = factory.issue("device-7")
    assert verify_client([device.der], trust(factory), NOW) == [device.certificate, factory.certificate]


def test_S97_nothing_presented():
    assert fault([], trust(root())) is ClientFault.missing


def test_S97_what_is_no_certificate():
    assert fault([b"\x30\x00"], trust(root())) is ClientFault.unreadable
    assert fault([b"\x30" * 40_000], trust(root())) is ClientFault.unreadable
    factory = root()
    device = factory.issue("device-7")
    assert fault([device.der] * 11, trust(factory)) is ClientFault.unreadable


def test_S97_self_signed_and_of_another_CA():
    factory = root()
    assert fault([make("device-7").der], trust(factory)) is ClientFault.untrusted
    assert fault([root("Other CA").issue("device-7").der], trust(factory)) is ClientFault.untrusted


def test_S95_a_CA_of_the_same_name_with_another_key():
    assert fault([root().issue("device-7").der], trust(root())) is ClientFault.untrusted


def test_S95_an_intermediate_of_one_CA_does_not_speak_for_another_though_it_borrows_its_name():
    ours, theirs = root("Factory A"), root("Factory B")
    borrowed = theirs.issue("Factory A", ca=True)
    device = borrowed.issue("device-7")
    assert fault([device.der, borrowed.der], trust(ours)) is ClientFault.untrusted
    assert len(verify_client([device.der, borrowed.der], trust(theirs), NOW)) == 3


def test_S95_a_cross_signed_root_leads_only_to_the_anchor_of_the_profile():
    ours, theirs = root("Factory A"), root("Factory B")
    crossed = theirs.issue("Factory A", ca=True, key=ours.key)
    device = ours.issue("device-7")
    assert verify_client([device.der, crossed.der], trust(ours), NOW)[-1] == ours.certificate
    assert verify_client([device.der, crossed.der], trust(theirs), NOW)[-1] == theirs.certificate
    assert fault([device.der], trust(theirs)) is ClientFault.untrusted


def test_an_intermediate_may_come_with_the_client_or_be_ours():
    factory = root()
    between = factory.issue("Line 3", ca=True)
    device = between.issue("device-7")
    assert fault([device.der], trust(factory)) is ClientFault.untrusted
    assert len(verify_client([device.der, between.der], trust(factory), NOW)) == 3
    assert len(verify_client([device.der], trust(factory, intermediates=(between.certificate,)), NOW)) == 3


def test_hints_of_no_use_are_overlooked():
    factory = root()
    device = factory.issue("device-7")
    weak = make("weak", key=rsa.generate_private_key(65537, 1024))
    assert verify_client([device.der, b"nonsense", weak.der, make("x").der], trust(factory), NOW)


def test_S97_dates():
    factory = root()
    past = factory.issue("old", begin=NOW - timedelta(days=20), end=NOW - timedelta(days=1))
    future = factory.issue("new", begin=NOW + timedelta(days=1))
    assert fault([past.der], trust(factory)) is ClientFault.expired
    assert fault([future.der], trust(factory)) is ClientFault.not_yet_valid


def test_an_anchor_that_expired_meanwhile_admits_nobody():
    factory = root(end=NOW + timedelta(days=10))
    device = factory.issue("device-7")
    assert fault([device.der], trust(factory), NOW + timedelta(days=11)) is ClientFault.untrusted


@pytest.mark.parametrize(
    ("extensions", "word"),
    [
        ((SERVER,), "clientAuth"),
        ((x509.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]),), "clientAuth"),
        ((), "no extended key usage"),
        ((CLIENT, usage(key_encipherment=True)), "digitalSignature"),
        ((CLIENT, x509.BasicConstraints(True, None)), "CA certificate"),
    ],
)
def test_S95_the_purpose_is_clientAuth(extensions, word):
    factory = root()
    device = factory.issue("device-7", extensions=extensions)
    with pytest.raises(ClientRefused, match=word) as refused:
        verify_client([device.der], trust(factory), NOW)
    assert refused.value.fault is ClientFault.wrong_purpose


def test_S95_an_absent_purpose_is_admitted_by_choice_and_a_wrong_one_still_not():
    factory = root()
    silent = factory.issue("device-7", extensions=(usage(digital_signature=True),))
    relaxed = trust(factory, purpose_optional=True)
    assert verify_client([silent.der], relaxed, NOW)
    assert fault([factory.issue("web", extensions=(SERVER,)).der], relaxed) is ClientFault.wrong_purpose


@pytest.mark.parametrize(
    "key",
    [
        rsa.generate_private_key(65537, 1024),
        ec.generate_private_key(ec.SECP192R1()),
        ed448.Ed448PrivateKey.generate(),
    ],
)
def test_weak_and_strange_keys(key):
    factory = root()
    assert fault([factory.issue("device-7", key=key).der], trust(factory)) is ClientFault.weak_key


def test_ed25519_keys_are_not_weak():
    factory = root()
    device = factory.issue("device-7", key=ed25519.Ed25519PrivateKey.generate())
    assert verify_client([device.der], trust(factory), NOW)


def test_SHA_1_is_weak(tmp_path):
    for name in ("ca", "device"):
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-sha256" if name == "ca" else "-sha1"]
        command += ["-keyout", f"{name}.key", "-out", f"{name}.pem", "-subj", f"/CN={name}", "-days", "3650"]
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    pem = (tmp_path / "device.pem").read_bytes()
    device = x509.load_pem_x509_certificate(pem)
    now = device.not_valid_before_utc
    from cryptography.hazmat.primitives.serialization import Encoding

    trusted = ClientTrust(read_bundle((tmp_path / "ca.pem").read_bytes()))
    assert fault([device.public_bytes(Encoding.DER)], trusted, now) is ClientFault.weak_digest


def test_what_may_not_sign_certificates_stands_in_no_path():
    factory = root()
    between = factory.issue("Line 3", ca=True, extensions=(usage(crl_sign=True),))
    device = between.issue("device-7")
    assert fault([device.der, between.der], trust(factory)) is ClientFault.untrusted
    signing = factory.issue("Line 4", ca=True, extensions=(usage(key_cert_sign=True),))
    assert verify_client([signing.issue("device-7").der, signing.der], trust(factory), NOW)


def test_name_constraints_of_an_intermediate_hold():
    factory = root()
    constraint = x509.NameConstraints([x509.DNSName("a.example")], None)
    between = factory.issue("Line 3", ca=True, extensions=(constraint,))
    inside, outside = (
        between.issue("d", extensions=(CLIENT, x509.SubjectAlternativeName([x509.DNSName(name)])))
        for name in ("d.a.example", "d.b.example")
    )
    assert verify_client([inside.der, between.der], trust(factory), NOW)
    assert fault([outside.der, between.der], trust(factory)) is ClientFault.untrusted


def test_a_revoked_certificate_and_a_revoked_intermediate():
    factory = root()
    between = factory.issue("Line 3", ca=True)
    good, bad = between.issue("good"), between.issue("bad")
    lists = [between.crl(bad.certificate.serial_number), factory.crl()]
    judge_lists(path_of(good, between, factory), pem(*lists), NOW)
    with pytest.raises(ClientRefused) as refused:
        judge_lists(path_of(bad, between, factory), pem(*lists), NOW)
    assert refused.value.fault is ClientFault.revoked
    with pytest.raises(ClientRefused):
        judge_lists(
            path_of(good, between, factory), pem(between.crl(), factory.crl(between.certificate.serial_number)), NOW
        )


def test_without_a_current_list_of_its_issuer_nobody_knows():
    factory, other = root(), root("Other CA")
    device = factory.issue("device-7")
    path = [device.certificate, factory.certificate]
    for lists in (
        pem(other.crl()),
        pem(factory.crl(end=NOW - timedelta(hours=1))),
        pem(factory.crl(begin=NOW + timedelta(hours=1))),
        pem(root().crl()),  # the name, but not the key
    ):
        with pytest.raises(ListMissing):
            judge_lists(path, lists, NOW)


def test_of_a_CA_that_has_lists_an_old_one_is_not_enough():
    factory = root()
    between = factory.issue("Line 3", ca=True)
    path = path_of(between.issue("good"), between, factory)
    judge_lists(path, pem(between.crl()), NOW)
    with pytest.raises(ListMissing):
        judge_lists(path, pem(between.crl(), factory.crl(end=NOW - timedelta(hours=1))), NOW)


def test_a_revoked_certificate_on_an_old_list_is_revoked():
    factory = root()
    device = factory.issue("device-7")
    lists = pem(factory.crl(device.certificate.serial_number, end=NOW - timedelta(hours=1)))
    with pytest.raises(ClientRefused):
        judge_lists([device.certificate, factory.certificate], lists, NOW)


def test_who_the_holder_is():
    names = x509.SubjectAlternativeName(
        [
            x509.DNSName("d.example"),
            x509.OtherName(x509.ObjectIdentifier("1.2.3"), b"\x0c\x01x"),
            x509.RFC822Name("d@example.org"),
        ]
    )
    factory = root()
    device = factory.issue("device-7", serial=77, extensions=(CLIENT, names))
    who = identify(device.certificate, device.der)
    assert attrs.asdict(who) == {
        "subject": "CN=device-7",
        "names": ("dns:d.example", "email:d@example.org"),
        "serial": 77,
        "issuer": "CN=Factory CA",
        "digest": who.digest,
    }
    assert identify(factory.issue("x").certificate, b"").names == ()


def pem(*lists):
    from cryptography.hazmat.primitives.serialization import Encoding

    return read_crls(b"".join(one.public_bytes(Encoding.PEM) for one in lists))


def path_of(*holders):
    return [holder.certificate for holder in holders]

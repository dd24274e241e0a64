"""Certificates as drafted, seen by openssl and asn1crypto."""

import os
import random
from datetime import timedelta

import pytest
from asn1crypto import x509 as oracle
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from scepd.message import tlv
from scepd.message.algorithms import Digest
from scepd.records import Attribute, GeneralName
from scepd.refusal import OperatorError, Reason, Reject, Unavailable
from scepd.x509.certificate import IssuerCertificate, Locations, draft_ca_certificate, draft_ra_certificate, new_serial
from scepd.x509.draft import seal, split
from scepd.x509.fields import contents, elements, tbs_fields
from scepd.x509.lint import lint
from scepd.x509.names import from_text
from scepd.x509.usages import TLS_FEATURE, TLS_FEATURE_DER, key_usages
from tests.x509.material import (
    BEGIN,
    CA_NAME,
    END,
    NOW,
    SERIAL,
    bend,
    ca_der,
    ca_key,
    certificate,
    draft,
    ec_key,
    ed_key,
    issuer,
    leaf,
    openssl,
    openssl_verify,
    pem,
    ra,
    raw,
    rsa_key,
    spki,
    sub_ca,
    tls,
    usage,
)


def extension(der, kind):
    return x509.load_der_x509_certificate(der).extensions.get_extension_for_class(kind)


@pytest.mark.parametrize("kind", ["rsa", "p256", "p384"])
@pytest.mark.parametrize("key", [rsa_key("device"), ec_key("device"), ed_key("device")], ids=["rsa", "ec", "ed"])
def test_C284_C278_C279_C280_openssl_accepts_every_chain_strictly(kind, key, tmp_path):
    sealed = leaf(kind, key)
    assert openssl_verify(tmp_path, sealed, ca_der(kind))[1] == f"{tmp_path}/leaf.pem: OK\n"
    text = openssl("x509", "-noout", "-text", stdin=pem(sealed))[1]
    assert "Version: 3" in text
    assert "CA:FALSE" in text
    assert "TLS Web Client Authentication" in text
    assert "DNS:r1.example.com, IP Address:192.0.2.7" in text
    assert "URI:http://pki.example.com/crl" in text
    assert lint(sealed, issuer(kind), "leaf") == []


def test_C156_the_requests_key_is_certified_octet_for_octet():
    for key in (rsa_key("device"), ec_key("device"), ed_key("device")):
        assert tbs_fields(split(leaf(key=key))[0])[6] == spki(key)


def test_C156_a_key_that_would_be_written_otherwise_is_refused():
    compressed = (
        ec_key("device")
        .public_key()
        .public_bytes(serialization.Encoding.X962, serialization.PublicFormat.CompressedPoint)
    )
    curve = tlv.sequence(tlv.oid("1.2.840.10045.2.1"), tlv.oid("1.2.840.10045.3.1.7"))
    with pytest.raises(Reject) as refused:
        _draft_with(tlv.sequence(curve, tlv.bit_string(compressed)))
    assert refused.value.reason is Reason.key_refused


def _draft_with(spki_der):
    from scepd.x509.certificate import draft_certificate
    from tests.x509.material import template

    return draft_certificate(template(), spki_der, issuer(), serial=SERIAL, now=NOW)


def test_C275_S104_serials_neither_repeat_nor_sort():
    source = random.Random(7)
    seen = [new_serial(source.randbytes) for _ in range(100_000 * int(os.environ.get("SCALE", "1")))]
    assert len(set(seen)) == len(seen)
    assert seen != sorted(seen)
    assert {serial.bit_length() for serial in seen} == {143}  # the fixed octet: never zero, top bit clear
    assert len({serial >> 136 for serial in seen}) == 1
    low = [(serial & ((1 << 136) - 1)).bit_count() for serial in seen]
    assert abs(sum(low) / len(low) - 68) < 1


def test_C275_S103_a_serial_is_18_octets_of_which_17_are_random():
    asked = []
    serial = new_serial(lambda size: asked.append(size) or b"\xff" * size)
    assert asked == [17]
    der = draft(serial=serial).der
    assert len(contents(tbs_fields(split(der)[0])[1])) == 18
    assert oracle.Certificate.load(der).serial_number == serial


@pytest.mark.parametrize(
    ("ends_in", "validity", "expected"),
    [
        (timedelta(days=100), timedelta(days=10), timedelta(days=10)),
        (timedelta(days=10), timedelta(days=10), timedelta(days=10)),
        (timedelta(days=10) - timedelta(seconds=1), timedelta(days=10), timedelta(days=10) - timedelta(seconds=1)),
        (timedelta(days=10) + timedelta(seconds=1), timedelta(days=10), timedelta(days=10)),
        (timedelta(seconds=60), timedelta(days=10), timedelta(seconds=60)),
        (timedelta(days=3000), timedelta(days=999_999), timedelta(days=3000)),
    ],
)
def test_C069_C284_S64_validity_never_outlives_the_issuer(ends_in, validity, expected):
    made = draft(by=issuer(end=NOW + ends_in), validity=validity)
    assert made.not_after == NOW + expected
    found = x509.load_der_x509_certificate(made.der)
    assert (found.not_valid_before_utc, found.not_valid_after_utc) == (made.not_before, made.not_after)
    assert made.not_before == NOW - timedelta(minutes=5)


@pytest.mark.parametrize("ends_in", [timedelta(seconds=59), timedelta(0), timedelta(seconds=-1)])
def test_C069_S64_an_issuer_about_to_end_issues_nothing(ends_in):
    with pytest.raises(Reject) as refused:
        draft(by=issuer(end=NOW + ends_in))
    assert refused.value.reason is Reason.validity_exhausted


def test_S64_validity_begins_no_earlier_than_the_issuers():
    made = draft(by=issuer(begin=NOW - timedelta(seconds=30)))
    assert made.not_before == NOW - timedelta(seconds=30)


def test_an_issuer_not_valid_yet_means_a_wrong_clock_of_ours():
    with pytest.raises(Unavailable):
        draft(by=issuer(begin=NOW + timedelta(seconds=1)))


def test_C276_times_have_whole_seconds():
    made = draft(now=NOW + timedelta(microseconds=999_999))
    times = elements(contents(tbs_fields(split(made.der)[0])[4]))
    assert times == [b"\x17\x0d260301115500Z", b"\x17\x0d270301120000Z"]
    assert (made.not_before.microsecond, made.not_after.microsecond) == (0, 0)


def test_C277_no_expiry_is_only_the_issuers_own():
    forever = issuer(end=NOW.replace(year=9999, month=12, day=31, hour=23, minute=59, second=59))
    made = draft(by=forever, validity=timedelta(days=999_999_999))
    assert tbs_fields(split(made.der)[0])[4].endswith(b"\x18\x0f99991231235959Z")
    assert lint(made.der, forever, "leaf") == []
    assert draft(by=forever).not_after == NOW + timedelta(days=365)


def test_C278_key_identifiers():
    sealed = leaf()
    authority = extension(sealed, x509.AuthorityKeyIdentifier)
    assert not authority.critical
    assert authority.value.key_identifier == issuer().key_identifier
    own = extension(sealed, x509.SubjectKeyIdentifier)
    assert own.value.digest == oracle.Certificate.load(sealed).public_key.sha1
    assert extension(ca_der(), x509.SubjectKeyIdentifier).value.digest == issuer().key_identifier


@pytest.mark.parametrize(
    ("key", "asked", "given"),
    [
        (rsa_key("device"), {"digitalSignature", "keyEncipherment"}, {"digitalSignature", "keyEncipherment"}),
        (ec_key("device"), {"digitalSignature", "keyEncipherment"}, {"digitalSignature"}),
        (ec_key("device"), {"keyAgreement", "encipherOnly"}, {"keyAgreement", "encipherOnly"}),
        (
            ed_key("device"),
            {"digitalSignature", "nonRepudiation", "keyAgreement"},
            {"digitalSignature", "nonRepudiation"},
        ),
        (rsa_key("device"), {"dataEncipherment", "keyAgreement"}, {"dataEncipherment"}),
    ],
)
def test_C279_key_usage_is_critical_and_what_the_key_can_do(key, asked, given):
    found = extension(draft(key=key, key_usage=frozenset(asked), extended_key_usage=()).der, x509.KeyUsage)
    assert found.critical
    assert key_usages(found.value) == given


def test_C279_a_key_that_can_do_nothing_is_refused():
    with pytest.raises(Reject) as refused:
        draft(key=ec_key("device"), key_usage=frozenset({"keyEncipherment"}))
    assert refused.value.reason is Reason.key_refused


def test_C280_basic_constraints():
    found = extension(leaf(), x509.BasicConstraints)
    assert (found.critical, found.value.ca, found.value.path_length) == (True, False, None)
    found = extension(ca_der(), x509.BasicConstraints)
    assert (found.critical, found.value.ca, found.value.path_length) == (True, True, 0)


def test_C281_names_are_critical_only_without_a_subject():
    assert not extension(leaf(), x509.SubjectAlternativeName).critical
    sealed = leaf(subject=())
    assert extension(sealed, x509.SubjectAlternativeName).critical
    assert lint(sealed, issuer(), "leaf") == []


def test_C281_addresses_have_4_and_16_octets():
    names = (GeneralName("ip", "192.0.2.7"), GeneralName("ip", "2001:db8::7"))
    parsed = oracle.Certificate.load(leaf(names=names)).subject_alt_name_value
    assert [len(name.chosen.contents) for name in parsed] == [4, 16]


def test_C282_C283_purposes_and_pointers_are_not_critical_and_the_profiles():
    sealed = leaf(extended_key_usage=("clientAuth", "1.2.3.4"))
    found = extension(sealed, x509.ExtendedKeyUsage)
    assert not found.critical
    assert [purpose.dotted_string for purpose in found.value] == ["1.3.6.1.5.5.7.3.2", "1.2.3.4"]
    points = extension(sealed, x509.CRLDistributionPoints)
    assert not points.critical
    assert [point.crl_issuer for point in points.value] == [None]


def test_S60_without_pointers_there_are_no_pointers():
    sealed = leaf(crl_urls=(), ocsp_urls=(), issuer_urls=(), names=(), extended_key_usage=())
    found = {one.oid.dotted_string for one in x509.load_der_x509_certificate(sealed).extensions}
    assert found == {"2.5.29.19", "2.5.29.15", "2.5.29.14", "2.5.29.35"}


@pytest.mark.parametrize("tags", [(12, 19), (19, 12)])
def test_C285_the_issuers_name_is_copied_octet_for_octet(tags):
    name = ((Attribute("2.5.4.10", "Example", tags[0]),), (Attribute("2.5.4.3", "CA", tags[1]),))
    key = ca_key("rsa")
    made = draft_ca_certificate(name, key.public_key(), serial=SERIAL, not_before=BEGIN, not_after=END)
    by = IssuerCertificate.load(seal(made.der, key, key.public_key()))
    assert tbs_fields(split(draft(by=by).der)[0])[3] == by.subject_der == tbs_fields(made.tbs)[5]


def test_C285_an_issuer_whose_name_cannot_be_copied_is_refused_at_load():
    unsorted = tlv.set_of((_pair("2.5.4.10", tlv.utf8("x")), _pair("2.5.4.3", tlv.utf8("x"))), sort=False)
    latin = tlv.set_of((_pair("2.5.4.3", b"\x14\x01\xe9"),))
    for rdn in (unsorted, latin):
        with pytest.raises(OperatorError, match="unreadable"):
            IssuerCertificate.load(bend(ca_der(), 5, tlv.sequence(rdn)))


def _pair(oid, value):
    return tlv.sequence(tlv.oid(oid), value)


def test_C286_strings_are_utf8_or_printable():
    subject = (
        (Attribute("2.5.4.6", "CH", 19),),
        (Attribute("2.5.4.10", "Beispiel GmbH & Söhne", 30),),
        (Attribute("2.5.4.3", "r1", 19), Attribute("2.5.4.5", "FTX1", 12)),
        (Attribute("2.5.4.11", "under_score", 19),),
    )
    parsed = oracle.Certificate.load(leaf(subject=subject)).subject
    kinds = {pair["type"].native: type(pair["value"].chosen).__name__ for rdn in parsed.chosen for pair in rdn}
    assert kinds == {
        "country_name": "PrintableString",
        "organization_name": "UTF8String",
        "common_name": "PrintableString",
        "serial_number": "PrintableString",
        "organizational_unit_name": "UTF8String",
    }


def test_S57_the_issuers_own_name_is_nobody_elses():
    for name in (CA_NAME, tuple((Attribute(a.oid, a.value, 19),) for (a,) in CA_NAME)):
        with pytest.raises(Reject) as refused:
            draft(subject=name)
        assert refused.value.reason is Reason.subject_refused


@pytest.mark.parametrize("path_length", [None, 0, 3])
def test_C280_ca_certificates(path_length, tmp_path):
    der = ca_der("p384", path_length=path_length)
    assert lint(der, None, "ca") == []
    found = extension(der, x509.KeyUsage).value
    assert key_usages(found) == {"keyCertSign", "cRLSign"}
    assert IssuerCertificate.load(der).path_length == path_length
    assert openssl_verify(tmp_path, der, der)[0] == 0


def test_a_ca_that_is_its_own_ra_has_the_transport_usages():
    key = rsa_key("ca")
    made = draft_ca_certificate(
        CA_NAME, key.public_key(), serial=SERIAL, not_before=BEGIN, not_after=END, transport=True
    )
    found = key_usages(extension(made.der, x509.KeyUsage).value)
    assert found == {"keyCertSign", "cRLSign", "digitalSignature", "keyEncipherment"}
    assert lint(made.der, None, "ca") == []


def test_C284_a_subordinate_ca_and_what_it_issues(tmp_path):
    root = issuer(path_length=1)
    made = sub_ca(root)
    assert lint(made.der, root, "ca") == []
    sub = IssuerCertificate.load(seal(made.der, ca_key("rsa"), root.public_key))
    assert sub.digest is Digest.SHA256
    sealed = seal(draft(by=sub).der, ec_key("sub"), sub.public_key)
    assert openssl_verify(tmp_path, sealed, sub.der, root.der)[1] == f"{tmp_path}/leaf.pem: OK\n"


def odd_ca(key):
    """Return the self-signed certificate of a CA whose encoding is not ours: T61String, a key identifier of its own, no NULL."""
    name = tlv.sequence(
        tlv.set_of((_pair("2.5.4.10", b"\x14\x08Old & Co"),)), tlv.set_of((_pair("2.5.4.3", b"\x13\x06Old CA"),))
    )
    plain = certificate(
        subject="CN=x",
        by="CN=x",
        key=key.public_key(),
        constraints=(x509.BasicConstraints(ca=True, path_length=None), True),
        usage=(usage("key_cert_sign", "crl_sign"), True),
        purposes=None,
        names=None,
        subject_key=(x509.SubjectKeyIdentifier(bytes(range(32))), False),
        authority_key=None,
    )
    spki = tlv.sequence(tlv.sequence(tlv.oid("1.2.840.113549.1.1.1")), elements(contents(tbs_fields(split(plain)[0])[6]))[1])
    return IssuerCertificate.load(seal(bend(bend(bend(plain, 3, name), 5, name), 6, spki), key, key.public_key()))


def test_C285_a_cross_certificate_has_the_other_cas_octets(tmp_path):
    key, root = rsa_key("another"), issuer(path_length=2)
    other = odd_ca(key)
    made = draft_ca_certificate(
        (), key.public_key(), issuer=root, serial=SERIAL, not_before=NOW, not_after=END, path_length=0, like=other
    )
    crossed = IssuerCertificate.load(seal(made.der, ca_key("rsa"), root.public_key))
    for index in (5, 6):  # subject, subjectPublicKeyInfo
        assert tbs_fields(made.tbs)[index] == tbs_fields(split(other.der)[0])[index]
    assert crossed.key_identifier == other.key_identifier == bytes(range(32))
    leaf_der = seal(draft(by=other).der, key, key.public_key())  # as the other CA issues it, knowing nothing of this
    for chain in ((other.der,), (crossed.der, root.der)):
        told = openssl_verify(tmp_path, leaf_der, *chain, at=NOW + timedelta(days=1))
        assert told[1].endswith(": OK\n"), told


def test_C285_a_stand_in_has_the_name_and_its_own_key():
    other, key = odd_ca(rsa_key("another")), ec_key("sub")
    made = draft_ca_certificate((), key.public_key(), serial=SERIAL, not_before=BEGIN, not_after=END, like=other)
    found = IssuerCertificate.load(seal(made.der, key, key.public_key()))
    assert (found.subject_der, found.key_identifier) == (other.subject_der, other.key_identifier)
    assert found.public_key == key.public_key()
    assert lint(made.der, None, "crossed") == []


def test_S64_a_ca_certificate_beyond_its_issuer_is_refused():
    with pytest.raises(OperatorError, match="outlive"):
        draft_ca_certificate(
            from_text("CN=Sub"),
            ec_key("sub").public_key(),
            issuer=issuer(),
            serial=SERIAL,
            not_before=BEGIN,
            not_after=END + timedelta(seconds=1),
        )


@pytest.mark.parametrize(
    ("role", "usages"),
    [
        ("sign", {"digitalSignature"}),
        ("decrypt", {"keyEncipherment"}),
        ("both", {"digitalSignature", "keyEncipherment"}),
    ],
)
def test_ra_certificates_have_the_usage_of_their_role(role, usages, tmp_path):
    made = ra(role)
    assert key_usages(extension(made.der, x509.KeyUsage).value) == usages
    assert lint(made.der, issuer(), "ra") == []
    sealed = seal(made.der, ca_key("rsa"), issuer().public_key)
    assert openssl_verify(tmp_path, sealed, ca_der())[0] == 0


def test_an_ra_key_that_decrypts_must_be_rsa():
    fields = {"issuer": issuer(), "serial": SERIAL, "now": NOW, "validity": timedelta(days=30)}
    key = ec_key("ra").public_key()
    assert lint(draft_ra_certificate(from_text("CN=RA"), key, role="sign", **fields).der, issuer(), "ra") == []
    with pytest.raises(OperatorError, match="RSA"):
        draft_ra_certificate(from_text("CN=RA"), key, role="both", **fields)


def test_tls_certificates(tmp_path):
    made = tls((GeneralName("dns", "scep.example.com"), GeneralName("ip", "::1")))
    assert lint(made.der, issuer(), "tls") == []
    sealed = seal(made.der, ca_key("rsa"), issuer().public_key)
    assert openssl_verify(tmp_path, sealed, ca_der())[0] == 0
    text = openssl("x509", "-noout", "-text", stdin=pem(sealed))[1]
    assert "CN = scep.example.com" in text
    assert "TLS Web Server Authentication" in text


def test_a_tls_certificate_for_a_long_name_has_no_subject():
    made = tls((GeneralName("dns", f"{'a' * 60}.example.com"),))
    assert lint(made.der, issuer(), "tls") == []
    assert extension(made.der, x509.SubjectAlternativeName).critical


def test_a_tls_certificate_needs_a_name():
    with pytest.raises(OperatorError, match="host name"):
        tls(())


def _self_signed(key, *extensions, name="CN=CA"):
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name.from_rfc4514_string(name))
        .issuer_name(x509.Name.from_rfc4514_string(name))
        .public_key(key.public_key())
        .serial_number(SERIAL)
        .not_valid_before(BEGIN)
        .not_valid_after(END)
    )
    for one, critical in extensions:
        builder = builder.add_extension(one, critical=critical)
    digest = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(key, digest).public_bytes(serialization.Encoding.DER)


CA_BITS = (x509.BasicConstraints(ca=True, path_length=None), True)
SIGNS = (usage("key_cert_sign"), True)
IDENTIFIED = (x509.SubjectKeyIdentifier(b"identifier"), False)


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: b"", "unreadable"),
        (leaf, "no CA"),
        (lambda: certificate(constraints=None), "no CA"),
        (lambda: _self_signed(rsa_key("ca"), CA_BITS), "keyCertSign"),
        (lambda: _self_signed(rsa_key("ca"), CA_BITS, (usage("crl_sign"), True)), "keyCertSign"),
        (lambda: _self_signed(rsa_key("ca"), CA_BITS, SIGNS), "subject key identifier"),
        (lambda: _self_signed(ed_key("ca"), CA_BITS, SIGNS, IDENTIFIED), "neither RSA nor EC"),
        (lambda: bend(ca_der(), 0, tlv.explicit(0, tlv.integer(1))), "unreadable"),
        (lambda: _self_signed(rsa_key("ca"), (raw("2.5.29.19", b"\x05\0"), True)), "unreadable"),
    ],
)
def test_what_cannot_issue_is_no_issuer(make, problem):
    with pytest.raises(OperatorError, match=problem):
        IssuerCertificate.load(make())


def test_S26_no_certificate_is_signed_with_an_old_digest_or_odd_curve():
    with pytest.raises(OperatorError, match="SHA1 signs no certificate"):
        IssuerCertificate.load(ca_der(), Digest.SHA1)
    with pytest.raises(OperatorError, match="secp256k1"):
        IssuerCertificate.load(_self_signed(ec.generate_private_key(ec.SECP256K1()), CA_BITS, SIGNS, IDENTIFIED))


def test_S57_an_issuers_own_limits_are_read():
    constraints = x509.NameConstraints([x509.DNSName("example.com")], None)
    feature = x509.TLSFeature([x509.TLSFeatureType.status_request])
    der = _self_signed(rsa_key("ca"), CA_BITS, SIGNS, IDENTIFIED, (constraints, True), (feature, False))
    loaded = IssuerCertificate.load(der)
    assert loaded.name_constraints == constraints
    assert loaded.tls_features == {5}
    assert loaded.key_identifier == b"identifier"


def test_S53_an_unencodable_template_is_refused():
    with pytest.raises(Reject) as refused:
        draft(subject=((Attribute("2.5.4.3", "x" * 65),),))
    assert refused.value.reason is Reason.subject_refused
    with pytest.raises(Reject) as refused:
        draft(names=(GeneralName("directory", "3000"),))
    assert refused.value.reason is Reason.name_refused


@pytest.mark.parametrize(
    "value", [b"\x1e\x02\0\xe9", b"\x1c\x04\0\0\0\xe9", b"\x14\x02\xc3\xa9", b"\x1a\x01a", b"\x12\x011"]
)
def test_C285_odd_string_types_of_an_old_ca_are_copied_too(value):
    odd = bend(bend(ca_der(), 5, _one(value)), 3, _one(value))
    by = IssuerCertificate.load(odd)
    assert by.subject_der == _one(value)
    made = draft(by=by)
    assert tbs_fields(made.tbs)[3] == by.subject_der
    assert lint(made.der, by, "leaf") == []


def _one(value):
    return tlv.sequence(tlv.set_of((_pair("2.5.4.3", value),)))


def test_C315_the_tls_feature_is_written_as_rfc_7633_says():
    der = leaf(tls_features=(5,))
    extension = x509.load_der_x509_certificate(der).extensions.get_extension_for_class(x509.TLSFeature)
    assert list(extension.value) == [x509.TLSFeatureType.status_request]
    assert extension.critical is False
    assert TLS_FEATURE_DER + bytes.fromhex("04053003020105") in der
    with pytest.raises(x509.ExtensionNotFound):
        x509.load_der_x509_certificate(leaf()).extensions.get_extension_for_class(x509.TLSFeature)
    assert tlv.oid(TLS_FEATURE) == TLS_FEATURE_DER


def test_C294_a_certificate_names_the_crl_of_its_shard_alone():
    where = Locations(("http://pki.example.net/crl/main.crl",), ("http://pki.example.net/ocsp",), ())
    assert where.of_shard(0) is where
    assert where.of_shard(2) == Locations(("http://pki.example.net/crl/main.2.crl",), ("http://pki.example.net/ocsp",))

"""CRLs: read back by cryptography and asn1crypto, verified by openssl."""

from datetime import UTC, datetime, timedelta

import asn1crypto.crl
import attrs
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from scepd.message import tlv
from scepd.message.algorithms import Digest
from scepd.records import Revocation, RevocationReason, RevokedEntry
from scepd.x509.crl import draft_crl, listed_entries, may_sign_crls, scope_extension, seal_crl, sign_crl
from scepd.x509.draft import SealError, split
from scepd.x509.issuer import IssuerCertificate
from tests.x509.material import NOW, SERIAL, ca_der, ca_key, certificate, issuer, leaf, openssl, pem, usage

WEEK = timedelta(days=7)
KINDS = ["rsa", "p256", "p384"]


def entry(serial=SERIAL, reason=RevocationReason.superseded, at=NOW - timedelta(hours=1), invalid_since=None):
    return RevokedEntry(serial, Revocation(at, reason, invalid_since))


def draft(*entries, by=None, number=7, now=NOW, until=None, **fields):
    until = until or now + WEEK
    return draft_crl(iter(entries), by or issuer(), number=number, this_update=now, next_update=until, **fields)


def crl_der(*entries, kind="rsa", **fields):
    made = draft(*entries, by=issuer(kind), **fields)
    return seal_crl(made, sign_crl(made, ca_key(kind)), issuer(kind))


def parsed(*entries, **fields):
    return x509.load_der_x509_crl(crl_der(*entries, **fields))


def entry_extensions(revoked):
    return {extension.value.__class__: extension for extension in revoked.extensions}


@pytest.mark.parametrize("kind", KINDS)
def test_C290_C285_C294_a_crl_has_version_2_our_name_times_and_both_extensions(kind):
    crl = parsed(entry(), kind=kind)
    assert crl.is_signature_valid(issuer(kind).certificate.public_key())
    assert crl.issuer.public_bytes() == issuer(kind).subject_der
    assert (crl.last_update_utc, crl.next_update_utc) == (NOW, NOW + WEEK)
    number, key_identifier = (
        crl.extensions.get_extension_for_class(kind) for kind in (x509.CRLNumber, x509.AuthorityKeyIdentifier)
    )
    assert (number.critical, number.value.crl_number) == (False, 7)
    assert key_identifier.critical is False
    assert key_identifier.value.key_identifier == issuer(kind).key_identifier
    # C-294: a CRL that covers everything has no issuingDistributionPoint, and nothing else beside the two.
    assert len(crl.extensions) == 2
    native = asn1crypto.crl.CertificateList.load(crl.public_bytes(serialization.Encoding.DER), strict=True)
    assert native["tbs_cert_list"]["version"].native == "v2"
    assert native["tbs_cert_list"]["signature"].native == native["signature_algorithm"].native
    assert [one["user_certificate"].native for one in native["tbs_cert_list"]["revoked_certificates"]] == [SERIAL]


@pytest.mark.parametrize(
    ("kind", "digest", "name"),
    [("rsa", Digest.SHA384, "sha384"), ("rsa", None, "sha256"), ("p384", None, "sha384"), ("p256", None, "sha256")],
)
def test_S26_the_issuers_key_and_digest_decide_the_algorithm(kind, digest, name):
    by = issuer(kind, digest)
    made = draft(by=by)
    crl = x509.load_der_x509_crl(seal_crl(made, sign_crl(made, ca_key(kind)), by))
    assert crl.signature_hash_algorithm.name == name
    assert crl.is_signature_valid(by.certificate.public_key())


def test_C290_a_number_has_at_most_20_octets_and_is_never_negative():
    largest = (1 << 159) - 1
    crl = parsed(number=largest)
    assert crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == largest
    assert len(tlv.integer(largest)) == 2 + 20
    for number in (largest + 1, -1):
        with pytest.raises(ValueError, match="CRL number"):
            draft(number=number)


def test_C295_a_crl_that_ends_before_it_begins_is_not_written():
    for until in (NOW, NOW - WEEK, NOW + timedelta(milliseconds=900)):
        with pytest.raises(ValueError, match="ends after"):
            draft(until=until)


def test_C291_without_entries_the_field_is_absent():
    made = draft()
    assert made.entries == 0
    assert listed_entries(made.tbs) == b""
    native = asn1crypto.crl.TbsCertList.load(made.tbs, strict=True)
    assert native["revoked_certificates"].native is None
    assert len(parsed()) == 0


@pytest.mark.parametrize("reason", [reason for reason in RevocationReason if reason])
def test_C292_a_reason_is_a_non_critical_code(reason):
    (revoked,) = parsed(entry(reason=reason))
    extension = entry_extensions(revoked)[x509.CRLReason]
    assert extension.critical is False
    assert extension.value.reason.value == reason.name
    (native,) = asn1crypto.crl.TbsCertList.load(draft(entry(reason=reason)).tbs)["revoked_certificates"]
    assert native["crl_entry_extensions"][0]["extn_value"].contents[-1] == int(reason)


def test_C292_unspecified_is_said_by_no_code_and_removeFromCRL_cannot_be_said():
    (revoked,) = parsed(entry(reason=RevocationReason.unspecified))
    assert len(revoked.extensions) == 0
    assert b"\x0a\x01\x00" not in listed_entries(draft(entry(serial=1, reason=RevocationReason.unspecified)).tbs)
    assert 8 not in {int(reason) for reason in RevocationReason}


@pytest.mark.parametrize("reason", [RevocationReason.keyCompromise, RevocationReason.unspecified])
def test_an_invalidity_date_is_a_generalized_time(reason):
    since = datetime(2025, 12, 24, 18, 30, 5, 999_999, tzinfo=UTC)
    (revoked,) = parsed(entry(reason=reason, invalid_since=since))
    extension = entry_extensions(revoked)[x509.InvalidityDate]
    assert extension.critical is False
    assert extension.value.invalidity_date_utc == since.replace(microsecond=0)
    assert len(revoked.extensions) == 1 + bool(reason)
    assert b"\x18\x0f20251224183005Z" in draft(entry(invalid_since=since)).tbs


def test_times_are_utc_time_to_2049_and_generalized_time_from_2050_and_whole_seconds():
    late = datetime(2049, 12, 31, 23, 59, 59, 700_000, tzinfo=UTC)
    made = draft(entry(at=late), entry(at=late + timedelta(seconds=1)), now=late)
    native = asn1crypto.crl.TbsCertList.load(made.tbs, strict=True)
    assert [native[field].name for field in ("this_update", "next_update")] == ["utc_time", "general_time"]
    dates = [one["revocation_date"].name for one in native["revoked_certificates"]]
    assert dates == ["utc_time", "general_time"]
    assert made.this_update == late.replace(microsecond=0)
    assert made.next_update == native["next_update"].native


def test_entries_keep_their_order_and_are_counted_across_chunks():
    serials = list(range(1, 1_202))
    made = draft(*(entry(serial) for serial in serials))
    assert made.entries == 1_201
    native = asn1crypto.crl.TbsCertList.load(made.tbs, strict=True)
    assert [one["user_certificate"].native for one in native["revoked_certificates"]] == serials
    assert draft(*(entry(serial) for serial in serials[:1_000])).entries == 1_000


def test_equal_entries_are_equal_octets_whatever_number_and_time():
    one = draft(entry(1), entry(2))
    assert listed_entries(one.tbs) == listed_entries(draft(entry(1), entry(2), number=8, now=NOW + WEEK).tbs)
    assert listed_entries(one.tbs) != listed_entries(draft(entry(1)).tbs)
    assert listed_entries(one.tbs) != listed_entries(draft(entry(1), entry(2, RevocationReason.keyCompromise)).tbs)


def test_S110_the_key_signs_the_digest_of_exactly_the_tbs_once():
    calls = []

    class Key(ec.EllipticCurvePrivateKey):
        curve = key_size = exchange = private_bytes = private_numbers = public_key = __copy__ = __deepcopy__ = None

        def sign(self, data, signature_algorithm):
            calls.append(data)
            return ca_key("p256").sign(data, signature_algorithm)

    made = draft(entry(), by=issuer("p256"))
    der = seal_crl(made, sign_crl(made, Key()), issuer("p256"))
    assert calls == [made.digest]
    assert split(der)[:2] == (made.tbs, made.algorithm)


def test_S110_a_key_that_hashes_itself_signs_the_tbs():
    class Key(rsa.RSAPrivateKey):
        hashes = frozenset({"SHA256"})
        key_size = decrypt = private_bytes = private_numbers = public_key = __copy__ = __deepcopy__ = None

        def sign(self, data, scheme, algorithm):
            assert data == made.tbs
            return ca_key("rsa").sign(data, scheme, algorithm)

    made = draft(entry())
    assert split(seal_crl(made, sign_crl(made, Key()), issuer()))[0] == made.tbs


@pytest.mark.parametrize("kind", KINDS)
def test_S110_a_signature_over_anything_else_raises_the_alarm(kind):
    made, other = draft(entry(1), by=issuer(kind)), draft(entry(2), by=issuer(kind))
    with pytest.raises(SealError, match="does not verify"):
        seal_crl(made, sign_crl(other, ca_key(kind)), issuer(kind))
    with pytest.raises(SealError, match="does not verify"):
        seal_crl(attrs.evolve(other, digest=made.digest), sign_crl(made, ca_key(kind)), issuer(kind))


def test_S110_octets_that_change_while_framed_raise_the_alarm(monkeypatch):
    made = draft(entry())
    signature = sign_crl(made, ca_key("rsa"))

    def flip(tbs, *rest):
        return tlv.sequence(tbs[:40] + bytes([tbs[40] ^ 1]) + tbs[41:], *rest)

    with monkeypatch.context() as patch:
        patch.setattr("scepd.x509.crl.tlv", type("Faulty", (), {"sequence": flip, "bit_string": tlv.bit_string}))
        with pytest.raises(SealError, match="not the draft's"):
            seal_crl(made, signature, issuer())


@pytest.mark.parametrize(("kind", "key"), [("rsa", "p256"), ("p256", "rsa")])
def test_S26_a_key_of_another_kind_signs_nothing(kind, key):
    with pytest.raises(SealError, match="not the key's"):
        sign_crl(draft(by=issuer(kind)), ca_key(key))


def test_S58_only_a_ca_with_cRLSign_may_sign_crls():
    assert may_sign_crls(issuer())
    without = certificate(
        constraints=(x509.BasicConstraints(ca=True, path_length=0), True), usage=(usage("key_cert_sign"), True)
    )
    assert not may_sign_crls(IssuerCertificate.load(without))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("revoked", [False, True])
def test_C284_C290_openssl_verifies_the_crl_and_the_certificate_against_it(kind, revoked, tmp_path):
    (tmp_path / "crl.der").write_bytes(crl_der(entry(SERIAL if revoked else SERIAL + 1), kind=kind))
    (tmp_path / "ca.pem").write_bytes(pem(ca_der(kind)))
    (tmp_path / "leaf.pem").write_bytes(pem(leaf(kind)))
    code, said = openssl(
        "crl", "-verify", "-inform", "DER", "-in", str(tmp_path / "crl.der"), "-CAfile", str(tmp_path / "ca.pem"),
        "-out", str(tmp_path / "crl.pem"),
    )  # fmt: skip
    assert (code, said.strip()) == (0, "verify OK")
    code, said = openssl(
        "verify", "-x509_strict", "-crl_check", "-attime", str(int(NOW.timestamp()) + 60),
        "-CAfile", str(tmp_path / "ca.pem"), "-CRLfile", str(tmp_path / "crl.pem"), str(tmp_path / "leaf.pem"),
    )  # fmt: skip
    assert (code != 0) is revoked
    assert ("certificate revoked" in said) is revoked


@pytest.mark.parametrize("kind", KINDS)
def test_C294_a_scope_is_a_critical_distribution_point_and_nothing_more(kind):
    urls = ["http://pki.example.net/crl/x.1.crl", "http://mirror.example.net/x.1.crl"]
    crl = parsed(entry(), kind=kind, scope=scope_extension(urls))
    found = crl.extensions.get_extension_for_class(x509.IssuingDistributionPoint)
    assert found.critical
    assert [name.value for name in found.value.full_name] == urls
    flags = ("only_contains_user_certs", "only_contains_ca_certs", "indirect_crl", "only_contains_attribute_certs")
    assert not any(getattr(found.value, flag) for flag in flags)
    assert found.value.only_some_reasons is None
    assert len(crl.extensions) == 3

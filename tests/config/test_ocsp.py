"""[issuer.NAME] ocsp: what is compiled, where certificates say that OCSP answers, and which keys may answer."""

from datetime import timedelta

import pytest

from scepd.config.issuer_settings import OcspSettings

from .pki import CA_USAGES, DAY, NOW, OCSP, base, certificate, pem

KEY = {"key": "pkcs11:token=scepd;object=devices-ocsp", "certificate": "devices-ocsp.pem"}


def answering(*, serves=("scep", "publication"), **ocsp):
    tables = base()
    tables["listener"]["plain"]["serves"] = list(serves)
    tables["issuer"]["devices"]["ocsp"] = {**KEY, **ocsp}
    return tables


def test_C306_an_ocsp_key_with_terms_that_hold_where_nothing_is_written(compiled):
    ocsp = compiled(answering()).issuer["devices"].ocsp
    assert ocsp == OcspSettings(KEY["key"], ocsp.certificate_der)
    assert (ocsp.valid, ocsp.cache, ocsp.certificate_valid) == (
        timedelta(hours=12),
        timedelta(minutes=5),
        timedelta(days=30),
    )
    own = compiled(answering(valid="1h", cache="0s", certificate_valid="7d")).issuer["devices"].ocsp
    assert (own.valid, own.cache, own.certificate_valid) == (timedelta(hours=1), timedelta(), timedelta(days=7))
    assert compiled(base()).issuer["devices"].ocsp is None


def test_certificates_say_where_a_plain_listener_answers(compiled):
    assert compiled(answering()).issuer["devices"].ocsp_urls == ("http://pki.example.net/ocsp",)
    assert compiled(answering(serves=["scep"])).issuer["devices"].ocsp_urls == ()
    assert compiled(base()).issuer["devices"].ocsp_urls == ()
    tables = answering()
    tables["issuer"]["devices"]["ocsp_urls"] = []
    assert compiled(tables).issuer["devices"].ocsp_urls == ()


def test_S109_the_first_certificate_may_have_ended_and_must_be_the_issuers_own(compiled, refused, site):
    assert NOW - DAY < NOW  # that of the installation has ended
    compiled(answering())
    (site / "devices-ocsp.pem").write_bytes(pem(certificate("ec-ocsp", name="OCSP", purposes=OCSP)))
    (problem,) = refused(answering())
    assert problem.path == "$.issuer.devices.ocsp.certificate"
    assert "is not signed by" in problem.reason


def test_S109_the_ocsp_key_has_no_other_role(refused, site):
    issued = {"issuer": "Devices CA", "signer": "ec-ca"}
    (site / "devices-ocsp.pem").write_bytes(pem(certificate("rsa-sign", name="OCSP", purposes=OCSP, **issued)))
    (problem,) = refused(answering())
    assert "certifies the same key as that of ra_sign" in problem.reason


def stapling(word, **ocsp):
    tables = answering(**ocsp)
    for profile in tables["profile"].values():
        profile["must_staple"] = word
    return tables


def test_C317_a_profile_staples_by_its_own_word(compiled):
    assert [profile.must_staple for profile in compiled(stapling("requested")).profiles] == ["requested"] * 2
    assert [profile.must_staple for profile in compiled(answering()).profiles] == ["never"] * 2


def test_C318_who_must_staple_needs_to_know_where_to_ask(refused):
    tables = stapling("always")
    tables["issuer"]["devices"]["ocsp_urls"] = []
    problems = refused(tables)
    assert [problem.path for problem in problems] == ["$.profile.routers.must_staple", "$.profile.lab.must_staple"]
    assert "do not say where" in problems[0].reason


@pytest.mark.parametrize(("features", "refusal"), [((5,), "to be stapled"), ((5, 17), "TLS feature 17")])
def test_C316_the_issuers_own_features_bind_its_profiles(compiled, refused, site, features, refusal):
    ca = certificate("ec-ca", ca=True, usages=CA_USAGES, features=features)
    (site / "devices-ca.pem").write_bytes(pem(ca))
    problems = refused(answering())
    assert [problem.path for problem in problems] == ["$.profile.routers.must_staple", "$.profile.lab.must_staple"]
    assert refusal in problems[0].reason
    if features == (5,):
        assert compiled(stapling("always")).profiles[0].must_staple == "always"

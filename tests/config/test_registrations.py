"""The RA of an issuer in its three forms (C-051, C-052, S-16), and CA certificates that are their own RA."""

import pytest

from .pki import CA_USAGES, NOW, RA_USAGES, base, certificate, pem, pix, sensors

RA = {"name": "RA", "issuer": "Sensors CA", "signer": "ec-sensors"}


def with_issuer(table, **profile):
    """Return the base configuration whose first profile uses another issuer."""
    tables = base()
    tables["issuer"]["other"] = table
    tables["profile"]["routers"] |= {"issuer": "other", **profile}
    return tables


def test_one_rsa_key_has_both_roles(compiled):
    issuer = compiled(with_issuer(sensors("sensors-ra-rsa.pem"))).issuer["other"]
    assert issuer.ra_sign == issuer.ra_decrypt
    assert issuer.has_one_ra_key
    assert issuer.recipients == (issuer.ra_sign,)
    assert not issuer.ca_is_ra


def test_C251_one_ec_key_takes_requests_by_password(compiled):
    issuer = compiled(with_issuer(sensors(), password_encryption=True)).issuer["other"]
    assert issuer.ra_sign.key == "pkcs11:object=sensors-ra"
    assert issuer.ra_decrypt is None
    assert issuer.recipients == ()


def test_C251_an_ec_signing_key_needs_no_decryption_key(compiled):
    table = sensors()
    table["ra_sign"] = table.pop("ra")
    assert compiled(with_issuer(table, password_encryption=True)).issuer["other"].ra_decrypt is None


@pytest.mark.parametrize("role", ["ra", "ra_sign"])
def test_C261_an_ec_ra_without_password_encryption_does_not_start(refused, role):
    table = sensors()
    table[role] = table.pop("ra")
    (problem,) = refused(with_issuer(table))
    assert problem.path == "$.profile.routers.password_encryption"
    assert "the RA key of issuer other cannot decrypt" in problem.reason
    assert "password_encryption = true" in problem.hint


def test_C261_every_profile_of_an_ec_ra_is_judged(refused):
    tables = with_issuer(sensors(), password_encryption=True)
    tables["profile"]["lab"]["issuer"] = "other"
    (problem,) = refused(tables)
    assert problem.path == "$.profile.lab.password_encryption"


def test_C261_the_issuer_that_follows_is_judged_too(refused):
    tables = base()
    tables["issuer"]["other"] = sensors()
    tables["issuer"]["devices"] |= {"next": "other", "next_from": NOW.replace(year=2031)}
    found = {problem.path for problem in refused(tables)}
    assert found == {"$.profile.routers.password_encryption", "$.profile.lab.password_encryption"}


def test_an_rsa_signing_key_needs_a_decryption_key(refused):
    tables = base()
    del tables["issuer"]["devices"]["ra_decrypt"]
    (problem,) = refused(tables)
    assert (problem.path, problem.reason) == ("$.issuer.devices.ra_decrypt", "is missing")


@pytest.mark.parametrize("role", ["ra_sign", "ra_decrypt"])
def test_S16_ra_excludes_the_pair(refused, role):
    tables = base()
    devices = tables["issuer"]["devices"]
    devices["ra"] = devices["ra_sign"]
    other = {"ra_sign": "ra_decrypt", "ra_decrypt": "ra_sign"}[role]
    del devices[other]
    found = {problem.path: problem.reason for problem in refused(tables)}
    assert found[f"$.issuer.devices.{role}"] == "ra has this role already"


@pytest.mark.parametrize("role", ["ra_sign", "ra_decrypt", "ra"])
def test_S16_a_ca_that_is_its_own_ra_has_no_other(refused, role):
    table = pix() | {role: sensors("sensors-ra-rsa.pem")["ra"]}
    (problem,) = refused(with_issuer(table))
    assert problem.path == f"$.issuer.other.{role}"
    assert "insecurely_ca_is_ra" in problem.reason


def test_C051_a_single_ra_key_needs_both_usages(refused, site):
    for usage, lacking in zip(RA_USAGES, ("may not be encrypted to", "may not sign replies"), strict=True):
        (site / "ra.pem").write_bytes(pem(certificate("rsa-sensors-ra", usages=(usage,), **RA)))
        (problem,) = refused(with_issuer(sensors("ra.pem")))
        assert problem.path == "$.issuer.other.ra.certificate"
        assert lacking in problem.reason


def test_S16_the_ca_key_is_no_ra_key_unless_it_is_said(refused, site):
    (site / "ra.pem").write_bytes(pem(certificate("ec-sensors", usages=RA_USAGES, **RA)))
    tables = with_issuer(sensors("ra.pem"), password_encryption=True)
    assert "certifies the same key as that of the issuer" in refused(tables)[0].reason
    tables = with_issuer(sensors("sensors-ra-rsa.pem"))
    tables["issuer"]["other"]["ra"]["key"] = tables["issuer"]["other"]["key"]
    (problem,) = refused(tables)
    assert problem.path == "$.issuer.other.ra.key"


def test_S16_a_former_key_is_none_of_the_present_ones(refused):
    table = sensors("sensors-ra-rsa.pem")
    table["ra_decrypt_previous"] = [table["ra"]]
    (problem,) = refused(with_issuer(table))
    assert problem.path == "$.issuer.other.ra_decrypt_previous[0].key"


def test_a_ca_that_is_its_own_ra_is_told_as_insecure(compiled):
    settings = compiled(with_issuer(pix()))
    issuer = settings.issuer["other"]
    assert issuer.ca_is_ra
    assert issuer.ra_sign == issuer.ra_decrypt
    assert (issuer.ra_sign.key, issuer.ra_sign.certificate_der) == (issuer.key, issuer.certificate_der)
    assert settings.insecure == ("issuer.other.insecurely_ca_is_ra",)


@pytest.mark.parametrize(
    ("key", "usages", "reason"),
    [
        ("rsa-pix", CA_USAGES, "may not sign replies and be encrypted to"),
        ("rsa-pix", (*CA_USAGES, "digital_signature"), "may not sign replies and be encrypted to"),
        ("rsa-pix", (*CA_USAGES, "key_encipherment"), "may not sign replies and be encrypted to"),
        ("ec-pix", (*CA_USAGES, *RA_USAGES), "has a key that cannot decrypt"),
    ],
)
def test_C051_a_ca_that_is_its_own_ra_has_both_usages_and_an_rsa_key(refused, site, key, usages, reason):
    (site / "pix-ca.pem").write_bytes(pem(certificate(key, name="PIX CA", ca=True, usages=usages)))
    problems = [one for one in refused(with_issuer(pix())) if reason in one.reason]
    assert [problem.path for problem in problems] == ["$.issuer.other.insecurely_ca_is_ra"]
    assert "ra_sign and ra_decrypt" in problems[0].hint


def test_C051_a_ca_without_key_usage_may_do_all(compiled, site):
    (site / "pix-ca.pem").write_bytes(pem(certificate("rsa-pix", name="PIX CA", ca=True)))
    assert compiled(with_issuer(pix())).issuer["other"].ca_is_ra


def test_former_keys_stay_accepted_beside_each_form(compiled, site):
    old = {"key": "pkcs11:object=old", "certificate": "old.pem"}
    (site / "old.pem").write_bytes(pem(certificate("rsa-old", usages=("key_encipherment",), **RA)))
    table = sensors("sensors-ra-rsa.pem") | {"ra_decrypt_previous": [old]}
    issuer = compiled(with_issuer(table)).issuer["other"]
    assert [one.key for one in issuer.recipients] == ["pkcs11:object=sensors-ra", "pkcs11:object=old"]


def test_C055_a_former_pair_keeps_its_signing_key_which_may_stand_twice(compiled, site):
    for name, usage in (("old", "key_encipherment"), ("older", "key_encipherment"), ("old-sign", "digital_signature")):
        (site / f"{name}.pem").write_bytes(pem(certificate(f"rsa-{name}", usages=(usage,), **RA)))
    sign = {"key": "pkcs11:object=old-sign", "certificate": "old-sign.pem"}
    former = [{"key": f"pkcs11:object={name}", "certificate": f"{name}.pem", "sign": sign} for name in ("old", "older")]
    issuer = compiled(with_issuer(sensors("sensors-ra-rsa.pem") | {"ra_decrypt_previous": former})).issuer["other"]
    assert [one.key for one in issuer.former_signers] == ["pkcs11:object=old-sign"]
    assert [one.sign for one in issuer.ra_decrypt_previous] == [*issuer.former_signers, *issuer.former_signers]


def test_C055_S16_a_former_signing_key_must_sign_and_be_a_key_of_its_own(refused, site):
    (site / "old.pem").write_bytes(pem(certificate("rsa-old", usages=("key_encipherment",), **RA)))
    old = {"key": "pkcs11:object=old", "certificate": "old.pem"}
    table = sensors("sensors-ra-rsa.pem") | {"ra_decrypt_previous": [old | {"sign": dict(old)}]}
    found = {problem.path: problem.reason for problem in refused(with_issuer(table))}
    assert "may not sign replies" in found["$.issuer.other.ra_decrypt_previous[0].sign.certificate"]
    assert "is the same key" in found["$.issuer.other.ra_decrypt_previous[0].sign.key"]


def test_a_ca_that_cannot_be_read_is_one_problem(refused, site):
    (site / "pix-ca.pem").unlink()
    (problem,) = refused(with_issuer(pix()))
    assert problem.path == "$.issuer.other.certificate"

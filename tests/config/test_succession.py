"""CA rollover in the configuration: who follows whom, when, with which certificates (C-060 to C-068, E7)."""

import datetime as dt

import pytest

from .pki import CA_USAGES, DAY, NOW, base, certificate, following, pem

AT = NOW + 100 * DAY


def rollover(at=AT, **keys):
    """Return the base configuration in which devices-2 follows."""
    tables = base()
    tables["issuer"]["devices-2"] = following()
    tables["issuer"]["devices"] |= {"next": "devices-2", "next_from": at, **keys}
    return tables


def write_next(site, *, begin=NOW - DAY, end=NOW + 3650 * DAY, ca="ec-ca-2", decrypt="rsa-decrypt-2"):
    """Write the certificates of devices-2 with other dates or keys."""
    dates = {"begin": begin, "end": end}
    ra = {"name": "RA", "issuer": "Devices CA", "signer": ca, **dates}
    (site / "devices-2-ca.pem").write_bytes(pem(certificate(ca, ca=True, usages=CA_USAGES, **dates)))
    (site / "devices-2-ra-sign.pem").write_bytes(pem(certificate("rsa-sign-2", usages=("digital_signature",), **ra)))
    (site / "devices-2-ra-decrypt.pem").write_bytes(pem(certificate(decrypt, usages=("key_encipherment",), **ra)))


def write_old(site, *, begin=NOW - 1000 * DAY, end):
    """Write the certificates of devices with other dates."""
    dates = {"begin": begin, "end": end}
    ra = {"name": "RA", "issuer": "Devices CA", "signer": "ec-ca", **dates}
    (site / "devices-ca.pem").write_bytes(pem(certificate("ec-ca", ca=True, usages=CA_USAGES, **dates)))
    (site / "devices-ra-sign.pem").write_bytes(pem(certificate("rsa-sign", usages=("digital_signature",), **ra)))
    (site / "devices-ra-decrypt.pem").write_bytes(pem(certificate("rsa-decrypt", usages=("key_encipherment",), **ra)))


def test_the_issuer_that_follows_with_the_same_subject(compiled):
    settings = compiled(rollover(next_overlap="10d"))
    succession = settings.issuer["devices"].next
    assert (succession.issuer, succession.at, succession.overlap) == ("devices-2", AT, 10 * DAY)
    assert settings.issuer["devices-2"].next is None
    assert {profile.issuer for profile in settings.profiles} == {"devices"}


def test_C067_the_overlap_is_thirty_days_unless_the_certificate_ends_before(compiled, site):
    assert compiled(rollover()).issuer["devices"].next.overlap == 30 * DAY
    write_old(site, end=AT + 7 * DAY)
    assert compiled(rollover()).issuer["devices"].next.overlap == 7 * DAY


@pytest.mark.parametrize(
    ("written", "moment"),
    [
        (dt.datetime(2031, 3, 1, 6, tzinfo=dt.UTC), dt.datetime(2031, 3, 1, 6, tzinfo=dt.UTC)),
        (dt.datetime(2031, 3, 1, 6, tzinfo=dt.timezone(dt.timedelta(hours=2))), dt.datetime(2031, 3, 1, 4, tzinfo=dt.UTC)),
        (dt.datetime(2031, 3, 1, 6, tzinfo=dt.UTC).replace(tzinfo=None), dt.datetime(2031, 3, 1, 6, tzinfo=dt.UTC)),
        (dt.date(2031, 3, 1), dt.datetime(2031, 3, 1, tzinfo=dt.UTC)),
    ],
)  # fmt: skip
def test_moments_are_utc(compiled, written, moment):
    at = compiled(rollover(written)).issuer["devices"].next.at
    assert (at, at.utcoffset()) == (moment, dt.timedelta())


def test_next_needs_its_moment(refused):
    tables = rollover()
    del tables["issuer"]["devices"]["next_from"]
    (problem,) = refused(tables)
    assert problem.path == "$.issuer.devices.next_from"
    assert problem.hint.startswith("next_from = ")


def test_a_moment_that_cannot_be_read_is_one_problem(refused):
    (problem,) = refused(rollover("soon"))
    assert (problem.path, problem.reason) == ("$.issuer.devices.next_from", "must be a date and time, not a text")


def test_a_name_that_cannot_be_read_is_one_problem(refused):
    tables = rollover()
    tables["issuer"]["devices"]["next"] = 2
    (problem,) = refused(tables)
    assert problem.path == "$.issuer.devices.next"


@pytest.mark.parametrize("back", ["devices", "devices-2"])
def test_nobody_follows_himself(refused, back):
    tables = rollover()
    tables["issuer"]["devices-2"] |= {"next": back, "next_from": AT + DAY}
    problems = refused(tables)
    assert any("would follow itself" in problem.reason for problem in problems)
    assert {problem.path.rpartition(".")[2] for problem in problems} == {"next"}


def test_a_line_of_three_in_its_order(compiled, refused, site):
    tables = rollover()
    third = {"name": "RA", "issuer": "Devices CA", "signer": "ec-ca-3"}
    (site / "3-ca.pem").write_bytes(pem(certificate("ec-ca-3", ca=True, usages=CA_USAGES)))
    (site / "3-sign.pem").write_bytes(pem(certificate("rsa-sign-3", usages=("digital_signature",), **third)))
    (site / "3-decrypt.pem").write_bytes(pem(certificate("rsa-decrypt-3", usages=("key_encipherment",), **third)))
    tables["issuer"]["devices-3"] = {
        "key": "pkcs11:object=3-ca",
        "certificate": "3-ca.pem",
        "ra_sign": {"key": "pkcs11:object=3-sign", "certificate": "3-sign.pem"},
        "ra_decrypt": {"key": "pkcs11:object=3-decrypt", "certificate": "3-decrypt.pem"},
    }
    tables["issuer"]["devices-2"] |= {"next": "devices-3", "next_from": AT + DAY}
    assert [one.next and one.next.issuer for one in compiled(tables).issuers] == ["devices-2", "devices-3", None]
    tables["issuer"]["devices-2"]["next_from"] = AT
    (problem,) = refused(tables)
    assert problem.path == "$.issuer.devices.next_from"
    assert "hands over itself" in problem.reason


@pytest.mark.parametrize(
    ("begin", "end", "reason"),
    [
        (AT + DAY, NOW + 900 * DAY, "begins only at 2030-09-10T12:00:00Z"),
        (NOW - DAY, AT, "ends at 2030-09-09T12:00:00Z"),
    ],
)
def test_C068_the_next_certificate_is_valid_when_it_takes_over(refused, site, begin, end, reason):
    write_next(site, begin=begin, end=end)
    problems = [problem for problem in refused(rollover()) if reason in problem.reason]
    assert [problem.path for problem in problems] == ["$.issuer.devices.next_from"]


def test_C068_an_issuer_that_only_follows_may_begin_later_than_now(compiled, refused, site):
    write_next(site, begin=AT - DAY)
    assert compiled(rollover()).issuer["devices"].next.at == AT
    tables = rollover()
    tables["profile"]["lab"]["issuer"] = "devices-2"
    assert {problem.path for problem in refused(tables)} == {
        "$.issuer.devices-2.certificate",
        "$.issuer.devices-2.ra_sign.certificate",
        "$.issuer.devices-2.ra_decrypt.certificate",
    }


def test_a_profile_may_use_the_issuer_that_follows(compiled):
    tables = rollover()
    tables["profile"]["lab"]["issuer"] = "devices-2"
    assert compiled(tables).profiles[1].issuer == "devices-2"


def test_the_old_certificate_must_last_until_the_next_takes_over(refused, site):
    write_old(site, end=AT - DAY)
    (problem,) = refused(rollover())
    assert problem.path == "$.issuer.devices.next_from"
    assert "nobody would issue from 2030-09-08T12:00:00Z on" in problem.reason
    assert problem.hint.startswith("next_from = 2030-0")


@pytest.mark.parametrize(("days", "hint"), [(5, 'next_overlap = "5d"'), (0, "an earlier next_from")])
def test_C067_the_overlap_ends_with_the_old_certificate(refused, site, days, hint):
    write_old(site, end=AT + days * DAY)
    (problem,) = refused(rollover(next_overlap="6d"))
    assert (problem.path, problem.hint) == ("$.issuer.devices.next_overlap", hint)
    assert "lasts longer than" in problem.reason


def test_after_the_switch_over_the_old_certificates_may_end(compiled, refused, site):
    write_old(site, end=NOW - DAY)
    write_next(site, begin=NOW - 100 * DAY)
    assert compiled(rollover(NOW - 20 * DAY)).issuer["devices"].next.overlap == 19 * DAY
    assert any("expired on" in problem.reason for problem in refused(base()))


def test_the_next_issuer_has_a_ca_key_of_its_own(refused, site):
    write_next(site, ca="ec-ca")
    (problem,) = refused(rollover())
    assert (problem.path, problem.reason) == ("$.issuer.devices.next", "devices-2 has the same CA key")
    tables = rollover()
    tables["issuer"]["devices-2"]["key"] = "pkcs11:object=devices-ca"
    write_next(site)
    (problem,) = refused(tables)
    assert problem.path == "$.issuer.devices.next"


def test_C066_the_next_ra_is_told_apart_by_its_key(refused, site):
    write_next(site, decrypt="rsa-decrypt")
    (problem,) = refused(rollover())
    assert (problem.path, problem.reason) == ("$.issuer.devices.next", "devices-2 has the same RA decryption key")


def test_C102_the_next_ra_is_told_apart_by_issuer_and_serial(refused, site, monkeypatch):
    # As a CA that counts its certificates from 1 makes them, twice under the same name.
    monkeypatch.setattr("tests.config.pki.x509.random_serial_number", lambda: 7)
    write_next(site)
    write_old(site, end=NOW + 3650 * DAY)
    (problem,) = refused(rollover())
    assert problem.path == "$.issuer.devices.next"
    assert "same issuer name and serial number" in problem.reason


def test_a_faulty_next_issuer_is_reported_as_such(refused):
    tables = rollover()
    del tables["issuer"]["devices-2"]["key"]
    assert [problem.path for problem in refused(tables)] == ["$.issuer.devices-2.key"]

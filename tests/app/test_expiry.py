"""The countdown of `scepd status`: every certificate, what is due, and what to do."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import attrs
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from scepd.app.expiry import count_days
from scepd.app.steady import steady
from scepd.config.issuer_settings import IssuerSettings, OcspSettings, RaSettings, SuccessionSettings
from scepd.config.listener_settings import ListenerSettings, TlsRenewal, TlsSettings
from scepd.records import Secret

NOW = datetime(2030, 1, 1, tzinfo=UTC)
KEY = ec.generate_private_key(ec.SECP256R1())


def certificate(days):
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")])
    end = NOW + timedelta(days=days)
    builder = x509.CertificateBuilder(name, name, KEY.public_key(), 5, datetime(2029, 1, 1), end.replace(tzinfo=None))  # noqa: DTZ001 - the builder's own
    return builder.sign(KEY, hashes.SHA256())


def der(days):
    return certificate(days).public_bytes(Encoding.DER)


def issuer(ca=3000, sign=3000, decrypt=3000, **changes):
    ra = (RaSettings("s", der(sign)), RaSettings("d", der(decrypt)))
    return attrs.evolve(IssuerSettings("devices", "ca", der(ca), (), *ra), **changes)


def listener(days, renewal=None):
    tls = TlsSettings(certificate(days).public_bytes(Encoding.PEM), Secret("k"), renewal=renewal)
    return ListenerSettings("public", (("127.0.0.1", 1),), tls, ("scep",))


@attrs.frozen
class Settings:
    issuers: tuple = ()
    listeners: tuple = ()


def due(settings):
    return {row["what"]: (row["days"], row["due"], row["do"]) for row in count_days(settings, NOW)}


def test_C6_nothing_is_due_early_and_everything_says_what_to_do():
    found = due(Settings((issuer(),), (listener(300),)))
    assert {what: row[1] for what, row in found.items()} == dict.fromkeys(
        ("issuer devices CA", "issuer devices RA signing", "issuer devices RA decryption", "listener public TLS"), False
    )
    assert all(row[2] for row in found.values())
    assert [row["days"] for row in count_days(Settings((issuer(),), (listener(300),)), NOW)] == [300, 3000, 3000, 3000]


@pytest.mark.parametrize(
    ("settings", "what", "words"),
    [
        (Settings((issuer(ca=364),)), "issuer devices CA", "scepd ca rollover devices"),
        (Settings((issuer(sign=59),)), "issuer devices RA signing", "scepd ca ra devices --pair"),
        (Settings((issuer(decrypt=59),)), "issuer devices RA decryption", "scepd ca ra devices --pair"),
        (Settings((issuer(chain=(der(100),)),)), "issuer devices chain", "the CA above"),
        (Settings((), (listener(29),)), "listener public TLS", "scepd reload"),
        (Settings((), (listener(29, TlsRenewal("devices", Path("tls.pem"))),)), "listener public TLS", "renews itself"),
    ],
)
def test_C6_what_ends_soon_is_due(settings, what, words):
    _, is_due, do = due(settings)[what]
    assert is_due
    assert words in do


def test_C6_former_ra_keys_are_counted_until_they_are_retired():
    former = RaSettings("old", der(900), RaSettings("old-sign", der(901)))
    found = due(Settings((issuer(ra_decrypt_previous=(former,)),)))
    for what, days in (("issuer devices former RA decryption", 900), ("issuer devices former RA signing", 901)):
        assert found[what][0] == days
        assert "scepd ca retire-ra devices" in found[what][2]


def test_S109_the_responders_newest_certificate_is_counted_and_due_when_its_renewal_is_late():
    settings = Settings((issuer(ocsp=OcspSettings("o", der(-40))),))
    for days, is_due in ((20, False), (8, False), (7, True), (-1, True)):
        rows = count_days(settings, NOW, {"devices": NOW + timedelta(days=days)})
        row = next(one for one in rows if one["what"] == "issuer devices OCSP")
        assert (row["days"], row["due"]) == (days, is_due)
        assert "responder_overdue" in row["do"]
    assert due(settings)["issuer devices OCSP"][:2] == (-40, True)  # nobody has read the store yet


@pytest.mark.parametrize(
    ("at", "what", "words"),
    [
        (timedelta(days=5), "issuer devices CA", ""),
        (timedelta(days=-5), "issuer devices CA (retired)", "answered until 2030-01-26"),
        (timedelta(days=-50), "issuer devices CA (retired)", "its key signs their CRL"),
    ],
)
def test_E7_a_ca_that_is_followed_is_counted_as_what_it_is(at, what, words):
    follows = SuccessionSettings("devices-2", NOW + at, timedelta(days=30))
    days, is_due, do = due(Settings((issuer(ca=200, next=follows),)))[what]
    assert (days, is_due) == (200, False)
    assert words in do


def test_a_ca_that_is_its_own_ra_is_counted_once():
    ra = RaSettings("ca", der(3000))
    one = IssuerSettings("pix", "ca", der(3000), (), ra, ra, ca_is_ra=True)
    single = attrs.evolve(one, name="lab", ca_is_ra=False)
    assert list(due(Settings((one,)))) == ["issuer pix CA"]
    assert list(due(Settings((single,)))) == ["issuer lab CA", "issuer lab RA signing"]


def test_S111_timers_are_counted_by_a_clock_that_nobody_sets(monkeypatch):
    from twisted.internet.selectreactor import SelectReactor

    reactor, called = steady(SelectReactor()), []
    reactor.callLater(30, called.append, 1)
    monkeypatch.setattr("time.time", lambda: 4e9)
    reactor.runUntilCurrent()
    assert called == []

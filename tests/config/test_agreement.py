"""What profiles, issuers and listeners must agree on."""

from datetime import date, timedelta

import pytest

from scepd.config.issuer_settings import CrlSettings
from scepd.config.settings import dump, restore

from .pki import base, following

SERVED = ["http://pki.example.net/crl/devices.crl"]


def publishing(**issuer):
    tables = base()
    tables["listener"]["plain"]["serves"] = ["scep", "publication"]
    tables["issuer"]["devices"] |= issuer
    return tables


def test_a_crl_is_made_where_nothing_is_written(compiled):
    settings = compiled(base())
    assert settings.issuer["devices"].crl == CrlSettings(timedelta(days=7), timedelta(days=1))
    assert settings.profiles[0].get_crl


def test_a_crl_by_hours(compiled):
    issuer = compiled(publishing(crl={"valid": "12h", "every": "1h"})).issuer["devices"]
    assert issuer.crl == CrlSettings(timedelta(hours=12), timedelta(hours=1))


def test_C283_certificates_name_the_crl_that_a_plain_listener_serves(compiled):
    settings = compiled(publishing())
    assert list(settings.issuer["devices"].crl_urls) == SERVED
    assert settings.listeners[0].serves == ("scep", "publication")


def test_C283_each_issuer_has_a_url_of_its_own(compiled):
    tables = publishing()
    tables["issuer"]["devices-2"] = following()
    assert compiled(tables).issuer["devices-2"].crl_urls == ("http://pki.example.net/crl/devices-2.crl",)


def test_C283_what_is_written_holds(compiled):
    assert compiled(publishing(crl_urls=[])).issuer["devices"].crl_urls == ()
    elsewhere = "http://crl.example.org/x.crl"
    assert compiled(publishing(crl_urls=[elsewhere])).issuer["devices"].crl_urls == (elsewhere,)


@pytest.mark.parametrize("url", [None, "https://pki.example.net"])
def test_C283_no_url_that_clients_could_not_use(compiled, url):
    tables = publishing()
    del tables["appliance"]["public_url"]
    if url is not None:
        tables["appliance"]["public_url"] = url
    assert compiled(tables).issuer["devices"].crl_urls == ()


def test_C283_no_url_where_only_tls_listeners_publish(compiled):
    tables = base()
    tables["listener"]["tls"]["serves"] = ["scep", "publication"]
    assert compiled(tables).issuer["devices"].crl_urls == ()


def test_C283_a_slash_at_the_end_of_the_url(compiled):
    tables = publishing()
    tables["appliance"]["public_url"] = "http://pki.example.net/"
    assert list(compiled(tables).issuer["devices"].crl_urls) == SERVED


def test_C231_get_crl_is_off_where_the_issuer_has_none(compiled):
    settings = compiled(publishing(crl=False, crl_urls=SERVED))
    assert settings.issuer["devices"].crl is None
    assert [profile.get_crl for profile in settings.profiles] == [False, False]


def test_no_crl_has_no_url(compiled):
    settings = compiled(publishing(crl=False, ocsp_urls=["http://ocsp.example.net/"]))
    assert settings.issuer["devices"].crl_urls == ()


def test_C231_get_crl_needs_a_crl(refused):
    tables = publishing(crl=False, crl_urls=SERVED)
    tables["profile"]["lab"]["get_crl"] = True
    (problem,) = refused(tables)
    assert problem.path == "$.profile.lab.get_crl"
    assert problem.hint == 'crl = { valid = "7d", every = "1d" } in [issuer.devices]; or get_crl = false'


def test_C231_get_crl_may_be_off(compiled):
    tables = publishing()
    tables["profile"]["lab"]["get_crl"] = False
    assert [profile.get_crl for profile in compiled(tables).profiles] == [True, False]


@pytest.mark.parametrize("switched_off", ["crl", "get_crl"])
def test_C268_a_revocation_can_be_learnt_somehow(refused, compiled, switched_off):
    tables = base()
    if switched_off == "crl":
        tables["issuer"]["devices"]["crl"] = False
    else:
        tables["profile"]["routers"]["get_crl"] = False
    problems = refused(tables)
    assert problems[0].path == "$.profile.routers.get_crl"
    assert "nobody could learn of a revocation" in problems[0].reason
    for key in ("crl_urls", "ocsp_urls"):
        tables["issuer"]["devices"][key] = ["http://elsewhere.example.net/x"]
        compiled(tables)
        del tables["issuer"]["devices"][key]


def test_C108_raw_requests_need_tls(refused):
    tables = base()
    tables["profile"]["routers"]["insecurely_accept_raw_csr"] = True
    tables["listener"]["tls"]["serves"] = ["publication"]
    (problem,) = refused(tables)
    assert problem.path == "$.profile.routers.insecurely_accept_raw_csr"
    assert "no listener serves scep with TLS" in problem.reason
    del tables["listener"]["tls"]
    assert len(refused(tables)) == 1


def test_C108_raw_requests_need_a_challenge(refused):
    tables = base()
    tables["profile"]["routers"] |= {
        "insecurely_accept_raw_csr": True,
        "challenge": [{"method": "one-time"}, {"method": "none"}],
        "approval": "manual",
    }
    (problem,) = refused(tables)
    assert problem.path == "$.profile.routers.insecurely_accept_raw_csr"
    assert "needs a challenge" in problem.reason


def test_some_listener_serves_scep(refused):
    tables = base()
    for listener in tables["listener"].values():
        listener["serves"] = ["publication"]
    (problem,) = refused(tables)
    assert (problem.path, problem.hint) == ("$.listener", 'serves = ["scep", "publication"]')


def test_settings_of_the_whole_protocol_travel_unchanged(compiled):
    tables = publishing(next="devices-2", next_from=date(2031, 3, 1))
    tables["issuer"]["devices-2"] = following()
    tables["profile"]["routers"] |= {
        "approval": {"automatic": {"subject": {"CN": "r.*"}, "networks": ["10.0.0.0/8"]}},
        "renewal": {"profiles": ["lab"]},
    }
    settings = compiled(tables)
    assert restore(dump(settings)) == settings


def test_S43_other_profiles_are_renewed_with_their_issuers(refused, compiled):
    tables = base()
    tables["issuer"]["devices-2"] = following()
    tables["profile"]["lab"]["issuer"] = "devices-2"
    tables["profile"]["routers"]["renewal"] = {"profiles": ["routers", "lab"]}
    (problem,) = refused(tables)
    assert (problem.path, problem.hint) == (
        "$.profile.routers.renewal.profiles[1]",
        'issuers = ["devices-2"] beside it',
    )
    tables["profile"]["routers"]["renewal"]["issuers"] = ["devices-2"]
    assert compiled(tables).profiles[0].renewal.issuers == ("devices-2",)


def test_S43_an_issuer_that_follows_is_known(compiled):
    tables = base()
    tables["issuer"]["devices-2"] = following()
    tables["issuer"]["devices"] |= {"next": "devices-2", "next_from": date(2031, 3, 1)}
    tables["profile"]["lab"]["issuer"] = "devices-2"
    tables["profile"]["routers"]["renewal"] = {"profiles": ["lab"]}
    assert compiled(tables).profiles[0].renewal.profiles == ("lab",)

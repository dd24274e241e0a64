"""Tenants: which profiles they hold, how these are reached, and what they never share."""

import pytest

from scepd.config.settings import TenantSettings

from .pki import base, sensors, write_configuration
from .test_bad_values import NOT_NAME

ONE_TIME = [{"method": "one-time"}]


def tenanted(**tenants):
    """The base, with a profile for each of two tenants beside its own, and those tenants."""
    tables = base()
    tables["profile"]["acme-phones"] = {"issuer": "devices", "path": "phones", "challenge": ONE_TIME}
    tables["profile"]["globex-phones"] = {"issuer": "devices", "path": "phones", "challenge": ONE_TIME}
    acme, globex = {"profiles": ["acme-phones"]}, {"profiles": ["globex-phones"]}
    tables["tenant"] = {"acme": acme, "globex": globex} | tenants
    return tables


@pytest.fixture
def problem_of(refused):
    def find(tables):
        (problem,) = refused(tables)
        assert problem.hint
        return problem.path.removeprefix("$."), problem.reason

    return find


def test_tenants_compile(compiled):
    tables = tenanted()
    tables["tenant"]["acme"]["administrators"] = ["alice", "bob", "alice"]
    settings = compiled(tables)
    assert settings.tenants == (
        TenantSettings("acme", ("acme-phones",), "acme-phones", ("devices",), ("alice", "bob")),
        TenantSettings("globex", ("globex-phones",), "globex-phones", ("devices",)),
    )
    tenant = {profile.name: (profile.tenant, profile.default) for profile in settings.profiles}
    assert tenant == {
        "routers": ("", True),
        "lab": ("", False),
        "acme-phones": ("acme", True),
        "globex-phones": ("globex", True),
    }
    assert settings.default_profile.name == "routers"


def test_without_tenants_there_are_none(compiled):
    assert compiled(base()).tenants == ()


def test_issuers_follow_from_the_profiles(compiled):
    tables = tenanted()
    tables["issuer"]["sensors"] = sensors("sensors-ra-rsa.pem")
    tables["profile"]["acme-phones"]["issuer"] = "sensors"
    assert compiled(tables).tenants[0].issuers == ("sensors",)


def test_a_tenant_has_a_default_profile_of_its_own(compiled, problem_of):
    tables = tenanted(acme={"profiles": ["acme-phones", "lab"]})
    _, reason = problem_of(tables)
    assert reason == "no profile is the default one"
    tables["profile"]["lab"]["default"] = True
    settings = compiled(tables)
    assert settings.tenants[0].default == "lab"
    assert settings.default_profile.name == "routers"


def test_everything_may_belong_to_tenants(compiled):
    tables = tenanted(acme={"profiles": ["acme-phones", "lab", "routers"]})
    settings = compiled(tables)
    assert settings.tenants[0].default == "routers"
    assert settings.default_profile.tenant == "acme"


def test_paths_are_a_tenant_s_own(compiled, problem_of):
    tables = tenanted()
    assert [profile.segment for profile in compiled(tables).profiles][2:] == ["phones", "phones"]
    tables["profile"]["lab"]["path"] = "phones"
    tables["profile"]["acme-phones"]["default"] = True
    tables["tenant"]["acme"]["profiles"].append("lab")
    path, reason = problem_of(tables)
    assert path.endswith(".path")
    assert "'phones' is the path of profile" in reason


@pytest.mark.parametrize(
    "name",
    ["scep", "scep-mtls", "scep-raw", "cgi-bin", "crl", "ocsp", "ca", "api", "livez", "readyz", "metrics"],
)
def test_S73_a_tenant_takes_no_path_of_the_server(problem_of, name):
    tables = tenanted()
    tables["tenant"][name] = tables["tenant"].pop("acme")
    path, reason = problem_of(tables)
    assert path == f"tenant.{name}"
    assert "path of the server's own" in reason


@pytest.mark.parametrize("name", [*(name for name, _ in NOT_NAME if name), ".well-known", "a_b", "acme.example"])
def test_S73_a_tenant_s_name_is_one_segment(refused, name):
    tables = tenanted()
    tables["tenant"][name] = tables["tenant"].pop("acme")
    reasons = [problem.reason for problem in refused(tables)]
    assert any("cannot be a" in reason for reason in reasons), reasons


def test_tenants_share_no_profile(problem_of):
    tables = tenanted(globex={"profiles": ["acme-phones"]})
    del tables["profile"]["globex-phones"]
    assert problem_of(tables) == ("tenant.globex.profiles[0]", "acme-phones belongs to tenant acme already")


def test_a_profile_stands_once(problem_of):
    tables = tenanted(acme={"profiles": ["acme-phones", "acme-phones"]})
    assert problem_of(tables)[0] == "tenant.acme.profiles[1]"


def test_S43_renewal_stays_inside_a_tenant(problem_of, compiled):
    tables = tenanted()
    tables["profile"]["acme-phones"]["renewal"] = {"profiles": ["globex-phones"]}
    path, reason = problem_of(tables)
    assert path == "profile.acme-phones.renewal.profiles[0]"
    assert reason == "globex-phones belongs to another tenant"
    tables["profile"]["acme-phones"]["renewal"] = {"profiles": ["acme-phones"]}
    assert compiled(tables)


def test_S43_nothing_is_public_where_tenants_share_an_issuer(problem_of, compiled):
    tables = tenanted()
    tables["profile"]["acme-phones"]["get_cert"] = "public"
    path, reason = problem_of(tables)
    assert path == "profile.acme-phones.get_cert"
    assert "serves other tenants too" in reason
    tables["issuer"]["sensors"] = sensors("sensors-ra-rsa.pem")
    tables["profile"]["acme-phones"]["issuer"] = "sensors"
    assert compiled(tables)


def test_tenants_may_stand_in_files_of_their_own(site, compiled):
    (site / "conf.d").mkdir()
    write_configuration(site / "conf.d", {"tenant": {"acme": {"profiles": ["lab"]}}}, "acme.toml")
    tables = base() | {"include": ["conf.d/*.toml"], "tenant": {"globex": {"profiles": ["routers"]}}}
    assert [tenant.name for tenant in compiled(tables).tenants] == ["globex", "acme"]

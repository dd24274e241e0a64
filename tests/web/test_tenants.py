"""Tenants over HTTP: each profile answers below its own tenant and nowhere else, to its own devices alone."""

import attrs
import pytest

from scepd.app.endpoints import default_key
from scepd.web.scep import raw_routes, routes
from tests import make
from tests.config import pki
from tests.wire.test_messages import renew
from tests.wire.world import Server
from tests.world import STATIC, make_keys

from .test_scep import Room

PROGRAM = "pkiclient.exe"
TENANTS = {"plain": "", "acme-phones": "acme", "globex-phones": "globex"}
PATHS = {"plain": "/scep/plain", "acme-phones": "/acme/scep/phones", "globex-phones": "/globex/scep/phones"}
SECRETS = {
    "plain": ("static", STATIC),
    "acme-phones": ("lab-challenge", pki.secrets()["lab-challenge"].decode().strip()),
    "globex-phones": ("webhook-key", pki.secrets()["webhook-key"].decode().strip()),
}


# Routes


def test_S73_every_route_of_a_tenant_is_explicit():
    plain, phones, tablets = (Room(name).endpoint for name in ("plain", "phones", "tablets"))
    table = routes({"plain": plain, "acme/phones": phones, "acme/": phones, "acme/tablets": tablets}, "plain")
    assert {path.decode() for path, endpoint in table.items() if endpoint is tablets} == {
        "/acme/scep/tablets", "/acme/scep/tablets/", f"/acme/scep/tablets/{PROGRAM}", f"/acme/scep/tablets/{PROGRAM}/",
    }  # fmt: skip
    own = {"/acme/scep/phones", f"/acme/scep/phones/{PROGRAM}", "/acme/scep", f"/acme/scep/{PROGRAM}"}
    own |= {f"/acme/cgi-bin/{PROGRAM}", f"/acme/{PROGRAM}"}
    of_phones = {path.decode() for path, endpoint in table.items() if endpoint is phones}
    assert of_phones == own | {f"{path}/" for path in own}
    assert all(not path.startswith(b"/acme") for path, endpoint in table.items() if endpoint is plain)


def test_raw_routes_stand_below_the_tenant():
    room = Room("phones")
    raw = attrs.evolve(room.endpoint, answer_raw=room.answer_raw)
    assert set(raw_routes({"acme/phones": raw, "acme/": raw, "plain": raw})) == {
        b"/acme/scep-raw/phones", b"/scep-raw/plain",
    }  # fmt: skip


# The whole way


@pytest.fixture(scope="module")
def keys():
    return make_keys()


@pytest.fixture
def server(keys, tmp_path):
    """Two tenants with one profile each at the same path, beside a profile that has none; one issuer for all."""
    profiles = {
        name: {"challenge": [{"method": "static", "secret": {"file": SECRETS[name][0]}}], "renewal": {"earliest": 0}}
        for name in TENANTS
    }

    def divide(settings):
        divided = (
            attrs.evolve(profile, tenant=tenant, path=PATHS[profile.name].rpartition("/")[2], default=True)
            for profile in settings.profiles
            if (tenant := TENANTS[profile.name]) is not None
        )
        return attrs.evolve(settings, profiles=tuple(divided))

    return Server(keys, tmp_path, profiles, settings=divide)


def enrol(server, profile, path, transaction):
    """Ask at a path with a profile's own challenge; return whether there is a certificate."""
    body = make.pkcs_req(challenge=SECRETS[profile][1], recipient=server.ra, transaction_id=transaction)
    reply = server.post(body, path=path.encode())
    assert reply.status == 200
    return reply.body, server.read(reply.body).status == 0


def test_S09_S43_a_challenge_is_good_in_its_own_tenant_alone(server):
    matrix = {
        (one, other): enrol(server, one, path, f"{one} at {other}")[1]
        for one in TENANTS
        for other, path in PATHS.items()
    }
    assert {pair for pair, issued in matrix.items() if issued} == {(name, name) for name in TENANTS}
    assert sorted(row.profile for row in server.world.issued()) == sorted(TENANTS)


def test_S43_a_certificate_is_renewed_in_its_own_tenant_alone(server):
    for name, path in PATHS.items():
        body, issued = enrol(server, name, path, f"first {name}")
        assert issued
        held = make.Party(make.device().key, server.leaf(body, make.device()))
        for other, elsewhere in PATHS.items():
            if other == name:
                continue
            again = renew(server, held, make.key(f"{name}"), transaction_id=f"{name} renews at {other}")
            answer = server.post(again, path=elsewhere.encode())
            assert server.read(answer.body).status == 2, (name, other)
        again = renew(server, held, make.key(f"{name}"), transaction_id=f"{name} renews")
        assert server.read(server.post(again, path=path.encode()).body).status == 0


@pytest.mark.parametrize(
    "path",
    [
        "/scep/phones", "/scep/acme-phones", "/scep/acme/phones", "/acme", "/acme/", "/acme/scep/plain", "/acme/plain",
        "/acme/scep/acme-phones", "/ACME/scep/phones", "/acme//scep/phones", "/acme/scep//phones", "/acme/%73cep/phones",
        "/acme/../globex/scep/phones", "/acme/scep/../../globex/scep/phones", "/acme/scep/phones/..", "/acme;/scep/phones",
        "/globex/acme/scep/phones", "/initech/scep", "/initech/scep/phones", "/acme/scep-mtls/phones", "/scep-mtls/phones",
        "/acme/scep-raw/phones", "/scep-raw/phones", "/acme/crl/devices.crl", "/acme/livez", "/acme%2Fscep/phones",
    ],
)  # fmt: skip
def test_S73_no_other_path_leads_into_a_tenant(server, path):
    reply = server.get(b"operation=GetCACaps", path=path.encode())
    assert (reply.status, b"AES" in reply.body) == (404, False)


@pytest.mark.parametrize("tenant", ["acme", "globex"])
@pytest.mark.parametrize("path", ["/{}/scep", "/{}/scep/", "/{}/scep/pkiclient.exe", "/{}/cgi-bin/pkiclient.exe"])
def test_the_default_profile_of_a_tenant_answers_for_it(server, tenant, path):
    body = make.pkcs_req(
        challenge=SECRETS[f"{tenant}-phones"][1], recipient=server.ra, transaction_id=f"{tenant} default"
    )
    reply = server.post(body, path=path.format(tenant).encode())
    assert server.read(reply.body).status == 0
    assert [row.profile for row in server.world.issued()] == [f"{tenant}-phones"]


def test_where_tenants_have_every_profile_the_plain_paths_are_nobody_s(server):
    assert default_key(server.settings) == "plain"
    tenanted = tuple(profile for profile in server.settings.profiles if profile.tenant)
    assert default_key(attrs.evolve(server.settings, profiles=tenanted)) is None

"""Tenants behind Debian's nginx with the shipped configuration: clients, addresses, and nobody in another's tenant."""

import base64
import json
import pwd
import re
import secrets
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import attrs
import pytest

from scepd.message.certrep import read_certrep
from scepd.message.names import PkiStatus
from tests import make
from tests.live import clients
from tests.live.device import EVERYTHING, certificate
from tests.live.http_wire import Wire, request
from tests.live.nginx import Nginx
from tests.live.opened import opened
from tests.live.server import copy_of, run
from tests.ports import free_port

pytestmark = pytest.mark.live

SHIPPED = Path(__file__).parents[2] / "etc/nginx/tenant.conf"
TENANTS = {"mytenant": "fleet", "other": "robots"}
# A second tenant without a rewrite, as the manual's text has it for paths that stay as they are.
OTHER = """
        location /other/ {{
            proxy_pass http://127.0.0.1:{port};
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        }}
"""
OUTSIDE = {"mytenant": "/my/scep", "other": "/other/scep"}
CONFIG = """
[listener.behind]
address = "127.0.0.1:{port}"
trusted_proxies = "networks.txt"
client_address_header = "X-Forwarded-For"

[listener.asking]
address = "127.0.0.1:{asking}"
tls = {{ certificate = "tls.pem", key = {{ file = "tls.key" }} }}
client_certificates = "optional"
serves = ["publication"]

[profile.fleet]
issuer = "devices"
challenge = [{{ method = "one-time" }}]

[profile.robots]
issuer = "devices"
challenge = [{{ method = "one-time" }}]

[tenant.mytenant]
profiles = ["fleet"]
administrators = ["alice", "nobody"]

[tenant.other]
profiles = ["robots"]
"""


@attrs.frozen
class Site:
    """A server with two tenants, the nginx before it, and what a device knows of the RA."""

    server: object
    nginx: Nginx
    behind: int
    sign: bytes
    decrypt: bytes

    def ask(self, octets, *, port=None, source="127.0.0.1"):
        with Wire(port or self.nginx.port, source=source) as wire:
            return wire.send(octets).reply()

    def message(self, challenge):
        return make.pkcs_req(
            challenge=challenge, subject=make.name(CN="tenant"), signer=make.party("tenant"),
            recipient=make.Party(None, self.decrypt), transaction_id=secrets.token_hex(12),
            signing_time=datetime.now(UTC),
        )  # fmt: skip

    def enrol(self, path, challenge):
        """Return the status of the CertRep that comes for such a challenge at such a path."""
        reply = self.ask(request("POST", f"{path}?operation=PKIOperation", self.message(challenge)))
        assert reply.status == 200, reply
        return read_certrep(reply.body, trusted=[self.sign]).status


@pytest.fixture(scope="module")
def site(template, place):
    server = copy_of(template, place / "tenants")
    server.edit(r"^workers = \d+", "workers = 2")
    port = free_port()
    (server.directory / "networks.txt").write_text("127.0.0.1  # nginx\n")
    with server.config.open("a") as config:
        config.write(CONFIG.format(port=port, asking=free_port()))
    shipped = SHIPPED.read_text()
    assert "127.0.0.1:8080" in shipped
    server.start()
    body = shipped.replace("127.0.0.1:8080", f"127.0.0.1:{port}") + OTHER.format(port=port)
    nginx = Nginx.start(server.directory / "nginx", body)
    sign, decrypt = (certificate(server, f"devices-ra-{role}") for role in ("sign", "decrypt"))
    try:
        yield Site(server, nginx, port, sign, decrypt)
    finally:
        nginx.stop()
        status = server.stop()
    assert status in {0, -signal.SIGTERM}
    assert "unexpected" not in server.log.read_text()
    server.check_store()


def call_as(user, site, method, path, **body):
    """Call the desk as that user of this machine; return status and value."""
    who = pwd.getpwnam(user)
    done = subprocess.run(
        ["curl", "--silent", "--show-error", "--unix-socket", site.server.directory / "run" / "desk.sock", "-X", method,
         "-H", "Content-Type: application/json", "-d", json.dumps(body), "-w", "\n%{http_code}", f"http://desk/api/v1{path}"],
        user=who.pw_uid, group=who.pw_gid, extra_groups=[], capture_output=True, text=True, check=False, cwd="/",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    value, _, status = done.stdout.rpartition("\n")
    return int(status), json.loads(value)


LISTENER = """
import os, socket, sys
os.setgroups([])
os.setgid(int(sys.argv[2]))
os.setuid(int(sys.argv[3]))
desk = socket.socket(socket.AF_UNIX)
desk.settimeout(20)
desk.connect(sys.argv[1])
print(desk.makefile("rb").read().decode())
"""


def told_before_asking(user, site):
    """Return what the desk says to that user of this machine, who connects and sends nothing, until it closes."""
    who = pwd.getpwnam(user)
    desk = site.server.directory / "run" / "desk.sock"
    return run(sys.executable, "-I", "-c", LISTENER, desk, who.pw_gid, who.pw_uid).stdout


def test_S09_an_administrator_of_a_tenant_keeps_to_it(site, place):
    for directory in (place, site.server.directory):
        directory.chmod(0o711)  # as /run is
    status, made = call_as("nobody", site, "POST", "/challenges", profile="fleet")
    assert status == 200
    assert site.enrol("/my/scep", made[0]["challenge"]) is PkiStatus.SUCCESS
    assert call_as("nobody", site, "POST", "/challenges", profile="robots")[0] == 404
    theirs = site.server.challenge(profile="robots")
    numbers = {row["id"]: row["profile"] for row in json.loads(site.server.scepd("challenge", "list", "--json").stdout)}
    seen = call_as("nobody", site, "GET", "/challenges")[1]
    assert {row["profile"] for row in seen} == {"fleet"}
    other = max(number for number, profile in numbers.items() if profile == "robots")
    assert call_as("nobody", site, "DELETE", f"/challenges/{other}")[0] == 404
    assert site.enrol("/other/scep", theirs) is PkiStatus.SUCCESS
    assert call_as("nobody", site, "POST", "/requests/adopt", node="n2")[0] == 403
    assert told_before_asking("daemon", site).startswith("HTTP/1.1 403 ")  # nobody's administrator
    assert "user nobody" in {row["created_by"] for row in seen}
    control = site.server.directory / "run" / "control.sock"
    assert control.stat().st_mode & 0o777 == 0o600


def url(site, tenant):
    return f"http://127.0.0.1:{site.nginx.port}{OUTSIDE[tenant]}"


def test_a_real_client_enrols_through_the_rewrite(site, tmp_path):
    challenge = site.server.challenge(profile="fleet")
    result = clients.strongswan(url(site, "mytenant"), tmp_path, challenge, ca=site.server.ca)
    assert result.certificate, result.words
    run("openssl", "verify", "-CAfile", site.server.ca, result.certificate)


def test_our_client_enrols_in_the_other_tenant(site, tmp_path):
    run(
        *site.server.client("enroll"), "--url", url(site, "other"), "--challenge", site.server.challenge(profile="robots"),
        "--fingerprint", site.server.fingerprint(), "--cn", "robot", "--key", tmp_path / "r.key", "--out", tmp_path / "r.pem",
    )  # fmt: skip
    run("openssl", "verify", "-CAfile", site.server.ca, tmp_path / "r.pem")


def test_a_message_in_a_GET_comes_through_the_rewrite(site):
    message = quote(base64.b64encode(site.message(site.server.challenge(profile="fleet"))), safe="")
    reply = site.ask(request("GET", f"/my/scep?operation=PKIOperation&message={message}"))
    assert read_certrep(reply.body, trusted=[site.sign]).status is PkiStatus.SUCCESS


def test_S09_S43_a_challenge_is_good_in_its_own_tenant_alone(site):
    matrix = {
        (one, other): site.enrol(OUTSIDE[other], site.server.challenge(profile=TENANTS[one]))
        for one in TENANTS
        for other in TENANTS
    }
    assert {pair for pair, status in matrix.items() if status is PkiStatus.SUCCESS} == {(one, one) for one in TENANTS}


@pytest.mark.parametrize("profile", TENANTS.values())
def test_S43_the_server_s_own_profile_takes_no_tenant_s_challenge(site, profile):
    challenge = site.server.challenge(profile=profile)
    body = site.message(challenge)
    reply = site.ask(request("POST", "/scep?operation=PKIOperation", body), port=site.behind)
    assert read_certrep(reply.body, trusted=[site.sign]).status is PkiStatus.FAILURE


@pytest.mark.parametrize(
    "path",
    [
        "/scep", "/scep/fleet", "/scep/robots", "/mytenant/scep", "/mytenant/scep/fleet", "/my/scep/robots",
        "/my/scep/../../other/scep/robots", "/my/scep/%2e%2e/%2e%2e/scep/static", "/my/scepter", "/my/scep-mtls/fleet",
        "/my/scep/fleet/../robots", "/other/scep/fleet", "/other/../scep/static", "/other/livez",
    ],
)  # fmt: skip
def test_S73_no_path_outside_leads_out_of_a_tenant(site, path):
    reply = site.ask(request("GET", f"{path}?operation=GetCACaps"))
    assert reply.status in {400, 404}, reply


@pytest.mark.parametrize(
    "path", ["/my/scep/fleet", "/my/scep/fleet/pkiclient.exe", "/my/scep/", "/my/scep/pkiclient.exe"]
)
def test_every_path_of_the_tenant_comes_through(site, path):
    reply = site.ask(request("GET", f"{path}?operation=GetCACaps"))
    assert (reply.status, b"SCEPStandard" in reply.body) == (200, True)


CACHING = """
        location / {{
            proxy_pass http://127.0.0.1:{port};
            proxy_cache kept;
            proxy_cache_methods GET HEAD POST;
            proxy_cache_valid any 10m;
            add_header X-Cache $upstream_cache_status always;
        }}
"""


@pytest.fixture
def cache(site, tmp_path):
    """An nginx that keeps whatever it may, from POST too and by the URL alone; it takes octets and returns (kept, reply)."""
    around = f"    proxy_cache_path {tmp_path}/kept keys_zone=kept:1m;"
    nginx = Nginx.start(tmp_path / "nginx", CACHING.format(port=site.server.http), around)

    def ask(octets):
        reply = site.ask(octets, port=nginx.port)
        return reply.headers["x-cache"] == "HIT", reply

    yield ask
    nginx.stop()


def test_S76_a_caching_proxy_keeps_what_the_CA_says_and_no_message_of_a_device(site, cache):
    for operation in ("GetCACaps", "GetCACert"):  # it does keep what it may
        twice = [cache(request("GET", f"/mytenant/scep?operation={operation}")) for _ in range(2)]
        assert [(kept, reply.status) for kept, reply in twice] == [(False, 200), (True, 200)]
        assert twice[0][1].body == twice[1][1].body
    first, second = (site.message(challenge) for challenge in (site.server.challenge(profile="fleet"), "guessed"))
    target = "/mytenant/scep?operation=PKIOperation"
    by_get = request("GET", f"{target}&message={quote(base64.b64encode(first), safe='')}")
    by_post = [request("POST", target, message) for message in (first, second)]
    answers = [cache(octets) for octets in (by_get, by_get, *by_post)]
    assert [kept for kept, _reply in answers] == [False] * 4
    read = [read_certrep(reply.body, trusted=[site.sign]) for _kept, reply in answers]
    assert [answer.status for answer in read] == [PkiStatus.SUCCESS] * 3 + [PkiStatus.FAILURE]
    assert [answer.transaction_id == read[0].transaction_id for answer in read] == [True, True, True, False]
    with opened(site.server) as (repository, _issuers):
        rows = {row.key.transaction_id: row for row in repository.transactions(limit=EVERYTHING)}
    site.server.scepd("cert", "revoke", f"{rows[read[0].transaction_id].serial:x}")
    kept, reply = cache(by_get)  # replayed, it does not bring back what the first answer was
    assert (kept, read_certrep(reply.body, trusted=[site.sign]).status) == (False, PkiStatus.FAILURE)
    for refused in (f"{target}&message=%21", "/scep/nowhere?operation=GetCACaps", "/mytenant/scep?operation=Nonsense"):
        assert [cache(request("GET", refused))[0] for _ in range(2)] == [False, False]


def ask_from(site, source, *fields, port=None):
    """Ask from a loopback address of one's own; return the addresses of the log lines that this request wrote."""
    before = len(site.server.log_lines())
    path = "/my/scep/fleet" if port is None else "/mytenant/scep/fleet"
    reply = site.ask(request("GET", f"{path}?operation=GetCACaps", None, *fields), port=port, source=source)
    assert reply.status == 200
    return [re.search(r" ip=(\S+)", line)[1] for line in site.server.log_lines()[before:]]


def test_the_client_s_address_is_what_nginx_saw(site):
    assert ask_from(site, "127.0.0.2") == ["127.0.0.2"]


@pytest.mark.parametrize(
    "header",
    [
        "X-Forwarded-For: 203.0.113.9", "X-Forwarded-For: 203.0.113.9, 127.0.0.1", "X-Forwarded-For: 127.0.0.1",
        "X-Real-IP: 203.0.113.9", "CF-Connecting-IP: 203.0.113.9", "Forwarded: for=203.0.113.9",
    ],
)  # fmt: skip
def test_S77_what_a_client_says_of_itself_is_not_believed(site, header):
    assert ask_from(site, "127.0.0.2", header) == ["127.0.0.2"]
    assert ask_from(site, "127.0.0.3", header, port=site.behind) == ["127.0.0.3"]


def test_the_log_names_the_tenant_s_profile(site):
    before = len(site.server.log_lines())
    site.ask(request("GET", "/other/scep?operation=GetCACaps"))
    (line,) = site.server.log_lines()[before:]
    assert " profile=robots " in f"{line} "


def test_what_is_doubtful_is_told_in_the_log_and_by_check(site):
    where = "$.listener.asking.client_certificates"
    (line,) = site.server.log_lines("doubtful")
    assert f"where={where}" in line
    found = json.loads(site.server.scepd("check", "--json", check=False).stdout)
    assert [warning["where"] for warning in found["warnings"] if "CRL" in warning["what"]] == [where]


def test_reload_takes_a_tenant_away_and_gives_it_back(site):
    text = site.server.config.read_text()
    site.server.config.write_text(text.replace('[tenant.other]\nprofiles = ["robots"]\n', ""))
    site.server.scepd("reload")
    get = request("GET", "/other/scep?operation=GetCACaps")
    assert site.ask(get).status == 404
    site.server.config.write_text(text)
    site.server.scepd("reload")
    assert site.ask(get).status == 200

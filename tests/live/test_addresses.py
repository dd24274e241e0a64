"""The one client address of the real server: headers, the PROXY protocol, and the networks file that changes."""

import secrets
import time
from datetime import UTC, datetime

import pytest

from scepd.message.certrep import read_certrep
from scepd.message.names import PkiStatus
from tests import make
from tests.live.device import certificate
from tests.live.http_wire import Wire, exchange, request
from tests.live.server import STATIC, copy_of
from tests.ports import free_port
from tests.web.test_fail2ban import banned

pytestmark = pytest.mark.live

GET = request("GET", "/scep?operation=GetCACaps")


def forwarded(value):
    return request("GET", "/scep?operation=GetCACaps", None, f"X-Forwarded-For: {value}")


class Site:
    """A server behind proxies: one listener reads a header, another the PROXY protocol."""

    def __init__(self, server):
        self.server, self.header, self.proxied = server, free_port(), free_port()
        self.networks = server.directory / "networks.txt"
        self.networks.write_text("127.0.0.1\n")
        with server.config.open("a") as config:
            config.write(
                f'\n[listener.header]\naddress = "127.0.0.1:{self.header}"\ntrusted_proxies = "networks.txt"\n'
                'client_address_header = "X-Forwarded-For"\n'
                f'\n[listener.proxied]\naddress = "127.0.0.1:{self.proxied}"\ntrusted_proxies = "networks.txt"\n'
                "proxy_protocol = true\n"
            )

    def address(self, act):
        """Return which address the log says of what `act` does."""
        before = len(self.server.log_lines())
        act()
        deadline = time.monotonic() + 10
        while len(lines := self.server.log_lines()[before:]) < 1 and time.monotonic() < deadline:
            time.sleep(0.02)
        return lines[-1].partition(" ip=")[2].split()[0]


@pytest.fixture(scope="module")
def site(template, place):
    made = Site(copy_of(template, place / "addresses"))
    made.server.lifts_limits = False
    made.server.start()
    yield made
    made.server.stop()


def test_S77_a_header_counts_from_a_trusted_proxy_alone(site):
    assert site.address(lambda: exchange(site.header, forwarded("203.0.113.9, 198.51.100.7"))) == "198.51.100.7"
    stranger = {"source": "127.0.0.2"}
    assert site.address(lambda: exchange(site.header, forwarded("198.51.100.7"), **stranger)) == "127.0.0.2"
    assert site.address(lambda: exchange(site.server.http, forwarded("198.51.100.7"))) == "127.0.0.1"


def test_S78_the_PROXY_protocol_on_its_own_listener(site):
    header = b"PROXY TCP4 198.51.100.7 127.0.0.1 1 2\r\n"

    def trickle():
        with Wire(site.proxied) as wire:
            for octet in header + GET:
                wire.send(bytes([octet]))
            assert wire.reply().status == 200

    assert site.address(trickle) == "198.51.100.7"
    for octets, options in ((GET, {}), (header + GET, {"source": "127.0.0.2"}), (b"PROXY TCP9\r\n" + GET, {})):
        with Wire(site.proxied, **options) as wire:
            try:
                assert wire.send(octets).is_closed()
            except ConnectionError:
                continue
    assert exchange(site.server.http, header + GET).status == 400


def test_S77_the_networks_file_is_read_again_while_we_serve(site):
    site.networks.write_text("127.0.0.2\n")
    time.sleep(1.1)
    assert site.address(lambda: exchange(site.header, forwarded("198.51.100.7"))) == "127.0.0.1"
    site.networks.write_text("<html>oops</html>")
    time.sleep(1.1)
    there = {"source": "127.0.0.2"}
    assert site.address(lambda: exchange(site.header, forwarded("198.51.100.7"), **there)) == "198.51.100.7"
    assert len(site.server.log_lines("file_refused")) >= 1
    site.networks.write_text("127.0.0.1\n")
    time.sleep(1.1)
    assert site.address(lambda: exchange(site.header, forwarded("198.51.100.7"))) == "198.51.100.7"


def test_S77_fail2ban_reads_the_log_of_the_real_server(site, tmp_path):
    for _ in range(3):
        exchange(site.header, forwarded("203.0.113.9"))
    claimed = {"address": "203.0.113.9", "port": site.server.http, "source": "127.0.0.3"}
    assert send(site, 90, "guess", **claimed) is PkiStatus.FAILURE
    time.sleep(0.5)
    assert "127.0.0.3" in (found := banned(tmp_path, site.server.log.read_text().splitlines(keepends=True)))
    assert "203.0.113.9" not in found


def send(site, number, challenge, *, profile="static", address="203.0.113.20", port=None, **options):
    """Ask for a certificate with the key of that number, from that address; return what comes of it."""
    sign, decrypt = (certificate(site.server, f"devices-ra-{role}") for role in ("sign", "decrypt"))
    body = make.pkcs_req(
        challenge=challenge, subject=make.name(CN=f"d-{number}"), signer=make.party(f"limited-{number}"),
        recipient=make.Party(None, decrypt), transaction_id=secrets.token_hex(16),
        sender_nonce=secrets.token_bytes(16), signing_time=datetime.now(UTC),
    )  # fmt: skip
    target = f"/scep/{profile}?operation=PKIOperation"
    reply = exchange(port or site.header, request("POST", target, body, f"X-Forwarded-For: {address}"), **options)
    if reply.status != 200:
        assert int(reply.headers["retry-after"]) > 0
        return reply.status
    return read_certrep(reply.body, trusted=[sign]).status


def test_S30_without_a_word_in_the_configuration_guesses_are_limited(site):
    assert [send(site, 0, "guess") for _ in range(10)] == [PkiStatus.FAILURE] * 10
    assert send(site, 0, "guess") == 503  # this key alone
    neighbour = {"address": "203.0.113.99"}
    assert send(site, 1, STATIC, **neighbour) is PkiStatus.SUCCESS
    answers = []
    while set(answers) <= {PkiStatus.FAILURE} and len(answers) < 200:
        number = len(answers)
        answers.append(send(site, 2 + number // 10, "guess", address=f"203.0.113.{number}"))
    assert answers[-1] == 429  # the whole /24, at this profile
    # 120 with those before, and two more each second; the first of two workers to have had its half refuses.
    assert 60 - 11 < len(answers) < 150
    challenge = site.server.challenge()
    assert send(site, 1, challenge, profile="default", **neighbour) is PkiStatus.SUCCESS
    assert send(site, 1, STATIC, address="198.51.100.20") is PkiStatus.SUCCESS

"""The rate of a network: the algorithm on a clock of its own, its memory, and what a client hears of it."""

import pytest
from twisted.internet.defer import succeed

from scepd.app.limits import rate_limit
from scepd.config.settings import LimitSettings
from scepd.enroll.reply import Answer
from scepd.records.networks import network_of
from scepd.web.gcra import RateLimit
from scepd.web.scep import Endpoint, Phase, ScepResource

from .harness import Setting


class FakeClock:
    def __init__(self):
        self.now = 1_000_000.0  # seconds

    def __call__(self):
        return round(self.now * 1e9)


@pytest.fixture
def clock():
    return FakeClock()


def passed(limit, network, times):
    return sum(limit.take(network) == 0.0 for _ in range(times))


@pytest.mark.parametrize("per_minute", [1, 2, 7, 60, 600, 100_000])
def test_S30_a_minutes_requests_pass_at_once_and_no_more(clock, per_minute):
    limit = RateLimit(per_minute, clock=clock)
    assert passed(limit, "a", per_minute) == per_minute
    assert limit.take("a") == pytest.approx(60 / per_minute, abs=1e-3)


def test_S30_then_one_passes_per_interval(clock):
    limit = RateLimit(6, clock=clock)
    passed(limit, "a", 6)
    for _ in range(20):
        clock.now += 9.9
        wait = limit.take("a")
        assert 0 < wait <= 0.11
        clock.now += wait
        assert passed(limit, "a", 5) == 1


def test_a_refused_request_costs_nothing(clock):
    limit = RateLimit(1, clock=clock)
    limit.take("a")
    first = limit.take("a")
    assert all(limit.take("a") == first for _ in range(100))


def test_a_network_that_rested_has_its_whole_minute_again(clock):
    limit = RateLimit(5, clock=clock)
    passed(limit, "a", 5)
    clock.now += 60
    assert passed(limit, "a", 10) == 5
    clock.now += 86_400
    assert passed(limit, "a", 10) == 5  # rest is not saved up


def test_a_share_below_one_a_minute_lets_single_requests_through(clock):
    limit = RateLimit(0.25, clock=clock)
    assert passed(limit, "a", 3) == 1
    assert limit.take("a") == pytest.approx(240)
    clock.now += 240
    assert limit.take("a") == 0.0


def test_networks_are_counted_apart(clock):
    limit = RateLimit(1, clock=clock)
    assert limit.take("a") == 0.0
    assert limit.take("b") == 0.0
    assert limit.take("a") > 0


def test_S30_memory_is_bounded_and_the_oldest_go_first(clock):
    limit = RateLimit(1, clock=clock, capacity=100)
    for number in range(1000):
        limit.take(f"network {number}")
        assert len(limit) <= 100
    assert limit.take("network 999") > 0
    assert limit.take("network 0") == 0.0


def test_S30_who_keeps_knocking_is_not_forgotten(clock):
    limit = RateLimit(1, clock=clock, capacity=100)
    limit.take("guesser")
    for number in range(1000):
        limit.take(f"network {number}")
        assert limit.take("guesser") > 0


def test_quiet_networks_are_forgotten_before_there_are_too_many(clock):
    limit = RateLimit(60, clock=clock, capacity=10_000)
    for number in range(5000):
        limit.take(f"network {number}")
        clock.now += 1
    assert len(limit) < 5


@pytest.mark.parametrize(
    ("host", "site"),
    [
        ("192.0.2.7", "192.0.2.0/24"),
        ("192.0.2.255", "192.0.2.0/24"),
        ("::ffff:192.0.2.7", "192.0.2.0/24"),
        ("2001:db8:1:2::3", "2001:db8:1::/48"),
        ("::1", "::/48"),
        ("fe80::1%eth0", "fe80::/48"),
        ("local", "local"),
    ],
)
def test_what_shares_a_rate(host, site):
    assert network_of(host, ipv4=24, ipv6=48) == site


@pytest.mark.parametrize(
    ("host", "network"), [("192.0.2.7", "192.0.2.7"), ("2001:db8:1:2::3", "2001:db8:1:2::/64"), ("::2", "::/64")]
)
def test_what_shares_a_bound_of_connections(host, network):
    assert network_of(host) == network


# Over HTTP.

POST = b"POST /scep/routers?operation=PKIOperation HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
GET = b"GET /scep/routers?operation=PKIOperation&message=YWJj HTTP/1.1\r\nHost: x\r\n\r\n"
CAPS = b"GET /scep/routers?operation=GetCACaps HTTP/1.1\r\nHost: x\r\n\r\n"


class Rated:
    def __init__(self, per_minute, clock):
        self.answered = []
        endpoint = Endpoint("Routers", lambda: Phase(b"AES", b"0", "application/x-x509-ca-cert"), self._answer)
        tree = ScepResource({"routers": endpoint}, rate=RateLimit(per_minute, clock=clock))
        self.setting = Setting(tree)

    def _answer(self, message, origin):
        self.answered.append(message)
        return succeed(Answer(b"CertRep", "issued"))

    def ask(self, request, host="192.0.2.7"):
        client = self.setting.client(host).send(request)
        (reply,) = client.replies
        return reply, client


@pytest.mark.parametrize("request_", [POST, GET], ids=["POST", "GET"])
def test_S30_past_the_rate_429_says_when_and_nothing_is_decrypted(clock, request_):
    rated = Rated(6, clock)
    for _ in range(6):
        assert rated.ask(request_)[0].status == 200
    reply, client = rated.ask(request_, host="192.0.2.200")
    assert (reply.status, reply.headers[b"Retry-After"]) == (429, b"10")
    assert client.received.startswith(b"HTTP/1.1 429 Too Many Requests\r\n")
    assert reply.body.startswith(b"too many requests")
    assert client.closed
    assert len(rated.answered) == 6
    assert rated.ask(request_, host="198.51.100.1")[0].status == 200
    clock.now += 10
    assert rated.ask(request_)[0].status == 200


def test_S30_only_PKIOperation_is_limited(clock):
    rated = Rated(1, clock)
    rated.ask(POST)
    assert rated.ask(POST)[0].status == 429
    assert all(rated.ask(CAPS)[0].status == 200 for _ in range(20))


def test_S30_the_log_tells_it(clock, monkeypatch):
    rated = Rated(1, clock)
    lines = []
    monkeypatch.setattr(rated.setting.site, "log", lambda request: lines.append(dict(request.entry)))
    rated.ask(POST)
    rated.ask(POST)
    assert (lines[1]["outcome"], lines[1]["reason"]) == ("limited", "rate")


# From the configuration.


def test_there_is_no_limit_unless_one_is_set():
    assert rate_limit(LimitSettings(), 4) is None


def test_each_worker_takes_its_share():
    limit = rate_limit(LimitSettings(requests_per_network=40), 4)
    assert passed(limit, "a", 20) == 10

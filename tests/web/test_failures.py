"""Failed guesses: what counts, what is limited, what a legitimate device notices."""

import pytest
from twisted.internet.defer import succeed

from scepd.app.limits import failure_limits
from scepd.config.settings import LimitSettings
from scepd.enroll.reply import Answer
from scepd.refusal import WIRE, Reason
from scepd.web.failures import CHALLENGE_FAILURES, FailureLimits, is_challenge_failure
from scepd.web.scep import Endpoint, Phase, ScepResource

from .harness import Setting

MINUTE = 60_000_000_000


class Nanoseconds:
    now = 1

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Nanoseconds()


def test_S30_only_failures_count_and_each_kind_has_its_own(clock):
    limits = FailureLimits(per_network=2, per_profile=4, per_key=3, clock=clock)
    for _ in range(2):
        assert limits.blocked(network="a", profile="p", key=b"k") == 0
        limits.failed(network="a", profile="p", key=b"k")
    assert limits.blocked(network="a") == 30
    assert limits.blocked(network="b") == limits.blocked(profile="p") == limits.blocked(key=b"k") == 0
    limits.failed(network="b", profile="p", key=b"k")
    assert limits.blocked(key=b"k") == 20
    assert limits.blocked(profile="p") == 0
    limits.failed(profile="p")
    assert limits.blocked(profile="p") == 15
    assert limits.blocked(network="b", profile="p", key=b"k") == 20
    clock.now += MINUTE
    assert limits.blocked(network="a", profile="p", key=b"k") == 0


def test_S30_asking_costs_nothing_and_neither_does_a_failure_beyond_the_limit(clock):
    limits = FailureLimits(per_network=1, clock=clock)
    limits.failed(network="a")
    for _ in range(100):
        assert limits.blocked(network="a") == 60
        limits.failed(network="a")
    clock.now += MINUTE
    assert limits.blocked(network="a") == 0


def test_without_limits_nothing_is_kept(clock):
    limits = FailureLimits(clock=clock)
    for _ in range(100):
        limits.failed(network="a", profile="p", key=b"k")
    assert limits.blocked(network="a", profile="p", key=b"k") == 0


def test_S30_what_counts_tells_nothing_that_the_answer_does_not():
    for reason in Reason:
        same = {other for other in Reason if WIRE[other] == WIRE[reason] and WIRE[reason][1] == "request refused"}
        assert len({other in CHALLENGE_FAILURES for other in same}) <= 1
    assert is_challenge_failure("challenge_invalid")
    assert not any(map(is_challenge_failure, ("", "subject_refused", "challenge_missing", "rate", "signature_invalid")))


def serve(clock, reasons, **limits):
    endpoint = Endpoint(
        "p",
        lambda: Phase(b"AES", b"0", "application/x-x509-ca-cert"),
        lambda _body, _origin: succeed(Answer(b"reply", "rejected", reason=reasons.pop(0))),
    )
    return Setting(ScepResource({"p": endpoint}, failures=FailureLimits(clock=clock, **limits)))


def ask(setting, host):
    return (
        setting.client(host)
        .send(b"POST /scep/p?operation=PKIOperation HTTP/1.1\r\nContent-Length: 1\r\n\r\nm")
        .replies[0]
    )


def test_S30_a_network_that_guesses_is_held_off_before_its_message_is_read(clock, lines):
    reasons = ["challenge_invalid", "subject_refused", "", "challenge_expired", ""]
    setting = serve(clock, reasons, per_network=2)
    hosts = ["192.0.2.7", "192.0.2.8", "192.0.2.9", "192.0.2.7"]
    assert [ask(setting, host).status for host in hosts] == [200] * 4
    refused = ask(setting, "192.0.2.99")
    assert (refused.status, refused.headers[b"Retry-After"]) == (429, b"30")
    assert "outcome=limited reason=failures" in lines[-1]
    assert reasons == [""]
    assert ask(setting, "198.51.100.7").status == 200


def test_S30_the_shared_rate_is_not_spent_on_who_is_held_off(clock):
    from scepd.web.gcra import RateLimit

    setting = serve(clock, ["challenge_invalid"], per_network=1)
    rate = RateLimit(2, clock=clock)
    setting.root._rate = rate
    assert [ask(setting, "192.0.2.7").status for _ in range(5)] == [200, 429, 429, 429, 429]
    assert rate.take("192.0.2.0/24") == 0


def test_S30_a_fleet_pays_for_no_other_behind_the_same_address(clock):
    def answered(name, reason):
        phase = Phase(b"AES", b"0", "application/x-x509-ca-cert")
        return Endpoint(name, lambda: phase, lambda _body, _origin: succeed(Answer(b"reply", "rejected", reason=reason)))

    endpoints = {"p": answered("p", "challenge_invalid"), "q": answered("q", "")}
    setting = Setting(ScepResource(endpoints, failures=FailureLimits(clock=clock, per_network=1)))
    assert [ask(setting, "192.0.2.7").status for _ in range(2)] == [200, 429]
    body = b"POST /scep/q?operation=PKIOperation HTTP/1.1\r\nContent-Length: 1\r\n\r\nm"
    assert setting.client("192.0.2.7").send(body).replies[0].status == 200


@pytest.mark.parametrize(("rate", "workers", "share"), [(0, 4, 0), (10, 1, 10), (10, 2, 5), (10, 16, 3), (2, 16, 2), (120, 0, 120)])
def test_S30_a_workers_share_lets_somebody_mistype(rate, workers, share):
    limits = failure_limits(LimitSettings(failures_per_key=rate, failures_per_network=0), workers)
    for _ in range(share):
        assert limits.blocked(key=b"k") == 0
        limits.failed(key=b"k")
    assert (limits.blocked(key=b"k") > 0) is (rate > 0)

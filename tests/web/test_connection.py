"""One connection: order, deadlines, sizes, bounds, and clients that leave."""

import random

import pytest
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IHalfCloseableDescriptor
from zope.interface import alsoProvides

from scepd.records.networks import network_of
from scepd.web.client_address import peer_host
from scepd.web.limits import HttpLimits, Occupancy

from .harness import Echo, Setting, read_replies

GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"


def post(body, path=b"/a", extra=b""):
    return b"POST %s HTTP/1.1\r\nHost: x\r\n%sContent-Length: %d\r\n\r\n%s" % (path, extra, len(body), body)


def test_a_connection_is_kept_and_its_replies_have_exact_lengths():
    client = Setting().client()
    client.send(GET).send(post(b"hello"))
    first, second = client.replies
    assert (first.body, second.body) == (b"GET /a ", b"POST /a hello")
    assert first.headers[b"Server"] == b"scepd"
    assert first.headers[b"Content-Type"] == b"text/plain"
    assert b"Transfer-Encoding" not in first.headers
    assert b"Connection" not in first.headers
    assert not client.closed


def test_C021_http_1_0_is_answered_and_closed():
    client = Setting().client().send(b"GET /a HTTP/1.0\r\n\r\n")
    (reply,) = client.replies
    assert (reply.status, reply.version, reply.body) == (200, b"HTTP/1.0", b"GET /a ")
    assert client.closed


def test_C021_http_1_0_post_is_read_by_its_length():
    client = Setting().client().send(b"POST /a HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc")
    assert client.replies[0].body == b"POST /a abc"
    assert client.closed


@pytest.mark.parametrize("value", [b"close", b"Keep-Alive, Close", b"CLOSE"])
def test_connection_close_is_honoured(value):
    client = Setting().client().send(b"GET /a HTTP/1.1\r\nConnection: %s\r\n\r\n" % value)
    assert client.replies[0].headers[b"Connection"] == b"close"
    assert client.closed


def test_C020_expect_100_continue():
    client = Setting().client().send(b"POST /a HTTP/1.1\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
    assert client.received == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.send(b"abc")
    assert [reply.status for reply in client.replies] == [100, 200]
    assert client.replies[1].body == b"POST /a abc"


def test_C020_no_100_for_a_body_that_is_refused_or_absent_or_there():
    setting = Setting()
    expect = b"Expect: 100-continue\r\n"
    too_long = setting.client().send(b"POST /a HTTP/1.1\r\nContent-Length: 262145\r\n" + expect + b"\r\n")
    assert [reply.status for reply in too_long.replies] == [413]
    absent = setting.client().send(b"GET /a HTTP/1.1\r\n" + expect + b"\r\n")
    assert [reply.status for reply in absent.replies] == [200]
    there = setting.client().send(post(b"abc", extra=expect))
    assert [reply.status for reply in there.replies] == [200]
    old = setting.client().send(b"POST /a HTTP/1.0\r\nContent-Length: 1\r\n" + expect + b"\r\n")
    assert old.received == b""


@pytest.mark.parametrize("method", [b"PUT", b"DELETE", b"TRACE", b"OPTIONS", b"CONNECT", b"PATCH", b"PROPFIND", b"get"])
def test_C017_S79_other_methods_get_405_with_allow_and_no_reflection(method):
    setting = Setting()
    target = b"host:443" if method == b"CONNECT" else b"*" if method == b"OPTIONS" else b"/a"
    client = setting.client().send(b"%s %s HTTP/1.1\r\nX-Canary: 1\r\nContent-Length: 3\r\n\r\nabc" % (method, target))
    (reply,) = client.replies
    assert reply.status == 405
    assert reply.headers[b"Allow"] == b"GET, HEAD, POST"
    assert b"Canary" not in client.received
    assert client.closed
    assert setting.root.asked == []


def test_S79_upgrade_is_not_followed():
    upgrade = (
        b"GET /a HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n"
    )
    (reply,) = Setting().client().send(upgrade).replies
    assert reply.status == 200
    assert b"Upgrade" not in reply.headers


def test_S75_alpn_offers_http_1_alone():
    assert Setting().site.acceptableProtocols() == [b"http/1.1", b"http/1.0"]


def test_S74_the_absolute_form_is_served_by_its_path_and_no_host_is_echoed():
    setting = Setting()
    client = setting.client()
    client.send(b"GET http://evil.example/a?b HTTP/1.1\r\nHost: <script>alert(1)</script>\r\n\r\n")
    client.send(b"GET HTTPS://evil.example?b HTTP/1.1\r\nHost: evil.example\r\n\r\n")
    assert [uri for _, uri, _ in setting.root.asked] == [b"/a?b", b"/?b"]
    client.send(b"BAD /<b>evil.example</b> HTTP/1.1\r\nHost: evil.example\r\n\r\n")
    assert b"evil" not in client.received
    assert b"script" not in client.received


def test_C018_S20_a_content_length_over_the_cap_is_refused_before_the_body():
    setting = Setting()
    client = setting.client().send(b"POST /a HTTP/1.1\r\nContent-Length: 262145\r\n\r\n")
    assert [reply.status for reply in client.replies] == [413]
    assert client.closed
    at_cap = setting.client().send(post(b"x" * 262144))
    assert [reply.status for reply in at_cap.replies] == [200]


def test_C018_S20_a_chunked_body_is_refused_when_it_passes_the_cap():
    setting = Setting()
    client = setting.client().send(b"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
    chunk = b"8000\r\n" + b"x" * 0x8000 + b"\r\n"
    for _ in range(8):
        client.send(chunk)
    assert client.received == b""
    assert setting.occupancy.octets == 0x40000
    client.send(b"1\r\n")
    assert [reply.status for reply in client.replies] == [413]
    assert client.closed
    assert setting.occupancy.octets == 0
    assert setting.root.asked == []


def test_C018_after_an_early_error_the_rest_is_read_for_a_moment_and_not_kept():
    setting = Setting()
    client = setting.client()
    alsoProvides(client.transport, IHalfCloseableDescriptor)
    half_closed = []
    client.transport.loseWriteConnection = lambda: half_closed.append(True)
    client.send(b"POST /a HTTP/1.1\r\nContent-Length: 9000000\r\n\r\n")
    assert half_closed == [True]
    assert [reply.status for reply in client.replies] == [413]
    client.send(b"x" * 500_000).send(GET)
    assert not client.closed
    assert len(client.protocol._received) == 0
    client.send(b"x" * 600_000)
    assert client.closed
    assert setting.root.asked == []


def test_C018_the_lingering_close_ends_by_itself():
    setting = Setting()
    client = setting.client()
    alsoProvides(client.transport, IHalfCloseableDescriptor)
    client.transport.loseWriteConnection = lambda: None
    client.send(b"POST /a HTTP/1.1\r\nContent-Length: 9000000\r\n\r\n")
    setting.pass_time(4)
    assert client.closed


def test_S20_the_octet_budget_of_the_process_is_kept():
    setting = Setting(octets=300_000)
    first = setting.client().send(post(b"x" * 200_000, b"/later"))
    second = setting.client().send(post(b"x" * 200_000))
    (reply,) = second.replies
    assert (reply.status, reply.headers[b"Retry-After"]) == (503, b"5")
    assert second.closed
    third = setting.client().send(post(b"x" * 90_000))
    assert third.replies[0].status == 200
    setting.root.release()
    assert first.replies[0].status == 200
    assert setting.occupancy.octets == 0
    assert setting.client().send(post(b"x" * 200_000)).replies[0].status == 200


def test_S20_the_budget_counts_what_came_not_what_was_announced():
    setting = Setting(octets=300_000)
    idle = [setting.client().send(b"POST /a HTTP/1.1\r\nContent-Length: 200000\r\n\r\nx") for _ in range(10)]
    assert setting.occupancy.octets == 10
    assert setting.client().send(post(b"x" * 200_000)).replies[0].status == 200
    for client in idle:
        client.close()
    assert setting.occupancy.octets == 0


def test_S80_no_body_ever_reaches_a_file(monkeypatch):
    def no_file(*_args, **_kwargs):
        raise AssertionError("a temporary file")

    monkeypatch.setattr("tempfile.TemporaryFile", no_file)
    monkeypatch.setattr("twisted.web.http._getContentFile", no_file)
    client = Setting().client().send(post(b"x" * 262_144))
    assert client.replies[0].status == 200


def test_C019_a_request_line_of_20_kib_is_admitted_and_one_over_the_cap_is_414():
    setting = Setting()
    line = b"GET /a?operation=PKIOperation&message=%s HTTP/1.1\r\n\r\n"
    client = setting.client().send(line % (b"A" * 20_480))
    assert client.replies[0].status == 200
    for way in ("send", "trickle"):
        client = setting.client()
        getattr(client, way)(line % (b"A" * 32_768))
        assert [reply.status for reply in client.replies] == [414]
        assert client.closed


def test_headers_beyond_size_or_count_are_431():
    setting = Setting()
    size = setting.client().send(b"GET /a HTTP/1.1\r\n" + b"X: %s\r\n" % (b"y" * 17_000) + b"\r\n")
    endless = setting.client().send(b"GET /a HTTP/1.1\r\n")
    for _ in range(200):
        endless.send(b"X: %s\r\n" % (b"y" * 100))
    count = setting.client().send(b"GET /a HTTP/1.1\r\n" + b"X: y\r\n" * 101 + b"\r\n")
    for client in (size, endless, count):
        assert [reply.status for reply in client.replies] == [431]
        assert client.closed


def test_S68_pipelined_requests_are_answered_in_order_one_at_a_time():
    """A hundred requests with answers at random times, arriving in random pieces: reply n belongs to request n."""
    generator = random.Random(8894)
    setting = Setting()
    client = setting.client()
    stream = b"".join(post(b"nonce-%d" % n, b"/later" if n % 3 else b"/now") for n in range(100))
    while stream:
        size = generator.randrange(1, 400)
        client.send(stream[:size])
        stream = stream[size:]
        assert len(setting.root.waiting) <= 1
        if generator.random() < 0.5:
            setting.root.release()
    while setting.root.waiting:
        setting.root.release()
    assert [reply.body.rpartition(b" ")[2] for reply in client.replies] == [b"nonce-%d" % n for n in range(100)]


def test_S68_a_burst_of_pipelined_requests_does_not_nest():
    setting = Setting(read_ahead=1 << 20)
    client = setting.client().send(GET * 5000)
    assert len(client.replies) == 5000


def test_S68_after_an_error_nothing_more_is_executed():
    setting = Setting()
    client = setting.client().send(GET + b"BAD\r\n\r\n" + GET)
    assert [reply.status for reply in client.replies] == [200, 400]
    assert len(setting.root.asked) == 1


def test_S68_reading_ahead_is_bounded():
    setting = Setting()
    client = setting.client().send(post(b"", b"/later"))
    client.send(GET * 100)
    assert client.transport.producerState == "producing"
    client.send(GET * 600)
    assert client.transport.producerState == "paused"
    setting.root.release()
    assert client.transport.producerState == "producing"
    assert len(client.replies) == 701


def test_S70_a_client_that_does_not_read_gets_no_more_answers_and_then_no_connection():
    setting = Setting()
    client = setting.client().send(GET)
    client.transport.producer.pauseProducing()
    client.send(GET * 3)
    assert len(setting.root.asked) == 1
    client.transport.producer.resumeProducing()
    assert len(setting.root.asked) == 4
    client.transport.producer.pauseProducing()
    setting.pass_time(29)
    assert not client.closed
    setting.pass_time(3)
    assert client.closed
    assert client.transport.disconnected  # aborted: what it did not read is not waited for


def test_S70_a_burst_stops_at_the_answer_that_fills_the_client_s_window():
    setting = Setting()
    client = setting.client()
    write = client.transport.write

    def write_and_fill(data):
        write(data)
        client.transport.producer.pauseProducing()

    client.transport.write = write_and_fill
    client.send(GET * 3)
    assert len(setting.root.asked) == 1
    client.transport.write = write
    client.transport.producer.resumeProducing()
    assert len(setting.root.asked) == 3


def test_S67_a_bare_LF_is_refused_at_once_and_not_waited_on():
    client = Setting().client().send(b"GET /a HTTP/1.1\nHost: x\n\n")
    assert [reply.status for reply in client.replies] == [400]
    assert client.closed


def test_S69_a_client_that_sends_nothing_is_closed_after_the_head_deadline():
    setting = Setting()
    client = setting.client()
    setting.pass_time(9)
    assert not client.closed
    setting.pass_time(3)
    assert client.closed
    assert client.received == b""


def test_S69_a_trickled_head_meets_an_absolute_deadline():
    setting = Setting()
    client = setting.client()
    for octet in GET:
        client.send(bytes([octet]))
        setting.pass_time(1)
        if client.closed:
            break
    assert client.closed
    assert setting.clock.seconds() <= 12
    assert [reply.status for reply in client.replies] == [408]
    assert setting.root.asked == []


def test_S69_a_trickled_body_meets_an_absolute_deadline():
    setting = Setting()
    client = setting.client().send(b"POST /a HTTP/1.1\r\nContent-Length: 1000\r\n\r\n")
    for _ in range(100):
        client.send(b"x")
        setting.pass_time(1)
    assert client.closed
    assert [reply.status for reply in client.replies] == [408]
    assert setting.occupancy.octets == 0


def test_S69_between_requests_the_idle_deadline_holds_and_then_the_head_deadline_again():
    setting = Setting()
    client = setting.client().send(GET)
    setting.pass_time(14)
    client.send(GET[:5])
    setting.pass_time(9)
    assert not client.closed
    client.send(GET[5:])
    assert len(client.replies) == 2
    setting.pass_time(17)
    assert client.closed
    assert len(client.replies) == 2


def test_S69_an_answer_that_does_not_come_is_503_and_its_late_coming_is_harmless(lines):
    setting = Setting()
    client = setting.client().send(post(b"", b"/later"))
    setting.pass_time(59)
    assert client.received == b""
    setting.pass_time(3)
    (reply,) = client.replies
    assert (reply.status, reply.headers[b"Retry-After"]) == (503, b"5")
    assert client.closed
    setting.root.release()
    assert len(client.replies) == 1
    assert len([line for line in lines if "event=scep_request" in line]) == 1
    assert "outcome=unavailable reason=overdue" in lines[0]


def test_S69_connections_of_one_network_are_bounded_and_others_are_served():
    setting = Setting(per_network=64)
    trickling = [setting.client("192.0.2.7") for _ in range(5000)]
    assert sum(not client.closed for client in trickling) == 64
    assert trickling[-1].replies[0].status == 503
    assert setting.client("198.51.100.9").send(GET).replies[0].status == 200
    for client in trickling[:64]:
        client.close()
    assert setting.client("192.0.2.7").send(GET).replies[0].status == 200


def test_S69_connections_of_the_process_are_bounded_and_counted_in_the_log(lines):
    setting = Setting(connections=10)
    clients = [setting.client(f"192.0.2.{n}") for n in range(20)]
    assert sum(not client.closed for client in clients) == 10
    setting.pass_time(1)
    assert any("event=connections_refused count=10" in line for line in lines)
    setting.pass_time(11)
    assert setting.occupancy.connections == 0
    assert setting.client().send(GET).replies[0].status == 200


def test_networks_are_ipv4_addresses_and_ipv6_64s():
    assert network_of("192.0.2.7") == "192.0.2.7"
    assert network_of("::ffff:192.0.2.7") == "192.0.2.7"
    assert network_of("2001:db8:1:2:3::4") == network_of("2001:db8:1:2:ffff::1%eth0") != network_of("2001:db8:1:3::1")
    assert network_of("local") == "local"


def test_the_client_address_is_the_peer_of_the_transport():
    assert peer_host(IPv4Address("TCP", "192.0.2.7", 1)) == "192.0.2.7"
    assert peer_host(IPv6Address("TCP", "::ffff:192.0.2.7", 1)) == "192.0.2.7"
    assert peer_host(IPv6Address("TCP", "fe80::1%eth0", 1)) == "fe80::1"
    assert peer_host(UNIXAddress("/run/x")) == peer_host(None) == "local"
    assert peer_host(IPv4Address("TCP", "no address", 1)) == "local"


def test_a_client_that_leaves_while_its_answer_is_made_costs_nothing_and_is_logged_once(lines):
    setting = Setting()
    client = setting.client().send(post(b"x" * 1000, b"/later"))
    client.close()
    assert setting.occupancy.octets == 1000
    setting.root.release()
    assert setting.occupancy.octets == 0
    assert setting.occupancy.connections == 0
    (line,) = [line for line in lines if "event=scep_request" in line]
    assert "gone=yes" in line
    assert not any("Unhandled" in line or "RuntimeError" in line for line in lines)


def test_a_client_that_leaves_within_its_body_is_logged(lines):
    setting = Setting()
    setting.client().send(b"POST /a HTTP/1.1\r\nContent-Length: 10\r\n\r\nabc").close()
    assert setting.occupancy.octets == 0
    assert "outcome=malformed reason=incomplete" in lines[0]


def test_C025_an_unexpected_error_is_503_without_a_trace(lines):
    client = Setting().client().send(b"GET /fails HTTP/1.1\r\n\r\n")
    (reply,) = client.replies
    assert (reply.status, reply.headers[b"Retry-After"]) == (503, b"5")
    assert reply.body == b"service unavailable, try again (request 0000000000000001)\n"
    assert b"canary" not in client.received
    assert any("event=unexpected_error" in line and "request_id=0000000000000001" in line for line in lines)
    assert any("outcome=unavailable reason=internal_error" in line for line in lines)


def test_each_error_reply_is_plain_static_text_with_a_request_id():
    for stream in (b"BAD\r\n\r\n", b"PUT /a HTTP/1.1\r\n\r\n", b"GET /a HTTP/3.0\r\n\r\n"):
        (reply,) = Setting().client().send(stream).replies
        assert reply.headers[b"Content-Type"] == b"text/plain"
        assert reply.headers[b"Cache-Control"] == b"no-store"
        assert reply.body.endswith(b"(request 0000000000000001)\n")
        assert len(reply.body) < 100


def test_draining_closes_idle_connections_and_lets_busy_ones_finish():
    setting = Setting()
    idle = setting.client().send(GET)
    busy = setting.client().send(post(b"", b"/later"))
    drained = []
    setting.site.drain().addCallback(drained.append)
    assert idle.closed
    assert not busy.closed
    assert setting.client().send(GET).replies[0].status == 503
    assert drained == []
    setting.root.release()
    assert busy.replies[0].status == 200
    assert busy.closed
    assert drained == [None]


def test_draining_answers_who_has_connected_and_not_asked_yet():
    # Perhaps amid its TLS handshake: to be cut off there looks like an outage.
    setting = Setting()
    fresh, silent = setting.client(), setting.client()
    drained = []
    setting.site.drain().addCallback(drained.append)
    assert not fresh.closed
    fresh.send(GET)
    assert fresh.replies[0].status == 200
    assert fresh.closed
    assert drained == []
    setting.pass_time(11)
    assert silent.closed
    assert drained == [None]


def test_draining_with_nothing_open_fires_at_once():
    drained = []
    Setting().site.drain().addCallback(drained.append)
    assert drained == [None]


def test_the_sweep_rests_while_there_are_no_connections():
    setting = Setting()
    setting.client().close()
    setting.pass_time(2)
    assert setting.clock.getDelayedCalls() == []


def test_occupancy_never_goes_wrong_over_many_connections():
    occupancy = Occupancy(connections=3, per_network=2, octets=10)
    assert [occupancy.admit("a") for _ in range(3)] == [True, True, False]
    assert [occupancy.admit(name) for name in "bc"] == [True, False]
    occupancy.leave("a")
    assert occupancy.admit("c")
    assert occupancy.turned_away == 2
    assert [occupancy.take(6), occupancy.take(5), occupancy.take(4)] == [True, False, True]


def test_HEAD_has_no_body_but_its_length():
    client = Setting().client().send(b"HEAD /a HTTP/1.1\r\n\r\n").send(GET)
    head, rest = client.received.split(b"\r\n\r\n", 1)
    assert b"Content-Length: 8" in head
    assert read_replies(rest)[0].body == b"GET /a "


def test_a_plain_twisted_resource_can_be_served_too():
    class Plain(Echo):
        def render(self, request):
            return b"bytes of " + request.postpath[-1]

    client = Setting(Plain()).client().send(b"GET /x/%2e HTTP/1.1\r\n\r\n")
    assert client.replies[0].body == b"bytes of %2e"


def test_the_limits_are_those_that_were_decided():
    limits = HttpLimits()
    assert (limits.body, limits.head, limits.content, limits.write) == (262_144, 10, 30, 30)


def test_C021_a_client_that_closes_its_side_after_the_request_is_answered():
    setting = Setting()
    client = setting.client().send(post(b"x", b"/later"))
    client.protocol.readConnectionLost()
    assert client.replies == []
    assert not client.closed
    setting.root.release()
    assert [reply.status for reply in client.replies] == [200]
    assert client.closed


def test_C021_what_was_pipelined_before_the_client_closed_its_side_is_answered_too():
    setting = Setting()
    client = setting.client().send(post(b"x", b"/later") + post(b"y", b"/"))
    client.protocol.readConnectionLost()
    setting.root.release()
    assert [reply.status for reply in client.replies] == [200, 200]
    assert client.closed


def test_a_client_that_closes_its_side_within_a_request_is_let_go():
    setting = Setting()
    whole = post(b"x" * 100, b"/")
    for part in (b"", whole[:20], whole[:-10]):
        client = setting.client().send(part)
        client.protocol.readConnectionLost()
        assert client.closed
        assert client.replies == []
    assert setting.root.asked == []

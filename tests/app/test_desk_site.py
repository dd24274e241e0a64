"""The desk's connections: strangers leave unread, bodies and connections have a bound, bad JSON is a 400."""

import json
import os
import socket
from types import SimpleNamespace

import pytest
from twisted.internet.defer import succeed
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from scepd.app.desk import DeskResource
from scepd.app.desk_site import LONGEST_BODY, MOST_CONNECTIONS, DeskSite


class Transport(StringTransport):
    """What was written, over one end of a real socket pair: the peer is this test's own user."""

    def __init__(self, handle):
        super().__init__()
        self.getHandle = lambda: handle


@pytest.fixture
def make_site():
    pairs = [socket.socketpair()]
    (handle, _other) = pairs[0]

    def make(*, admitted=True):
        asked = []
        desk = SimpleNamespace(answer=lambda *call: succeed((200, asked.append(call) or "done")))
        site = DeskSite(DeskResource(desk), lambda user: admitted and user == os.getuid(), Clock())

        def connect():
            channel = site.buildProtocol(None)
            channel.makeConnection(Transport(handle))
            return channel

        return SimpleNamespace(site=site, asked=asked, connect=connect)

    yield make
    for end in pairs[0]:
        end.close()


def head(*lines, method="POST", path="/api/v1/challenges"):
    return "\r\n".join((f"{method} {path} HTTP/1.1", "Host: desk", *lines, "", "")).encode()


def call(body, *lines):
    return head(f"Content-Length: {len(body)}", *lines) + body


def reply(channel):
    status, _, body = channel.transport.value().partition(b"\r\n\r\n")
    return int(status.split()[1]), json.loads(body)


def test_a_call_is_answered_as_that_of_its_user(make_site):
    site = make_site()
    channel = site.connect()
    channel.dataReceived(call(b'{"profile": "x"}'))
    assert reply(channel) == (200, "done")
    assert site.asked == [(os.getuid(), "POST", "/api/v1/challenges", {"profile": "x"})]
    assert not channel.transport.disconnecting


def test_S09_a_stranger_leaves_before_anything_is_read(make_site):
    site = make_site(admitted=False)
    channel = site.connect()
    assert reply(channel) == (403, {"problem": "the desk is for the service's user", "hint": reply(channel)[1]["hint"]})
    assert channel.transport.disconnecting
    channel.dataReceived(call(b"{}"))
    assert (channel.requests, site.asked, dict(site.site.connections)) == ([], [], {})


def test_S09_a_body_that_says_that_it_is_too_long_is_not_read(make_site):
    site = make_site()
    channel = site.connect()
    channel.dataReceived(head(f"Content-Length: {LONGEST_BODY + 1}", "Expect: 100-continue"))
    assert reply(channel)[0] == 413
    assert channel.transport.disconnecting
    assert channel.requests[0].content is None  # nowhere to put it
    channel.dataReceived(b"{}")
    assert site.asked == []


def test_S09_a_body_of_chunks_ends_at_the_bound(make_site):
    site = make_site()
    channel = site.connect()
    channel.dataReceived(head("Transfer-Encoding: chunked"))
    chunk = b"10000\r\n" + bytes(0x10000) + b"\r\n"
    for _ in range(LONGEST_BODY // 0x10000):
        channel.dataReceived(chunk)
    assert not channel.transport.disconnecting
    channel.dataReceived(b"1\r\nx\r\n0\r\n\r\n")
    assert reply(channel)[0] == 413
    assert channel.transport.disconnecting
    assert channel.requests[0].content.tell() == LONGEST_BODY
    assert site.asked == []


def test_a_call_that_enters_as_many_entities_as_may_be_is_no_longer_than_the_bound(make_site):
    names = ["dns:router-12345.branch.example.net", "dns:router-12345.lan.branch.example.net", "ip:192.0.2.123"]
    one = {"cn": "router-12345.branch.example.net", "names": names, "attributes": {"O": "Example", "serialNumber": "1" * 20}}
    body = json.dumps({"profile": "routers", "entities": [{**one, "line": 12_345}] * 20_000}).encode()
    assert len(body) > 1 << 20
    site = make_site()
    channel = site.connect()
    channel.dataReceived(call(body))
    assert reply(channel) == (200, "done")


def test_S09_one_user_has_so_many_connections(make_site):
    site = make_site()
    channels = [site.connect() for _ in range(MOST_CONNECTIONS)]
    beyond = site.connect()
    assert reply(beyond)[0] == 503
    assert beyond.transport.disconnecting
    beyond.connectionLost()
    assert site.site.connections[os.getuid()] == MOST_CONNECTIONS
    channels[0].connectionLost()
    again = site.connect()
    again.dataReceived(call(b""))
    assert reply(again) == (200, "done")


@pytest.mark.parametrize("body", [b"[" * 1_000_000, b'{"a":' * 1_000_000, b"[]", b"{", b"\xff", b'"text"'])
def test_a_body_that_is_no_json_object_is_a_clear_400(make_site, body):
    site = make_site()
    channel = site.connect()
    channel.dataReceived(call(body))
    status, value = reply(channel)
    assert (status, "the body is no JSON object" in value["problem"], site.asked) == (400, True, [])


def test_S09_no_form_is_read_out_of_a_body(make_site):
    site = make_site()
    channel = site.connect()
    channel.dataReceived(call(b"{}", "Content-Type: multipart/form-data"))  # without the boundary that Twisted asks for
    assert reply(channel) == (200, "done")

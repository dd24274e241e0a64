"""The PROXY protocol: both versions, in any pieces, from trusted proxies alone."""

import socket
import struct

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.testing import StringTransportWithDisconnection

from scepd.profile.networks import read_networks
from scepd.web.client_address import FORWARDED_FOR, Approach
from scepd.web.proxy_protocol import ProxyHeaderInvalid, ProxyProtocolFactory, read_proxy_header

from .harness import Setting, read_replies

PROXY, CLIENT = "192.0.2.1", "198.51.100.7"
GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
V1 = b"PROXY TCP4 198.51.100.7 192.0.2.1 51234 443\r\n"
V1_6 = b"PROXY TCP6 2001:db8:9::7 2001:db8:1::1 51234 443\r\n"
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def v2(command=0x21, family=0x11, addresses=None, extra=b""):
    if addresses is None:
        addresses = socket.inet_aton(CLIENT) + socket.inet_aton(PROXY) + struct.pack("!HH", 51234, 443)
    return SIGNATURE + struct.pack("!BBH", command, family, len(addresses + extra)) + addresses + extra


def six(text="2001:db8:9::7"):
    return socket.inet_pton(socket.AF_INET6, text) * 2 + struct.pack("!HH", 51234, 443)


GOOD = {
    "v1 TCP4": (V1, CLIENT),
    "v1 TCP6": (V1_6, "2001:db8:9::7"),
    "v1 mapped": (b"PROXY TCP6 ::ffff:198.51.100.7 ::1 1 2\r\n", CLIENT),
    "v1 UNKNOWN": (b"PROXY UNKNOWN\r\n", None),
    "v1 UNKNOWN with addresses": (b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n", None),
    "v2 TCP4": (v2(), CLIENT),
    "v2 TCP6": (v2(family=0x21, addresses=six()), "2001:db8:9::7"),
    "v2 mapped": (v2(family=0x21, addresses=six("::ffff:198.51.100.7")), CLIENT),
    "v2 with TLVs": (v2(extra=b"\x04\x00\x04abcd" * 200), CLIENT),
    "v2 LOCAL": (v2(command=0x20), None),
    "v2 LOCAL empty": (v2(command=0x20, family=0, addresses=b""), None),
    "v2 unspecified": (v2(family=0, addresses=b""), None),
}
BAD = {
    "HTTP": GET,
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "lower case": b"proxy TCP4 198.51.100.7 192.0.2.1 51234 443\r\n",
    "v1 UDP": b"PROXY UDP4 198.51.100.7 192.0.2.1 51234 443\r\n",
    "v1 family": b"PROXY TCP6 198.51.100.7 192.0.2.1 51234 443\r\n",
    "v1 no address": b"PROXY TCP4 198.51.100.777 192.0.2.1 51234 443\r\n",
    "v1 no second address": b"PROXY TCP4 198.51.100.7 ::1 51234 443\r\n",
    "v1 leading zero": b"PROXY TCP4 198.51.100.07 192.0.2.1 51234 443\r\n",
    "v1 port": b"PROXY TCP4 198.51.100.7 192.0.2.1 65536 443\r\n",
    "v1 second port": b"PROXY TCP4 198.51.100.7 192.0.2.1 1 65536\r\n",
    "v1 two spaces": b"PROXY TCP4  198.51.100.7 192.0.2.1 51234 443\r\n",
    "v1 rest": b"PROXY TCP4 198.51.100.7 192.0.2.1 51234 443 x\r\n",
    "v1 UNKNOWNS": b"PROXY UNKNOWNS\r\n",
    "v1 bare LF": b"PROXY TCP4 198.51.100.7 192.0.2.1 51234 443\n" + b"x" * 100,
    "v1 endless": b"PROXY TCP4 " + b"1" * 200,
    "v2 version": v2(command=0x31),
    "v2 command": v2(command=0x22),
    "v2 UDP": v2(family=0x12),
    "v2 unix": v2(family=0x31, addresses=bytes(216)),
    "v2 short": v2(addresses=bytes(8)),
    "v2 short 6": v2(family=0x21, addresses=bytes(12)),
    "v2 long": v2(extra=bytes(5000)),
    "v2 signature": SIGNATURE[:-1] + b"\r" + bytes(20),
}


class Behind:
    """A site behind PROXY headers, and a connection to it whose transport is memory."""

    def __init__(self, peer=PROXY, header=None, **limits):
        self.setting = Setting(**limits)
        approach = Approach(lambda: read_networks(b"192.0.2.0/24\n10.0.0.0/8"), header)
        self.setting.site.approach = approach
        self.factory = ProxyProtocolFactory(self.setting.site, approach, self.setting.clock)
        self.address = IPv4Address("TCP", peer, 40000)
        self.connect()

    def connect(self):
        self.transport = StringTransportWithDisconnection(peerAddress=self.address)
        protocol = self.factory.buildProtocol(self.address)
        if protocol is not None:
            self.transport.protocol = protocol
            protocol.makeConnection(self.transport)

    def send(self, data, size=None):
        for start in range(0, len(data), size or len(data)):
            if self.transport.connected:
                self.transport.protocol.dataReceived(data[start : start + (size or len(data))])
        return self

    @property
    def replies(self):
        return read_replies(self.transport.value())

    @property
    def closed(self):
        return not self.transport.connected


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("size", [None, 1, 7])
def test_S78_a_header_works_in_any_pieces_and_names_the_client(lines, name, size):
    header, address = GOOD[name]
    behind = Behind().send(header + GET, size)
    assert [reply.status for reply in behind.replies] == [200]
    assert f" ip={address or PROXY} " in lines[-1]
    assert (" proxy=yes " in lines[-1]) is (address is None)
    behind.send(GET, size)
    assert len(behind.replies) == 2


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("size", [None, 1])
def test_S78_anything_else_is_closed_without_an_answer(lines, name, size):
    behind = Behind().send(BAD[name] + GET, size)
    assert behind.closed
    assert behind.transport.value() == b""
    assert behind.setting.root.asked == []
    assert "event=proxy_refused" in lines[0]
    assert behind.setting.clock.getDelayedCalls() == []


@pytest.mark.parametrize("name", GOOD)
def test_S78_no_prefix_of_a_header_is_taken_for_a_whole_one(name):
    header, _ = GOOD[name]
    for end in range(1, len(header)):
        assert read_proxy_header(header[:end]) is None
    assert read_proxy_header(header + b"rest")[0] == len(header)


def test_S78_a_client_that_is_no_proxy_is_closed_unread(lines):
    factory = Behind().factory
    for _ in range(50):
        assert factory.buildProtocol(IPv4Address("TCP", CLIENT, 40000)) is None
    assert len([line for line in lines if "event=proxy_refused" in line]) == 1


def test_S78_the_log_counts_what_it_does_not_tell(lines):
    behind = Behind()
    for _ in range(3):
        behind.factory.refused("203.0.113.9", "no trusted proxy")
    behind.setting.clock.advance(60)
    behind.factory.refused("203.0.113.9", "no trusted proxy")
    assert [line.rpartition("count=")[2].strip() for line in lines] == ["1", "3"]


def test_S78_a_header_that_does_not_come_ends_the_connection():
    behind = Behind().send(V1[:20])
    behind.setting.clock.advance(4.9)
    assert not behind.closed
    behind.setting.clock.advance(0.2)
    assert behind.closed


def test_S78_a_proxy_that_leaves_early_leaves_nothing_behind():
    behind = Behind().send(V1[:20])
    behind.transport.loseConnection()
    assert behind.setting.clock.getDelayedCalls() == []
    assert behind.setting.occupancy.connections == 0


def test_S78_the_bounds_count_the_client_of_the_header(lines):
    behind = Behind(per_network=2)
    kept = []
    for _ in range(3):
        behind.connect()
        behind.send(V1)
        kept.append(behind.transport)
    assert [transport.connected for transport in kept] == [True, True, False]
    behind.connect()
    behind.send(b"PROXY TCP4 198.51.100.8 192.0.2.1 1 2\r\n")
    assert behind.transport.connected


def test_S78_a_second_header_is_no_header():
    behind = Behind().send(V1 + V1 + GET)
    assert [reply.status for reply in behind.replies] == [400]


def test_S78_on_other_listeners_a_PROXY_line_is_a_bad_request(lines):
    client = Setting().client(PROXY).send(V1 + GET)
    assert [reply.status for reply in client.replies] == [400]
    assert f" ip={PROXY} " in lines[0]


def test_S77_a_header_counts_only_where_the_PROXY_header_named_a_trusted_proxy(lines):
    forged = GET.replace(b"\r\n\r\n", b"\r\nX-Forwarded-For: 203.0.113.9\r\n\r\n")
    Behind(header=FORWARDED_FOR).send(V1 + forged)
    Behind(header=FORWARDED_FOR).send(b"PROXY TCP4 10.0.0.7 192.0.2.1 1 2\r\n" + forged)
    assert [line.partition(" ip=")[2].split()[0] for line in lines] == [CLIENT, "203.0.113.9"]


def test_S78_nothing_is_guessed_from_nothing():
    with pytest.raises(ProxyHeaderInvalid):
        read_proxy_header(b"\r\n\r\n\0\r\nQUIT\r")

"""Long replies that are one client's own copy: bounded for all of them together, and in time (threats S-70)."""

from twisted.internet.defer import succeed

from scepd.enroll.reply import Answer
from scepd.web.respond import WHOLE

from .harness import read_replies
from .test_scep import Server

MEBIBYTE = 1 << 20
POST = b"POST /scep/routers HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"


def reply_of(server, octets):
    server.routers.result = lambda: succeed(Answer(bytes(octets), "found"))


def test_S70_long_replies_share_half_of_the_octets(lines):
    server = Server(octets=4 * MEBIBYTE)
    occupancy = server.setting.occupancy
    reply_of(server, MEBIBYTE)
    assert occupancy.take_reply(MEBIBYTE)
    assert len(server.ask(b"POST /scep/routers", b"abc").body) == MEBIBYTE
    assert occupancy.replies == MEBIBYTE  # given back when it is sent
    assert occupancy.take_reply(MEBIBYTE)
    refused = server.ask(b"POST /scep/routers", b"abc")
    assert (refused.status, refused.headers[b"Retry-After"]) == (503, b"30")
    assert any("reason=overload" in line for line in lines)
    # Requests and ordinary answers are not kept out by them.
    reply_of(server, WHOLE)
    assert server.ask(b"POST /scep/routers", b"abc").status == 200
    occupancy.give_reply(2 * MEBIBYTE)
    assert occupancy.replies == 0


def test_S70_a_client_that_reads_at_the_last_moment_is_let_go():
    server = Server()
    reply_of(server, 4 * MEBIBYTE)
    client = server.setting.client()
    write, taken = client.transport.write, []

    def write_and_stop(data):
        write(data)
        taken.append(data)
        if len(taken) > 1:  # the head, and a slice
            client.transport.producer.pauseProducing()

    client.transport.write = write_and_stop
    client.send(POST)
    assert client.transport.connected
    for _ in range(40):
        server.setting.pass_time(25)
        if not client.transport.connected:
            break
        taken.clear()
        taken.append(b"")
        client.transport.producer.resumeProducing()
    assert not client.transport.connected
    assert server.setting.clock.seconds() < 200
    assert server.setting.occupancy.replies == 0


def test_S70_who_reads_gets_all_of_it():
    server = Server()
    reply_of(server, 3 * MEBIBYTE + 1)
    client = server.setting.client()
    client.send(POST)
    (reply,) = read_replies(client.received)
    assert reply.body == bytes(3 * MEBIBYTE + 1)

"""CRLs and CA certificates over HTTP, from memory."""

import hashlib
from datetime import UTC, datetime, timedelta

import pytest
from twisted.internet.testing import EventLoggingObserver
from twisted.logger import globalLogPublisher

from scepd.records import Crl
from scepd.web.publication import Publication, PublicationResource
from scepd.web.scep import ScepResource
from scepd.web.tree import Tree

from .harness import Setting, read_replies

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
SMALL, LARGE = b"0\x82crl" * 10, bytes(range(256)) * 20_000


class Clock:
    moment = NOW

    def now(self):
        return self.moment


def crl(number=7, der=SMALL, at=NOW, valid=timedelta(days=7), issuer="devices"):
    return Crl(issuer, number, at, at + valid, der, 1)


class Town(Setting):
    """A site that publishes for the issuer `devices`, and for `quiet` its certificate alone."""

    def __init__(self, *crls, serves=("scep", "publication"), **limits):
        self.time = Clock()
        certificates = {"devices": b"certificate of devices", "quiet": b"certificate of quiet"}
        self.publication = Publication(certificates, ["devices"])
        for one in crls:
            self.publication.renew(one)
        publication = PublicationResource(self.publication, self.time) if "publication" in serves else None
        scep = ScepResource({}) if "scep" in serves else None
        super().__init__(Tree(scep, publication), **limits)

    def ask(self, path="/crl/devices.crl", method="GET", **fields):
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
        client = self.client().send(f"{method} {path} HTTP/1.1\r\nHost: x\r\n{lines}\r\n".encode())
        (reply,) = read_replies(client.received, head=method == "HEAD" or b" 304 " in client.received[:20])
        return reply


@pytest.fixture
def log():
    observer = EventLoggingObserver()
    globalLogPublisher.addObserver(observer)
    yield observer
    globalLogPublisher.removeObserver(observer)


@pytest.mark.parametrize("der", [SMALL, LARGE])
def test_C283_C295_a_crl_is_served_as_der_with_its_type_length_tag_and_date(der):
    reply = Town(crl(der=der)).ask()
    assert (reply.status, reply.body) == (200, der)
    assert reply.headers[b"Content-Type"] == b"application/pkix-crl"
    assert reply.headers[b"Content-Length"] == b"%d" % len(der)
    assert reply.headers[b"Last-Modified"] == b"Sun, 01 Mar 2026 12:00:00 GMT"
    assert reply.headers[b"ETag"].startswith(b'"7-')
    assert reply.headers[b"X-Content-Type-Options"] == b"nosniff"


def test_the_ca_certificate_is_served_as_der():
    town = Town()
    for issuer in ("devices", "quiet"):
        reply = town.ask(f"/ca/{issuer}.cer")
        assert (reply.status, reply.body) == (200, f"certificate of {issuer}".encode())
        assert reply.headers[b"Content-Type"] == b"application/pkix-cert"
        assert hashlib.sha256(reply.body).hexdigest()[:32].encode() in reply.headers[b"ETag"]
        assert town.ask(f"/ca/{issuer}.cer", If_None_Match=reply.headers[b"ETag"].decode()).status == 304


@pytest.mark.parametrize("path", ["/crl/devices.crl", "/ca/devices.cer"])
@pytest.mark.parametrize("der", [SMALL, LARGE])
def test_HEAD_says_what_GET_would_and_sends_nothing(path, der):
    town = Town(crl(der=der))
    got, head = town.ask(path), town.ask(path, "HEAD")
    assert head.status == 200
    assert head.body == b""
    assert {name: value for name, value in head.headers.items() if name != b"Date"} == {
        name: value for name, value in got.headers.items() if name != b"Date"
    }


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_C295_S112_a_client_that_has_it_already_is_told_so_without_the_octets(method):
    town = Town(crl(der=LARGE))
    tag = town.ask().headers[b"ETag"].decode()
    for match in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        reply = town.ask(method=method, If_None_Match=match)
        assert reply.status == 304
        assert reply.headers[b"ETag"] == tag.encode()
        assert reply.headers[b"Content-Length"] == b"%d" % len(LARGE)
    assert town.ask(method=method, If_Modified_Since="Sun, 01 Mar 2026 12:00:00 GMT").status == 304


def test_C295_a_304_leaves_the_connection_in_step():
    town = Town(crl())
    tag = town.ask().headers[b"ETag"]
    client = town.client()
    client.send(b"GET /crl/devices.crl HTTP/1.1\r\nHost: x\r\nIf-None-Match: %b\r\n\r\n" % tag)
    client.send(b"GET /ca/devices.cer HTTP/1.1\r\nHost: x\r\n\r\n")
    first, _, rest = client.received.partition(b"\r\n\r\n")
    assert first.startswith(b"HTTP/1.1 304 Not Modified\r\n")
    (second,) = read_replies(rest)
    assert second.body == b"certificate of devices"


def test_C295_another_tag_or_date_gets_the_whole_and_the_tag_goes_first():
    town = Town(crl())
    tag = town.ask().headers[b"ETag"].decode()
    assert town.ask(If_None_Match='"6-0"').body == SMALL
    assert town.ask(If_Modified_Since="Sat, 28 Feb 2026 12:00:00 GMT").body == SMALL
    assert town.ask(If_None_Match='"6-0"', If_Modified_Since="Sun, 01 Mar 2026 12:00:00 GMT").body == SMALL
    town.publication.renew(crl(8, LARGE))
    assert town.ask(If_None_Match=tag).body == LARGE


def test_C295_the_tag_differs_where_a_restored_store_gives_a_number_again():
    town = Town(crl(7))
    tag = town.ask().headers[b"ETag"]
    town.publication.renew(crl(7, at=NOW + timedelta(seconds=1)))
    assert town.ask().headers[b"ETag"] != tag


@pytest.mark.parametrize(
    ("valid", "age"), [(timedelta(days=7), 3600), (timedelta(minutes=20), 1200), (timedelta(seconds=1), 1)]
)
def test_C295_a_cache_keeps_a_crl_an_hour_at_most_and_never_beyond_its_end(valid, age):
    assert Town(crl(valid=valid)).ask().headers[b"Cache-Control"] == b"max-age=%d" % age


def test_C232_an_expired_crl_is_503_and_so_is_one_that_never_was(log):
    town = Town()
    assert town.ask().status == 503
    town.publication.renew(crl(valid=timedelta(hours=1)))
    town.time.moment = NOW + timedelta(hours=1) - timedelta(seconds=1)
    assert town.ask().status == 200
    town.time.moment = NOW + timedelta(hours=1)
    reply = town.ask()
    assert (reply.status, reply.headers[b"Retry-After"]) == (503, b"60")
    assert town.ask(If_None_Match="*").status == 503
    town.publication.renew(crl(8, at=town.time.moment))
    assert town.ask().status == 200
    reasons = [event["reason"] for event in log if event.get("outcome") == "unavailable"]
    assert set(reasons) == {"no_valid_crl"}


@pytest.mark.parametrize(
    "path", ["/crl/quiet.crl", "/crl/other.crl", "/crl/devices", "/crl/", "/ca/other.cer", "/ca/devices.crl", "/crl/../ca/devices.cer"]
)  # fmt: skip
def test_what_is_not_published_is_404(path):
    assert Town(crl(), crl(issuer="quiet")).ask(path).status == 404


@pytest.mark.parametrize("path", ["/crl/devices.crl", "/ca/devices.cer"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_other_methods_are_405_or_less(path, method):
    reply = Town(crl()).ask(path, method, Content_Length="0")
    assert (reply.status, reply.headers[b"Allow"][:9]) == (405, b"GET, HEAD")


def test_a_listener_serves_only_what_it_is_told_to():
    assert Town(crl(), serves=("scep",)).ask().status == 404
    assert Town(crl(), serves=("publication",)).ask("/scep").status == 404
    assert Town(crl(), serves=("publication",)).ask().status == 200
    assert Town(crl(), serves=("scep", "publication")).ask("/scep").status == 404  # from the SCEP tree: no profile here


def test_one_log_line_for_each_request(log):
    town = Town(crl(der=LARGE))
    town.ask()
    town.ask("/crl/other.crl")
    lines = [event for event in log if event.get("event") == "scep_request"]
    assert [(line["op"], line["outcome"], line["status"]) for line in lines] == [
        ("publication", "served", 200),
        ("publication", "rejected", 404),
    ]


class SlowClient:
    """A client whose transport takes 64 KiB and then says stop, as TCP's does."""

    def __init__(self, town):
        self.client = town.client()
        self.transport = self.client.transport
        self.largest = 0
        write = self.transport.write

        def take(data):
            self.largest = max(self.largest, len(data))
            write(data)
            if len(self.transport.value()) > self.seen + 65_536:
                self.client.protocol.pauseProducing()

        self.seen = 0
        self.transport.write = take

    def read_on(self):
        self.seen = len(self.transport.value())
        self.client.protocol.resumeProducing()


def test_S70_a_slow_reader_holds_slices_and_never_a_copy_of_the_crl():
    town = Town(crl(der=LARGE))
    slow = SlowClient(town)
    slow.client.send(b"GET /crl/devices.crl HTTP/1.1\r\nHost: x\r\n\r\n")
    most, seen = 0, 0
    while len(slow.transport.value()) > seen:
        most, seen = max(most, len(slow.transport.value()) - seen), len(slow.transport.value())
        slow.read_on()
    assert most <= 3 * 65_536
    assert slow.largest <= 65_536
    (reply,) = read_replies(slow.transport.value())
    assert reply.body == LARGE
    slow.client.send(b"GET /ca/devices.cer HTTP/1.1\r\nHost: x\r\n\r\n")
    assert read_replies(slow.transport.value())[1].body == b"certificate of devices"


def test_S70_a_reader_that_stops_is_cut_off_after_the_write_deadline(log):
    town = Town(crl(der=LARGE), write=30)
    slow = SlowClient(town)
    slow.client.send(b"GET /crl/devices.crl HTTP/1.1\r\nHost: x\r\n\r\n")
    town.pass_time(29)
    assert not slow.client.closed
    town.pass_time(3)
    assert slow.client.closed
    assert town.occupancy.admit("192.0.2.0/24")
    (line,) = [event for event in log if event.get("event") == "scep_request"]
    assert line["gone"] is True


def test_S70_a_reader_that_leaves_in_the_middle_is_logged_once(log):
    town = Town(crl(der=LARGE))
    slow = SlowClient(town)
    slow.client.send(b"GET /crl/devices.crl HTTP/1.1\r\nHost: x\r\n\r\n")
    slow.client.close()
    (line,) = [event for event in log if event.get("event") == "scep_request"]
    assert (line["outcome"], line["gone"]) == ("served", True)


def test_C294_a_new_shards_crl_is_served_as_soon_as_it_is_known_and_nobody_elses():
    town = Town(crl())
    assert town.ask("/crl/devices.1.crl").status == 404
    town.publication.renew(crl(der=b"of the second shard", issuer="devices.1"))
    town.publication.renew(crl(der=b"of nobody", issuer="quiet.1"))
    assert town.ask("/crl/devices.1.crl").body == b"of the second shard"
    assert town.ask().body == SMALL
    assert town.ask("/crl/quiet.1.crl").status == 404

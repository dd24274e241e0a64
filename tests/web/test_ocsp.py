"""OCSP over HTTP: both forms, the odd spellings of a path, caching, bounds, and what goes wrong behind it."""

import base64
import threading
import time
from datetime import timedelta
from types import SimpleNamespace
from urllib.parse import quote

import pytest
from cryptography.x509 import ocsp
from cryptography.x509.ocsp import OCSPCertStatus, OCSPResponseStatus
from twisted.internet.defer import Deferred, fail, maybeDeferred

from scepd.ca.prepared import PreparedAnswers
from scepd.ca.responder import Authorities, Responder, Responders
from scepd.hsm.faults import TokenFault
from scepd.hsm.lanes import Lanes as RealLanes
from scepd.message import tlv
from scepd.records import CertificateState, Revocation, RevocationReason, Standing
from scepd.refusal import Unavailable
from scepd.web.gcra import RateLimit
from scepd.web.ocsp import Answering, OcspResource
from scepd.web.scep import ScepResource
from scepd.web.tree import Tree
from scepd.x509.ocsp import ResponderCertificate
from scepd.x509.ocsp_request import SHA256
from tests.hsm.pump import Pump
from tests.x509 import material

from .harness import Setting, read_replies

NOW = material.NOW
MINUTES = timedelta(minutes=5)
NONCE = tlv.sequence(tlv.oid("1.3.6.1.5.5.7.48.1.2"), tlv.octet_string(tlv.octet_string(b"0123456789abcdef")))


class Store:
    """What is on record of the serials that a test names."""

    def __init__(self):
        self.rows, self.number, self.reads = {7: (CertificateState.ISSUED, None)}, 1, 0

    def generation(self):
        return self.number

    def certificate_status(self, _issuer, serial):
        self.reads += 1
        return self.rows.get(serial)

    def responder_certificate(self, _issuer):
        return None


class Lanes:
    def __init__(self, context):
        self.context, self.fault, self.waiting = context, None, None

    def run(self, function, _standing):
        if self.waiting is not None:
            self.waiting.append(Deferred())
            return self.waiting[-1].addCallback(lambda _: function(self.context))
        return fail(self.fault) if self.fault else maybeDeferred(function, self.context)


class Town(Setting):
    """A site that answers for the issuer `devices`."""

    def __init__(self, *, cache=MINUTES, off=False, admit=lambda: None, rate=None, lanes=Lanes):
        self.now, self.store = NOW, Store()
        certificates = {} if off else {"devices": material.issuer("rsa")}
        authorities, self.prepared = Authorities(certificates), PreparedAnswers()
        first = ResponderCertificate.load(
            material.seal(material.ocsp().der, material.ca_key("rsa"), material.issuer().public_key)
        )
        responder = Responder("devices", material.ec_key("ocsp"), first, timedelta(hours=12))
        clock = SimpleNamespace(now=lambda: self.now)
        self.lanes = lanes(
            SimpleNamespace(responders=Responders.of(authorities, [responder]), store=self.store, clock=clock)
        )
        answering = Answering(authorities, self.prepared, dict.fromkeys(certificates, cache), admit, rate)
        super().__init__(Tree(ScepResource({}), None, ocsp=OcspResource(self.lanes, answering, clock)))

    def ask(self, target="/ocsp", body=b"", method="GET", **fields):
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
        if method == "POST":
            lines += f"Content-Length: {len(body)}\r\n"
        client = self.client().send(f"{method} {target} HTTP/1.1\r\nHost: x\r\n{lines}\r\n".encode() + body)
        if not client.received:
            return client
        (reply,) = read_replies(client.received, head=method == "HEAD" or b" 304 " in client.received[:20])
        return reply

    def post(self, der, target="/ocsp", kind="application/ocsp-request"):
        return self.ask(target, der, "POST", Content_Type=kind)

    def get(self, der, **fields):
        return self.ask("/ocsp/" + quote(base64.b64encode(der).decode(), safe=""), **fields)


def request(*serials, nonce=False, issuer=None, algorithm=None):
    authorities = Authorities({"x": issuer or material.issuer("rsa")})
    ids = [authorities.asked_as("x", serial)[algorithm == SHA256].der for serial in serials or (7,)]
    extensions = tlv.explicit(2, tlv.sequence(NONCE)) if nonce else b""
    return tlv.sequence(tlv.sequence(tlv.sequence(*map(tlv.sequence, ids)), extensions))


def said(reply):
    assert reply.status == 200
    assert reply.headers[b"Content-Type"] == b"application/ocsp-response"
    assert reply.headers[b"Content-Length"] == b"%d" % len(reply.body)
    found = ocsp.load_der_ocsp_response(reply.body)
    if found.response_status is not OCSPResponseStatus.SUCCESSFUL:
        assert reply.headers[b"Cache-Control"] == b"no-store"
        return found.response_status
    return [one.certificate_status for one in found.responses]


GOOD, REVOKED, UNKNOWN = OCSPCertStatus.GOOD, OCSPCertStatus.REVOKED, OCSPCertStatus.UNKNOWN


@pytest.mark.parametrize("algorithm", [None, SHA256])
def test_C300_C303_get_and_post_are_answered_for_both_digests(algorithm):
    town = Town()
    asked = request(algorithm=algorithm)
    assert said(town.get(asked)) == [GOOD]
    assert said(town.post(asked)) == [GOOD]
    assert said(town.post(asked, kind="Application/OCSP-Request; charset=x")) == [GOOD]
    assert said(town.post(request(7, 8, algorithm=algorithm))) == [GOOD, REVOKED]


def find_odd():
    """A request whose base64 has all three of / + =, and two slashes in a row."""
    for serial in range(1 << 20, 1 << 23):
        text = base64.b64encode(request(serial)).decode()
        if "//" in text and "+" in text and text.endswith("="):
            return serial, text
    raise AssertionError("none found")


def test_S108_C300_odd_spellings_of_a_path_mean_the_same():
    serial, text = find_odd()
    town = Town()
    town.store.rows[serial] = (CertificateState.ISSUED, None)
    spelled = [
        text,
        quote(text, safe=""),
        quote(text, safe="/+"),
        text.replace("/", "%2f").replace("+", "%2b").replace("=", "%3d"),
        text.rstrip("="),
    ]
    for one in spelled:
        for front in ("/ocsp/", "/ocsp//", "/ocsp/devices/", "/ocsp//devices//"):
            assert said(town.ask(front + one)) == [GOOD], front + one


@pytest.mark.parametrize(
    "target",
    ["/ocsp", "/ocsp/", "/ocsp/devices", "/ocsp/MEIw", "/ocsp/%", "/ocsp/M%zz", "/ocsp/M%20EI", "/ocsp/" + "A" * 30_000],
)
def test_C301_S108_what_is_no_request_is_malformed(target):
    assert said(Town().ask(target)) is OCSPResponseStatus.MALFORMED_REQUEST


@pytest.mark.parametrize("body", [b"", b"\x30\x00", bytes(20_000), request(*range(1, 18))])
def test_C301_S108_a_body_that_is_no_request_within_bounds_is_malformed(body):
    assert said(Town().post(body)) is OCSPResponseStatus.MALFORMED_REQUEST


def test_S108_ten_thousand_certificates_cost_no_more_than_their_octets():
    town = Town()
    body = tlv.sequence(tlv.sequence(tlv.sequence(*[tlv.sequence(b"\x05\x00")] * 10_000)))
    assert said(town.post(body)) is OCSPResponseStatus.MALFORMED_REQUEST
    assert town.post(bytes(300_000)).status == 413


def test_C300_other_media_types_and_paths_beside_it_are_refused():
    town = Town()
    assert town.post(request(), kind="application/octet-stream").status == 415
    assert town.ask(body=request(), method="POST").status == 415
    assert town.ask("/ocspx").status == 404
    off = Town(off=True)
    assert off.get(request()).status == off.post(request()).status == 404


def test_C308_an_answer_by_get_may_be_cached_until_it_is_made_anew():
    town = Town()
    town.now = NOW + timedelta(seconds=10, microseconds=5)
    reply = town.get(request())
    assert reply.headers[b"Cache-Control"] == b"max-age=299, public, no-transform, must-revalidate"
    assert reply.headers[b"Last-Modified"] == b"Sun, 01 Mar 2026 12:00:10 GMT"
    assert reply.headers[b"Expires"] == b"Sun, 01 Mar 2026 12:05:10 GMT"
    found = ocsp.load_der_ocsp_response(reply.body)
    assert found.this_update_utc == NOW + timedelta(seconds=10)
    assert found.next_update_utc == NOW + timedelta(hours=12, seconds=10)
    town.now += timedelta(minutes=4)
    again = town.get(request())
    assert (again.body, again.headers[b"ETag"]) == (reply.body, reply.headers[b"ETag"])
    assert again.headers[b"Cache-Control"].startswith(b"max-age=59,")
    assert town.store.reads == 1
    assert town.get(request(), If_None_Match=again.headers[b"ETag"].decode()).status == 304
    assert town.get(request(), If_Modified_Since="Sun, 01 Mar 2026 12:00:10 GMT").status == 304
    head = town.get(request(), method="HEAD")
    assert (head.status, head.headers[b"Content-Length"]) == (200, b"%d" % len(reply.body))
    town.now += timedelta(minutes=1)
    assert town.get(request()).body != reply.body
    assert town.store.reads == 2


def test_C308_nothing_else_is_cached():
    town = Town()
    for reply in (town.post(request()), town.get(request(nonce=True)), town.get(request(7, 7)), town.get(request(8))):
        assert reply.headers[b"Cache-Control"] == b"no-store"
        assert b"Expires" not in reply.headers
    live = Town(cache=timedelta())
    assert [live.get(request()).headers[b"Cache-Control"] for _ in range(2)] == [b"no-store"] * 2
    assert live.store.reads == 2


def test_C307_a_nonce_comes_back_and_is_never_answered_from_memory():
    town = Town()
    town.get(request())
    for reply in (town.get(request(nonce=True)), town.post(request(nonce=True))):
        extension = ocsp.load_der_ocsp_response(reply.body).extensions[0].value
        assert extension.nonce == b"0123456789abcdef"
    assert town.store.reads == 3


def test_C309_S108_a_revocation_is_said_as_soon_as_the_process_hears_of_it():
    town = Town()
    assert said(town.get(request())) == [GOOD]
    town.store.rows[7] = (CertificateState.REVOKED, Revocation(NOW, RevocationReason.superseded))
    town.store.number += 1
    assert said(town.get(request())) == [GOOD]
    town.prepared.hear(town.store.number)
    assert said(town.get(request())) == [REVOKED]


def test_S112_unknown_serials_are_not_kept_and_leave_the_lanes_to_others():
    town = Town()
    assert [said(town.post(request(serial))) for serial in (8, 8, 9)] == [[REVOKED]] * 3
    assert town.store.reads == 3
    town.lanes.waiting = []
    clients = [town.post(request(serial)) for serial in range(100, 166)]
    assert len(town.lanes.waiting) == 2
    turned_away = town.post(request(200))
    assert said(turned_away) is OCSPResponseStatus.TRY_LATER
    assert turned_away.headers[b"Retry-After"] == b"5"
    for waiting in town.lanes.waiting:  # which grows by the next one's turn
        waiting.callback(None)
    assert len(town.lanes.waiting) == 66
    assert all(said(read_replies(client.received)[0]) == [REVOKED] for client in clients)
    town.lanes.waiting = None
    assert said(town.post(request(200))) == [REVOKED]


def test_S112_whoever_waits_with_the_same_question_has_the_first_ones_answer():
    town = Town()
    town.lanes.waiting = []
    clients = [town.post(request(serial)) for serial in (100, 101, *[7] * 5)]
    for waiting in town.lanes.waiting:
        waiting.callback(None)
    assert len(town.lanes.waiting) in {3, 4}  # one or two of the five were in the making together
    answers = [read_replies(client.received)[0] for client in clients]
    assert [said(answer) for answer in answers] == [[REVOKED]] * 2 + [[GOOD]] * 5


@pytest.fixture
def busy():
    """A town whose one real lane is busy until `free` is set."""
    pump, free, made = Pump(), threading.Event(), []

    def lanes(context):
        made.append(RealLanes(lambda: context, size=1, depth=64, deadline=timedelta(seconds=20), reactor=pump))
        pump.result(made[0].start())
        made[0].run(lambda _context: free.wait(20))
        return made[0]

    town = Town(lanes=lanes)
    town.pump, town.free = pump, free
    yield town
    free.set()
    pump.result(town.lanes.stop())


def flood(town, count):
    """Connections that ask with a nonce, each again as soon as it is answered; return how to turn them."""
    der = request(nonce=True)
    head = f"POST /ocsp HTTP/1.1\r\nHost: x\r\nContent-Type: application/ocsp-request\r\nContent-Length: {len(der)}\r\n\r\n"
    clients = [town.client().send(head.encode() + der) for _ in range(count)]

    def turn():
        for client in clients:
            if client.received:
                client.transport.clear()
                client.send(head.encode() + der)

    return turn


def test_S112_a_flood_of_questions_goes_past_no_device_that_enrols_for_the_first_time(busy):
    turn = flood(busy, 16)
    order = []
    enrolled = [busy.lanes.run(lambda _context: busy.store.reads, Standing.unknown) for _ in range(3)]
    for deferred in enrolled:
        deferred.addCallback(order.append)
    busy.free.set()

    def done():
        turn()
        return len(order) == 3

    busy.pump.until(done)
    assert order == [2, 2, 2]  # the two answers that were in the making before them, and no other


def test_S112_questions_are_answered_while_devices_enrol_without_end(busy):
    answered = busy.post(request(nonce=True))
    ran = []

    def enrol(_result=None):
        if not answered.received and len(ran) < 60:
            ran.append(1)
            busy.lanes.run(lambda _context: time.sleep(0.005), Standing.unknown).addCallback(enrol)

    for _ in range(4):
        enrol()
    busy.free.set()
    busy.pump.until(lambda: answered.received)
    assert said(read_replies(answered.received)[0]) == [GOOD]
    assert len(ran) <= 8


def test_S112_a_network_has_so_many_signatures_a_minute_and_any_number_of_ready_answers():
    now = [0]
    town = Town(rate=RateLimit(2, clock=lambda: now[0]))
    lines = []
    town.site.log = lambda request: lines.append(dict(request.entry))
    assert said(town.get(request())) == [GOOD]
    assert said(town.get(request(nonce=True))) == [GOOD]
    for asked in (request(nonce=True), request(8)):
        limited = town.get(asked)
        assert said(limited) is OCSPResponseStatus.TRY_LATER
        assert limited.headers[b"Retry-After"] == b"30"
        assert (lines[-1]["outcome"], lines[-1]["reason"]) == ("limited", "rate")
    assert town.store.reads == 2
    assert [said(town.get(request())) for _ in range(5)] == [[GOOD]] * 5
    other = town.client("198.51.100.7").send(b"GET /ocsp/%b HTTP/1.1\r\nHost: x\r\n\r\n" % base64.b64encode(request(9)))
    assert said(other.replies[0]) == [REVOKED]
    now[0] += 30 * 10**9
    assert said(town.get(request(nonce=True))) == [GOOD]


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (Unavailable("store: locked"), OCSPResponseStatus.TRY_LATER),
        (TokenFault("device", "gone"), OCSPResponseStatus.TRY_LATER),
        (ValueError("canary"), OCSPResponseStatus.INTERNAL_ERROR),
    ],
)
def test_C301_troubles_of_our_own_are_said_without_a_signature(fault, status):
    town = Town()
    town.lanes.fault = fault
    reply = town.post(request())
    assert said(reply) is status
    assert b"canary" not in reply.body
    town.lanes.fault = None
    assert said(town.post(request())) == [GOOD]


def test_S105_a_store_that_may_have_forgotten_a_revocation_answers_nothing():
    def refuse():
        raise Unavailable("an older store was restored")

    town = Town(admit=refuse)
    assert said(town.get(request())) is OCSPResponseStatus.TRY_LATER
    assert town.store.reads == 0


def test_C301_S108_issuers_of_others_are_not_answered_for():
    town, foreign = Town(), request(issuer=material.issuer("p256"))
    assert said(town.post(foreign)) is OCSPResponseStatus.UNAUTHORIZED
    assert said(town.get(foreign)) is OCSPResponseStatus.UNAUTHORIZED
    assert town.store.reads == 0


def test_a_client_that_has_gone_does_no_harm():
    town = Town()
    town.lanes.waiting = []
    client = town.post(request())
    client.close()
    town.lanes.waiting[0].callback(None)
    assert client.received == b""


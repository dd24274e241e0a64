"""The SCEP tree over HTTP: paths, operations, media types, caching, and what the log says of it."""

import base64
import json
from urllib.parse import quote, quote_from_bytes

import attrs
import pytest
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher

from scepd.enroll.reply import Answer
from scepd.message.errors import MessageError
from scepd.observe.log import LineObserver
from scepd.refusal import Unavailable
from scepd.web.gcra import RateLimit
from scepd.web.scep import Endpoint, Phase, ScepResource, routes

from .harness import Setting, read_replies

MESSAGE = bytes(range(256)) * 8  # its base64 holds "+", "/" and "="
ASK = {"GetCACaps": b"?operation=GetCACaps", "GetCACert": b"?operation=GetCACert"}


class Room:
    """A double of the enrolment room: remembers the messages, answers as it is told."""

    def __init__(self, name, *, certificates=b"\x30\x03one", kind="application/x-x509-ca-cert"):
        self.messages = []
        self.origins = []
        self.result = lambda: succeed(Answer(b"CertRep of " + name.encode(), "issued"))
        self.phase = Phase(b"AES\nPOSTPKIOperation\n" + name.encode(), certificates, kind)
        self.raw = []
        self.endpoint = Endpoint(name, lambda: self.phase, self._answer)

    def _answer(self, message, origin):
        self.messages.append(message)
        self.origins.append(origin)
        return self.result()

    def answer_raw(self, message, origin):
        self.raw.append((message, origin))
        return self.result()


class Server:
    def __init__(self, **limits):
        self.routers = Room("Routers")
        self.phones = Room("Phones", certificates=b"certs-only", kind="application/x-x509-ca-ra-cert")
        tree = ScepResource({"routers": self.routers.endpoint, "phones": self.phones.endpoint}, default="routers")
        self.setting = Setting(tree, **limits)

    def ask(self, request, body=b"", *fields):
        client = self.setting.client()
        length = b"Content-Length: %d\r\n" % len(body) if request.startswith(b"POST") else b""
        client.send(
            request + b" HTTP/1.1\r\nHost: x\r\n" + length + b"".join(f + b"\r\n" for f in fields) + b"\r\n" + body
        )
        (reply,) = read_replies(client.received, head=request.startswith(b"HEAD"))
        return reply

    def post(self, body=MESSAGE, *fields, path=b"/scep/routers?operation=PKIOperation"):
        return self.ask(b"POST " + path, body, *fields)


@pytest.fixture
def server():
    return Server()


def test_C001_a_posted_message_reaches_the_room_as_it_is(server):
    reply = server.post()
    assert (reply.status, reply.body) == (200, b"CertRep of Routers")
    assert reply.headers[b"Content-Type"] == b"application/x-pki-message"
    assert reply.headers[b"Content-Length"] == b"18"
    assert server.routers.messages == [MESSAGE]
    assert server.routers.origins[0].address == "192.0.2.7"


@pytest.mark.parametrize("query", [b"", b"?", b"?message=x", b"?operation=", b"?OPERATION=pkioperation", b"?x=y"])
def test_C002_a_post_is_a_PKIOperation_without_saying_so(server, query):
    assert server.post(path=b"/scep/routers" + query).body == b"CertRep of Routers"
    assert server.routers.messages == [MESSAGE]


@pytest.mark.parametrize("operation", [b"GetCACert", b"GetCACaps", b"GetNextCACert", b"Nonsense"])
def test_C003_a_post_of_another_operation_is_400(server, operation):
    reply = server.post(path=b"/scep/routers?operation=" + operation)
    assert (reply.status, reply.headers[b"Content-Type"]) == (400, b"text/plain")
    assert server.routers.messages == []


@pytest.mark.parametrize(
    "kind",
    [None, b"application/x-pki-message", b"application/octet-stream", b"text/html", b"", b"x", b"a/b; charset=\xff"],
)
def test_C004_the_content_type_of_a_post_means_nothing(server, kind):
    fields = [] if kind is None else [b"Content-Type: " + kind]
    assert server.post(MESSAGE, *fields).body == b"CertRep of Routers"
    assert server.routers.messages == [MESSAGE]


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (b"application/x-www-form-urlencoded", MESSAGE),
        (b"application/x-www-form-urlencoded", b"operation=GetCACert&message=evil&x=%zz"),
        (b"APPLICATION/X-WWW-FORM-URLENCODED; charset=utf-8", b"operation=GetCACert"),
        (b"multipart/form-data; boundary=b", MESSAGE),
        (b"multipart/form-data", MESSAGE),
        (
            b"multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="operation"\r\n\r\nGetCACert\r\n--b--\r\n',
        ),
    ],
)
def test_C005_S72_forms_are_raw_octets_and_overwrite_nothing(server, kind, body):
    assert server.post(body, b"Content-Type: " + kind).body == b"CertRep of Routers"
    assert server.routers.messages == [body]


def _spell(spelling):
    text = base64.b64encode(MESSAGE).decode()
    wrapped = "\n".join(text[i : i + 64] for i in range(0, len(text), 64))
    return {
        "all escaped": quote(text, safe=""),
        "none escaped": text,
        "only = escaped": text.replace("=", "%3D"),
        "URL-safe": text.replace("+", "-").replace("/", "_"),
        "URL-safe, no padding": text.replace("+", "-").replace("/", "_").rstrip("="),
        "line feeds": quote(wrapped + "\n", safe="/"),
        "CR LF": quote(wrapped.replace("\n", "\r\n"), safe=""),
        "spaces": quote(text.replace("+", " "), safe=""),
        "lower-case escapes": quote(text, safe="").replace("%2B", "%2b").replace("%2F", "%2f"),
    }[spelling].encode()


SPELLINGS = [
    "all escaped",
    "none escaped",
    "only = escaped",
    "URL-safe",
    "URL-safe, no padding",
    "line feeds",
    "CR LF",
    "spaces",
    "lower-case escapes",
]


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_C006_C007_C008_C009_C010_a_message_by_GET_in_every_spelling(server, spelling):
    reply = server.ask(b"GET /scep/routers?operation=PKIOperation&message=" + _spell(spelling))
    assert (reply.status, reply.body) == (200, b"CertRep of Routers")
    assert reply.headers[b"Content-Type"] == b"application/x-pki-message"
    assert server.routers.messages == [MESSAGE]


def test_C006_the_message_may_come_before_the_operation(server):
    server.ask(b"GET /scep/routers?message=" + _spell("all escaped") + b"&operation=PKIOperation")
    assert server.routers.messages == [MESSAGE]


def test_C019_a_message_of_14_kib_by_GET(server):
    message = MESSAGE * 7
    reply = server.ask(
        b"GET /scep/routers?operation=PKIOperation&message=" + quote_from_bytes(base64.b64encode(message)).encode()
    )
    assert reply.status == 200
    assert server.routers.messages == [message]


def test_C007_S130_two_percent_layers_are_400(server):
    text = _spell("all escaped").replace(b"%", b"%25")
    assert server.ask(b"GET /scep/routers?operation=PKIOperation&message=" + text).status == 400
    assert server.routers.messages == []


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"&message=",
        b"&message=%21%21%21%21",
        b"&message=A",
        b"&message=AAA%00",
        b"&message=QUFB%C3%A9",
        b"&message=AA==AA==",
    ],
)
def test_C011_S130_a_message_that_is_no_base64_is_400(server, message):
    assert server.ask(b"GET /scep/routers?operation=PKIOperation" + message).status == 400
    assert server.routers.messages == []


@pytest.mark.parametrize(
    "query",
    [
        b"operation=GetCACert&operation=GetCACaps",
        b"operation=GetCACert&operation=PKIOperation&message=QUFB",
        b"operation=PKIOperation&message=QUFB&message=QUFC",
        b"operation=GetCACert&Operation=GetCACaps",
    ],
)
def test_C012_S72_repeated_parameters_with_different_values_are_400(server, query):
    assert server.ask(b"GET /scep/routers?" + query).status == 400
    assert server.routers.messages == []


def test_C012_a_semicolon_separates_nothing(server):
    assert server.ask(b"GET /scep/routers?operation=GetCACert&message=a;operation=GetCACaps").status == 200
    assert server.ask(b"GET /scep/routers?operation=GetCACert;operation=GetCACaps").status == 400


@pytest.mark.parametrize("operation", [b"GetCACaps", b"getcacaps", b"GETCACAPS", b"GetCaCaps"])
def test_C013_operations_match_in_any_letter_case(server, operation):
    assert server.ask(b"GET /scep/routers?operation=" + operation).body.startswith(b"AES\n")


@pytest.mark.parametrize("query", [b"", b"?", b"?operation=", b"?message=Example%20CA"])
def test_C014_a_GET_without_operation_gets_the_capabilities(server, query):
    assert server.ask(b"GET /scep/routers" + query).body.startswith(b"AES\n")


@pytest.mark.parametrize("operation", [b"GetCACertChain", b"Nonsense", b"PKIOperation%00", b"PKIOperation ", b"1"])
def test_C014_C056_an_unknown_operation_is_400(server, operation):
    assert server.ask(b"GET /scep/routers?operation=" + operation).status == 400


DEFAULT_PATHS = [b"/scep", b"/scep/pkiclient.exe", b"/cgi-bin/pkiclient.exe", b"/pkiclient.exe"]


@pytest.mark.parametrize("slash", [b"", b"/"])
@pytest.mark.parametrize(
    ("path", "profile"),
    [(path, b"Routers") for path in DEFAULT_PATHS]
    + [(b"/scep/routers", b"Routers"), (b"/scep/phones", b"Phones"), (b"/scep/phones/pkiclient.exe", b"Phones")],
)
def test_C015_every_path_reaches_its_profile(server, path, slash, profile):
    assert server.ask(b"GET " + path + slash + ASK["GetCACaps"]).body.endswith(profile)
    assert server.post(path=path + slash).body == b"CertRep of " + profile


STRANGE = [
    b"/", b"//", b"/scep/unknown", b"/scep/unknown/pkiclient.exe", b"/SCEP", b"/Scep/routers", b"/scep/Routers",
    b"/scep/ROUTERS", b"//scep", b"/scep//", b"/scep//routers", b"/scep/routers//", b"/scep/./routers", b"/scep/../scep",
    b"/scep/%2e%2e/x", b"/scep/%2e", b"/scep/..%2frouters", b"/scep%2frouters", b"/scep/router%73", b"/scep/%72outers",
    b"/scep/routers;jsession=1", b"/scep;x", b"/scep/routers%00", b"/scep%00", b"/scep/routers%20", b"/scep/routers.",
    b"/scep/routers/x", b"/scep/routers/pkiclient.exe/x", b"/scep/routers/PKICLIENT.EXE", b"/scep/r%C3%B6uters",
    b"/scep/routers\\", b"/scep\\routers", b"/cgi-bin", b"/cgi-bin/", b"/cgi-bin/pkiclient", b"/cgi-bin/../scep",
    b"/scep/phones/../routers", b"/pkiclient.exe/x", b"/scep/" + b"a" * 5000, b"/scep/pkiclient.exe/routers",
    b"/scep-mtls/routers", b"/scep-raw/routers",
]  # fmt: skip


@pytest.mark.parametrize("path", STRANGE)
def test_C015_S73_any_other_path_is_404_and_never_the_default_profile(server, path):
    reply = server.ask(b"GET " + path + ASK["GetCACaps"])
    assert reply.status == 404
    assert b"AES" not in reply.body
    assert server.post(path=path).status == 404
    assert server.routers.messages == server.phones.messages == []


@pytest.mark.parametrize("path", [b"/livez", b"/readyz", b"/health", b"/metrics", b"/api", b"/server-status"])
def test_S134_nothing_but_SCEP_on_this_listener(server, path):
    assert server.ask(b"GET " + path).status == 404


def test_C015_without_a_default_profile_its_paths_are_404():
    room = Room("Routers")
    tree = ScepResource({"routers": room.endpoint})
    for path in DEFAULT_PATHS:
        client = Setting(tree).client().send(b"GET " + path + b" HTTP/1.1\r\n\r\n")
        assert client.replies[0].status == 404


def test_every_route_is_explicit():
    one, two = Room("a").endpoint, Room("b").endpoint
    table = routes({"a": one, "b": two}, "b")
    assert {path for path, endpoint in table.items() if endpoint is one} == {
        b"/scep/a", b"/scep/a/", b"/scep/a/pkiclient.exe", b"/scep/a/pkiclient.exe/",
    }  # fmt: skip
    assert len(table) == 4 + 4 + 8


@pytest.mark.parametrize(
    "ident", [b"", b"0", b"1", b"default", b"My%20CA", b"MobileIronSCEP", b"Phones", b"phones", b"%FF"]
)
@pytest.mark.parametrize("operation", ASK)
def test_C016_the_ident_is_a_hint_that_never_names_another_profile(server, operation, ident):
    with_ident = server.ask(b"GET /scep/routers" + ASK[operation] + b"&message=" + ident)
    assert with_ident.body == server.ask(b"GET /scep/routers" + ASK[operation]).body


@pytest.mark.parametrize("path", [b"/scep/routers?operation=PKIOperation", b"/elsewhere"])
@pytest.mark.parametrize("method", [b"PUT", b"DELETE", b"OPTIONS", b"TRACE", b"PATCH"])
def test_C017_other_methods_are_405(server, method, path):
    reply = server.ask(method + b" " + path)
    assert (reply.status, reply.headers[b"Allow"]) == (405, b"GET, HEAD, POST")


@pytest.mark.parametrize("operation", ASK)
def test_HEAD_is_answered_for_what_the_CA_says_of_itself(server, operation):
    reply = server.ask(b"HEAD /scep/routers" + ASK[operation])
    full = server.ask(b"GET /scep/routers" + ASK[operation])
    assert reply.headers == full.headers
    assert (reply.status, reply.body) == (200, b"")


def test_HEAD_never_executes_a_PKIOperation(server):
    reply = server.ask(b"HEAD /scep/routers?operation=PKIOperation&message=" + _spell("all escaped"))
    assert (reply.status, reply.headers[b"Allow"]) == (405, b"GET, POST")
    assert server.routers.messages == []


def test_C022_no_media_type_has_a_parameter(server):
    replies = [
        server.ask(b"GET /scep/routers" + ASK["GetCACaps"]),
        server.ask(b"GET /scep/routers" + ASK["GetCACert"]),
        server.ask(b"GET /scep/phones" + ASK["GetCACert"]),
        server.post(),
        server.ask(b"GET /nowhere"),
    ]
    assert [reply.headers[b"Content-Type"] for reply in replies] == [
        b"text/plain",
        b"application/x-x509-ca-cert",
        b"application/x-x509-ca-ra-cert",
        b"application/x-pki-message",
        b"text/plain",
    ]


def test_C023_S76_messages_are_not_stored_and_the_CA_s_words_only_for_a_moment(server):
    by_get = server.ask(b"GET /scep/routers?operation=PKIOperation&message=" + _spell("all escaped"))
    assert by_get.headers[b"Cache-Control"] == server.post().headers[b"Cache-Control"] == b"no-store"
    for operation in ASK.values():
        assert server.ask(b"GET /scep/routers" + operation).headers[b"Cache-Control"] == b"max-age=300"


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"GET /scep/routers?operation=Nonsense", 400),
        (b"GET /scep/routers?operation=GetCACaps&operation=GetCACert", 400),
        (b"GET /scep/routers?operation=PKIOperation&message=%21", 400),
        (b"GET /scep/routers?operation=GetNextCACert", 404),
        (b"GET /scep/nowhere?operation=GetCACaps", 404),
        (b"HEAD /scep/routers?operation=PKIOperation&message=QUFB", 405),
        (b"DELETE /scep/routers?operation=GetCACaps", 405),
    ],
)
def test_S76_no_refusal_is_stored(server, line, status):
    reply = server.ask(line)
    assert (reply.status, reply.headers[b"Cache-Control"]) == (status, b"no-store")


UNKEYED = [
    b"Accept: text/html", b"Accept-Encoding: gzip, br", b"Accept-Language: de", b"Authorization: Basic eDp4", b"Cookie: a=b",
    b"User-Agent: <b>", b"Content-Type: text/html", b"X-Forwarded-Host: evil.example", b"X-Forwarded-For: 203.0.113.9",
    b"Forwarded: host=evil.example", b"X-Original-URL: /scep/phones", b"X-Rewrite-URL: /scep/phones", b"Range: bytes=0-1",
    b"X-HTTP-Method-Override: DELETE", b"If-Modified-Since: Sun, 06 Nov 2044 08:49:37 GMT", b"If-None-Match: *",
    b"Origin: https://evil.example", b"Referer: https://evil.example", b"Sec-Fetch-Site: cross-site",
]  # fmt: skip


@pytest.mark.parametrize("operation", ASK.values())
def test_S76_nothing_but_the_target_decides_what_a_cache_is_given(server, operation):
    """Whatever else a client sends is in no cache's key: it must not be in the answer that the next one gets."""

    def told(body, field):
        reply = server.ask(b"GET /scep/routers" + operation, body, field)
        return reply.status, {name: value for name, value in reply.headers.items() if name != b"Date"}, reply.body

    expected = told(b"", b"X: y")
    assert (expected[0], b"Vary" in expected[1]) == (200, False)
    for field in UNKEYED:
        assert told(b"", field) == expected, field
    assert told(b"operation=GetNextCACert", b"Content-Length: 23") == expected


@pytest.mark.parametrize("how", ["errback", "raise"])
def test_C025_our_own_unavailability_is_503_with_retry_after(server, how):
    def unavailable():
        if how == "raise":
            raise Unavailable("token_lost", 7)
        return fail(Unavailable("token_lost", 7))

    server.routers.result = unavailable
    reply = server.post()
    assert (reply.status, reply.headers[b"Retry-After"], reply.headers[b"Cache-Control"]) == (503, b"7", b"no-store")
    assert reply.headers[b"Content-Type"] == b"text/plain"
    assert b"token" not in reply.body


def test_C025_an_answer_that_is_unavailable_is_503_with_our_text(server):
    server.routers.result = lambda: succeed(Answer(b"", "unavailable", status=503, retry_after=1, reason="issuing"))
    reply = server.post()
    assert (reply.status, reply.headers[b"Retry-After"]) == (503, b"1")
    assert reply.headers[b"Content-Type"] == b"text/plain"


@pytest.mark.parametrize("how", ["errback", "raise"])
def test_C025_an_unexpected_error_is_503_and_in_the_log(server, lines, how):
    def broken():
        if how == "raise":
            raise KeyError("internal canary")
        return fail(KeyError("internal canary"))

    server.routers.result = broken
    reply = server.post()
    assert (reply.status, reply.headers[b"Retry-After"]) == (503, b"5")
    assert b"canary" not in reply.body
    assert sum("event=unexpected_error" in line for line in lines) == 1
    assert sum("event=scep_request outcome=unavailable reason=internal_error" in line for line in lines) == 1


def test_C026_a_refusal_is_a_CertRep_with_200(server):
    refusal = Answer(b"FAILURE", "rejected", reason="challenge_invalid", fail_info="badRequest")
    server.routers.result = lambda: succeed(refusal)
    reply = server.post()
    assert (reply.status, reply.headers[b"Content-Type"]) == (200, b"application/x-pki-message")


@pytest.mark.parametrize("how", ["errback", "raise", "answer"])
def test_C026_what_can_be_attributed_to_nobody_is_400(server, how):
    def unreadable():
        if how == "answer":
            return succeed(Answer(b"parser says", "malformed", status=400, detail="parser says"))
        if how == "raise":
            raise MessageError("parser says")
        return fail(MessageError("parser says"))

    server.routers.result = unreadable
    reply = server.post()
    assert (reply.status, reply.headers[b"Content-Type"]) == (400, b"text/plain")
    assert reply.body.startswith(b"bad request (request ")
    assert b"parser" not in reply.body


def test_an_empty_post_is_400(server):
    assert server.post(b"").status == 400
    assert server.ask(b"POST /scep/routers?operation=PKIOperation", b"", b"Content-Type: x/y").status == 400
    assert server.routers.messages == []


def test_C030_C031_the_capabilities_are_served_as_text(server):
    reply = server.ask(b"GET /scep/routers" + ASK["GetCACaps"])
    assert (reply.status, reply.body) == (200, b"AES\nPOSTPKIOperation\nRouters")
    assert reply.headers[b"Content-Type"] == b"text/plain"


def test_C045_C046_C048_the_certificates_are_served_as_what_they_are(server):
    one = server.ask(b"GET /scep/routers" + ASK["GetCACert"])
    assert (one.body, one.headers[b"Content-Type"]) == (b"\x30\x03one", b"application/x-x509-ca-cert")
    many = server.ask(b"GET /scep/phones" + ASK["GetCACert"])
    assert (many.body, many.headers[b"Content-Type"]) == (b"certs-only", b"application/x-x509-ca-ra-cert")


def test_C054_no_header_is_needed(server):
    client = server.setting.client().send(b"GET /scep?operation=GetCACert HTTP/1.0\r\n\r\n")
    assert client.replies[0].status == 200


def test_C060_the_next_CA_is_served_while_there_is_one(server):
    server.routers.phase = attrs.evolve(server.routers.phase, next_ca=lambda: succeed(b"signed"))
    reply = server.ask(b"GET /scep/routers?operation=GetNextCACert&message=Example%20CA")
    assert (reply.status, reply.body) == (200, b"signed")
    assert reply.headers[b"Content-Type"] == b"application/x-x509-next-ca-cert"
    assert server.ask(b"GET /scep/phones?operation=GetNextCACert").status == 404
    head = server.ask(b"HEAD /scep/routers?operation=GetNextCACert")
    assert (head.status, head.body, head.headers) == (200, b"", reply.headers)


def test_C060_while_its_signature_cannot_be_made_the_answer_is_503(server):
    server.routers.phase = attrs.evolve(server.routers.phase, next_ca=lambda: fail(Unavailable("the token is away", 7)))
    reply = server.ask(b"GET /scep/routers?operation=GetNextCACert")
    assert (reply.status, reply.headers[b"Retry-After"]) == (503, b"7")


def test_C060_the_signature_may_take_its_time(server):
    signed = Deferred()
    server.routers.phase = attrs.evolve(server.routers.phase, next_ca=lambda: signed)
    client = server.setting.client().send(b"GET /scep/routers?operation=GetNextCACert HTTP/1.1\r\nHost: x\r\n\r\n")
    assert client.received == b""
    signed.callback(b"signed")
    assert client.replies[0].body == b"signed"


def test_the_phase_of_the_moment_is_served(server):
    server.ask(b"GET /scep/routers" + ASK["GetCACert"])
    server.routers.phase = Phase(b"AES", b"new", "application/x-x509-ca-cert")
    assert server.ask(b"GET /scep/routers" + ASK["GetCACert"]).body == b"new"
    assert server.ask(b"GET /scep/routers" + ASK["GetCACaps"]).body == b"AES"


def test_C056_the_chain_is_served_where_the_profile_has_it_and_400_elsewhere(server):
    server.routers.phase = attrs.evolve(server.routers.phase, ca_chain=b"the chain")
    reply = server.ask(b"GET /scep/routers?operation=GetCACertChain")
    assert (reply.status, reply.body) == (200, b"the chain")
    assert reply.headers[b"Content-Type"] == b"application/x-x509-ca-ra-cert-chain"
    assert server.ask(b"GET /scep/phones?operation=GetCACertChain").status == 400
    assert server.post(path=b"/scep/routers?operation=GetCACertChain").status == 400


def changed(**changes):
    """Return a server over TLS or not, whose one profile has a changed endpoint, and its room."""
    room = Room("Routers")
    endpoint = attrs.evolve(
        room.endpoint, **{k: getattr(room, v) if k == "answer_raw" else v for k, v in changes.items()}
    )
    return room, Setting(ScepResource({"routers": endpoint}, default="routers"))


def test_O_a_get_only_profile_takes_no_post(server):
    room, setting = changed(get_only=True)
    client = setting.client().send(b"POST /scep/routers HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc")
    (reply,) = client.replies
    assert (reply.status, reply.headers[b"Allow"]) == (405, b"GET")
    head = setting.client().send(b"HEAD /scep/routers?operation=PKIOperation&message=QUFB HTTP/1.1\r\nHost: x\r\n\r\n")
    assert read_replies(head.received, head=True)[0].headers[b"Allow"] == b"GET"
    assert room.messages == []
    by_get = setting.client().send(b"GET /scep/routers?operation=PKIOperation&message=QUFB HTTP/1.1\r\nHost: x\r\n\r\n")
    assert by_get.replies[0].body == b"CertRep of Routers"


RAW = b" /scep-raw/routers HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"


def test_C108_a_bare_request_is_taken_on_its_own_route_over_tls():
    room, setting = changed(answer_raw="answer_raw")
    room.result = lambda: succeed(Answer(b"p7", "issued", content_type="application/pkcs7-mime; smime-type=certs-only"))
    (reply,) = setting.client(tls=True).send(b"POST" + RAW).replies
    assert (reply.status, reply.body) == (200, b"p7")
    assert reply.headers[b"Content-Type"] == b"application/pkcs7-mime; smime-type=certs-only"
    ((message, origin),) = room.raw
    assert (message, origin.address) == (b"abc", "192.0.2.7")
    assert room.messages == []


def test_S77_C108_a_bare_request_from_a_web_page_is_refused():
    room, setting = changed(answer_raw="answer_raw")
    (reply,) = setting.client(tls=True).send(b"POST" + RAW.replace(b"Host: x", b"Host: x\r\nOrigin: null")).replies
    assert (reply.status, room.raw) == (403, [])


@pytest.mark.parametrize("operation", list(ASK))
def test_S77_what_the_CA_says_of_itself_is_for_browsers_too(server, operation):
    assert (
        server.ask(b"GET /scep" + ASK[operation], b"", b"Referer: http://x/", b"Sec-Fetch-Mode: navigate").status == 200
    )


def test_C108_over_plain_http_there_is_no_such_route():
    room, setting = changed(answer_raw="answer_raw")
    assert setting.client().send(b"POST" + RAW).replies[0].status == 404
    assert room.raw == room.messages == []


def test_C108_without_the_switch_there_is_no_such_route_and_never_a_fall_through():
    room, setting = changed()
    assert setting.client(tls=True).send(b"POST" + RAW).replies[0].status == 404
    room, setting = changed(answer_raw="answer_raw")
    other = RAW.replace(b"/scep-raw/", b"/scep/")
    setting.client(tls=True).send(b"POST" + other)
    assert (room.raw, room.messages) == ([], [b"abc"])


@pytest.mark.parametrize(
    "path", [b"/scep-raw", b"/scep-raw/", b"/scep-raw/routers/", b"/scep-raw/phones", b"/scep-raw/Routers"]
)
def test_C108_S73_any_other_raw_path_is_404(path):
    room, setting = changed(answer_raw="answer_raw")
    assert setting.client(tls=True).send(b"POST" + RAW.replace(b"/scep-raw/routers", path)).replies[0].status == 404
    assert room.raw == []


@pytest.mark.parametrize(("method", "allow"), [(b"GET", b"POST"), (b"HEAD", b"POST")])
def test_C108_a_bare_request_comes_by_post_alone(method, allow):
    room, setting = changed(answer_raw="answer_raw")
    client = setting.client(tls=True).send(method + b" /scep-raw/routers HTTP/1.1\r\nHost: x\r\n\r\n")
    (reply,) = read_replies(client.received, head=method == b"HEAD")
    assert (reply.status, reply.headers[b"Allow"]) == (405, allow)
    assert room.raw == []


def test_C108_an_empty_bare_request_is_400():
    room, setting = changed(answer_raw="answer_raw")
    client = setting.client(tls=True).send(RAW.replace(b" /", b"POST /", 1).replace(b"3\r\n\r\nabc", b"0\r\n\r\n"))
    assert client.replies[0].status == 400
    assert room.raw == []


@pytest.mark.parametrize(
    ("status", "words"), [(202, b"approval"), (400, b"bad request"), (403, b"refused"), (503, b"again")]
)
def test_C108_refusals_of_a_bare_request_are_plain_text(status, words):
    room, setting = changed(answer_raw="answer_raw")
    room.result = lambda: succeed(Answer(b"", "rejected", status=status, retry_after=60))
    (reply,) = setting.client(tls=True).send(b"POST" + RAW).replies
    assert (reply.status, reply.headers[b"Content-Type"]) == (status, b"text/plain")
    assert words in reply.body


def test_C108_S91_bare_requests_share_the_rate_of_their_network():
    room = Room("Routers")
    endpoint = attrs.evolve(room.endpoint, answer_raw=room.answer_raw)
    rate = RateLimit(1, clock=lambda: 0)
    setting = Setting(ScepResource({"routers": endpoint}, rate=rate))
    statuses = [setting.client(tls=True).send(b"POST" + RAW).replies[0].status for _ in range(3)]
    assert 429 in statuses
    assert len(room.raw) == statuses.count(200)


def test_C065_without_a_next_CA_GetNextCACert_is_404_like_any_unknown_path(server):
    known = server.ask(b"GET /scep/routers?operation=GetNextCACert")
    unknown = server.ask(b"GET /scep/nobody?operation=GetNextCACert")
    assert known.status == unknown.status == 404
    assert known.body[:10] == unknown.body[:10]
    assert {**known.headers, b"Date": b""} == {**unknown.headers, b"Date": b""}


def test_a_room_that_answers_later(server):
    later = Deferred()
    server.routers.result = lambda: later
    client = server.setting.client().send(b"POST /scep HTTP/1.1\r\nContent-Length: 1\r\n\r\nx")
    assert client.received == b""
    later.callback(Answer(b"CertRep", "pending"))
    assert client.replies[0].body == b"CertRep"


def test_a_late_answer_is_dropped_and_logged(server, lines):
    later = Deferred()
    server.routers.result = lambda: later
    client = server.setting.client().send(b"POST /scep HTTP/1.1\r\nContent-Length: 1\r\n\r\nx")
    server.setting.pass_time(62)
    assert [reply.status for reply in client.replies] == [503]
    later.callback(Answer(b"CertRep", "issued"))
    assert [reply.status for reply in client.replies] == [503]
    assert any("event=late_answer outcome=issued" in line for line in lines)


def test_a_late_failure_is_dropped_but_not_lost(server, lines):
    later = Deferred()
    server.routers.result = lambda: later
    server.setting.client().send(b"POST /scep HTTP/1.1\r\nContent-Length: 1\r\n\r\nx")
    server.setting.pass_time(62)
    later.errback(KeyError("x"))
    assert any("event=unexpected_error" in line for line in lines)


def test_a_client_that_left_is_in_the_log_with_its_outcome(server, lines):
    later = Deferred()
    server.routers.result = lambda: later
    server.setting.client().send(b"POST /scep HTTP/1.1\r\nContent-Length: 1\r\n\r\nx").close()
    later.callback(Answer(b"CertRep", "issued", transaction_id="17"))
    (line,) = lines
    assert "outcome=issued profile=Routers op=PKIOperation txn=17 " in line
    assert "gone=yes" in line


def test_the_log_line_has_its_keys_in_their_order(server):
    written = []
    observer = LineObserver(written.append, style="json")
    globalLogPublisher.addObserver(observer)
    refusal = Answer(
        b"x", "rejected", reason="challenge_invalid", fail_info="badRequest", message_type="PKCSReq", transaction_id="3f9a",
        subject="r1", detail="no such challenge", again=True,
    )  # fmt: skip
    server.routers.result = lambda: succeed(refusal)
    server.post()
    globalLogPublisher.removeObserver(observer)
    (line,) = written
    found = json.loads(line)
    assert list(found) == [
        "time", "level", "event", "outcome", "reason", "fail_info", "profile", "op", "type", "txn", "ip", "cn", "ms",
        "request_id", "status", "detail", "again",
    ]  # fmt: skip
    assert (found["event"], found["outcome"], found["ip"], found["status"]) == (
        "scep_request",
        "rejected",
        "192.0.2.7",
        200,
    )
    assert found["request_id"] == "0000000000000001"


def test_milliseconds_are_those_of_the_request(server, lines):
    later = Deferred()
    server.routers.result = lambda: later
    server.setting.client().send(b"POST /scep HTTP/1.1\r\nContent-Length: 1\r\n\r\nx")
    server.setting.clock.advance(0.25)
    later.callback(Answer(b"CertRep", "issued"))
    assert " ms=250 " in lines[0]


def test_S33_no_message_and_no_query_is_ever_logged(server, lines):
    canary = base64.b64encode(b"canary-challenge" * 4)
    server.ask(b"GET /scep/routers?operation=PKIOperation&message=" + canary)
    server.ask(b"GET /scep/routers?operation=PKIOperation&message=!" + canary)
    server.ask(b"GET /scep/routers?operation=PKIOperation&message=a&message=" + canary)
    server.ask(b"GET /scep/routers?operation=" + canary)
    server.ask(b"GET /nowhere/" + canary + b"?message=" + canary)
    server.post(canary)
    server.routers.result = lambda: fail(KeyError("x"))
    server.post(canary)
    assert len([line for line in lines if "event=scep_request" in line]) == 7
    assert canary.decode() not in "".join(lines)


def test_S33_the_representation_of_a_request_has_no_query(server):
    later = Deferred()
    server.routers.result = lambda: later
    client = server.setting.client().send(b"GET /scep?operation=PKIOperation&message=Y2FuYXJ5 HTTP/1.1\r\n\r\n")
    assert "Y2FuYXJ5" not in repr(client.protocol.requests[0])


@pytest.mark.parametrize("hostile", ["a\r\nevent=x", "\x1b[31m", '"', "\u2028", "x" * 1_000_000])
def test_S123_S133_hostile_fields_give_one_line_and_the_address_stays_the_address(server, lines, hostile):
    answer = Answer(
        b"x", "rejected", transaction_id=hostile + " ip=6.6.6.6", subject=hostile + " ip=6.6.6.6", detail=hostile
    )
    server.routers.result = lambda: succeed(answer)
    server.post(MESSAGE, b"User-Agent: x\xe9 ip=6.6.6.6", b"X-Forwarded-For: 6.6.6.6")
    (line,) = lines
    assert len(line.splitlines()) == 1
    assert len(line) < 5000
    assert line.count(" ip=") == 1
    assert " ip=192.0.2.7 " in line


FORWARDED = [
    b"X-Forwarded-For: 6.6.6.6",
    b"X-Forwarded-For: 6.6.6.6, 192.0.2.1",
    b"CF-Connecting-IP: 6.6.6.6",
    b"Forwarded: for=6.6.6.6",
    b"X-Real-IP: 6.6.6.6",
    b"X-Forwarded-For: " + b"6.6.6.6, " * 1000,
]


@pytest.mark.parametrize("header", FORWARDED)
def test_S77_no_header_moves_the_client_address(server, lines, header):
    server.post(MESSAGE, header)
    (line,) = lines
    assert " ip=192.0.2.7 " in line
    assert "6.6.6.6" not in line


@pytest.mark.parametrize("size", [1, 1000], ids=["one octet at a time", "at once"])
def test_S78_a_proxy_line_is_refused_and_names_nobody(server, lines, size):
    proxied = b"PROXY TCP4 6.6.6.6 192.0.2.1 1234 80\r\nGET /scep?operation=GetCACaps HTTP/1.1\r\nHost: x\r\n\r\n"
    client = server.setting.client()
    for at in range(0, len(proxied), size):
        client.send(proxied[at : at + size])
    assert [reply.status for reply in client.replies] == [400]
    assert all("6.6.6.6" not in line for line in lines)


def test_C024_nothing_depends_on_the_clock_or_the_listener():
    first, second = Server(), Server()
    second.setting.site.reactor = Clock()
    assert first.post().body == second.post().body

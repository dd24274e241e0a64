"""The running server as a client on the wire meets it: HTTP and HTTPS alike, slow, many, broken and hostile ones."""

import base64
import contextlib
import os
import random
import secrets
import selectors
import signal
import ssl
import subprocess
import threading
import time
from datetime import UTC, datetime
from urllib.parse import quote

import attrs
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from scepd.message.certrep import read_certrep, read_certs_only
from scepd.message.names import PkiStatus
from scepd.message.query import build_get
from tests import make
from tests.live.device import certificate
from tests.live.http_wire import Wire, exchange, request
from tests.live.processes import cores_of_threads, descendants
from tests.live.server import STATIC, copy_of, run
from tests.ports import free_port

pytestmark = pytest.mark.live
PKI = "/scep/static?operation=PKIOperation"
HEADER_SECONDS = 5


@attrs.frozen
class Setting:
    """A running server with a third listener that takes TLS 1.3 only, and what a client knows of it."""

    server: object
    strict: int
    sign: bytes
    decrypt: bytes
    trust: ssl.SSLContext

    def port(self, scheme):
        return {"http": self.server.http, "https": self.server.https}[scheme]

    def ask(self, scheme, octets, **options):
        tls = self.trust if scheme == "https" else None
        return exchange(self.port(scheme), octets, tls=tls, **options)

    def message(self, *, cn="wire", challenge=STATIC, party=None, **fields):
        return make.pkcs_req(
            challenge=challenge, subject=make.name(CN=cn), signer=party or make.party("wire"),
            recipient=make.Party(None, self.decrypt), transaction_id=fields.pop("transaction_id", secrets.token_hex(12)),
            signing_time=datetime.now(UTC), **fields,
        )  # fmt: skip

    def certrep(self, reply):
        assert reply.status == 200, reply
        assert reply.headers["content-type"] == "application/x-pki-message"
        return read_certrep(reply.body, trusted=[self.sign])

    def enrol(self, scheme="http", **fields):
        """Enrol on a connection of its own; return the seconds."""
        octets = request("POST", PKI, self.message(**fields))
        begun = time.monotonic()
        assert self.certrep(self.ask(scheme, octets)).status is PkiStatus.SUCCESS
        return time.monotonic() - begun

    def log(self):
        return self.server.log.read_text()


@pytest.fixture(scope="module")
def setting(template, place):
    server = copy_of(template, place / "http")
    strict = free_port()
    server.edit(r"^workers = \d+", "workers = 2")
    tls = f'{{ certificate = "{server.directory}/tls.pem", key = {{ file = "{server.directory}/tls.key" }}, minimum = "1.3" }}'
    with server.config.open("a") as config:
        config.write(f'\n[listener.strict]\naddress = "127.0.0.1:{strict}"\ntls = {tls}\n')
        config.write(f"\n[limits]\nheader_seconds = {HEADER_SECONDS}\n")
    server.start()
    before = descendants(server.process.pid)
    trust = ssl.create_default_context(cafile=server.ca)
    sign, decrypt = (certificate(server, f"devices-ra-{role}") for role in ("sign", "decrypt"))
    yield Setting(server, strict, sign, decrypt, trust)
    assert sorted(descendants(server.process.pid)) == sorted(before), "a process was lost"
    assert server.stop() in {0, -signal.SIGTERM}
    assert "unexpected" not in server.log.read_text()
    assert "Traceback" not in server.log.read_text()
    server.check_store()


# HTTP and HTTPS alike -------------------------------------------------------------------------------------------


def shape(reply):
    """What must be the same whichever way a reply went."""
    return reply.status, {name: value for name, value in reply.headers.items() if name != "date"}, reply.version


ALIKE = {
    "GetCACaps": request("GET", "/scep?operation=GetCACaps"),
    "GetCACert": request("GET", "/scep?operation=GetCACert&message=0"),
    "GetNextCACert": request("GET", "/scep?operation=GetNextCACert"),
    "no operation": request("GET", "/scep"),
    "HEAD": request("GET", "/scep?operation=GetCACaps", None, "Connection: close"),
    "unknown operation": request("GET", "/scep?operation=Nonsense"),
    "unknown path": request("GET", "/elsewhere"),
    "unknown method": request("DELETE", "/scep?operation=GetCACaps"),
    "empty POST": request("POST", PKI, b""),
    "no message": request("POST", PKI, b"no message"),
    "no base64": request("GET", PKI + "&message=%21"),
    "too large": request("POST", PKI, bytes(262_145)),
    "two lengths": request("POST", PKI, b"x", "Content-Length: 2"),
    "no HTTP": b"nonsense\r\n\r\n",
}


@pytest.mark.parametrize("name", ALIKE)
def test_C024_both_schemes_answer_alike(setting, name):
    plain, tls = (setting.ask(scheme, ALIKE[name]) for scheme in ("http", "https"))
    assert shape(plain) == shape(tls)
    without_reference = [" ".join(word for word in reply.body.decode("latin-1").split() if len(word) < 16) for reply in (plain, tls)]
    assert plain.body == tls.body or (plain.status >= 400 and without_reference[0] == without_reference[1])


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("challenge", [None, "", "wrong", STATIC + " "])
def test_C024_neither_scheme_waives_the_challenge(setting, scheme, challenge):
    reply = setting.certrep(setting.ask(scheme, request("POST", PKI, setting.message(challenge=challenge))))
    assert (reply.status, reply.fail_info.name, reply.fail_info_text) == (PkiStatus.FAILURE, "badRequest", "challenge rejected")


def test_C024_a_client_certificate_of_ours_waives_no_challenge_either(setting, tmp_path):
    server, party = setting.server, make.party("tls-client")
    key = tmp_path / "own.key"
    key.write_bytes(party.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    run(
        *server.client("enroll"), "--url", f"{server.url}/static", "--challenge", STATIC, "--cn", "tls-client",
        "--fingerprint", server.fingerprint(), "--key", key, "--out", tmp_path / "own.pem",
    )  # fmt: skip
    trust = ssl.create_default_context(cafile=server.ca)
    trust.load_cert_chain(tmp_path / "own.pem", key)
    reply = exchange(server.https, request("POST", PKI, setting.message(challenge=None, party=party)), tls=trust)
    assert setting.certrep(reply).status is PkiStatus.FAILURE


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_C024_both_schemes_enrol(setting, scheme):
    setting.enrol(scheme)


# Errors, forms of GET, HTTP/1.0 ---------------------------------------------------------------------------------


def test_C026_an_error_is_a_CertRep_as_soon_as_somebody_can_be_answered(setting):
    good = setting.message()
    recipient = make.Party(None, setting.decrypt)
    parts = make.take_apart(good)
    signature = bytes([parts.signer.signature[0] ^ 1]) + parts.signer.signature[1:]
    attributed = {
        "badMessageCheck": parts.bend(signature=signature).der(),
        "badRequest": make.message(b"no envelope", signer=make.party("wire")),
        "badAlg": make.pkcs_req(signer=make.party("wire"), recipient=recipient, digest=make.Digest.SHA1),
    }
    for fail_info, body in attributed.items():
        reply = setting.certrep(setting.ask("http", request("POST", PKI, body)))
        assert (reply.status, reply.fail_info.name) == (PkiStatus.FAILURE, fail_info)
        assert reply.recipient_nonce == make.NONCE or fail_info == "badMessageCheck"
    without = parts.without_attribute(make.names.TRANSACTION_ID).resign(make.party("wire").key)
    for body in (b"no message", good[:-50], without.der(), attrs.evolve(parts, signers=()).der()):
        refused = setting.ask("http", request("POST", PKI, body))
        assert (refused.status, refused.headers["content-type"]) == (400, "text/plain")
        assert len(refused.body) < 200


def spell(message, spelling):
    text = base64.b64encode(message).decode()
    wrapped = "".join(text[i : i + 64] + "\r\n" for i in range(0, len(text), 64))
    return {
        "escaped": quote(text, safe=""),
        "bare": text,
        "spaces": quote(text.replace("+", " "), safe=""),
        "URL-safe": text.replace("+", "-").replace("/", "_").rstrip("="),
        "wrapped": quote(wrapped, safe=""),
    }[spelling]


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("spelling", ["escaped", "bare", "spaces", "URL-safe", "wrapped"])
def test_C006_C007_C008_C009_C010_every_spelling_of_a_GET_enrols(setting, scheme, spelling):
    message = setting.message(cn="spelt")
    while not {b"+", b"/"} <= {bytes([octet]) for octet in base64.b64encode(message)}:
        message = setting.message(cn="spelt")
    reply = setting.certrep(setting.ask(scheme, request("GET", f"{PKI}&message={spell(message, spelling)}")))
    assert reply.status is PkiStatus.SUCCESS


def test_C019_a_GET_with_an_RSA_4096_request_enrols(setting):
    message = setting.message(cn="large", party=make.party("large", "rsa4096"))
    octets = request("GET", "/scep/static?" + build_get(message))
    assert len(octets) > 5000
    assert setting.certrep(setting.ask("http", octets)).status is PkiStatus.SUCCESS


def test_C019_a_request_line_past_the_cap_is_414(setting):
    assert setting.ask("http", request("GET", f"{PKI}&message={'A' * 70_000}")).status == 414


def test_C020_a_client_that_expects_100_gets_it_before_it_sends(setting):
    message = setting.message()
    octets = request("POST", PKI, message, "Expect: 100-continue")
    with Wire(setting.server.http) as wire:
        wire.send(octets[: -len(message)])
        assert wire.line() == b"HTTP/1.1 100 Continue"
        assert wire.line() == b""
        assert setting.certrep(wire.send(message).reply()).status is PkiStatus.SUCCESS


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_C021_HTTP_1_0_is_answered_and_closed(setting, scheme, method):
    message = setting.message()
    octets = request("POST", PKI, message, version="HTTP/1.0")
    if method == "GET":
        octets = request("GET", f"{PKI}&message={spell(message, 'escaped')}", version="HTTP/1.0")
    with Wire(setting.port(scheme), tls=setting.trust if scheme == "https" else None) as wire:
        assert setting.certrep(wire.send(octets).reply()).status is PkiStatus.SUCCESS
        assert wire.is_closed()
    with Wire(setting.server.http) as wire:  # while HTTP/1.1 keeps it
        assert setting.certrep(wire.send(request("POST", PKI, message)).reply()).status is PkiStatus.SUCCESS
        assert wire.send(request("GET", "/scep")).reply().status == 200


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_S68_twenty_pipelined_requests_are_answered_in_their_order(setting, scheme):
    bodies = []
    for number in range(20):
        challenge = "wrong" if number % 3 == 1 else STATIC  # some of them wait for the uniform time, some do not
        bodies.append(setting.message(challenge=challenge, sender_nonce=bytes([number]) * 16, transaction_id=f"p{number}-{scheme}"))
    octets = b"".join(request("POST", PKI, body) for body in bodies)
    with Wire(setting.port(scheme), tls=setting.trust if scheme == "https" else None, timeout=60) as wire:
        sender = threading.Thread(target=wire.send, args=(octets,), daemon=True)
        sender.start()
        for number in range(20):
            reply = setting.certrep(wire.reply())
            assert (reply.recipient_nonce, reply.transaction_id) == (bytes([number]) * 16, f"p{number}-{scheme}")
            assert reply.status is (PkiStatus.FAILURE if number % 3 == 1 else PkiStatus.SUCCESS)
        sender.join()


# What GetCACert says --------------------------------------------------------------------------------------------


def test_C046_C053_GetCACert_is_certs_only_and_the_printed_fingerprint_is_of_its_CA(setting, tmp_path):
    reply = setting.ask("http", request("GET", "/scep?operation=GetCACert"))
    assert reply.headers["content-type"] == "application/x-x509-ca-ra-cert"
    bundle = tmp_path / "bundle.p7"
    bundle.write_bytes(reply.body)
    run("openssl", "pkcs7", "-inform", "der", "-in", bundle, "-print_certs", "-out", tmp_path / "all.pem")
    served = read_certs_only(reply.body)
    assert (tmp_path / "all.pem").read_text().count("BEGIN CERTIFICATE") == len(served) == 3
    printed = {}
    for number, der in enumerate(served):
        (tmp_path / f"{number}.der").write_bytes(der)
        found = run("openssl", "x509", "-inform", "der", "-in", tmp_path / f"{number}.der", "-noout", "-fingerprint", "-sha256")
        printed[der] = found.stdout.strip().rpartition("=")[2]
    listed = run(*setting.server.client("getca"), "--url", setting.server.url).stdout
    for fingerprint in printed.values():
        assert fingerprint in listed.upper() or fingerprint.replace(":", "").lower() in listed
    assert printed[certificate(setting.server, "devices-ca")] == setting.server.fingerprint()


# TLS ------------------------------------------------------------------------------------------------------------


def s_client(port, *options, ca, words=b"", wait=0.0):
    """Run openssl s_client; return everything it says."""
    process = subprocess.Popen(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-CAfile", ca, *options],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    if words:
        time.sleep(wait)
        process.stdin.write(words)
        process.stdin.flush()
        time.sleep(wait)
    said, _ = process.communicate(timeout=30)
    return said.decode("latin-1")


OLD = ("-cipher", "ALL:@SECLEVEL=0")
CASES = [
    ("https", ("-tls1_2",), "TLSv1.2"),
    ("https", ("-tls1_3",), "TLSv1.3"),
    ("https", ("-tls1_1", *OLD), None),
    ("https", ("-tls1", *OLD), None),
    ("strict", ("-tls1_3",), "TLSv1.3"),
    ("strict", ("-tls1_2",), None),
    ("strict", ("-tls1_1", *OLD), None),
]


@pytest.mark.parametrize(("listener", "options", "version"), CASES, ids=[f"{one[0]}{one[1][0]}" for one in CASES])
def test_S101_TLS_versions_are_those_of_the_listener(setting, listener, options, version):
    port = setting.strict if listener == "strict" else setting.server.https
    said = s_client(port, *options, ca=setting.server.ca)
    if version is None:
        assert "alert protocol version" in said  # the server's word, not a refusal of this openssl
    else:
        assert f"New, {version}, Cipher is" in said
        assert "Verify return code: 0 (ok)" in said


def test_S75_no_http_2_is_negotiated(setting):
    ca = setting.server.ca
    assert "ALPN protocol: http/1.1" in s_client(setting.server.https, "-alpn", "h2,http/1.1", ca=ca)
    alone = s_client(setting.server.https, "-alpn", "h2", ca=ca)
    assert "No ALPN negotiated" in alone
    assert "ALPN protocol" not in alone


def test_S101_renegotiation_is_refused(setting):
    said = s_client(setting.server.https, "-tls1_2", ca=setting.server.ca, words=b"R\n", wait=0.7)
    assert "RENEGOTIATING" in said
    assert "no renegotiation" in said or "unexpected eof" in said.lower(), said
    assert said.count("verify return:1") == 2  # one handshake: the CA and the listener's own


# Hostile ones ---------------------------------------------------------------------------------------------------


def mutants(seed, good, count):
    """Messages with octets changed, inserted, dropped, swapped and cut, the same in every run."""
    chance = random.Random(seed)
    for _ in range(count):
        body = bytearray(chance.choice(good))
        for _ in range(chance.choice((1, 1, 2, 5))):
            at, size = chance.randrange(len(body)), chance.randrange(1, 40)
            match chance.randrange(6):
                case 0:
                    body[at] ^= 1 << chance.randrange(8)
                case 1:
                    body[at : at + size] = chance.randbytes(size)
                case 2:
                    del body[at : at + size]
                case 3:
                    body[at:at] = body[:size] + chance.randbytes(2)
                case 4:
                    other = chance.choice(good)
                    body[at:] = other[at:]
                case _:
                    body[at:] = b""
            body = body or bytearray(b"\0")
        yield bytes(body)


def test_S132_hundreds_of_mutated_messages_leave_the_server_up_and_silent(setting):
    good = [setting.message(cn=f"fuzz{number}") for number in range(4)]
    good.append(make.ber_message(good[0]))
    issued = statuses = 0
    with contextlib.ExitStack() as stack:
        wire = None
        for number, body in enumerate(mutants(132, good, 400)):
            if wire is None:
                wire = stack.enter_context(Wire(setting.server.http))
            reply = wire.send(request("POST", PKI, body)).reply()
            assert reply.status in {200, 400}, (number, reply)
            statuses += reply.status == 400
            issued += reply.status == 200 and setting.certrep(reply).status is PkiStatus.SUCCESS
            if reply.headers.get("connection") == "close":
                wire = None
    assert 0 < statuses < 400  # both kinds of refusal were met
    assert issued < 40  # what is not signed may be bent
    assert "unexpected" not in setting.log()
    assert "internal_error" not in setting.log()
    setting.enrol()


def test_S132_hundreds_of_broken_requests_leave_the_server_up_and_silent(setting):
    message = setting.message()
    good = [
        request("POST", PKI, message), request("GET", f"{PKI}&message={spell(message, 'escaped')}"),
        request("GET", "/scep?operation=GetCACaps", None, "Connection: keep-alive", "Accept: */*"),
    ]  # fmt: skip
    statuses = []
    for octets in mutants(7, good, 200):
        with Wire(setting.server.http) as wire, contextlib.suppress(OSError):
            wire.socket.settimeout(0.2)  # many are incomplete: the server waits for their end
            statuses.append(wire.send(octets).reply().status)
    assert {200, 400} <= set(statuses) <= {200, 400, 404, 405, 411, 413, 414, 417, 431, 501, 505}
    assert "unexpected" not in setting.log()
    setting.enrol()


def test_S71_a_flood_of_idle_connections_is_bounded_and_an_enrolment_works(setting):
    """Two hundred and fifty from one address: its share is taken in, the rest closed, others are served."""
    share = 2 * 100  # connections_per_address of each worker
    with contextlib.ExitStack() as stack:
        flood = [stack.enter_context(Wire(setting.server.http, source="127.0.0.9")) for _ in range(300)]
        time.sleep(0.5)
        assert setting.enrol("http") < 3
        assert setting.enrol("https") < 3
        selector = stack.enter_context(selectors.DefaultSelector())
        for wire in flood:
            selector.register(wire.socket, selectors.EVENT_READ)
        turned_away = len(selector.select(0))
        assert 300 - share <= turned_away < 300
        time.sleep(HEADER_SECONDS + 1.5)
        assert len(selector.select(0)) == 300  # none is kept for saying nothing
    setting.enrol()


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_S71_many_addresses_with_unfinished_handshakes_hold_nobody_up(setting, scheme):
    with contextlib.ExitStack() as stack:
        for number in range(200):
            wire = stack.enter_context(Wire(setting.port(scheme), source=f"127.0.1.{number + 1}"))
            wire.send(b"\x16\x03\x01\x02\0" if scheme == "https" else b"GET /scep")
        assert setting.enrol(scheme) < 3


def test_S69_dozens_of_trickling_clients_hold_nobody_up_and_are_cut_off(setting):
    """An octet now and then prolongs nothing: header and body have absolute deadlines."""
    octets = request("POST", PKI, setting.message())
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(Wire(setting.server.http, source="127.0.0.10")) for _ in range(60)]
        over = threading.Event()

        def trickle():
            for octet in octets:
                for wire in slow:
                    with contextlib.suppress(OSError):
                        wire.send(bytes([octet]))
                if over.wait(0.25):
                    return

        trickling = threading.Thread(target=trickle, daemon=True)
        trickling.start()
        assert setting.enrol("http") < 3
        assert setting.enrol("https") < 3
        begun = time.monotonic()
        for wire in slow:
            wire.socket.settimeout(max(0.1, HEADER_SECONDS + 4 - (time.monotonic() - begun)))
            with contextlib.suppress(ConnectionError):
                assert wire.reply().status == 408
        over.set()
        trickling.join()
    assert time.monotonic() - begun < HEADER_SECONDS + 4


def test_each_worker_keeps_to_a_core(server):
    pids = [row["pid"] for row in server.status()["workers"]]
    found = [cores_of_threads(pid) for pid in pids]
    assert all(len(threads) > 2 for threads in found)  # lanes, duties and news among them
    cores = [set.union(*threads) for threads in found]
    if len(os.sched_getaffinity(0)) < len(pids):
        assert cores == [os.sched_getaffinity(0)] * len(pids)
    else:
        assert [len(core) for core in cores] == [1, 1]
        assert cores[0] != cores[1]

"""The gate before /scep-mtls over real TLS sockets: who holds what, at which profile, on both versions of TLS."""

import asyncio
import base64
import ssl
import subprocess
import time
import urllib.parse
from datetime import timedelta
from itertools import product

import attrs
import pytest

from scepd.records import CertificateState
from scepd.web import client_certificate
from scepd.web.client_certificate import Gate
from scepd.x509.client import ClientFault, ClientRefused, ClientTrust
from scepd.x509.revocation import read_crls
from tests.web.tls import (
    DATES,
    TODAY,
    Room,
    bundle,
    connected,
    context,
    device,
    exchange,
    factory_root,
    get,
    impostor_context,
    row,
    serving,
)
from tests.x509.factory import SERVER, make

VERSIONS = ("1.2", "1.3")
CAPABILITIES = "?operation=GetCACaps"


def trusting(name, *anchors, **fields):
    return Room(name, ClientTrust(bundle(*anchors), **fields))


@pytest.fixture(scope="module")
def matrix(tmp_path_factory):
    """Four profiles, each with a CA of its own; of each a device, one below an intermediate, and an impostor's."""
    roots = {name: factory_root(f"Factory {name}") for name in ("a", "b", "c", "d")}
    rooms = [trusting(name, anchor) for name, anchor in roots.items()]
    with serving(rooms) as server:
        yield server, rooms, roots, tmp_path_factory.mktemp("matrix")


@pytest.mark.parametrize("version", VERSIONS)
def test_S95_of_all_profiles_only_the_diagonal_passes(matrix, version):
    server, rooms, roots, place = matrix
    for own, anchor in roots.items():
        between = device(anchor, f"Line of {own}", ca=True)
        for holder, chain in ((device(anchor, own), ()), (device(between, own), (between,))):
            tls = context(place, holder, *chain, version=version)
            for room in rooms:
                reply = get(server, tls, f"/scep-mtls/{room.name}{CAPABILITIES}")
                assert reply.status == (200 if room.name == own else 401), (own, room.name)
                if reply.status == 401:
                    assert reply.body.startswith(b"client certificate not trusted by this profile: present one of")


@pytest.mark.parametrize("version", VERSIONS)
def test_S95_an_intermediate_of_one_profile_under_the_name_of_anothers_CA(matrix, version):
    server, _rooms, roots, place = matrix
    borrowed = device(roots["a"], "Factory b", ca=True)
    tls = context(place, device(borrowed, "x"), borrowed, version=version)
    assert get(server, tls, f"/scep-mtls/b{CAPABILITIES}").status == 401
    assert get(server, tls, f"/scep-mtls/a{CAPABILITIES}").status == 200


@pytest.mark.parametrize("version", VERSIONS)
def test_S97_who_holds_another_key_gets_no_connection(matrix, version):
    server, rooms, roots, place = matrix
    victim, thief = device(roots["a"], "victim"), device(roots["a"], "thief")
    tls = impostor_context(place, victim, thief, version)
    with pytest.raises((ssl.SSLError, ConnectionError)), connected(server, tls) as connection:
        reply = exchange(connection, f"/scep-mtls/a{CAPABILITIES}")
        if reply is None:  # TLS 1.3: the client hears of it with its first read
            raise ConnectionError
    honest = impostor_context(place, victim, victim, version)
    assert get(server, honest, f"/scep-mtls/a{CAPABILITIES}").status == 200
    assert rooms[0].came == []


@pytest.mark.parametrize("version", VERSIONS)
def test_S97_none_self_signed_expired_wrong_purpose(matrix, version):
    server, _rooms, roots, place = matrix
    expired = device(roots["a"], "old", begin=TODAY - timedelta(days=9), end=TODAY - timedelta(days=2))
    for holder, text in (
        (None, b"client certificate missing: configure"),
        (make("self", **DATES), b"client certificate not trusted"),
        (expired, b"client certificate expired: renew it"),
        (device(roots["a"], "server", extensions=(SERVER,)), b"client certificate not meant for this"),
    ):
        reply = get(server, context(place, holder, version=version), f"/scep-mtls/a{CAPABILITIES}")
        assert (reply.status, reply.body.startswith(text)) == (401, True)
        assert reply.body.count(b"\n") == 1
        assert reply.headers[b"WWW-Authenticate"] == b"ClientCertificate"
        assert reply.headers[b"Content-Type"] == b"text/plain"


def test_S96_no_session_is_resumed(matrix):
    server, _rooms, roots, place = matrix
    holder = device(roots["a"], "resumes")
    (place / "holder.pem").write_bytes(holder.pem + holder.key_pem)
    for version in ("-tls1_2", "-tls1_3"):
        session = place / f"session{version}"
        command = ["openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", version, "-cert", "holder.pem"]
        request = f"GET /scep-mtls/a{CAPABILITIES} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
        options = {"cwd": place, "input": request, "capture_output": True, "timeout": 20}
        first = subprocess.run([*command, "-ign_eof", "-sess_out", session], check=False, **options)
        assert b"200 OK" in first.stdout
        if session.exists():
            again = subprocess.run([*command, "-ign_eof", "-sess_in", session], check=False, **options)
            assert b"200 OK" in again.stdout
            assert b"Reused," not in again.stdout


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("server_name", [None, "a.example", "b.example"])
def test_S98_neither_server_name_nor_Host_nor_authority_chooses_a_profile(matrix, server_name, version):
    """No name has profiles of its own, so that none can be asked for under another's: the path alone decides."""
    server, rooms, roots, place = matrix
    tls = context(place, device(roots["a"], "a"), version=version)
    for host, authority in product(
        ("a.example", "b.example", "b.example:443"), ("", "https://a.example", "https://b.example")
    ):
        for name, status in (("b", 401), ("a", 200)):
            with connected(server, tls, server_hostname=server_name) as connection:
                reply = exchange(connection, f"{authority}/scep-mtls/{name}{CAPABILITIES}", host=host)
                assert (reply.status, reply.headers[b"Cache-Control"] == b"no-store") == (status, status != 200)
                assert not any(word in reply.body for word in (b"example", b"http"))
                assert connection.getpeercert(binary_form=True) == server.own.der
    assert [room.came for room in rooms] == [[]] * len(rooms)


@pytest.mark.parametrize("version", VERSIONS)
def test_S98_a_kept_connection_that_asked_for_one_profile_is_judged_anew_at_the_next(matrix, version):
    server, rooms, roots, place = matrix
    tls = context(place, device(roots["a"], "a"), version=version)
    for room in rooms[1:]:
        with connected(server, tls, server_hostname="a.example") as connection:
            answers = [
                exchange(connection, f"/scep-mtls/{name}{CAPABILITIES}").status for name in ("a", "a", room.name)
            ]
            assert answers == [200, 200, 401]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/scep-mtls/a", 200),
        ("/scep-mtls/a/", 200),
        ("/scep-mtls/a/pkiclient.exe", 200),
        ("/scep-mtls/a/pkiclient.exe/", 200),
        ("/scep-mtls", 404),
        ("/scep-mtls/", 404),
        ("/scep-mtls/A", 404),
        ("/scep-mtls/%61", 404),
        ("/scep-mtls//a", 404),
        ("/scep-mtls/a;x", 404),
        ("/scep-mtls/../scep-mtls/a", 404),
        ("/scep/a", 404),
        ("/scep/a/pkiclient.exe", 404),
        ("/scep-raw/a", 404),
        ("/scep", 404),
        ("/pkiclient.exe", 404),
    ],
)
def test_S73_a_gated_profile_is_at_its_gate_and_nowhere_else(matrix, path, status):
    server, _rooms, roots, place = matrix
    assert get(server, context(place, device(roots["a"], "a")), f"{path}{CAPABILITIES}").status == status


@pytest.mark.parametrize("query", ["", CAPABILITIES, "?operation=PKIOperation&message=AAAA"])
def test_S77_a_link_to_a_gate_is_refused_before_the_browsers_certificate_is_judged(matrix, lines, query):
    server, _rooms, roots, place = matrix
    stranger = context(place, device(roots["b"], "visitor"))
    with connected(server, stranger) as connection:
        octets = f"GET /scep-mtls/a{query} HTTP/1.1\r\nHost: x\r\nSec-Fetch-Mode: navigate\r\n\r\n".encode()
        connection.sendall(octets)
        assert connection.recv(64).startswith(b"HTTP/1.1 403 ")
    assert "outcome=rejected reason=web_page profile=a " in lines[-1]


def test_S95_the_handshake_hints_at_the_CAs_of_all_profiles(matrix):
    server, _rooms, roots, place = matrix
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{server.port}"]
    shown = subprocess.run(command, cwd=place, input=b"", capture_output=True, timeout=20, check=False).stdout
    hints = shown.partition(b"Acceptable client certificate CA names")[2]
    assert all(f"Factory {name}".encode() in hints for name in roots)


def test_a_request_brings_who_the_client_is_and_the_challenge_stays_its_own_business(matrix, lines):
    server, rooms, roots, place = matrix
    holder = device(roots["a"], "line-7")
    with connected(server, context(place, holder)) as connection:
        path = "/scep-mtls/a?operation=PKIOperation"
        assert exchange(connection, path, method="POST", body=b"message").body == b"reply"
    body, origin = rooms[0].came.pop()
    assert body == b"message"
    assert (origin.client.subject, origin.client.issuer) == ("CN=line-7", "CN=Factory a")
    assert origin.client.serial == holder.certificate.serial_number
    assert " client=CN=line-7" in lines[-1]


def test_profiles_without_a_gate_are_as_they_were_and_know_no_client(tmp_path):
    room = attrs.evolve(trusting("open", factory_root("x")), gated=False)
    holder = device(factory_root("y"), "z")
    with serving([room]) as server:
        for tls in (context(tmp_path), context(tmp_path, holder)):
            with connected(server, tls) as connection:
                exchange(connection, "/scep/open?operation=PKIOperation", method="POST", body=b"m")
            assert room.came.pop()[1].client is None
        assert get(server, context(tmp_path, holder), f"/scep-mtls/open{CAPABILITIES}").status == 404


@pytest.mark.parametrize("version", VERSIONS)
def test_required_certificates_are_asked_by_TLS_itself(tmp_path, version):
    anchor = factory_root("x")
    with serving([trusting("a", anchor)], certificates="required") as server:
        good = context(tmp_path, device(anchor, "d"), version=version)
        assert get(server, good, f"/scep-mtls/a{CAPABILITIES}").status == 200
        stranger = context(tmp_path, make("s", **DATES), version=version)
        assert get(server, stranger, f"/scep-mtls/a{CAPABILITIES}").status == 401
        with (
            pytest.raises((ssl.SSLError, ConnectionError)),
            connected(server, context(tmp_path, version=version)) as connection,
        ):
            if exchange(connection, f"/scep-mtls/a{CAPABILITIES}") is None:
                raise ConnectionError


@pytest.mark.parametrize("fields", [{"certificates": "off"}, {"tls": False}])
def test_the_gated_paths_do_not_exist_where_nobody_asks_for_certificates(tmp_path, fields):
    anchor = factory_root("x")
    with serving([trusting("a", anchor)], **fields) as server:
        tls = None if "tls" in fields else context(tmp_path, device(anchor, "d"))
        for path in ("/scep-mtls/a", "/scep/a"):
            assert get(server, tls, path + CAPABILITIES).status == 404


def test_S96_a_certificate_revoked_meanwhile_ends_at_its_next_request(tmp_path):
    issuer = factory_root("Devices CA")
    holder = device(issuer, "ours")
    key = ("devices", holder.certificate.serial_number)
    room = attrs.evolve(trusting("a", issuer), issuer=issuer, rows={key: row(holder)})
    with serving([room]) as server, connected(server, context(tmp_path, holder)) as connection:
        assert exchange(connection, f"/scep-mtls/a{CAPABILITIES}").status == 200
        room.rows[key] = row(holder, CertificateState.REVOKED)
        reply = exchange(connection, f"/scep-mtls/a{CAPABILITIES}")
        assert (reply.status, reply.body[:26]) == (401, b"client certificate revoked")


@pytest.mark.parametrize("state", [None, "other", CertificateState.RESERVED, CertificateState.FAILED])
def test_S97_of_our_own_certificates_only_the_row_with_the_same_octets_counts(tmp_path, state):
    issuer = factory_root("Devices CA")
    holder = device(issuer, "ours")
    key = ("devices", holder.certificate.serial_number)
    rows = {None: {}, "other": {key: row(holder, der=b"other")}}.get(state) if state in (None, "other") else None
    room = attrs.evolve(trusting("a", issuer), issuer=issuer, rows={key: row(holder, state)} if rows is None else rows)
    with serving([room]) as server:
        reply = get(server, context(tmp_path, holder), f"/scep-mtls/a{CAPABILITIES}")
        assert (reply.status, reply.body[:32]) == (401, b"client certificate not on record")


def test_S97_a_list_of_the_factory_counts_and_a_missing_one_is_our_trouble(tmp_path, lines):
    anchor = factory_root("x")
    good, bad = device(anchor, "good"), device(anchor, "bad")
    dates = {"begin": TODAY - timedelta(hours=1), "end": TODAY + timedelta(hours=1)}
    from cryptography.hazmat.primitives.serialization import Encoding

    lists = read_crls(anchor.crl(bad.certificate.serial_number, **dates).public_bytes(Encoding.PEM))
    room = trusting("a", anchor, lists=lists)
    with serving([room]) as server:
        assert get(server, context(tmp_path, good), f"/scep-mtls/a{CAPABILITIES}").status == 200
        assert get(server, context(tmp_path, bad), f"/scep-mtls/a{CAPABILITIES}").status == 401
        stale = read_crls(
            anchor.crl(begin=TODAY - timedelta(days=2), end=TODAY - timedelta(days=1)).public_bytes(Encoding.PEM)
        )
        room.trust = attrs.evolve(room.trust, lists=stale)
        reply = get(server, context(tmp_path, good), f"/scep-mtls/a{CAPABILITIES}")
        assert (reply.status, reply.headers[b"Retry-After"]) == (503, b"60")
        assert "reason=client_crl_missing" in lines[-1]
        room.trust = None
        assert get(server, context(tmp_path, good), f"/scep-mtls/a{CAPABILITIES}").status == 503
        assert "reason=client_trust_unreadable" in lines[-1]


def test_a_list_says_nothing_of_ours_and_the_store_does(tmp_path):
    from cryptography.hazmat.primitives.serialization import Encoding

    factory, issuer = factory_root("x"), factory_root("Devices CA")
    holder = device(issuer, "ours")
    dates = {"begin": TODAY - timedelta(hours=1), "end": TODAY + timedelta(hours=1)}
    room = trusting("a", factory, issuer, lists=read_crls(factory.crl(**dates).public_bytes(Encoding.PEM)))
    room = attrs.evolve(room, issuer=issuer, rows={("devices", holder.certificate.serial_number): row(holder)})
    with serving([room]) as server:
        assert get(server, context(tmp_path, holder), f"/scep-mtls/a{CAPABILITIES}").status == 200


def test_a_leaf_without_its_intermediate_passes_where_the_intermediate_is_ours(tmp_path):
    # macOS sends the leaf alone.
    anchor = factory_root("Root")
    issuing = device(anchor, "Issuing CA", ca=True)
    holder = device(issuing, "mac")
    rows = {("devices", holder.certificate.serial_number): row(holder)}
    room = trusting("a", anchor, intermediates=(issuing.certificate,))
    with serving([attrs.evolve(room, issuer=issuing, rows=rows)]) as server:
        assert get(server, context(tmp_path, holder), f"/scep-mtls/a{CAPABILITIES}").status == 200


def test_a_changed_bundle_counts_for_gate_and_hints_at_once(tmp_path):
    old, new = factory_root("Old Factory"), factory_root("New Factory")
    room = trusting("a", old)
    with serving([room]) as server:
        assert get(server, context(tmp_path, device(new, "n")), f"/scep-mtls/a{CAPABILITIES}").status == 401
        with connected(server, context(tmp_path, device(old, "o"))) as kept:
            assert exchange(kept, f"/scep-mtls/a{CAPABILITIES}").status == 200
            room.trust = ClientTrust(bundle(new))
            assert exchange(kept, f"/scep-mtls/a{CAPABILITIES}").status == 401
        assert get(server, context(tmp_path, device(new, "n")), f"/scep-mtls/a{CAPABILITIES}").status == 200
        command = ["openssl", "s_client", "-connect", f"127.0.0.1:{server.port}"]
        shown = subprocess.run(command, input=b"", capture_output=True, timeout=20, check=False).stdout
        assert b"New Factory" in shown
        assert b"Old Factory" not in shown


def rfc9440(holder):
    return b"Client-Cert: :%s:" % base64.b64encode(holder.der)


def escaped(holder):
    return b"X-SSL-Client-Cert: " + urllib.parse.quote(holder.pem.decode(), safe="").encode()


def bare(holder):
    return b"X-SSL-Client-Cert: " + base64.b64encode(holder.der)


@pytest.fixture
def networks(tmp_path):
    path = tmp_path / "proxies.txt"
    path.write_text("127.0.0.1")
    return path


@pytest.mark.parametrize(
    ("header", "field"), [("Client-Cert", rfc9440), ("X-SSL-Client-Cert", escaped), ("X-SSL-Client-Cert", bare)]
)
@pytest.mark.parametrize("certificates", ["off", "optional"])
def test_S100_a_trusted_proxy_forwards_its_clients_certificate_and_not_its_own(
    tmp_path, networks, header, field, certificates
):
    anchor = factory_root("x")
    room, holder, proxy = trusting("a", anchor), device(anchor, "far"), device(anchor, "proxy")
    settings = {"client_certificate_header": header, "trusted_proxies": networks, "certificates": certificates}
    with serving([room], **settings) as server:
        tls = context(tmp_path, proxy)
        with connected(server, tls) as connection:
            path = "/scep-mtls/a?operation=PKIOperation"
            assert exchange(connection, path, field(holder), method="POST", body=b"m").status == 200
            assert room.came.pop()[1].client.subject == "CN=far"
        assert get(server, tls, f"/scep-mtls/a{CAPABILITIES}").status == 401
        for wrong in (
            field(device(factory_root("y"), "z")),
            field(holder) + b"!",
            field(holder)[:-9],
            field(holder) + b"\r\n" + field(holder),
        ):
            assert get(server, tls, f"/scep-mtls/a{CAPABILITIES}", wrong).status == 401


@pytest.mark.parametrize("version", VERSIONS)
def test_S100_a_proxys_address_alone_makes_nobody_a_proxy(tmp_path, networks, lines, version):
    devices, proxies = factory_root("Devices"), factory_root("Proxies")
    room, stolen = trusting("a", devices), device(devices, "stolen")
    trust = tmp_path / "proxies.pem"
    trust.write_bytes(proxies.pem)
    settings = {"client_certificate_header": "Client-Cert", "trusted_proxies": networks, "proxy_trust": trust}
    path = f"/scep-mtls/a{CAPABILITIES}"
    with serving([room], certificates="off", **settings) as server:
        # Who sits at the proxy's address and knows a device's certificate, which is no secret, has none of its own; or
        # one of the wrong CA, as every device has; or one that has ended, or that is no client's.
        ended = proxies.issue("old", begin=TODAY - timedelta(days=9), end=TODAY - timedelta(days=2))
        for shown, why in (
            (None, "missing"), (stolen, "untrusted"), (device(factory_root("Proxies"), "p"), "untrusted"),
            (ended, "expired"), (device(proxies, "p", extensions=(SERVER,)), "wrong_purpose"),
        ):  # fmt: skip
            answer = get(server, context(tmp_path, shown, version=version), path, rfc9440(stolen))
            assert (answer.status, f" reason=proxy_certificate_{why} " in lines[-1]) == (503, True), lines[-1]
        # The proxy itself, and it alone, is believed; what it shows of itself opens nothing.
        between = device(proxies, "Line", ca=True)
        for shown in ((device(proxies, "proxy"),), (device(between, "proxy"), between)):
            tls = context(tmp_path, *shown, version=version)
            assert get(server, tls, path, rfc9440(stolen)).status == 200
            assert get(server, tls, path, rfc9440(device(factory_root("Others"), "x"))).status == 401
            assert get(server, tls, path).status == 401
        # The anchors are read again when the file changes.
        trust.write_bytes(factory_root("Next").pem)
        time.sleep(1.1)
        assert get(server, context(tmp_path, device(proxies, "proxy")), path, rfc9440(stolen)).status == 503


def test_S100_a_proxy_whose_anchors_were_never_readable_is_none(tmp_path, networks, lines):
    devices = factory_root("Devices")
    settings = {"client_certificate_header": "Client-Cert", "trusted_proxies": networks, "proxy_trust": tmp_path / "absent"}
    with serving([trusting("a", devices)], **settings) as server:
        tls = context(tmp_path, device(devices, "proxy"))
        assert get(server, tls, f"/scep-mtls/a{CAPABILITIES}", rfc9440(device(devices, "d"))).status == 503
        assert "reason=proxy_trust_unreadable" in lines[-1]


def test_S100_who_is_no_proxy_passes_with_a_certificate_of_its_own(tmp_path, networks):
    devices = factory_root("Devices")
    networks.write_text("198.51.100.1")
    trust = tmp_path / "proxies.pem"
    trust.write_bytes(factory_root("Proxies").pem)
    settings = {"client_certificate_header": "Client-Cert", "trusted_proxies": networks, "proxy_trust": trust}
    with serving([trusting("a", devices)], certificates="off", **settings) as server:
        path = f"/scep-mtls/a{CAPABILITIES}"
        assert get(server, context(tmp_path, device(devices, "d")), path, rfc9440(device(devices, "e"))).status == 200


def test_S100_the_chain_of_RFC_9440_is_read(tmp_path, networks):
    anchor = factory_root("x")
    between = device(anchor, "Line", ca=True)
    holder = device(between, "far")
    chain = b"Client-Cert-Chain: :%s:" % base64.b64encode(between.der)
    settings = {"client_certificate_header": "Client-Cert", "trusted_proxies": networks}
    with serving([trusting("a", anchor)], **settings) as server:
        tls, path = context(tmp_path), f"/scep-mtls/a{CAPABILITIES}"
        assert get(server, tls, path, rfc9440(holder), chain).status == 200
        assert get(server, tls, path, rfc9440(holder)).status == 401
        assert get(server, tls, path, rfc9440(holder), b"Client-Cert-Chain: x").status == 401


@pytest.mark.parametrize("trusted", ["198.51.100.1", None])
def test_S100_from_anybody_else_the_header_is_nothing(tmp_path, networks, trusted):
    anchor = factory_root("x")
    holder = device(anchor, "stolen")
    settings = {"client_certificate_header": "Client-Cert", "trusted_proxies": networks} if trusted else {}
    networks.write_text(trusted or "")
    with serving([trusting("a", anchor)], **settings) as server:
        path = f"/scep-mtls/a{CAPABILITIES}"
        assert get(server, context(tmp_path), path, rfc9440(holder), escaped(holder)).status == 401
        assert get(server, context(tmp_path, holder), path).status == 200


def test_S100_on_plain_HTTP_there_is_no_gate_even_for_a_trusted_proxy(networks):
    anchor = factory_root("x")
    settings = {"client_certificate_header": "Client-Cert", "trusted_proxies": networks, "tls": False}
    with serving([trusting("a", anchor)], **settings) as server:
        assert get(server, None, f"/scep-mtls/a{CAPABILITIES}", rfc9440(device(anchor, "d"))).status == 404


def test_S78_S100_behind_the_PROXY_protocol_TLS_is_the_clients_own_and_so_is_every_header(tmp_path, networks, lines):
    anchor = factory_root("x")
    holder = device(anchor, "d")
    settings = {"client_certificate_header": "Client-Cert", "trusted_proxies": networks, "proxy_protocol": True}
    with serving([trusting("a", anchor)], **settings) as server, connected(server, None) as plain:
        plain.sendall(b"PROXY TCP4 198.51.100.7 127.0.0.1 1 2\r\n")
        with context(tmp_path, holder).wrap_socket(plain) as connection:
            assert exchange(connection, f"/scep-mtls/a{CAPABILITIES}", rfc9440(device(anchor, "e"))).status == 200
        assert " client=CN=d" in lines[-1]
        assert " ip=198.51.100.7 " in lines[-1]


def test_every_fault_has_its_line():
    from scepd.web.client_certificate import TEXTS

    assert set(TEXTS) == set(ClientFault)
    assert all(text.startswith(b"client certificate ") and (b":" in text) for text in TEXTS.values())


def test_a_gate_costs_less_than_a_millisecond():
    from scepd.x509.client import verify_client

    anchor = factory_root("x")
    between = device(anchor, "Line", ca=True)
    holder, trust = device(between, "d"), ClientTrust(bundle(anchor))
    began = time.process_time()
    for _ in range(50):
        verify_client([holder.der, between.der], trust, TODAY)
    assert (time.process_time() - began) / 50 < 0.005  # seconds; a busy machine has its share


@attrs.define
class Moment:
    """A clock and a trust that a test moves."""

    time: object
    trust: ClientTrust

    def now(self):
        return self.time

    def gate(self):
        return Gate(lambda: self.trust, self)


def admit(gate, *presented):
    return asyncio.run(gate.admit(presented))


def test_S96_a_proof_stands_no_longer_than_dates_and_anchors_do(monkeypatch):
    verified = []
    verify = client_certificate.verify_client
    monkeypatch.setattr(client_certificate, "verify_client", lambda *given: verified.append(1) or verify(*given))
    factory, other = factory_root("Factory"), factory_root("Other")
    short = device(factory, "short", end=TODAY + timedelta(hours=1))
    moment = Moment(TODAY, ClientTrust(bundle(factory)))
    gate = moment.gate()
    assert [admit(gate, short.der).subject for _ in range(3)] == ["CN=short"] * 3
    assert len(verified) == 1
    assert admit(gate, short.der, factory.der).subject == "CN=short"  # whatever else is presented is judged anew
    assert len(verified) == 2
    for time_, trust, fault in (
        (TODAY + timedelta(hours=2), moment.trust, ClientFault.expired),
        (TODAY - timedelta(days=30), moment.trust, ClientFault.not_yet_valid),
        (TODAY, ClientTrust(bundle(other)), ClientFault.untrusted),
    ):
        moment.time, moment.trust = time_, trust
        with pytest.raises(ClientRefused) as refused:
            admit(gate, short.der)
        assert refused.value.fault is fault
        moment.time, moment.trust = TODAY, ClientTrust(bundle(factory))
        assert admit(gate, short.der).subject == "CN=short"
    assert len(verified) == 8


def test_proofs_are_bounded_in_number_and_length():
    factory = factory_root("Factory")
    gate, hint = Moment(TODAY, ClientTrust(bundle(factory))).gate(), factory.der
    one = device(factory, "one").der
    for number in range(300):
        admit(gate, one, hint, b"%d" % number)
    admit(gate, one, *[hint + bytes(16_000)] * 2)
    assert len(gate._proofs) == 256
    assert max(sum(map(len, presented)) for presented in gate._proofs) < 16_384


def test_get_verified_chain_is_used_nowhere():
    from pathlib import Path

    import scepd

    # With a callback that accepts everything it returns a chain for expired and unknown certificates too.
    sources = Path(scepd.__file__).parent.rglob("*.py")
    assert not [path for path in sources if "get_verified_chain" in path.read_text()]

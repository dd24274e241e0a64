"""TLS of a listener: versions, ALPN, renegotiation; adopted Unix sockets."""

import contextlib
import os
import pickle
import socket
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactor

from scepd.app.clock import UtcClock
from scepd.app.listeners import adopt, approach_of, tls_context
from scepd.app.parcel import Inherited
from scepd.app.sockets import listen_unix
from scepd.config.listener_settings import ListenerSettings, TlsSettings
from scepd.records import Secret


@pytest.fixture(scope="module")
def pems():
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(7).not_valid_before(now).not_valid_after(now + timedelta(days=1))
    certificate = builder.sign(key, hashes.SHA256())
    encoding = serialization.Encoding.PEM
    private = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return certificate.public_bytes(encoding), Secret(private.decode())


def shake_hands(server_context, *, versions=(None, None), protocols=(), suite=None, prepare=lambda _context: None):
    client_context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    prepare(client_context)
    least, most = versions
    if least is not None:
        client_context.set_min_proto_version(least)
        client_context.set_max_proto_version(most)
    if suite is not None:
        client_context.set_cipher_list(suite)
    if protocols:
        client_context.set_alpn_protos(list(protocols))
    client, server = SSL.Connection(client_context, None), SSL.Connection(server_context, None)
    client.set_connect_state()
    server.set_accept_state()
    for _turn in range(6):
        for here, there in ((client, server), (server, client)):
            with contextlib.suppress(SSL.WantReadError):
                here.do_handshake()
            with contextlib.suppress(SSL.WantReadError):
                there.bio_write(here.bio_read(65536))
    return client, server


@pytest.mark.parametrize("version", [SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION])
def test_S101_tls_1_2_and_1_3_are_spoken(pems, version):
    client, _server = shake_hands(tls_context(TlsSettings(*pems)), versions=(version, version))
    assert client.get_protocol_version_name() == {SSL.TLS1_2_VERSION: "TLSv1.2", SSL.TLS1_3_VERSION: "TLSv1.3"}[version]
    assert client.get_cipher_name()


@pytest.mark.parametrize("suite", [b"AES256-SHA", b"AES128-GCM-SHA256", b"ECDHE-ECDSA-AES128-SHA"])
def test_S101_no_rsa_key_exchange_and_no_cbc_with_sha_1(pems, suite):
    with pytest.raises(SSL.Error):
        shake_hands(tls_context(TlsSettings(*pems)), versions=(SSL.TLS1_2_VERSION, SSL.TLS1_2_VERSION), suite=suite)


def test_S101_windows_without_gcm_is_served(pems):
    versions = (SSL.TLS1_2_VERSION, SSL.TLS1_2_VERSION)
    suite = b"ECDHE-ECDSA-AES256-SHA384"
    client, _server = shake_hands(tls_context(TlsSettings(*pems)), versions=versions, suite=suite)
    assert client.get_cipher_name() == suite.decode()


@pytest.mark.parametrize(("minimum", "version"), [("1.2", SSL.TLS1_1_VERSION), ("1.3", SSL.TLS1_2_VERSION)])
def test_S101_older_versions_than_the_minimum_are_refused(pems, minimum, version):
    with pytest.raises(SSL.Error):
        shake_hands(tls_context(TlsSettings(*pems, minimum)), versions=(version, version))


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [((b"h2", b"http/1.1"), b"http/1.1"), ((b"h2",), b""), ((), b"")],
)
def test_S75_only_http_1_1_is_negotiated(pems, offered, chosen):
    client, _server = shake_hands(tls_context(TlsSettings(*pems)), protocols=offered)
    assert client.get_alpn_proto_negotiated() == chosen


def test_S101_a_client_cannot_renegotiate(pems):
    version = SSL.TLS1_2_VERSION
    client, server = shake_hands(tls_context(TlsSettings(*pems)), versions=(version, version))
    assert client.renegotiate()
    with pytest.raises(SSL.Error):
        for here, there in ((client, server), (server, client), (client, server)):
            try:
                here.do_handshake()
            except SSL.WantReadError:
                there.bio_write(here.bio_read(65536))
    assert server.total_renegotiations() == 0


def test_a_key_of_another_certificate_is_refused(pems):
    other = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with pytest.raises(SSL.Error):
        tls_context(TlsSettings(pems[0], Secret(other.decode())))


def test_an_adopted_unix_socket_keeps_its_mode_and_its_name(tmp_path):
    from twisted.internet import reactor

    path = tmp_path / "desk.sock"
    bound = listen_unix(path)
    factory = Factory()
    factory.noisy = False
    port = adopt(reactor, Inherited("desk", os.dup(bound.fileno()), socket.AF_UNIX), factory)
    assert path.stat().st_mode & 0o777 == 0o600
    port.stopListening()
    reactor.iterate()
    assert path.exists()
    bound.close()


def test_the_inherited_descriptor_is_taken_over():
    bound = socket.create_server(("127.0.0.1", 0))
    bound.setblocking(False)
    descriptor = os.dup(bound.fileno())
    adopt(MemoryReactor(), Inherited("plain", descriptor, socket.AF_INET), Factory())
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)
    bound.close()


def listener(pems, **fields):
    return ListenerSettings("mtls", (), TlsSettings(*pems), ("scep",), **fields)


@pytest.mark.parametrize("version", [SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION])
def test_S99_a_callback_that_raises_lets_nobody_in(pems, version):
    def raising(*_judgement):
        raise ValueError("a fault in a callback")

    context = tls_context(TlsSettings(*pems))
    context.set_verify(SSL.VERIFY_PEER, raising)
    with pytest.raises((SSL.Error, ValueError)):
        shake_hands_with_certificate(context, pems, version)


@pytest.mark.parametrize("version", [SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION])
@pytest.mark.parametrize("certificates", ["optional", "required"])
def test_S97_a_certificate_of_nobody_passes_TLS_since_the_gate_judges_it(pems, version, certificates):
    _client, server = shake_hands_with_certificate(tls_context(TlsSettings(*pems), certificates), pems, version)
    assert server.get_peer_certificate(as_cryptography=True).serial_number == 7


@pytest.mark.parametrize("certificates", ["off", "optional"])
def test_S97_no_certificate_passes_TLS_unless_it_is_required(pems, certificates):
    _client, server = shake_hands(tls_context(TlsSettings(*pems), certificates))
    assert server.get_peer_certificate() is None
    with pytest.raises(SSL.Error):
        shake_hands(tls_context(TlsSettings(*pems), "required"))


def test_C054_other_listeners_ask_for_no_certificate(pems):
    _client, server = shake_hands_with_certificate(tls_context(TlsSettings(*pems)), pems, SSL.TLS1_2_VERSION)
    assert server.get_peer_certificate() is None


def shake_hands_with_certificate(server_context, pems, version):
    def prepare(context):
        context.use_certificate(x509.load_pem_x509_certificate(pems[0]))
        context.use_privatekey(serialization.load_pem_private_key(pems[1].reveal().encode(), None))

    return shake_hands(server_context, versions=(version, version), prepare=prepare)


def test_where_memory_denies_write_and_execute_the_operator_hears_what_to_do(pems, tmp_path):
    settings = tmp_path / "listener"
    settings.write_bytes(pickle.dumps([listener(pems), listener(pems, client_certificates="optional")]))
    # prctl(2): PR_SET_MDWE with PR_MDWE_REFUSE_EXEC_GAIN, which is what MemoryDenyWriteExecute= asks the kernel for.
    script = (
        "import ctypes, pickle, sys\n"
        "from scepd.app.listeners import check_listener\n"
        "from scepd.refusal import OperatorError\n"
        "plain, asking = pickle.load(open(sys.argv[1], 'rb'))\n"
        "print(ctypes.CDLL(None).prctl(65, 1, 0, 0, 0))\n"
        "check_listener(plain)\n"
        "try:\n    check_listener(asking)\n"
        "except OperatorError as error:\n    print(error.problem, '|', error.hint)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, settings], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
    status, _, words = done.stdout.partition("\n")
    if status == "0":  # kernels before 6.3 cannot be asked
        assert "MemoryDenyWriteExecute=" in words
        assert "drop-ins/client-certificates.conf" in words


def test_a_listener_says_how_clients_come_to_it(pems, tmp_path):
    networks = tmp_path / "networks.txt"
    networks.write_text("192.0.2.0/24")
    fields = {"trusted_proxies": networks, "client_certificate_header": "Client-Cert"}
    approach = approach_of(listener(pems, client_address_header="X-Forwarded-For", **fields), UtcClock())
    assert (approach.address_header, approach.certificate_header) == (b"x-forwarded-for", b"client-cert")
    assert (approach.is_proxy("192.0.2.7"), approach.is_proxy("192.0.3.7")) == (True, False)
    assert approach.asks_certificate
    assert approach_of(listener(pems, proxy_protocol=True, **fields), UtcClock()).certificate_header is None
    direct = approach_of(ListenerSettings("plain", (), None, ("scep",), client_certificates="optional"), UtcClock())
    assert (direct.asks_certificate, direct.is_proxy("192.0.2.7"), direct.address_header) == (False, False, None)

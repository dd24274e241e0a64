"""TLS of a listener: versions, ALPN, renegotiation; adopted Unix sockets."""

import contextlib
import os
import socket
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactor

from scepd.app.listeners import adopt, tls_context
from scepd.app.parcel import Inherited
from scepd.app.sockets import listen_unix
from scepd.config.settings import TlsSettings
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


def shake_hands(server_context, *, versions=(None, None), protocols=(), suite=None):
    client_context = SSL.Context(SSL.TLS_CLIENT_METHOD)
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

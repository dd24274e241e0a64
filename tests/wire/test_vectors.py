"""Recorded requests of real programs: each gets its certificate, and the emulated ones say the same in the same way."""

from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from scepd.message import names, tlv
from scepd.message.enveloped import parse_envelope
from scepd.message.query import decode_message, parse_query
from scepd.message.request import parse_message
from tests.wire import clients
from tests.wire.world import ANYTHING, Server
from tests.world import Keys

VECTORS = Path(__file__).parent.parent / "vectors"
PROFILES = {"devices": {}, "old": {"insecurely_accept_sha1": True, "insecurely_accept_des": True}}
EMULATED = {
    "strongswan-5.9.8": lambda server: clients.strongswan(server, tag=tlv.UTF8_STRING),
    "micromdm-2.1.0": lambda server: clients.micromdm(server, constructed=True),
    "certmonger-0.79.17": clients.certmonger,
}


def load(name):
    pem = (VECTORS / f"{name}.pem").read_bytes()
    return load_pem_private_key(pem, None), x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)


@pytest.fixture(scope="module")
def recorded_keys():
    (ca, ca_der), (sign, sign_der), (decrypt, decrypt_der) = map(load, ("ca", "sign", "decrypt"))
    return Keys(ca, sign, decrypt, ca_der, sign_der, decrypt_der)


@pytest.fixture
def server(recorded_keys, tmp_path):
    return Server(recorded_keys, tmp_path, PROFILES)


def message_of(request):
    """The PKIMessage in a recorded HTTP request."""
    head, _, body = request.partition(b"\r\n\r\n")
    method, target, _ = head.split(b"\r\n")[0].split(b" ")
    return body if method == b"POST" else decode_message(parse_query(target.partition(b"?")[2], method).raw_message)


@pytest.mark.parametrize("client", EMULATED)
def test_C136_what_a_real_program_sent_gets_its_certificate(server, client):
    request = (VECTORS / client / "enrol.http").read_bytes()
    reply = server.ask(request)
    asked, said = parse_message(message_of(request)), parse_message(reply.body)
    assert server.read(reply.body).status == 0
    assert (said.digest, said.transaction_id, said.recipient_nonce) == (
        asked.digest, asked.transaction_id, asked.sender_nonce,
    )  # fmt: skip
    sent, received = (parse_envelope(message.content, ANYTHING) for message in (asked, said))
    assert received.cipher is sent.cipher
    assert len(server.world.issued()) == 1


@pytest.mark.parametrize("client", EMULATED)
def test_C045_C030_what_a_real_program_asks_first(server, client):
    asked = (VECTORS / client / "learn.http").read_bytes().split(b"\r\n\r\n")
    replies = [server.ask(request + b"\r\n\r\n") for request in asked if request]
    assert {reply.headers[b"Content-Type"] for reply in replies} == {b"text/plain", b"application/x-x509-ca-ra-cert"}


def shape(message):
    """What is peculiar in how a client writes a message, without its keys and values."""
    parsed = parse_message(message)
    envelope = parse_envelope(parsed.content, ANYTHING)
    encrypted = tlv.read(parsed.content).children[1].children[0].children[-1].children[-1]
    fields = tlv.read(parsed.signer.der).children[0].children
    versioned = fields[0].tag == 0xA0
    validity = fields[4 if versioned else 3].children
    return {
        "digest": parsed.digest,
        "signature": parsed.proof.signer_info.signature_algorithm.oid,
        "cipher": envelope.cipher,
        "transport": {str(recipient.transport) for recipient in envelope.recipients},
        "transactionID": min(len(parsed.transaction_id), 77),  # certmonger: SHA-256 as a decimal number
        "nonce": len(parsed.sender_nonce),
        "content": hex(encrypted.tag),
        "version": versioned,
        "times": {hex(time.tag) for time in validity},
        "serial": min(len(parsed.signer.serial_der), 20),
        "content type": parsed.proof.content_type == names.DATA,
    }


@pytest.mark.parametrize("client", EMULATED)
def test_WA02_WA04_WA08_the_emulated_clients_write_as_the_real_ones(server, client):
    real = message_of((VECTORS / client / "enrol.http").read_bytes())
    assert shape(EMULATED[client](server).body) == shape(real)

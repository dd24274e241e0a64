"""Part A of `rows.toml`, the clients: GetCACaps, GetCACert and PKIOperation as each was recorded, to its certificate."""

import base64
import textwrap
from urllib.parse import quote

import pytest
from cryptography import x509

from scepd.message import tlv
from scepd.message.algorithms import Cipher, Digest
from scepd.message.certrep import read_certs_only
from scepd.message.request import parse_message

from . import clients

HOST = b"Host: pki.example.net\r\n"
CLOSE = HOST + b"Connection: close\r\n"


def common_name(leaf):
    (attribute,) = x509.load_der_x509_certificate(leaf).subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return attribute.value


def learn(server, ident, head=HOST):
    """GetCACaps and GetCACert with that ident; they are what the client needs."""
    message = b"" if ident is None else b"&message=" + ident
    caps = server.get(b"operation=GetCACaps" + message, head=head)
    assert (caps.status, caps.headers[b"Content-Type"]) == (200, b"text/plain")
    authorities = server.get(b"operation=GetCACert" + message, head=head)
    assert authorities.headers[b"Content-Type"] == b"application/x-x509-ca-ra-cert"
    assert read_certs_only(authorities.body) == [server.keys.sign_der, server.keys.decrypt_der, server.keys.ca_der]
    return set(caps.body.split(b"\n"))


def enrol(server, sent, reply):
    assert (reply.status, reply.headers[b"Content-Type"]) == (200, b"application/x-pki-message")
    leaf = server.check_success(reply.body, sent.body, sent.party)
    assert len(server.world.issued()) == 1
    return common_name(leaf)


@pytest.mark.parametrize("end", [b"\0", b""], ids=["33 octets", "32 octets"])
def test_WA01_sscep(server, end):
    learn(server, b"CAIdentifier", CLOSE)
    sent = clients.sscep(server, serial_end=end)
    assert enrol(server, sent, server.post(sent.body, head=CLOSE)) == "sscep"


def test_WA02_micromdm_2_1_0(serve):
    server = serve(insecurely_accept_sha1=True, insecurely_accept_des=True)
    assert {b"POSTPKIOperation", b"SHA-1"} <= learn(server, None)
    sent = clients.micromdm(server)
    head = HOST + b"Content-Type: application/octet-stream\r\nAccept-Encoding: gzip\r\n"
    assert enrol(server, sent, server.post(sent.body, head=head)) == "micromdm"
    # It polls with the same octets.
    again = server.post(sent.body, head=head)
    assert server.check_success(again.body, sent.body, sent.party)
    assert len(server.world.issued()) == 1


def test_WA03_micromdm_HEAD_writes_an_entry_for_every_certificate(serve):
    server = serve(insecurely_accept_sha1=True, insecurely_accept_des=True)
    authority = clients.make.Party(server.keys.ca, server.keys.ca_der)
    signing = clients.make.Party(server.keys.sign, server.keys.sign_der)
    sent = clients.micromdm(server, constructed=False, recipients=[signing, authority, server.ra])
    # The entries for certificates that do not decrypt are somebody else's.
    assert enrol(server, sent, server.post(sent.body)) == "micromdm"


@pytest.mark.parametrize("switch", ["insecurely_accept_sha1", "insecurely_accept_des"])
def test_WA02_WA03_micromdm_without_one_of_its_switches_is_bad_alg(serve, switch):
    server = serve(**{switch: True})
    reply = server.post(clients.micromdm(server).body)
    assert server.check_refusal(reply.body) == ("badAlg", "algorithm not accepted")


@pytest.mark.parametrize("tag", [tlv.UTF8_STRING, tlv.PRINTABLE_STRING], ids=["5.9.8", "6.0.6"])
def test_WA04_WA05_strongSwan(server, tag):
    offered = learn(server, b"")
    # 5.9.8 takes AES and SHA-256 as offered only beside these two.
    assert {b"AES", b"SHA-256", b"SHA-384", b"POSTPKIOperation"} <= offered
    sent = clients.strongswan(server, tag=tag)
    reply = server.post(sent.body)
    assert enrol(server, sent, reply) == "strongswan"
    (row,) = server.world.issued()
    assert row.names == ("dns:strongswan",)


def test_WA04_strongSwan_with_its_3DES_option(serve):
    server = serve(insecurely_accept_3des=True)
    sent = clients.strongswan(server, cipher=Cipher.DES3)
    assert enrol(server, sent, server.post(sent.body)) == "strongswan"


def test_WA06_jscep(server):
    for _ in range(5):
        learn(server, b"")
    sent = clients.jscep(server)
    assert parse_message(sent.body).digest is Digest.SHA512
    head = HOST + b"Content-Type: application/octet-stream\r\n"
    assert enrol(server, sent, server.post(sent.body, head=head)) == "jscep"


def test_WA07_PyScep(server):
    sent = clients.pyscep(server)
    head = HOST + b"Content-Type: application/x-pki-message\r\nAccept-Encoding: gzip, deflate\r\n"
    reply = server.post(sent.body, head=head, query=b"operation=PKIOperation&message=")
    assert enrol(server, sent, reply) == "pyscep"
    assert b"Content-Encoding" not in reply.headers


def test_WA08_certmonger(server):
    for ident in (b"0", b"1"):
        learn(server, ident)
    sent = clients.certmonger(server)
    assert len(parse_message(sent.body).transaction_id) == 77
    query = b"operation=PKIOperation&message=" + quote(clients.encoded(sent.body), safe="").encode()
    assert enrol(server, sent, server.get(query)) == "certmonger"
    # It polls with the same request, signed afresh.
    again = clients.certmonger(server, sender_nonce=bytes(16))
    reply = server.get(b"operation=PKIOperation&message=" + quote(clients.encoded(again.body), safe="").encode())
    assert server.check_success(reply.body, again.body, again.party)
    assert len(server.world.issued()) == 1


def test_WA09_libscep_leaves_the_content_type_attribute_out_which_its_switch_allows(serve):
    server = serve(insecurely_accept_3des=True, accept_missing_content_type=True)
    sent = clients.libscep(server)
    lines = base64.encodebytes(sent.body).replace(b"\n", b"\r\n").decode()
    reply = server.get(b"operation=PKIOperation&message=" + quote(lines, safe="").encode())
    assert enrol(server, sent, reply) == "libscep"


def test_WA09_C079_without_the_switch_the_attribute_must_be_there(serve):
    # RFC 5652 section 11.1. With it, the same message is taken.
    server = serve(insecurely_accept_3des=True)
    lines = base64.encodebytes(clients.libscep(server).body).replace(b"\n", b"\r\n").decode()
    reply = server.get(b"operation=PKIOperation&message=" + quote(lines, safe="").encode())
    assert server.check_refusal(reply.body) == ("badMessageCheck", "signed attributes invalid")
    sent = clients.libscep(server, content_type=True)
    assert enrol(server, sent, server.post(sent.body)) == "libscep"


BUILDERS = {
    "sscep": clients.sscep, "strongSwan": clients.strongswan, "jscep": clients.jscep, "PyScep": clients.pyscep,
    "certmonger": clients.certmonger,
}  # fmt: skip


@pytest.mark.parametrize("build", BUILDERS.values(), ids=BUILDERS)
def test_WA10_what_all_have_in_common(server, build):
    message = parse_message(build(server).body)
    assert (len(message.sender_nonce), message.message_type) == (16, 19)
    assert message.proof.content_type_attribute == message.proof.content_type
    assert message.signer is not None


def spelled(spelling, text):
    """The query's value as one client writes it."""
    broken = "\n".join(textwrap.wrap(text, 64)) + "\n"
    return {
        "percent": quote(text, safe=""),
        "raw": text,
        "lines": quote(broken, safe="/"),
        "CR LF": quote(broken.replace("\n", "\r\n"), safe=""),
        "URL-safe": text.translate(str.maketrans("+/", "-_")),
    }[spelling].encode()


@pytest.mark.parametrize("spelling", ["percent", "raw", "lines", "CR LF", "URL-safe"])
def test_WA11_WA12_WA13_WA14_WA15_WA28_five_spellings_of_base64_by_GET(server, spelling):
    # Of three lengths in a row two end in padding: the message has all that is spelled differently.
    tries = (clients.plain(server, transaction="1" * length) for length in range(20, 40))
    sent = next(one for one in tries if {"+", "/", "="} <= set(clients.encoded(one.body)))
    text = clients.encoded(sent.body)
    value = spelled(spelling, text)
    query = b"operation=PKIOperation&message=" + value
    if spelling == "URL-safe":
        query = b"message=" + value + b"&operation=PKIOperation"  # micromdm 2.1.0 sorts its parameters
    assert enrol(server, sent, server.get(query)) == "device"

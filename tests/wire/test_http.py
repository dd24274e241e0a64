"""Part B of `rows.toml` as far as it is HTTP: paths, queries, spellings, media types."""

import re
import textwrap
from urllib.parse import quote

import pytest

from scepd.message.certrep import read_certs_only
from tests.wire import clients

KINDS = [b"application/x-pki-message", b"application/octet-stream", b"application/x-www-form-urlencoded", b"text/html"]


def issued(server, reply, sent):
    assert (reply.status, reply.headers[b"Content-Type"]) == (200, b"application/x-pki-message")
    return server.check_success(reply.body, sent.body, sent.party)


def by_get(server, value, **how):
    return server.get(b"operation=PKIOperation&message=" + value.encode(), **how)


def test_WB01_C021_HTTP_1_0_without_Host(server):
    sent = clients.plain(server)
    reply = by_get(server, quote(clients.encoded(sent.body), safe=""), head=b"", version=b"1.0")
    assert issued(server, reply, sent)
    client = server.setting.client()
    client.send(b"GET /scep?operation=GetCACaps HTTP/1.0\r\n\r\n")
    assert client.closed


@pytest.mark.parametrize(
    "path",
    [b"/scep/devices/pkiclient.exe", b"/cgi-bin/pkiclient.exe", b"/scep/pkiclient.exe", b"/pkiclient.exe"],
)
def test_WB02_C015_pkiclient_exe_after_any_url(server, path):
    sent = clients.plain(server)
    assert issued(server, by_get(server, quote(clients.encoded(sent.body), safe=""), path=path), sent)
    assert server.get(b"operation=GetCACaps", path=path).status == 200


def test_WB03_C009_cisco_breaks_lines_every_64_characters_and_at_the_end(server):
    sent = clients.plain(server)
    broken = "\n".join(textwrap.wrap(clients.encoded(sent.body), 64)) + "\n"
    value = broken.replace("\n", "%0A").replace("=", "%3D").replace("+", "%2B")
    assert issued(server, by_get(server, value, version=b"1.0"), sent)


def test_WB04_C008_apple_escapes_the_equals_sign_alone(server):
    sent = clients.plain(server, sender_nonce=bytes(15))
    assert issued(server, by_get(server, clients.encoded(sent.body).replace("=", "%3D")), sent)


def test_WB05_C008_plus_arrives_as_a_space(server):
    sent = clients.plain(server)
    assert issued(server, by_get(server, clients.encoded(sent.body).replace("+", "%20")), sent)


def test_WB06_C010_micromdm_2_1_0_message_first_in_the_URL_safe_alphabet(server):
    sent = clients.plain(server)
    value = clients.encoded(sent.body).translate(str.maketrans("+/", "-_"))
    reply = server.get(b"message=" + value.encode() + b"&operation=PKIOperation")
    assert issued(server, reply, sent)


def test_WB07_certmonger_escapes_three_characters_and_asks_with_0(server):
    sent = clients.certmonger(server)
    value = re.sub("[+/=]", lambda match: quote(match[0], safe=""), clients.encoded(sent.body))
    assert issued(server, by_get(server, value), sent)
    for operation in (b"GetCACaps", b"GetCACert"):
        assert server.get(b"operation=" + operation + b"&message=0").status == 200


IDENTS = [
    b"&message=", b"", b"&message=default", b"&message=Example%20Devices%20CA", b"&message=CAIdentifier",
    b"&message=MobileIronSCEP", b"&message=DummyCAIdentity", b"&message=1", b"&message=devices", b"&message=DEVICES",
]  # fmt: skip


@pytest.mark.parametrize("ident", IDENTS)
def test_WB08_WB09_C016_an_ident_is_a_hint(server, ident):
    assert b"AES" in server.get(b"operation=GetCACaps" + ident).body
    reply = server.get(b"operation=GetCACert" + ident)
    assert read_certs_only(reply.body) == server.keys.certificates


@pytest.mark.parametrize("query", [b"operation=getcacaps", b"OPERATION=GETCACAPS", b"operation=", b"", b"message=x"])
def test_WB10_C013_C014_letter_case_slash_and_no_operation(server, query):
    reply = server.get(query, path=b"/scep/devices/")
    assert (reply.status, reply.headers[b"Content-Type"]) == (200, b"text/plain")


@pytest.mark.parametrize("kind", [None, *KINDS])
def test_WB11_C004_C005_any_content_type_or_none(server, kind):
    sent = clients.plain(server)
    head = b"Host: x\r\n" + (b"" if kind is None else b"Content-Type: " + kind + b"\r\n")
    assert issued(server, server.post(sent.body, head=head), sent)


def test_WB12_a_POST_without_a_body_is_400(server):
    reply = server.post(b"")
    assert (reply.status, reply.headers[b"Content-Type"]) == (400, b"text/plain")
    assert server.post(clients.plain(server).body).status == 200


def test_WB13_C022_media_types_are_literal_and_capabilities_short(server):
    caps, authorities = server.get(b"operation=GetCACaps"), server.get(b"operation=GetCACert")
    message = server.post(clients.plain(server).body)
    assert [reply.headers[b"Content-Type"] for reply in (caps, authorities, message)] == [
        b"text/plain", b"application/x-x509-ca-ra-cert", b"application/x-pki-message",
    ]  # fmt: skip
    assert 0 < len(caps.body) < 1024


def test_WB14_C048_the_media_type_of_GetCACert_follows_its_content(server):
    reply = server.get(b"operation=GetCACert")
    assert reply.headers[b"Content-Type"] == b"application/x-x509-ca-ra-cert"
    assert len(read_certs_only(reply.body)) == 3  # the single certificate: test_WA21


def test_WB15_C026_a_refusal_is_a_CertRep_with_200(server):
    reply = server.post(clients.plain(server, attributes=(clients.password(text="wrong"),)).body)
    assert (reply.status, reply.headers[b"Content-Type"]) == (200, b"application/x-pki-message")
    assert server.check_refusal(reply.body) == ("badRequest", "challenge rejected")

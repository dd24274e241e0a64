"""Each legacy switch changes what its name says and nothing else: all probes under each switch alone."""

from datetime import timedelta

import pytest

from scepd.message import names
from scepd.message.algorithms import Cipher, Digest
from tests import make
from tests.wire import clients
from tests.wire.test_messages import renew
from tests.wire.world import Server
from tests.world import STATIC, make_keys


def takes_post(server):
    reply = server.post(req(server, "by POST"))
    return reply.status == 200 and server.read(reply.body).status == 0


def req(server, transaction, **fields):
    return make.pkcs_req(challenge=STATIC, recipient=server.ra, transaction_id=transaction, **fields)


def renews_by_pkcsreq(server):
    first = server.get(b"operation=PKIOperation&message=" + clients.encoded(req(server, "first")).encode())
    old = make.Party(make.device().key, server.leaf(first.body, make.device()))
    server.world.clock.time += timedelta(days=300)
    body = renew(server, old, make.key("renewed"), transaction_id="second")
    reply = server.get(b"operation=PKIOperation&message=" + clients.encoded(body).encode())
    server.world.clock.time -= timedelta(days=300)
    return server.read(reply.body).status == 0


def reads_verisign_wishes(server):
    wish = clients.wishes(make.dns_names("verisign"), oid=names.VERISIGN_EXTENSION_REQUEST)
    sent = clients.plain(server, who="verisign", attributes=(clients.password(), wish), transaction="verisign")
    server.get(b"operation=PKIOperation&message=" + clients.encoded(sent.body).encode())
    return any(row.names == ("dns:verisign",) for row in server.world.issued())


def by_get(name, **fields):
    """A probe: whether such a request brings a certificate by GET, which nothing switches off."""

    def probe(server):
        query = b"operation=PKIOperation&message=" + clients.encoded(req(server, name, **fields)).encode()
        return server.read(server.get(query).body).status == 0

    return probe


PROBES = {
    "insecurely_accept_md5": by_get("digest", digest=Digest.MD5),
    "insecurely_accept_sha1": by_get("digest", digest=Digest.SHA1),
    "insecurely_accept_des": by_get("cipher", cipher=Cipher.DES),
    "insecurely_accept_3des": by_get("cipher", cipher=Cipher.DES3),
    "insecurely_accept_small_rsa": by_get("signer", signer=make.party("small", "rsa1024")),
    "insecurely_accept_raw_csr": lambda server: server.endpoints["devices"].answer_raw is not None,
    "renewal": renews_by_pkcsreq,
    "ca_certificate_chain": lambda server: server.get(b"operation=GetCACertChain").status == 200,
    "verisign_extension_request": reads_verisign_wishes,
    "get_only": lambda server: not takes_post(server),
    "modern": by_get("modern"),
}
SWITCHES = {name: True for name in PROBES if name not in {"renewal", "modern"}} | {"renewal": {"by_pkcsreq": False}}
BY_DEFAULT = {name: name in {"renewal", "modern"} for name in PROBES}


def outcomes(server):
    return {name: probe(server) for name, probe in PROBES.items()}


@pytest.mark.parametrize("switch", [None, *SWITCHES])
def test_C265_C266_each_switch_changes_only_what_its_name_says(serve, switch):
    table = {} if switch is None else {switch: SWITCHES[switch]}
    expected = BY_DEFAULT if switch is None else BY_DEFAULT | {switch: not BY_DEFAULT[switch]}
    assert outcomes(serve(**table)) == expected


def test_C267_RSA_clients_enrol_with_an_EC_issuing_CA(tmp_path):
    server = Server(make_keys(elliptic=True), tmp_path, {"devices": {}})
    for build in (clients.sscep, clients.strongswan, clients.jscep, clients.pyscep, clients.certmonger):
        sent = build(server)
        reply = server.post(sent.body)
        assert server.check_success(reply.body, sent.body, sent.party)
    assert len(server.world.issued()) == 5

"""The failInfo decision table, row by row, and which answer wins when several are due."""

import sqlite3
from datetime import timedelta

import attrs
import pytest

from scepd.message import names, tlv
from scepd.message.algorithms import Cipher, Digest
from scepd.message.request import parse_message
from scepd.message.signature import write_algorithm
from tests import make
from tests.wire import clients
from tests.wire.test_recorded import poll
from tests.world import NOW, STATIC

RC2 = "1.2.840.113549.3.2"
MD2 = "1.2.840.113549.2.2"
SHA224_WITH_RSA = "1.2.840.113549.1.1.14"
KARI = tlv.write(0xA1, tlv.integer(3))


def req(server, **fields):
    return make.pkcs_req(**{"challenge": STATIC, "recipient": server.ra, **fields})


def parts(server, **fields):
    return make.take_apart(req(server, **fields))


def answer(server, body):
    return server.check_refusal(server.post(body).body)[0]


def enveloped(server, **changes):
    """A message around an envelope with fields replaced."""
    envelope = make.open_up(make.envelope(make.csr(challenge=STATIC), server.ra))
    return make.message(attrs.evolve(envelope, **changes).der())


def transported(server, oid):
    envelope = make.open_up(make.envelope(make.csr(challenge=STATIC), server.ra))
    return make.message(envelope.bend(algorithm=write_algorithm(oid)).der())


BAD_ALGORITHMS = {
    "digest not accepted": lambda server: req(server, digest=Digest.SHA1),
    "digest unknown": lambda server: parts(server).bend(digest_algorithm=write_algorithm(MD2)).der(),
    "signature unknown": lambda server: parts(server).bend(signature_algorithm=write_algorithm(SHA224_WITH_RSA)).der(),
    "cipher not accepted": lambda server: req(server, cipher=Cipher.DES3),
    "cipher unknown": lambda server: enveloped(
        server, cipher_algorithm=tlv.sequence(tlv.oid(RC2), tlv.octet_string(bytes(8)))
    ),
    "key transport unknown": lambda server: transported(server, "1.2.3.4"),
    "key agreement": lambda server: enveloped(server, entries=(), others=(KARI,)),
    "signer's key too small": lambda server: req(server, signer=make.party("small", "rsa1024")),
}


@pytest.mark.parametrize("build", BAD_ALGORITHMS.values(), ids=BAD_ALGORITHMS)
def test_C235_algorithms_in_clear_data_are_badAlg(server, build):
    assert answer(server, build(server)) == "badAlg"


def flipped(message):
    signature = message.signer.signature
    return message.bend(signature=signature[:-1] + bytes((signature[-1] ^ 1,)))


BAD_CHECKS = {
    "signature": lambda server: flipped(parts(server)).der(),
    "digest": lambda server: attrs.evolve(parts(server), content=parts(server).content + b"\0").der(),
    "contentType": lambda server: parts(server)
    .with_attribute(names.CONTENT_TYPE, tlv.oid(names.SIGNED_DATA))
    .resign()
    .der(),
    "no contentType": lambda server: parts(server).without_attribute(names.CONTENT_TYPE).resign().der(),
    "signer missing": lambda server: attrs.evolve(parts(server), certificates=()).der(),
    "signer ambiguous": lambda server: req(server, certificates=[_namesake(), make.device().certificate_der]),
}


def _namesake():
    """Another certificate of the device's issuer and serial."""
    return make.certificate(make.key("namesake"), subject=make.name(CN="device"))


@pytest.mark.parametrize("build", BAD_CHECKS.values(), ids=BAD_CHECKS)
def test_C236_what_does_not_verify_is_badMessageCheck(server, build):
    assert answer(server, build(server)) == "badMessageCheck"


def garbled(server):
    return enveloped(server, ciphertext=bytes(64))


BAD_REQUESTS = {
    "type unknown": lambda server: req(server, message_type=18),
    "challenge wrong": lambda server: req(server, challenge="wrong"),
    "challenge missing": lambda server: req(server, challenge=None),
    "policy": lambda server: req(server, extensions=[make.dns_names("somebody.else.example")]),
    "recipient": lambda server: req(server, recipient=make.party("another ra")),
    "no content": lambda _server: make.message(None),
    "renewal by nobody's certificate": lambda server: req(server, message_type=17, signing_time=NOW),
    "uniform": garbled,
}


@pytest.mark.parametrize("build", BAD_REQUESTS.values(), ids=BAD_REQUESTS)
def test_C237_everything_else_that_is_wrong_is_badRequest(server, build):
    assert answer(server, build(server)) == "badRequest"


def test_C237_a_type_that_is_switched_off_is_badRequest(serve):
    server = serve(get_cert="off", get_crl=False)
    for message_type in (21, 22):
        assert answer(server, lookup(server, message_type)) == "badRequest"


def test_C237_C206_other_wishes_in_a_transaction_that_has_its_certificate(server):
    server.post(req(server))
    reply = server.read(server.post(req(server, subject=make.name(CN="another"))).body)
    assert (reply.status, reply.fail_info.name) == (2, "badRequest")
    assert len(server.world.issued()) == 1


@pytest.mark.parametrize("hours", [-25, -2, 2, 25])
def test_C238_a_signingTime_that_is_off_is_badTime(serve, hours):
    server = serve(signing_time={"skew": "1h", "renewal_skew": "24h"})
    moment = NOW + timedelta(hours=hours)
    assert answer(server, req(server, signing_time=moment)) == "badTime"
    if abs(hours) > 24:
        assert answer(server, req(server, message_type=17, signing_time=moment)) == "badTime"
    assert server.leaf(server.post(req(server, signing_time=NOW + timedelta(hours=hours / 50))).body, make.device())


def test_C239_a_signingTime_that_is_missing_is_badTime_where_it_is_required(serve):
    server = serve(signing_time={"required": True})
    assert answer(server, req(server, signing_time=None)) == "badTime"


def lookup(server, message_type, *, issuer="Test CA", serial=99):
    content = make.envelope(make.issuer_and_serial(make.name(CN=issuer), serial), server.ra)
    return make.message(content, message_type=message_type)


UNKNOWN = {
    "GetCert, serial": lambda server: lookup(server, 21),
    "GetCert, issuer": lambda server: lookup(server, 21, issuer="Another CA"),
    "GetCRL, issuer": lambda server: lookup(server, 22, issuer="Another CA"),
    "CertPoll": lambda server: poll(server, make.device(), "never begun"),
}


@pytest.mark.parametrize("build", UNKNOWN.values(), ids=UNKNOWN)
def test_C240_what_is_not_there_is_badCertId(server, build):
    assert answer(server, build(server)) == "badCertId"


def test_C241_of_several_answers_the_first_of_the_table_wins(serve):
    """One poll with every fault; each that is mended lets the next one through."""
    server = serve(signing_time={"skew": "1h"})
    stranger = make.party("another ra")
    fine = poll(server, make.device(), "never begun", signing_time=NOW)
    data = make.issuer_and_subject(make.name(CN="Test CA"), make.name(CN="device"))

    def wrong(when):
        content = make.envelope(data, stranger)
        return make.message(content, message_type=20, transaction_id="never begun", signing_time=when)

    late = make.take_apart(wrong(NOW - timedelta(days=1)))
    old = attrs.evolve(flipped(late)).redigest(Digest.MD5)
    faults = [old.der(), flipped(late).der(), late.der(), wrong(NOW), fine]
    assert server.post(old.der() + b"\0").status == 400
    assert [answer(server, body) for body in faults] == [
        "badAlg", "badMessageCheck", "badTime", "badRequest", "badCertId",
    ]  # fmt: skip


@pytest.mark.parametrize("approval", ["automatic", "manual"])
def test_C242_success_and_pending_carry_no_failInfo(serve, approval):
    server = serve(approval=approval)
    said = parse_message(server.post(req(server)).body)
    assert (said.pki_status, said.fail_info, said.fail_info_text) == (
        {"automatic": 0, "manual": 3}[approval], None, None,
    )  # fmt: skip


class Untouched:
    """Stands in for a CA key that nobody may use."""

    def __getattr__(self, name):
        raise AssertionError(f"the CA key was asked to {name}")


def rows(directory):
    """Everything in the store but the audit trail."""
    connection = sqlite3.connect(directory / "scepd.sqlite")
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    found = {name: connection.execute(f'SELECT * FROM "{name}"').fetchall() for name in tables if "audit" not in name}
    connection.close()
    return found


EVERY_REFUSAL = {**BAD_ALGORITHMS, **BAD_CHECKS, **BAD_REQUESTS, **UNKNOWN}


def test_C243_refusals_use_no_CA_key_and_write_nothing(server, tmp_path):
    context = server.world.context
    context.issuers = {name: attrs.evolve(one, key=Untouched()) for name, one in context.issuers.items()}
    before = rows(tmp_path)
    assert len(before) > 3
    for build in EVERY_REFUSAL.values():
        answer(server, build(server))
    assert rows(tmp_path) == before
    server.world.one_time("spent-by-nobody")
    assert rows(tmp_path) != before


@pytest.mark.parametrize("message_type", [18, 0, 1, 3, 16, 23, 99, 255])
def test_C190_C191_S01_the_update_of_old_drafts_and_all_else_is_never_an_enrolment(server, message_type):
    assert answer(server, req(server, message_type=message_type)) == "badRequest"
    assert b"Update" not in server.get(b"operation=GetCACaps").body


def test_C237_a_refusal_says_nothing_of_what_was_decrypted(server):
    texts = {
        server.check_refusal(server.post(body).body)
        for body in (
            garbled(server),
            enveloped(server, ciphertext=bytes(63)),
            make.message(make.envelope(b"no request", server.ra)),
            req(server, csr_der=clients.csr("someone", clients.password())),
        )
    }
    assert texts == {("badRequest", "request refused")}

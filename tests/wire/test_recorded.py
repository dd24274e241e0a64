"""Part A of `rows.toml`, the rest: what clients need of our replies, and the shapes of GetCACert."""

from datetime import timedelta

import attrs
import pytest

from scepd.config.issuer_settings import RaSettings, SuccessionSettings
from scepd.message.algorithms import RSA_ENCRYPTION
from scepd.message.certrep import read_certs_only
from scepd.message.request import parse_message
from tests import make
from tests.message.oracles import signed_data
from tests.wire import clients, opened
from tests.world import NOW, STATIC, make_keys
from tests.x509.material import ca_der

CA, RA_AND_CA = b"application/x-x509-ca-cert", b"application/x-x509-ca-ra-cert"


def with_issuer(**fields):
    """Change the issuer's settings as its certificates would have it."""
    return lambda settings: attrs.evolve(settings, issuers=(attrs.evolve(settings.issuers[0], **fields),))


def served(server):
    reply = server.get(b"operation=GetCACert")
    kind = reply.headers[b"Content-Type"]
    return kind, [reply.body] if kind == CA else read_certs_only(reply.body)


def test_WA17_WA22_an_RA_and_its_CA_are_a_set(server):
    assert served(server) == (RA_AND_CA, server.keys.certificates)


def test_WA22_one_RA_certificate_for_both_comes_first_and_once(serve, keys):
    one = RaSettings("pkcs11:", keys.sign_der)
    server = serve(settings=with_issuer(ra_sign=one, ra_decrypt=one))
    assert served(server) == (RA_AND_CA, [keys.sign_der, keys.ca_der])


def test_WA21_a_self_signed_CA_alone_is_one_certificate(serve, keys):
    own = RaSettings("pkcs11:", keys.ca_der)
    server = serve(settings=with_issuer(ra_sign=own, ra_decrypt=own))
    assert served(server) == (CA, [keys.ca_der])


def test_WA23_a_root_above_a_CA_that_is_its_own_RA_is_served_only_when_asked_for(serve, keys, tmp_path):
    # jscep takes the root for the recipient. `above` stands for the root over the issuer.
    own, above = RaSettings("pkcs11:", keys.ca_der), ca_der()
    change = with_issuer(ra_sign=own, ra_decrypt=own, chain=(above,))
    assert served(serve(settings=change)) == (CA, [keys.ca_der])


def test_WA24_RA_issuing_CA_and_root(serve, keys):
    root = ca_der()

    def change(settings):
        profile = attrs.evolve(settings.profiles[0], serve_root=True)
        return attrs.evolve(with_issuer(chain=(root,))(settings), profiles=(profile,))

    assert served(serve(settings=change)) == (RA_AND_CA, [*keys.certificates, root])


def test_WA16_the_next_certificates_stand_nested_for_sscep_and_outside_for_jscep(serve, keys):
    coming = make_keys()

    def change(settings):
        (issuer,) = settings.issuers
        following = attrs.evolve(
            issuer,
            name="devices-2",
            certificate_der=coming.ca_der,
            ra_sign=RaSettings("pkcs11:", coming.sign_der),
            ra_decrypt=RaSettings("pkcs11:", coming.decrypt_der),
        )
        now = attrs.evolve(issuer, next=SuccessionSettings("devices-2", NOW + timedelta(days=30)))
        return attrs.evolve(settings, issuers=(now, following))

    server = serve(settings=change, others={"devices-2": coming})
    reply = server.get(b"operation=GetNextCACert")
    assert (reply.status, reply.headers[b"Content-Type"]) == (200, b"application/x-x509-next-ca-cert")
    # The content is signed by the CA of today, whose certificate is in the message.
    assert opened.certificates(opened.verify(reply.body, keys.ca_der)) == coming.certificates
    outer = {certificate.chosen.dump() for certificate in signed_data(reply.body)["certificates"]}
    assert outer == {keys.ca_der, *coming.certificates}


def test_WA18_no_line_is_unknown_to_the_RFC_where_a_client_would_raise(serve):
    server = serve(advertise_sha384=False)
    body = server.get(b"operation=GetCACaps").body
    words = {
        "AES", "DES3", "GetNextCACert", "POSTPKIOperation", "Renewal", "SHA-1", "SHA-256", "SHA-512", "SCEPStandard",
    }  # fmt: skip
    assert set(body.decode().split("\n")) <= words


def test_WA27_SHA_384_is_announced(server):
    assert b"SHA-384" in server.get(b"operation=GetCACaps").body.split(b"\n")


def test_WA28_POST_is_announced_and_GET_is_taken(server):
    assert b"POSTPKIOperation" in server.get(b"operation=GetCACaps").body.split(b"\n")
    sent = clients.certmonger(server)
    reply = server.get(b"operation=PKIOperation&message=" + clients.encoded(sent.body).encode())
    assert server.check_success(reply.body, sent.body, sent.party)


def test_WA19_our_nonce_is_fresh_and_not_the_clients(server):
    sent = clients.plain(server)
    replies = [parse_message(server.post(sent.body).body) for _ in range(2)]
    assert {reply.recipient_nonce for reply in replies} == {make.NONCE}
    assert len({make.NONCE, *(reply.sender_nonce for reply in replies)}) == 3


def _wrong_keys(server):
    """The same envelope with content keys that are wrong in every way."""
    good = make.open_up(make.envelope(make.csr(challenge=STATIC), server.ra))
    for fault, encrypted_key in make.bad_paddings(server.ra.key.public_key(), b"\xa5" * 16).items():
        yield fault, good.bend(encrypted_key=encrypted_key)
    yield "another key", good.bend(encrypted_key=server.ra.key.public_key().encrypt(b"\xa5" * 16, _v15()))


def _v15():
    from cryptography.hazmat.primitives.asymmetric import padding

    return padding.PKCS1v15()


def test_WA20_S10_every_wrong_content_key_is_one_uniform_refusal(server):
    answers = {
        fault: server.check_refusal(server.post(make.message(envelope.der())).body)
        for fault, envelope in _wrong_keys(server)
    }
    assert len(answers) > 10
    assert set(answers.values()) == {("badRequest", "request refused")}


def _content_of(reply):
    """eContent of a reply as it stands: None absent, b"" present and empty."""
    return parse_message(reply.body).content


def test_WA25_a_refusal_has_an_empty_content(server):
    sent = clients.plain(server, attributes=(clients.password(text="wrong"),))
    assert _content_of(server.post(sent.body)) == b""


def test_WA25_a_pending_reply_has_an_empty_content(serve):
    server = serve(approval="manual")
    reply = server.post(clients.plain(server).body)
    assert (server.read(reply.body).status, _content_of(reply)) == (3, b"")


def test_WA25_modern_clients_get_none(serve):
    server = serve(preset="modern", approval="manual")
    assert _content_of(server.post(clients.plain(server).body)) is None


@pytest.mark.parametrize("challenge", [STATIC, "wrong"], ids=["SUCCESS", "FAILURE"])
def test_WA26_replies_are_announced_as_rsaEncryption(server, challenge):
    sent = clients.strongswan(server) if challenge == STATIC else clients.plain(server, attributes=())
    said = parse_message(server.post(sent.body).body)
    assert said.proof.signer_info.signature_algorithm.oid == RSA_ENCRYPTION


def test_WA31_transactionIDs_collide_and_each_requester_has_its_own(server):
    for who in ("first", "second"):
        sent = clients.plain(server, who=who, transaction="1")
        leaf = server.check_success(server.post(sent.body).body, sent.body, sent.party)
        assert who.encode() in leaf
    assert len(server.world.issued()) == 2


def poll(server, party, transaction, **fields):
    """A CertPoll as sscep, strongSwan, jscep and PyScep send it."""
    data = make.issuer_and_subject(make.name(CN="Test CA"), make.name(CN="device"))
    content = make.envelope(data, server.ra)
    return make.message(content, message_type=20, signer=party, transaction_id=transaction, **fields)


def test_WA30_three_ways_to_poll_have_one_answer(serve):
    server = serve(approval="manual")
    sent = clients.plain(server)
    signed_again = clients.plain(server, sender_nonce=bytes(16))
    forms = [sent.body, sent.body, signed_again.body, poll(server, sent.party, make.TRANSACTION)]
    for form in forms:
        assert server.read(server.post(form).body).status == 3
    (transaction,) = server.world.store.transactions()
    server.world.store.decide(transaction.id, approve=True, who="test")
    leaves = {server.leaf(server.post(form).body, sent.party) for form in reversed(forms)}
    assert len(leaves) == len(server.world.issued()) == 1



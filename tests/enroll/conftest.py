"""One set of keys a session, one world (a store of its own) a test."""

import pytest

from scepd.message.algorithms import Cipher, CryptoPolicy, Digest
from scepd.message.certrep import read_certrep, read_certs_only
from scepd.message.enveloped import decrypt
from tests import make
from tests.oracle.client import Oracle, Recorded
from tests.world import STATIC, make_keys, make_world

ANYTHING = CryptoPolicy(digests=frozenset(Digest), ciphers=frozenset(Cipher))


@pytest.fixture(scope="session")
def keys():
    return make_keys()


@pytest.fixture
def world(keys, tmp_path):
    return make_world(keys, tmp_path)


@pytest.fixture
def device(world):
    """A client of this world: `device.request(...)` is a PKCSReq, `device.read(response)` opens the reply."""
    return Device(world)


@pytest.fixture
def recorded(world):
    """The private-key operations of the RA decryption key."""
    return Recorded(world)


@pytest.fixture
def oracle(device, recorded):
    """An attacker who holds a key of its own."""
    return Oracle(device, recorded, make.party("attacker"))


class Device:
    """A well-behaved client that a test bends."""

    def __init__(self, world):
        self.world = world
        self.ra = make.Party(world.keys.decrypt, world.keys.decrypt_der)

    def request(self, challenge=STATIC, **fields):
        return make.pkcs_req(challenge=challenge, recipient=self.ra, **fields)

    def poll(self, signer=None, transaction_id=make.TRANSACTION, **fields):
        data = make.issuer_and_subject(make.name(CN="Test CA"), make.name(CN="device"))
        return make.message(
            make.envelope(data, self.ra), message_type=20, signer=signer, transaction_id=transaction_id, **fields
        )

    def bent_poll(self, envelope, signer, transaction_id):
        return make.message(envelope.der(), message_type=20, signer=signer, transaction_id=transaction_id)

    def send(self, body, *, profile="default"):
        return self.world.respond(body, profile=profile)

    def read(self, response):
        """The CertRep, verified by the RA certificate that GetCACert gives."""
        assert response.answer.status == 200, response.answer
        return read_certrep(response.answer.body, trusted=self.world.keys.certificates, policy=ANYTHING)

    def certificates(self, response, party=None):
        """The certificates of a SUCCESS, decrypted with the requester's key."""
        party = party or make.device()
        reply = self.read(response)
        assert reply.status == 0, response.answer
        return read_certs_only(decrypt(reply.content, party.certificate_der, party.key, ANYTHING))

    def enrol(self, **fields):
        """Send a PKCSReq and return the leaf."""
        return self.certificates(self.send(self.request(**fields)), fields.get("signer"))[0]

    def refusal(self, body, *, profile="default"):
        """Send and return (reason, failInfo, failInfoText) of the refusal; nothing was issued by it."""
        before = len(self.world.issued())
        response = self.send(body, profile=profile)
        reply = self.read(response)
        assert reply.status == 2, response.answer
        assert reply.content in (None, b"")
        assert len(self.world.issued()) == before
        assert response.refusal.reason.value == response.answer.reason
        return response.answer.reason, reply.fail_info.name, reply.fail_info_text

"""CA rollover in the pipeline: the RA that a request names decides who issues and who signs the reply."""

from datetime import timedelta

import attrs
import pytest
from cryptography import x509

from scepd.ca.local import Locations
from scepd.enroll.succession import Succession
from tests import make
from tests.enroll.conftest import Device
from tests.world import NOW, make_keys, make_world

SWITCH = NOW + timedelta(days=10)
OVERLAP = timedelta(days=30)


@pytest.fixture(scope="module")
def next_keys():
    return make_keys(name="Next CA")


@pytest.fixture
def world(keys, next_keys, tmp_path):
    successions = {"devices": Succession("devices-2", SWITCH, OVERLAP)}
    return make_world(keys, tmp_path, others={"devices-2": next_keys}, successions=successions)


def client(world, keys):
    device = Device(world)
    device.world.keys = keys
    device.ra = make.Party(keys.decrypt, keys.decrypt_der)
    return device


def issued_by(leaf, keys):
    x509.load_der_x509_certificate(leaf).verify_directly_issued_by(x509.load_der_x509_certificate(keys.ca_der))
    return True


def test_C066_before_the_switch_each_ra_stands_for_its_own_ca(world, keys, next_keys):
    assert issued_by(client(world, keys).enrol(transaction_id="a"), keys)
    assert issued_by(client(world, next_keys).enrol(transaction_id="b"), next_keys)


def test_C066_C067_after_the_switch_the_old_one_is_answered_for_the_overlap(world, keys, next_keys):
    world.clock.time = SWITCH + OVERLAP - timedelta(seconds=1)
    assert issued_by(client(world, next_keys).enrol(transaction_id="a"), next_keys)
    assert issued_by(client(world, keys).enrol(transaction_id="b"), keys)


def test_C067_after_the_overlap_the_old_one_is_superseded(world, keys, next_keys):
    world.clock.time = SWITCH + OVERLAP
    old = client(world, keys)
    # Signed by the RA that the device knows.
    assert old.refusal(old.request()) == ("issuer_superseded", "badRequest", "CA certificate superseded")
    assert issued_by(client(world, next_keys).enrol(), next_keys)


def test_S13_an_ra_that_is_not_announced_yet_is_unknown(keys, next_keys, tmp_path):
    successions = {
        "devices": Succession("devices-2", SWITCH, OVERLAP),
        "devices-2": Succession("devices-3", SWITCH + OVERLAP, OVERLAP),
    }
    third = make_keys(name="Third CA")
    world = make_world(keys, tmp_path, others={"devices-2": next_keys, "devices-3": third}, successions=successions)
    body = client(world, third).request()
    assert client(world, keys).refusal(body)[0] == "recipient_unknown"


def test_a_certificate_of_the_old_ca_is_renewed_by_the_new_one(world, keys, next_keys):
    first = client(world, keys)
    held = make.Party(make.device().key, first.enrol())
    world.clock.time = SWITCH + timedelta(days=180)
    second = client(world, next_keys)
    new = make.party("new key")
    body = second.request(
        challenge=None,
        signer=held,
        private_key=new.key,
        message_type=17,
        transaction_id="renewal",
        signing_time=world.clock.time,
    )
    assert issued_by(second.certificates(second.send(body), held)[0], next_keys)


def test_a_poll_after_the_switch_finds_what_was_issued_before_it(world, keys, next_keys):
    leaf = client(world, keys).enrol()
    world.clock.time = SWITCH
    new = client(world, next_keys)
    assert new.certificates(new.send(new.poll()))[0] == leaf


def test_C283_a_certificate_names_what_its_own_issuer_publishes(world, keys, next_keys):
    issuers = dict(world.context.issuers)
    for name, issuer in issuers.items():
        where = Locations((f"http://pki.example.net/crl/{name}.crl",), (), (f"http://pki.example.net/ca/{name}.cer",))
        issuers[name] = attrs.evolve(issuer, locations=where)
    world.context.issuers = issuers
    for name, held in (("devices", keys), ("devices-2", next_keys)):
        leaf = x509.load_der_x509_certificate(client(world, held).enrol(transaction_id=name))
        [point] = leaf.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
        [access] = leaf.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
        assert point.full_name[0].value == f"http://pki.example.net/crl/{name}.crl"
        assert access.access_location.value == f"http://pki.example.net/ca/{name}.cer"

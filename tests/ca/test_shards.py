"""CRLs in shards: dealt out by issuance, each with its own scope and numbers, which the certificates name."""

from datetime import timedelta

import attrs
import pytest
from cryptography import x509

from scepd.ca.shelf import CrlShelf
from scepd.records import crl_issuer, crl_name, crl_shard, shard_at, shard_url
from tests.x509 import material

from .conftest import DAY, WEEK

URL = "http://pki.example.net/crl/main.crl"


def publisher(town, shard=0):
    return attrs.evolve(town.publisher, shard=shard, urls=(URL,), shelf=CrlShelf())


def deal(town, size):
    return town.store.deal_shards("main", size, who="alpha/0.duties")


def parsed(crl):
    return x509.load_der_x509_crl(crl.der)


def scope(crl):
    try:
        return parsed(crl).extensions.get_extension_for_class(x509.IssuingDistributionPoint)
    except x509.ExtensionNotFound:
        return None


def serials(crl):
    return {entry.serial_number for entry in parsed(crl)}


def test_names_and_places_of_shards():
    assert [crl_name("devices", shard) for shard in (0, 1, 12)] == ["devices", "devices.1", "devices.12"]
    for shard in (0, 1, 12):
        name = crl_name("devices", shard)
        assert (crl_issuer(name), crl_shard(name)) == ("devices", shard)
    assert shard_url(URL, 0) == URL
    assert shard_url(URL, 3) == "http://pki.example.net/crl/main.3.crl"
    assert shard_url("http://mirror.example.net/x", 3) == "http://mirror.example.net/x.3"
    for url in (URL, "http://mirror.example.net/x", "http://192.0.2.7/x.crl", "http://192.0.2.7"):
        assert shard_at(url) == 0
        assert url.endswith("7") or [shard_at(shard_url(url, shard)) for shard in (0, 1, 12)] == [0, 1, 12]


def test_shards_are_dealt_out_by_issuance(town):
    assert town.store.crl_shards("main") == (0,)
    assert deal(town, 3) is None
    for number in range(2):
        town.enrol(f"r{number}")
    assert deal(town, 3) is None
    assert deal(town, 3) is None
    town.enrol("r2")
    assert deal(town, 3) == 1
    assert deal(town, 3) is None
    assert town.store.crl_shards("main") == (0, 1)
    assert [row.action for row in town.store.audit(limit=1)] == ["crl_shard_opened"]
    town.enrol("late")  # of a process that had not heard of it yet
    for number in range(3):
        town.enrol(f"s{number}", shard=1)
    assert deal(town, 3) == 2
    assert town.store.crl_shards("main") == (0, 1, 2)
    assert town.store.crl_shards("other") == (0,)
    assert {row.subject: row.shard for row in town.store.certificates()}["CN=s1"] == 1


def test_a_shard_whose_certificates_have_all_ended_is_left_alone(town):
    town.enrol("r0")
    deal(town, 1)
    ends = max(row.not_after for row in town.store.certificates())
    assert town.store.crl_shards("main", ends_after=ends) == (0, 1)
    assert town.store.crl_shards("main", ends_after=ends + timedelta(seconds=1)) == (1,)


def test_C294_C290_S106_each_shard_says_what_it_covers_and_counts_for_itself(town):
    first = town.enrol("r0")
    whole = town.publish(publisher(town))
    assert (whole.issuer, whole.number, scope(whole)) == ("main", 1, None)
    deal(town, 1)
    second = town.enrol("r1", shard=1)
    for serial in (first, second):
        town.revoke(serial)
    halves = [town.publish(publisher(town, shard)) for shard in (0, 1)]
    assert [(crl.issuer, crl.number) for crl in halves] == [("main", 2), ("main.1", 1)]
    assert [serials(crl) for crl in halves] == [{first}, {second}]
    for crl, url in zip(halves, (URL, "http://pki.example.net/crl/main.1.crl"), strict=True):
        found = scope(crl)
        assert found.critical
        assert [name.value for name in found.value.full_name] == [url]
        assert not found.value.indirect_crl
        assert parsed(crl).is_signature_valid(town.issuer.certificate.certificate.public_key())
    town.wait(DAY)
    again = [town.publish(publisher(town, shard)) for shard in (1, 0)]
    assert [(crl.issuer, crl.number) for crl in again] == [("main.1", 2), ("main", 3)]


def test_C294_the_first_crl_says_its_scope_as_soon_as_there_is_a_second(town):
    town.enrol("r0")
    town.publish(publisher(town))
    assert town.publish(publisher(town)) is None
    deal(town, 1)
    crl = town.publish(publisher(town))
    assert crl.number == 2
    assert scope(crl) is not None
    assert town.publish(publisher(town)) is None


def test_C294_the_distribution_point_is_written_as_in_the_certificate(town):
    deal(town, 1)
    town.enrol("r0")
    deal(town, 1)
    crl = town.publish(publisher(town, 1))
    url = shard_url(URL, 1)
    leaf = material.leaf("p256", crl_urls=(url,))
    point = x509.load_der_x509_certificate(leaf).extensions.get_extension_for_class(x509.CRLDistributionPoints).value[0]
    assert [name.value for name in point.full_name] == [name.value for name in scope(crl).value.full_name] == [url]
    # RFC 5280 section 5.2.5: "the identical encoding MUST be used".
    encoded = bytes.fromhex("a0") + bytes([len(url) + 4]) + bytes.fromhex("a0") + bytes([len(url) + 2]) + b"\x86"
    name = encoded + bytes([len(url)]) + url.encode()
    assert name in leaf
    assert name in crl.der


@pytest.mark.parametrize("shard", [0, 1])
def test_C232_a_shard_that_has_no_valid_crl_is_not_served(town, shard):
    deal(town, 1)
    shelf, name = CrlShelf(), crl_name("main", shard)
    assert shelf.newest(town.store, name, town.clock.now()) is None
    town.publish(publisher(town, shard))
    assert shelf.newest(town.store, name, town.clock.now()).issuer == name
    assert shelf.newest(town.store, name, town.clock.now() + WEEK) is None

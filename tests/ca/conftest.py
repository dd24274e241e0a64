"""A store on disk, a CA in software, and certificates to revoke."""

import hashlib
from datetime import timedelta

import attrs
import pytest

from scepd.ca.local import LocalIssuer
from scepd.ca.publish import Publisher, publish_now
from scepd.ca.shelf import CrlShelf
from scepd.records import Revocation, RevocationReason
from scepd.store.check import check_store
from tests.store.building import BEGIN, Clock, Device, Issuer, enrol, open_repository, prepare
from tests.x509 import material

DAY = timedelta(days=1)
WEEK = timedelta(days=7)


@attrs.frozen
class Terms:
    every: timedelta = DAY
    valid: timedelta = WEEK


class Town:
    """An issuer with its store, its publisher and its clock."""

    def __init__(self, directory):
        self.directory = directory
        self.clock = Clock()
        self.repositories = []
        self.store = self.open()
        self.ca = Issuer(material.ca_key("p256"), material.ca_der("p256"))
        self.issuer = LocalIssuer("main", material.issuer("p256"), material.ca_key("p256"))
        self.publisher = self.make_publisher()

    def open(self):
        self.repositories.append(open_repository(self.directory, self.clock))
        return self.repositories[-1]

    def make_publisher(self, **fields):
        return Publisher(
            **{
                "issuer": "main",
                "certificate": self.issuer.certificate,
                "terms": Terms(),
                "shelf": CrlShelf(),
                **fields,
            }
        )

    def enrol(self, name="r1", **changes):
        """Return the serial number of a new certificate."""
        device = Device.make(f"CN={name}")
        changes.setdefault("transaction_id", hashlib.sha256(name.encode()).hexdigest())
        return enrol(self.store, self.ca, device, **changes).serial

    def revoke(self, serial, reason=RevocationReason.superseded):
        return self.store.revoke("main", serial, Revocation(self.clock.now(), reason), who="ann")

    def publish(self, publisher=None):
        return publish_now(self.store, self.issuer, publisher or self.publisher, self.clock.now(), who="alpha/0.duties")

    def wait(self, delay):
        self.clock.moment += delay


@pytest.fixture
def town(tmp_path):
    prepare(tmp_path)
    town = Town(tmp_path)
    yield town
    assert [one for one in check_store(town.store, {"main": town.ca.der}) if "CRL" in one] == []
    for repository in town.repositories:
        repository.close()


__all__ = ["BEGIN", "DAY", "WEEK"]

"""A store, its issuer and its clock, for the duties of several workers; what they work with does so while one waits."""

from datetime import timedelta

import pytest
from twisted.internet.defer import Deferred, fail, maybeDeferred
from twisted.internet.testing import EventLoggingObserver
from twisted.logger import globalLogPublisher

from scepd.ca.local import LocalIssuer
from scepd.records import Revocation, RevocationReason
from scepd.store.marks import MarkFile
from tests.store.building import Clock, Device, Issuer, enrol, open_repository, prepare
from tests.x509 import material


class Inline:
    """A clerk, or a lane, that works while one waits."""

    def __init__(self, own):
        self.own, self.fault, self.calls = own, None, 0

    def run(self, function):
        self.calls += 1
        return fail(self.fault) if self.fault else maybeDeferred(function, self.own)


def attend(duty):
    """Let a duty have its turn now."""
    done = []
    Deferred.fromCoroutine(duty.attend()).addBoth(done.append)
    assert done == [None]


class Town:
    def __init__(self, directory):
        self.directory, self.clock, self.repositories = directory, Clock(), []
        self.ca = Issuer(material.ca_key("p256"), material.ca_der("p256"))
        self.issuer = LocalIssuer("main", material.issuer("p256"), material.ca_key("p256"))
        self.marks = MarkFile.within(directory)
        self.store = self.open("alpha/0.0")

    def open(self, owner):
        self.repositories.append(open_repository(self.directory, self.clock, owner=owner))
        return self.repositories[-1]

    def seconds(self):
        return self.clock.moment.timestamp()

    def wait(self, seconds):
        self.clock.moment += timedelta(seconds=seconds)

    def enrol(self, name="r1", **changes):
        return enrol(self.store, self.ca, Device.make(f"CN={name}"), **changes)

    def revoke(self, serial):
        self.store.revoke("main", serial, Revocation(self.clock.now(), RevocationReason.superseded), who="ann")


@pytest.fixture
def town(tmp_path):
    prepare(tmp_path)
    town = Town(tmp_path)
    yield town
    for repository in town.repositories:
        repository.close()


@pytest.fixture
def log():
    observer = EventLoggingObserver()
    globalLogPublisher.addObserver(observer)
    yield lambda name: [event for event in observer if event.get("event") == name]
    globalLogPublisher.removeObserver(observer)

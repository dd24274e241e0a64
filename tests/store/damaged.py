"""A store with something of everything in it, sealed, for damage to be planted in; made once and copied."""

import os
import shutil
import sqlite3
from datetime import timedelta
from pathlib import Path

import attrs

from scepd.ca.ceremony import Ceremony
from scepd.observe.signature import audit_keys
from scepd.observe.trail import Trail
from scepd.records import GeneralName, Identity, Revocation, RevocationReason, Ticket
from scepd.refusal import Reason
from scepd.store.check import Inspection
from scepd.store.check_certificate import Known
from scepd.store.entities import Code, NewEntity
from scepd.x509.issuer import IssuerCertificate
from tests.vouching import first_responder

from .building import (
    BEGIN,
    TRAIL,
    Clock,
    Device,
    Issuer,
    add_challenge,
    after,
    certificate_row,
    enrol,
    make_crl,
    make_intent,
    make_petition,
    open_repository,
    prepare,
)
from .sealing import Sealer

NOW = BEGIN + timedelta(minutes=50)


@attrs.frozen
class Town:
    """The store in a directory, and what is known of it."""

    directory: Path
    issuer: Issuer
    sealer: Sealer

    def copy(self, directory):
        for path in self.directory.iterdir():
            shutil.copy(path, directory)
        return attrs.evolve(self, directory=directory, sealer=Sealer(Sealer.within(directory).file, self.sealer.key))

    def plant(self, *statements):
        """Change the file as no program of ours would: without references and checks in the way."""
        database = sqlite3.connect(self.directory / "scepd.sqlite", isolation_level=None)
        database.execute("PRAGMA ignore_check_constraints = ON")
        for statement in statements:
            database.execute(*((statement,) if isinstance(statement, str) else statement))
        database.close()

    def find(self, *, now=NOW, own_keys=frozenset()):
        """Return all findings of the self-check, as texts."""
        repository = open_repository(self.directory, Clock(now), owner="test/check")
        trail = Trail(audit_keys([self.sealer.spki]), self.sealer.file.lines())
        with repository.snapshot():
            inspection = Inspection(repository.connection, Known.of({"main": self.issuer.der}, own_keys), now, trail)
            found = [str(damage) for findings in inspection.run() for damage in findings]
        repository.close()
        return found


def make_town(directory):
    """Make transactions 1 to 11, certificates 1 to 10, challenges 1 to 5, entities 1 to 3, two CRLs, two seals."""
    prepare(directory)
    clock, issuer, sealer = Clock(), Issuer.make(), Sealer.within(directory)
    store = open_repository(directory, clock)
    devices = [Device.make(f"CN=r{number}") for number in range(1, 12)]
    challenges = [add_challenge(store).id for _ in range(5)]
    _answered(store, issuer, devices, challenges)
    sealer.seal(store)
    _taken(store, issuer, devices)
    clock.moment += timedelta(minutes=20)
    _ended(store, issuer, devices, clock)
    clock.moment = NOW - timedelta(minutes=5)
    sealer.seal(store)
    store.close()
    return Town(directory, issuer, sealer)


def _answered(store, issuer, devices, challenges):
    """1 issued for challenge 1, 2 its renewal, 3 issuing for challenge 2, 4 rejected, 5 pending for challenge 4."""
    first = enrol(store, issuer, devices[0], challenge=challenges[0])
    enrol(store, issuer, devices[0], transaction_id="renewal", lineage=after(certificate_row(store, first)))
    store.claim(make_intent(issuer, devices[2], challenge=challenges[1]))
    given_up, _ = store.claim(make_intent(issuer, devices[3], challenge=challenges[2]))
    store.abandon(given_up, Reason.interrupted, "", TRAIL)
    store.petition(make_petition(issuer, devices[4], challenge=challenges[3]))


def _taken(store, issuer, devices):
    """6 issued to entity 1, 7 issuing for entity 2, 8 issued for a ticket, 9 issuing, of whose end somebody is told."""
    entities = [NewEntity(f"e{number}", Code(bytes([number] * 32), None, None)) for number in (1, 2, 3)]
    one, two, _ = store.add_entities("routers", entities, who="ann")
    enrol(store, issuer, devices[5], identity=Identity("entity", "e1", entity=one))
    store.claim(make_intent(issuer, devices[6], identity=Identity("entity", "e2", entity=two)))
    ticket = Ticket(bytes(32), "phone-1", BEGIN + timedelta(hours=1), most=3)
    enrol(store, issuer, devices[7], identity=Identity("signed", "phone-1", ticket=ticket), notify=("webhook-0",))
    store.claim(make_intent(issuer, devices[8], notify=("webhook-0",)))


def _ended(store, issuer, devices, clock):
    """10 revoked, 11 on hold while both CRLs were made and released since."""
    revoked, held = (enrol(store, issuer, device) for device in devices[9:11])
    reasons = ((revoked, RevocationReason.keyCompromise), (held, RevocationReason.certificateHold))
    for transaction, reason in reasons:
        store.revoke("main", transaction.serial, Revocation(clock.now(), reason), who="ann")
    serials = (revoked.serial, held.serial)
    moment = clock.now()
    end = moment.replace(microsecond=0) + timedelta(days=30)
    store.add_responder_certificate("main", certify_responder(issuer, moment), not_after=end, who="ann")
    tls = certify_tls(issuer, moment)
    store.reserve_own("main", tls)
    store.keep_own("main", tls)
    for number in (1, 2):
        clock.moment += timedelta(minutes=5)
        store.add_crl(make_crl(issuer, number, clock.moment, serials=serials), who="alpha/0")
    clock.moment += timedelta(minutes=5)
    store.release("main", held.serial, who="ann")


def certify_tls(issuer, moment):
    """Return a certificate of the appliance's own listener."""
    ca, key = IssuerCertificate.load(issuer.der), Device.make().key.public_key()
    names = [GeneralName("dns", "pki.example.net"), GeneralName("ip", "192.0.2.1")]
    return Ceremony(issuer.key, moment, os.urandom).certify_tls(ca, names, key, timedelta(days=30))


def certify_responder(issuer, moment):
    """Return a certificate of an OCSP key."""
    ca, key = IssuerCertificate.load(issuer.der), Device.make().key.public_key()
    return first_responder(ca, issuer.key, key, now=moment, valid=timedelta(days=30), random=os.urandom)

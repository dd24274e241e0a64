"""Large stores made quickly: everything in one write transaction, signed in software once for draft and certificate."""

import contextlib

from scepd.records import Revocation, RevocationReason

from .building import TRAIL, Clock, Device, Issuer, make_crl, make_intent, open_repository, prepare

_SHARE = 50  # certificates a key: what is asked of a key reads all of them


def make_large(directory, count):
    """Make a store with that many certificates, a hundredth of them revoked and on the CRL; return their issuer, "main"."""
    prepare(directory)
    issuer, clock = Issuer.make(), Clock()
    store = open_repository(directory, clock)
    connection = store.connection
    with connection.write():
        connection.write = contextlib.nullcontext  # the acts of the block are one transaction
        try:
            _fill(store, issuer, clock, count)
        finally:
            del connection.write
    store.close()
    return issuer


def _fill(store, issuer, clock, count):
    devices = [Device.make(f"CN=r{number}") for number in range(-(-count // _SHARE))]
    revoked = []
    for number in range(count):
        serial = enrol_once(store, issuer, devices[number % len(devices)], f"t{number}")
        if number % 100 == 0:
            store.revoke("main", serial, Revocation(clock.now(), RevocationReason.superseded), who="ann")
            revoked.append(serial)
    store.add_crl(make_crl(issuer, 1, clock.now(), serials=revoked), who="alpha/0")


def enrol_once(store, issuer, device, transaction_id):
    """Enrol with the draft as the certificate; return the serial."""
    intent = make_intent(issuer, device, transaction_id=transaction_id)
    transaction, _ = store.claim(intent)
    store.record(transaction, intent.draft_der, TRAIL)
    return transaction.serial

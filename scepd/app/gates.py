"""The gates of the profiles that ask for client certificates, made from the settings."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from cryptography import x509
from twisted.internet.defer import Deferred

from scepd.config.settings import Settings
from scepd.enroll.answer import RunsInLane
from scepd.ports import Clock
from scepd.profile.model import ClientCertificateGate
from scepd.records import Certificate
from scepd.web.client_certificate import UNREADABLE, Gate, Register, name_and_key
from scepd.web.watched import Watched
from scepd.x509.bundle import read_bundle
from scepd.x509.client import ClientTrust
from scepd.x509.revocation import read_crls


def make_gates(
    settings: Settings, lanes: RunsInLane, clock: Clock, seconds: Callable[[], float] = time.monotonic
) -> Mapping[str, Gate]:
    """Return the gate of each profile that has one, by the profile's name; rows are read in the lanes."""
    ours = {
        issuer.name: [x509.load_der_x509_certificate(der) for der in (issuer.certificate_der, *issuer.chain)]
        for issuer in settings.issuers
    }
    intermediates = tuple(dict.fromkeys(certificate for chain in ours.values() for certificate in chain))
    register = Register({name_and_key(chain[0]): name for name, chain in ours.items()}, _looking_up(lanes))
    return {
        profile.name: _make_gate(profile.client_certificate, clock, seconds, intermediates, register)
        for profile in settings.profiles
        if profile.client_certificate is not None
    }


def anchors_of(gates: Iterable[Gate]) -> Callable[[], tuple[x509.Certificate, ...]]:
    """Return the function that knows the anchors of all gates at each moment, once each: the hints of a handshake."""
    kept = tuple(gates)
    return lambda: tuple(dict.fromkeys(anchor for gate in kept for anchor in gate.anchors))


def _looking_up(lanes: RunsInLane) -> Callable[[str, int], Deferred[Certificate | None]]:
    return lambda issuer, serial: lanes.run(lambda context: context.store.certificate(issuer, serial))


def make_proxy_gate(trust: Path, clock: Clock, seconds: Callable[[], float]) -> Gate:
    """Return the gate that admits proxies, by their own certificates under the anchors in a file (threats S-100)."""
    return _make_gate(ClientCertificateGate(trust=trust, issued_here=False), clock, seconds, unreadable="proxy_trust_unreadable")


def _make_gate(
    rule: ClientCertificateGate,
    clock: Clock,
    seconds: Callable[[], float],
    intermediates: Sequence[x509.Certificate] = (),
    register: Register | None = None,
    *,
    unreadable: str = UNREADABLE,
) -> Gate:
    bundle = Watched(rule.trust, read_bundle, seconds=seconds)
    lists = None if rule.crl is None else Watched(rule.crl, read_crls, seconds=seconds)
    between = tuple(intermediates) if rule.issued_here else ()

    def trust() -> ClientTrust | None:
        anchors, revoked = bundle.value, None if lists is None else lists.value
        if anchors is None or (lists is not None and revoked is None):
            return None
        return ClientTrust(anchors, between, revoked, purpose_optional=rule.purpose_optional)

    return Gate(trust, clock, register if rule.issued_here else None, unreadable=unreadable)

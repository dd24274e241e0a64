"""From [profile.NAME] client_certificate to the gate, and what it and the listeners must agree on (threats M)."""

from collections.abc import Mapping
from pathlib import Path

from scepd.config.access_sections import GateSection
from scepd.config.backends import read_anchors
from scepd.config.files import read_public
from scepd.config.profile_sections import ProfileSection
from scepd.config.secret import Surroundings
from scepd.config.sections import TLS_HINT, ListenerSection, RootSection
from scepd.problems import Place, Refused
from scepd.profile.model import ClientCertificateGate
from scepd.refusal import OperatorError
from scepd.x509.revocation import judge_crls, read_crls

_LISTENER = '[listener.mtls] with address, tls, and client_certificates = "required"'


def compile_gate(section: GateSection, surroundings: Surroundings, place: Place) -> ClientCertificateGate | None:
    """Return the gate, None where it has no bundle; its files are judged now and read again when they change."""
    crl = None
    if section.crl is not None:
        crl = surroundings.resolve(section.crl)
        _judge_crl(crl, surroundings, place / "crl")
    if section.trust is None:
        return None
    read_anchors(section.trust, surroundings, place / "trust")
    return ClientCertificateGate(
        trust=surroundings.resolve(section.trust),
        crl=crl,
        issued_here=section.issued_here,
        subject="any" if section.subject == "any" else "same",
    )


def _judge_crl(path: Path, surroundings: Surroundings, place: Place) -> None:
    try:
        octets = read_public(path)
    except Refused as refused:
        place.refuse(refused)
        return
    try:
        read_crls(octets)
    except OperatorError as problem:
        place.problem(f"{path}: {problem.problem}", problem.hint.replace("FILE", str(path)))
        return
    # An old CRL lets nobody in, which is the business of that profile alone: the others shall start.
    for fault in judge_crls(octets, surroundings.now):
        place.doubt(f"{path}: {fault.problem}; nobody passes with it", fault.hint.replace("FILE", str(path)))


def judge_gates(root: RootSection, place: Place) -> None:
    """Note gates that no listener has, methods without their gate, and listeners that ask everybody for certificates."""
    listeners, profiles = root.listener or {}, root.profile or {}
    asking = {name for name, listener in listeners.items() if listener.client_certificates != "off"}
    for name, profile in profiles.items():
        here = place / "profile" / name
        gate, methods = profile.client_certificate, [challenge.method for challenge in profile.challenge or ()]
        if "client-certificate" in methods and gate is None and not (here / "client_certificate").is_noted:
            hint = 'client_certificate = { trust = "factory.pem" }'
            (here / "challenge" / methods.index("client-certificate")).problem("the profile asks for none", hint)
        if gate is None:
            continue
        if not any(map(_learns_certificates, listeners.values())):
            (here / "client_certificate").problem("no TLS listener that serves scep asks for certificates", _LISTENER)
        if profile.insecurely_accept_raw_csr:
            reason = "a bare request comes past the gate"
            (here / "insecurely_accept_raw_csr").problem(reason, "leave one of the two out")
    for name in asking:
        _judge_asking(name, listeners, profiles, place / "listener" / name / "client_certificates")


def _learns_certificates(listener: ListenerSection) -> bool:
    """Return whether clients can show a certificate there, to us or to a proxy before us."""
    asks = listener.tls is not None and listener.client_certificates != "off"
    return "scep" in listener.serves and (asks or listener.client_certificate_header is not None)


def _judge_asking(
    name: str, listeners: Mapping[str, ListenerSection], profiles: Mapping[str, ProfileSection], place: Place
) -> None:
    """Note a listener that asks for certificates without TLS, or that bothers who has none."""
    listener = listeners[name]
    if listener.tls is None and not (place.above / "tls").is_noted:
        place.problem("only TLS can ask for a certificate", TLS_HINT)
    if "publication" in listener.serves:
        place.doubt("who fetches a CRL here is asked for a certificate", "serve publication from a plain listener")
    if "challenges" in listener.serves:
        reason = "no certificate is judged where challenges are handed out: the token alone lets in"
        place.doubt(reason, "serve challenges from a listener of their own")
    others = (other for key, other in listeners.items() if key != name and "scep" in other.serves)
    ungated = [key for key, profile in profiles.items() if profile.client_certificate is None]
    if "scep" in listener.serves and ungated and all(other.client_certificates != "off" for other in others):
        reason = f"the devices of {', '.join(sorted(ungated))} are asked too: macOS and some Windows clients give up"
        place.doubt(reason, "a listener of its own, on another port, for client certificates")

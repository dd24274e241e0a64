"""From [listener.NAME] to its settings: addresses that do not collide, certificate and key that belong together."""

from collections.abc import Mapping
from itertools import pairwise
from typing import cast

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from scepd.config import certificates as judge
from scepd.config.issuer_settings import IssuerSettings
from scepd.config.key_pair import read_private_key
from scepd.config.listener_settings import ClientCertificates, ListenerSettings, TlsRenewal, TlsSettings
from scepd.config.proxies import compile_proxies
from scepd.config.secret import Surroundings
from scepd.config.sections import TLS_HINT, ListenerSection, TlsSection
from scepd.problems import Place, Refused, suggest


def compile_listeners(
    sections: Mapping[str, ListenerSection],
    surroundings: Surroundings,
    place: Place,
) -> tuple[ListenerSettings, ...]:
    """Return the listeners that could be compiled; problems go to `place`."""
    _find_shared_addresses(sections, place)
    listeners = (compile_listener(name, section, surroundings, place / name) for name, section in sections.items())
    return tuple(listener for listener in listeners if listener is not None)


def compile_listener(
    name: str,
    section: ListenerSection,
    surroundings: Surroundings,
    place: Place,
) -> ListenerSettings | None:
    """Return the settings of one listener, None where something is lacking."""
    if not section.serves:
        (place / "serves").problem("lists nothing to serve", 'serves = ["scep"]')
    if section.address == ():
        (place / "address").problem("lists no address", 'address = "0.0.0.0:80"')
    tls = None if section.tls is None else _compile_tls(section.tls, surroundings, place / "tls")
    _judge_challenges(section, place)
    proxies = compile_proxies(section, surroundings, place)
    if not section.address or (section.tls is not None and tls is None):
        return None
    return ListenerSettings(
        name=name,
        addresses=section.address,
        tls=tls,
        serves=section.serves,
        insecurely_plain_challenges=section.insecurely_plain_challenges,
        client_certificates=cast("ClientCertificates", section.client_certificates),
        **proxies,
    )


def _judge_challenges(section: ListenerSection, place: Place) -> None:
    """Note challenges that would be handed out in clear, and a switch that does nothing."""
    if (place / "serves").is_noted or (place / "tls").is_noted:
        return
    is_plain = "challenges" in section.serves and section.tls is None
    if is_plain and not section.insecurely_plain_challenges:
        hint = f"{TLS_HINT}; or, behind a proxy with TLS on the same machine, insecurely_plain_challenges = true"
        (place / "serves").problem("challenges and the tokens that ask for them would travel in clear", hint)
    if section.insecurely_plain_challenges and not is_plain:
        reason = "nothing here is in clear" if section.tls is not None else "this listener serves no challenges"
        (place / "insecurely_plain_challenges").problem(reason, "leave it out")


def judge_renewals(
    listeners: tuple[ListenerSettings, ...], issuers: Mapping[str, IssuerSettings | None], place: Place
) -> None:
    """Note certificates that the issuer named beside them cannot renew, since they are not of it."""
    for listener in listeners:
        if listener.tls is None or listener.tls.renewal is None:
            continue
        here, name = place / listener.name / "tls" / "issuer", listener.tls.renewal.issuer
        if name not in issuers:
            here.problem(f"there is no [issuer.{name}]", suggest(name, set(issuers)))
            continue
        issuer = issuers[name]
        if issuer is not None:
            present = x509.load_pem_x509_certificates(listener.tls.certificate_pem)[0]
            for refused in judge.judge_issued(present, x509.load_der_x509_certificate(issuer.certificate_der)):
                here.refuse(Refused(refused.reason, f"scepd ca certify {name} --as tls; or no issuer here"))


def host_names(listeners: tuple[ListenerSettings, ...]) -> frozenset[str]:
    """Return the names and addresses under which the listeners are reached, as far as the configuration says."""
    names: set[str] = set()
    for listener in listeners:
        names |= {host for host, _ in listener.addresses if host not in {"0.0.0.0", "::"}}  # noqa: S104 - compared
        if listener.tls is not None:
            names |= _certified_names(x509.load_pem_x509_certificates(listener.tls.certificate_pem)[0])
    return frozenset(names)


def _certified_names(certificate: x509.Certificate) -> set[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return set()
    hosts = {name.lower() for name in names.get_values_for_type(x509.DNSName) if "*" not in name}
    return hosts | {str(address) for address in names.get_values_for_type(x509.IPAddress)}


def _find_shared_addresses(sections: Mapping[str, ListenerSection], place: Place) -> None:
    taken: dict[tuple[str, int], str] = {}
    for name, section in sections.items():
        for index, address in enumerate(section.address or ()):
            owner = taken.setdefault(address, name)
            # Port 0 is a fresh port each time. Other programs' ports are found when the supervisor binds.
            if address[1] and (owner != name or address in (section.address or ())[:index]):
                (place / name / "address").problem(
                    f"{_spell(address)} is already an address of listener {owner}",
                    "give each listener a port of its own",
                )


def _spell(address: tuple[str, int]) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _compile_tls(section: TlsSection, surroundings: Surroundings, place: Place) -> TlsSettings | None:
    certificates = _read_chain(section.certificate, surroundings, place / "certificate")
    key = read_private_key(section.key, surroundings, place / "key")
    if not certificates or key is None:
        return None
    if key.spki_der != judge.spki(certificates[0]):
        hint = "openssl x509 -noout -pubkey -in CERTIFICATE; openssl pkey -pubout -in KEY; both must print the same"
        (place / "key").problem("is not the key of the certificate", hint)
    certificate_pem = b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates)
    renewal = None
    if section.issuer is not None and section.certificate is not None:
        renewal = TlsRenewal(section.issuer, surroundings.resolve(section.certificate))
    return TlsSettings(certificate_pem, key.pem, "1.3" if section.minimum == "1.3" else "1.2", renewal)


def _read_chain(name: str | None, surroundings: Surroundings, place: Place) -> list[x509.Certificate]:
    """Return the listener's certificate and those above it, as they stand in the file."""
    if name is None:
        return []
    try:
        certificates = judge.read_certificates(surroundings.resolve(name))
    except Refused as refused:
        place.refuse(refused)
        return []
    for fault in judge.judge_time(certificates[0], judge.Moment.at(surroundings.now)):
        place.refuse(fault)
    for below, above in pairwise(certificates):
        for fault in judge.judge_issued(below, above):
            place.problem(fault.reason, "write the listener's own certificate first, then the one that signed it")
    return certificates

"""What a listener may believe about its clients, and from whom (threats S-77, S-78, S-100)."""

from ipaddress import ip_address
from pathlib import Path
from typing import Any

from scepd.config.backends import read_anchors
from scepd.config.files import read_public
from scepd.config.secret import Surroundings
from scepd.config.sections import TLS_HINT, ListenerSection
from scepd.problems import Place, Refused
from scepd.profile.networks import read_networks
from scepd.refusal import OperatorError

_HEADERS = ("client_address_header", "client_certificate_header")
_FILE = 'trusted_proxies = "networks.txt": a file with a network on each line'


def compile_proxies(section: ListenerSection, surroundings: Surroundings, place: Place) -> dict[str, Any]:
    """Return what `ListenerSettings` says of proxies; the file of networks is judged now, and read again later."""
    if section.trusted_proxies is None:
        _judge_untrusted(section, place)
        path = None
    else:
        path = surroundings.resolve(section.trusted_proxies)
        _judge_networks(path, place / "trusted_proxies")
        _judge_unused(section, place)
    _judge_forwarded(section, surroundings, place)
    for header in _HEADERS:
        if getattr(section, header) is not None and section.proxy_protocol:
            # Who speaks the PROXY protocol passes octets on: every header in them is the client's own.
            (place / header).problem(
                "behind the PROXY protocol every header is the client's own", "keep one of the two"
            )
    return {
        "trusted_proxies": path,
        "client_address_header": section.client_address_header,
        "client_certificate_header": section.client_certificate_header,
        "proxy_trust": None if section.proxy_trust is None else surroundings.resolve(section.proxy_trust),
        "insecurely_unproven_proxies": section.insecurely_unproven_proxies,
        "proxy_protocol": section.proxy_protocol,
    }


def _judge_forwarded(section: ListenerSection, surroundings: Surroundings, place: Place) -> None:
    """Note where an address would be all that makes somebody a proxy, and with that any device (threats S-100)."""
    forwards = section.client_certificate_header is not None and not section.proxy_protocol
    if section.proxy_trust is not None:
        read_anchors(section.proxy_trust, surroundings, place / "proxy_trust")
        if not forwards and not (place / "client_certificate_header").is_noted:
            (place / "proxy_trust").problem(
                "no header is read that it would vouch for", 'client_certificate_header = "X-SSL-Client-Cert"'
            )
    if forwards and section.tls is None and not (place / "tls").is_noted:
        (place / "client_certificate_header").problem("/scep-mtls is served under TLS alone", TLS_HINT)
    is_local = all(ip_address(host).is_loopback for host, _ in section.address or ())
    needs_proof = forwards and not is_local and section.proxy_trust is None
    if needs_proof and not section.insecurely_unproven_proxies and not (place / "proxy_trust").is_noted:
        reason = "whoever can take the proxy's address on this network could be any device"
        hint = 'proxy_trust = "proxies.pem": the CA of the proxies\' own certificates; or an address of this machine alone'
        (place / "client_certificate_header").problem(reason, hint)
    if section.insecurely_unproven_proxies and not needs_proof:
        (place / "insecurely_unproven_proxies").problem("there is nothing here that it would loosen", "leave it out")


def _judge_untrusted(section: ListenerSection, place: Place) -> None:
    if (place / "trusted_proxies").is_noted:
        return
    for header in _HEADERS:
        if getattr(section, header) is not None:
            # Else every client would say of itself whatever it likes.
            (place / header).problem("nobody is trusted to write that header", _FILE)
    if section.proxy_protocol:
        (place / "proxy_protocol").problem("nobody is trusted to write PROXY headers", _FILE)


def _judge_unused(section: ListenerSection, place: Place) -> None:
    is_used = section.proxy_protocol or any(
        getattr(section, header) or (place / header).is_noted for header in _HEADERS
    )
    if not is_used:
        hint = 'client_address_header = "X-Forwarded-For"; or proxy_protocol = true'
        (place / "trusted_proxies").problem("nothing says how the proxies tell the client's address", hint)


def _judge_networks(path: Path, place: Place) -> None:
    try:
        read_networks(read_public(path))
    except Refused as refused:
        place.refuse(refused)
    except OperatorError as problem:
        place.problem(f"{path}: {problem.problem}", problem.hint)

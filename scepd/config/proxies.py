"""What a listener may believe about its clients, and from whom (threats S-77, S-78, S-100)."""

from ipaddress import ip_address
from pathlib import Path
from typing import Any

from scepd.config.files import read_public
from scepd.config.problems import Place, Refused
from scepd.config.secret import Surroundings
from scepd.config.sections import ListenerSection
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
    _judge_wire(section, place)
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
        "proxy_protocol": section.proxy_protocol,
    }


def _judge_wire(section: ListenerSection, place: Place) -> None:
    """Warn of certificates that come over a network in clear: whoever can write there is any device (threats S-100)."""
    is_local = all(ip_address(host).is_loopback for host, _ in section.address or ())
    if section.client_certificate_header is not None and section.tls is None and not is_local:
        reason = "what the proxy says of its clients' certificates crosses a network in clear"
        (place / "client_certificate_header").doubt(reason, "tls for this listener, or an address of this machine alone")


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

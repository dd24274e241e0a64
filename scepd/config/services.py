"""The addresses of services outside that are asked or told: readers like those of `config.scalars`."""

import ipaddress
import re
from datetime import timedelta
from urllib.parse import urlsplit

from scepd.config.scalars import read_duration, read_text, read_url
from scepd.problems import Refused
from scepd.x509.strings import is_host_name

_SHORTEST, _LONGEST = timedelta(seconds=1), timedelta(seconds=60)
_GUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def read_service(raw: object) -> str:
    """Return the URL of a service; plain HTTP only to our own machine, which `insecurely_plain` must then say too."""
    text = read_url(raw)
    if is_plain(text) and not _is_ourselves(text):
        raise Refused("goes over the network in the clear", f'write "https://{text.partition("://")[2]}"')
    if _is_link_local(text):
        # Where clouds keep the credentials of their machines (threats S-83).
        raise Refused("is a link-local address", "name the host by its name or by a routable address")
    return text


def read_proxy(raw: object) -> str:
    """Return the URL of a proxy that is asked to CONNECT, always with its port."""
    text = read_url(raw)
    parts = urlsplit(text)
    if parts.scheme != "http" or parts.port is None or parts.path not in {"", "/"}:
        raise Refused(f"{text!r} is no proxy", 'write "http://proxy.example.net:3128"')
    return text.rstrip("/")


def read_timeout(raw: object) -> timedelta:
    """Return how long a service may take; a device waits a minute at most."""
    duration = read_duration(raw)
    if not _SHORTEST <= duration <= _LONGEST:
        raise Refused(f"{raw!r} is out of bounds", 'write a duration from "1s" to "60s"')
    return duration


def read_tenant_id(raw: object) -> str:
    """Return the name of an Entra tenant: a GUID, or one of its domains."""
    text = read_text(raw)
    if not _GUID.fullmatch(text) and not (is_host_name(text) and "." in text):
        raise Refused(f"{text!r} is no tenant", 'write its GUID, or a domain such as "example.onmicrosoft.com"')
    return text


def read_client_id(raw: object) -> str:
    """Return the application (client) ID of an Entra registration."""
    text = read_text(raw)
    if not _GUID.fullmatch(text):
        raise Refused(f"{text!r} is no application ID", 'write the GUID: "00000000-0000-0000-0000-000000000000"')
    return text


def is_plain(url: str) -> bool:
    """Return whether a URL is one without TLS."""
    return urlsplit(url).scheme == "http"


def _is_ourselves(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    address = _address(host)
    return host == "localhost" if address is None else address.is_loopback


def _is_link_local(url: str) -> bool:
    address = _address(urlsplit(url).hostname or "")
    return address is not None and (address.is_link_local or address.is_unspecified)


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None

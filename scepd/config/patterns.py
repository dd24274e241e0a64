"""What a profile may say about names, attributes and usages; readers like those of `config.scalars`."""

import ipaddress
import re

from scepd.config.scalars import read_oid, read_text
from scepd.problems import Refused, suggest
from scepd.profile.model import FORBIDDEN_PURPOSES
from scepd.x509.names import OIDS
from scepd.x509.strings import is_host_name, is_mailbox
from scepd.x509.usages import EXTENDED_KEY_USAGES, KEY_USAGES, purpose_oid

# First segments of our URLs: a profile that took one could never be reached, or would hide something else.
RESERVED_PATHS = frozenset(
    {
        "scep",
        "scep-mtls",
        "scep-raw",
        "cgi-bin",
        "crl",
        "ocsp",
        "ca",
        ".well-known",
        "api",
        "livez",
        "readyz",
        "metrics",
    }
)

_CA_USAGES = frozenset({"keyCertSign", "cRLSign"})


def read_path(raw: object) -> str:
    """Return a URL segment that no part of the server has taken."""
    text = read_text(raw)
    if not re.fullmatch(r"[a-z0-9-]{1,32}", text):
        raise Refused(f"{text!r} cannot be a path", "use one segment of up to 32 of a-z 0-9 -, without slashes")
    if text in RESERVED_PATHS:
        raise Refused(f"{text!r} is a path of the server's own", f'write another, such as path = "{text}-devices"')
    return text


def read_attribute(raw: object) -> str:
    """Return the short name of a subject attribute."""
    text = read_text(raw)
    if text not in OIDS:
        by_lower_case = {short.lower(): short for short in OIDS}
        if text.lower() in by_lower_case:
            raise Refused(f"{text!r} is no attribute of a subject", f"did you mean {by_lower_case[text.lower()]}?")
        raise Refused(f"{text!r} is no attribute of a subject", suggest(text, OIDS))
    return text


def read_expression(raw: object) -> re.Pattern[str]:
    """Return a regular expression, which a value must match as a whole."""
    text = read_text(raw)
    try:
        return re.compile(text)
    except re.error as fault:
        raise Refused(f"{text!r} is no regular expression: {fault}", "write it in 'single' quotation marks") from None


def read_dns(raw: object) -> str:
    """Return a host name, "*.example.net" for all below that domain, or "*"."""
    text = read_text(raw)
    if re.fullmatch(r"[0-9.]+(/[0-9]+)?", text):
        raise Refused(f"{text!r} is an address, not a host name", f'write it under ip: ip = ["{text}"]')
    if text != "*" and not is_host_name(text.removeprefix("*.")):
        raise Refused(f"{text!r} is no host name", 'write "r1.net.example", "*.net.example" or "*"')
    return text.lower()


def read_email(raw: object) -> str:
    """Return a mail address, or a domain in the form of `read_dns`."""
    text = read_text(raw)
    if not is_mailbox(text) and (text != "*" and not is_host_name(text.removeprefix("*."))):
        raise Refused(f"{text!r} is no mail address and no domain", 'write "a@example.net" or "example.net"')
    return text


def read_network(raw: object) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """Return an IP network; an address alone is the network that holds only it."""
    text = read_text(raw)
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        pass
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise Refused(f"{text!r} is no network", 'write "10.0.0.0/8", "192.0.2.1" or "2001:db8::/32"') from None
    raise Refused(f"{text!r} has bits to the right of its mask", f'write "{network}"')


def read_key_usage(raw: object) -> str:
    """Return the name of a key usage that a device may have (RFC 5280 section 4.2.1.3)."""
    text = read_text(raw)
    if text in _CA_USAGES:
        raise Refused(f"{text} belongs to a CA, never to a device", "leave it out")
    if text not in KEY_USAGES:
        raise Refused(f"{text!r} is no key usage", suggest(text, KEY_USAGES - _CA_USAGES))
    return text


def read_purpose(raw: object) -> str:
    """Return a purpose (extended key usage) as its name, or as an OID where it has none."""
    text = read_text(raw)
    if text[0].isdigit():
        oid = read_oid(text)
    elif text in EXTENDED_KEY_USAGES:
        oid = purpose_oid(text)
    else:
        usable = [word for word, number in EXTENDED_KEY_USAGES.items() if number not in FORBIDDEN_PURPOSES]
        raise Refused(
            f"{text!r} is no extended key usage", suggest(text, usable) + "; or an OID such as 1.3.6.1.5.5.7.3.2"
        )
    if oid in FORBIDDEN_PURPOSES:
        raise Refused(f"{text} gives powers that no device may have", "leave it out; name the purposes one by one")
    return {number: word for word, number in EXTENDED_KEY_USAGES.items()}.get(oid, oid)

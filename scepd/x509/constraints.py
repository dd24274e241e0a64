"""The issuer's name constraints, judged before a certificate is signed (RFC 5280 section 4.2.1.10)."""

import ipaddress
from collections.abc import Callable, Iterable, Sequence
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.x509.oid import NameOID


def violated(constraints: x509.NameConstraints, subject: x509.Name, names: Sequence[x509.GeneralName]) -> str | None:
    """Return the first name that the constraints forbid, or None.

    The subject counts as a directory name, its e-mail addresses as rfc822 names where there are no such alternative
    names. Names of a kind that we cannot compare count as forbidden once that kind is constrained.
    """
    permitted, excluded = list(constraints.permitted_subtrees or ()), list(constraints.excluded_subtrees or ())
    for name in [*names, *_names_in_subject(subject, names)]:
        within = [base for base in permitted if _same_kind(base, name)]
        if within and not any(_matches(base, name, otherwise=False) for base in within):
            return f"{_show(name)} is not permitted"
        if any(_matches(base, name, otherwise=True) for base in excluded if _same_kind(base, name)):
            return f"{_show(name)} is excluded"
    return None


def _names_in_subject(subject: x509.Name, names: Sequence[x509.GeneralName]) -> Iterable[x509.GeneralName]:
    if subject.rdns:
        yield x509.DirectoryName(subject)
    if not any(isinstance(name, x509.RFC822Name) for name in names):
        for attribute in subject.get_attributes_for_oid(NameOID.EMAIL_ADDRESS):
            yield x509.RFC822Name(str(attribute.value))


def _same_kind(base: x509.GeneralName, name: x509.GeneralName) -> bool:
    return type(base) is type(name)


def _matches(base: x509.GeneralName, name: x509.GeneralName, *, otherwise: bool) -> bool:
    """Return whether a name lies in a subtree of its own kind; `otherwise` for kinds without a rule."""
    if isinstance(base, x509.DirectoryName) and isinstance(name, x509.DirectoryName):
        return name.value.rdns[: len(base.value.rdns)] == base.value.rdns
    if isinstance(base, x509.IPAddress) and isinstance(name, x509.IPAddress):
        network = ipaddress.ip_network(str(base.value))
        return ipaddress.ip_address(str(name.value)) in network
    for kind, compare in _TEXT_RULES:
        if isinstance(base, kind) and isinstance(name, kind):
            return compare(str(base.value).lower(), str(name.value).lower())
    return otherwise


def _dns_within(base: str, name: str) -> bool:
    base = base.removeprefix(".")
    return not base or name == base or name.endswith("." + base)


def _host_within(base: str, host: str) -> bool:
    """Return whether a host is the base, or, where that has a leading dot, below it."""
    return host.endswith(base) if base.startswith(".") else host == base


def _email_within(base: str, name: str) -> bool:
    return name == base if "@" in base else _host_within(base, name.rpartition("@")[2])


def _uri_within(base: str, name: str) -> bool:
    return _host_within(base, urlsplit(name).hostname or "")


_TEXT_RULES: tuple[
    tuple[type[x509.DNSName | x509.RFC822Name | x509.UniformResourceIdentifier], Callable[[str, str], bool]], ...
] = (
    (x509.DNSName, _dns_within),
    (x509.RFC822Name, _email_within),
    (x509.UniformResourceIdentifier, _uri_within),
)


def _show(name: x509.GeneralName) -> str:
    value = name.value.rfc4514_string() if isinstance(name, x509.DirectoryName) else name.value
    return f"{type(name).__name__} {value}"

"""Lint rules on the subject alternative names of a certificate, and on the issuer's name constraints."""

from cryptography import x509

from scepd.x509.constraints import violated
from scepd.x509.general_names import from_x509_general_name
from scepd.x509.rule import END, Rule
from scepd.x509.strings import is_absolute_uri, is_host_name, is_mailbox, unsafe
from scepd.x509.view import View


def _names(view: View) -> list[x509.GeneralName] | None:
    if view.names is None or not isinstance(view.names.value, x509.SubjectAlternativeName):
        return None
    return list(view.names.value)


def _criticality(view: View) -> str | None:
    extension = view.names
    if extension is None or extension.critical == (not view.subject):
        return None
    return "critical beside a subject" if extension.critical else "not critical although the subject is empty"


def _forms(view: View) -> str | None:
    names = _names(view)
    if names is None:
        return None
    faults = filter(None, map(_malformed, names))
    return next(faults, None if names else "empty extension")


def _malformed(name: x509.GeneralName) -> str | None:
    if isinstance(name, x509.IPAddress):
        return f"address {name.value}" if name.value.is_unspecified else None
    try:
        found = from_x509_general_name(name)
    except ValueError as error:
        return str(error)
    form = _FORMS.get(found.kind, _is_safe)
    return None if form(found.value) else f"{found.kind} {found.value[:100]!r} is malformed"


def _is_safe(text: str) -> bool:
    return unsafe(text) is None


def _unique(view: View) -> str | None:
    names = _names(view) or []
    return None if len(set(names)) == len(names) else "a name twice"


def _server_named(view: View) -> str | None:
    usable = [name for name in _names(view) or [] if isinstance(name, x509.DNSName | x509.IPAddress)]
    return None if usable else "no host name or address"


def _within_constraints(view: View) -> str | None:
    if view.issuer is None or view.issuer.name_constraints is None:
        return None
    return violated(view.issuer.name_constraints, view.certificate.subject, _names(view) or [])


_FORMS = {"dns": is_host_name, "email": is_mailbox, "uri": is_absolute_uri}

NAME_RULES = (
    Rule("names_criticality", "C-281", _criticality),
    Rule("names_are_well_formed", "C-281, S-54", _forms),
    Rule("names_are_unique", "S-54", _unique),
    Rule("tls_server_is_named", "RFC 9525 2", _server_named, frozenset({"tls"})),
    Rule("name_constraints_of_issuer", "S-57", _within_constraints, END),
)

"""Lint rules on the extensions of a certificate other than its names (RFC 5280 section 4.2)."""

from cryptography import x509

from scepd.x509.keys import key_identifier
from scepd.x509.rule import CA, END, OWN_CHOICE, CommonRule, Rule
from scepd.x509.usages import EXTENDED_KEY_USAGES, SPECIAL_PURPOSES, TLS_FEATURE, served_usages
from scepd.x509.view import (
    ACCESS,
    AUTHORITY_KEY,
    BASIC_CONSTRAINTS,
    CRL_POINTS,
    KEY_USAGE,
    NAME_CONSTRAINTS,
    NAMES,
    OCSP_NO_CHECK,
    POLICIES,
    PURPOSES,
    SUBJECT_KEY,
    Common,
    Kind,
    View,
)

_KNOWN = frozenset(
    {AUTHORITY_KEY, SUBJECT_KEY, BASIC_CONSTRAINTS, KEY_USAGE, PURPOSES, NAMES, CRL_POINTS, ACCESS, TLS_FEATURE}
)
_KNOWN_OF_CA = _KNOWN | {NAME_CONSTRAINTS, POLICIES}
_KNOWN_BY_KIND = {"ca": _KNOWN_OF_CA, "crossed": _KNOWN_OF_CA, "ocsp": _KNOWN | {OCSP_NO_CHECK}}
_CRITICAL = frozenset({BASIC_CONSTRAINTS, KEY_USAGE, NAME_CONSTRAINTS})
_CA_POWERS = frozenset({"keyCertSign", "cRLSign"})
_AUTHORITY_PURPOSES = frozenset(
    EXTENDED_KEY_USAGES[word] for word in ("anyExtendedKeyUsage", "OCSPSigning", "cmcCA", "cmcRA", "cmcArchive")
)
_REQUEST_AGENT = EXTENDED_KEY_USAGES["certificateRequestAgent"]
_SERVICES: dict[Kind, str] = {
    "ra": _REQUEST_AGENT,
    "tls": EXTENDED_KEY_USAGES["serverAuth"],
    "ocsp": EXTENDED_KEY_USAGES["OCSPSigning"],
}
_ANY_USE = frozenset({"digitalSignature", "nonRepudiation", "keyEncipherment", "keyAgreement"})
# RFC 5280 section 4.2.1.12: the usages of which a purpose needs at least one.
_NEEDED = {
    EXTENDED_KEY_USAGES["serverAuth"]: _ANY_USE - {"nonRepudiation"},
    EXTENDED_KEY_USAGES["clientAuth"]: frozenset({"digitalSignature", "keyAgreement"}),
    EXTENDED_KEY_USAGES["codeSigning"]: frozenset({"digitalSignature"}),
    EXTENDED_KEY_USAGES["emailProtection"]: _ANY_USE,
    EXTENDED_KEY_USAGES["timeStamping"]: frozenset({"digitalSignature", "nonRepudiation"}),
}


def _constraints(common: Common) -> x509.BasicConstraints | None:
    extension = common.extensions.by_oid.get(BASIC_CONSTRAINTS)
    return extension.value if extension and isinstance(extension.value, x509.BasicConstraints) else None


def _known(common: Common) -> str | None:
    extra = common.extensions.by_oid.keys() - _KNOWN_BY_KIND.get(common.kind, _KNOWN)
    return f"extension {min(extra)}" if extra else None


def _critical(common: Common) -> str | None:
    for oid, extension in common.extensions.by_oid.items():
        if oid != NAMES and extension.critical != (oid in _CRITICAL):
            return f"{oid} is {'' if extension.critical else 'not '}critical"
    return None


def _authority_key(view: View) -> str | None:
    extension = view.common.extensions.by_oid.get(AUTHORITY_KEY)
    if extension is None or not isinstance(extension.value, x509.AuthorityKeyIdentifier):
        return "no authority key identifier"
    wanted = view.issuer.key_identifier if view.issuer else view.key_identifier
    return None if extension.value.key_identifier == wanted else "not the issuer's subject key identifier"


def _subject_key(view: View) -> str | None:
    derived = key_identifier(view.fields[6])
    return None if view.key_identifier == derived else "absent or not derived from the public key"


def _subject_key_present(view: View) -> str | None:
    return None if view.key_identifier else "no subject key identifier"


def _usage_present(common: Common) -> str | None:
    return None if common.extensions.usages else "no key usage"


def _usage_of_end_entity(common: Common) -> str | None:
    powers = common.extensions.usages & _CA_POWERS
    return f"{min(powers)} in an end entity" if powers else None


def _usage_of_ca(common: Common) -> str | None:
    missing = _CA_POWERS - common.extensions.usages
    return f"{min(missing)} is missing" if missing else None


def _usage_fits_key(common: Common) -> str | None:
    usages = common.extensions.usages
    unfit = usages - served_usages(common.key_type)
    return f"{min(unfit)} with {common.key_type.__name__}" if unfit else None


def _end_entity(common: Common) -> str | None:
    constraints = _constraints(common)
    if constraints is None or (not constraints.ca and constraints.path_length is None):
        return None
    return "cA or a path length in an end entity"


def _ca(common: Common) -> str | None:
    constraints = _constraints(common)
    return None if constraints is not None and constraints.ca else "no basic constraints with cA"


def _path_length(common: Common) -> str | None:
    constraints = _constraints(common)
    if common.issuer is None or common.issuer.path_length is None or constraints is None:
        return None
    if common.issuer.path_length < 1:
        return "the issuer may not issue to a CA"
    own = constraints.path_length
    return "no shorter than the issuer's" if own is None or own >= common.issuer.path_length else None


def _purposes_present(common: Common) -> str | None:
    return None if common.extensions.purposes else "no purpose: that would mean any"


def _purposes_of_device(common: Common) -> str | None:
    wrong = [purpose for purpose in common.extensions.purposes if purpose in _AUTHORITY_PURPOSES | {_REQUEST_AGENT}]
    return f"{wrong[0]} for a device" if wrong else None


def _purposes_of_service(common: Common) -> str | None:
    wanted = _SERVICES[common.kind]
    wrong = [purpose for purpose in common.extensions.purposes if purpose in SPECIAL_PURPOSES and purpose != wanted]
    if wrong:
        return f"{wrong[0]} for this service"
    return None if wanted in common.extensions.purposes else f"{wanted} is missing"


def _responder_alone(common: Common) -> str | None:
    purposes, usages = common.extensions.purposes, common.extensions.usages
    if len(purposes) > 1 or usages - {"digitalSignature", "nonRepudiation"}:
        return "a responder's key does something else too"
    return None if OCSP_NO_CHECK in common.extensions.by_oid else "no ocsp-nocheck: who would vouch for the responder?"


def _purposes_fit_usage(common: Common) -> str | None:
    usages = common.extensions.usages
    for purpose in common.extensions.purposes:
        needed = _NEEDED.get(purpose)
        if needed is not None and not needed & usages:
            return f"{purpose} without {' or '.join(sorted(needed))}"
    return None


def _crl_points(common: Common) -> str | None:
    extension = common.extensions.by_oid.get(CRL_POINTS)
    if extension is None or not isinstance(extension.value, x509.CRLDistributionPoints):
        return None
    for point in extension.value:
        if point.crl_issuer or point.reasons or not point.full_name:
            return "a point with cRLIssuer or reasons, or without a name"
        if not all(_is_plain_http(name) for name in point.full_name):
            return "a point that is no http URL"
    return None


def _access(common: Common) -> str | None:
    extension = common.extensions.by_oid.get(ACCESS)
    if extension is None or not isinstance(extension.value, x509.AuthorityInformationAccess):
        return None
    wrong = [entry for entry in extension.value if not _is_plain_http(entry.access_location)]
    return "a location that is no http URL" if wrong else None


def _is_plain_http(name: x509.GeneralName) -> bool:
    # Revocation data over https would need the check that it serves.
    return isinstance(name, x509.UniformResourceIdentifier) and name.value.startswith("http://") and len(name.value) > 7


def _tls_features(common: Common) -> str | None:
    if common.issuer is None or not common.issuer.tls_features:
        return None
    extension = common.extensions.by_oid.get(TLS_FEATURE)
    own = (
        {feature.value for feature in extension.value}
        if extension and isinstance(extension.value, x509.TLSFeature)
        else set()
    )
    return None if common.issuer.tls_features <= own else "not all of the issuer's TLS features"


EXTENSION_RULES: tuple[Rule | CommonRule, ...] = (
    CommonRule("extensions_are_known", "S-60, S-61", _known),
    CommonRule("criticality", "RFC 5280 4.2.1", _critical),
    Rule("authority_key_identifier", "C-278", _authority_key),
    Rule("subject_key_identifier", "C-278", _subject_key, OWN_CHOICE),
    Rule("subject_key_identifier_is_present", "C-278", _subject_key_present, frozenset({"crossed"})),
    CommonRule("key_usage_is_present", "C-279", _usage_present),
    CommonRule("key_usage_of_end_entity", "C-279, S-58", _usage_of_end_entity, END),
    CommonRule("key_usage_of_ca", "C-279", _usage_of_ca, CA),
    CommonRule("key_usage_fits_key", "RFC 3279 2.3", _usage_fits_key),
    CommonRule("end_entity_is_no_ca", "C-280, S-58", _end_entity, END),
    CommonRule("ca_is_ca", "C-280", _ca, CA),
    CommonRule("path_length", "RFC 5280 4.2.1.9", _path_length, CA),
    CommonRule("purposes_are_present", "S-59", _purposes_present, END),
    CommonRule("purposes_of_device", "S-59", _purposes_of_device, frozenset({"leaf"})),
    CommonRule("purposes_of_service", "S-59", _purposes_of_service, frozenset(_SERVICES)),
    CommonRule("responder_does_nothing_else", "S-109, RFC 6960 4.2.2.2", _responder_alone, frozenset({"ocsp"})),
    CommonRule("purposes_fit_key_usage", "C-282", _purposes_fit_usage, END),
    CommonRule("crl_distribution_points", "C-283", _crl_points),
    CommonRule("authority_information_access", "RFC 5280 4.2.2.1", _access),
    CommonRule("tls_features_of_issuer", "C-316", _tls_features),
)

"""What becomes of the extensions that a request wishes for (threats S-58 to S-63)."""

from collections.abc import Sequence

from scepd.message import tlv
from scepd.message.csr_attributes import Extension
from scepd.message.errors import MessageError
from scepd.profile.model import Profile
from scepd.refusal import Reason, Reject
from scepd.x509.usages import SPECIAL_PURPOSES, STATUS_REQUEST, TLS_FEATURE, purpose_oid

SUBJECT_ALTERNATIVE_NAME = "2.5.29.17"
KEY_USAGE = "2.5.29.15"
BASIC_CONSTRAINTS = "2.5.29.19"
EXTENDED_KEY_USAGE = "2.5.29.37"

# Asking for these is asking to be something else than a device.
_REFUSED = frozenset(
    {
        "2.5.29.30",  # nameConstraints
        "2.5.29.33",  # policyMappings
        "2.5.29.36",  # policyConstraints
        "2.5.29.54",  # inhibitAnyPolicy
        "1.3.6.1.5.5.7.1.14",  # proxyCertInfo
        "1.3.6.1.5.5.7.48.1.5",  # ocsp-nocheck
        "1.3.6.1.4.1.11129.2.4.2",  # SCT list
        "1.3.6.1.4.1.11129.2.4.3",  # precertificate poison
        "1.3.6.1.4.1.311.25.2",  # Windows security identifier: only an authenticator could vouch for it
    }
)
# Whatever these say, the certificate carries the issuer's or none: clients send them out of habit.
_OURS = frozenset(
    {
        "2.5.29.14",  # subjectKeyIdentifier
        "2.5.29.18",  # issuerAltName
        "2.5.29.31",  # cRLDistributionPoints
        "2.5.29.32",  # certificatePolicies
        "2.5.29.35",  # authorityKeyIdentifier
        "2.5.29.46",  # freshestCRL
        "1.3.6.1.5.5.7.1.1",  # authorityInfoAccess
        "1.3.6.1.5.5.7.1.11",  # subjectInfoAccess
        TLS_FEATURE,  # `tls_features` reads it
    }
)
_STRICT = tlv.Limits(size=8_192, elements=256, depth=4, ber_depth=0)
_CA_BITS = 0b0000_0110  # keyCertSign (5) and cRLSign (6) in the first octet, bit 0 being the highest


def judge_extensions(profile: Profile, extensions: Sequence[Extension]) -> bytes | None:
    """Return the value of the wished subjectAltName, if any; nothing else of a wish reaches the certificate.

    The certificate always gets the profile's key usages and purposes. Wishes inside them narrow nothing, wishes
    outside them are ignored; but CA powers in any form, special purposes that the profile does not list
    (`usages.SPECIAL_PURPOSES`), an empty purpose list, and malformed values raise Reject(extension_refused). Other
    extensions are dropped, or with `unknown_extensions = "refuse"` refused unless the issuer writes them anyway.
    """
    names = None
    for extension in extensions:
        oid = extension.oid
        if oid == SUBJECT_ALTERNATIVE_NAME:
            names = extension.value_der
        elif oid in {KEY_USAGE, BASIC_CONSTRAINTS, EXTENDED_KEY_USAGE}:
            _judge_power(profile, extension)
        elif oid in _REFUSED or (oid not in _OURS and profile.unknown_extensions == "refuse"):
            raise Reject(Reason.extension_refused, f"extension {oid}")
    return names


def tls_features(profile: Profile, extensions: Sequence[Extension]) -> tuple[int, ...]:
    """Return the TLS features of the certificate: to staple, where the profile always says so or lets the request say it.

    Other features are dropped (C-319). Raises Reject(extension_refused) for a wish that cannot be read, where it counts.
    """
    if profile.must_staple == "always":
        return (STATUS_REQUEST,)
    if profile.must_staple == "never":
        return ()
    wished = next((extension.value_der for extension in extensions if extension.oid == TLS_FEATURE), None)
    if wished is None:
        return ()
    try:
        listed = [feature.integer() for feature in tlv.read(wished, _STRICT).expect(tlv.SEQUENCE).children]
    except MessageError as error:
        raise Reject(Reason.extension_refused, f"extension {TLS_FEATURE} is malformed: {error.detail}") from None
    return (STATUS_REQUEST,) if STATUS_REQUEST in listed else ()


def _judge_power(profile: Profile, extension: Extension) -> None:
    try:
        element = tlv.read(extension.value_der, _STRICT)
        if extension.oid == KEY_USAGE:
            fault = _ca_usage(element)
        elif extension.oid == BASIC_CONSTRAINTS:
            fault = _ca_constraints(element)
        else:
            fault = _special_purpose(element, frozenset(map(purpose_oid, profile.extended_key_usage)))
    except MessageError as error:
        fault = f"extension {extension.oid} is malformed: {error.detail}"
    if fault is not None:
        raise Reject(Reason.extension_refused, fault)


def _ca_usage(element: tlv.Element) -> str | None:
    content = element.expect(tlv.BIT_STRING).content
    if len(content) < 2:
        return None if content == b"\0" else "key usage is malformed"
    return "key usage of a CA" if content[1] & _CA_BITS else None


def _ca_constraints(element: tlv.Element) -> str | None:
    # An explicit FALSE and any octet for TRUE are BER; what they mean counts, not how they are spelled.
    fields = element.fields()
    authority = fields.optional(tlv.BOOLEAN)
    path_length = fields.optional(tlv.INTEGER)
    fields.finish()
    if path_length is not None:
        return "basic constraints with a path length"
    return "basic constraints of a CA" if authority is not None and authority.boolean() else None


def _special_purpose(element: tlv.Element, listed: frozenset[str]) -> str | None:
    purposes = [purpose.oid() for purpose in element.expect(tlv.SEQUENCE).children]
    if not purposes:
        return "empty extended key usage"
    special = [purpose for purpose in purposes if purpose in SPECIAL_PURPOSES - listed]
    return f"purpose {special[0]}" if special else None

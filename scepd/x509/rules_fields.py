"""Lint rules on the basic fields of a certificate (RFC 5280 section 4.1)."""

from cryptography.hazmat.primitives.asymmetric import rsa

from scepd.message import tlv
from scepd.message.kinds import is_ec, is_ed25519, is_rsa
from scepd.refusal import Reject
from scepd.x509.draft import EC_ALGORITHMS, RSA_ALGORITHMS
from scepd.x509.fields import contents
from scepd.x509.names import (
    DOMAIN_COMPONENT,
    EMAIL_ADDRESS,
    PRINTABLE_STRING,
    REPEATABLE,
    SHORT_NAMES,
    UTF8_STRING,
    check_attribute,
)
from scepd.x509.rule import END, OWN_CHOICE, CommonRule, Rule
from scepd.x509.view import Common, View

_VERSION_3 = bytes.fromhex("a003020102")
_EMPTY_NAME = bytes.fromhex("3000")
_IA5_TYPES = frozenset({22})
_DIRECTORY_TYPES = frozenset({UTF8_STRING, PRINTABLE_STRING})
_IA5_ATTRIBUTES = frozenset({EMAIL_ADDRESS, DOMAIN_COMPONENT})
_CURVES = frozenset({"secp256r1", "secp384r1", "secp521r1"})


def _version(common: Common) -> str | None:
    return None if common.version == _VERSION_3 else "not version 3"


def _serial_positive(view: View) -> str | None:
    return None if view.serial > 0 else "zero or negative"


def _serial_size(view: View) -> str | None:
    size = len(contents(view.fields[1]))
    return None if size <= 20 else f"{size} octets"


def _serial_random(view: View) -> str | None:
    bits = view.serial.bit_length()
    return None if bits >= 64 else f"{bits} bits leave no room for 64 random ones"


def _algorithm_known(common: Common) -> str | None:
    algorithm = common.algorithms[1]
    return None if algorithm in RSA_ALGORITHMS or algorithm in EC_ALGORITHMS else algorithm.hex()


def _algorithms_agree(common: Common) -> str | None:
    return None if common.algorithms[0] == common.algorithms[1] else "inner and outer algorithm differ"


def _algorithm_fits(common: Common) -> str | None:
    key = common.key_type if common.issuer is None else type(common.issuer.public_key)
    fitting = RSA_ALGORITHMS if issubclass(key, rsa.RSAPublicKey) else EC_ALGORITHMS
    return None if common.algorithms[1] in fitting else "the issuer's key cannot make such a signature"


def _issuer_named(common: Common) -> str | None:
    return None if common.issuer_name != _EMPTY_NAME else "empty issuer"


def _issuer_exact(view: View) -> str | None:
    return None if view.fields[3] == view.issuer_der else "not octet for octet the issuer's subject"


def _validity_ordered(view: View) -> str | None:
    return None if view.not_before < view.not_after else "ends before it begins"


def _validity_within(view: View) -> str | None:
    issuer = view.issuer
    if issuer is None or (issuer.not_before <= view.not_before and view.not_after <= issuer.not_after):
        return None
    return "outside the issuer's validity"


def _times(view: View) -> str | None:
    written = tlv.sequence(tlv.time(view.not_before), tlv.time(view.not_after))
    return None if view.fields[4] == written else f"{view.fields[4].hex()} where {written.hex()} is due"


def _subject_strings(view: View) -> str | None:
    for attribute in view.subject:
        allowed = _IA5_TYPES if attribute.oid in _IA5_ATTRIBUTES else _DIRECTORY_TYPES
        if attribute.tag not in allowed:
            return f"{SHORT_NAMES.get(attribute.oid, attribute.oid)} has string type {attribute.tag}"
    return None


def _subject_values(view: View) -> str | None:
    for attribute in view.subject:
        try:
            check_attribute(attribute)
        except Reject as refusal:
            return refusal.detail
    return None


def _subject_repeats(view: View) -> str | None:
    single = [attribute.oid for attribute in view.subject if attribute.oid not in REPEATABLE]
    return None if len(set(single)) == len(single) else "an attribute twice"


def _subject_differs(view: View) -> str | None:
    return None if view.fields[5] != view.issuer_der else "the issuer's own name"


def _somebody_named(view: View) -> str | None:
    return None if view.subject or view.names else "neither subject nor alternative name"


def _no_unique_identifiers(common: Common) -> str | None:
    further = common.further_fields
    return f"field with tag {further[0]:#x}" if further else None


def _key_sound(view: View) -> str | None:
    key = view.public_key
    if is_rsa(key):
        return None if key.key_size >= 1024 else f"RSA of {key.key_size} bits"
    if is_ec(key):
        return None if key.curve.name in _CURVES else f"curve {key.curve.name}"
    return None if is_ed25519(key) else type(key).__name__


def _key_differs(view: View) -> str | None:
    if view.issuer is None or type(view.public_key) is not type(view.issuer.public_key):
        return None  # cryptography takes 14 us to say so of keys of two kinds
    return None if view.public_key != view.issuer.public_key else "the issuer's own key"


FIELD_RULES: tuple[Rule | CommonRule, ...] = (
    CommonRule("version_is_3", "RFC 5280 4.1.2.1", _version),
    Rule("serial_is_positive", "C-275", _serial_positive),
    Rule("serial_fits", "C-275", _serial_size),
    Rule("serial_is_random", "C-275, S-104", _serial_random),
    CommonRule("signature_algorithm_is_known", "S-26", _algorithm_known),
    CommonRule("signature_algorithms_agree", "RFC 5280 4.1.1.2", _algorithms_agree),
    CommonRule("signature_algorithm_fits_issuer", "S-26", _algorithm_fits),
    CommonRule("issuer_is_named", "RFC 5280 4.1.2.4", _issuer_named),
    Rule("issuer_name_is_exact", "C-285", _issuer_exact),
    Rule("validity_is_ordered", "RFC 5280 4.1.2.5", _validity_ordered),
    Rule("validity_is_within_issuer", "C-284, S-64", _validity_within),
    Rule("times_are_encoded_right", "C-276", _times),
    Rule("subject_string_types", "C-286", _subject_strings, OWN_CHOICE),
    Rule("subject_values", "C-286, S-56", _subject_values, OWN_CHOICE),
    Rule("subject_attributes_once", "S-53", _subject_repeats, OWN_CHOICE),
    Rule("subject_is_not_issuer", "S-57", _subject_differs, END),
    Rule("somebody_is_named", "C-281", _somebody_named),
    CommonRule("no_unique_identifiers", "RFC 5280 4.1.2.8", _no_unique_identifiers),
    Rule("public_key_is_sound", "C-144", _key_sound),
    Rule("public_key_is_not_issuers", "S-28", _key_differs),
)

"""What the next generation of an issuer is called, and whether there can be one."""

import re
from datetime import datetime, timedelta

import attrs
from cryptography import x509

from scepd.config.issuer_settings import IssuerSettings
from scepd.config.scalars import read_name
from scepd.config.settings import Settings
from scepd.problems import Refused
from scepd.records import Name
from scepd.refusal import OperatorError
from scepd.x509.names import COMMON_NAME, from_x509

_LONGEST_COMMON_NAME = 64  # characters (RFC 5280 appendix A.1)
_NUMBER = re.compile(r"[0-9]{1,3}", re.ASCII)


def find_issuer(settings: Settings, name: str) -> IssuerSettings:
    """Return the settings of an issuer. Raises `OperatorError`."""
    if name not in settings.issuer:
        raise OperatorError(f"there is no issuer {name}", f"scepd ca show; known: {', '.join(settings.issuer)}")
    return settings.issuer[name]


def subject_of(issuer: IssuerSettings) -> Name:
    """Return the subject of the CA certificate."""
    return from_x509(x509.load_der_x509_certificate(issuer.certificate_der).subject)


def next_subject(subject: Name) -> Name:
    """Return the name of the next generation: "G2" behind the common name, or the next number where there is one."""
    for index, rdn in enumerate(subject):
        if len(rdn) == 1 and rdn[0].oid == COMMON_NAME:
            stem, _, number = rdn[0].value.rpartition(" G")
            fresh = f"{stem} G{int(number) + 1}" if stem and _NUMBER.fullmatch(number) else f"{rdn[0].value} G2"
            if len(fresh) > _LONGEST_COMMON_NAME:
                break
            return (*subject[:index], (attrs.evolve(rdn[0], value=fresh),), *subject[index + 1 :])
    raise OperatorError("the next CA needs a name of its own", '--subject "CN=Example Devices CA 2"')


def next_name(settings: Settings, issuer: str, wanted: str | None) -> str:
    """Return the name of the next issuer: the wanted one, or the same with the next number."""
    stem, _, number = issuer.rpartition("-")
    counted = f"{stem}-{int(number) + 1}" if stem and _NUMBER.fullmatch(number) else f"{issuer}-2"
    name = wanted or counted
    try:
        read_name(name)
    except Refused as refused:
        raise OperatorError(refused.reason, refused.hint) from None
    if name in settings.issuer:
        raise OperatorError(f"there is an issuer {name} already", "--name for another name")
    return name


def refuse_what_cannot_follow(
    old: IssuerSettings, at: datetime, overlap: timedelta, now: datetime, *, is_signed_above: bool
) -> None:
    """Raise `OperatorError` where nothing can follow the issuer at that moment."""
    certificate = x509.load_der_x509_certificate(old.certificate_der)
    end = certificate.not_valid_after_utc
    if old.next is not None:
        raise OperatorError(
            f"{old.next.issuer} follows {old.name} already", f"scepd ca rollover {old.next.issuer} --from ..."
        )
    if certificate.issuer != certificate.subject and not is_signed_above:
        raise OperatorError(
            f"issuer {old.name} is certified by {certificate.issuer.rfc4514_string()}, whose key was not named",
            "--key pkcs11:token=root;object=root-ca --pin-file FILE --certificate root-ca.pem; or scepd ca request",
        )
    if at <= now:
        raise OperatorError(
            f"{at:%Y-%m-%dT%H:%M:%SZ} is past", "--from a moment to come; devices need time to learn of it"
        )
    if at + overlap > end:
        raise OperatorError(
            f"the certificate of {old.name} ends at {end:%Y-%m-%dT%H:%M:%SZ}, before the overlap does",
            "an earlier --from, or a shorter --overlap",
        )

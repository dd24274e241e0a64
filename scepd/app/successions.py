"""Which issuer of a configuration follows which, as the enrolment room wants it."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from scepd.config.issuer_settings import IssuerSettings
from scepd.enroll.succession import Succession


def successions_of(issuers: Iterable[IssuerSettings]) -> Mapping[str, Succession]:
    """Return the successions by the name of the issuer that is followed."""
    return MappingProxyType(
        {
            issuer.name: Succession(issuer.next.issuer, issuer.next.at, issuer.next.overlap)
            for issuer in issuers
            if issuer.next is not None
        }
    )

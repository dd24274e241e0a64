"""When the certificate of each OCSP key ends: what every process has read of the store, which renews them."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Self

import attrs

from scepd.ca.responder import newest_certificate
from scepd.config.issuer_settings import IssuerSettings
from scepd.store.repository import Repository
from scepd.x509.ocsp import ResponderCertificate


@attrs.define
class ResponderEnds:
    """One of each process; `first` has the configured certificates by issuer, which those of the store follow."""

    first: Mapping[str, ResponderCertificate] = attrs.field(factory=dict)
    told: Mapping[str, str] = attrs.field(factory=dict, init=False)  # by issuer, ISO 8601 in UTC; replaced as a whole

    @classmethod
    def of(cls, issuers: Iterable[IssuerSettings]) -> Self:
        """Take the issuers that OCSP answers for."""
        return cls(
            {one.name: ResponderCertificate.load(one.ocsp.certificate_der) for one in issuers if one.ocsp is not None}
        )

    def read(self, repository: Repository) -> None:
        """Read the newest certificate of each key again; in the thread that the repository belongs to."""
        self.told = {name: _newest(repository, name, first).not_after.isoformat() for name, first in self.first.items()}


def _newest(repository: Repository, issuer: str, first: ResponderCertificate) -> ResponderCertificate:
    try:
        return newest_certificate(repository, issuer, first) or first
    except ValueError:  # a damaged row is for fsck to tell; the news must not end with it
        return first


def latest(said: Iterable[Mapping[str, str]]) -> dict[str, datetime]:
    """Return when each issuer's certificate ends after what several processes said: the latest, since one may lag."""
    ends: dict[str, datetime] = {}
    for one in said:
        for issuer, text in one.items():
            end = datetime.fromisoformat(text)
            ends[issuer] = max(end, ends.get(issuer, end))
    return ends

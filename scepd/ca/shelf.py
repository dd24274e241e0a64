"""The published CRLs of a process: each read from the store once, however often it is asked for."""

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol

import attrs

from scepd.records import Crl, crl_issuer, crl_shard


class PublishedCrls(Protocol):
    """What the store says of published CRLs."""

    def latest_crl_number(self, issuer: str) -> int:
        """Return the number of the newest CRL of an issuer, 0 where there is none."""

    def latest_crl(self, issuer: str) -> Crl | None:
        """Return the newest CRL of an issuer."""


@attrs.define
class CrlShelf:
    """The newest CRL of each issuer, for all threads of a process: a large CRL is in memory once.

    Each look asks the store for the number alone; the octets are read when it differs. `published` are CRLs that are
    known to have been published: where an older store was restored, they are newer than its own (threats S-105).
    """

    _published: Mapping[str, Crl] = attrs.field(factory=dict)
    _crls: dict[str, Crl] = attrs.field(factory=dict, init=False)

    def published(self, issuer: str) -> list[int]:
        """Return the shards of an issuer of which a CRL is known to have been published."""
        return [crl_shard(name) for name in self._published if crl_issuer(name) == issuer]

    def latest(self, store: PublishedCrls, issuer: str) -> Crl | None:
        """Return the newest CRL of an issuer, also one that is valid no more."""
        number, kept = store.latest_crl_number(issuer), self._published.get(issuer)
        if kept is not None and kept.number > number:
            return kept
        held = self._crls.get(issuer)
        if held is not None and held.number == number:
            return held
        crl = store.latest_crl(issuer)
        if crl is not None:
            self._crls[issuer] = crl
        return crl

    def held(self, issuer: str) -> Crl | None:
        """Return the CRL of an issuer that was read last, without asking the store."""
        return self._crls.get(issuer)

    def newest(self, store: PublishedCrls, issuer: str, now: datetime) -> Crl | None:
        """Return the newest CRL of an issuer, None where there is none that is valid now (C-232)."""
        crl = self.latest(store, issuer)
        return crl if crl is not None and now < crl.next_update else None

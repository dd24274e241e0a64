"""Published CRLs: their numbers rise by one, whoever generates them (RFC 5280 section 5.2.3; threat S-106)."""

import hashlib

from sqlalchemy import bindparam, delete, func, insert, select

from scepd.observe.audit import Action
from scepd.records import Crl
from scepd.store.ledger import Act
from scepd.store.rows import SELECT_CRL, crl_of, time_text
from scepd.store.status_tables import CRL
from scepd.store.values import crl_values
from scepd.store.writer import Writer

CRLS_KEPT = 3  # of each issuer

_R = CRL.c
_of_issuer = _R.issuer == bindparam("authority")

_NEWEST = SELECT_CRL.where(_of_issuer).order_by(_R.number.desc()).limit(1)
_NEWEST_NUMBER = select(func.max(_R.number)).where(_of_issuer)
_ADD = insert(CRL)
_TRIM = delete(CRL).where(_of_issuer, _R.number <= bindparam("last"))


class Crls(Writer):
    """The acts and reads about CRLs."""

    def latest_crl(self, issuer: str) -> Crl | None:
        """Return the newest CRL of an issuer."""
        row = self._connection.first(_NEWEST, {"authority": issuer})
        return crl_of(row) if row is not None else None

    def latest_crl_number(self, issuer: str) -> int:
        """Return the number of an issuer's newest CRL, 0 where there is none."""
        row = self._connection.first(_NEWEST_NUMBER, {"authority": issuer})
        return int(row[0] or 0) if row is not None else 0

    def add_crl(self, crl: Crl, *, who: str) -> bool:
        """Publish a CRL whose number is above the newest; return False, and store nothing, where another was first.

        Numbers follow one another, but for a gap after an old store was restored. The newest three of an issuer are kept.
        """
        with self._act("add_crl") as now:
            if crl.number <= self.latest_crl_number(crl.issuer):
                return False
            self._connection.change(_ADD, crl_values(crl))
            self._connection.change(_TRIM, {"authority": crl.issuer, "last": crl.number - CRLS_KEPT})
            details = {
                "this_update": time_text(crl.this_update),
                "next_update": time_text(crl.next_update),
                "entries": crl.entries,
                "crl": hashlib.sha256(crl.der).hexdigest(),
            }
            self._note(Act(Action.crl_published, who, f"crl {crl.issuer} {crl.number}", details), now)
            self._announce()
        return True

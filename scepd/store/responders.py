"""What OCSP needs of the store: the state of one certificate, and the certificates of the keys that answer."""

import hashlib
from datetime import datetime

from sqlalchemy import bindparam, insert, select

from scepd.observe.audit import Action
from scepd.records import CertificateState, Revocation
from scepd.store.ledger import Act
from scepd.store.rows import revocation_of, serial_text, time_text
from scepd.store.schema import CERTIFICATE
from scepd.store.status_tables import RESPONDER
from scepd.store.writer import Writer

_C, _R = CERTIFICATE.c, RESPONDER.c

_STATUS = select(_C.state, _C.revoked, _C.revocation_reason, _C.invalid_since).where(
    _C.issuer == bindparam("authority"), _C.serial == bindparam("number")
)
_NEWEST = select(_R.der).where(_R.issuer == bindparam("authority")).order_by(_R.id.desc()).limit(1)
_ADD = insert(RESPONDER)


class Responders(Writer):
    """The acts and reads about OCSP."""

    def certificate_status(self, issuer: str, serial: int) -> tuple[CertificateState, Revocation | None] | None:
        """Return the state of a certificate and its revocation; None where there is no such row."""
        row = self._connection.first(_STATUS, {"authority": issuer, "number": serial_text(serial)})
        if row is None:
            return None
        state, *revocation = row
        return CertificateState(state), revocation_of(*revocation)

    def responder_certificate(self, issuer: str) -> bytes | None:
        """Return the newest certificate of an issuer's OCSP key, None where none was made here yet."""
        row = self._connection.first(_NEWEST, {"authority": issuer})
        return row[0] if row is not None else None

    def add_responder_certificate(self, issuer: str, der: bytes, *, not_after: datetime, who: str) -> None:
        """Use a fresh certificate of an issuer's OCSP key from now on, in every process."""
        with self._act("add_responder_certificate") as now:
            values = {"issuer": issuer, "not_after": time_text(not_after), "der": der, "created": time_text(now)}
            self._connection.change(_ADD, values)
            details = {"not_after": time_text(not_after), "certificate": hashlib.sha256(der).hexdigest()}
            self._note(Act(Action.responder_certified, who, f"issuer {issuer}", details), now)
            self._announce()

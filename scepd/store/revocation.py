"""Ending certificates before their time (RFC 5280 section 5.3): revoked for good, or on hold and released."""

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any

from sqlalchemy import BindParameter, bindparam, case, null, select, update

from scepd.observe.audit import Action
from scepd.records import (
    Certificate,
    CertificateState,
    Revocation,
    RevocationReason,
    RevokedEntry,
    TransactionKey,
    TransactionState,
)
from scepd.refusal import OperatorError
from scepd.store import statements as sql
from scepd.store.audit_tables import AUDIT
from scepd.store.ledger import Act, certificate_target
from scepd.store.lineage import is_not_failed
from scepd.store.rows import (
    SELECT_AUDIT,
    SELECT_CERTIFICATE,
    audit_of,
    certificate_of,
    revocation_of,
    serial_text,
    time_text,
)
from scepd.store.schema import CERTIFICATE, TRANSACTION
from scepd.store.writer import Writer

_PAGE = 2_000
_BATCH = 100  # revoked in one write transaction, since enrolments wait meanwhile
_CLONES_NOTED = 100  # of one certificate

_C = CERTIFICATE.c
_number: BindParameter[int] = bindparam("number")

_BY_NUMBER = SELECT_CERTIFICATE.where(_C.id == _number)
_REVOKE = (
    update(CERTIFICATE)
    .where(_C.id == _number)
    .values(
        state=CertificateState.REVOKED.value,
        revoked=bindparam("new_revoked"),
        revocation_reason=bindparam("new_reason"),
        invalid_since=bindparam("new_invalid_since"),
        # One that had failed and is revoked to be sure is nobody's successor.
        **{
            name: case((_C.state == CertificateState.FAILED.value, None), else_=_C[name])
            for name in ("predecessor", "renewals", "first_issued")
        },
    )
)
_RELEASE = (
    update(CERTIFICATE)
    .where(_C.id == _number)
    .values(state=bindparam("new_state"), revoked=null(), revocation_reason=null(), invalid_since=null())
)
# In the order of the index that holds all of it.
_ENTRIES = (
    select(_C.id, _C.serial, _C.revoked, _C.revocation_reason, _C.invalid_since)
    .where(
        _C.issuer == bindparam("authority"),
        _C.shard == bindparam("part"),
        sql.is_in(_C.state, CertificateState.REVOKED),
        _C.id > bindparam("last"),
        _C.not_after > bindparam("ends_after"),
    )
    .order_by(_C.id)
    .limit(_PAGE)
)
_next = CERTIFICATE.alias("next")
_SUPERSEDED = (
    SELECT_CERTIFICATE.join(_next, _next.c.predecessor == _C.id)
    .where(
        is_not_failed(_next.c.state),
        _next.c.profile == bindparam("profile"),
        sql.is_in(_next.c.state, CertificateState.ISSUED),
        _next.c.issued <= bindparam("older_than"),
        sql.is_in(_C.state, CertificateState.ISSUED),
        _C.not_after > bindparam("now"),
    )
    .limit(_BATCH)
)
_CLONES = SELECT_AUDIT.where(
    AUDIT.c.target == bindparam("clone"), AUDIT.c.action == Action.clone_suspected.value
).limit(_CLONES_NOTED)
_TRANSACTION_STATE = select(TRANSACTION.c.state).where(TRANSACTION.c.id == _number)


class Revocations(Writer):
    """The acts and reads about certificates that end before their time."""

    def revoke(self, issuer: str, serial: int, revocation: Revocation, *, who: str) -> Certificate | None:
        """Revoke a certificate, or a serial that has none (yet); return its row, None where it is not known.

        A hold may become permanent; raises `OperatorError` where nothing may be changed any more.
        """
        with self._act("revoke") as now:
            found = self.certificate(issuer, serial)
            if found is None:
                return None
            _require_revocable(found, revocation)
            self._end(found, revocation, who, now)
            self._announce()
            return self.certificate(issuer, serial)

    def release(self, issuer: str, serial: int, *, who: str) -> Certificate | None:
        """Lift a hold (C-296); return the certificate's row, None where it is not known.

        Raises `OperatorError` where it is not on hold.
        """
        with self._act("release") as now:
            found = self.certificate(issuer, serial)
            if found is None:
                return None
            if found.revocation is None or found.revocation.reason is not RevocationReason.certificateHold:
                raise OperatorError(f"certificate {serial:x} is not on hold", f"scepd cert show {serial:x}")
            self._connection.change(_RELEASE, {"number": found.id, "new_state": self._released_state(found).value})
            details = {"on_hold_since": time_text(found.revocation.at)}
            self._note(Act(Action.certificate_released, who, certificate_target(issuer, serial), details), now)
            self._announce()
            return self.certificate(issuer, serial)

    def revoke_superseded(self, profile: str, older_than: datetime, who: str) -> int:
        """Revoke what that profile renewed and whose successor was issued by then; return how many (C-185)."""
        revoked = 0
        while found := self._superseded(profile, older_than):
            with self._act("revoke_superseded") as now:
                for certificate in found:
                    revoked += self._supersede(certificate, who, now)
                self._announce()
        return revoked

    def revoked_entries(self, issuer: str, *, ends_after: datetime, shard: int = 0) -> Iterator[RevokedEntry]:
        """Yield what the CRL of a shard lists, in the order of issue: what is valid, or was, until later than that time.

        Read a page at a time, not as one state of the store: what is revoked meanwhile may be in it or not, and has
        then raised `generation` since the first page.
        """
        values: dict[str, Any] = {
            "authority": issuer,
            "part": shard,
            "ends_after": time_text(ends_after),
            "last": 0,
        }
        while page := self._connection.rows(_ENTRIES, values):
            for _, serial, revoked, reason, invalid_since in page:
                revocation = revocation_of(revoked, reason, invalid_since)
                if revocation is not None:
                    yield RevokedEntry(int(serial, 16), revocation)
            values["last"] = page[-1][0]

    def suspect_clone(self, certificate: int, key: TransactionKey, address: str) -> None:
        """Write the audit row `clone_suspected`: two keys claim to renew one certificate (threats S-49).

        One for each requester and address, and no more than a hundred for a certificate, however often they ask.
        """
        row = self._connection.first(_BY_NUMBER, {"number": certificate})
        if row is None:
            return
        found = certificate_of(row)
        target = certificate_target(found.issuer, found.serial)
        details = {
            "profile": key.profile,
            "transaction_id": key.transaction_id,
            "requester": key.requester.hex(),
            "address": address,
        }
        with self._act("suspect_clone") as now:
            noted = [json.loads(audit_of(row).details) for row in self._connection.rows(_CLONES, {"clone": target})]
            known = any((one["requester"], one["address"]) == (details["requester"], address) for one in noted)
            if not known and len(noted) < _CLONES_NOTED:
                self._note(Act(Action.clone_suspected, self.owner, target, details), now)

    def _superseded(self, profile: str, older_than: datetime) -> list[Certificate]:
        values = {"profile": profile, "older_than": time_text(older_than), "now": time_text(self._clock.now())}
        return [certificate_of(row) for row in self._connection.rows(_SUPERSEDED, values)]

    def _supersede(self, certificate: Certificate, who: str, now: datetime) -> bool:
        """Revoke a certificate that was found without the lock, unless it is revoked since."""
        stored = self.certificate(certificate.issuer, certificate.serial)
        if stored is None or stored.state is not CertificateState.ISSUED:
            return False
        self._end(stored, Revocation(now, RevocationReason.superseded), who, now)
        return True

    def _end(self, certificate: Certificate, revocation: Revocation, who: str, now: datetime) -> None:
        invalid_since = None if revocation.invalid_since is None else time_text(revocation.invalid_since)
        values = {
            "number": certificate.id,
            "new_revoked": time_text(revocation.at),
            "new_reason": revocation.reason.value,
            "new_invalid_since": invalid_since,
        }
        self._connection.change(_REVOKE, values)
        details = {
            "reason": revocation.reason.name,
            "at": time_text(revocation.at),
            "invalid_since": invalid_since,
            "subject": certificate.subject,
        }
        target = certificate_target(certificate.issuer, certificate.serial)
        self._note(Act(Action.certificate_revoked, who, target, details), now)

    def _released_state(self, certificate: Certificate) -> CertificateState:
        """Return what the certificate would be, had it never been on hold."""
        row = self._connection.first(_TRANSACTION_STATE, {"number": certificate.transaction})
        if row is None:  # of a recovery, or of a key of our own
            return CertificateState.RESERVED if certificate.der is None else CertificateState.ISSUED
        return _WITHOUT_HOLD.get(row[0], CertificateState.ISSUED)


_WITHOUT_HOLD: Mapping[str, CertificateState] = MappingProxyType(
    {
        TransactionState.ISSUING.value: CertificateState.RESERVED,
        TransactionState.REJECTED.value: CertificateState.FAILED,
    }
)


def _require_revocable(certificate: Certificate, revocation: Revocation) -> None:
    before = certificate.revocation
    if before is None:
        return
    shown = f"scepd cert show {serial_text(certificate.serial)}"
    if before.reason is not RevocationReason.certificateHold:
        raise OperatorError(
            f"certificate {serial_text(certificate.serial)} was revoked {before.at.isoformat(timespec='seconds')}",
            shown,
        )
    if revocation.reason is RevocationReason.certificateHold:
        raise OperatorError(f"certificate {serial_text(certificate.serial)} is on hold already", shown)

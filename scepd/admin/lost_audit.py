"""What an export of the audit trail says of the time that an older store has forgotten: rows, certificates, revocations."""

import json
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import attrs

from scepd.observe.audit import GENESIS, Action, AuditRow, Head, as_record, link
from scepd.observe.export import Export
from scepd.observe.signature import AuditKeys
from scepd.observe.trail import Trail, verify
from scepd.records import LostCertificate, LostRevocation, Revocation, RevocationReason, RevokedEntry
from scepd.refusal import OperatorError

_CERTIFICATE = re.compile(r"certificate (?P<issuer>[^ ]+) (?P<serial>[0-9a-f]{1,64})")

_CLAIMS = frozenset({Action.transaction_claimed.value, Action.own_certificate_claimed.value})
_SIGNED = frozenset(
    {Action.certificate_issued.value, Action.certificate_unclaimed.value, Action.own_certificate_issued.value}
)


@attrs.define
class LostAudit:
    """The rows that link to the ends of the store's chains, and what they tell.

    `ends` are those of the issuers' certificates: until then a serial stays on CRLs.
    """

    ends: Mapping[str, datetime]
    rows: list[AuditRow] = attrs.field(factory=list)
    certificates: dict[tuple[str, int], LostCertificate] = attrs.field(factory=dict)
    revocations: dict[tuple[str, int], LostRevocation] = attrs.field(factory=dict)
    profiles_off: set[str] = attrs.field(factory=set)
    _claims: dict[str, Mapping[str, Any]] = attrs.field(factory=dict, init=False)

    def take(self, row: AuditRow) -> None:
        """Keep a row and what it tells."""
        self.rows.append(row)
        try:
            self._learn(row, json.loads(row.details))
        except (ValueError, KeyError, TypeError):
            return  # the row itself comes back all the same

    def _learn(self, row: AuditRow, details: Mapping[str, Any]) -> None:
        certificate = _CERTIFICATE.fullmatch(row.target)
        if row.action in _CLAIMS:
            self._claims[row.target] = details
        elif row.action in _SIGNED:
            self._learn_certificate(row, details)
        elif row.action == Action.profile_disabled.value:
            self.profiles_off.add(row.target.removeprefix("profile "))
        elif certificate is not None and certificate["issuer"] in self.ends:
            key = certificate["issuer"], int(certificate["serial"], 16)
            if row.action == Action.certificate_revoked.value:
                self.revocations[key] = self._revocation(key, row, details)
            elif row.action == Action.certificate_released.value:
                self.revocations.pop(key, None)

    def _learn_certificate(self, row: AuditRow, details: Mapping[str, Any]) -> None:
        issuer, serial = str(details["issuer"]), int(details["serial"], 16)
        claim = self._claims.pop(row.target, {})
        self.certificates[issuer, serial] = LostCertificate(
            issuer=issuer,
            serial=serial,
            issued=row.at,
            not_after=self.ends[issuer],
            profile=str(claim.get("profile", "")),
            subject=str(claim.get("subject", "")),
            names=tuple(claim.get("names", ())),
            shard=int(claim.get("shard", 0)),
            digest=str(details["certificate"]),
        )

    def _revocation(self, key: tuple[str, int], row: AuditRow, details: Mapping[str, Any]) -> LostRevocation:
        since = details["invalid_since"]
        revocation = Revocation(
            datetime.fromisoformat(details["at"]),
            RevocationReason[details["reason"]],
            None if since is None else datetime.fromisoformat(since),
        )
        source = f"audit {row.owner} {row.sequence}"
        return LostRevocation(key[0], RevokedEntry(key[1], revocation), self.ends[key[0]], source)


def read_lost_audit(
    path: Path, keys: AuditKeys | None, kept: Mapping[str, Head], marks: Mapping[str, Head], ends: Mapping[str, datetime]
) -> LostAudit:
    """Return what an export adds to chains that end with `kept`; `marks` are the ends that they had.

    Raises `OperatorError` for an export that does not verify, or is of another history.
    """
    _require_sound(path, keys)
    found, heads = LostAudit(ends), dict(kept)
    with path.open("rb") as lines:
        for row in _rows(Export(lines)):
            end = heads.get(row.owner, Head(0, GENESIS))
            if row.sequence <= end.sequence:
                continue
            if row.sequence == end.sequence + 1 and row.previous == end.hash and _is_whole(row):
                heads[row.owner] = Head(row.sequence, row.hash)
                mark = marks.get(row.owner)
                if mark is not None and mark.sequence == row.sequence and mark.hash != row.hash:
                    raise _other_history(path, row)
                found.take(row)
            elif row.sequence == end.sequence + 1:
                raise _other_history(path, row)
    return found


def _rows(export: Export) -> Iterable[AuditRow]:
    return (entry for entry in export.entries() if isinstance(entry, AuditRow))


def _require_sound(path: Path, keys: AuditKeys | None) -> None:
    try:
        with path.open("rb") as lines:
            export = Export(lines)
            trail = Trail(keys=keys)
            damage = next((one for entry in export.entries() for one in trail.take(entry)), None)
            damage = damage or next(verify((), export.heads, trail), None)
    except OSError as error:
        raise OperatorError(f"{path} cannot be read: {error.strerror}", "scepd audit export --output FILE") from error
    if damage is not None:
        raise OperatorError(f"{path} is no sound export: {damage}", f"scepd audit verify --export {path}")


def _is_whole(row: AuditRow) -> bool:
    return link(row.previous, as_record(row)) == row.hash


def _other_history(path: Path, row: AuditRow) -> OperatorError:
    words = f"{path} is of another history: row {row.sequence} of {row.owner} does not follow the store's"
    return OperatorError(words, "take the export of this installation, or leave --audit-log out")

"""Going on from an older store (threats S-105): one write transaction brings back what is known and ends what may be spent."""

import hashlib
import json
import secrets
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

import attrs
from sqlalchemy import Executable

from scepd.observe.audit import Action, AuditRow, Head, link
from scepd.observe.rejoin import UNKNOWN_JUMP, rejoin_details
from scepd.records import (
    CertificateState,
    Crl,
    Imports,
    LostCertificate,
    LostRevocation,
    Recovered,
    RevocationReason,
    crl_issuer,
    crl_shard,
    to_json,
)
from scepd.refusal import OperatorError
from scepd.store import meta_rows, statements
from scepd.store import recovery_statements as sql
from scepd.store.crls import Crls
from scepd.store.ledger import Act, certificate_target
from scepd.store.marks import MarkFile, Marks
from scepd.store.position import read_position
from scepd.store.read_only import go_on
from scepd.store.revocation import Revocations
from scepd.store.rows import fold, serial_text, time_text
from scepd.store.shards import Shards
from scepd.store.standing import Standings, write_pair
from scepd.store.values import crl_values

_ROW = "recovery"  # of meta: between the first and the last step


@attrs.frozen(kw_only=True)
class Order:
    """How to recover: who says so, beside which marks (None: they are lost), with which rows and imports."""

    who: str
    node: str
    marks: Marks | None
    rows: tuple[AuditRow, ...] = ()
    imports: Imports = attrs.field(factory=Imports)
    keep_challenges: bool = False
    keep_tokens: bool = False


class Recoveries(Standings, Revocations, Crls, Shards):
    """The acts of a recovery; each may be interrupted and done again."""

    def spendable(self) -> Recovered:
        """Return how many challenges, codes, tokens and approvals a recovery ends."""
        values = {"now": time_text(self._clock.now())}
        return Recovered(
            challenges=self._count(sql.COUNT_CHALLENGES, values),
            entities=self._count(sql.COUNT_CODES, values),
            tokens=self._count(sql.COUNT_TOKENS, values),
            approvals=self._count(sql.COUNT_APPROVALS, values),
        )

    def is_recovering(self) -> bool:
        """Return whether a recovery was begun and not finished."""
        return meta_rows.read(self._connection, _ROW) is not None

    def recover(self, order: Order, file: MarkFile, before_writing: Callable[[], None] = lambda: None) -> Recovered:
        """Do it: the store, then the marks, then the store may be written again; return what was done.

        `before_writing` is called before the last step. An earlier recovery that was interrupted is finished as it was ordered then. Raises `OperatorError` where the
        store is not read-only, `Unavailable`.
        """
        done = self._import(order)
        self._checkpoint("recover.after_import")
        file.replace(attrs.evolve(done.marks, position=self.position()))
        before_writing()
        self._checkpoint("recover.after_marks")
        with self._connection.write():
            meta_rows.drop(self._connection, _ROW)
            go_on(self._connection)
            self._announce()
        self._checkpoint("recover.after_commit")
        return done.recovered

    def _import(self, order: Order) -> "_Done":
        with self._connection.write():
            if self.standstill() is None:
                raise OperatorError("the store is not read-only: there is nothing to recover", "scepd status")
            begun = meta_rows.read(self._connection, _ROW)
            if begun is not None:
                return _Done.from_json(begun)
            now = self._clock.now()
            self._checkpoint("recover.begin")
            done = _Done(Marks(secrets.token_hex(8), reserved=self._floors(order)), self._bring_back(order, now))
            write_pair(self._connection, order.node, done.marks.pair)
            meta_rows.write(self._connection, _ROW, done.to_json())
            self._checkpoint("recover.before_commit")
        return done

    def _bring_back(self, order: Order, now: datetime) -> Recovered:
        self._append_rows(order.rows)
        self._rejoin_chains(order, now)
        imports, who = order.imports, order.who
        recovered = Recovered(
            audit_rows=len(order.rows),
            certificates=sum(self._add_lost(lost, who, now) for lost in imports.certificates),
            revocations=sum(self._revoke_lost(lost, who, now) for lost in imports.revocations),
            crls=sum(self._keep_crl(crl) for crl in imports.crls),
            profiles=sum(self._switch_off(name, who, now) for name in imports.switch_off),
        )
        self._find_shards_again(self._newest_shards(order), imports.ends)
        recovered = self._end_spendable(order, recovered, now)
        details = {**attrs.asdict(recovered), "floors": dict(self._floors(order)), "cause": self._cause()}
        self._note(Act(Action.recovered, who, "store", details), now)
        return recovered

    def _cause(self) -> str:
        found = self.standstill()
        return "" if found is None else found.cause

    def _append_rows(self, rows: Iterable[AuditRow]) -> None:
        """Put rows back that link to the ends of their chains."""
        for row in rows:
            values = {**attrs.asdict(row), "at": time_text(row.at)}
            self._connection.change(statements.ADD_AUDIT, values)
            self._set_head(row.owner, Head(row.sequence, row.hash))

    def _set_head(self, owner: str, head: Head) -> None:
        self._connection.change(sql.FORGET_HEAD, {"chain": owner})
        values = {"owner": owner, "sequence": head.sequence, "hash": head.hash}
        self._connection.change(statements.ADD_HEAD, values)

    def _rejoin_chains(self, order: Order, now: datetime) -> None:
        """Begin a new segment in each chain that lost rows: numbered after them, linked to the last of them."""
        heads = read_position(self._connection).audit
        known = {} if order.marks is None else order.marks.position.audit
        for owner in sorted(heads.keys() | known.keys()):
            kept, lost = heads.get(owner), known.get(owner)
            if lost is not None and (kept is None or kept.sequence < lost.sequence):
                self._rejoin(owner, kept, lost, order.who, now)
            elif order.marks is None and kept is not None:
                self._rejoin(owner, kept, None, order.who, now)

    def _rejoin(self, owner: str, kept: Head | None, lost: Head | None, who: str, now: datetime) -> None:
        details, previous, end = rejoin_details(kept, lost)
        record: dict[str, str | int] = {
            "owner": owner,
            "sequence": end + 1 if lost is not None else end + UNKNOWN_JUMP,
            "at": time_text(now),
            "action": Action.recovered.value,
            "actor": who,
            "target": f"audit {owner}",
            "details": to_json(details),
        }
        row = {**record, "previous": previous, "hash": link(previous, record)}
        self._connection.change(statements.ADD_AUDIT, row)
        self._set_head(owner, Head(int(record["sequence"]), row["hash"]))  # type: ignore[arg-type]

    def _add_lost(self, lost: LostCertificate, who: str, now: datetime) -> bool:
        """Record a certificate, or the serial of one that is gone: it can be revoked, and no other gets its serial."""
        if self.certificate(lost.issuer, lost.serial) is not None:
            return False
        self._connection.change(sql.ADD_CERTIFICATE, _lost_values(lost, now))
        details = {"subject": lost.subject, "certificate": lost.digest, "issued": time_text(lost.issued)}
        self._note(Act(Action.recovered, who, certificate_target(lost.issuer, lost.serial), details), now)
        return True

    def _revoke_lost(self, lost: LostRevocation, who: str, now: datetime) -> bool:
        """Revoke again what was revoked, also a serial that nothing else is known of."""
        entry = lost.entry
        unknown = LostCertificate(lost.issuer, entry.serial, entry.revocation.at, lost.not_after, shard=lost.shard)
        self._add_lost(unknown, who, now)
        found = self.certificate(lost.issuer, entry.serial)
        before = None if found is None else found.revocation
        hold = RevocationReason.certificateHold
        if found is None or (before is not None and (before.reason is not hold or entry.revocation.reason is hold)):
            return False
        self._end(found, entry.revocation, f"{who} ({lost.source})", now)
        return True

    def _keep_crl(self, crl: Crl) -> bool:
        if crl.number <= self.latest_crl_number(crl.issuer):
            return False
        self._connection.change(sql.ADD_CRL, crl_values(crl))
        return True

    def _switch_off(self, name: str, who: str, now: datetime) -> bool:
        by = f"{who}, scepd recover"  # nobody's own: a tenant's administrator does not undo it
        if self._connection.change(sql.TAKE_OVER_OFF, {"profile": name, "who": by}):
            return False
        values = {"name": name, "since": time_text(now), "disabled_by": by}
        self._connection.change(sql.SWITCH_OFF, values)
        self._note(Act(Action.profile_disabled, who, f"profile {name}", {}), now)
        return True

    def _end_spendable(self, order: Order, recovered: Recovered, now: datetime) -> Recovered:
        values = {"now": time_text(now)}
        approvals = self._connection.change(sql.END_APPROVALS, values)
        tokens = 0 if order.keep_tokens else self._connection.change(sql.REVOKE_TOKENS, values)
        challenges = entities = 0
        if not order.keep_challenges:
            challenges = self._connection.change(sql.CANCEL_CHALLENGES, {})
            self._connection.change(sql.EXPIRE_RESERVED, values)
            entities = self._connection.change(sql.EXPIRE_CODES, values)
        return attrs.evolve(recovered, challenges=challenges, entities=entities, tokens=tokens, approvals=approvals)

    def _floors(self, order: Order) -> Mapping[str, int]:
        """Return the CRL numbers above which numbers go on."""
        floors = dict(order.imports.floors)
        if order.marks is not None:
            for name, number in (*order.marks.position.crls.items(), *order.marks.reserved.items()):
                floors[name] = max(floors.get(name, 0), number)
            return floors
        issuers = floors.keys() | read_position(self._connection).crls.keys()
        return {name: max(floors.get(name, 0), self.latest_crl_number(name)) + UNKNOWN_JUMP for name in sorted(issuers)}

    def _newest_shards(self, order: Order) -> Mapping[str, int]:
        """Return the newest shard of each issuer that a CRL, a number of one or a lost certificate tells of."""
        told = [(one.issuer, one.shard) for one in order.imports.certificates]
        told += [(one.issuer, one.shard) for one in order.imports.revocations]
        told += [(crl_issuer(name), crl_shard(name)) for name in self._floors(order)]
        return {issuer: max(shard for name, shard in told if name == issuer) for issuer in {name for name, _ in told}}

    def _count(self, query: Executable, values: Mapping[str, Any]) -> int:
        row = self._connection.first(query, values)
        return 0 if row is None else int(row[0])


@attrs.frozen
class _Done:
    """The first step's result, kept in the store until the last step."""

    marks: Marks
    recovered: Recovered

    def to_json(self) -> str:
        return json.dumps(
            {
                "pair": self.marks.pair,
                "reserved": dict(self.marks.reserved),
                "recovered": attrs.asdict(self.recovered),
            }
        )

    @classmethod
    def from_json(cls, text: str) -> "_Done":
        fields = json.loads(text)
        return cls(Marks(fields["pair"], reserved=fields["reserved"]), Recovered(**fields["recovered"]))


def _lost_values(lost: LostCertificate, now: datetime) -> dict[str, Any]:
    state = CertificateState.RESERVED if lost.der is None else CertificateState.ISSUED
    return {
        "issuer": lost.issuer,
        "serial": serial_text(lost.serial),
        "state": state.value,
        "profile": lost.profile,
        "subject": lost.subject,
        "subject_folded": fold(lost.subject),
        "names": to_json(list(lost.names)),
        # Where its key is not known, what stands here is no key's digest.
        "public_key": lost.public_key or hashlib.sha256(f"{lost.issuer} {lost.serial:x}".encode()).digest(),
        "not_before": time_text(lost.not_before or lost.issued),
        "not_after": time_text(lost.not_after),
        "created": time_text(now),
        "der": lost.der,
        "issued": None if lost.der is None else time_text(lost.issued),
        "shard": lost.shard,
    }

"""Going on from a store that is older than what was published since: what was lost, what comes back, and doing it."""

from collections.abc import Mapping
from pathlib import Path

import attrs
from cryptography import x509

from scepd.admin.lost_audit import LostAudit, read_lost_audit
from scepd.admin.lost_certificates import read_lost_certificates
from scepd.admin.lost_crls import LostCrls, read_lost_crls
from scepd.observe.seal_file import SealFile
from scepd.observe.signature import AuditKeys
from scepd.records import Imports, Recovered
from scepd.refusal import Unavailable
from scepd.store.marks import MarkFile, Marks
from scepd.store.position import Position
from scepd.store.read_only import Standstill
from scepd.store.recovery import Order
from scepd.store.repository import Repository


@attrs.frozen(kw_only=True)
class Evidence:
    """Where to look for what was lost.

    `marks` is the directory of marks and published CRLs. `issuers` are certificates (DER) by name. `seals` is the file of seals, None where nothing is sealed.
    `replayable` are profiles whose spent credentials the store alone knew and cannot end: signed challenges.
    """

    marks: Path
    node: str
    issuers: Mapping[str, bytes]
    crls: tuple[Path, ...] = ()
    certificates: tuple[Path, ...] = ()
    audit_log: Path | None = None
    audit_keys: AuditKeys | None = None
    seals: Path | None = None
    replayable: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class Plan:
    """What a recovery would do; `marks` None: they are lost, and numbers jump far ahead."""

    standstill: Standstill
    marks: Marks | None
    lost: tuple[str, ...]
    audit: LostAudit
    crls: LostCrls
    imports: Imports
    ends: Recovered

    def order(self, who: str, node: str, *, keep_challenges: bool, keep_tokens: bool) -> Order:
        """Return what the store is told to do."""
        return Order(
            who=who,
            node=node,
            marks=self.marks,
            rows=tuple(self.audit.rows),
            imports=self.imports if not keep_challenges else attrs.evolve(self.imports, switch_off=self._off_before),
            keep_challenges=keep_challenges,
            keep_tokens=keep_tokens,
        )

    @property
    def _off_before(self) -> tuple[str, ...]:
        return tuple(sorted(self.audit.profiles_off))


def make_plan(repository: Repository, evidence: Evidence) -> Plan | None:
    """Return what a recovery would do; None for a store that is not behind its marks.

    A store that is behind is made read-only, as a start would. Raises `OperatorError`, `Unavailable`.
    """
    file = MarkFile.within(evidence.marks, evidence.seals)
    found = repository.settle(file, evidence.node)
    if found is None:
        return None
    marks, lost = _known_marks(repository, file, evidence)
    ends = {name: x509.load_der_x509_certificate(der).not_valid_after_utc for name, der in evidence.issuers.items()}
    audit = LostAudit(ends)
    if evidence.audit_log is not None:
        kept, known = repository.position().audit, {} if marks is None else marks.position.audit
        audit = read_lost_audit(evidence.audit_log, evidence.audit_keys, kept, known, ends)
    crls = read_lost_crls(evidence.marks, evidence.crls, evidence.issuers)
    revocations = {(one.issuer, one.entry.serial): one for one in crls.revocations(repository, evidence.issuers)}
    certificates = read_lost_certificates(evidence.certificates, evidence.issuers, audit.certificates)
    return Plan(
        standstill=found,
        marks=marks,
        lost=lost,
        audit=audit,
        crls=crls,
        imports=Imports(
            certificates=tuple(certificates.values()),
            revocations=tuple({**revocations, **audit.revocations}.values()),
            crls=tuple(crls.crls.values()),
            floors=crls.floors,
            ends=ends,
            switch_off=tuple(sorted({*evidence.replayable, *audit.profiles_off})),
        ),
        ends=repository.spendable(),
    )


def carry_out(repository: Repository, evidence: Evidence, order: Order) -> Recovered:
    """Recover; raises `OperatorError` where there is nothing to recover, `Unavailable`."""
    file = MarkFile.within(evidence.marks, evidence.seals)
    return repository.recover(order, file, before_writing=lambda: _put_seals_aside(repository, evidence))


def _known_marks(repository: Repository, file: MarkFile, evidence: Evidence) -> tuple[Marks | None, tuple[str, ...]]:
    """Return the marks, with the ends of the chains that the newest seal signed, and what the store lacks beside them."""
    comparison = repository.compare(file, evidence.node)
    if comparison.marks is None:
        return None, ()
    position = comparison.marks.position.above(Position(audit=file.sealed()))
    return attrs.evolve(comparison.marks, position=position), comparison.lost


def _put_seals_aside(repository: Repository, evidence: Evidence) -> None:
    """Keep the file of seals as evidence where it knows more than the store: a new one begins with the store's."""
    if evidence.seals is None:
        return
    try:
        newest, kept = SealFile(evidence.seals).newest(), repository.newest_seal()
        if newest is None or newest == kept or (kept is not None and newest.number < kept.number):
            return
    except Unavailable:
        pass  # no seal at its end: the file is evidence all the same
    aside = evidence.seals.with_name(f"{evidence.seals.name}.lost-{repository.now():%Y%m%dT%H%M%SZ}")
    try:
        evidence.seals.rename(aside)
    except FileNotFoundError:
        return
    except OSError as error:
        raise Unavailable(f"{evidence.seals} cannot be put aside: {error.strerror}") from error

"""The audit trail as JSON lines: a first line that says what it is, rows and seals in the order of verifying, a last line."""

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

import attrs

from scepd.observe.audit import AuditRow, Head, as_record
from scepd.observe.damage import Damage
from scepd.observe.seal import Seal, parse_seal
from scepd.observe.trail import Entry, Unreadable
from scepd.records import to_json

_FORMAT, _VERSION = "scepd-audit-trail", 1
_AGAIN = "scepd audit export again, or another copy of it"


def export_lines(entries: Iterable[Entry], heads: Mapping[str, Head]) -> Iterator[str]:
    """Yield the lines of an export; what cannot be read is said in its place, so that verifying finds it."""
    yield to_json({"format": _FORMAT, "version": _VERSION})
    for entry in entries:
        match entry:
            case AuditRow():
                row = {**as_record(entry), "previous": entry.previous.hex(), "hash": entry.hash.hex()}
                yield to_json({"row": row})
            case Seal():
                yield f'{{"seal":{entry.to_json()}}}'
            case Unreadable():
                yield to_json({"unreadable": {**attrs.asdict(entry), "sequence": str(entry.sequence)}})
            case Damage():
                yield to_json({"damage": dict(entry.as_json())})
    yield to_json({"heads": {owner: [head.sequence, head.hash.hex()] for owner, head in heads.items()}})


@attrs.define
class Export:
    """The lines of an export, read once; `heads` and `complete` are known after the last entry."""

    lines: Iterable[str | bytes]
    heads: dict[str, Head] = attrs.field(factory=dict)
    complete: bool = False

    def entries(self) -> Iterator[Entry]:
        """Yield rows and seals; a line that is none of them as what is wrong with it."""
        number = 0
        for number, line in enumerate(self.lines, 1):
            if self.complete:
                yield Damage(f"export line {number}", "follows the last line of an export", _AGAIN)
                return
            try:
                entry = self._entry(json.loads(line), first=number == 1)
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                yield Damage(f"export line {number}", f"cannot be read: {type(error).__name__} {error}", _AGAIN)
            else:
                if entry is not None:
                    yield entry
        if not self.complete:
            yield Damage(f"export line {number + 1}", "is missing: the export was cut off", _AGAIN)

    def _entry(self, fields: Mapping[str, Any], *, first: bool) -> Entry | None:
        if first:
            if (fields["format"], fields["version"]) != (_FORMAT, _VERSION):
                raise ValueError("no export of an audit trail begins like this")
            return None
        match list(fields):
            case ["row"]:
                return _row(fields["row"])
            case ["seal"]:
                return parse_seal(json.dumps(fields["seal"]))
            case ["unreadable"]:
                return Unreadable(**fields["unreadable"])
            case ["damage"]:
                damage = fields["damage"]
                return Damage(damage["where"], damage["what"], damage["try"])
            case ["heads"]:
                heads = fields["heads"].items()
                self.heads = {owner: Head(int(at), bytes.fromhex(digest)) for owner, (at, digest) in heads}
                self.complete = True
                return None
        raise ValueError(f"holds {', '.join(fields)}")


def _row(fields: Mapping[str, Any]) -> AuditRow:
    row = AuditRow(
        owner=fields["owner"],
        sequence=fields["sequence"],
        at=datetime.fromisoformat(fields["at"]),
        action=fields["action"],
        actor=fields["actor"],
        target=fields["target"],
        details=fields["details"],
        previous=bytes.fromhex(fields["previous"]),
        hash=bytes.fromhex(fields["hash"]),
    )
    if type(row.sequence) is not int or as_record(row)["at"] != fields["at"]:
        raise ValueError("a field is written otherwise than it is hashed")
    return row

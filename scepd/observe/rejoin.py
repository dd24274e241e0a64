"""Where a chain goes on after an older store was restored: a `recovered` row after a gap, linked to the last row lost."""

import json
from typing import Any

from scepd.observe.audit import GENESIS, Action, AuditRow, Head, as_record, link

# How far a number jumps where nobody knows how far it had come.
UNKNOWN_JUMP = 1_000_000

_START = Head(0, GENESIS)


def rejoin_details(kept: Head | None, lost: Head | None) -> tuple[dict[str, Any], bytes, int]:
    """Return what the row says, the hash that it links to, and the number of the row that it follows.

    `kept` is the end that the restored store has, `lost` the end that the chain had; None where nobody knows.
    """
    end = kept or _START
    details = {"kept": _written(end), "lost": None if lost is None else _written(lost)}
    follows = lost or end
    return details, follows.hash, follows.sequence


def is_rejoined(row: AuditRow, before: Head) -> bool:
    """Return whether a row that follows a gap says truly what it follows: the row before it, and the lost one it links to.

    Whoever writes such a row by hand hides nothing: seals signed what is missing, and the row itself tells of it.
    """
    if row.action != Action.recovered.value or link(row.previous, as_record(row)) != row.hash:
        return False
    try:
        details = json.loads(row.details)
        kept, lost = details["kept"], details["lost"]
        if kept != _written(before):
            return False
        if lost is None:
            return row.previous == before.hash and row.sequence == before.sequence + UNKNOWN_JUMP
        return bool(lost == [row.sequence - 1, row.previous.hex()] and lost[0] > before.sequence)
    except (ValueError, KeyError, TypeError):
        return False


def _written(head: Head) -> list[Any]:
    return [head.sequence, head.hash.hex()]

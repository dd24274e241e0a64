"""Taking over what a node that is gone had begun to issue: its stored drafts are signed by another node."""

from collections.abc import Sequence

from sqlalchemy import bindparam, update

from scepd.observe.audit import Action
from scepd.records import Transaction, TransactionState
from scepd.store import statements as sql
from scepd.store.ledger import Act, transaction_target
from scepd.store.rows import time_text, transaction_of
from scepd.store.schema import TRANSACTION
from scepd.store.writer import Writer

_T = TRANSACTION.c
_ADOPTED = "adopted"  # no slot has this name

_ADOPT = (
    update(TRANSACTION)
    .where(_T.id == bindparam("number"), _T.state == TransactionState.ISSUING.value)
    .values(owner=bindparam("new_owner"), updated=bindparam("now"))
)


def adopted_owner(node: str) -> str:
    """Return the owner of what a node has adopted, until one of its lanes has finished it."""
    return f"{node}/{_ADOPTED}"


class Adoptions(Writer):
    """The act about transactions of other nodes."""

    def adopt(self, node: str, *, who: str) -> Sequence[Transaction]:
        """Give the ISSUING transactions of another node to this one, whose worker finishes them; return them as found.

        Where that node lives after all no harm is done: both sign the same draft, and the store keeps the first result.
        """
        mine = self.owner.rpartition("/")[0]
        if node == mine:
            return []
        with self._act("adopt") as now:
            rows = map(transaction_of, self._connection.rows(sql.UNFINISHED_OF_ALL))
            orphans = [row for row in rows if row.owner.startswith(f"{node}/")]
            for orphan in orphans:
                values = {"number": orphan.id, "new_owner": adopted_owner(mine), "now": time_text(now)}
                self._connection.change(_ADOPT, values)
                details = {"from": orphan.owner, "by": adopted_owner(mine)}
                self._note(Act(Action.transaction_adopted, who, transaction_target(orphan.id), details), now)
        return orphans

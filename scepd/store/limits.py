"""Asking whether a profile's limits would let an intent in, without claiming anything."""

from datetime import datetime

from scepd.records import Intent
from scepd.store.lineage import holder_of, require_free_key, require_free_subject
from scepd.store.reader import Reader


class Limits(Reader):
    """The limits that `Repository.claim` keeps, read only."""

    def judge_limits(self, intent: Intent, now: datetime) -> None:
        """Raise Reject(name_taken, key_taken, identity_limit) as a claim of the intent would."""
        if intent.unique_subject:
            require_free_subject(self._connection, intent, now)
        if intent.unique_key:
            require_free_key(self._connection, intent, now)
        if intent.most_active is not None:
            holder_of(self._connection, intent, intent.most_active, now)

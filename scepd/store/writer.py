"""Write transactions with their audit rows: the frame of every act, and the acts that are no enrolment."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

from sqlalchemy import Engine, Executable

from scepd.observe.audit import Action
from scepd.ports import Clock
from scepd.records import Challenge, ChallengeState, Refusal, to_json
from scepd.refusal import OperatorError
from scepd.store import statements as sql
from scepd.store.engines import NO_VALUES, Conflict, StoreConnection, Values
from scepd.store.ledger import Act, Ledger
from scepd.store.read_only import HARMLESS, require_writable
from scepd.store.reader import Reader
from scepd.store.rows import time_text
from scepd.store.values import refusal_values
from scepd.store.version import require_current

REFUSALS_KEPT = 10_000

Checkpoint = Callable[[str], None]


def _no_checkpoint(_name: str) -> None:
    return


class Writer(Reader):
    """Reads and writes over one connection, for one thread.

    `owner` is "node/slot": it names this writer's audit chain and the transactions that it must finish.
    `checkpoint` is called at named points ("claim.before_commit", "claim.after_commit", ...) so that a test can
    stop the process there.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        owner: str,
        clock: Clock,
        checkpoint: Checkpoint = _no_checkpoint,
        refusals_kept: int = REFUSALS_KEPT,
    ) -> None:
        """Open the connection; OperatorError where the tables are not those of this program."""
        super().__init__(StoreConnection(engine))
        self.owner = owner
        self._clock = clock
        self._checkpoint = checkpoint
        self._refusals_kept = refusals_kept
        self._ledger = Ledger(self._connection, owner)
        try:
            require_current(self._connection)
        except BaseException:
            self._connection.close()
            raise

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def refused(self, refusals: Sequence[Refusal]) -> None:
        """Append to the bounded table of refusals; the oldest beyond its size go. Subject and detail are cut to 1,000 characters."""
        if not refusals:
            return
        with self._act("refused"):
            for refusal in refusals:
                self._connection.change(sql.ADD_REFUSAL, refusal_values(refusal))
            newest = self._connection.first(sql.NEWEST_REFUSAL)
            last = (newest[0] if newest is not None else 0) - self._refusals_kept
            self._connection.change(sql.TRIM_REFUSALS, {"last": last})

    def add_challenge(  # noqa: PLR0913 - one argument for each thing that binds a challenge
        self,
        profile: str,
        digest: bytes,
        *,
        expires: datetime,
        created_by: str,
        common_name: str | None = None,
        names: Sequence[str] = (),
        subject: str | None = None,
        key_type: str | None = None,
        uses: int = 1,
        sealed: bytes | None = None,
    ) -> Challenge:
        """Store a one-time challenge by its keyed digest; `names` as "dns:host", empty for no binding.

        `subject` is a whole one (RFC 4514), `key_type` as `challenge.requested` names keys; None for no binding.

        `sealed` is its text under the store key, for profiles that take password encryption.
        """
        values = {
            "profile": profile,
            "digest": digest,
            "common_name": common_name,
            "names": to_json(list(names)),
            "subject": subject,
            "key_type": key_type,
            "expires": time_text(expires),
            "uses": uses,
        }
        with self._act("add_challenge") as now:
            row = {
                **values,
                "uses_left": uses,
                "state": ChallengeState.FREE.value,
                "created": time_text(now),
                "created_by": created_by,
                "sealed": sealed,
            }
            try:
                number = self._add(sql.ADD_CHALLENGE, row)
            except Conflict as error:
                raise OperatorError("this challenge exists already", f"scepd challenge new {profile}") from error
            details = {name: value for name, value in values.items() if name != "digest"}
            self._note(Act(Action.challenge_added, created_by, f"challenge {number}", details), now)
        return Challenge(
            id=number,
            profile=profile,
            digest=digest,
            common_name=common_name,
            names=tuple(names),
            expires=expires,
            uses=uses,
            uses_left=uses,
            state=ChallengeState.FREE,
            created=now,
            created_by=created_by,
            sealed=sealed,
            subject=subject,
            key_type=key_type,
        )

    def cancel_challenge(self, number: int, *, cancelled_by: str) -> bool:
        """Let a challenge that is not spent be used no more; return whether this call did it."""
        with self._act("cancel_challenge") as now:
            cancelled = self._connection.change(sql.CANCEL_CHALLENGE, {"number": number}) == 1
            if cancelled:
                self._note(Act(Action.challenge_cancelled, cancelled_by, f"challenge {number}", {}), now)
        return cancelled

    @contextmanager
    def _act(self, name: str) -> Iterator[datetime]:
        """Make one write transaction of the block; its time is taken under the lock, so that a chain's times are in order.

        Raises `ReadOnly` where the store is behind its marks (threats S-105).
        """
        with self._connection.write():
            if name not in HARMLESS:
                require_writable(self._connection)
            yield self._clock.now()
            self._checkpoint(f"{name}.before_commit")
        self._checkpoint(f"{name}.after_commit")

    def _note(self, act: Act, now: datetime) -> None:
        self._ledger.append(act, now)

    def _announce(self) -> None:
        """Tell every process that something was decided, revoked or published (`Reader.generation`)."""
        self._connection.change(sql.NEXT_GENERATION, NO_VALUES)

    def _add(self, statement: Executable, values: Values) -> int:
        row = self._connection.first(statement, values)
        assert row is not None  # an INSERT ... RETURNING id
        return int(row[0])

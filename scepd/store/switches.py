"""Profiles that a person switched off at run time, and the tokens with which other systems have challenges made."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import attrs
from sqlalchemy import bindparam, delete, insert, or_, select, update

from scepd.observe.audit import Action
from scepd.records import Token, to_json
from scepd.refusal import OperatorError
from scepd.store.access_rows import SELECT_TOKEN, token_of
from scepd.store.access_tables import DISABLED_PROFILE, TOKEN
from scepd.store.engines import Conflict
from scepd.store.ledger import Act
from scepd.store.rows import time_text
from scepd.store.writer import Writer

_D, _K = DISABLED_PROFILE.c, TOKEN.c
_MINUTE = timedelta(minutes=1)

_DISABLED = select(_D.name)
_DISABLE = insert(DISABLED_PROFILE)
_ENABLE = delete(DISABLED_PROFILE).where(_D.name == bindparam("profile"))
_ENABLE_OWN = _ENABLE.where(_D.disabled_by == bindparam("who"))
_TAKE_OVER = (
    update(DISABLED_PROFILE)
    .where(_D.name == bindparam("profile"), _D.disabled_by != bindparam("who"))
    .values(since=bindparam("now"), disabled_by=bindparam("who"))
)
_ADD_TOKEN = insert(TOKEN).returning(_K.id)
_TOKEN_BY_DIGEST = SELECT_TOKEN.where(_K.digest == bindparam("presented"))
_DUE = select(_K.due, _K.per_minute).where(
    _K.id == bindparam("number"),
    _K.revoked.is_(None),
    or_(_K.left.is_(None), _K.left > 0),
    or_(_K.expires.is_(None), _K.expires > bindparam("now")),
)
_TAKE = update(TOKEN).where(_K.id == bindparam("number")).values(due=bindparam("new_due"), left=_K.left - 1)
_REVOKE = update(TOKEN).where(_K.name == bindparam("called"), _K.revoked.is_(None)).values(revoked=bindparam("now"))


class Switches(Writer):
    """Which profiles are off, and what the generator's callers present."""

    def disabled_profiles(self) -> frozenset[str]:
        """Return the profiles that are switched off."""
        return frozenset(row[0] for row in self._connection.rows(_DISABLED))

    def switch_profile(self, name: str, *, enabled: bool, who: str, only_own: bool = False) -> bool:
        """Switch a profile on or off and let every process know; return whether that changed anything.

        What is off is off by the word of whoever said so last: with `only_own` (of somebody who has a part of the
        service) what another person switched off stays theirs, and stays off (threats S-09).
        """
        with self._act("switch_profile") as now:
            changed = self._enable(name, who, only_own) if enabled else self._disable(name, who, now, only_own)
            if changed:
                action = Action.profile_enabled if enabled else Action.profile_disabled
                self._note(Act(action, who, f"profile {name}", {}), now)
                self._announce()
        return changed

    def _enable(self, name: str, who: str, only_own: bool) -> bool:
        if only_own:
            return self._connection.change(_ENABLE_OWN, {"profile": name, "who": who}) == 1
        return self._connection.change(_ENABLE, {"profile": name}) == 1

    def _disable(self, name: str, who: str, now: datetime, only_own: bool) -> bool:
        since = time_text(now)
        if not only_own and self._connection.change(_TAKE_OVER, {"profile": name, "who": who, "now": since}):
            return True
        try:
            self._connection.change(_DISABLE, {"name": name, "since": since, "disabled_by": who})
        except Conflict:
            return False
        return True

    def add_token(self, token: Token) -> Token:
        """Store a token by its keyed digest; number and time are the store's. OperatorError where its name is taken."""
        row = {
            "name": token.name,
            "digest": token.digest,
            "profiles": to_json(list(token.profiles)),
            "pattern": token.pattern,
            "per_minute": token.per_minute,
            "left": token.left,
            "expires": None if token.expires is None else time_text(token.expires),
            "created_by": token.created_by,
        }
        with self._act("add_token") as now:
            try:
                number = self._add(_ADD_TOKEN, {**row, "created": time_text(now)})
            except Conflict as error:
                raise OperatorError(f"there is a token {token.name!r} already", "scepd challenge token list") from error
            details = {name: value for name, value in row.items() if name != "digest"}
            self._note(Act(Action.token_added, token.created_by, f"token {number}", details), now)
        return attrs.evolve(token, id=number, created=now)

    def find_token(self, digest: bytes) -> Token | None:
        """Return the token with that keyed digest, whatever became of it."""
        row = self._connection.first(_TOKEN_BY_DIGEST, {"presented": digest})
        return token_of(row) if row is not None else None

    def token(self, name: str) -> Token | None:
        """Return the token of that name."""
        found = self._connection.query(SELECT_TOKEN.where(_K.name == name))
        return token_of(found[0]) if found else None

    def tokens(self, limit: int = 100, *, below: int | None = None) -> Sequence[Token]:
        """Return the tokens, newest first; `below`: of those with a smaller number."""
        found = SELECT_TOKEN if below is None else SELECT_TOKEN.where(_K.id < below)
        return [token_of(row) for row in self._connection.query(found.order_by(_K.id.desc()).limit(limit))]

    def take_token(self, number: int) -> float | None:
        """Count one use of a token: 0.0 when it may pass, the seconds until it may, None when it is over for good.

        The rate is kept in the store, so that all processes share it: as many at once as it has a minute, then one per
        interval (GCRA). A use that is refused costs nothing.
        """
        with self._act("take_token") as now:
            row = self._connection.first(_DUE, {"number": number, "now": time_text(now)})
            if row is None:
                return None
            interval: timedelta = _MINUTE / row[1]
            due = max(now, datetime.fromisoformat(row[0])) if row[0] else now
            wait = (due - (_MINUTE - interval) - now).total_seconds()
            if wait > 0:
                return wait
            self._connection.change(_TAKE, {"number": number, "new_due": time_text(due + interval)})
        return 0.0

    def revoke_token(self, name: str, *, who: str) -> bool:
        """Let a token be used no more; return whether this call did it."""
        with self._act("revoke_token") as now:
            done = self._connection.change(_REVOKE, {"called": name, "now": time_text(now)}) == 1
            if done:
                self._note(Act(Action.token_revoked, who, f"token {name}", {}), now)
        return done

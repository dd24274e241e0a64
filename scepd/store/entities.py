"""The register of end entities: entering, resetting, removing, and counting wrong codes."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import attrs
from sqlalchemy import bindparam, delete, select, update

from scepd.observe.audit import Action
from scepd.records import Entity, EntityState, to_json
from scepd.records.credentials import TRY_EVERY
from scepd.refusal import OperatorError
from scepd.store.access_rows import SELECT_ENTITY, entity_of
from scepd.store.access_tables import ENTITY
from scepd.store.engines import Conflict
from scepd.store.entity_use import ADD_ENTITY, ENTITY_BY_NAME, ENTITY_BY_NUMBER
from scepd.store.ledger import Act
from scepd.store.rows import time_text
from scepd.store.writer import Writer

_E = ENTITY.c

_at_rest = (_E.id == bindparam("number"), _E.state != EntityState.RESERVED.value)
_RESET = (
    update(ENTITY)
    .where(*_at_rest)
    .values(
        state=EntityState.NEW.value,
        digest=bindparam("new_digest"),
        tries_left=bindparam("new_tries"),
        expires=bindparam("new_expires"),
        updated=bindparam("now"),
        transaction=bindparam("nobody"),
        spent_by=bindparam("nobody"),
    )
)
_REMOVE = delete(ENTITY).where(*_at_rest)
_SET_TRIES = (
    update(ENTITY)
    .where(_E.id == bindparam("number"), _E.state == EntityState.NEW.value)
    .values(tries_left=bindparam("tries"), updated=bindparam("at"))
)


@attrs.frozen
class Code:
    """How an entity proves itself: the keyed digest of its code, until when, how many wrong ones slow it (None: none do)."""

    digest: bytes
    expires: datetime | None
    tries: int | None


@attrs.frozen
class NewEntity:
    """An entity to be entered."""

    username: str
    code: Code
    attributes: tuple[tuple[str, str], ...] = ()
    names: tuple[str, ...] = ()


class EntityExists(OperatorError):  # noqa: N818 - an answer of the API
    """That common name is in the register of the profile already."""


class Entities(Writer):
    """The acts about end entities; those of the enrolment path are in `entity_use`."""

    def find_entity(self, profile: str, username: str) -> Entity | None:
        """Return the entity of that common name in that profile, whatever its state."""
        row = self._connection.first(ENTITY_BY_NAME, {"profile": profile, "username": username})
        return entity_of(row) if row is not None else None

    def entity(self, number: int) -> Entity | None:
        """Return one entity by its row number."""
        row = self._connection.first(ENTITY_BY_NUMBER, {"number": number})
        return entity_of(row) if row is not None else None

    def entities(
        self, *, profile: str | None = None, state: EntityState | None = None, limit: int = 100
    ) -> Sequence[Entity]:
        """Return entities, newest first."""
        query = SELECT_ENTITY.order_by(_E.id.desc()).limit(limit)
        if profile is not None:
            query = query.where(_E.profile == profile)
        if state is not None:
            query = query.where(_E.state == state.value)
        return [entity_of(row) for row in self._connection.query(query)]

    def entity_names(self, profile: str) -> frozenset[str]:
        """Return the common names that are in the register of a profile."""
        query = select(_E.username).where(_E.profile == profile)
        return frozenset(row[0] for row in self._connection.query(query))

    def add_entities(self, profile: str, new: Iterable[NewEntity], *, who: str) -> Sequence[int]:
        """Enter entities in one write transaction, all or none; return their row numbers. Raises `EntityExists`."""
        numbers = []
        with self._act("add_entities") as now:
            for entity in new:
                try:
                    numbers.append(self._add(ADD_ENTITY, _row(profile, entity, who=who, now=now)))
                except Conflict as error:
                    hint = f"scepd entity list --profile {profile}"
                    raise EntityExists(f"there is an entity {entity.username!r} in {profile} already", hint) from error
                details = {"profile": profile, "username": entity.username, "names": list(entity.names)}
                self._note(Act(Action.entity_added, who, f"entity {numbers[-1]}", details), now)
        return numbers

    def reset_entity(self, number: int, code: Code, *, who: str) -> bool:
        """Let an entity enrol (again) with a new code; False where it is gone, or a request of it is under way."""
        with self._act("reset_entity") as now:
            values = {
                "number": number,
                "new_digest": code.digest,
                "new_tries": code.tries,
                "new_expires": None if code.expires is None else time_text(code.expires),
                "now": time_text(now),
                "nobody": None,
            }
            done = self._connection.change(_RESET, values) == 1
            if done:
                self._note(Act(Action.entity_reset, who, f"entity {number}", {}), now)
        return done

    def remove_entity(self, number: int, *, who: str) -> bool:
        """Take an entity out of the register; False where it is gone, or a request of it is under way.

        Its certificates stay what they are.
        """
        with self._act("remove_entity") as now:
            found = self.entity(number)
            done = self._connection.change(_REMOVE, {"number": number}) == 1
            if done and found is not None:
                details = {"profile": found.profile, "username": found.username}
                self._note(Act(Action.entity_removed, who, f"entity {number}", details), now)
        return done

    def count_wrong_codes(self, wrong: Mapping[int, int]) -> Sequence[int]:
        """Count wrong codes by entity, all in one write transaction; return those that are slowed by it.

        A slowed one has a try each time that `TRY_EVERY` has passed, whoever uses it; it is told of once.
        """
        slowed: list[int] = []
        if not wrong:
            return slowed
        with self._act("count_wrong_codes") as now:
            for number, count in wrong.items():
                before = self.entity(number)
                if before is not None and self._count_wrong(before, count, now):
                    slowed.append(number)
                    self._note(Act(Action.entity_slowed, self.owner, f"entity {number}", {"wrong": count}), now)
        return slowed

    def _count_wrong(self, entity: Entity, count: int, now: datetime) -> bool:
        """Take tries from an entity; return whether these were the last of them."""
        tries = entity.tries_at(now)
        if tries is None or entity.state is not EntityState.NEW:
            return False
        left = max(tries - count, 0)
        # The part of a try that was earned stays; a clock that went back earns nothing.
        earned = max(now - entity.updated, timedelta()) % TRY_EVERY
        values = {"number": entity.id, "tries": left, "at": time_text(now - earned)}
        return self._connection.change(_SET_TRIES, values) == 1 and left == 0 and entity.tries_left != 0


def _row(profile: str, entity: NewEntity, *, who: str, now: datetime) -> dict[str, Any]:
    moment, code = time_text(now), entity.code
    return {
        "profile": profile,
        "username": entity.username,
        "state": EntityState.NEW.value,
        "digest": code.digest,
        "attributes": to_json([list(pair) for pair in entity.attributes]),
        "names": to_json(list(entity.names)),
        "tries_left": code.tries,
        "expires": None if code.expires is None else time_text(code.expires),
        "created": moment,
        "created_by": who,
        "updated": moment,
    }

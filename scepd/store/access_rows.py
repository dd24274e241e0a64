"""Rows to records for the tables of who may enrol."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Select, select

from scepd.records import Entity, EntityState, Token
from scepd.store.access_tables import ENTITY, TOKEN

SELECT_ENTITY: Select[Any] = select(*ENTITY.c)
SELECT_TOKEN: Select[Any] = select(*[column for column in TOKEN.c if column.name != "due"])


def entity_of(row: Sequence[Any]) -> Entity:
    """Return the record of a SELECT_ENTITY row."""
    number, profile, username, state, digest, attributes, names, tries_left, expires, *row = row
    created, created_by, updated, transaction, spent_by = row
    return Entity(
        id=number,
        profile=profile,
        username=username,
        state=EntityState(state),
        digest=digest,
        attributes=tuple((word, value) for word, value in json.loads(attributes)),
        names=tuple(json.loads(names)),
        tries_left=tries_left,
        expires=_moment(expires),
        created=datetime.fromisoformat(created),
        created_by=created_by,
        updated=datetime.fromisoformat(updated),
        transaction=transaction,
        spent_by=spent_by,
    )


def token_of(row: Sequence[Any]) -> Token:
    """Return the record of a SELECT_TOKEN row."""
    number, name, digest, profiles, pattern, per_minute, left, expires, created, created_by, revoked = row
    return Token(
        id=number,
        name=name,
        digest=digest,
        profiles=tuple(json.loads(profiles)),
        pattern=pattern,
        per_minute=per_minute,
        left=left,
        expires=_moment(expires),
        created=datetime.fromisoformat(created),
        created_by=created_by,
        revoked=_moment(revoked),
    )


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None

"""Taking an end entity and settling it: NEW → RESERVED → GENERATED, or NEW again, with the claim that it stands for."""

from datetime import datetime
from typing import Any

from sqlalchemy import Select, bindparam, case, insert, literal_column, null, or_, update
from sqlalchemy.dialects.sqlite import insert as upsert

from scepd.records import Entity, EntityState, Intent, Petition, Transaction, to_json
from scepd.refusal import Reason, Reject
from scepd.store.access_rows import SELECT_ENTITY, entity_of
from scepd.store.access_tables import ENTITY
from scepd.store.engines import StoreConnection
from scepd.store.rows import SELECT_TRANSACTION, time_text, transaction_of
from scepd.store.schema import TRANSACTION

METHOD = "entity"  # of the identities that are taken and settled here
_E, _T = ENTITY.c, TRANSACTION.c

ENTITY_BY_NUMBER: Select[Any] = SELECT_ENTITY.where(_E.id == bindparam("number"))
ENTITY_BY_NAME: Select[Any] = SELECT_ENTITY.where(
    _E.profile == bindparam("profile"), _E.username == bindparam("username")
)
ADD_ENTITY = insert(ENTITY).returning(_E.id)

_RESERVE = (
    update(ENTITY)
    .where(
        _E.id == bindparam("number"),
        _E.profile == bindparam("in_profile"),
        _E.state == EntityState.NEW.value,
        or_(_E.expires.is_(None), _E.expires > bindparam("now")),
    )
    .values(
        state=EntityState.RESERVED.value,
        transaction=bindparam("taker"),
        spent_by=bindparam("taker_key"),
        updated=bindparam("now"),
    )
)
_new = upsert(ENTITY)
_FROM_REQUEST = ("state", "attributes", "names", "updated", "transaction", "spent_by")
_OF_CODE = ("digest", "tries_left", "expires")
_REGISTER = _new.on_conflict_do_update(
    index_elements=[_E.profile, _E.username],
    set_={name: _new.excluded[name] for name in _FROM_REQUEST}
    # A code that was spent goes for good: where this request is given up, the entity is NEW again.
    | {name: case((_E.state == EntityState.NEW.value, _E[name]), else_=null()) for name in _OF_CODE},
)
# A transaction that was given up, or another's request that came later, has no row here any more.
_of_transaction = (_E.transaction == bindparam("number"), _E.state == EntityState.RESERVED.value)
_GENERATE = update(ENTITY).where(*_of_transaction).values(state=EntityState.GENERATED.value, updated=bindparam("now"))
_FREE = (
    update(ENTITY)
    .where(*_of_transaction)
    .values(
        state=EntityState.NEW.value,
        transaction=literal_column("NULL"),
        spent_by=literal_column("NULL"),
        updated=bindparam("now"),
    )
)
_REDELIVERY: Select[Any] = SELECT_TRANSACTION.join(ENTITY, _E.transaction == _T.id).where(
    _E.id == bindparam("entity"),
    _T.profile == bindparam("profile"),
    _T.requester == bindparam("requester"),
    _T.wishes == bindparam("wishes"),
    _T.turn == 0,
)


def redelivery(connection: StoreConnection, asked: Intent | Petition) -> Transaction | None:
    """Return the transaction that this very request got as that entity: same key, same wishes (C-207)."""
    values = {
        "entity": asked.identity.entity,
        "profile": asked.key.profile,
        "requester": asked.key.requester,
        "wishes": asked.wishes,
    }
    row = connection.first(_REDELIVERY, values)
    return transaction_of(row) if row is not None else None


def use(connection: StoreConnection, asked: Intent | Petition, transaction: int, now: datetime) -> None:
    """Take the identity's entity for a transaction, where it is one.

    A registered one is taken by compare-and-set, Reject(challenge_replayed, challenge_expired, challenge_invalid)
    where it cannot be. What a registration authority asks for is entered, whatever was there before.
    """
    if asked.identity.method != METHOD:
        return
    if asked.identity.entity is None:
        connection.change(_REGISTER, _registration(asked, transaction, now))
        return
    values = {
        "number": asked.identity.entity,
        "in_profile": asked.key.profile,
        "taker": transaction,
        "taker_key": asked.public_key,
        "now": time_text(now),
    }
    if connection.change(_RESERVE, values) != 1:
        row = connection.first(ENTITY_BY_NUMBER, {"number": asked.identity.entity})
        raise _refusal(entity_of(row) if row is not None else None, asked.key.profile)


def generate(connection: StoreConnection, transaction: Transaction, now: datetime) -> None:
    """Settle a reserved entity after its certificate exists."""
    if transaction.identity.method == METHOD:
        connection.change(_GENERATE, {"number": transaction.id, "now": time_text(now)})


def free(connection: StoreConnection, transaction: Transaction, now: datetime) -> None:
    """Let an entity enrol again after its transaction was given up."""
    if transaction.identity.method == METHOD:
        connection.change(_FREE, {"number": transaction.id, "now": time_text(now)})


def _registration(asked: Intent | Petition, transaction: int, now: datetime) -> dict[str, Any]:
    moment = time_text(now)
    return {
        "profile": asked.key.profile,
        "username": asked.identity.name,
        "state": EntityState.RESERVED.value,
        "attributes": to_json([list(pair) for pair in asked.identity.attributes]),
        "names": to_json(list(asked.names)),
        "created": moment,
        "created_by": "request",
        "updated": moment,
        "transaction": transaction,
        "spent_by": asked.public_key,
    }


def _refusal(entity: Entity | None, profile: str) -> Reject:
    if entity is None or entity.profile != profile:
        return Reject(Reason.challenge_invalid, "no such entity in this profile")
    if entity.state is EntityState.NEW:
        return Reject(Reason.challenge_expired, f"the code of entity {entity.id} has expired")
    return Reject(Reason.challenge_replayed, f"entity {entity.id} is {entity.state.value}")

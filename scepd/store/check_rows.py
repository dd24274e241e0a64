"""How the self-check looks at rows: a page at a time, and a row that cannot be judged is one finding, not the end."""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Column, Select

from scepd.observe.damage import Damage
from scepd.refusal import OperatorError
from scepd.store.engines import StoreConnection

_PAGE = 500

# What one row shows: none, one or more findings. A row at a time, so that a bar can count them.
Findings = list[Damage]


def pages(connection: StoreConnection, query: Select[Any], key: Column[Any]) -> Iterator[Any]:
    """Yield all rows of a query in the order of a unique column that it selects, a page at a time."""
    query = query.order_by(key).limit(_PAGE)
    page = connection.query(query)
    yield from page
    while len(page) == _PAGE:
        page = connection.query(query.where(key > getattr(page[-1], key.name)))
        yield from page


def judged(where: str, faults: Iterator[str], hint: str) -> Findings:
    """Return what is wrong with one thing; where judging it breaks off, that is a finding too."""
    found: Findings = []
    try:
        for fault in faults:  # a generator: it judges as it is asked
            found.append(Damage(where, fault, hint))
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, OperatorError) as error:
        found.append(Damage(where, f"cannot be read: {error}", hint))
    return found

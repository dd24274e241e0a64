"""JSON from outside, read so that it has one meaning: no duplicate members, no NaN, no infinity (threats S-84, S-88)."""

import json
import math
from typing import Any


class NotStrict(ValueError):  # noqa: N818 - an answer's property
    """The octets are no JSON object in UTF-8 with one meaning."""


def parse_object(octets: bytes) -> dict[str, Any]:
    """Return the JSON object that the octets are; raises `NotStrict`. The caller bounds their number."""
    try:
        value = _DECODER.decode(octets.decode("utf-8"))
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        # The text itself is not repeated: it may be a token.
        raise NotStrict(str(error) if isinstance(error, NotStrict) else "no JSON") from None
    if not isinstance(value, dict):
        raise NotStrict("no JSON object")
    return value


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise NotStrict("a member twice")
    return members


def _constant(word: str) -> Any:
    raise NotStrict(f"{word} is no JSON")


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise NotStrict("a number without bounds")
    return value


_DECODER = json.JSONDecoder(object_pairs_hook=_members, parse_constant=_constant, parse_float=_float)

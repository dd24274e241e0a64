"""Texts: secrets that do not show themselves, canonical JSON."""

import hmac
import json
from collections.abc import Mapping
from typing import Any, cast

# What json.JSONEncoder makes anew for each value, which takes longer than to encode one: sorted keys, no spaces.
_chunks = cast("Any", json.encoder).c_make_encoder(
    None, json.JSONEncoder().default, json.encoder.encode_basestring, None, ":", ",", True, False, True
)


class Secret:
    """A secret text: `repr` hides it, `==` is constant time, `reveal` is the one way to its value."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        """Keep the text."""
        self._value = value

    def reveal(self) -> str:
        """Return the secret itself."""
        return self._value

    def __repr__(self) -> str:
        """Show that there is a secret, not which."""
        return "Secret(***)"

    def __eq__(self, other: object) -> bool:
        """Compare in constant time."""
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        """Refuse hashing: a secret is no dictionary key."""
        raise TypeError("a Secret cannot be hashed")

    def __bool__(self) -> bool:
        """Return whether there is any text."""
        return bool(self._value)


def to_json(value: Mapping[str, Any] | list[Any] | tuple[Any, ...]) -> str:
    """Return canonical JSON: sorted keys, no spaces, so that equal values hash equally; TypeError for what is none."""
    return "".join(_chunks(value, 0))

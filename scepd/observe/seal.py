"""Seals of the audit trail: the ends of all its chains, signed by the audit key, each linked to the seal before it (S-124)."""

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import attrs

from scepd.observe.audit import GENESIS, Head
from scepd.observe.signature import fingerprint_of, sign
from scepd.ports import SigningKey
from scepd.records import to_json

# The first of the signed octets' fields says what they are: the audit key signs other records too.
_KIND = "scepd-audit-seal"


@attrs.frozen
class Seal:
    """The ends of all chains at a time; `previous` is the hash of the seal before it, `key` the fingerprint of the audit key."""

    number: int
    at: str  # as stored: ISO 8601 in UTC
    heads: Mapping[str, Head]
    previous: bytes
    key: str = ""
    signature: bytes = b""

    @property
    def octets(self) -> bytes:
        """What is signed: canonical JSON of everything but the signature."""
        return to_json({"kind": _KIND, **self._fields()}).encode()

    @property
    def hash(self) -> bytes:
        """What the next seal links to."""
        return hashlib.sha256(self.octets + self.signature).digest()

    def to_json(self) -> str:
        """Return the seal on one line."""
        return to_json({**self._fields(), "signature": self.signature.hex()})

    def heads_text(self) -> str:
        """Return the ends as the store keeps them: [[chain, sequence, hash], ...]."""
        return to_json(_heads_list(self.heads))

    def _fields(self) -> dict[str, Any]:
        return {
            "number": self.number,
            "at": self.at,
            "heads": _heads_list(self.heads),
            "previous": self.previous.hex(),
            "key": self.key,
        }


def next_seal(before: Seal | None, heads: Mapping[str, Head], at: str) -> Seal:
    """Return the unsigned seal that follows another, or the first one."""
    number, previous = (1, GENESIS) if before is None else (before.number + 1, before.hash)
    return Seal(number, at, heads, previous)


def sign_seal(seal: Seal, key: SigningKey) -> Seal:
    """Return the seal with the key's name and signature."""
    named = attrs.evolve(seal, key=fingerprint_of(key))
    return attrs.evolve(named, signature=sign(key, named.octets))


def parse_seal(text: str | bytes) -> Seal:
    """Return the seal of a line that `Seal.to_json` wrote. Raises ValueError."""
    try:
        fields = json.loads(text)
        return Seal(
            number=_number(fields["number"]),
            at=_parsed_time(fields["at"]),
            heads=parse_heads(fields["heads"]),
            previous=bytes.fromhex(fields["previous"]),
            key=str(fields["key"]),
            signature=bytes.fromhex(fields["signature"]),
        )
    except (KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"is no seal: {type(error).__name__} {error}") from error


def parse_heads(rows: Any) -> dict[str, Head]:
    """Return the ends of a seal's list. Raises ValueError."""
    try:
        heads = {str(owner): Head(_number(sequence), bytes.fromhex(digest)) for owner, sequence, digest in rows}
    except TypeError as error:
        raise ValueError(f"has no list of heads: {error}") from error
    if len(heads) != len(rows):
        raise ValueError("names a chain twice")
    return heads


def _heads_list(heads: Mapping[str, Head]) -> list[Any]:
    return [[owner, head.sequence, head.hash.hex()] for owner, head in sorted(heads.items())]


def _number(value: Any) -> int:
    if type(value) is not int:
        raise ValueError(f"has {value!r} where a number belongs")
    return value


def _parsed_time(value: Any) -> str:
    datetime.fromisoformat(value)
    return str(value)

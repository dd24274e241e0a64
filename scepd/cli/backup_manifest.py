"""The manifest of a backup: every file with its SHA-256, what was left out, where the store stood, which keys it needs."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from scepd.refusal import OperatorError
from scepd.store.marks import Marks
from scepd.store.marks import from_json as read_marks
from scepd.store.marks import to_json as write_marks

MANIFEST = "manifest.json"
STORE, STORE_KEY, SECRET = "store", "store-key", "secret"
_FORMAT = 1
_CHUNK = 1 << 20


@attrs.frozen
class Entry:
    """One file of the backup: its name in it, what it is, and where it comes from and belongs."""

    name: str
    role: str  # configuration | named | store | store-key | secret
    path: str
    sha256: str
    size: int


@attrs.frozen
class LeftOut:
    """One file that is needed and not in the backup, and why."""

    path: str
    role: str
    why: str


@attrs.frozen
class NeededKey:
    """One key that must be in the token: its URI, what it does, SHA-256 of its SubjectPublicKeyInfo."""

    uri: str
    role: str
    public_key: str


@attrs.frozen
class NeededToken:
    """The token that the configuration names, and its keys."""

    module: str
    label: str
    serial: str | None
    keys: tuple[NeededKey, ...]


@attrs.frozen(kw_only=True)
class Manifest:
    """What a backup holds; `marks` is where its store stood."""

    scepd: str
    schema: int
    made: str  # ISO 8601
    host: str
    node: str
    user: str
    state: str
    runtime: str
    files: tuple[Entry, ...]
    left_out: tuple[LeftOut, ...]
    token: NeededToken
    marks: Marks

    def of_role(self, role: str) -> Entry | None:
        """Return the file of a role that one file has at most."""
        return next((entry for entry in self.files if entry.role == role), None)

    @property
    def sha256(self) -> str:
        """The SHA-256 of the manifest as this release writes it, in hexadecimal."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def to_json(self) -> str:
        """Return the text of the manifest."""
        fields = attrs.asdict(self, recurse=True, filter=lambda attribute, _value: attribute.name != "marks")
        return json.dumps({"format": _FORMAT, **fields, "marks": write_marks(self.marks)}, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Manifest":
        """Read a manifest; raises `OperatorError` where it is none of this form."""
        try:
            fields = json.loads(text)
            return cls._from_fields(fields)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise OperatorError(
                f"the manifest cannot be read: {error}", "take another backup; this one is damaged or of another release"
            ) from error

    @classmethod
    def _from_fields(cls, fields: Mapping[str, Any]) -> "Manifest":
        if fields["format"] != _FORMAT:
            raise ValueError(f"format {fields['format']!r} is not known")
        plain = ("scepd", "made", "host", "node", "user", "state", "runtime")
        token = dict(fields["token"])
        keys = tuple(NeededKey(**key) for key in token.pop("keys"))
        return cls(
            **{name: str(fields[name]) for name in plain},
            schema=int(fields["schema"]),
            files=tuple(Entry(**entry) for entry in fields["files"]),
            left_out=tuple(LeftOut(**left) for left in fields["left_out"]),
            token=NeededToken(**token, keys=keys),
            marks=read_marks(fields["marks"]),
        )


def digest_of(path: Path) -> tuple[str, int]:
    """Return the SHA-256 of a file, in hexadecimal, and its length."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
    return digest.hexdigest(), size


def is_inside(name: str) -> bool:
    """Return whether a name leads to a file below the backup's own directory."""
    parts = Path(name).parts
    return bool(parts) and not Path(name).is_absolute() and ".." not in parts and name == str(Path(name))

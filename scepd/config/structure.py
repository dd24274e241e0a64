"""From TOML tables to sections: every key known, every value read, every problem noted at its place."""

import types
import typing
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

import attrs

from scepd.config.scalars import read_name
from scepd.problems import Place, Refused, suggest

T = TypeVar("T", bound=attrs.AttrsInstance)


def read_section(section: type[T], raw: object, place: Place) -> T:
    """Return a section with all that could be read; what could not keeps its default and is noted at `place`."""
    if not isinstance(raw, Mapping):
        place.problem("must be a table", f"write its keys: {', '.join(map(key_of, attrs.fields_dict(section)))}")
        return section()
    fields = {key_of(name): field for name, field in attrs.fields_dict(section).items()}
    for key in raw:
        if key not in fields:
            (place / key).problem("is not a key of this table", suggest(key, fields))
    values = {}
    for key, field in fields.items():
        if key not in raw:
            if "example" in field.metadata:
                (place / key).problem("is missing", field.metadata["example"])
            continue
        entry = raw[key]
        if field.metadata.get("single") and not isinstance(entry, list):
            entry = [entry]
        value = _read(field.type, entry, place / key)
        if value is not None:
            values[field.name] = value
    return section(**values)


def key_of(name: str) -> str:
    """Return the key of a field; one that is a word of Python, such as `from_`, ends in an underscore."""
    return name.removesuffix("_")


def _read(kind: Any, raw: object, place: Place) -> Any:
    """Return the value of one key as its annotation wants it, None where it was refused."""
    kind = _choose(kind, raw)
    origin = typing.get_origin(kind)
    if origin is Annotated:
        return _read_scalar(kind.__metadata__[0], raw, place)
    if origin is tuple:
        return _read_array(typing.get_args(kind)[0], raw, place)
    if origin is not None:
        return _read_named(typing.get_args(kind)[1], raw, place)
    return read_section(kind, raw, place)


def _choose(kind: Any, raw: object) -> Any:
    """Return what an annotation stands for; where a table or a word can be written, the raw value decides which."""
    if typing.get_origin(kind) not in {typing.Union, types.UnionType}:
        return kind
    options = [option for option in typing.get_args(kind) if option is not type(None)]
    return options[0] if len(options) == 1 or isinstance(raw, Mapping) else options[1]


def _read_scalar(reader: Any, raw: object, place: Place) -> Any:
    try:
        return reader(raw)
    except Refused as refused:
        place.refuse(refused)
        return None


def _read_array(kind: Any, raw: object, place: Place) -> tuple[Any, ...] | None:
    if not isinstance(raw, list | tuple):  # a preset's arrays are tuples
        place.problem("must be an array", "put the value in square brackets: [...]")
        return None
    values = tuple(_read(kind, entry, place / index) for index, entry in enumerate(raw))
    readable = tuple(value for value in values if value is not None)
    return readable if readable or not raw else None


def _read_named(kind: Any, raw: object, place: Place) -> dict[str, Any] | None:
    """Read a table whose keys are names that the operator chose."""
    if not isinstance(raw, Mapping):
        place.problem("must be a table", "write NAME = VALUE in it")
        return None
    values = {}
    for name, entry in raw.items():
        if attrs.has(kind):
            _read_scalar(read_name, name, place / name)
        value = _read(kind, entry, place / name)
        if value is not None:
            values[name] = value
    return values

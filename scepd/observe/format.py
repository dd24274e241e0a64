"""Log lines: one event, one line, three formats; every value escaped and at most 1 KiB long.

The keys are ours; the values may come from anybody. In logfmt and text a value with anything but plain printable ASCII is a JSON
string, in which "=" is written as an escape: a pattern such as ` ip=` matches the field of that name, never a client's text.
"""

import json
import re
from collections.abc import Callable, Iterable
from typing import Any

VALUE_MAXIMUM = 1024  # characters of an escaped value
# Printable ASCII but for the space, the quotation mark and the backslash.
_is_plain = re.compile(rf"[!#-\[\]-~]{{1,{VALUE_MAXIMUM}}}").fullmatch

Fields = Iterable[tuple[str, Any]]
Formatter = Callable[[Fields], str]


def to_logfmt(fields: Fields) -> str:
    """Return `key=value key="other value"`."""
    return " ".join([f"{key}={_word(value)}" for key, value in fields])


def to_json(fields: Fields) -> str:
    """Return a JSON object of numbers, booleans and strings, in ASCII."""
    return "{" + ", ".join(f"{json.dumps(key)}: {_json_value(value)}" for key, value in fields) + "}"


def to_text(fields: Fields) -> str:
    """Return a line for a person at a terminal: time, level and event without their keys, the rest as logfmt."""
    head, rest = [], []
    for key, value in fields:
        if key in {"time", "level", "event"}:
            head.append(_word(value).ljust(5 if key == "level" else 0))
        else:
            rest.append((key, value))
    return " ".join([*head, to_logfmt(rest)]).rstrip()


FORMATS: dict[str, Formatter] = {"text": to_text, "logfmt": to_logfmt, "json": to_json}


def _word(value: Any) -> str:
    if value is True or value is False:
        return "yes" if value else "no"
    text = value if isinstance(value, str) else str(value)
    if _is_plain(text):
        return text
    return _quote(text).replace("=", "\\u003d")


def _json_value(value: Any) -> str:
    if isinstance(value, bool | int):
        return json.dumps(value)
    return _quote(value if isinstance(value, str) else str(value))


def _quote(text: str) -> str:
    """Return a JSON string in ASCII, shortened so that its escaped form stays within the bound."""
    text = text[:VALUE_MAXIMUM]
    quoted = json.dumps(text).replace("\x7f", "\\u007f")
    while len(quoted) > VALUE_MAXIMUM:
        text = text[: len(text) * 3 // 4]
        quoted = json.dumps(text + "...").replace("\x7f", "\\u007f")
    return quoted

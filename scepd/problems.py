"""What is wrong with a file that people write: every problem with its place, its reason and something to try."""

import difflib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TypeVar

import attrs

T = TypeVar("T")

# A first step that no TOML key can be taken for: its path is about the environment, not about a file.
_ENVIRONMENT = -1


@attrs.frozen
class Problem:
    """One thing the operator must mend: where ($.profile.routers.validity), why, and what to type instead."""

    path: str
    reason: str
    hint: str
    file: Path | None = None  # the file that holds that key

    def __str__(self) -> str:
        """Say it on one line: what, where, try."""
        where = self.path if self.file is None else f"{self.file} {self.path}"
        return f"{self.reason} · {where} · {self.hint}"


class ConfigurationError(Exception):
    """The configuration cannot be used; `problems` has everything that was found, never only the first."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        """Keep the problems in the order in which they were found."""
        self.problems = tuple(problems)
        super().__init__(self.render())

    def render(self) -> str:
        """Return one line for each problem: what · where · try."""
        return "\n".join(str(problem) for problem in self.problems)


class Refused(ValueError):  # noqa: N818 - a value is refused; the place is known to the caller
    """A value cannot be taken: why, and what to write instead. Neither half ever repeats a secret."""

    def __init__(self, reason: str, hint: str) -> None:
        """Keep both halves."""
        super().__init__(reason)
        self.reason = reason
        self.hint = hint


@attrs.frozen
class Place:
    """A place in a configuration or in a plan, and the lists that collect what is wrong or doubtful there and below."""

    path: tuple[str | int, ...] = ()
    found: list[tuple[tuple[str | int, ...], str, str]] = attrs.field(factory=list)
    doubts: list[tuple[tuple[str | int, ...], str, str]] = attrs.field(factory=list)

    def __truediv__(self, step: str | int) -> "Place":
        """Return the place one key or index further down."""
        return Place((*self.path, step), self.found, self.doubts)

    def aside(self, variable: str) -> "Place":
        """Return the place of an environment variable."""
        return Place((_ENVIRONMENT, variable), self.found, self.doubts)

    def problem(self, reason: str, hint: str) -> None:
        """Note a problem at this place."""
        self.found.append((self.path, reason, hint))

    def refuse(self, refused: Refused) -> None:
        """Note a refused value at this place."""
        self.problem(refused.reason, refused.hint)

    def take(self, read: "Callable[[object, Place], T]", raw: object) -> T | None:
        """Return what a reader makes of the value at this place; None where it refuses, which is noted."""
        try:
            return read(raw, self)
        except Refused as refused:
            self.refuse(refused)
            return None

    def doubt(self, reason: str, hint: str) -> None:
        """Note what can be used as it stands at this place, but will surprise somebody."""
        self.doubts.append((self.path, reason, hint))

    @property
    def above(self) -> "Place":
        """The table that this place is in."""
        return Place(self.path[:-1], self.found, self.doubts)

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """The doubts, each once."""
        return tuple(Problem(write_path(path), reason, hint) for path, reason, hint in dict.fromkeys(self.doubts))

    @property
    def is_noted(self) -> bool:
        """Whether something was found here or below, such as a value that could not be read."""
        return any(path[: len(self.path)] == self.path for path, _, _ in self.found)

    def problems(self, files: Mapping[tuple[str | int, ...], Path]) -> list[Problem]:
        """Return what was found, each once, with the file that holds it (by the longest known beginning of its path)."""
        return [
            Problem(write_path(path), reason, hint, _file_of(path, files))
            for path, reason, hint in dict.fromkeys(self.found)
        ]


def write_path(path: Iterable[str | int]) -> str:
    """Return $.profile.routers.names.ip[0]; a key that is no bare TOML key is quoted."""
    steps = tuple(path)
    if steps[:1] == (_ENVIRONMENT,):
        return f"environment {steps[1]}"
    text = "$"
    for step in steps:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += f".{step}" if step.replace("-", "").replace("_", "").isalnum() and step.isascii() else f".{step!r}"
    return text


def _file_of(path: tuple[str | int, ...], files: Mapping[tuple[str | int, ...], Path]) -> Path | None:
    if path[:1] == (_ENVIRONMENT,):
        return None
    beginnings = (path[:length] for length in range(len(path), -1, -1))
    return next((files[beginning] for beginning in beginnings if beginning in files), None)


def suggest(word: str, known: Iterable[str]) -> str:
    """Return a hint that names the nearest known word, or all of them."""
    names = sorted(known)
    near = difflib.get_close_matches(word.lower(), names, 1, 0.6)
    if near:
        return f"did you mean {near[0]}? (known: {', '.join(names)})"
    return f"known: {', '.join(names)}" if names else "nothing can be written here"

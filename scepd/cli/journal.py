"""What a ceremony has begun to make, kept until it is whole: an interrupted one goes on where it was."""

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import attrs

from scepd.ca.plan import Plan
from scepd.cli.files import PRIVATE, create, make_directory
from scepd.refusal import OperatorError


@attrs.define
class Journal:
    """The plan in force and what it began, in a directory of the state; `made` are URIs and files."""

    directory: Path
    plan: Plan
    made: list[str]

    @classmethod
    def of(cls, directory: Path, plan: Plan) -> "Journal":
        """Read what an interrupted run of this very plan left behind."""
        journal = cls(directory, plan, [])
        if journal._notes.exists():
            journal.made = list(_read_notes(journal._notes.read_text()))
        return journal

    @property
    def unfinished(self) -> tuple[Path, ...]:
        """The plans of other ceremonies that were interrupted."""
        return tuple(sorted(path for path in self.directory.glob("unfinished-*.json") if path != self._plan))

    def begin(self) -> None:
        """Keep the plan, so that `scepd ca perform` can go on with it."""
        make_directory(self.directory)
        if not self._plan.exists():
            create(self._plan, json.dumps(self.plan.to_mapping(), indent=1, ensure_ascii=False).encode(), PRIVATE)

    def note(self, thing: str) -> None:
        """Note durably that something is about to be made. Raises `OperatorError`."""
        try:
            descriptor = os.open(self._notes, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, PRIVATE)
        except OSError as error:
            raise OperatorError(f"{self._notes} cannot be written: {error.strerror}", f"ls -l {self.directory}") from error
        with os.fdopen(descriptor, "a") as file:
            file.write("\n" + json.dumps(thing) + "\n")  # the line before may have been cut off
            file.flush()
            os.fsync(file.fileno())
        self.made.append(thing)

    def finish(self) -> None:
        """Forget it: the ceremony is whole."""
        self._notes.unlink(missing_ok=True)
        self._plan.unlink(missing_ok=True)

    def record(self, begun: datetime) -> Path:
        """Return where the record goes unless somebody says otherwise."""
        make_directory(self.directory)
        return self.directory / f"{begun:%Y%m%dT%H%M%SZ}-{self.plan.digest[:8]}.json"

    @property
    def _plan(self) -> Path:
        return self.directory / f"unfinished-{self.plan.digest[:16]}.json"

    @property
    def _notes(self) -> Path:
        return self.directory / f"unfinished-{self.plan.digest[:16]}.made"


def _read_notes(text: str) -> Iterator[str]:
    """Yield what was noted; of a line that was cut off nothing was made yet, since it is written first."""
    for line in text.splitlines():
        with suppress(ValueError):
            yield json.loads(line)

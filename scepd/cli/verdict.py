"""How a self-check ends: one line for each finding, the numbers of what was looked at, an exit status."""

from collections.abc import Iterable, Mapping
from typing import Any

import attrs
import click

from scepd.cli.output import FAILED, printable, show_json
from scepd.observe.damage import Damage

_KEPT = 1_000  # findings; a store that has more is not read line by line


@attrs.define
class Verdict:
    """The findings so far; beyond a thousand they are only counted."""

    findings: list[Damage] = attrs.field(factory=list)
    count: int = 0

    def add(self, findings: Iterable[Damage]) -> None:
        """Take what was found."""
        for finding in findings:
            self.count += 1
            if len(self.findings) < _KEPT:
                self.findings.append(finding)

    def show(self, summary: Mapping[str, Any], *, sound: str, as_json: bool) -> int:
        """Print findings and numbers; return the exit status: 0 sound, 1 something was found."""
        if as_json:
            listed = [finding.as_json() for finding in self.findings]
            show_json({"ok": not self.count, **summary, "findings": listed, "count": self.count})
            return FAILED if self.count else 0
        for finding in self.findings:
            click.echo(printable(f"{finding} · {finding.hint}" if finding.hint else str(finding)))
        if self.count > len(self.findings):
            click.echo(f"... and {self.count - len(self.findings)} more")
        numbers = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in summary.items() if value is not None)
        words = sound if not self.count else f"{self.count} finding{'s' if self.count > 1 else ''}"
        click.echo(f"{words}: {numbers}", err=bool(self.count))
        return FAILED if self.count else 0

"""What a self-check finds: which thing is wrong, how, and what to try."""

from collections.abc import Mapping

import attrs


@attrs.frozen
class Damage:
    """One finding: where ("certificate devices 5c3f", "audit n1/0.0 row 7"), what is wrong there, what to try."""

    where: str
    what: str
    hint: str = ""

    def __str__(self) -> str:
        """Say where and what."""
        return f"{self.where}: {self.what}"

    def as_json(self) -> Mapping[str, str]:
        """Return the three parts for programs."""
        return {"where": self.where, "what": self.what, "try": self.hint}

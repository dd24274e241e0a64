"""What the audit trail is verified with: audit keys and the file of seals, from the configuration or the command line."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import attrs
import click

from scepd.cli.output import Failure
from scepd.config.audit import AuditSection, load_audit_key
from scepd.config.files import read_public
from scepd.config.settings import Settings
from scepd.observe.damage import Damage
from scepd.observe.seal_file import SealFile, SealLines
from scepd.observe.signature import AuditKeys, audit_keys
from scepd.observe.trail import Trail
from scepd.problems import Refused

STORE_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@attrs.frozen
class Trusted:
    """The audit keys' SubjectPublicKeyInfos, and the file of seals to compare with, None for none."""

    spkis: tuple[bytes, ...]
    seals: Path | None

    seal_every: timedelta = AuditSection().seal_every

    @property
    def keys(self) -> AuditKeys:
        """The keys by fingerprint."""
        return audit_keys(self.spkis)

    def missing(self, sealed: int) -> Iterator[Damage]:
        """Say that there are seals and not the file that repeats them."""
        if self.seals is not None and sealed and not self.seals.exists():
            hint = "scepd audit verify --seals FILE, for a copy of it; the next seal begins a new one"
            yield Damage(f"file of seals {self.seals}", "is missing", hint)

    def unsealed(self, trail: Trail, now: datetime | None) -> Iterator[Damage]:
        """Say that there are keys and no seal: whoever can write to the store could have written the whole trail.

        Not so while the oldest row is younger than a seal's interval, since the first seal may be due yet. `now` None:
        it is a copy, whose age is that of its newest row.
        """
        if not self.spkis or trail.seals or trail.first_at is None or trail.last_at is None:
            return
        if (now or trail.last_at) - trail.first_at >= self.seal_every:
            hint = "scepd status: the running service seals once in seal_every; its log says audit_unsealed where it cannot"
            yield Damage("audit trail", f"nothing is sealed yet: no key has signed any of its {trail.rows} rows", hint)


def trusted_keys(settings: Settings | None, paths: Sequence[Path], seals: Path | None, *, elsewhere: bool) -> Trusted:
    """Return the configured key and those of `paths`; `elsewhere`: no file of seals belongs to it unless one is named."""
    own = None if settings is None else settings.audit
    given = tuple(map(_read, paths))
    if own is None:
        return Trusted(given, seals)
    file = own.seals if seals is None and not elsewhere else seals
    return Trusted((*own.public_keys, *given), file, own.seal_every)


def seal_lines(trusted: Trusted) -> SealLines | None:
    """Return the lines of the file of seals; open it before the store is looked at."""
    if trusted.seals is None or not trusted.seals.exists():
        return None
    return SealFile(trusted.seals).lines()


def _read(path: Path) -> bytes:
    try:
        return load_audit_key(read_public(path), path)
    except Refused as refused:
        raise Failure(refused.reason, where="--key", hint=refused.hint, exit_code=2) from refused

"""`scepd restore-check`: whether a backup is whole, would start here, and what going back to it would lose."""

import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs
import click

from scepd.cli.backup_manifest import STORE, STORE_KEY, Manifest, NeededKey
from scepd.cli.backup_source import Opened, opened, workspace
from scepd.cli.configured import config_option, json_option, load_token
from scepd.cli.hsm import log_in
from scepd.cli.output import FAILED, show_json, three_parts
from scepd.config.load import load_appliance
from scepd.hsm.faults import TokenFault
from scepd.hsm.keys import find_key, parse_uri
from scepd.hsm.public import public_key_digest
from scepd.hsm.token import Session
from scepd.problems import ConfigurationError
from scepd.refusal import OperatorError, Unavailable
from scepd.store.copy import Inspection, inspect_copy, upgrade_copy
from scepd.store.marks import MarkFile, Marks

PRESENT = "present"


@attrs.frozen(kw_only=True)
class Verdict:
    """What was found: `faults` make the backup useless, `missing` must be put in place first, `lost` is what it lacks."""

    manifest: Manifest
    sha256: str  # of the manifest
    inspection: Inspection
    faults: tuple[str, ...]
    missing: tuple[str, ...]
    keys: tuple[tuple[NeededKey, str], ...]
    lost: tuple[str, ...] | None  # None: this machine has no marks to compare with

    @property
    def is_usable(self) -> bool:
        """Whether it would start here."""
        return not self.faults and not self.missing and all(state == PRESENT for _key, state in self.keys)

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON-able fields."""
        return {
            "ok": self.is_usable,
            "made": self.manifest.made,
            "scepd": self.manifest.scepd,
            "schema": self.manifest.schema,
            "manifest_sha256": self.sha256,
            "faults": list(self.faults),
            "missing": list(self.missing),
            "keys": [{"uri": key.uri, "role": key.role, "state": state} for key, state in self.keys],
            "marks_found": self.lost is not None,
            "lost": list(self.lost or ()),
        }


@click.command("restore-check", short_help="Is a backup whole, would it start here, what would be lost?")
@click.argument("backup", type=click.Path(path_type=Path, exists=True))
@click.option("--manifest", "digest", metavar="SHA256", help="What scepd backup printed of it: nobody changed it since.")
@click.option("--no-token", is_flag=True, help="Do not log in to the token.")
@config_option
@json_option
@click.pass_context
def restore_check(
    ctx: click.Context, backup: Path, digest: str | None, no_token: bool, config: Path, as_json: bool
) -> None:
    """Judge BACKUP, a directory or .tar file of `scepd backup`, without changing anything.

    The store in it is copied to a passing directory, checked, and brought to this release's schema there. Exit status:
    0 it would start here, 1 something is damaged or missing; what it would lose is told in both cases.

    \b
    scepd restore-check /backup/scepd-2026-03-01
    """  # noqa: D301 - \b is for click
    with opened(backup) as source:
        if digest is not None:
            source.require(digest)
        verdict = judge(source, config, ask_token=not no_token)
    if as_json:
        show_json(verdict.to_json())
    else:
        _show(backup, verdict)
    ctx.exit(0 if verdict.is_usable else FAILED)


def judge(source: Opened, config: Path, *, ask_token: bool) -> Verdict:
    """Return what can be said of a backup on this machine."""
    manifest, faults = source.manifest, list(source.faults)
    marks = None
    with suppress(Unavailable):  # a start says so too
        marks = MarkFile.within(_marks_here(manifest, config)).read()
    inspection = Inspection()
    if not faults:
        inspection, found = _try_store(source, marks)
        faults += found
    return Verdict(
        manifest=manifest,
        sha256=source.sha256,
        inspection=inspection,
        faults=tuple(faults),
        missing=tuple(_missing(manifest)),
        keys=tuple(_keys(manifest, config)) if ask_token else (),
        lost=None if marks is None else inspection.lost,
    )


def _marks_here(manifest: Manifest, config: Path) -> Path:
    """Return where this machine keeps its marks, by its configuration where it has one."""
    try:
        return load_appliance(config).marks
    except (ConfigurationError, OperatorError):
        return Path(manifest.state)


def _try_store(source: Opened, marks: Marks | None) -> tuple[Inspection, list[str]]:
    entry = source.manifest.of_role(STORE)
    if entry is None:
        return Inspection(), ["it holds no store"]
    with workspace() as directory:
        copy = directory / "scepd.sqlite"
        shutil.copyfile(source.file(entry.name), copy)
        copy.chmod(0o600)
        inspection = inspect_copy(copy, source.manifest.node, marks)
        faults = list(inspection.problems)
        if not faults and inspection.position != source.manifest.marks.position:
            faults.append("its store is not the one of its manifest")
        return inspection, faults or upgrade_copy(copy)


def _missing(manifest: Manifest) -> Iterator[str]:
    """Yield what a start needs and neither the backup nor this machine has."""
    module = Path(manifest.token.module)
    if not module.is_file():
        yield f"{module} (the PKCS#11 module)"
    for left in manifest.left_out:
        # Credentials appear when systemd starts the service.
        if not Path(left.path).exists() and not left.path.startswith("/run/credentials/"):
            what = "the store key: without it unused challenges are worthless" if left.role == STORE_KEY else left.role
            yield f"{left.path} ({what})"


def _keys(manifest: Manifest, config: Path) -> Iterator[tuple[NeededKey, str]]:
    """Yield the state of each key that the configuration in the backup needs."""
    try:
        premises = load_token(config)
        session = log_in(premises).session()
    except (ConfigurationError, OperatorError, TokenFault) as error:
        words = f"not asked: {_words(error)}"
        yield from ((key, words) for key in manifest.token.keys)
        return
    for key in manifest.token.keys:
        yield key, _state(session, key)


def _state(session: Session, key: NeededKey) -> str:
    try:
        name = parse_uri(key.uri)
        digest = public_key_digest(find_key(session, name), session)
    except (OperatorError, TokenFault) as error:
        return _words(error)
    return PRESENT if digest in (None, key.public_key) else "another key has this name"


def _words(error: Exception) -> str:
    if isinstance(error, ConfigurationError):
        return error.problems[0].reason
    return error.problem if isinstance(error, OperatorError) else str(getattr(error, "cause", error))


def _show(backup: Path, verdict: Verdict) -> None:
    manifest = verdict.manifest
    click.echo(f"{backup}: of {manifest.made}, by scepd {manifest.scepd} on {manifest.host}")
    for fault in verdict.faults:
        click.echo(three_parts(fault, str(backup), "take another backup: this one cannot be used"), err=True)
    if not verdict.faults:
        click.echo(f"  whole      {len(manifest.files)} files, each with its SHA-256; the store is sound")
        click.echo(f"  manifest   SHA-256 {verdict.sha256}")
        click.echo(f"  store      schema {manifest.schema}, can be served by this scepd")
    for what in verdict.missing:
        click.echo(three_parts(f"needed and not there: {what}", hint="put it in place before the start"), err=True)
    for key, state in verdict.keys:
        click.echo(f"  key        {key.uri} ({key.role}): {state}")
    if verdict.lost is None:
        next_start = "; the service will start read-only" if verdict.inspection.is_paired else ""
        click.echo(f"  lost       unknown: this machine has no high-water marks{next_start}")
    for words in verdict.lost or ():
        click.echo(f"  lost       {words}")
    if verdict.lost:
        click.echo("  next       docs/backup.md: an older store is read-only until it is recovered")
    elif verdict.lost is not None and not verdict.faults:
        click.echo("  lost       nothing: the store is as new as the high-water marks")

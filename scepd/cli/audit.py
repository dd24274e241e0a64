"""`scepd audit`: the audit trail: read, verified, exported."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import click

from scepd.cli.audit_sources import export_source, open_store, store_source
from scepd.cli.audit_trust import STORE_FILE, seal_lines, trusted_keys
from scepd.cli.configured import config_option, json_option, load_settings
from scepd.cli.output import Failure, show_fields, show_rows
from scepd.cli.progress import with_progress
from scepd.cli.verdict import Verdict
from scepd.observe.audit import AuditRow
from scepd.observe.export import export_lines
from scepd.observe.trail import Trail


@click.group(short_help="The audit trail: list, verify, export.")
def audit() -> None:
    """Read the audit trail, verify that nobody changed it, export it.

    \b
    scepd audit list --target "transaction 7"
    scepd audit verify
    scepd audit export --output audit.jsonl; scepd audit verify --export audit.jsonl --key scepd-audit.pem
    """  # noqa: D301 - \b is for click


@audit.command("list", short_help="The newest rows.")
@click.option("--target", help='Only about one thing: "transaction 7", "challenge 3", "certificate devices 5c3f...".')
@click.option("--action", help="Only of one kind: certificate_issued, certificate_revoked, ...")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="How many at most.")
@config_option
@json_option
def list_rows(target: str | None, action: str | None, limit: int, config: Path, as_json: bool) -> None:
    """List audit rows, newest first."""
    with open_store(load_settings(config)) as reader:
        rows = [_shown(row) for row in reader.audit(target=target, action=action, limit=limit)]
    show_rows(rows, ("at", "action", "actor", "target", "chain", "row"), as_json=as_json, empty="no such audit rows")


@audit.command(short_help="One row, with its details.")
@click.argument("chain")
@click.argument("row", type=int)
@config_option
@json_option
def show(chain: str, row: int, config: Path, as_json: bool) -> None:
    """Show the row of that number of a CHAIN, as `scepd audit list` names them."""
    with open_store(load_settings(config)) as reader:
        found = reader.audit_row(chain, row)
    if found is None:
        raise Failure(f"chain {chain} has no row {row}", hint="scepd audit list")
    details = json.loads(found.details)
    shown = {**_shown(found), "previous": found.previous.hex(), "hash": found.hash.hex()}
    show_fields({**shown, **({"details": details} if as_json else details)}, as_json=as_json)


@audit.command(short_help="Name the first row that somebody changed.")
@click.option("--store", type=STORE_FILE, help="A copy of the store; no configuration is read where --key is given.")
@click.option("--export", type=click.Path(exists=True, dir_okay=False, allow_dash=True), help="An export instead.")
@click.option(
    "--key", "keys", type=STORE_FILE, multiple=True, help="An audit public key or certificate (PEM); repeatable."
)
@click.option(
    "--seals", type=STORE_FILE, help="The file of seals; with --store and --export none is compared unless named."
)
@config_option
@json_option
@click.pass_context
def verify(  # noqa: PLR0917 - click passes each option as an argument
    ctx: click.Context,
    store: Path | None,
    export: str | None,
    keys: tuple[Path, ...],
    seals: Path | None,
    config: Path,
    as_json: bool,
) -> None:
    """Verify every link and every seal of the audit trail, beside the running service or over a copy.

    Names the first bad row of each chain after an edit, a deletion, a reordering or a truncation. Exit status:
    0 sound, 1 something was changed or nothing is sealed, 2 usage, 78 a fault in the configuration.
    """
    if store is not None and export is not None:
        raise click.UsageError("--store or --export, not both")
    elsewhere = store is not None or export is not None
    settings = None if elsewhere and keys else load_settings(config)
    trusted = trusted_keys(settings, keys, seals, elsewhere=elsewhere)
    trail, verdict = Trail(trusted.keys, seal_lines(trusted)), Verdict()
    with store_source(settings, store) if export is None else export_source(export) as evidence:
        for entry in with_progress(evidence.entries, evidence.total, "verifying"):
            verdict.add(trail.take(entry))
        verdict.add(trail.finish(evidence.heads()))
    verdict.add(trusted.missing(trail.seals))
    verdict.add(trusted.unsealed(trail, None if elsewhere else datetime.now(UTC)))
    summary = _summary(trail, None if trail.copies is None else trusted.seals)
    ctx.exit(verdict.show(summary, sound=_sound(trail), as_json=as_json))


@audit.command("export", short_help="The whole trail as JSON lines.")
@click.option("--output", type=click.Path(path_type=Path), help="A new file, mode 0600; else standard output.")
@click.option("--store", type=STORE_FILE, help="A copy of the store; no configuration is read.")
@config_option
def export_trail(output: Path | None, store: Path | None, config: Path) -> None:
    """Write every row and seal, one JSON object a line, in an order in which it can be verified by itself."""
    settings = load_settings(config) if store is None else None
    with open_store(settings, store) as reader, reader.snapshot(), _opened(output) as file:
        lines = export_lines(reader.audit_trail(), reader.audit_heads())
        for line in with_progress(lines, reader.audit_entries(), "exporting"):
            file.write(line + "\n")


def _sound(trail: Trail) -> str:
    if trail.seals:
        return "the audit trail is sound"
    return "every link of the audit trail holds, and nothing is sealed yet"


def _summary(trail: Trail, seals: Path | None) -> dict[str, object]:
    newest = trail.newest
    return {
        "rows": trail.rows,
        "chains": len(trail.ends),
        "seals": trail.seals,
        "unsealed_rows": trail.unsealed,
        "uncopied_seals": trail.uncopied or None,
        "newest_seal": None if newest is None else f"{newest.number} of {newest.at}",
        "compared_with": None if seals is None else str(seals),
    }


def _shown(row: AuditRow) -> dict[str, object]:
    at = row.at.isoformat(timespec="seconds")
    return {
        "at": at, "action": row.action, "actor": row.actor, "target": row.target, "chain": row.owner, "row": row.sequence,
    }  # fmt: skip


@contextmanager
def _opened(output: Path | None) -> Iterator[IO[str]]:
    if output is None:
        yield sys.stdout
        return
    try:
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError as error:
        raise Failure(f"{output} exists already", hint="another --output") from error
    except OSError as error:
        raise Failure(f"{output} cannot be made: {error.strerror}", hint=f"ls -ld {output.parent}") from error
    with os.fdopen(descriptor, "w") as file:
        yield file
        file.flush()
        os.fsync(descriptor)

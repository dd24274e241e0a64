"""`scepd backup`: a copy of everything but the token, taken while the service runs."""

from datetime import UTC, datetime
from pathlib import Path

import attrs
import click

from scepd.app.keys import key_checks
from scepd.cli.backup_make import Choice, make_backup
from scepd.cli.backup_manifest import Manifest
from scepd.cli.configured import config_option, json_option
from scepd.cli.output import show_json
from scepd.config.load import load_inventory


@click.command(short_help="Copy store, configuration and certificates; the service may run.")
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--with-store-key", is_flag=True, help="Take the store key too: whoever has the backup then has it.")
@click.option(
    "--with-secrets", is_flag=True, help="Take the other secret files too: TLS keys, static challenges; never a PIN."
)
@config_option
@json_option
def backup(target: Path, with_store_key: bool, with_secrets: bool, config: Path, as_json: bool) -> None:
    """Write a backup to TARGET, a new directory, or one file where the name ends in .tar.

    The store is copied as of one moment, everything is read back before the backup gets its name, and nothing is
    overwritten. The token's keys and the PIN are never in it.

    \b
    scepd backup /backup/scepd-2026-03-01
    scepd backup /backup/scepd-2026-03-01.tar --with-store-key
    """  # noqa: D301 - \b is for click
    inventory = load_inventory(config)
    settings = inventory.settings
    checks = key_checks(settings.issuers, settings.audit)
    manifest = make_backup(inventory, checks, target, Choice(with_store_key, with_secrets), datetime.now(UTC))
    if as_json:
        show_json({"backup": str(target.absolute()), "manifest_sha256": manifest.sha256, "files": [attrs.asdict(entry) for entry in manifest.files]})
        return
    _show(target, manifest)


def _show(target: Path, manifest: Manifest) -> None:
    position = manifest.marks.position
    size = sum(entry.size for entry in manifest.files)
    click.echo(f"{target.absolute()}: {len(manifest.files)} files, {size:,} octets, read back and verified")
    click.echo(f"  store     schema {manifest.schema}, certificates up to number {position.certificates}")
    click.echo(f"  manifest  SHA-256 {manifest.sha256}   (keep it elsewhere: scepd restore --manifest)")
    for left in manifest.left_out:
        click.echo(f"  not in it {left.path}   ({left.role}: {left.why})")
    click.echo(f"  not in it the keys of token '{manifest.token.label}': {len(manifest.token.keys)} are needed")

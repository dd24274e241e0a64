"""`scepd restore`: the files of a backup back in their places; nothing that is there is overwritten."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import click

from scepd.app import service
from scepd.cli.backup_manifest import STORE, Entry, digest_of
from scepd.cli.backup_source import Opened, opened
from scepd.cli.files import PRIVATE, create, keep_name, make_directory
from scepd.cli.init_user import Owner, find_owner
from scepd.cli.output import Failure, printable
from scepd.cli.restore_places import judge_places
from scepd.refusal import OperatorError


@click.command(short_help="Put the files of a backup back; what is there stays.")
@click.argument("backup", type=click.Path(path_type=Path, exists=True))
@click.option("--yes", is_flag=True, help="Do not ask: of a backup that you made and that nobody else could change.")
@click.option("--elsewhere", is_flag=True, help="Also outside of the state directory and the configuration's.")
def restore(backup: Path, yes: bool, elsewhere: bool) -> None:
    """Put the files of BACKUP where they came from.

    Nothing signs a backup: it says itself where its files go. Each path is shown, and nothing is written before you
    agree. Files outside of the state directory and the directory of the configuration need --elsewhere.

    A file that is there and the same stays; one that is there and differs stops it before anything is written. A store
    is never written over another: move the old one away first. The high-water marks stay as they are.

    \b
    scepd stop
    mv /var/lib/scepd/scepd.sqlite* /var/lib/scepd/old/
    scepd restore /backup/scepd-2026-03-01
    """  # noqa: D301 - \b is for click
    with opened(backup) as source:
        if source.faults:
            raise OperatorError(f"the backup is damaged: {source.faults[0]}", f"scepd restore-check {backup}")
        _refuse_beside_service(Path(source.manifest.runtime))
        wanted = [entry for entry in source.manifest.files if not _is_there(entry)]
        places = list(judge_places(source.manifest, wanted, elsewhere=elsewhere))
        if places and not yes:
            _ask(places, source.manifest.user)
            list(judge_places(source.manifest, wanted, elsewhere=elsewhere))  # time has passed meanwhile
        owner = find_owner(None, fallback=source.manifest.user)
        for directory in _directories(source, wanted):
            make_directory(directory)
            if owner is not None:
                os.chown(directory, *owner)
        for entry in wanted:
            _put(source, entry, owner)
            click.echo(f"wrote {printable(entry.path)}")
        for left in source.manifest.left_out:
            if not Path(left.path).exists():
                click.echo(printable(f"still needed: {left.path} ({left.role})"), err=True)
    click.echo("Next: scepd check --hsm; start; then scepd status: an older store is read-only")


def _ask(places: list[str], user: str) -> None:
    for line in places:
        click.echo(f"  {line}", err=True)
    click.confirm(f"Write these {len(places)} files for user {printable(user)}?", abort=True, err=True)


def _refuse_beside_service(runtime: Path) -> None:
    try:
        service.status(runtime)
    except service.NotRunning:
        return
    raise OperatorError("the service runs", "scepd stop")


def _is_there(entry: Entry) -> bool:
    """Return whether a file is there already; raises `OperatorError` where another is in its place."""
    path = Path(entry.path)
    if entry.role == STORE:
        leftovers = [one for one in path.parent.glob(f"{path.name}*") if one.suffix != ".lock"]
        if leftovers:
            raise OperatorError(
                f"there is a store at {leftovers[0]}", f"mkdir {path.parent}/old; mv {path}* {path.parent}/old/"
            )
        return False
    if not path.exists():
        return False
    if digest_of(path) != (entry.sha256, entry.size):
        raise OperatorError(f"{path} is there and differs from the backup's", f"mv {path} {path}.old")
    return True


def _directories(source: Opened, wanted: list[Entry]) -> Iterator[Path]:
    """Yield the directories that must be made, from above to below."""
    places = [Path(source.manifest.state), *(Path(entry.path).parent for entry in wanted)]
    above = {one for place in places for one in (place, *place.parents) if not one.exists()}
    yield from sorted(above, key=lambda path: len(path.parts))


def _put(source: Opened, entry: Entry, owner: Owner | None) -> None:
    path = Path(entry.path)
    if entry.role != STORE:
        create(path, source.file(entry.name).read_bytes(), PRIVATE, owner)
        return
    passing = path.with_name(f".{path.name}.restored")
    try:
        passing.unlink(missing_ok=True)
        with source.file(entry.name).open("rb") as octets, open(passing, "xb", opener=_owner_only) as file:
            shutil.copyfileobj(octets, file)
            file.flush()
            os.fsync(file.fileno())
        if owner is not None:
            os.chown(passing, *owner)
        os.link(passing, path)
        passing.unlink()
        keep_name(path.parent)
    except OSError as error:
        raise Failure(f"{path} cannot be written: {error.strerror}", hint=f"ls -ld {path.parent}") from error


def _owner_only(path: str, flags: int) -> int:
    return os.open(path, flags, PRIVATE)

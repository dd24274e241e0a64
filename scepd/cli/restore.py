"""`scepd restore`: the files of a backup back in their places; nothing that is there is overwritten."""

import os
import shutil
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path

import click

from scepd.app import service
from scepd.cli.backup_manifest import STORE, Entry, digest_of
from scepd.cli.backup_source import Opened, opened
from scepd.cli.files import PRIVATE, create, keep_name, make_directory
from scepd.cli.init_user import Owner, find_owner
from scepd.cli.output import Failure, printable
from scepd.cli.restore_places import judge_places, manifest_places, own_places, plain_path
from scepd.refusal import OperatorError


@click.command(short_help="Put the files of a backup back; what is there stays.")
@click.argument("backup", type=click.Path(path_type=Path, exists=True))
@click.option("--manifest", "digest", metavar="SHA256", help="What scepd backup printed of it: nobody changed it since.")
@click.option(
    "--directory",
    "directories",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    multiple=True,
    help="Write below this directory alone, for its owner; more than one may be given.",
)
@click.option("--yes", is_flag=True, help="Do not ask; with --manifest or --directory.")
@click.option("--elsewhere", is_flag=True, help="Also outside of the state directory and the configuration's.")
def restore(backup: Path, digest: str | None, directories: tuple[Path, ...], yes: bool, elsewhere: bool) -> None:
    """Put the files of BACKUP where they came from.

    A backup says itself where its files go. What proves that nobody changed it is the SHA-256 of its manifest, which
    scepd backup printed: --manifest. Without it each path is shown, and nothing is written before you agree, or only
    below each --directory. Files outside of the state directory and the directory of the configuration need --elsewhere.

    A file that is there and the same stays; one that is there and differs stops it before anything is written. A store
    is never written over another: move the old one away first. The high-water marks stay as they are.

    \b
    scepd stop
    mv /var/lib/scepd/scepd.sqlite* /var/lib/scepd/old/
    scepd restore /backup/scepd-2026-03-01 --manifest c1765ccb...
    """  # noqa: D301 - \b is for click
    with opened(backup) as source:
        if source.faults:
            raise OperatorError(f"the backup is damaged: {source.faults[0]}", f"scepd restore-check {backup}")
        if digest is not None:
            source.require(digest)
        elif yes:
            _require_bounds(source, directories, elsewhere=elsewhere)
        _refuse_beside_service(Path(source.manifest.runtime))
        homes = _homes(source, directories)
        wanted = [entry for entry in source.manifest.files if not _is_there(entry)]
        places = list(judge_places(homes, wanted, elsewhere=elsewhere))
        if places and not yes:
            _ask(places, directories[0].owner() if directories else source.manifest.user)
            list(judge_places(homes, wanted, elsewhere=elsewhere))  # time has passed meanwhile
        owner = _owner(source, directories)
        for directory in _directories(homes, wanted):
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


def _require_bounds(source: Opened, directories: Sequence[Path], *, elsewhere: bool) -> None:
    """Refuse to go by the word of a manifest that nothing proves and nobody looks at."""
    if not directories or elsewhere:
        raise OperatorError(
            "nothing proves that scepd backup wrote this manifest, and it says where files go",
            f"scepd restore --manifest {source.sha256}, if scepd backup printed that; --directory DIR; or without --yes",
        )


def _homes(source: Opened, directories: Sequence[Path]) -> tuple[Path, ...]:
    """Return below which directories files may go: those that a person names, else those that the manifest names."""
    return own_places([path.absolute() for path in directories]) if directories else manifest_places(source.manifest)


def _owner(source: Opened, directories: Sequence[Path]) -> Owner | None:
    if not directories:
        return find_owner(None, fallback=source.manifest.user)
    found = directories[0].stat()
    return (found.st_uid, found.st_gid) if os.geteuid() == 0 else None


def _ask(places: list[str], user: str) -> None:
    for line in places:
        click.echo(f"  {line}", err=True)
    click.confirm(f"Write these {len(places)} for user {printable(user)}?", abort=True, err=True)


def _refuse_beside_service(runtime: Path) -> None:
    try:
        service.status(runtime)
    except service.NotRunning:
        return
    raise OperatorError("the service runs", "scepd stop")


def _is_there(entry: Entry) -> bool:
    """Return whether a file is there already; raises `OperatorError` where another, or no file at all, is in its place."""
    path = plain_path(entry.path)
    if entry.role == STORE:
        leftovers = [one for one in path.parent.glob(f"{path.name}*") if one.suffix != ".lock"]
        if leftovers:
            raise OperatorError(
                f"there is a store at {leftovers[0]}", f"mkdir {path.parent}/old; mv {path}* {path.parent}/old/"
            )
        return False
    if not path.exists():
        return False
    if not path.is_file() or digest_of(path) != (entry.sha256, entry.size):
        raise OperatorError(f"{path} is there and differs from the backup's", f"mv {path} {path}.old")
    return True


def _directories(homes: Sequence[Path], wanted: list[Entry]) -> Iterator[Path]:
    """Yield the directories that must be made, from above to below."""
    places = [*homes, *(Path(entry.path).parent for entry in wanted)]
    above = {one for place in places for one in (place, *place.parents) if not one.exists()}
    yield from sorted(above, key=lambda path: len(path.parts))


def _put(source: Opened, entry: Entry, owner: Owner | None) -> None:
    path = Path(entry.path)
    if entry.role != STORE:
        octets = source.file(entry.name).read_bytes()
        _require_same(entry, sha256(octets).hexdigest())
        create(path, octets, PRIVATE, owner)
        return
    passing = path.with_name(f".{path.name}.restored")
    try:
        passing.unlink(missing_ok=True)
        with source.file(entry.name).open("rb") as saved, open(passing, "xb", opener=_owner_only) as file:
            shutil.copyfileobj(saved, file)
            file.flush()
            os.fsync(file.fileno())
        digest = digest_of(passing)[0]
        if digest != entry.sha256:
            passing.unlink()
        _require_same(entry, digest)
        if owner is not None:
            os.chown(passing, *owner)
        os.link(passing, path)
        passing.unlink()
        keep_name(path.parent)
    except OSError as error:
        raise Failure(f"{path} cannot be written: {error.strerror}", hint=f"ls -ld {path.parent}") from error


def _require_same(entry: Entry, digest: str) -> None:
    """Refuse what was changed since the backup was opened and judged: somebody may have taken long to agree."""
    if digest != entry.sha256:
        raise OperatorError(f"{entry.name} was changed while it was being restored", "take another backup")


def _owner_only(path: str, flags: int) -> int:
    return os.open(path, flags, PRIVATE)

"""A backup opened to be read: its manifest, and its files proved to be those that the manifest lists."""

import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import attrs

from scepd.cli.backup_manifest import MANIFEST, Manifest, digest_of, is_inside
from scepd.refusal import OperatorError

_LONGEST_MANIFEST = 16 << 20


@attrs.frozen
class Opened:
    """A backup as a directory, and what is wrong with its files.

    The manifest has the digest of every file: who knows `sha256` from elsewhere knows the whole backup.
    """

    directory: Path
    manifest: Manifest
    sha256: str  # of the manifest
    faults: tuple[str, ...]

    def require(self, digest: str) -> None:
        """Raise `OperatorError` where the manifest's SHA-256 is another."""
        if digest.lower() != self.sha256:
            raise OperatorError(
                f"the manifest has SHA-256 {self.sha256}, not the one that was named",
                "scepd backup printed it; where it did not print this one, somebody changed this backup or it is another",
            )

    def file(self, name: str) -> Path:
        """Return one of its files."""
        return self.directory / name


@contextmanager
def opened(backup: Path) -> Iterator[Opened]:
    """Yield a backup, a directory or a tar file, which is unpacked to a private passing directory meanwhile.

    Raises `OperatorError` where it is no backup.
    """
    if backup.is_dir():
        yield _judged(backup)
        return
    with workspace() as directory:
        _unpack(backup, directory)
        yield _judged(directory)


@contextmanager
def workspace() -> Iterator[Path]:
    """Yield a passing directory that only this user can read (TMPDIR says where)."""
    directory = Path(tempfile.mkdtemp(prefix="scepd-backup-"))
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _judged(directory: Path) -> Opened:
    path = directory / MANIFEST
    try:
        with path.open("rb") as file:
            octets = file.read(_LONGEST_MANIFEST)
    except OSError as error:
        raise OperatorError(
            f"{directory} is no backup: {MANIFEST} cannot be read ({error.strerror})", "scepd backup DIRECTORY"
        ) from error
    manifest = Manifest.from_json(octets.decode("utf-8", "replace"))
    return Opened(directory, manifest, sha256(octets).hexdigest(), tuple(_faults(directory, manifest)))


def _faults(directory: Path, manifest: Manifest) -> Iterator[str]:
    listed = {MANIFEST}
    for entry in manifest.files:
        listed.add(entry.name)
        path = directory / entry.name
        if not is_inside(entry.name) or path.is_symlink():
            yield f"{entry.name} leads out of the backup"
        elif not path.is_file():
            yield f"{entry.name} is missing"
        elif digest_of(path) != (entry.sha256, entry.size):
            yield f"{entry.name} is not what was backed up: its SHA-256 differs"
    for path in sorted(directory.rglob("*")):
        name = str(path.relative_to(directory))
        if not path.is_dir() and name not in listed:
            yield f"{name} is not in the manifest"


def _unpack(backup: Path, directory: Path) -> None:
    try:
        with tarfile.open(backup, "r:") as archive:
            for member in archive:
                if not member.isreg() or not is_inside(member.name):
                    raise OperatorError(f"{backup} holds {member.name!r}, which no backup has", "take another backup")
                source, target = archive.extractfile(member), directory / member.name
                assert source is not None  # it is a regular file
                target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                with target.open("xb") as file:
                    shutil.copyfileobj(source, file)
    except (OSError, tarfile.TarError) as error:
        raise OperatorError(f"{backup} cannot be read as a backup: {error}", f"ls -l {backup}; df -h /tmp") from error

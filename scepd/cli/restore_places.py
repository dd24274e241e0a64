"""Where a restore may write: the paths of a manifest are not believed by themselves."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from scepd.cli.backup_manifest import Entry, Manifest
from scepd.cli.output import printable
from scepd.refusal import OperatorError

_OWN = 3  # parts of a path: "/", "etc", "scepd"


def judge_places(homes: Sequence[Path], wanted: Iterable[Entry], *, elsewhere: bool) -> Iterator[str]:
    """Yield what would be written where, as lines for the person who decides.

    Files belong below `homes`; any other place must be asked for by `elsewhere`. Raises `OperatorError` for it, for a
    path that is not plain, and for a link below those directories, where the service's user may have laid it.
    """
    yield from (f"{printable(str(one))}/   (directory)" for one in homes if not one.exists())
    for entry in wanted:
        path = plain_path(entry.path)
        above = next((one for one in homes if path.is_relative_to(one)), None)
        if above is not None:
            _refuse_links(path, above)
        real = path.parent.resolve() / path.name
        if not elsewhere and (above is None or real != path):
            own = " and ".join(printable(str(one)) for one in homes)
            raise OperatorError(
                f"{printable(str(real))} is outside of {own or 'any directory of a service alone'}",
                "scepd restore --elsewhere, once you know that this file belongs there",
            )
        yield f"{printable(str(real))}   ({printable(entry.role)}, {entry.size:,} octets)"


def manifest_places(manifest: Manifest) -> tuple[Path, ...]:
    """Return the state directory, and that of the first file of the configuration; none that is the system's, as /etc."""
    configuration = manifest.of_role("configuration")
    named = () if configuration is None else (Path(configuration.path).parent,)
    return own_places((Path(manifest.state), *named))


def own_places(directories: Sequence[Path]) -> tuple[Path, ...]:
    """Return those of the directories that may be a service's alone; raises `OperatorError` for one that is not plain."""
    for one in directories:
        plain_path(str(one))
    return tuple(one for one in dict.fromkeys(directories) if len(one.parts) >= _OWN)


def plain_path(text: str) -> Path:
    """Return the path that a manifest names; raises `OperatorError` for one that depends on where somebody stands."""
    path = Path(text)
    if not path.is_absolute() or ".." in path.parts:
        raise OperatorError(f"the manifest names {printable(text)!r}, which no backup does", "take another backup")
    return path


def _refuse_links(path: Path, home: Path) -> None:
    between = (one for one in path.parents if one != home and one.is_relative_to(home))
    link = next((one for one in between if one.is_symlink()), None)
    if link is not None:
        raise OperatorError(f"{printable(str(link))} is a symbolic link", f"ls -l {link}; mv {link} {link}.old")

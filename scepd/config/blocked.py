"""Compiling [appliance] blocked_keys: the lists of keys that nobody may have certified (threats S-28)."""

from scepd.config.files import read_public
from scepd.config.secret import Surroundings
from scepd.problems import Place, Refused
from scepd.profile.blocked_keys import BlockedKeys, Entries, read_entries

_LONGEST = 16 * 1024 * 1024  # octets: Debian's lists have some 6 MB each
_HINT = "one key on each line: openssl pkey -pubin -in KEY -outform DER | sha256sum | cut -c1-64"


def compile_blocked_keys(names: tuple[str, ...], surroundings: Surroundings, place: Place) -> BlockedKeys | None:
    """Return the keys of all files, None where no file is named; they are read now and at each reload."""
    found = [_read(name, surroundings, place / index) for index, name in enumerate(names)]
    return BlockedKeys.of(found) if found else None


def _read(name: str, surroundings: Surroundings, place: Place) -> Entries:
    path = surroundings.resolve(name)
    try:
        entries = read_entries(read_public(path, longest=_LONGEST).decode("ascii", "replace"))
    except Refused as refused:
        place.refuse(refused)
    except ValueError as error:
        place.problem(f"{path}: {error}", _HINT)
    else:
        if not any(entries):
            # Whoever names a list wants it to block something.
            place.problem(f"{path} lists no key", _HINT)
        return entries
    return frozenset(), frozenset()

"""Challenges as the store keeps them: generated here, stored and compared as a keyed digest (C-153, C-154)."""

import hashlib
import hmac
import os
import unicodedata
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from scepd.records import Secret
from scepd.refusal import OperatorError

STORE_KEY_SIZE = 32  # octets

# No 0, 1, i, l, o: what is read aloud or typed from paper has one reading. 28 of these are 138 bits.
ALPHABET = "23456789abcdefghjkmnpqrstuvwxyz"
_GROUPS, _GROUP = 7, 4

_RESTORE = "restore the store key from the backup: challenges made under another key are lost"


def keyed_digest(store_key: bytes, text: str) -> bytes:
    """Return HMAC-SHA-256 under the store key over the text in NFC: one length for every text, so that comparing leaks none."""
    keyed = _keyed(store_key).copy()
    keyed.update(unicodedata.normalize("NFC", text).encode("utf-8", "surrogatepass"))
    return keyed.digest()


@lru_cache(maxsize=4)  # to begin anew costs ten times what the text does
def _keyed(store_key: bytes) -> hmac.HMAC:
    return hmac.new(store_key, digestmod=hashlib.sha256)


def new_challenge(random: Callable[[int], bytes]) -> Secret:
    """Return a fresh challenge of 138 bits such as "k3vx-...-9t2m"; the hyphens are part of it."""
    # 32 octets more than cover 31 ** 28: what the remainder favours is below 2 ** -117.
    number = int.from_bytes(random(32), "big")
    groups = []
    for _ in range(_GROUPS):
        letters = []
        for _ in range(_GROUP):
            number, letter = divmod(number, len(ALPHABET))
            letters.append(ALPHABET[letter])
        groups.append("".join(letters))
    return Secret("-".join(groups))


def load_store_key(path: Path) -> bytes:
    """Return the 32 octets of the store key file; OperatorError where it is missing, readable by others, or no such key."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise OperatorError(f"the store key {path} cannot be read: {error.strerror}", _RESTORE) from error
    with os.fdopen(descriptor, "rb") as file:
        if os.fstat(file.fileno()).st_mode & 0o077:
            raise OperatorError(f"the store key {path} is open to other users", f"chmod 600 {path}")
        key = file.read(STORE_KEY_SIZE + 1)
    if len(key) != STORE_KEY_SIZE:
        raise OperatorError(
            f"the store key {path} is not {STORE_KEY_SIZE} octets long",
            _RESTORE,
        )
    return key


def create_store_key(path: Path, random: Callable[[int], bytes]) -> bytes:
    """Make the store key file, durable and readable by its owner alone; OperatorError where it exists."""
    key = random(STORE_KEY_SIZE)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise OperatorError(f"the store key {path} cannot be made: {error.strerror}", f"ls -l {path}") from error
    with os.fdopen(descriptor, "wb") as file:
        file.write(key)
        file.flush()
        os.fsync(file.fileno())
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)  # the name, too, must survive a power cut
    finally:
        os.close(folder)
    return key

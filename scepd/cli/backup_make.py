"""Making a backup: copied under a passing name, verified there, and given its name only when it is whole."""

import os
import platform
import pwd
import secrets
import shutil
import tarfile
from collections.abc import Iterable, Iterator
from datetime import datetime
from hashlib import sha256
from pathlib import Path

import attrs
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

import scepd
from scepd.cli.backup_manifest import (
    MANIFEST,
    SECRET,
    STORE,
    STORE_KEY,
    Entry,
    LeftOut,
    Manifest,
    NeededKey,
    NeededToken,
    digest_of,
)
from scepd.cli.backup_source import opened
from scepd.cli.files import PRIVATE, create, keep_name
from scepd.config.inventory import Inventory
from scepd.hsm.probe import KeyCheck
from scepd.refusal import OperatorError, Unavailable
from scepd.store.copy import copy_store, inspect_copy
from scepd.store.marks import Marks

_STORE_FILE = "store/scepd.sqlite"
_PRIVATE_KEY = b"PRIVATE KEY"


@attrs.frozen
class Choice:
    """What of the secrets goes into a backup; never a PIN, and nothing of the token."""

    store_key: bool = False
    secrets: bool = False


def make_backup(
    inventory: Inventory, keys: Iterable[KeyCheck], target: Path, choice: Choice, now: datetime
) -> Manifest:
    """Write a backup and return its manifest; a name that ends in .tar makes one file, any other a directory.

    Raises `OperatorError` where the target exists or cannot be written, `Unavailable` where the store cannot be read.
    """
    target = target.absolute()
    if target.exists() or target.is_symlink():
        raise OperatorError(f"{target} exists already", f"scepd backup {target}-$(date -u +%Y%m%dT%H%M%SZ)")
    passing = target.with_name(f".{target.name}.{secrets.token_hex(6)}")
    try:
        passing.mkdir(mode=0o700)
        manifest = _fill(inventory, keys, passing, choice, now)
        _verify(passing)
        _finish(passing, target, manifest)
    except OSError as error:
        raise OperatorError(
            f"{target} cannot be written: {error.strerror}", f"ls -ld {target.parent}; df -h {target.parent}"
        ) from error
    finally:
        shutil.rmtree(passing, ignore_errors=True)
    return manifest


def _fill(inventory: Inventory, keys: Iterable[KeyCheck], place: Path, choice: Choice, now: datetime) -> Manifest:
    settings = inventory.settings
    files = [_copy(path, name, role, place) for path, name, role in _chosen(inventory, choice)]
    store = place / _STORE_FILE
    store.parent.mkdir(mode=0o700)
    copy_store(settings.store.url, settings.appliance.state, store)
    found = inspect_copy(store, settings.appliance.node)
    if found.problems:
        raise Unavailable(f"the store is not sound: {found.problems[0]}")
    _keep_bytes(store)
    files.append(Entry(_STORE_FILE, STORE, settings.store.url.removeprefix("sqlite:///"), *digest_of(store)))
    manifest = Manifest(
        scepd=scepd.__version__,
        schema=found.schema,
        made=now.isoformat(timespec="seconds"),
        host=platform.node(),
        node=settings.appliance.node,
        user=_owner_of(settings.appliance.state),
        state=str(settings.appliance.state),
        runtime=str(settings.appliance.runtime),
        files=tuple(files),
        left_out=tuple(_left_out(inventory, choice)),
        token=NeededToken(
            str(settings.hsm.module), settings.hsm.token, settings.hsm.serial, tuple(_needed(check) for check in keys)
        ),
        marks=Marks(position=found.position),
    )
    create(place / MANIFEST, manifest.to_json().encode(), PRIVATE)
    return manifest


def _chosen(inventory: Inventory, choice: Choice) -> Iterator[tuple[Path, str, str]]:
    """Yield what to copy: path, name in the backup, role."""
    for path in inventory.configuration:
        yield path, _name(path, inventory.directory), "configuration"
    for path in inventory.named:
        yield path, _name(path, inventory.directory), "named"
    if choice.store_key:
        yield inventory.store_key, "secret/store-key", STORE_KEY
    if choice.secrets:
        for path in inventory.secrets:
            yield path, f"secret/{_name(path, inventory.directory)}", SECRET


def _left_out(inventory: Inventory, choice: Choice) -> Iterator[LeftOut]:
    for path in inventory.pins:
        yield LeftOut(str(path), "pin", "a PIN is never part of a backup")
    if not choice.store_key:
        yield LeftOut(str(inventory.store_key), STORE_KEY, "kept apart, since without --with-store-key")
    if not choice.secrets:
        for path in inventory.secrets:
            yield LeftOut(str(path), SECRET, "kept apart, since without --with-secrets")


def _name(path: Path, directory: Path) -> str:
    if path.is_relative_to(directory):
        return f"configuration/{path.relative_to(directory)}"
    return f"elsewhere/{str(path).lstrip('/')}"


def _copy(path: Path, name: str, role: str, place: Path) -> Entry:
    octets = path.read_bytes()
    if _PRIVATE_KEY in octets and role not in (SECRET, STORE_KEY):
        raise OperatorError(f"{path} holds a private key, which no backup takes unasked", "keep it in a file of its own")
    target = place / name
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    create(target, octets, PRIVATE)
    return Entry(name, role, str(path), sha256(octets).hexdigest(), len(octets))


def _needed(check: KeyCheck) -> NeededKey:
    return NeededKey(check.uri, check.role, public_key_digest(check.certificate_der))


def public_key_digest(der: bytes) -> str:
    """Return the SHA-256 of the SubjectPublicKeyInfo of a certificate, or of one that stands alone, as the audit key's."""
    try:
        key = x509.load_der_x509_certificate(der).public_key()
    except ValueError:
        return sha256(der).hexdigest()
    return sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def _owner_of(state: Path) -> str:
    try:
        return pwd.getpwuid(state.stat().st_uid).pw_name
    except KeyError:
        return str(state.stat().st_uid)


def _verify(place: Path) -> None:
    """Read everything back from the disk, before the backup gets its name."""
    with opened(place) as backup:
        if backup.faults:
            raise OperatorError(f"the backup is not what was written: {backup.faults[0]}", "dmesg; df -h")


def _finish(passing: Path, target: Path, manifest: Manifest) -> None:
    if target.suffix != ".tar":
        for directory in (passing, *(path for path in passing.rglob("*") if path.is_dir())):
            keep_name(directory)
        passing.rename(target)  # over an empty directory at most
        keep_name(target.parent)
        return
    packed = passing / "packed.tar"
    with tarfile.open(packed, "x:") as archive:
        for name in (MANIFEST, *(entry.name for entry in manifest.files)):
            archive.add(passing / name, name)
    packed.chmod(PRIVATE)
    _keep_bytes(packed)
    with opened(packed) as backup:
        if backup.faults:
            raise OperatorError(f"the backup is not what was written: {backup.faults[0]}", "dmesg; df -h")
    os.link(packed, target)
    keep_name(target.parent)


def _keep_bytes(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

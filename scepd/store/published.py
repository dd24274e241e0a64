"""The newest CRL of an issuer as a file beside the store: what was published stays published where an older store is restored."""

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import attrs
from cryptography import x509

from scepd.records import Crl, crl_name
from scepd.refusal import Unavailable

DIRECTORY = "published"


@attrs.frozen
class PublishedCrl:
    """The file of one issuer's CRL; written by the holder of that issuer's lease alone."""

    path: Path
    issuer: str

    @classmethod
    def within(cls, state: Path, issuer: str) -> "PublishedCrl":
        """Return the file of an issuer in a state directory."""
        return cls(state / DIRECTORY / f"{issuer}.crl", issuer)

    def keep(self, crl: Crl) -> None:
        """Replace the file, durably. Raises `Unavailable`."""
        new = self.path.with_suffix(".new")
        try:
            self.path.parent.mkdir(mode=0o700, exist_ok=True)
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(crl.der)
                file.flush()
                os.fsync(descriptor)
            new.replace(self.path)
        except OSError as error:
            raise Unavailable(f"{self.path} cannot be written: {error.strerror}") from error

    def read(self) -> Crl | None:
        """Return what was kept, None where there is nothing. Raises `Unavailable` where it is no CRL with a number."""
        try:
            return read_crl(self.path.read_bytes(), self.issuer)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise Unavailable(f"{self.path} cannot be read: {error}") from error


def published_names(state: Path, issuers: Iterable[str]) -> Iterator[str]:
    """Yield the names of the CRLs that may be kept: one for each issuer, and one for each further shard that has a file."""
    for issuer in issuers:
        yield issuer
        for path in sorted((state / DIRECTORY).glob(f"{issuer}.*.crl")):
            name = path.name.removesuffix(".crl")
            if name == crl_name(issuer, int(suffix) if (suffix := name.rpartition(".")[2]).isdecimal() else 0):
                yield name


def newest_published(state: Path, issuers: Iterable[str]) -> dict[str, Crl]:
    """Return the CRLs that are kept, by issuer; what cannot be read is left out."""
    kept = {}
    for name in published_names(state, issuers):
        with contextlib.suppress(Unavailable):
            crl = PublishedCrl.within(state, name).read()
            if crl is not None:
                kept[name] = crl
    return kept


def read_crl(der: bytes, issuer: str) -> Crl:
    """Return a CRL from its octets; raises ValueError where number or nextUpdate is missing. Its signature is not judged."""
    crl = x509.load_der_x509_crl(der)
    try:
        number = crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    except x509.ExtensionNotFound as error:
        raise ValueError("it has no CRL number") from error
    if crl.next_update_utc is None:
        raise ValueError("it has no nextUpdate")
    return Crl(issuer, number, crl.last_update_utc, crl.next_update_utc, der, len(crl))

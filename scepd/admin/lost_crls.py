"""What published CRLs say of the time that an older store has forgotten: revocations, and numbers that were used."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import attrs
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from scepd.records import (
    Certificate,
    Crl,
    LostRevocation,
    Revocation,
    RevocationReason,
    RevokedEntry,
    crl_issuer,
    crl_name,
    crl_shard,
    shard_at,
)
from scepd.refusal import OperatorError, Unavailable
from scepd.store.published import PublishedCrl, published_names, read_crl
from scepd.store.repository import Repository

_PEM = b"-----BEGIN X509 CRL-----"


@attrs.frozen
class LostCrls:
    """The newest published CRL of each issuer and shard, proved to be that issuer's, and what was wrong with others."""

    crls: Mapping[str, Crl]
    remarks: tuple[str, ...]

    @property
    def floors(self) -> dict[str, int]:
        """The greatest number of each issuer."""
        return {name: crl.number for name, crl in self.crls.items()}

    def revocations(self, repository: Repository, issuers: Mapping[str, bytes]) -> Iterator[LostRevocation]:
        """Yield the entries that the store does not know as revoked."""
        for name, crl in self.crls.items():
            issuer = crl_issuer(name)
            ends = x509.load_der_x509_certificate(issuers[issuer]).not_valid_after_utc
            for entry in _entries(crl):
                if not _is_known(repository.certificate(issuer, entry.serial), entry):
                    yield LostRevocation(issuer, entry, ends, f"CRL {crl.number}", crl_shard(name))


def read_lost_crls(state: Path, given: Iterable[Path], issuers: Mapping[str, bytes]) -> LostCrls:
    """Return the newest CRLs of the files given and of those kept beside the store; raises `OperatorError`."""
    known = {name: x509.load_der_x509_certificate(der) for name, der in issuers.items()}
    newest: dict[str, Crl] = {}
    remarks: list[str] = []
    for name in published_names(state, known):
        issuer = known[crl_issuer(name)]
        try:
            kept = PublishedCrl.within(state, name).read()
        except Unavailable as trouble:
            remarks.append(trouble.cause)
            continue
        if kept is not None and not _is_of(kept.der, issuer):
            remarks.append(f"the CRL kept beside the store is not signed by issuer {crl_issuer(name)}")
        elif kept is not None:
            newest[name] = kept
    for path in given:
        name, crl = _read_given(path, known)
        if name not in newest or newest[name].number < crl.number:
            newest[name] = crl
    return LostCrls(newest, tuple(remarks))


def _read_given(path: Path, known: Mapping[str, x509.Certificate]) -> tuple[str, Crl]:
    try:
        data = path.read_bytes()
        der = x509.load_pem_x509_crl(data).public_bytes(Encoding.DER) if _PEM in data else data
        name = next((name for name, issuer in known.items() if _is_of(der, issuer)), None)
        if name is not None:
            name = crl_name(name, _shard_of(der))
            return name, read_crl(der, name)
    except OSError as error:
        raise OperatorError(f"{path} cannot be read: {error.strerror}", f"ls -l {path}") from error
    except ValueError as error:
        raise OperatorError(f"{path} is no CRL: {error}", f"openssl crl -in {path} -noout -text") from error
    raise OperatorError(f"{path} is signed by none of the issuers here", f"openssl crl -in {path} -noout -issuer")


def _shard_of(der: bytes) -> int:
    """Return the shard that a CRL says that it covers, by the name of its distribution point; 0 where it says nothing."""
    try:
        found = x509.load_der_x509_crl(der).extensions.get_extension_for_class(x509.IssuingDistributionPoint).value
    except x509.ExtensionNotFound:
        return 0
    return shard_at(str(found.full_name[0].value)) if found.full_name else 0


def _is_of(der: bytes, issuer: x509.Certificate) -> bool:
    crl = x509.load_der_x509_crl(der)
    try:
        return crl.issuer == issuer.subject and crl.is_signature_valid(issuer.public_key())  # type: ignore[arg-type]
    except (ValueError, TypeError):
        return False


def _entries(crl: Crl) -> Iterator[RevokedEntry]:
    for entry in x509.load_der_x509_crl(crl.der):
        reason, since = RevocationReason.unspecified, None
        for extension in entry.extensions:
            if isinstance(extension.value, x509.CRLReason):
                word = extension.value.reason.value
                reason = RevocationReason[word] if word in RevocationReason.__members__ else reason
            elif isinstance(extension.value, x509.InvalidityDate):
                since = extension.value.invalidity_date_utc
        yield RevokedEntry(entry.serial_number, Revocation(entry.revocation_date_utc, reason, since))


def _is_known(certificate: Certificate | None, entry: RevokedEntry) -> bool:
    hold = RevocationReason.certificateHold
    before = None if certificate is None else certificate.revocation
    return before is not None and (before.reason is not hold or entry.revocation.reason is hold)

"""CRLs of ours, as drafts: written by our own DER writer, since a builder's time grows with the square of the entries."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType

import attrs
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from scepd.message import tlv
from scepd.records import Revocation, RevocationReason, RevokedEntry
from scepd.x509.draft import EC_ALGORITHMS, RSA_ALGORITHMS, IssuerPublicKey, PrivateKey, SealError, split
from scepd.x509.fields import contents, elements
from scepd.x509.issuer import IssuerCertificate, write_extension
from scepd.x509.unreadable import own_hashes

_VERSION_2 = tlv.integer(1)
_ENUMERATED = 0x0A
_CRL_NUMBER, _REASON_CODE, _INVALIDITY_DATE = "2.5.29.20", "2.5.29.21", "2.5.29.24"
_CHUNK = 500  # entries joined at a time: a hundred thousand small objects would cost four times their octets
_MOST_NUMBER_OCTETS = 20  # RFC 5280 section 5.2.3


@attrs.frozen
class CrlDraft:
    """An unsigned CRL: its TBSCertList, the AlgorithmIdentifier it names, and the digest that the key is to sign."""

    tbs: bytes
    algorithm: bytes
    digest: bytes
    number: int
    this_update: datetime  # in whole seconds, as a CRL says them
    next_update: datetime
    entries: int


def may_sign_crls(issuer: IssuerCertificate) -> bool:
    """Return whether the CA certificate's key usage has cRLSign (RFC 5280 section 4.2.1.3)."""
    usage = issuer.certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    return usage.crl_sign


def draft_crl(
    entries: Iterable[RevokedEntry],
    issuer: IssuerCertificate,
    *,
    number: int,
    this_update: datetime,
    next_update: datetime,
    scope: bytes = b"",
) -> CrlDraft:
    """Write a full CRL of version 2 with the issuer's name octet for octet (RFC 5280 section 5.1, C-285, C-290).

    `entries` is read once, in its order, and holds up the caller as long as it likes: a large CRL is drafted in slices
    by an iterator that pauses. `scope` is what `scope_extension` returned, where it covers a shard alone. Raises ValueError for a number or times that no CRL can carry.
    """
    this_update, next_update = (moment.astimezone(UTC).replace(microsecond=0) for moment in (this_update, next_update))
    if number < 0 or number.bit_length() >= _MOST_NUMBER_OCTETS * 8:
        raise ValueError(f"{number} is no CRL number")
    if next_update <= this_update:
        raise ValueError("a CRL ends after it begins")
    letterhead = issuer.letterhead
    listed, count = _write_entries(entries)
    tbs = tlv.sequence(
        _VERSION_2,
        letterhead.algorithm_der,
        letterhead.name_der,
        tlv.time(this_update),
        tlv.time(next_update),
        tlv.write(tlv.SEQUENCE, *listed) if count else b"",  # C-291: absent, never empty
        # Neither is critical, and no CRL may lack them (RFC 5280 section 5.2).
        tlv.explicit(
            0, tlv.sequence(letterhead.authority_key_der, _extension(_CRL_NUMBER, tlv.integer(number)), scope)
        ),
    )
    digest = hashlib.new(issuer.digest.name.lower(), tbs).digest()
    return CrlDraft(tbs, letterhead.algorithm_der, digest, number, this_update, next_update, count)


def scope_extension(urls: Sequence[str]) -> bytes:
    """Return the IssuingDistributionPoint of a CRL that covers the certificates that name those URLs, and no others.

    Critical (RFC 5280 section 5.2.5, C-294): who does not understand it must not take the CRL for the whole.
    """
    point = x509.IssuingDistributionPoint(
        full_name=[x509.UniformResourceIdentifier(url) for url in urls],
        relative_name=None,
        only_contains_user_certs=False,
        only_contains_ca_certs=False,
        only_some_reasons=None,
        indirect_crl=False,
        only_contains_attribute_certs=False,
    )
    return write_extension(point, critical=True)


def sign_crl(draft: CrlDraft, key: PrivateKey) -> bytes:
    """Return the key's signature over the draft's digest: one call of the key, however long the CRL is.

    A key that takes no digests hashes the whole draft itself.
    """
    hashed = _hash(draft.algorithm)
    prehashed = Prehashed(hashed)
    if isinstance(key, rsa.RSAPrivateKey) and draft.algorithm in RSA_ALGORITHMS:
        if own_hashes(key) is not None:
            return key.sign(draft.tbs, padding.PKCS1v15(), hashed)
        return key.sign(draft.digest, padding.PKCS1v15(), prehashed)
    if isinstance(key, ec.EllipticCurvePrivateKey) and draft.algorithm in EC_ALGORITHMS:
        return key.sign(draft.digest, ec.ECDSA(prehashed))
    raise SealError("the draft's signature algorithm is not the key's")


def seal_crl(draft: CrlDraft, signature: bytes, issuer: IssuerCertificate) -> bytes:
    """Return the CRL: the draft's TBS, its algorithm and the signature, as `x509.draft.seal` makes certificates.

    The result is taken apart again and hashed anew, and its signature verified with the issuer's public key; SealError
    when anything differs.
    """
    der = tlv.sequence(draft.tbs, draft.algorithm, tlv.bit_string(signature))
    tbs, algorithm, sealed = split(der)
    if (tbs, algorithm) != (draft.tbs, draft.algorithm):
        raise SealError("the sealed octets are not the draft's")
    if not _verifies(tbs, algorithm, sealed, issuer.public_key):
        raise SealError("the signature does not verify with the issuer's public key")
    return der


def listed_entries(tbs: bytes) -> bytes:
    """Return the entries of a TBSCertList of ours as octets, b"" where it has none: equal octets list the same."""
    for field in elements(contents(tbs))[3:]:
        if field[0] == tlv.SEQUENCE:
            return contents(field)
    return b""


def _verifies(tbs: bytes, algorithm: bytes, signature: bytes, key: IssuerPublicKey) -> bool:
    hash_algorithm = _hash(algorithm)
    # hashlib lets other threads run meanwhile, where cryptography's own hashing would hold them up.
    digest = hashlib.new(hash_algorithm.name, tbs).digest()
    try:
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, digest, padding.PKCS1v15(), Prehashed(hash_algorithm))
        else:
            key.verify(signature, digest, ec.ECDSA(Prehashed(hash_algorithm)))
    except InvalidSignature:
        return False
    return True


def _hash(algorithm: bytes) -> hashes.HashAlgorithm:
    return (RSA_ALGORITHMS.get(algorithm) or EC_ALGORITHMS[algorithm])()


def _extension(oid: str, value: bytes) -> bytes:
    return tlv.sequence(tlv.oid(oid), tlv.octet_string(value))


# C-292: unspecified is said by leaving the code out.
_REASONS: Mapping[RevocationReason, bytes] = MappingProxyType(
    {
        reason: _extension(_REASON_CODE, tlv.write(_ENUMERATED, bytes((reason,)))) if reason else b""
        for reason in RevocationReason
    }
)


def _write_entries(entries: Iterable[RevokedEntry]) -> tuple[list[bytes], int]:
    chunks: list[bytes] = []
    batch: list[bytes] = []
    count = 0
    for entry in entries:
        batch.append(_entry(entry.serial, entry.revocation))
        if len(batch) == _CHUNK:
            chunks.append(b"".join(batch))
            count += len(batch)
            batch.clear()
    chunks.append(b"".join(batch))
    return chunks, count + len(batch)


def _entry(serial: int, revocation: Revocation) -> bytes:
    extensions = _REASONS[revocation.reason]
    if revocation.invalid_since is not None:
        extensions += _extension(_INVALIDITY_DATE, _generalized_time(revocation.invalid_since))
    return tlv.sequence(tlv.integer(serial), tlv.time(revocation.at), tlv.sequence(extensions) if extensions else b"")


def _generalized_time(moment: datetime) -> bytes:
    """Return a GeneralizedTime, which invalidityDate is before 2050 too (RFC 5280 section 5.3.2)."""
    moment = moment.astimezone(UTC)
    return tlv.write(tlv.GENERALIZED_TIME, f"{moment.year:04}{moment:%m%d%H%M%S}Z".encode())

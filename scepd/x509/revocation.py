"""Revocation lists that an operator keeps in a file, of CAs that are not ours (RFC 5280 section 6.3)."""

import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import pairwise

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from scepd.refusal import OperatorError
from scepd.x509.fields import UNREADABLE

_SHOW = "openssl crl -in FILE -noout -issuer -lastupdate -nextupdate"
_PEM = re.compile(rb"-----BEGIN X509 CRL-----[^-]+-----END X509 CRL-----")
# They change what a CRL lists (RFC 5280 sections 5.2.4 and 5.2.5): a reader that overlooks them is wrong.
_PARTIAL = (x509.DeltaCRLIndicator, x509.IssuingDistributionPoint)


class Revoked(ValueError):  # noqa: N818 - a state of the certificate
    """A certificate of a path is on a list of its issuer."""


class ListMissing(ValueError):  # noqa: N818 - a state of the lists
    """No list of an issuer says what is revoked now: nobody of it can be admitted."""


class RevocationLists:
    """The lists of one file; a signature is verified once for each issuer, since a list may be long."""

    def __init__(self, lists: Sequence[x509.CertificateRevocationList]) -> None:
        """Take the lists as read."""
        self._lists = tuple(lists)
        self._signed: dict[bytes, tuple[x509.CertificateRevocationList, ...]] = {}

    def judge(self, path: Sequence[x509.Certificate], now: datetime) -> None:
        """Raise `Revoked` for a path with a revoked certificate; `ListMissing` where nothing current says it of the first.

        Of the CAs above, only what their issuers' lists say counts: many roots publish none.
        """
        for depth, (certificate, issuer) in enumerate(pairwise(path)):
            lists = self._of(issuer)
            if any(found.get_revoked_certificate_by_serial_number(certificate.serial_number) for found in lists):
                raise Revoked(f"serial {certificate.serial_number:x}")
            if not any(_is_current(found, now) for found in lists) and (depth == 0 or lists):
                raise ListMissing(f"no current list of {issuer.subject.rfc4514_string()}")

    def _of(self, issuer: x509.Certificate) -> tuple[x509.CertificateRevocationList, ...]:
        key = issuer.public_bytes(Encoding.DER)
        if key not in self._signed:
            self._signed[key] = tuple(found for found in self._lists if _is_signed(found, issuer))
        return self._signed[key]


def read_crls(data: bytes) -> RevocationLists:
    """Return the lists of a file, PEM (several) or DER (one); raises OperatorError for the first thing wrong but dates."""
    return RevocationLists(_read(data))


def judge_crls(data: bytes, now: datetime) -> tuple[OperatorError, ...]:
    """Return everything that is wrong with a file of lists: unreadable, none, partial ones, out of date."""
    try:
        lists = _read(data)
    except OperatorError as problem:
        return (problem,)
    return tuple(problem for found in lists for problem in _judge_dates(found, now))


def _read(data: bytes) -> tuple[x509.CertificateRevocationList, ...]:
    try:
        if data.startswith(b"\x30"):
            lists = [x509.load_der_x509_crl(data)]
        else:
            lists = [x509.load_pem_x509_crl(block) for block in _PEM.findall(data)]
        for found in lists:
            _refuse_partial(found)
    except UNREADABLE as error:
        raise OperatorError(f"a CRL in it is unreadable: {error}", _SHOW) from None
    if not lists:
        raise OperatorError("it holds no CRL", _SHOW)
    return tuple(lists)


def _refuse_partial(found: x509.CertificateRevocationList) -> None:
    for extension in found.extensions:
        if extension.critical or isinstance(extension.value, _PARTIAL):
            name = found.issuer.rfc4514_string()
            raise OperatorError(f"the CRL of {name} is a partial one", "name the CA's complete CRL")


def _judge_dates(found: x509.CertificateRevocationList, now: datetime) -> Iterator[OperatorError]:
    if not _is_current(found, now):
        name = found.issuer.rfc4514_string()
        yield OperatorError(f"the CRL of {name} is out of date, or not valid yet", f"fetch a new one; {_SHOW}")


def _is_current(found: x509.CertificateRevocationList, now: datetime) -> bool:
    until = found.next_update_utc
    return found.last_update_utc <= now and (until is None or now <= until)


def _is_signed(found: x509.CertificateRevocationList, issuer: x509.Certificate) -> bool:
    key = issuer.public_key()
    if found.issuer != issuer.subject or not isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey):
        return False
    return found.is_signature_valid(key)

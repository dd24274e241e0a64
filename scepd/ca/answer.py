"""What another CA made of a request of ours, judged before it is taken in: key, name, dates, and the CAs above it."""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path

import attrs
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding

from scepd.ca.plan import Step
from scepd.hsm.keys import PublicKey
from scepd.refusal import OperatorError
from scepd.x509.certificate import IssuerCertificate
from scepd.x509.fields import UNREADABLE
from scepd.x509.names import from_x509, to_text

_CHAIN_HINT = "--chain FILE: the CA that signed it first, then the one above"


@attrs.frozen
class Answer:
    """What another CA made of a request: the certificate, and the certificate of who signed it."""

    der: bytes
    signed_by: bytes


def verified_answer(step: Step, public: PublicKey, place: Callable[[str], Path], now: datetime) -> Answer:
    """Return the certificate that another CA signed for `public`, after asking everything of it that we rely on.

    Raises `OperatorError`: it certifies another key or name, is no CA certificate or not valid now, or does not follow
    from the plan's chain by signatures, dates, usages and path lengths (RFC 5280 section 6.1).
    """
    certificate, above = _read(step, place)
    if certificate.public_key() != public:
        raise OperatorError(
            f"the certificate certifies another key than {step.key.uri if step.key else ''}",
            "the answer to this key's request",
        )
    if to_text(from_x509(certificate.subject)) != step.subject:
        raise OperatorError(
            f"the certificate names {_name(certificate)}, the plan {step.subject}", "--subject, if that is right"
        )
    IssuerCertificate.load(der := certificate.public_bytes(Encoding.DER))
    for one in (certificate, *above):
        _require_valid(one, now)
    below = [certificate]
    for one in above:
        fault = next(_faults(one, below), None)
        if fault is not None:
            raise OperatorError(*fault)
        below.append(one)
    return Answer(der, above[0].public_bytes(Encoding.DER))


def _read(step: Step, place: Callable[[str], Path]) -> tuple[x509.Certificate, list[x509.Certificate]]:
    try:
        certificate = x509.load_pem_x509_certificate(step.request.encode())
        above = x509.load_pem_x509_certificates(place(step.chain).read_bytes())
        for one in (certificate, *above):
            _ = one.subject, one.issuer, one.public_key(), one.extensions  # read when they are asked for
    except (OSError, *UNREADABLE) as error:
        raise OperatorError(
            f"the certificate or its chain cannot be read: {error}", "openssl x509 -noout -text -in FILE"
        ) from error
    return certificate, above


def _name(certificate: x509.Certificate) -> str:
    return to_text(from_x509(certificate.subject)) or "a certificate without a name"


def _require_valid(certificate: x509.Certificate, now: datetime) -> None:
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now < begin:
        raise OperatorError(f"{_name(certificate)} is not valid before {begin:%Y-%m-%dT%H:%M:%SZ}", "date -u; or wait")
    if now >= end:
        raise OperatorError(
            f"{_name(certificate)} has ended at {end:%Y-%m-%dT%H:%M:%SZ}", "a new certificate from the CA above"
        )


def _faults(one: x509.Certificate, below: Sequence[x509.Certificate]) -> Iterator[tuple[str, str]]:
    """Yield what keeps a CA of the chain from standing above those certificates, of which it signed the last."""
    try:
        below[-1].verify_directly_issued_by(one)
    except (ValueError, TypeError, InvalidSignature):
        yield f"{_name(below[-1])} is not signed by {_name(one)}", _CHAIN_HINT
        return
    found = {extension.oid.dotted_string: extension.value for extension in one.extensions}
    constraints, usage = found.get("2.5.29.19"), found.get("2.5.29.15")
    if not isinstance(constraints, x509.BasicConstraints) or not constraints.ca:
        yield f"{_name(one)} signed {_name(below[-1])} and is no CA certificate", _CHAIN_HINT
        return
    if isinstance(usage, x509.KeyUsage) and not usage.key_cert_sign:  # roots made by hand have none
        yield f"the key usage of {_name(one)} lacks keyCertSign", _CHAIN_HINT
    depth = sum(ca.subject != ca.issuer for ca in below)  # who signs for itself does not count
    if constraints.path_length is not None and constraints.path_length < depth:
        words = f"{_name(one)} may have {constraints.path_length} levels of CAs below it, and {_name(below[0])} is at level {depth}"
        yield words, "a CA above whose path length allows it; openssl x509 -noout -text -in FILE"
    if not _is_identified(below[-1], found.get("2.5.29.14")):
        yield f"{_name(below[-1])} names another key of {_name(one)} as its issuer's", _CHAIN_HINT


def _is_identified(below: x509.Certificate, identifier: x509.ExtensionType | None) -> bool:
    """Return whether the authority key identifier is the issuer's own, where both have one: openssl insists on it."""
    try:
        wanted = below.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    except x509.ExtensionNotFound:
        return True
    return wanted is None or not isinstance(identifier, x509.SubjectKeyIdentifier) or wanted == identifier.digest

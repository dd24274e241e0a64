"""Judging the certificates that a configuration names, before any key is touched (checklist C-051, C-052)."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar

import attrs
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from scepd.config.files import read_public
from scepd.config.secret import Surroundings
from scepd.problems import Place, Refused
from scepd.x509.ocsp import may_answer

E = TypeVar("E", bound=x509.ExtensionType)

_SMALLEST_RSA = 2048  # bits
_SIGNERS = (rsa.RSAPublicKey, ec.EllipticCurvePublicKey)


@attrs.frozen
class Moment:
    """The time at which an issuer's certificates must be valid.

    `begins` is later than `now` for an issuer that takes over in the future. `ended`: another took over from it, and
    what is still accepted meanwhile needs no valid certificate.
    """

    now: datetime
    begins: datetime
    ended: bool = False

    @classmethod
    def at(cls, now: datetime) -> "Moment":
        """Return the moment of what serves now."""
        return cls(now, now)


def read_certificates(path: Path) -> list[x509.Certificate]:
    """Return the certificates of a PEM file, in its order; each is read to the end, so that none fails later."""
    pem = read_public(path)
    if b"PRIVATE KEY" in pem:
        raise Refused(f"{path} holds a private key beside the certificate", "keep the key in a file of its own")
    try:
        certificates = x509.load_pem_x509_certificates(pem)
        for certificate in certificates:
            _touch(certificate)
    except (ValueError, UnsupportedAlgorithm):
        hint = f"openssl x509 -in {path} -noout -text; for DER: openssl x509 -inform der -in {path} -out {path}.pem"
        raise Refused(f"{path} holds no readable PEM certificate", hint) from None
    return certificates


def read_certificate(path: Path) -> x509.Certificate:
    """Return the one certificate of a PEM file."""
    certificates = read_certificates(path)
    if len(certificates) != 1:
        raise Refused(f"{path} holds {len(certificates)} certificates", "keep one in it; those above it go under chain")
    return certificates[0]


def read_named(name: str | None, surroundings: Surroundings, place: Place) -> x509.Certificate | None:
    """Return the certificate of the file that a key names; None, with the problem noted, where there is none."""
    if name is None:
        return None
    try:
        return read_certificate(surroundings.resolve(name))
    except Refused as refused:
        place.refuse(refused)
        return None


def _touch(certificate: x509.Certificate) -> None:
    # The library reads fields when they are asked for; these are all that anybody asks for.
    certificate.public_key()
    list(certificate.extensions)
    str(certificate.subject)
    str(certificate.issuer)


def to_der(certificate: x509.Certificate) -> bytes:
    """Return the DER of a certificate."""
    return certificate.public_bytes(Encoding.DER)


def spki(certificate: x509.Certificate) -> bytes:
    """Return the SubjectPublicKeyInfo."""
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def show(certificate: x509.Certificate) -> str:
    """Return the subject for a message to the operator."""
    return repr(certificate.subject.rfc4514_string())


def lifetime(certificate: x509.Certificate) -> timedelta:
    """Return how long the certificate is valid in all."""
    return certificate.not_valid_after_utc - certificate.not_valid_before_utc


def is_self_signed(certificate: x509.Certificate) -> bool:
    """Return whether the certificate is a root's: issued by its own subject with its own key."""
    return not list(judge_issued(certificate, certificate))


def is_rsa(certificate: x509.Certificate) -> bool:
    """Return whether the certified key is RSA, the one kind that can be encrypted to (RFC 8894 section 3.1)."""
    return isinstance(certificate.public_key(), rsa.RSAPublicKey)


def judge_time(certificate: x509.Certificate, moment: Moment) -> Iterator[Refused]:
    """Yield what is wrong with the certificate's dates."""
    if moment.now >= certificate.not_valid_after_utc and not moment.ended:
        ended = f"{certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"
        yield Refused(f"{show(certificate)} expired on {ended}", "issue a new certificate for this key; check: date -u")
    if moment.begins < certificate.not_valid_before_utc:
        begins = f"{certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC"
        yield Refused(f"{show(certificate)} is valid only from {begins}", "check the clock: date -u; timedatectl")


def judge_issued(certificate: x509.Certificate, issuer: x509.Certificate) -> Iterator[Refused]:
    """Yield what speaks against `issuer` having signed the certificate."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        hint = "openssl x509 -noout -subject -issuer -in FILE, for both files"
        yield Refused(f"{show(certificate)} is not signed by {show(issuer)}", hint)


def judge_ca(certificate: x509.Certificate) -> Iterator[Refused]:
    """Yield what keeps the certificate from being a CA's (RFC 5280 sections 4.2.1.3 and 4.2.1.9)."""
    hint = "name the CA's certificate: basicConstraints CA:TRUE, keyUsage keyCertSign and cRLSign"
    constraints = _extension(certificate, x509.BasicConstraints)
    if constraints is None or not constraints.ca:
        yield Refused(f"{show(certificate)} is no CA certificate", hint)
        return
    usage = _extension(certificate, x509.KeyUsage)
    if usage is not None and not usage.key_cert_sign:
        yield Refused(f"{show(certificate)} may not sign certificates (keyUsage)", hint)
    yield from _judge_key(certificate, _SIGNERS)


def judge_ra_signer(certificate: x509.Certificate) -> Iterator[Refused]:
    """Yield what keeps the certificate from signing CertReps (RFC 8894 section 2.1.2)."""
    yield from _judge_end_entity(certificate)
    usage = _extension(certificate, x509.KeyUsage)
    if usage is not None and not usage.digital_signature:
        yield Refused(f"{show(certificate)} may not sign replies", "issue it with keyUsage digitalSignature")
    yield from _judge_key(certificate, _SIGNERS)


def judge_ra_recipient(certificate: x509.Certificate) -> Iterator[Refused]:
    """Yield what keeps clients from encrypting to the certificate (RFC 8894 section 2.1.2)."""
    yield from _judge_end_entity(certificate)
    usage = _extension(certificate, x509.KeyUsage)
    if usage is not None and not usage.key_encipherment:
        yield Refused(f"{show(certificate)} may not be encrypted to", "issue it with keyUsage keyEncipherment")
    yield from _judge_key(certificate, (rsa.RSAPublicKey,))


def judge_responder(certificate: x509.Certificate) -> Iterator[Refused]:
    """Yield what keeps the certificate from signing OCSP answers (RFC 6960 section 4.2.2.2)."""
    yield from _judge_end_entity(certificate)
    if not may_answer(certificate):
        hint = "scepd ca responder ISSUER"
        yield Refused(f"{show(certificate)} may not sign OCSP answers (extendedKeyUsage OCSPSigning)", hint)
    yield from _judge_key(certificate, _SIGNERS)


def judge_ca_as_ra(certificate: x509.Certificate) -> Iterator[Refused]:
    """Yield what keeps a CA from being its own RA (RFC 8894 section 2.1.2, C-051)."""
    usage = _extension(certificate, x509.KeyUsage)
    if usage is not None and not (usage.digital_signature and usage.key_encipherment):
        yield Refused(
            f"{show(certificate)} may not sign replies and be encrypted to (keyUsage)",
            "issue it with digitalSignature and keyEncipherment beside keyCertSign and cRLSign; or ra_sign and ra_decrypt",
        )
    if not is_rsa(certificate):
        yield Refused(f"{show(certificate)} has a key that cannot decrypt", "an RSA key; or ra_sign and ra_decrypt")


def _judge_end_entity(certificate: x509.Certificate) -> Iterator[Refused]:
    constraints = _extension(certificate, x509.BasicConstraints)
    if constraints is not None and constraints.ca:
        yield Refused(f"{show(certificate)} is a CA certificate", "issue one of its own for the RA, without CA:TRUE")


def _judge_key(certificate: x509.Certificate, kinds: tuple[type, ...]) -> Iterator[Refused]:
    key = certificate.public_key()
    if not isinstance(key, kinds):
        wanted = "an RSA or EC key" if kinds is _SIGNERS else "an RSA key"
        yield Refused(f"{show(certificate)} has a key that cannot do this", f"make {wanted} and a new certificate")
    elif isinstance(key, rsa.RSAPublicKey) and key.key_size < _SMALLEST_RSA:
        yield Refused(
            f"{show(certificate)} has an RSA key of {key.key_size} bits", f"make one of {_SMALLEST_RSA} or more"
        )


def _extension(certificate: x509.Certificate, kind: type[E]) -> E | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None

"""What the SCEP client believes of looked-up certificates, of a CRL, and of the next CA."""

from collections.abc import Callable
from datetime import datetime
from functools import partial

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from scepd.cli.client_exchange import ok
from scepd.cli.client_http import CRL_LIMITS
from scepd.cli.client_session import Session
from scepd.cli.client_trust import Authority, chain_of
from scepd.message.certificate import load_certificate
from scepd.message.certrep import read_certs_only, read_crls_only
from scepd.message.errors import MessageError
from scepd.message.names import Operation
from scepd.message.next_ca import read_next_ca
from scepd.refusal import OperatorError, Reject

_DISTRUST = "do not use it; tell the operator of the CA"


def take_certificate(inner: bytes, serial: int, authority: Authority) -> tuple[bytes, list[bytes]]:
    """Return the certificate of that serial and those above it; raises `OperatorError`."""
    certificates = _read(read_certs_only, inner)
    found = next((der for der in certificates if load_certificate(der).serial == serial), None)
    if found is None:
        raise OperatorError(f"the reply carries no certificate with serial {serial:x}", _DISTRUST)
    chain = chain_of(found, certificates, authority)
    if not chain:
        raise OperatorError("the certificate does not lead to the pinned CA", _DISTRUST)
    return found, chain


def take_crl(inner: bytes, authority: Authority, now: datetime) -> x509.CertificateRevocationList:
    """Return the one CRL of the reply, signed by the CA and current; raises `OperatorError`."""
    crls = _read(partial(read_crls_only, limits=CRL_LIMITS), inner)
    if len(crls) != 1:
        raise OperatorError(f"the reply carries {len(crls)} CRLs", "tell the operator of the server")
    issuer = x509.load_der_x509_certificate(authority.issuer)
    key = issuer.public_key()
    try:
        crl = x509.load_der_x509_crl(crls[0])
    except ValueError as error:
        raise OperatorError(f"the CRL cannot be read: {error}", _DISTRUST) from error
    if not isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey) or not crl.is_signature_valid(key):
        raise OperatorError("the CRL is not signed by the CA", _DISTRUST)
    if crl.next_update_utc is not None and crl.next_update_utc < now:
        raise OperatorError(f"the CRL ended at {crl.next_update_utc:%Y-%m-%d %H:%M} UTC", "scepd status, on the server")
    return crl


def next_certificates(session: Session, authority: Authority) -> list[bytes]:
    """Return the certificates of GetNextCACert, announced by today's CA (RFC 8894 section 4.7).

    Some servers sign with their RA; it is believed as well, since it leads to the pinned CA. Raises `OperatorError`.
    """
    answer = session.server.ask(Operation.GetNextCACert, session.identifier)
    if answer.status == 404:
        raise OperatorError("the server announces no next CA", "scepd client getcaps shows GetNextCACert while it does")
    body = ok(answer, "GetNextCACert").body
    trusted = (authority.issuer, authority.anchor, *authority.signers)
    try:
        found = read_next_ca(body, trusted=trusted)
    except (MessageError, Reject) as error:
        raise OperatorError(f"the next CA is not announced by the pinned one: {error}", _DISTRUST) from error
    if not found:
        raise OperatorError("the answer names no next CA", "tell the operator of the server")
    return found


def _read(read: Callable[[bytes], list[bytes]], inner: bytes) -> list[bytes]:
    try:
        return read(inner)
    except (MessageError, Reject) as error:
        raise OperatorError(f"the reply cannot be read: {error}", "tell the operator of the server") from error

"""The keys of a ceremony: made or found in the token, read back, proved; or another's, with proof of possession."""

from collections.abc import Callable

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_public_key

from scepd.ca.plan import PlannedKey, PlannedSigner, Step, kind_of
from scepd.hsm.attributes import KeyRules, Role, check, describe_attributes
from scepd.hsm.generate import generate_ec, generate_rsa
from scepd.hsm.keys import EcTokenKey, Opening, PublicKey, RsaTokenKey, find_key, parse_uri, signing_key_for
from scepd.hsm.public import public_key
from scepd.hsm.token import Session
from scepd.message.algorithms import CryptoPolicy
from scepd.message.csr import parse_csr
from scepd.refusal import OperatorError, Reject
from scepd.x509.certificate import IssuerCertificate
from scepd.x509.keys import load_public_key, verify_csr

Sessions = Callable[[str | None], Session]


def make_key(key: PlannedKey, sessions: Sessions) -> None:
    """Make a key pair in its token with the fixed attributes. Raises `OperatorError`, `TokenFault`."""
    name = parse_uri(key.uri)
    family, _, size = key.kind.partition(":")
    session, label = sessions(name.token), name.label or ""
    if family == "rsa":
        generate_rsa(session, label, int(size), key.role)
    else:
        generate_ec(session, label, size)


def certified_key(step: Step, sessions: Sessions) -> tuple[PublicKey, dict[str, bool | None] | None]:
    """Return the public key that a step is about, and the attributes of its private key where that is ours.

    Raises `OperatorError` where it is not there, not of the planned kind, or may do what it must not; `TokenFault`.
    """
    if step.key is None:
        return _requested_key(step), None
    key, name = step.key, parse_uri(step.key.uri)
    session = sessions(name.token)
    found = find_key(session, name)
    roles: tuple[Role, ...] = ("sign", "decrypt") if key.role == "both" else (key.role,)
    for role in roles:
        check(found, str(name), role, KeyRules(both_roles=key.role == "both"))
    public = public_key(session, name.label or "")
    if public is None:
        raise OperatorError(f"the token has no public key beside {name}", "scepd hsm list; make the pair again")
    if kind_of(public) != key.kind:
        raise OperatorError(
            f"key {name} is {kind_of(public)}, the plan says {key.kind}", f"--key-type {kind_of(public)}"
        )
    return public, describe_attributes(found)


def _requested_key(step: Step) -> PublicKey:
    """Return the key of a certification request, a certificate or a bare public key, as PEM."""
    pem = step.request.encode()
    try:
        if b"CERTIFICATE REQUEST" in pem:
            csr = parse_csr(x509.load_pem_x509_csr(pem).public_bytes(Encoding.DER))
            verify_csr(csr, CryptoPolicy())
            key: object = load_public_key(csr.spki_der)
        elif b"BEGIN CERTIFICATE" in pem:
            certificate = x509.load_pem_x509_certificate(pem)
            _require_self_signed(certificate)
            key = certificate.public_key()
        else:
            key = load_pem_public_key(pem)
    except Reject as reject:
        raise OperatorError(
            f"the request is no good: {reject.reason.value}: {reject.detail}", "openssl req -verify -noout -in FILE"
        ) from None
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise OperatorError(
            f"the request cannot be read: {error}", "openssl req -verify -noout -text -in FILE"
        ) from error
    if not isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey):
        raise OperatorError(
            "the request's key is neither RSA nor EC", "scepd hsm keygen LABEL --role sign --type ec:P-256"
        )
    return key


def _require_self_signed(certificate: x509.Certificate) -> None:
    """Raise `OperatorError` where who made a certificate need not hold its key."""
    try:
        certificate.verify_directly_issued_by(certificate)
    except (ValueError, TypeError, InvalidSignature):
        raise OperatorError(
            "the certificate is not signed by its own key: whoever made it need not hold that",
            "the CA's self-signed certificate, or a request: openssl req -new -key KEY; scepd ca sign",
        ) from None


def open_signer(
    signer: PlannedSigner | PlannedKey, issuer: IssuerCertificate | None, sessions: Sessions
) -> RsaTokenKey | EcTokenKey:
    """Return the key that signs, proved to be that of `issuer`, or of the public key beside it where that is None."""
    name = parse_uri(signer.uri)
    both = signer.both_roles if isinstance(signer, PlannedSigner) else signer.role == "both"
    session = sessions(name.token)
    public = public_key(session, name.label or "") if issuer is None else issuer.public_key
    if public is None:
        raise OperatorError(f"there is no key {name}", "scepd hsm list")
    return signing_key_for(session, name, public, Opening(rules=KeyRules(both_roles=both)))

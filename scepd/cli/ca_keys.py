"""New generations of an issuer's keys and certificates: made in the token, certified there, written as PEM files."""

import os
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import attrs
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from scepd.app.keys import ca_rules
from scepd.ca.ceremony import Ceremony
from scepd.cli.init_ceremony import made_once, ra_subject
from scepd.config.settings import IssuerSettings
from scepd.hsm.attributes import KeyRules, Roles
from scepd.hsm.generate import CURVES, RSA_BITS, generate_ec, generate_rsa
from scepd.hsm.keys import Opening, PublicKey, open_signing_key, parse_uri, signing_key_for
from scepd.hsm.public import public_key
from scepd.hsm.token import Session, Token
from scepd.hsm.uri import KeyName
from scepd.records import Attribute, Name
from scepd.refusal import OperatorError
from scepd.x509.certificate import IssuerCertificate, RaRole
from scepd.x509.names import ORGANIZATIONAL_UNIT

KINDS = (*(f"rsa:{bits}" for bits in RSA_BITS), *(f"ec:{curve}" for curve in CURVES))
RESPONDER_VALIDITY = timedelta(days=30)  # the service renews it
_CURVE_NAMES = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}


@attrs.frozen
class RaKey:
    """One RA key of an issuer: the configuration key that names it, the end of its label, its role and its kind."""

    word: str  # "ra_sign", "ra_decrypt" or "ra"
    suffix: str
    role: RaRole
    kind: str


@attrs.frozen
class Made:
    """A key that was made: its URI and the file of its certificate."""

    uri: str
    certificate: Path


@attrs.frozen(kw_only=True)
class Generation:
    """An issuer to be made: its name, its CA's subject, kind of key and validity; where its files go."""

    name: str
    subject: Name
    kind: str
    validity: timedelta
    directory: Path


def kind_of(certificate_der: bytes) -> str:
    """Return the kind of a certificate's key as `--type` spells it."""
    key = x509.load_der_x509_certificate(certificate_der).public_key()
    if isinstance(key, ec.EllipticCurvePublicKey):
        return f"ec:{_CURVE_NAMES.get(key.curve.name, key.curve.name)}"
    return f"rsa:{key.key_size}" if isinstance(key, rsa.RSAPublicKey) else type(key).__name__


def ra_keys_of(issuer: IssuerSettings) -> tuple[RaKey, ...]:
    """Return the RA keys that an issuer has beside its CA key; none where the CA is its own RA."""
    if issuer.ca_is_ra:
        return ()
    sign, decrypt = issuer.ra_sign.certificate_der, issuer.ra_decrypt
    if decrypt is not None and issuer.has_one_ra_key:
        return (RaKey("ra", "ra", "both", kind_of(sign)),)
    pair = [RaKey("ra_sign", "ra-sign", "sign", kind_of(sign))]
    if decrypt is not None:
        pair.append(RaKey("ra_decrypt", "ra-decrypt", "decrypt", kind_of(decrypt.certificate_der)))
    return tuple(pair)


def make_generation(token: Token, model: IssuerSettings, plan: Generation) -> dict[str, Made]:
    """Make the keys and certificates of the next issuer, with RA keys such as `model` has, by configuration key.

    What an interrupted run made already is used. Raises `OperatorError`, `TokenFault`.
    """
    session = token.session(writable=True)
    transport = model.ca_is_ra and model.ra_decrypt is not None
    label = f"{plan.name}-ca"
    public = key_in_token(session, label, plan.kind, "both" if transport else "sign")
    opening = Opening(rules=KeyRules(both_roles=transport))
    ceremony = Ceremony(signing_key_for(session, KeyName(label=label), public, opening), datetime.now(UTC), os.urandom)
    path = plan.directory / f"{label}.pem"
    ca_der = made_once(path, public, lambda: ceremony.found_ca(plan.subject, plan.validity, transport=transport))
    issuer = IssuerCertificate.load(ca_der)
    made = {"": Made(key_uri(token, label), path)}
    for key in ra_keys_of(model):
        made[key.word] = _make_ra(session, ceremony, issuer, key, plan)
    if model.ocsp is not None:
        own = key_in_token(session, f"{plan.name}-ocsp", kind_of(model.ocsp.certificate_der), "sign")
        made["ocsp"] = Made(key_uri(token, f"{plan.name}-ocsp"), plan.directory / f"{plan.name}-ocsp.pem")
        make_responder_certificate(made["ocsp"].certificate, ceremony, issuer, plan.subject, own)
    return made


def make_responder_certificate(
    path: Path, ceremony: Ceremony, issuer: IssuerCertificate, subject: Name, key: PublicKey
) -> None:
    """Make the first certificate of an OCSP key, unless it is there."""
    name = (*subject, (Attribute(ORGANIZATIONAL_UNIT, "OCSP responder"),))
    made_once(path, key, lambda: ceremony.certify_ocsp(issuer, name, key, RESPONDER_VALIDITY))


def _make_ra(session: Session, ceremony: Ceremony, issuer: IssuerCertificate, key: RaKey, plan: Generation) -> Made:
    label = f"{plan.name}-{key.suffix}"
    public, path = key_in_token(session, label, key.kind, key.role), plan.directory / f"{label}.pem"
    subject = ra_subject(plan.subject, key.role)
    made_once(path, public, lambda: ceremony.certify_ra(issuer, subject, public, key.role))
    return Made(key_uri(session.token, label), path)


def make_ra_decrypt(token: Token, issuer: IssuerSettings, subject: Name, directory: Path) -> Made:
    """Make a fresh RA decryption key under the next free label, certified by the issuer's CA key."""
    assert issuer.ra_decrypt is not None  # the caller has looked
    session = token.session(writable=True)
    opening = Opening(rules=ca_rules(issuer))
    ca_key = open_signing_key(session, parse_uri(issuer.key), issuer.certificate_der, opening)
    label = free_label(session, directory, f"{issuer.name}-ra-decrypt", first=2)
    public = key_in_token(session, label, kind_of(issuer.ra_decrypt.certificate_der), "decrypt")
    ceremony, path = Ceremony(ca_key, datetime.now(UTC), os.urandom), directory / f"{label}.pem"
    ca, name = IssuerCertificate.load(issuer.certificate_der), ra_subject(subject, "decrypt")
    made_once(path, public, lambda: ceremony.certify_ra(ca, name, public, "decrypt"))
    return Made(key_uri(token, label), path)


def free_label(session: Session, directory: Path, stem: str, *, first: int = 1) -> str:
    """Return a label that neither a key nor a file has: the stem itself, then with numbers from 2 on."""
    labels = (stem if number == 1 else f"{stem}-{number}" for number in count(first))
    return next(
        label for label in labels if public_key(session, label) is None and not (directory / f"{label}.pem").exists()
    )


def key_in_token(session: Session, label: str, kind: str, role: Roles) -> PublicKey:
    """Return the public key with that label, made in the token where there is none."""
    if kind not in KINDS:
        raise OperatorError(f"no key of kind {kind} is made here", f"--key-type {KINDS[0]}")
    family, _, size = kind.partition(":")
    if family == "ec" and role != "sign":
        raise OperatorError("an EC key does not decrypt", "--key-type rsa:3072")
    found = public_key(session, label)
    if found is not None:
        return found
    return generate_rsa(session, label, int(size), role) if family == "rsa" else generate_ec(session, label, size)


def key_uri(token: Token, label: str) -> str:
    """Return how the configuration names a key of that label."""
    return str(KeyName(label=label, token=token.settings.token_label))

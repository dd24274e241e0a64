"""New generations of an issuer's keys and certificates: made in the token, certified there, written as PEM files."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
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
from scepd.records import Name
from scepd.refusal import OperatorError
from scepd.x509.certificate import IssuerCertificate, RaRole

KINDS = (*(f"rsa:{bits}" for bits in RSA_BITS), *(f"ec:{curve}" for curve in CURVES))
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
    public = _key(session, label, plan.kind, "both" if transport else "sign")
    opening = Opening(rules=KeyRules(both_roles=transport))
    ceremony = Ceremony(signing_key_for(session, KeyName(label=label), public, opening), datetime.now(UTC), os.urandom)
    path = plan.directory / f"{label}.pem"
    ca_der = made_once(path, public, lambda: ceremony.found_ca(plan.subject, plan.validity, transport=transport))
    issuer = IssuerCertificate.load(ca_der)
    made = {"": Made(_uri(token, label), path)}
    for key in ra_keys_of(model):
        made[key.word] = _make_ra(session, ceremony, issuer, key, plan)
    return made


def _make_ra(session: Session, ceremony: Ceremony, issuer: IssuerCertificate, key: RaKey, plan: Generation) -> Made:
    label = f"{plan.name}-{key.suffix}"
    public, path = _key(session, label, key.kind, key.role), plan.directory / f"{label}.pem"
    subject = ra_subject(plan.subject, key.role)
    made_once(path, public, lambda: ceremony.certify_ra(issuer, subject, public, key.role))
    return Made(_uri(session.token, label), path)


def make_ra_decrypt(token: Token, issuer: IssuerSettings, subject: Name, directory: Path) -> Made:
    """Make a fresh RA decryption key under the next free label, certified by the issuer's CA key."""
    assert issuer.ra_decrypt is not None  # the caller has looked
    session = token.session(writable=True)
    opening = Opening(rules=ca_rules(issuer))
    ca_key = open_signing_key(session, parse_uri(issuer.key), issuer.certificate_der, opening)
    label = next(
        label
        for label in _labels(f"{issuer.name}-ra-decrypt")
        if public_key(session, label) is None and not (directory / f"{label}.pem").exists()
    )
    public = _key(session, label, kind_of(issuer.ra_decrypt.certificate_der), "decrypt")
    ceremony, path = Ceremony(ca_key, datetime.now(UTC), os.urandom), directory / f"{label}.pem"
    ca, name = IssuerCertificate.load(issuer.certificate_der), ra_subject(subject, "decrypt")
    made_once(path, public, lambda: ceremony.certify_ra(ca, name, public, "decrypt"))
    return Made(_uri(token, label), path)


def _labels(stem: str) -> Iterator[str]:
    number = 2
    while True:
        yield f"{stem}-{number}"
        number += 1


def _key(session: Session, label: str, kind: str, role: Roles) -> PublicKey:
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


def _uri(token: Token, label: str) -> str:
    return str(KeyName(label=label, token=token.settings.token_label))

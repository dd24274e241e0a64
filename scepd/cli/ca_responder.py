"""The key that answers OCSP for an issuer: made in the token, certified by the issuer's CA key."""

import os
from datetime import UTC, datetime
from pathlib import Path

import attrs

from scepd.app.keys import ca_rules
from scepd.ca.ceremony import Ceremony
from scepd.cli.ca_keys import Made, free_label, key_in_token, key_uri, kind_of, make_responder_certificate
from scepd.config.settings import IssuerSettings
from scepd.hsm.keys import Opening, open_signing_key, parse_uri
from scepd.hsm.token import Token
from scepd.records import Name
from scepd.x509.certificate import IssuerCertificate


@attrs.frozen
class ResponderPlan:
    """An OCSP key to be made: the CA's subject, the kind of key, where its certificate goes."""

    subject: Name
    kind: str
    directory: Path


def responder_kind(issuer: IssuerSettings) -> str:
    """Return the kind of key that suits: an elliptic CA's own; elsewhere P-256, since every answer is signed anew."""
    kind = kind_of(issuer.certificate_der)
    return kind if kind.startswith("ec:") else "ec:P-256"


def make_responder(token: Token, issuer: IssuerSettings, plan: ResponderPlan) -> Made:
    """Make a fresh OCSP key under a free label, with its first certificate. Raises `OperatorError`, `TokenFault`."""
    session = token.session(writable=True)
    ca_key = open_signing_key(session, parse_uri(issuer.key), issuer.certificate_der, Opening(rules=ca_rules(issuer)))
    label = free_label(session, plan.directory, f"{issuer.name}-ocsp")
    public = key_in_token(session, label, plan.kind, "sign")
    path, ceremony = plan.directory / f"{label}.pem", Ceremony(ca_key, datetime.now(UTC), os.urandom)
    ca = IssuerCertificate.load(issuer.certificate_der)
    make_responder_certificate(path, ceremony, ca, plan.subject, public)
    return Made(key_uri(token, label), path)

"""What the self-check asks of the certificates of OCSP keys: issued by their issuer, for answering and nothing else."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from cryptography import x509
from sqlalchemy import bindparam, select

from scepd.observe.audit import Action
from scepd.store.audit_tables import AUDIT
from scepd.store.check_certificate import is_signed_by
from scepd.store.check_rows import Findings, judged, pages
from scepd.store.engines import StoreConnection
from scepd.store.status_tables import RESPONDER
from scepd.x509.issuer import IssuerCertificate
from scepd.x509.lint import lint

_RESPONDERS = select(*RESPONDER.c)
_ACTS = select(AUDIT.c.details).where(
    AUDIT.c.target == bindparam("of"), AUDIT.c.action == Action.responder_certified.value
)


def check_responders(connection: StoreConnection, issuers: Mapping[str, IssuerCertificate]) -> Iterator[Findings]:
    """Yield what is wrong with each certificate of an OCSP key."""
    for row in pages(connection, _RESPONDERS, RESPONDER.c.id):
        where = f"responder row {row.id} of {row.issuer}"
        yield judged(where, _faults(connection, row, issuers), f"scepd ca responder {row.issuer}")


def _faults(connection: StoreConnection, row: Any, issuers: Mapping[str, IssuerCertificate]) -> Iterator[str]:
    certificate = x509.load_der_x509_certificate(row.der)
    if certificate.not_valid_after_utc.isoformat()[:19] != row.not_after[:19]:
        yield f"it ends {certificate.not_valid_after_utc.isoformat()}, on record {row.not_after}"
    issuer = issuers.get(row.issuer)
    if issuer is None:
        yield "its issuer is not known"
    elif not is_signed_by(certificate, issuer.certificate):
        yield "its issuer's key did not sign it"
    else:
        for finding in lint(row.der, issuer, "ocsp"):
            yield f"breaks the lint rule {finding.rule}: {finding.detail}"
    digest = hashlib.sha256(row.der).hexdigest()
    made = connection.rows(_ACTS, {"of": f"issuer {row.issuer}"})
    if digest not in {json.loads(details).get("certificate") for (details,) in made}:
        yield "no audit row says that it was made"

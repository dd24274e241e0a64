"""`scepd ca`: the issuers, their next generation, fresh RA keys."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from scepd.app.successions import successions_of
from scepd.ca.ceremony import Fingerprints
from scepd.cli.ca_certify import certify
from scepd.cli.ca_make import create, cross, request, sign, take_in
from scepd.cli.ca_next import renew_ra, responder, retire_ra, rollover
from scepd.cli.ca_records import perform, verify_record
from scepd.cli.configured import config_option, json_option, load_settings
from scepd.cli.output import show_fields, show_json
from scepd.config.issuer_settings import IssuerSettings
from scepd.config.settings import Settings
from scepd.enroll.succession import serving


@click.group(short_help="Issuers: fingerprints, ceremonies, rollover, fresh RA keys.")
def ca() -> None:
    """Look at the issuers; make CAs, their next generations, RA, OCSP and TLS certificates.

    Each command that makes something takes --plan (print what would be done), --rehearse (do it on a scratch token) and
    --yes, and leaves a signed record.

    \b
    scepd ca show
    scepd ca create root-ca --subject "CN=Example Root CA,O=Example" --rehearse
    scepd ca rollover devices --from 2031-03-01T06:00:00Z --write
    scepd ca ra devices --write
    scepd ca responder devices --write
    """  # noqa: D301 - \b is for click


for _command in (
    create,
    request,
    sign,
    cross,
    take_in,
    certify,
    rollover,
    renew_ra,
    responder,
    retire_ra,
    perform,
    verify_record,
):
    ca.add_command(_command)


@ca.command(short_help="Every issuer with its fingerprints, validity and successor.")
@config_option
@json_option
def show(config: Path, as_json: bool) -> None:
    """Show every issuer; the SHA-256 fingerprint is what a device asks its user to compare, SHA-1 is for old gear."""
    settings = load_settings(config)
    rows = [_describe(settings, issuer) for issuer in settings.issuers]
    if as_json:
        show_json(rows)
        return
    for index, row in enumerate(rows):
        if index:
            click.echo("")
        show_fields(row, as_json=False)


def _describe(settings: Settings, issuer: IssuerSettings) -> dict[str, Any]:
    certificate = x509.load_der_x509_certificate(issuer.certificate_der)
    found = Fingerprints.of(issuer.certificate_der)
    now = datetime.now(UTC)
    row: dict[str, Any] = {
        "issuer": issuer.name,
        "subject": certificate.subject.rfc4514_string(),
        "key": _words(certificate.public_key()),
        "not_before": f"{certificate.not_valid_before_utc:%Y-%m-%dT%H:%M:%SZ}",
        "not_after": f"{certificate.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}",
        "SHA-256": found.sha256,
        "SHA-1": found.sha1,
    }
    served_by = serving(issuer.name, successions_of(settings.issuers), now)
    if served_by != issuer.name:
        row["served_by"] = served_by
    if issuer.next is not None:
        row["next"] = issuer.next.issuer
        row["next_from"] = f"{issuer.next.at:%Y-%m-%dT%H:%M:%SZ}"
        row["answered_until"] = f"{issuer.next.at + issuer.next.overlap:%Y-%m-%dT%H:%M:%SZ}"
    return row


def _words(key: object) -> str:
    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA {key.key_size} bits"
    return f"EC {key.curve.name}" if isinstance(key, ec.EllipticCurvePublicKey) else type(key).__name__

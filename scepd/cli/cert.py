"""`scepd cert`: issued certificates, and their revocation."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from scepd.cli.configured import config_option, json_option
from scepd.cli.desk import ask, listing
from scepd.cli.output import show_fields, show_json, show_rows

# The words of RFC 5280 section 5.3.1, spelled out: the records take longer to load than the desk to answer.
_REASONS = (
    "unspecified",
    "keyCompromise",
    "cACompromise",
    "affiliationChanged",
    "superseded",
    "cessationOfOperation",
    "certificateHold",
    "privilegeWithdrawn",
    "aACompromise",
)


@click.group(short_help="Issued certificates: list, show, revoke.")
def cert() -> None:
    """List, show and revoke certificates.

    \b
    scepd cert list --subject r1
    scepd cert show 5c3f9a...
    scepd cert revoke 5c3f9a... --reason keyCompromise
    scepd cert revoke 5c3f9a... --reason certificateHold; scepd cert release 5c3f9a...
    """  # noqa: D301 - \b is for click


@cert.command("list", short_help="The newest certificates.")
@click.option("--subject", help="Only those whose subject holds this text.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=200, show_default=True, help="How many at most.")
@config_option
@json_option
def list_certificates(subject: str | None, limit: int, config: Path, as_json: bool) -> None:
    """List certificates, newest first."""
    rows = ask(config, "GET", listing("/api/v1/certificates", limit, subject=subject))
    columns = ("serial", "subject", "state", "profile", "not_after")
    show_rows(rows, columns, as_json=as_json, empty="no certificates yet")


@cert.command(short_help="One certificate, with its PEM.")
@click.argument("serial")
@click.option("--issuer", help="The issuer, where several have that serial.")
@config_option
@json_option
def show(serial: str, issuer: str | None, config: Path, as_json: bool) -> None:
    """Show the certificate with that SERIAL, in hexadecimal, with or without colons."""
    query = f"?issuer={quote(issuer, safe='')}" if issuer else ""
    found = ask(config, "GET", f"/api/v1/certificates/{_serial(serial)}{query}")
    pem = None if as_json else found.pop("pem", None)
    show_fields(found, as_json=as_json)
    if pem:
        click.echo(pem, nl=False)


@cert.command(short_help="End a certificate before its time.")
@click.argument("serial")
@click.option(
    "--reason", type=click.Choice(_REASONS, case_sensitive=False), default="unspecified", show_default=True, help="Why."
)
@click.option("--issuer", help="The issuer, where several have that serial.")
@click.option("--invalid-since", metavar="TIME", help="Since when its key is not to be trusted: 2026-01-31T12:00:00Z.")
@config_option
@json_option
def revoke(
    serial: str, reason: str, issuer: str | None, invalid_since: str | None, config: Path, as_json: bool
) -> None:
    """Revoke the certificate with that SERIAL, for ever; only a certificateHold can be released.

    It can renew no more, and the next CRL, which is made at once, lists it.
    """
    asked = {"reason": reason, "issuer": issuer, "invalid_since": invalid_since}
    body = {name: value for name, value in asked.items() if value is not None}
    found = ask(config, "POST", f"/api/v1/certificates/{_serial(serial)}/revoke", body)
    _show_ended(found, "is revoked" if reason != "certificateHold" else "is on hold", as_json=as_json)


@cert.command(short_help="Lift a certificateHold.")
@click.argument("serial")
@click.option("--issuer", help="The issuer, where several have that serial.")
@config_option
@json_option
def release(serial: str, issuer: str | None, config: Path, as_json: bool) -> None:
    """Release the certificate with that SERIAL, which was revoked with --reason certificateHold."""
    body = {"issuer": issuer} if issuer else {}
    found = ask(config, "POST", f"/api/v1/certificates/{_serial(serial)}/release", body)
    _show_ended(found, "is released", as_json=as_json)


def _show_ended(found: Mapping[str, Any], words: str, *, as_json: bool) -> None:
    if as_json:
        show_json(found)
        return
    click.echo(f"certificate {found['serial']} {words}")
    shown = ("subject", "issuer", "state", "revoked", "revocation_reason", "invalid_since")
    show_fields({name: found.get(name) for name in shown}, as_json=False)


def _serial(text: str) -> str:
    """Return a serial as the API takes it."""
    number = text.replace(":", "").lower().removeprefix("0x")
    if not number or not set(number) <= set("0123456789abcdef"):
        raise click.BadParameter(f"{text!r} is no serial in hexadecimal", param_hint="SERIAL")
    return number

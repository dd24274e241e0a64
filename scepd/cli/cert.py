"""`scepd cert`: issued certificates."""

from pathlib import Path
from urllib.parse import quote

import click

from scepd.cli.configured import config_option, json_option
from scepd.cli.desk import ask
from scepd.cli.output import show_fields, show_rows


@click.group(short_help="Issued certificates.")
def cert() -> None:
    """List and show certificates.

    \b
    scepd cert list --subject r1
    scepd cert show 5c3f9a...
    """  # noqa: D301 - \b is for click


@cert.command("list", short_help="The newest certificates.")
@click.option("--subject", help="Only those whose subject holds this text.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=200, show_default=True, help="How many at most.")
@config_option
@json_option
def list_certificates(subject: str | None, limit: int, config: Path, as_json: bool) -> None:
    """List certificates, newest first."""
    query = f"?limit={limit}" + (f"&subject={quote(subject, safe='')}" if subject else "")
    rows = ask(config, "GET", f"/api/v1/certificates{query}")
    columns = ("serial", "subject", "state", "profile", "not_after")
    show_rows(rows, columns, as_json=as_json, empty="no certificates yet")


@cert.command(short_help="One certificate, with its PEM.")
@click.argument("serial")
@click.option("--issuer", help="The issuer, where several have that serial.")
@config_option
@json_option
def show(serial: str, issuer: str | None, config: Path, as_json: bool) -> None:
    """Show the certificate with that SERIAL, in hexadecimal, with or without colons."""
    number = serial.replace(":", "").lower().removeprefix("0x")
    if not number or not set(number) <= set("0123456789abcdef"):
        raise click.BadParameter(f"{serial!r} is no serial in hexadecimal", param_hint="SERIAL")
    query = f"?issuer={quote(issuer, safe='')}" if issuer else ""
    found = ask(config, "GET", f"/api/v1/certificates/{number}{query}")
    pem = None if as_json else found.pop("pem", None)
    show_fields(found, as_json=as_json)
    if pem:
        click.echo(pem, nl=False)

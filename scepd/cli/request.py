"""`scepd request`: what devices asked for, and where each request stopped."""

from pathlib import Path
from urllib.parse import quote

import click

from scepd.cli.configured import config_option, json_option
from scepd.cli.desk import ask
from scepd.cli.output import show_fields, show_json, show_rows


@click.group(short_help="What devices asked for, with the trail.")
def request() -> None:
    """List and show requests: transactions and refusals.

    \b
    scepd request list
    scepd request show 17            a transaction
    scepd request show 8f14e45f...   a transactionID, or the request id of a log line
    """  # noqa: D301 - \b is for click


@request.command("list", short_help="The newest requests.")
@click.option("--profile", help="Only of this profile.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=200, show_default=True, help="How many at most.")
@config_option
@json_option
def list_requests(profile: str | None, limit: int, config: Path, as_json: bool) -> None:
    """List transactions and refused requests, newest first."""
    query = f"?limit={limit}" + (f"&profile={quote(profile, safe='')}" if profile else "")
    rows = ask(config, "GET", f"/api/v1/requests{query}")
    columns = ("id", "at", "profile", "state", "reason", "subject", "address")
    show_rows(rows, columns, as_json=as_json, empty="no requests yet")


@request.command(short_help="One request, step by step.")
@click.argument("name")
@config_option
@json_option
def show(name: str, config: Path, as_json: bool) -> None:
    """Show the request NAME: a transaction's number, a transactionID, or a request id, with its trail."""
    found = ask(config, "GET", f"/api/v1/requests/{quote(name, safe='')}")
    if as_json:
        show_json(found)
        return
    for index, one in enumerate(found):
        if index:
            click.echo()
        trail = one.pop("trail", [])
        show_fields(one, as_json=False)
        for step in trail:
            click.echo(f"  {step['ms']:>9.1f} ms  {step['step']}  {step['note']}".rstrip())

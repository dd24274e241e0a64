"""`scepd request`: what devices asked for, and where each request stopped."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from scepd.cli.configured import config_option, json_option
from scepd.cli.desk import ask, listing
from scepd.cli.output import show_fields, show_json, show_rows

_STATES = ("pending", "approved", "issuing", "issued", "rejected", "expired", "refused")


@click.group(short_help="What devices asked for, with the trail; approve and reject.")
def request() -> None:
    """List, show and decide about requests: transactions and refusals.

    \b
    scepd request list
    scepd request list --state pending
    scepd request show 17            a transaction, with the fingerprints of its PKCS#10
    scepd request show 8f14e45f...   a transactionID, or the request id of a log line
    scepd request approve 17
    scepd request reject 17 --detail "not one of ours"
    scepd request adopt node-b       what a node that is gone for good had begun to issue
    """  # noqa: D301 - \b is for click


@request.command("list", short_help="The newest requests.")
@click.option("--profile", help="Only of this profile.")
@click.option("--state", type=click.Choice(_STATES), help="Only in this state.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=200, show_default=True, help="How many at most.")
@config_option
@json_option
def list_requests(profile: str | None, state: str | None, limit: int, config: Path, as_json: bool) -> None:
    """List transactions and refused requests, newest first."""
    rows = ask(config, "GET", listing("/api/v1/requests", limit, profile=profile, state=state))
    columns = ("id", "at", "profile", "state", "reason", "subject", "address")
    show_rows(rows, columns, as_json=as_json, empty=f"no {state} requests" if state else "no requests yet")


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


@request.command(short_help="Let a waiting request have its certificate.")
@click.argument("number", type=click.IntRange(1))
@config_option
@json_option
def approve(number: int, config: Path, as_json: bool) -> None:
    """Approve the waiting request NUMBER; the device gets its certificate when it polls next.

    Compare the fingerprint first, over another way than the request came: scepd request show NUMBER.
    """
    _show_decided(ask(config, "POST", f"/api/v1/requests/{number}/approve", {}), as_json=as_json)


@request.command(short_help="Refuse a waiting request, or take an approval back.")
@click.argument("number", type=click.IntRange(1))
@click.option("--detail", help="Why: for log and audit; the device learns only that it was rejected.")
@config_option
@json_option
def reject(number: int, detail: str | None, config: Path, as_json: bool) -> None:
    """Reject the request NUMBER, which waits, or was approved and not fetched yet; its challenge is free again."""
    body = {"detail": detail} if detail else {}
    _show_decided(ask(config, "POST", f"/api/v1/requests/{number}/reject", body), as_json=as_json)


@request.command(short_help="Finish what a node that is gone had begun.")
@click.argument("node")
@config_option
@json_option
def adopt(node: str, config: Path, as_json: bool) -> None:
    """Let this node issue what the node NODE had begun to issue when it went for good.

    The recorded drafts are signed, so that no device gets a second certificate; within seconds where the service runs,
    else when it starts.
    """
    rows = ask(config, "POST", "/api/v1/requests/adopt", {"node": node})
    show_rows(rows, ("id", "at", "profile", "subject", "serial"), as_json=as_json, empty="nothing")


def _show_decided(found: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        show_json(found)
        return
    click.echo(f"request {found['id']} is {str(found['state']).lower()}")
    shown = ("subject", "names", "address", "csr_sha256", "csr_sha1")
    show_fields({name: found.get(name) for name in shown}, as_json=False)

"""`scepd profile`: what each profile decides, and what it would make of a request."""

import binascii
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import attrs
import click

from scepd.cli.configured import config_option, json_option
from scepd.cli.desk import ask
from scepd.cli.output import FAILED, Failure, show_fields, show_json, show_rows

WAITS = 3  # exit status: a person would be asked
_MOST_OCTETS = 1 << 20
_PEM = re.compile(rb"-----BEGIN (?:NEW )?CERTIFICATE REQUEST-----([^-]*)-----END")


@click.group(short_help="What each profile decides; try a request without issuing.")
def profile() -> None:
    """List, show, switch and explain profiles.

    \b
    scepd profile list
    scepd profile explain routers r1.csr --challenge k3vx-...
    scepd profile disable routers          at once, in every process; the configuration stays
    """  # noqa: D301 - \b is for click


@profile.command("list", short_help="The profiles.")
@config_option
@json_option
def list_profiles(config: Path, as_json: bool) -> None:
    """List the profiles of the configuration, and which are switched off."""
    rows = ask(config, "GET", "/api/v1/profiles")
    columns = ("name", "enabled", "path", "issuer", "challenge", "default")
    show_rows(rows, columns, as_json=as_json, empty="no profiles")


@profile.command(short_help="One profile, whole.")
@click.argument("name")
@config_option
@json_option
def show(name: str, config: Path, as_json: bool) -> None:
    """Show everything that the profile NAME decides; secrets are hidden."""
    show_fields(ask(config, "GET", _path(name)), as_json=as_json)


@profile.command(short_help="Switch a profile on again.")
@click.argument("name")
@config_option
def enable(name: str, config: Path) -> None:
    """Let the profile NAME serve again."""
    ask(config, "POST", f"{_path(name)}/enable", {})
    click.echo(f"profile {name} is on")


@profile.command(short_help="Switch a profile off at once.")
@click.argument("name")
@config_option
def disable(name: str, config: Path) -> None:
    """Refuse every request to the profile NAME until it is switched on again; a restart does not."""
    ask(config, "POST", f"{_path(name)}/disable", {})
    click.echo(f"profile {name} is off; scepd profile enable {name} switches it on")


@profile.command(short_help="What would become of a request, step by step.")
@click.argument("name")
@click.argument("file", type=click.File("rb"))
@click.option("--challenge", help="Judge with this challenge instead of the request's own; it is not spent.")
@click.option("--address", default="127.0.0.1", show_default=True, help="The client's address, for approval rules.")
@config_option
@json_option
@click.pass_context
def explain(  # noqa: PLR0917 - click passes each option as an argument
    ctx: click.Context, name: str, file: Any, challenge: str | None, address: str, config: Path, as_json: bool
) -> None:
    """Walk the PKCS#10 in FILE (PEM or DER; - for standard input) through the profile NAME: nothing is issued or spent.

    Exit status: 0 it would be issued, 3 a person would be asked, 1 it would be refused.

    \b
    openssl req -new -key r1.key -subj /CN=r1.example.net | scepd profile explain routers -
    """  # noqa: D301 - \b is for click
    # Read now: the other verbs need neither the store's libraries nor the enrolment path.
    from scepd.cli.profile_explain import explain_request  # noqa: PLC0415

    der = _read(file.read(_MOST_OCTETS))
    explanation = explain_request(config, name, der, challenge=challenge, address=address)
    findings = [attrs.asdict(finding) for finding in explanation.findings]
    if as_json:
        show_json({"outcome": explanation.outcome, "steps": findings})
    else:
        for finding in findings:
            click.echo(_printable(f"{finding['verdict']:<9}  {finding['step']:<20}  {finding['reason']}").rstrip())
            if finding["line"]:
                click.echo(_printable(f"{'':<9}  {'':<20}  {finding['line']}"))
        click.echo(f"it would be {_WORDS[explanation.outcome]}")
    ctx.exit({"issued": 0, "pending": WAITS}.get(explanation.outcome, FAILED))


_WORDS = {"issued": "issued", "pending": "left to a person (pending)", "refused": "refused"}


def _read(octets: bytes) -> bytes:
    found = _PEM.search(octets)
    if found is None:
        return octets
    try:
        return binascii.a2b_base64(found[1])
    except binascii.Error as error:
        raise Failure(f"the file cannot be read: {error}", hint="openssl req -in FILE -noout -text") from error


def _path(name: str) -> str:
    return f"/api/v1/profiles/{quote(name, safe='')}"


def _printable(text: str) -> str:
    # What a device wrote must not steer the terminal.
    return "".join(character if character.isprintable() else "?" for character in text)

"""`scepd challenge token`: what an MDM system presents to have one-time challenges made."""

from pathlib import Path
from urllib.parse import quote

import click

from scepd.cli.configured import config_option, json_option
from scepd.cli.desk import ask
from scepd.cli.durations import read_duration
from scepd.cli.output import show_json, show_rows


@click.group(short_help="Tokens with which other systems have challenges made.")
def token() -> None:
    """Make, list and revoke tokens of the generator, which MDM systems call for each device.

    \b
    scepd challenge token new jamf --profile macs --per-minute 60
    scepd challenge token revoke jamf
    """  # noqa: D301 - \b is for click


@token.command(short_help="Make a token; it is shown once.")
@click.argument("name")
@click.option(
    "--profile", "profiles", multiple=True, required=True, help="For challenges of this one; may be repeated."
)
@click.option("--cn-pattern", help="Only for common names like this one, whole; * is any characters.")
@click.option("--per-minute", type=click.IntRange(1, 6_000), default=60, show_default=True, help="Challenges a minute.")
@click.option("--most", type=click.IntRange(1), help="Challenges in all; else without end.")
@click.option("--valid", help="How long, for example 365d; else until it is revoked.")
@config_option
@json_option
def new(  # noqa: PLR0917 - click passes each option as an argument
    name: str,
    profiles: tuple[str, ...],
    cn_pattern: str | None,
    per_minute: int,
    most: int | None,
    valid: str | None,
    config: Path,
    as_json: bool,
) -> None:
    """Make the token NAME and print it: the only time that it can be seen."""
    body: dict[str, object] = {"name": name, "profiles": list(profiles), "per_minute": per_minute}
    if cn_pattern is not None:
        body["cn_pattern"] = cn_pattern
    if most is not None:
        body["most"] = most
    if valid is not None:
        body["valid_seconds"] = int(read_duration(valid).total_seconds())
    made = ask(config, "POST", "/api/v1/tokens", body)
    if as_json:
        show_json(made)
        return
    click.echo(made["token"])
    click.echo("shown this once; the caller sends it as Authorization: Bearer TOKEN", err=True)


@token.command("list", short_help="What tokens there are; never their text.")
@config_option
@json_option
def list_tokens(config: Path, as_json: bool) -> None:
    """List the tokens and what each is good for."""
    rows = ask(config, "GET", "/api/v1/tokens")
    columns = ("name", "profiles", "cn_pattern", "per_minute", "left", "expires", "revoked", "created_by")
    show_rows(rows, columns, as_json=as_json, empty="no tokens; make one: scepd challenge token new NAME --profile P")


@token.command(short_help="Let a token be used no more.")
@click.argument("name")
@config_option
def revoke(name: str, config: Path) -> None:
    """Revoke the token NAME; challenges that it had made stay good (scepd challenge cancel ends them)."""
    ask(config, "DELETE", f"/api/v1/tokens/{quote(name, safe='')}")
    click.echo(f"token {name} is revoked")

"""`scepd challenge`: one-time challenges."""

from pathlib import Path
from urllib.parse import quote

import click

from scepd.cli.configured import config_option, json_option
from scepd.cli.desk import ask
from scepd.cli.durations import read_duration
from scepd.cli.output import show_json, show_rows
from scepd.cli.token import token


@click.group(short_help="One-time challenges.")
def challenge() -> None:
    """Make, list and cancel one-time challenges.

    \b
    scepd challenge new routers --cn r1.example.net
    scepd challenge new routers --count 20 --valid 8h
    scepd challenge list --json
    """  # noqa: D301 - \b is for click


@challenge.command(short_help="Make a challenge; it is shown once.")
@click.argument("profile")
@click.option("--cn", help="Only for a request with this common name.")
@click.option("--dns", multiple=True, help="Only for a request with these DNS names; may be repeated.")
@click.option("--ip", multiple=True, help="Only for a request with these IP addresses; may be repeated.")
@click.option("--subject", help='Only for a request with exactly this subject, for example "CN=r1,O=Example".')
@click.option("--key-type", help="Only for a key of this kind: rsa, rsa-2048, ec, ec-256, ed25519.")
@click.option("--valid", help="How long, for example 30m, 24h, 7d; else as the profile says.")
@click.option("--count", type=click.IntRange(1, 1000), default=1, show_default=True, help="How many to make.")
@click.option(
    "--uses", type=click.IntRange(1, 10_000), default=1, show_default=True, help="Certificates each is good for."
)
@config_option
@json_option
def new(  # noqa: PLR0917 - click passes each option as an argument
    profile: str,
    cn: str | None,
    dns: tuple[str, ...],
    ip: tuple[str, ...],
    subject: str | None,
    key_type: str | None,
    valid: str | None,
    count: int,
    uses: int,
    config: Path,
    as_json: bool,
) -> None:
    """Make challenges for PROFILE and print them: the only time that they can be seen.

    \b
    scepd challenge new routers --cn r1.example.net --dns r1.example.net --valid 24h
    """  # noqa: D301 - \b is for click
    body: dict[str, object] = {"profile": profile, "count": count, "uses": uses}
    body["names"] = [f"dns:{name}" for name in dns] + [f"ip:{address}" for address in ip]
    body |= {name: text for name, text in (("cn", cn), ("subject", subject), ("key_type", key_type)) if text is not None}
    if valid is not None:
        body["valid_seconds"] = int(read_duration(valid).total_seconds())
    made = ask(config, "POST", "/api/v1/challenges", body)
    if as_json:
        show_json(made[0] if count == 1 else made)
        return
    for one in made:
        click.echo(one["challenge"])
    click.echo(f"valid until {made[0]['expires']}; shown this once", err=True)


@challenge.command("list", short_help="What challenges there are; never their text.")
@click.option("--profile", help="Only of this profile.")
@config_option
@json_option
def list_challenges(profile: str | None, config: Path, as_json: bool) -> None:
    """List the newest challenges with their state."""
    query = f"?profile={quote(profile, safe='')}" if profile else ""
    rows = ask(config, "GET", f"/api/v1/challenges{query}")
    columns = ("id", "profile", "state", "cn", "names", "uses_left", "expires", "created_by")
    show_rows(rows, columns, as_json=as_json, empty="no challenges; make one: scepd challenge new PROFILE")


@challenge.command(short_help="Make a challenge worthless.")
@click.argument("number", type=click.IntRange(1))
@config_option
def cancel(number: int, config: Path) -> None:
    """Cancel the challenge with that NUMBER (scepd challenge list shows it)."""
    ask(config, "DELETE", f"/api/v1/challenges/{number}")
    click.echo(f"challenge {number} is cancelled")


challenge.add_command(token)

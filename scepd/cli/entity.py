"""`scepd entity`: the register of end entities."""

from pathlib import Path
from typing import Any

import click

from scepd.cli.configured import config_option, json_option
from scepd.cli.desk import ask, listing
from scepd.cli.output import show_fields, show_json, show_rows

_STATES = ("new", "reserved", "generated", "failed")
_KINDS = ("dns", "ip", "email", "uri", "upn")


@click.group(short_help="Registered end entities.")
def entity() -> None:
    """Enter, import, list, reset and remove end entities: who may enrol, and with which enrolment code.

    \b
    scepd entity add routers --cn r1.example.net --attribute O=Example --dns r1.example.net
    scepd entity import routers.csv --profile routers > codes.csv
    scepd entity reset 17                  a new code, for the next certificate
    """  # noqa: D301 - \b is for click


@entity.command(short_help="Enter an entity; its code is shown once.")
@click.argument("profile")
@click.option("--cn", required=True, help="The common name of its requests.")
@click.option(
    "--code", help="Its enrolment code; else a good one is made. Wrong ones are counted only for codes given here."
)
@click.option("--attribute", multiple=True, help="Of its subject, for example O=Example; may be repeated.")
@click.option("--dns", multiple=True, help="A DNS name it may have; may be repeated.")
@click.option("--ip", multiple=True, help="An IP address it may have; may be repeated.")
@click.option("--upn", multiple=True, help="A user principal name it may have; may be repeated.")
@config_option
@json_option
def add(  # noqa: PLR0917 - click passes each option as an argument
    profile: str,
    cn: str,
    code: str | None,
    attribute: tuple[str, ...],
    dns: tuple[str, ...],
    ip: tuple[str, ...],
    upn: tuple[str, ...],
    config: Path,
    as_json: bool,
) -> None:
    """Enter an entity in the register of PROFILE and print its code: the only time that it can be seen."""
    names = [f"{kind}:{value}" for kind, values in (("dns", dns), ("ip", ip), ("upn", upn)) for value in values]
    written: dict[str, Any] = {"cn": cn, "names": names, "attributes": dict(map(_pair, attribute))}
    if code is not None:
        written["code"] = code
    (made,) = ask(config, "POST", "/api/v1/entities", {"profile": profile, "entities": [written]})
    _show_code(made, as_json=as_json)


@entity.command("import", short_help="Enter all entities of a CSV file, or none.")
@click.argument("file", type=click.File("r", encoding="utf-8"))
@click.option("--profile", required=True, help="Whose register they are entered in.")
@config_option
@json_option
def import_file(file: Any, profile: str, config: Path, as_json: bool) -> None:
    """Enter the entities of FILE (- for standard input); prints cn,code of those for which a code was made.

    The first line names the columns: cn, code, attributes such as O or serialNumber, and dns, ip, email, uri, upn with
    several names separated by blanks. Every problem is told with its line, and then nothing is entered.

    \b
    cn,O,dns
    r1.example.net,Example,r1.example.net r1.lan.example.net
    """  # noqa: D301 - \b is for click
    from scepd.admin.entity_file import read_entities  # noqa: PLC0415 - the other verbs do not need it

    try:
        found = read_entities(file.read())
    except UnicodeDecodeError as error:
        raise click.BadParameter(f"the file is not UTF-8: {error}", param_hint="FILE") from error
    written = [
        {
            "cn": one.common_name,
            "names": list(one.names),
            "attributes": dict(one.attributes),
            "line": one.line,
            **({} if one.code is None else {"code": one.code.reveal()}),
        }
        for one in found
    ]
    made = ask(config, "POST", "/api/v1/entities", {"profile": profile, "entities": written})
    if as_json:
        show_json(made)
        return
    for one in made:
        if one["code"] is not None:
            click.echo(f"{_cell(one['cn'])},{one['code']}")
    click.echo(f"{len(made)} entered; codes are shown this once", err=True)


@entity.command("list", short_help="The register; never a code.")
@click.option("--profile", help="Only of this profile.")
@click.option("--state", type=click.Choice(_STATES), help="Only in this state.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=200, show_default=True, help="How many at most.")
@config_option
@json_option
def list_entities(profile: str | None, state: str | None, limit: int, config: Path, as_json: bool) -> None:
    """List the newest entities with their state."""
    rows = ask(config, "GET", listing("/api/v1/entities", limit, profile=profile, state=state))
    columns = ("id", "profile", "cn", "state", "names", "tries_left", "expires", "created_by")
    show_rows(rows, columns, as_json=as_json, empty="no entities; enter one: scepd entity add PROFILE --cn NAME")


@entity.command(short_help="One entity.")
@click.argument("number", type=click.IntRange(1))
@config_option
@json_option
def show(number: int, config: Path, as_json: bool) -> None:
    """Show the entity NUMBER."""
    show_fields(ask(config, "GET", f"/api/v1/entities/{number}"), as_json=as_json)


@entity.command(short_help="Let an entity enrol again, with a new code.")
@click.argument("number", type=click.IntRange(1))
@click.option("--code", help="Its enrolment code; else a good one is made.")
@config_option
@json_option
def reset(number: int, code: str | None, config: Path, as_json: bool) -> None:
    """Make the entity NUMBER new, whether it has its certificate or has to wait, and print its new code."""
    body = {} if code is None else {"code": code}
    _show_code(ask(config, "POST", f"/api/v1/entities/{number}/reset", body), as_json=as_json)


@entity.command(short_help="Take an entity out of the register.")
@click.argument("number", type=click.IntRange(1))
@config_option
def remove(number: int, config: Path) -> None:
    """Remove the entity NUMBER; its certificates stay valid (scepd cert revoke ends them)."""
    removed = ask(config, "DELETE", f"/api/v1/entities/{number}")
    click.echo(_cell(f"entity {number} ({removed['cn']}) is removed"))


def _pair(text: str) -> tuple[str, str]:
    word, equals, value = text.partition("=")
    if not equals or not value:
        raise click.BadParameter(f"{text!r} is no attribute; write O=Example", param_hint="--attribute")
    return word.strip(), value


def _show_code(made: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        show_json(made)
        return
    if made["code"] is not None:
        click.echo(made["code"])
        click.echo(f"entity {made['id']}; its code is shown this once", err=True)
    else:
        click.echo(f"entity {made['id']} has the code that was given", err=True)


def _cell(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text)

"""`scepd ca`: the issuers, their next generation, fresh RA keys."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import click
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from scepd.app.successions import successions_of
from scepd.ca.ceremony import Fingerprints
from scepd.cli import ca_tables
from scepd.cli.ca_keys import KINDS, Generation, kind_of, make_generation, make_ra_decrypt
from scepd.cli.ca_plan import find_issuer, next_name, next_subject, refuse_what_cannot_follow, subject_of
from scepd.cli.ca_responder import ResponderPlan, make_responder, responder_kind
from scepd.cli.configured import config_option, json_option, load_settings
from scepd.cli.hsm import log_in, told_faults
from scepd.cli.output import show_fields, show_json
from scepd.config.problems import Refused
from scepd.config.scalars import read_duration, read_instant
from scepd.config.settings import IssuerSettings, Settings
from scepd.enroll.succession import serving
from scepd.refusal import OperatorError
from scepd.x509.names import from_text


def _duration(_ctx: click.Context, _option: click.Parameter, text: str) -> timedelta:
    try:
        return read_duration(text)
    except Refused as refused:
        raise click.BadParameter(f"{refused.reason}; {refused.hint}") from None


def _instant(_ctx: click.Context, _option: click.Parameter, text: str) -> datetime:
    try:
        return read_instant(datetime.fromisoformat(text))
    except (ValueError, Refused):
        raise click.BadParameter(f"{text!r} is no moment such as 2031-03-01T06:00:00Z") from None


@click.group(short_help="Issuers: fingerprints, rollover, fresh RA and OCSP keys.")
def ca() -> None:
    """Look at the issuers, make the next generation of one, a fresh RA decryption key, or the key that answers OCSP.

    \b
    scepd ca show
    scepd ca rollover devices --from 2031-03-01T06:00:00Z --write
    scepd ca ra devices --write
    scepd ca responder devices --write
    """  # noqa: D301 - \b is for click


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


@ca.command(short_help="Make the next CA key, certificate and RA keys of an issuer.")
@click.argument("issuer")
@click.option(
    "--from", "at", callback=_instant, required=True, help="When it takes over, for example 2031-03-01T06:00:00Z."
)
@click.option("--name", help="The name of the next issuer; the same with the next number unless said.")
@click.option(
    "--overlap", callback=_duration, default="30d", show_default=True, help="How long the old one is answered."
)
@click.option("--subject", help='The next CA\'s subject; the same with "G2" behind its common name unless said.')
@click.option("--key-type", "kind", type=click.Choice(KINDS), help="The next CA's key; as it is now unless said.")
@click.option("--validity", callback=_duration, default="10y", show_default=True, help="How long the next CA is valid.")
@click.option("--write", is_flag=True, help="Put the lines into the configuration.")
@config_option
def rollover(issuer: str, write: bool, config: Path, **wishes: Any) -> None:
    """Make in the token what follows ISSUER, and the lines that let it take over at a moment, without a restart.

    From the reload on GetNextCACert announces it and devices may enrol with it; from that moment on it serves.

    \b
    scepd ca rollover devices --from 2031-03-01T06:00:00Z --write
    scepd ca rollover devices --from 2031-03-01T06:00:00Z --subject "CN=Example Devices CA 2,O=Example"
    """  # noqa: D301 - \b is for click
    settings = load_settings(config)
    old = find_issuer(settings, issuer)
    refuse_what_cannot_follow(old, wishes["at"], wishes["overlap"], datetime.now(UTC))
    path, _ = ca_tables.find_table(config, issuer)
    plan = Generation(
        name=next_name(settings, issuer, wishes["name"]),
        subject=from_text(wishes["subject"]) if wishes["subject"] else next_subject(subject_of(old)),
        kind=wishes["kind"] or kind_of(old.certificate_der),
        validity=wishes["validity"],
        directory=path.parent.absolute(),
    )
    with told_faults():
        made = make_generation(log_in(settings), old, plan)
    table = ca_tables.issuer_table(plan.name, made, old)
    keys = {"next": plan.name, "next_from": wishes["at"], "next_overlap": ca_tables.duration(wishes["overlap"])}
    click.echo(f"made {', '.join(one.uri for one in made.values())}", err=True)
    click.echo(f"SHA-256 of the next CA: {_fingerprints(made[''].certificate).sha256}", err=True)
    _tell([f"[issuer.{plan.name}]", *ca_tables.lines(table)], issuer, keys)
    if write:
        change = partial(_with_successor, issuer=issuer, keys=keys, name=plan.name, table=table)
        mean = partial(_mean_successor, issuer=issuer, keys=keys, name=plan.name, table=table)
        ca_tables.rewrite(path, change, mean, config)
    _next_steps(path, write=write)


@ca.command("ra", short_help="Make and certify a fresh RA decryption key.")
@click.argument("issuer")
@click.option("--write", is_flag=True, help="Put the lines into the configuration.")
@config_option
def renew_ra(issuer: str, write: bool, config: Path) -> None:
    """Make a fresh RA decryption key for ISSUER; the present one stays accepted until its line is taken out.

    \b
    scepd ca ra devices --write
    """  # noqa: D301 - \b is for click
    settings = load_settings(config)
    found = find_issuer(settings, issuer)
    path, table = ca_tables.find_table(config, issuer)
    if "ra_decrypt" not in table:
        raise OperatorError(
            f"issuer {issuer} has no decryption key of its own: replies are signed with the same key, which devices know",
            f"scepd ca rollover {issuer} --from ...",
        )
    with told_faults():
        made = make_ra_decrypt(log_in(settings), found, subject_of(found), path.parent.absolute())
    keys = {
        "ra_decrypt": ca_tables.pair(made),
        "ra_decrypt_previous": [table["ra_decrypt"], *table.get("ra_decrypt_previous", [])],
    }
    click.echo(f"made {made.uri}", err=True)
    _tell([], issuer, keys)
    if write:
        change = partial(ca_tables.with_keys, issuer=issuer, keys=keys)
        ca_tables.rewrite(path, change, partial(_mean_keys, issuer=issuer, keys=keys), config)
    _next_steps(path, write=write)


@ca.command(short_help="Make and certify the key that answers OCSP.")
@click.argument("issuer")
@click.option("--key-type", "kind", type=click.Choice(KINDS), help="The key; elliptic as the CA's, else ec:P-256.")
@click.option("--write", is_flag=True, help="Put the lines into the configuration.")
@config_option
def responder(issuer: str, kind: str | None, write: bool, config: Path) -> None:
    """Make a key that signs OCSP answers for ISSUER, with a certificate of 30 days; the service renews it by itself.

    \b
    scepd ca responder devices --write
    """  # noqa: D301 - \b is for click
    settings = load_settings(config)
    found = find_issuer(settings, issuer)
    path, _ = ca_tables.find_table(config, issuer)
    plan = ResponderPlan(subject_of(found), kind or responder_kind(found), path.parent.absolute())
    with told_faults():
        made = make_responder(log_in(settings), found, plan)
    keys = {"ocsp": ca_tables.pair(made) | ca_tables.ocsp_terms(found.ocsp)}
    click.echo(f"made {made.uri}", err=True)
    _tell([], issuer, keys)
    if write:
        change = partial(ca_tables.with_keys, issuer=issuer, keys=keys)
        ca_tables.rewrite(path, change, partial(_mean_keys, issuer=issuer, keys=keys), config)
    _next_steps(path, write=write)


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


def _fingerprints(path: Path) -> Fingerprints:
    return Fingerprints.of(x509.load_pem_x509_certificate(path.read_bytes()).public_bytes(Encoding.DER))


def _words(key: object) -> str:
    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA {key.key_size} bits"
    return f"EC {key.curve.name}" if isinstance(key, ec.EllipticCurvePublicKey) else type(key).__name__


def _with_successor(text: str, *, issuer: str, keys: Mapping[str, Any], name: str, table: Mapping[str, Any]) -> str:
    return ca_tables.with_table(ca_tables.with_keys(text, issuer, keys), name, table)


def _mean_successor(
    tables: dict[str, Any], *, issuer: str, keys: Mapping[str, Any], name: str, table: Mapping[str, Any]
) -> None:
    _mean_keys(tables, issuer=issuer, keys=keys)
    tables["issuer"][name] = dict(table)


def _mean_keys(tables: dict[str, Any], *, issuer: str, keys: Mapping[str, Any]) -> None:
    tables["issuer"][issuer] |= keys


def _tell(table: list[str], issuer: str, keys: Mapping[str, Any]) -> None:
    for line in table:
        click.echo(line)
    if table:
        click.echo("")
    click.echo(f"# in [issuer.{issuer}]:")
    for line in ca_tables.lines(keys):
        click.echo(line)


def _next_steps(path: Path, *, write: bool) -> None:
    first = f"written to {path}" if write else f"put these lines into {path}"
    click.echo(f"{first}; then: scepd check --hsm; scepd reload", err=True)

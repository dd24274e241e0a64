"""`scepd ca rollover | ra | retire-ra`: the next generation of an issuer, fresh RA keys, the end of former ones."""

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import click

from scepd.ca.ceremony import Fingerprints
from scepd.ca.performance import Product, read_certificate
from scepd.ca.plan import KINDS, Plan
from scepd.cli import ca_tables
from scepd.cli.ca_keys import (
    Generation,
    end_of,
    kind_of_certificate,
    plan_generation,
    plan_ra,
    plan_responder,
    responder_kind,
    signer_of,
)
from scepd.cli.ca_options import as_duration, as_instant, file_option
from scepd.cli.ca_plan import find_issuer, next_name, next_subject, refuse_what_cannot_follow, subject_of
from scepd.cli.ca_signer import CaAbove, find_above
from scepd.cli.ceremony import Manner, ceremony_options, hold, manner_of
from scepd.cli.configured import config_option, load_settings
from scepd.cli.output import say_done
from scepd.config.issuer_settings import IssuerSettings
from scepd.config.settings import Settings
from scepd.hsm.keys import parse_uri
from scepd.refusal import OperatorError
from scepd.x509.issuer import IssuerCertificate
from scepd.x509.names import from_text

_write_option = click.option("--write", is_flag=True, help="Put the lines into the configuration.")


@click.command(short_help="Make the next CA key, certificate and RA keys of an issuer.")
@click.argument("issuer")
@click.option(
    "--from", "at", callback=as_instant, required=True, help="When it takes over, for example 2031-03-01T06:00:00Z."
)
@click.option("--name", help="The name of the next issuer; the same with the next number unless said.")
@click.option(
    "--overlap", callback=as_duration, default="30d", show_default=True, help="How long the old one is answered."
)
@click.option("--subject", help='The next CA\'s subject; the same with "G2" behind its common name unless said.')
@click.option("--key-type", "kind", type=click.Choice(KINDS), help="The next CA's key; as it is now unless said.")
@click.option(
    "--validity", callback=as_duration, default="10y", show_default=True, help="How long the next CA is valid."
)
@click.option("--key", help="The key of the CA above, where the next CA is signed by one; its token by a URI.")
@file_option("--certificate", help="The certificate of that key.")
@_write_option
@ceremony_options
def rollover(issuer: str, write: bool, **wishes: Any) -> None:
    """Make in the token what follows ISSUER, and the lines that let it take over at a moment, without a restart.

    From the reload on GetNextCACert announces it and devices may enrol with it; from that moment on it serves.

    \b
    scepd ca rollover devices --from 2031-03-01T06:00:00Z --plan
    scepd ca rollover devices --from 2031-03-01T06:00:00Z --write --yes
    scepd ca rollover devices --from 2031-03-01T06:00:00Z --subject "CN=Example Devices CA 2,O=Example"
    """  # noqa: D301 - \b is for click
    manner, now = manner_of(wishes), datetime.now(UTC)
    settings = load_settings(manner.config)
    old = find_issuer(settings, issuer)
    above = _above(wishes, manner)
    refuse_what_cannot_follow(old, wishes["at"], wishes["overlap"], now, is_signed_above=above is not None)
    path, written = ca_tables.find_table(manner.config, issuer)
    wish = _next_generation(settings, old, path.parent.absolute(), wishes, now)
    if above is not None:
        end = _end_of_file(Path(above.signer.certificate))
        wish = attrs.evolve(wish, signer=above.signer, end=min(wish.end, end))
    steps, made = plan_generation(old, wish)
    table = ca_tables.issuer_table(wish.name, made, old)
    if above is not None:
        steps = (above.sign(steps[0]), *steps[1:])
        own, former = above.signer.certificate, written.get("chain", [])
        table["chain"] = list(dict.fromkeys([own, *(former if own in former else [])]))
    keys = {"next": wish.name, "next_from": wishes["at"], "next_overlap": ca_tables.duration(wishes["overlap"])}
    then = _lines([f"[issuer.{wish.name}]", *ca_tables.lines(table)], issuer, keys)
    products = hold(Plan(title=f"What follows the issuer {issuer}: {wish.name}", steps=steps, then=then), manner)
    if not products:
        return
    _tell_made(products)
    say_done(f"SHA-256 of the next CA: {Fingerprints.of(products[0].der).sha256}", err=True)
    if write:
        change = partial(_with_successor, issuer=issuer, keys=keys, name=wish.name, table=table)
        mean = partial(_mean_successor, issuer=issuer, keys=keys, name=wish.name, table=table)
        ca_tables.rewrite(path, change, mean, manner.config)
    _next_steps(path, write=write)


def _next_generation(
    settings: Settings, old: IssuerSettings, directory: Path, wishes: Mapping[str, Any], now: datetime
) -> Generation:
    name = next_name(settings, old.name, wishes["name"])
    return Generation(
        name=name,
        subject=from_text(wishes["subject"]) if wishes["subject"] else next_subject(subject_of(old)),
        kind=wishes["kind"] or kind_of_certificate(old.certificate_der),
        end=now + wishes["validity"],
        directory=directory,
        token=settings.hsm.token,
        locations=ca_tables.locations_as(name, old),
    )


def _above(wishes: Mapping[str, Any], manner: Manner) -> CaAbove | None:
    if wishes["key"] is None:
        return None
    if wishes["certificate"] is None:
        raise OperatorError("the certificate of the key that signs is missing", "--certificate root-ca.pem")
    return find_above(wishes["key"], Path(wishes["certificate"]), manner)


def _end_of_file(path: Path) -> datetime:
    return IssuerCertificate.load(read_certificate(path)).not_after


@click.command("ra", short_help="Make and certify fresh RA keys; the former stay served and accepted.")
@click.argument("issuer")
@click.option("--pair", is_flag=True, help="A signing key too, not only a decryption key.")
@_write_option
@ceremony_options
def renew_ra(issuer: str, pair: bool, write: bool, **wishes: Any) -> None:
    """Make fresh RA keys for ISSUER. The present ones stay served and accepted until scepd ca retire-ra.

    A request that is encrypted to a former decryption key is answered with the signing key of its time.

    \b
    scepd ca ra devices --write --yes
    scepd ca ra devices --pair --write --yes
    """  # noqa: D301 - \b is for click
    manner = manner_of(wishes)
    settings = load_settings(manner.config)
    found = find_issuer(settings, issuer)
    path, table = ca_tables.find_table(manner.config, issuer)
    if "ra_decrypt" not in table:
        raise OperatorError(
            f"issuer {issuer} has no decryption key of its own: replies are signed with the same key, which devices know",
            f"scepd ca rollover {issuer} --from ...",
        )
    certificate = (manner.config.parent / table["certificate"]).absolute()
    wish = Generation(
        name=issuer,
        subject=subject_of(found),
        kind="",
        end=end_of(found),
        directory=path.parent.absolute(),
        token=settings.hsm.token,
        locations=found.locations,
    )
    steps, made = plan_ra(found, signer_of(found, certificate), wish, _labels(found), pair=pair)
    keys = _fresh_keys(table, {word: ca_tables.pair(one) for word, one in made.items()}, pair=pair)
    plan = Plan(title=f"Fresh RA keys for the issuer {issuer}", steps=steps, then=_lines([], issuer, keys))
    products = hold(plan, manner)
    if not products:
        return
    _tell_made(products)
    if write:
        change = partial(ca_tables.with_keys, issuer=issuer, keys=keys)
        ca_tables.rewrite(path, change, partial(_mean_keys, issuer=issuer, keys=keys), manner.config)
    _next_steps(path, write=write)


def _fresh_keys(table: Mapping[str, Any], made: Mapping[str, Any], *, pair: bool) -> dict[str, Any]:
    """Return the lines of the issuer; with a new signing key each former decryption key keeps the one of its time."""
    former = [table["ra_decrypt"], *table.get("ra_decrypt_previous", [])]
    if pair:
        former = [{**one, "sign": one.get("sign", table["ra_sign"])} for one in former]
    return {**made, "ra_decrypt_previous": former}


def _labels(issuer: IssuerSettings) -> frozenset[str]:
    uris = [issuer.ra_sign.key, *(one.key for one in (*issuer.recipients, *issuer.former_signers))]
    return frozenset(filter(None, (parse_uri(uri).label for uri in uris)))


@click.command(short_help="Make and certify the key that answers OCSP.")
@click.argument("issuer")
@click.option("--key-type", "kind", type=click.Choice(KINDS), help="The key; elliptic as the CA's, else ec:P-256.")
@_write_option
@ceremony_options
def responder(issuer: str, kind: str | None, write: bool, **wishes: Any) -> None:
    """Make a key that signs OCSP answers for ISSUER, with a certificate of 30 days; the service renews it by itself.

    \b
    scepd ca responder devices --write --yes
    """  # noqa: D301 - \b is for click
    manner = manner_of(wishes)
    settings = load_settings(manner.config)
    found = find_issuer(settings, issuer)
    path, table = ca_tables.find_table(manner.config, issuer)
    wish = Generation(
        name=issuer,
        subject=subject_of(found),
        kind=kind or responder_kind(found),
        end=end_of(found),
        directory=path.parent.absolute(),
        token=settings.hsm.token,
    )
    signer = signer_of(found, (manner.config.parent / table["certificate"]).absolute())
    step, made = plan_responder(found, signer, wish)
    keys = {"ocsp": ca_tables.pair(made) | ca_tables.ocsp_terms(found.ocsp)}
    plan = Plan(title=f"Who answers OCSP for the issuer {issuer}", steps=(step,), then=_lines([], issuer, keys))
    if not (products := hold(plan, manner)):
        return
    _tell_made(products)
    if write:
        change = partial(ca_tables.with_keys, issuer=issuer, keys=keys)
        ca_tables.rewrite(path, change, partial(_mean_keys, issuer=issuer, keys=keys), manner.config)
    _next_steps(path, write=write)


@click.command("retire-ra", short_help="Serve and accept the former RA keys no more.")
@click.argument("issuer")
@_write_option
@config_option
def retire_ra(issuer: str, write: bool, config: Path) -> None:
    """Take the former RA keys of ISSUER out of the configuration, once the devices have fetched the new certificates.

    \b
    scepd ca retire-ra devices --write
    scepd reload
    """  # noqa: D301 - \b is for click
    found = find_issuer(load_settings(config), issuer)
    path, table = ca_tables.find_table(config, issuer)
    if not table.get("ra_decrypt_previous"):
        raise OperatorError(f"issuer {issuer} has no former RA keys", "scepd ca show")
    keys: dict[str, Any] = {"ra_decrypt_previous": []}
    for line in _lines([], issuer, keys):
        say_done(line)
    if write:
        change = partial(ca_tables.with_keys, issuer=issuer, keys=keys)
        ca_tables.rewrite(path, change, partial(_mean_keys, issuer=issuer, keys=keys), config)
    retired = sorted(_labels(found) - _labels(attrs.evolve(found, ra_decrypt_previous=())))
    click.echo(f"no more in use after the reload: {', '.join(retired)}", err=True)
    _next_steps(path, write=write)


def _with_successor(text: str, *, issuer: str, keys: Mapping[str, Any], name: str, table: Mapping[str, Any]) -> str:
    return ca_tables.with_table(ca_tables.with_keys(text, issuer, keys), name, table)


def _mean_successor(
    tables: dict[str, Any], *, issuer: str, keys: Mapping[str, Any], name: str, table: Mapping[str, Any]
) -> None:
    _mean_keys(tables, issuer=issuer, keys=keys)
    tables["issuer"][name] = dict(table)


def _mean_keys(tables: dict[str, Any], *, issuer: str, keys: Mapping[str, Any]) -> None:
    tables["issuer"][issuer] |= keys


def _lines(table: list[str], issuer: str, keys: Mapping[str, Any]) -> tuple[str, ...]:
    return (*table, *([""] if table else []), f"# in [issuer.{issuer}]:", *ca_tables.lines(keys))


def _tell_made(products: tuple[Product, ...]) -> None:
    made = [product.step.key.uri for product in products if product.step.key is not None]
    say_done(f"made {', '.join(made)}", err=True)


def _next_steps(path: Path, *, write: bool) -> None:
    first = f"written to {path}" if write else f"put these lines into {path}"
    click.echo(f"{first}; then: scepd check --hsm; scepd reload", err=True)

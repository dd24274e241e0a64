"""`scepd hsm`: what is on the token, new keys for it, and whether it does its work."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import click
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from scepd.app.gateway import token_settings
from scepd.cli.configured import config_option, json_option, load_settings, load_token
from scepd.cli.output import FAILED, Failure, show_json, show_rows, three_parts
from scepd.cli.probe import memory_of, obtain_pin, probe
from scepd.config.settings import Premises, Settings
from scepd.hsm.attributes import KeyRules, Role, Roles
from scepd.hsm.attributes import check as check_attributes
from scepd.hsm.faults import TokenFault
from scepd.hsm.generate import CURVES, RSA_BITS, generate_ec, generate_rsa
from scepd.hsm.keys import KeyName, PublicKey, find_key
from scepd.hsm.listing import list_keys, list_tokens
from scepd.hsm.module import load_module
from scepd.hsm.token import Session, Token

_KINDS = (*(f"rsa:{bits}" for bits in RSA_BITS), *(f"ec:{curve}" for curve in CURVES))


@click.group(short_help="What is on the token; new keys.")
def hsm() -> None:
    """Look at tokens and keys, in the words of pkcs11-tool, and make keys; nothing can be exported.

    \b
    scepd hsm list
    scepd hsm list --tokens
    scepd hsm keygen routers-ca --role sign --type ec:P-256
    scepd hsm probe
    """  # noqa: D301 - \b is for click


@hsm.command("list", short_help="The private keys of the token, or the module's tokens.")
@click.option("--tokens", is_flag=True, help="List the module's tokens instead; needs no PIN.")
@config_option
@json_option
def list_token(tokens: bool, config: Path, as_json: bool) -> None:
    """List the private keys with what they may do, and the URI that names each in the configuration."""
    premises = load_token(config)
    with told_faults():
        if tokens:
            rows = [attrs.asdict(row) for row in list_tokens(load_module(str(premises.hsm.module)))]
            show_rows(rows, ("label", "serial", "model", "flags"), as_json=as_json, empty="no tokens")
            return
        rows = [attrs.asdict(row) for row in list_keys(log_in(premises).session())]
    show_rows(rows, ("label", "kind", "usage", "access", "uri"), as_json=as_json, empty="no private keys")


@hsm.command("keygen", short_help="Make a key pair in the token.")
@click.argument("label")
@click.option(
    "--role",
    type=click.Choice(["sign", "decrypt", "both"]),
    required=True,
    help="The one thing that it may do; both, for a single RA key or a CA that is its own RA.",
)
@click.option("--type", "kind", type=click.Choice(_KINDS), default="rsa:2048", show_default=True, help="Its kind.")
@config_option
@json_option
def generate_key(label: str, role: Roles, kind: str, config: Path, as_json: bool) -> None:
    """Make a key pair called LABEL in the token, never to leave it; print its configuration line and public key.

    \b
    scepd hsm keygen routers-ca --role sign --type ec:P-256
    scepd hsm keygen routers-ra-decrypt --role decrypt --type rsa:2048
    """  # noqa: D301 - \b is for click
    if role != "sign" and not kind.startswith("rsa:"):
        raise click.BadParameter("SCEP encrypts to RSA keys: --type rsa:2048", param_hint="--type")
    premises = load_token(config)
    with told_faults():
        session = log_in(premises).session(writable=True)
        public_key = _generate(session, label, role, kind)
        _check(session, label, role)
    uri = str(KeyName(label=label, token=premises.hsm.token))
    pem = public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode("ascii")
    if as_json:
        show_json({"label": label, "role": role, "type": kind, "uri": uri, "public_key": pem})
        return
    click.echo(f'key = "{uri}"')
    click.echo(pem, nl=False)


@hsm.command("probe", short_help="Log in, and try every configured key.")
@config_option
@json_option
@click.pass_context
def probe_token(ctx: click.Context, config: Path, as_json: bool) -> None:
    """Do what a start does with the token: log in once, check every configured key, sign and decrypt with it.

    Exit status: 0 all keys do their work, 1 a problem, 78 a fault in the configuration.
    """
    report = probe(load_settings(config))
    if as_json:
        show_json(report)
    else:
        rows = [{"does": _abilities(key), **key} for key in report["keys"]]
        show_rows(rows, ("role", "kind", "does", "remarks", "uri"), as_json=False, empty="no key does its work")
        for trouble in report["problems"]:
            click.echo(three_parts(trouble["problem"], hint=trouble["hint"]), err=True)
    ctx.exit(0 if report["ok"] else FAILED)


def _abilities(key: dict[str, Any]) -> list[str]:
    if key["role"] == "decrypt":
        return list(key["transports"])
    return ["sign", "pss"] if key.get("pss") else ["sign"]


def _check(session: Session, label: str, role: Roles) -> None:
    key, rules = find_key(session, KeyName(label=label)), KeyRules(both_roles=role == "both")
    single: tuple[Role, ...] = ("sign", "decrypt") if role == "both" else (role,)
    for one in single:
        check_attributes(key, label, one, rules)


def _generate(session: Session, label: str, role: Roles, kind: str) -> PublicKey:
    family, _, size = kind.partition(":")
    return generate_rsa(session, label, int(size), role) if family == "rsa" else generate_ec(session, label, size)


def log_in(premises: Premises | Settings) -> Token:
    """Return the token, logged in with the configured PIN, which is never tried again where it failed before."""
    module = load_module(str(premises.hsm.module))
    return Token.open(module, token_settings(premises.hsm), obtain_pin(premises.hsm), memory=memory_of(premises))


@contextmanager
def told_faults() -> Iterator[None]:
    """Let a fault of the token leave as a readable failure."""
    try:
        yield
    except TokenFault as fault:
        raise Failure(f"the token failed: {fault.cause}", hint="scepd hsm list --tokens") from fault

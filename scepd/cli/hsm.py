"""`scepd hsm`: what is on the token, new keys for it, and whether it does its work."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import click
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from scepd.app.gateway import token_settings
from scepd.ca.plan import KINDS, Plan, PlannedKey, Step
from scepd.cli.ca_options import key_uri
from scepd.cli.ceremony import ceremony_options, hold, manner_of
from scepd.cli.configured import config_option, json_option, load_settings, load_token
from scepd.cli.output import FAILED, Failure, show_json, show_rows, three_parts
from scepd.cli.probe import memory_of, obtain_pin, probe
from scepd.config.settings import Premises, Settings
from scepd.hsm.attributes import Roles
from scepd.hsm.faults import TokenFault
from scepd.hsm.listing import list_keys, list_mechanisms, list_tokens
from scepd.hsm.module import load_module
from scepd.hsm.token import Token


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
@click.option("--mechanisms", is_flag=True, help="List the token's RSA and elliptic mechanisms instead.")
@config_option
@json_option
def list_token(tokens: bool, mechanisms: bool, config: Path, as_json: bool) -> None:
    """List the private keys with what they may do, and the URI that names each in the configuration."""
    premises = load_token(config)
    with told_faults():
        if tokens:
            rows = [attrs.asdict(row) for row in list_tokens(load_module(str(premises.hsm.module), sha256=premises.hsm.module_sha256))]
            show_rows(rows, ("label", "serial", "model", "flags"), as_json=as_json, empty="no tokens")
            return
        if mechanisms:
            found = [{"mechanism": f"CKM_{word}"} for word in list_mechanisms(log_in(premises).session())]
            show_rows(found, ("mechanism",), as_json=as_json, empty="no mechanisms")
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
@click.option("--type", "kind", type=click.Choice(KINDS), default="rsa:2048", show_default=True, help="Its kind.")
@ceremony_options
@json_option
def generate_key(label: str, role: Roles, kind: str, as_json: bool, **wishes: Any) -> None:
    """Make a key pair called LABEL in the token, never to leave it; print its configuration line and public key.

    \b
    scepd hsm keygen routers-ca --role sign --type ec:P-256
    scepd hsm keygen routers-ra-decrypt --role decrypt --type rsa:2048
    """  # noqa: D301 - \b is for click
    if role != "sign" and not kind.startswith("rsa:"):
        raise click.BadParameter("SCEP encrypts to RSA keys: --type rsa:2048", param_hint="--type")
    manner = manner_of(wishes)
    uri = key_uri(label, manner)
    step = Step(makes="key", key=PlannedKey(uri=uri, kind=kind, role=role, fresh=True))
    products = hold(Plan(title=f"Make the key {label}", steps=(step,)), manner)
    if not products:
        return
    pem = products[0].public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode("ascii")
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


def log_in(premises: Premises | Settings) -> Token:
    """Return the token, logged in with the configured PIN, which is never tried again where it failed before."""
    module = load_module(str(premises.hsm.module), sha256=premises.hsm.module_sha256)
    return Token.open(module, token_settings(premises.hsm), obtain_pin(premises.hsm), memory=memory_of(premises))


@contextmanager
def told_faults() -> Iterator[None]:
    """Let a fault of the token leave as a readable failure."""
    try:
        yield
    except TokenFault as fault:
        raise Failure(f"the token failed: {fault.cause}", hint="scepd hsm list --tokens") from fault

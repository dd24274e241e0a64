"""`scepd hsm`: what is on the token."""

from pathlib import Path

import attrs
import click

from scepd.app.gateway import token_settings
from scepd.cli.configured import config_option, json_option, load_settings
from scepd.cli.output import Failure, show_rows
from scepd.cli.probe import memory_of, obtain_pin
from scepd.hsm.faults import TokenFault
from scepd.hsm.listing import list_keys, list_tokens
from scepd.hsm.module import load_module
from scepd.hsm.token import Token


@click.group(short_help="What is on the token.")
def hsm() -> None:
    """Look at tokens and keys, in the words of pkcs11-tool; nothing can be exported.

    \b
    scepd hsm list
    scepd hsm list --tokens
    """  # noqa: D301 - \b is for click


@hsm.command("list", short_help="The private keys of the token, or the module's tokens.")
@click.option("--tokens", is_flag=True, help="List the module's tokens instead; needs no PIN.")
@config_option
@json_option
def list_token(tokens: bool, config: Path, as_json: bool) -> None:
    """List the private keys with what they may do, and the URI that names each in the configuration."""
    settings = load_settings(config)
    try:
        module = load_module(str(settings.hsm.module))
        if tokens:
            rows = [attrs.asdict(row) for row in list_tokens(module)]
            show_rows(rows, ("label", "serial", "model", "flags"), as_json=as_json, empty="no tokens")
            return
        token = Token.open(module, token_settings(settings), obtain_pin(settings), memory=memory_of(settings))
        rows = [attrs.asdict(row) for row in list_keys(token.session())]
    except TokenFault as fault:
        raise Failure(f"the token failed: {fault.cause}", hint="scepd hsm list --tokens") from fault
    show_rows(rows, ("label", "kind", "usage", "access", "uri"), as_json=as_json, empty="no private keys")

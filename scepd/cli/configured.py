"""The options that commands share, and the configuration they name."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from scepd.config.load import DEFAULT_PATH, load, load_premises
from scepd.config.settings import Premises, Settings

Command = TypeVar("Command", bound=Callable[..., Any])


def config_option(command: Command) -> Command:
    """Give a command its --config; unset, it is SCEPD_CONFIG's or the default file."""
    return click.option(
        "--config",
        type=click.Path(path_type=Path),
        envvar="SCEPD_CONFIG",
        default=DEFAULT_PATH,
        show_default=True,
        help="The configuration file; also by SCEPD_CONFIG.",
    )(command)


def json_option(command: Command) -> Command:
    """Give a command its --json."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


def load_settings(config: Path) -> Settings:
    """Return the compiled configuration; what is wrong with it leaves with exit status 78."""
    settings = load(config)
    os.environ.update(settings.hsm.variables)  # the module's own; children inherit them
    return settings


def load_token(config: Path) -> Premises:
    """Return the part of the configuration that says where token and store are; faults elsewhere do not matter."""
    premises = load_premises(config)
    os.environ.update(premises.hsm.variables)
    return premises

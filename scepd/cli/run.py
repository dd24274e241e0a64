"""`scepd run`: serve in the foreground."""

import os
import shutil
import sys
from pathlib import Path

import click

from scepd.cli.configured import config_option, load_settings
from scepd.cli.welcome import serve_and_welcome
from scepd.refusal import OperatorError


@click.command(short_help="Serve in the foreground.")
@click.option("--welcome", is_flag=True, help="When ready, print the URLs, the CA's fingerprints and how to enrol.")
@config_option
def run(welcome: bool, config: Path) -> None:
    """Start `twistd -n scepd` with that configuration.

    \b
    scepd run --welcome --config var/scepd.toml
    """  # noqa: D301 - \b is for click
    path = config.absolute()
    settings = load_settings(path)
    command = [*twistd(), "--nodaemon", "--pidfile=", "scepd", "--config", str(path)]
    if welcome:
        sys.exit(serve_and_welcome(command, settings, path))
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(command[0], command)  # noqa: S606 - our own program


def twistd() -> list[str]:
    """Return how to start twistd: the one beside this Python, so that both run the same scepd."""
    beside = Path(sys.executable).with_name("twistd")
    found = str(beside) if beside.is_file() else shutil.which("twistd")
    if found is None:
        raise OperatorError(
            "twistd is not installed beside this Python", f"{sys.executable} -m pip install twisted[tls]"
        )
    return [found]

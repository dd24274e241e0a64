"""The `scepd` command: nouns, then verbs."""

import importlib
from typing import Any

import click

import scepd
from scepd.cli.output import MISCONFIGURED, Failure, three_parts
from scepd.problems import ConfigurationError, Problem
from scepd.refusal import OperatorError, Reject, Unavailable

# Each command's module is read when it is called: a SCEP client needs no database, a status no token.
COMMANDS = {
    "init": "init",
    "check": "check",
    "run": "run",
    "status": "status",
    "reload": "status",
    "stop": "status",
    "client": "client",
    "challenge": "challenge",
    "entity": "entity",
    "profile": "profile",
    "cert": "cert",
    "request": "request",
    "audit": "audit",
    "fsck": "fsck",
    "hsm": "hsm",
    "ca": "ca",
    "networks": "networks",
    "backup": "backup",
    "restore-check": "restore_check",
    "restore": "restore",
    "recover": "recover",
}


class Program(click.Group):
    """The command line; every error that the operator can mend leaves in three parts, with its exit status."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names in the order of a first day's work."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Return a command, its module read now."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"scepd.cli.{COMMANDS[cmd_name]}")
        command: click.Command = getattr(module, cmd_name.replace("-", "_"))
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; 1 refused or failed, 2 usage, 78 configuration."""
        try:
            return super().invoke(ctx)
        except ConfigurationError as error:
            for problem in error.problems[:-1]:
                click.echo(three_parts(problem.reason, _place(problem), problem.hint), err=True)
            last = error.problems[-1]
            raise Failure(last.reason, where=_place(last), hint=last.hint, exit_code=MISCONFIGURED) from error
        except OperatorError as error:
            raise Failure(error.problem, hint=error.hint) from error
        except Unavailable as error:
            raise Failure(f"not possible now: {error.cause}", hint="scepd status") from error
        except Reject as error:
            raise Failure(f"refused: {error.reason.value} {error.detail}".strip()) from error


def _place(problem: Problem) -> str:
    return problem.path if problem.file is None else f"{problem.file} {problem.path}"


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(scepd.__version__, prog_name="scepd")
def program() -> None:
    """SCEP (RFC 8894) with every private key in a PKCS#11 token.

    \b
    scepd init                                   guided first run
    scepd check --hsm                            everything that would stop a start
    scepd run --welcome                          serve, and print how to enrol
    scepd challenge new routers --cn r1          a one-time challenge
    scepd client enroll --url http://... --cn r1 --key r1.key --out r1.pem --fingerprint 3F:9A:...
    scepd request list                           what devices asked for, and why they were refused

    \b
    Exit status: 0 done, 1 refused or failed, 2 usage, 78 configuration.
    """  # noqa: D301 - \b is for click


def main() -> None:
    """Run the command line."""
    program(prog_name="scepd")


if __name__ == "__main__":
    main()

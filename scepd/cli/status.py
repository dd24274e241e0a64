"""`scepd status | reload | stop`: the running service."""

from pathlib import Path
from typing import Any

import click

from scepd.app import service
from scepd.cli.configured import config_option, json_option
from scepd.cli.output import FAILED, Failure, show_json, three_parts
from scepd.config.load import load_appliance

READY, DEGRADED, NOT_RUNNING = 0, 1, 2


@click.command(short_help="Is it running? 0 ready, 1 degraded, 2 not running.")
@config_option
@json_option
@click.pass_context
def status(ctx: click.Context, config: Path, as_json: bool) -> None:
    """Show the state of the service and its processes; the exit status is 0 ready, 1 degraded, 2 not running."""
    try:
        found = service.status(load_appliance(config).runtime)
    except service.NotRunning as error:
        if as_json:
            show_json({"ready": False, "state": "not running"})
        raise Failure(error.problem, hint=error.hint, exit_code=NOT_RUNNING) from error
    except (OSError, ValueError) as error:
        raise Failure(f"the service does not answer: {error}", hint="its log", exit_code=DEGRADED) from error
    if as_json:
        show_json(found)
    else:
        _show(found)
    ctx.exit(READY if found.get("ready") else DEGRADED)


@click.command(short_help="Take the changed configuration; the old one stays on any problem.")
@config_option
def reload(config: Path) -> None:
    """Replace workers and configuration without losing a request, and wait for the result."""
    _report(service.reload(load_appliance(config).runtime))
    click.echo("reloaded")


@click.command(short_help="Stop in good order.")
@config_option
def stop(config: Path) -> None:
    """Let every process finish what it has, then stop."""
    _report(service.stop(load_appliance(config).runtime))
    click.echo("stopping")


def _report(answer: dict[str, Any]) -> None:
    if answer.get("ok", True):
        return
    problems = answer.get("problems") or [{"problem": "refused, without a reason", "hint": "the service's log"}]
    for problem in problems[:-1]:
        click.echo(three_parts(problem["problem"], hint=problem["hint"]), err=True)
    raise Failure(problems[-1]["problem"], hint=problems[-1]["hint"], exit_code=FAILED)


def _show(found: dict[str, Any]) -> None:
    click.echo(f"{'ready' if found.get('ready') else 'NOT READY'}  ({found.get('state')}, token {found.get('hsm')})")
    if found.get("read_only"):
        click.echo(f"  READ-ONLY    {found['read_only']}")
        click.echo(f"               next: {found['read_only_hint']}   (docs/backup.md)")
    for listener in found.get("listeners", ()):
        scheme = "https" if listener.get("tls") else "http"
        host = f"[{listener['host']}]" if ":" in listener["host"] else listener["host"]
        click.echo(f"  {listener['listener']:<12} {scheme}://{host}:{listener['port']}")
    for kind in ("workers", "leaving", "desk"):
        for process in found.get(kind, ()):
            words = "  ".join(
                f"{name}={value}"
                for name, value in process.items()
                if value not in (None, "", []) and name != "read_only"
            )
            click.echo(f"  {kind:<12} {words}")
    for row in found.get("certificates", ()):
        mark = "!" if row["due"] else " "
        click.echo(f"{mark} {row['days']:>5} days  {row['what']}{'  try: ' + row['do'] if row['do'] else ''}")
    last = found.get("last_reload")
    if last and not last.get("ok", True):
        click.echo(f"  the reload at {last['at']} failed; the configuration before it is still in force")
        for problem in last.get("problems", ()):
            click.echo(f"    {problem['problem']} - {problem['hint']}")

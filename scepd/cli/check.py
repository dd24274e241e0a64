"""`scepd check`: everything that would stop a start, all at once."""

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import click
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from scepd.app import service
from scepd.app.clock_watch import TOLERANCE
from scepd.app.mark_file import mark_file
from scepd.app.sockets import Sockets
from scepd.cli.configured import config_option, json_option, load_settings
from scepd.cli.output import FAILED, MISCONFIGURED, show_json, three_parts
from scepd.cli.probe import probe
from scepd.cli.run import twistd
from scepd.config.settings import Settings
from scepd.problems import ConfigurationError, Problem
from scepd.refusal import OperatorError, Unavailable
from scepd.store.engines import StoreConnection, open_engine
from scepd.store.read_only import standstill
from scepd.store.reader import Reader
from scepd.store.schema import SCHEMA_VERSION
from scepd.store.standing import compare
from scepd.store.version import refuse_newer

_EXPIRY_WARNING = timedelta(days=30)


@attrs.frozen
class Finding:
    """One thing that was found: a problem stops a start, a warning does not."""

    what: str
    where: str = ""
    hint: str = ""
    warning: bool = False


@click.command(short_help="Everything that would stop a start, all at once.")
@click.option("--hsm", is_flag=True, help="Also log in to the token, and check and probe every key.")
@config_option
@json_option
@click.pass_context
def check(ctx: click.Context, hsm: bool, config: Path, as_json: bool) -> None:
    """Check configuration, files, directories, ports, clock, store, and with --hsm the token's keys.

    Exit status: 0 fit to start, 1 a problem outside the configuration, 78 a fault in the configuration.

    \b
    scepd check --hsm --config var/scepd.toml
    """  # noqa: D301 - \b is for click
    try:
        settings = load_settings(config)
    except ConfigurationError as error:
        faults = [Finding(one.reason, _place(one), one.hint) for one in error.problems]
        _show(faults, passed=[], as_json=as_json)
        ctx.exit(MISCONFIGURED)
    findings: list[Finding] = []
    passed: list[str] = ["configuration"]
    for name, examine in _examinations(with_hsm=hsm):
        found = list(examine(settings))
        findings += found
        if all(one.warning for one in found):
            passed.append(name)
    _show(findings, passed=passed, as_json=as_json)
    ctx.exit(0 if all(one.warning for one in findings) else FAILED)


Examination = Callable[[Settings], Iterator[Finding]]


def _examinations(*, with_hsm: bool) -> list[tuple[str, Examination]]:
    every: list[tuple[str, Examination]] = [
        ("program", _examine_program),
        ("directories", _examine_directories),
        ("ports", _examine_ports),
        ("store", _examine_store),
        ("marks", _examine_marks),
        ("clock", _examine_clock),
        ("certificates", _examine_certificates),
        ("switches", _examine_switches),
    ]
    return [*every, ("token", _examine_token)] if with_hsm else every


def _examine_program(_settings: Settings) -> Iterator[Finding]:
    try:
        twistd()
    except OperatorError as error:
        yield Finding(error.problem, hint=error.hint)


def _examine_directories(settings: Settings) -> Iterator[Finding]:
    appliance = settings.appliance
    for key, path in (("state", appliance.state), ("runtime", appliance.runtime), ("marks", appliance.marks)):
        nearest = next(one for one in (path, *path.parents) if one.exists())
        if key == "marks" and path == appliance.state:
            return
        if nearest != path and key != "runtime":
            wanted = "restore the backup" if key == "state" else "mount it"
            yield Finding(f"{path} does not exist", f"[appliance] {key}", f"{wanted}; or install -d -m 700 {path}")
        elif not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
            hint = f"install -d -m 700 -o $(id -un) {path}   # as root"
            yield Finding(f"{path} cannot be written by this user", f"[appliance] {key}", hint)
        elif key == "marks" and nearest.stat().st_dev == _device_of(appliance.state):
            words = f"{path} is on the volume of the store: a snapshot of both that is put back shows nowhere"
            yield Finding(words, "[appliance] marks", f"mount another volume at {path}", warning=True)


def _device_of(path: Path) -> int | None:
    return path.stat().st_dev if path.exists() else None


def _examine_ports(settings: Settings) -> Iterator[Finding]:
    try:
        service.status(settings.appliance.runtime)
    except service.NotRunning:
        pass
    except (OperatorError, OSError, ValueError) as error:
        yield Finding(f"the running service does not answer: {error}", hint="scepd status", warning=True)
        return
    else:
        return  # the ports are taken by the service itself
    for listener in settings.listeners:
        for address in listener.addresses:
            sockets = Sockets()
            try:
                sockets.provide([attrs.evolve(listener, addresses=(address,))], 1)
            except OperatorError as error:
                yield Finding(error.problem, f"[listener.{listener.name}] address", error.hint)
            finally:
                sockets.keep(frozenset())


def _examine_store(settings: Settings) -> Iterator[Finding]:
    try:
        with closing(_open_store(settings)) as connection:
            version = refuse_newer(connection)
    except OperatorError as error:
        yield Finding(error.problem, "[store] url", error.hint)
    except Unavailable as error:
        yield Finding(f"the store does not answer: {error.cause}", "[store] url", "scepd status; df -h")
    else:
        if version < SCHEMA_VERSION:
            words = f"the store has schema {version}; the start brings it to {SCHEMA_VERSION}"
            yield Finding(words, "[store] url", "a backup before the start", warning=True)


def _examine_marks(settings: Settings) -> Iterator[Finding]:
    """Compare the store with its high-water marks: an older one that was restored is served from, not written."""
    try:
        with closing(_open_store(settings)) as connection:
            if refuse_newer(connection) < SCHEMA_VERSION:
                return  # the start compares them after it brought the store up to date
            found = standstill(connection)
            file = mark_file(settings)
            cause = compare(connection, file, settings.appliance.node).cause if found is None else found.cause
    except (OperatorError, Unavailable):
        return  # told by the store's own examination
    if cause:
        yield Finding(f"the store is read-only: {cause}", "[store] url", "scepd recover --plan")


def _examine_clock(settings: Settings) -> Iterator[Finding]:
    """Compare the clock with the newest audit row: a clock that went back would sign certificates for the past."""
    now = datetime.now(UTC)
    try:
        with closing(_open_store(settings)) as connection:
            newest = Reader(connection).newest_act() if refuse_newer(connection) == SCHEMA_VERSION else None
    except (OperatorError, Unavailable):
        return  # told by the store's own examination
    if newest is not None and newest > now + TOLERANCE:
        words = f"the clock says {now:%Y-%m-%d %H:%M} UTC, the newest audit row {newest:%Y-%m-%d %H:%M} UTC"
        yield Finding(words, hint="timedatectl; date -u; if that time is right: scepd recover --clock")


def _open_store(settings: Settings) -> StoreConnection:
    return StoreConnection(open_engine(settings.store.url, settings.appliance.state))


def _examine_certificates(settings: Settings) -> Iterator[Finding]:
    now = datetime.now(UTC)
    for where, der in _certificates(settings):
        ends = x509.load_der_x509_certificate(der).not_valid_after_utc
        if ends - now < _EXPIRY_WARNING:
            yield Finding(f"its certificate expires on {ends:%Y-%m-%d}", where, "issue a new one", warning=True)


def _certificates(settings: Settings) -> Iterator[tuple[str, bytes]]:
    for issuer in settings.issuers:
        yield f"[issuer.{issuer.name}] certificate", issuer.certificate_der
        yield f"[issuer.{issuer.name}] ra_sign", issuer.ra_sign.certificate_der
        for recipient in issuer.recipients:
            yield f"[issuer.{issuer.name}] ra_decrypt", recipient.certificate_der
    for listener in settings.listeners:
        if listener.tls is not None:
            first = x509.load_pem_x509_certificates(listener.tls.certificate_pem)[0]
            yield f"[listener.{listener.name}] tls", first.public_bytes(Encoding.DER)


def _examine_switches(settings: Settings) -> Iterator[Finding]:
    for warning in settings.warnings:
        yield Finding(warning.reason, warning.path, warning.hint, warning=True)
    for switch in settings.insecure:
        yield Finding(f"{switch} is on", hint="leave it out where no device needs it", warning=True)


def _examine_token(settings: Settings) -> Iterator[Finding]:
    try:
        report = probe(settings)
    except OperatorError as error:
        yield Finding(error.problem, "[hsm]", error.hint)
        return
    for problem in report["problems"]:
        yield Finding(problem["problem"], "[hsm]", problem["hint"])
    for key in report["keys"]:
        for remark in key.get("remarks", ()):
            yield Finding(f"{key['uri']}: {remark}", "[hsm]", "scepd hsm list", warning=True)


def _place(problem: Problem) -> str:
    return problem.path if problem.file is None else f"{problem.file} {problem.path}"


def _show(findings: list[Finding], *, passed: list[str], as_json: bool) -> None:
    problems = [one for one in findings if not one.warning]
    warnings = [one for one in findings if one.warning]
    if as_json:
        columns = ("what", "where", "hint")
        listed: dict[str, Any] = {
            "ok": not problems,
            "passed": passed,
            "problems": [{name: getattr(one, name) for name in columns} for one in problems],
            "warnings": [{name: getattr(one, name) for name in columns} for one in warnings],
        }
        show_json(listed)
        return
    for one in problems:
        click.echo(three_parts(one.what, one.where, one.hint), err=True)
    for one in warnings:
        click.echo(three_parts(one.what, one.where, one.hint).replace("error:", "warning:", 1), err=True)
    if passed:
        click.echo(f"ok: {', '.join(passed)}")

"""`scepd ca perform | verify-record`: a written plan carried out; a record verified anywhere."""

from pathlib import Path
from typing import Any

import attrs
import click
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key

from scepd.ca.plan import Plan
from scepd.ca.plan_file import PlanError, read_plan
from scepd.ca.record import verify_record as verify
from scepd.cli.ca_tables import issuer_of
from scepd.cli.ceremony import ceremony_options, hold, manner_of
from scepd.cli.output import FAILED, Failure
from scepd.config.audit import load_audit_key
from scepd.problems import ConfigurationError, Problem, Refused
from scepd.refusal import OperatorError


@click.command(short_help="Carry out a plan that --plan wrote.")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@ceremony_options
def perform(file: Path, **wishes: Any) -> None:
    """Carry out the plan in FILE, or go on with one that was interrupted.

    Everything that is wrong with FILE is told at once, and nothing is made; the exit status is 78 then.

    \b
    scepd ca create root-ca --subject "CN=Example Root CA" --plan > root.json
    scepd ca perform root.json --rehearse
    scepd ca perform root.json --yes
    """  # noqa: D301 - \b is for click
    plan, manner = _read(file), manner_of(wishes)
    _require_own_records(plan, manner.config, file)
    hold(plan, manner)


def _require_own_records(plan: Plan, config: Path, file: Path) -> None:
    """Raise `OperatorError` where a certificate would stand in the store as one of an issuer that did not sign it."""
    promised = {step.output for step in plan.steps}
    for number, step in enumerate(plan.steps):
        signer = step.signer.certificate if step.issuer and step.signer else ""
        if not signer or signer in promised:
            continue
        found = issuer_of(config, Path(signer))
        if found != step.issuer:
            where = f"{file}: $.steps[{number}].issuer"
            named = "no issuer of the configuration has" if found is None else f"[issuer.{found}] has"
            raise OperatorError(f"{where} is '{step.issuer}', but {named} {signer}", f'"issuer": "{found or ""}"')


def _read(file: Path) -> Plan:
    try:
        return read_plan(file.read_text("utf-8"), str(file))
    except PlanError as error:
        problems = [attrs.evolve(problem, file=file) for problem in error.problems]
    except (OSError, UnicodeDecodeError) as error:
        problems = [Problem("$", f"cannot be read: {error}", "scepd ca create ... --plan > FILE", file)]
    raise ConfigurationError(problems)


@click.command("verify-record", short_help="Verify the signed record of a ceremony; needs no token.")
@click.argument("file", type=click.Path(path_type=Path, exists=True))
@click.option(
    "--key",
    "--certificate",
    "key_file",
    type=click.Path(path_type=Path, exists=True),
    required=True,
    help="The audit key, as a PEM public key or certificate, from where you trust it.",
)
def verify_record(file: Path, key_file: Path) -> None:
    """Verify the record in FILE: the audit key's signature, then every certificate, key and attribute in it.

    \b
    scepd ca verify-record 20310301T060000Z-1f2e3d4c.json --key scepd-audit.pem
    """  # noqa: D301 - \b is for click
    try:
        key = load_der_public_key(load_audit_key(key_file.read_bytes(), key_file))
    except Refused as refused:
        raise OperatorError(refused.reason, refused.hint) from None
    assert isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey)
    proven, faults = verify(file.read_text(), str(file), key)
    for line in proven:
        click.echo(line)
    for fault in faults[:-1]:
        click.echo(f"error: {fault}", err=True)
    if faults:
        raise Failure(faults[-1], where=str(file), hint="do not rely on what it says", exit_code=FAILED)
    click.echo("the record is whole: signed by the audit key, and every certificate verified")

"""`scepd recover`: go on from a store that is older than what was published since."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
import click

from scepd.admin.recover import Evidence, Plan, carry_out, make_plan
from scepd.app.clock import UtcClock
from scepd.cli.configured import config_option, json_option, load_settings
from scepd.cli.offline import this_user
from scepd.cli.output import show_json
from scepd.cli.recover_clock import recover_clock
from scepd.config.settings import Settings
from scepd.observe.signature import audit_keys
from scepd.profile.access import SignedRule
from scepd.records import Recovered
from scepd.store.engines import open_engine
from scepd.store.repository import Repository

_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command(short_help="Go on from an older store: what was lost, what comes back, and doing it.")
@click.option("--clock", is_flag=True, help="Say that the time of this machine is right, where the service doubts it.")
@click.option("--plan", "only_plan", is_flag=True, help="Say what would be done, and do nothing.")
@click.option("--crl", "crls", type=_FILE, multiple=True, help="A CRL that was published: its entries are revoked again.")
@click.option("--audit-log", type=_FILE, help="An export of the audit trail: its rows come back, with what they tell.")
@click.option(
    "--certificates", type=_FILE, multiple=True, help="Certificates that were issued (PEM): devices still have them."
)
@click.option("--insecurely-keep-challenges", is_flag=True, help="Challenges and codes that may be spent stay good.")
@click.option("--insecurely-keep-tokens", is_flag=True, help="Generator tokens that may be revoked stay good.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@config_option
@json_option
def recover(  # noqa: PLR0917 - one for each option
    clock: bool,
    only_plan: bool,
    crls: tuple[Path, ...],
    audit_log: Path | None,
    certificates: tuple[Path, ...],
    insecurely_keep_challenges: bool,
    insecurely_keep_tokens: bool,
    yes: bool,
    config: Path,
    as_json: bool,
) -> None:
    """Let a read-only store be written again, after an older one was restored.

    What is known of the lost time comes back: the entries of the newest published CRL are revoked again, unknown serials
    are recorded, rows of an exported audit trail rejoin their chains. CRL numbers go on above the greatest that was
    published. What may have been spent or taken back since becomes worthless: challenges, codes, tokens, approvals. The
    service may run; it goes on within a second.

    With --clock it is not the store that is recovered but the clock: where it jumped ahead while the service ran, or ran
    ahead before and was put right since, nothing is signed until somebody says that its time is right.

    \b
    scepd recover --plan
    scepd recover --audit-log audit.jsonl
    scepd recover --clock
    """  # noqa: D301 - \b is for click
    settings = load_settings(config)
    evidence = attrs.evolve(_evidence(settings), crls=crls, audit_log=audit_log, certificates=certificates)
    with _opened(settings) as repository:
        if clock:
            recover_clock(repository, settings.appliance, only_plan=only_plan, yes=yes, as_json=as_json)
            return
        plan = make_plan(repository, evidence)
        if plan is None:
            click.echo("the store is not behind its marks: there is nothing to recover")
            return
        if repository.is_recovering():
            click.echo("An earlier recovery was interrupted: it is finished as it was ordered then.", err=True)
        if not as_json:
            _show_plan(plan, keeps=(insecurely_keep_challenges, insecurely_keep_tokens))
        elif only_plan:
            show_json(_as_json(plan))
        if only_plan:
            return
        if not yes:
            click.confirm("Recover now?", abort=True, err=True)
        order = plan.order(
            this_user(),
            evidence.node,
            keep_challenges=insecurely_keep_challenges,
            keep_tokens=insecurely_keep_tokens,
        )
        _show_done(carry_out(repository, evidence, order), as_json=as_json)


def _evidence(settings: Settings) -> Evidence:
    audit = settings.audit
    return Evidence(
        marks=settings.appliance.marks,
        node=settings.appliance.node,
        issuers={issuer.name: issuer.certificate_der for issuer in settings.issuers},
        audit_keys=None if audit is None else audit_keys(audit.public_keys),
        seals=None if audit is None else audit.seals,
        replayable=tuple(
            profile.name for profile in settings.profiles if any(isinstance(rule, SignedRule) for rule in profile.challenge)
        ),
    )


@contextmanager
def _opened(settings: Settings) -> Iterator[Repository]:
    engine = open_engine(settings.store.url, settings.appliance.state)
    repository = Repository(engine, owner=f"{settings.appliance.node}/cli", clock=UtcClock())
    try:
        yield repository
    finally:
        repository.close()
        engine.dispose()


def _show_plan(plan: Plan, *, keeps: tuple[bool, bool]) -> None:
    click.echo(f"The store is read-only since {plan.standstill.since}: {plan.standstill.cause}")
    for words in plan.lost:
        click.echo(f"  lost         {words}")
    if plan.marks is None:
        click.echo("  lost         nobody knows how much: there are no high-water marks; numbers jump by a million")
    for remark in plan.crls.remarks:
        click.echo(f"  not used     {remark}")
    for name, crl in sorted(plan.crls.crls.items()):
        click.echo(f"  found        CRL {crl.number} of {name} of {crl.this_update:%Y-%m-%d %H:%M} UTC, {crl.entries} entries")
    imports = plan.imports
    click.echo(f"  comes back   {len(plan.audit.rows)} audit rows")
    whole = sum(lost.der is not None for lost in imports.certificates)
    click.echo(f"  comes back   {whole} certificates, {len(imports.certificates) - whole} serials whose certificates are gone")
    click.echo(f"  comes back   {len(imports.revocations)} revocations")
    challenges, tokens = keeps
    worthless = "stays good, INSECURELY:" if challenges else "worthless   "
    click.echo(f"  {worthless} {plan.ends.challenges} challenges, {plan.ends.entities} enrolment codes")
    worthless = "stays good, INSECURELY:" if tokens else "worthless   "
    click.echo(f"  {worthless} {plan.ends.tokens} tokens of challenge generators")
    click.echo(f"  worthless    {plan.ends.approvals} approvals that were not fetched yet")
    for name in () if challenges else imports.switch_off:
        click.echo(f"  switched off profile {name}; later: scepd profile enable {name}")


def _as_json(plan: Plan) -> dict[str, object]:
    return {
        "cause": plan.standstill.cause,
        "since": plan.standstill.since,
        "marks_found": plan.marks is not None,
        "lost": list(plan.lost),
        "audit_rows": len(plan.audit.rows),
        "certificates": [f"{one.serial:x}" for one in plan.imports.certificates],
        "revocations": [f"{one.entry.serial:x}" for one in plan.imports.revocations],
        "crls": plan.crls.floors,
        "ends": attrs.asdict(plan.ends),
        "switched_off": list(plan.imports.switch_off),
    }


def _show_done(done: Recovered, *, as_json: bool) -> None:
    fields = attrs.asdict(done)
    if as_json:
        show_json(fields)
        return
    click.echo("recovered: " + ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in fields.items()))
    click.echo("Next: scepd status; scepd audit verify; a new backup; new challenges for who still waits")

"""How every ceremony of the command line is held: planned, shown, rehearsed, confirmed, on the audit trail, on record."""

import json
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import attrs
import click
from cryptography.exceptions import InvalidSignature

import scepd
from scepd.app.clock import UtcClock
from scepd.ca.performance import Product, Stage, carry_out, examine
from scepd.ca.plan import Plan, tell
from scepd.ca.record import Scene, write_record
from scepd.cli.configured import config_option, load_token
from scepd.cli.files import PUBLIC, create, make_directory
from scepd.cli.journal import Journal
from scepd.cli.offline import this_user
from scepd.cli.output import Failure, say_done
from scepd.cli.stage import Scratch, Tokens, real_tokens, scratch_tokens
from scepd.config.load import DEFAULT_PATH
from scepd.config.settings import Premises
from scepd.hsm.faults import TokenFault
from scepd.hsm.keys import open_signing_key, parse_uri
from scepd.observe.audit import Action
from scepd.ports import SigningKey
from scepd.refusal import OperatorError, Reject, Unavailable
from scepd.store.engines import open_engine
from scepd.store.migrate import upgrade
from scepd.store.repository import Repository
from scepd.x509.draft import SealError

Command = TypeVar("Command", bound=Callable[..., Any])
_STOPS = (OperatorError, TokenFault, Reject, SealError, InvalidSignature, Unavailable)
_NO_AUDIT_KEY = (
    "scepd hsm keygen scepd-audit --role sign --type ec:P-256, then [audit] key and public_key in the configuration"
)


@attrs.frozen(kw_only=True)
class Manner:
    """How a ceremony is to be held; `config` names the token and the store."""

    config: Path
    plan: bool = False
    rehearse: bool = False
    yes: bool = False
    record: Path | None = None
    pin_file: Path | None = None


def ceremony_options(command: Command) -> Command:
    """Give a command the options of `Manner`, which it hands on with `manner_of`."""
    options = (
        click.option("--plan", is_flag=True, help="Print the plan and do nothing; scepd ca perform carries it out."),
        click.option("--rehearse", is_flag=True, help="Do it on a scratch SoftHSM token that is thrown away."),
        click.option("--yes", is_flag=True, help="Do not ask."),
        click.option("--record", type=click.Path(path_type=Path), help="Where the signed record goes."),
        click.option(
            "--pin-file", type=click.Path(path_type=Path), help="The PIN of a token that is not the configured one."
        ),
        config_option,
    )
    for option in reversed(options):
        command = option(command)
    return command


def manner_of(wishes: dict[str, Any]) -> Manner:
    """Take the options of `ceremony_options` out of a command's arguments."""
    return Manner(**{field.name: wishes.pop(field.name) for field in attrs.fields(Manner)})


def hold(plan: Plan, manner: Manner) -> tuple[Product, ...]:
    """Hold the ceremony; nothing comes back where it was only printed or rehearsed. Raises `Failure`, `OperatorError`."""
    if manner.plan:
        click.echo(json.dumps(plan.to_mapping(), indent=1, ensure_ascii=False))
        return ()
    premises = load_token(manner.config)
    try:
        if manner.rehearse:
            _rehearse(plan, premises)
            return ()
        return _hold_really(plan, manner, premises)
    except TokenFault as fault:
        raise Failure(f"the token failed: {fault.cause}", hint="scepd hsm list --tokens") from fault
    except (SealError, InvalidSignature) as error:
        what = str(error) or "a signature does not verify"
        raise Failure(f"the token signed what is of no use: {what}", hint="scepd hsm probe; then the same again") from error


def _rehearse(plan: Plan, premises: Premises) -> None:
    if any(step.makes == "install" for step in plan.steps):
        raise OperatorError(
            "an answer is for one key, which no scratch token has", "without --rehearse: it signs nothing"
        )
    begun = datetime.now(UTC)
    with scratch_tokens(plan, premises.hsm.token) as scratch:
        stage = _stage(scratch.tokens, begun, scratch.place)
        products = carry_out(plan, stage)
        write_record(plan, products, _scene(premises, scratch.tokens, begun, rehearsal=True), scratch.audit)
    for line in tell(plan):
        click.echo(line)
    _show_forms([product.form for product in products])
    click.echo("rehearsed on a scratch token: every step was made, signed and verified; nothing is left of it")


def _hold_really(plan: Plan, manner: Manner, premises: Premises) -> tuple[Product, ...]:
    begun, tokens = datetime.now(UTC), real_tokens(premises, manner.pin_file)
    audit = _open_audit(plan, premises, tokens)
    journal = Journal.of(premises.appliance.state / "ceremonies", plan)
    for path in journal.unfinished:
        click.echo(f"a ceremony was interrupted; this goes on with it: {_perform(path, manner)}", err=True)
    stage = _stage(tokens, begun, Path, begun_before=journal.made, note=journal.note)
    forms = examine(plan, stage)
    for line in tell(plan):
        click.echo(line, err=True)
    _show_forms(forms)
    record = manner.record or journal.record(begun)
    if record.exists():
        raise OperatorError(f"{record} exists already", "another --record")
    _confirm(plan, manner)
    journal.begin()
    with _on_the_trail(plan, premises) as repository:
        products = carry_out(plan, attrs.evolve(stage, shelf=repository))
        if audit is not None:
            text = write_record(plan, products, _scene(premises, tokens, begun), audit)
            create(record, text.encode(), PUBLIC)
    journal.finish()
    for line in plan.then:
        say_done(line)
    if audit is not None and premises.audit is not None:
        command = shlex.join(
            ["scepd", "ca", "verify-record", str(record), "--key", str(premises.audit.public_key_file)]
        )
        say_done(f"record: {record}; verify it: {command}", err=True)
    return products


def _perform(plan: Path, manner: Manner) -> str:
    """Return the command that goes on with a plan, as it can be pasted."""
    known = (str(DEFAULT_PATH), os.environ.get("SCEPD_CONFIG"))
    config = [] if str(manner.config) in known else ["--config", str(manner.config)]
    return shlex.join(["scepd", "ca", "perform", str(plan), *config])


def _stage(
    tokens: Tokens,
    now: datetime,
    place: Callable[[str], Path],
    *,
    begun_before: Sequence[str] = (),
    note: Callable[[str], None] = lambda _made: None,
) -> Stage:
    return Stage(
        session=tokens.session,
        place=place,
        write=create,
        now=now,
        random=os.urandom,
        begun=begun_before,
        note=note,
    )


def _open_audit(plan: Plan, premises: Premises, tokens: Tokens) -> SigningKey | None:
    """Return the audit key; None for a plan that only makes keys, the audit key itself perhaps."""
    if premises.audit is None:
        if all(step.makes == "key" for step in plan.steps):
            return None
        raise OperatorError("there is no audit key to sign the record of this ceremony", _NO_AUDIT_KEY)
    name = parse_uri(premises.audit.key)
    return open_signing_key(tokens.session(name.token), name, premises.audit.public_key_der)


def _scene(premises: Premises, tokens: Tokens, begun: datetime, *, rehearsal: bool = False) -> Scene:
    return Scene(
        begun=begun.isoformat(timespec="seconds"),
        ended=datetime.now(UTC).isoformat(timespec="seconds"),
        by=this_user(),
        node=premises.appliance.node,
        version=scepd.__version__,
        module=tokens.module,
        tokens=tokens.descriptions,
        rehearsal=rehearsal,
    )


def _show_forms(forms: Sequence[str]) -> None:
    for number, form in enumerate(forms, 1):
        if form:
            click.echo(f"form of {number}: {form}", err=True)


def _confirm(plan: Plan, manner: Manner) -> None:
    if manner.yes:
        return
    if sys.stdin.isatty():
        if not click.confirm("Carry this out?", err=True):
            raise Failure("nothing was made", hint="--plan writes it down; --rehearse tries it on a scratch token")
    elif plan.signs:
        raise OperatorError("nobody is here to confirm that", "--yes, once the plan was read; --plan prints it")


@contextmanager
def _on_the_trail(plan: Plan, premises: Premises) -> Iterator[Repository]:
    """Open the store and note there that the ceremony begins, and how it ends."""
    url, state = premises.store.url, premises.appliance.state
    make_directory(state)
    _ensure_store(url, state)
    engine = open_engine(url, state)
    try:
        owner = f"{premises.appliance.node}/cli"
        with closing(Repository(engine, owner=owner, clock=UtcClock())) as repository:
            who = this_user()
            repository.note_ceremony(
                Action.ceremony_began, who, plan.digest, {"title": plan.title, "plan": plan.digest}
            )
            try:
                yield repository
            except _STOPS as error:
                problem = str(error) or type(error).__name__
                with suppress(Unavailable):  # where the store is what stopped it, nothing can be noted there either
                    repository.note_ceremony(Action.ceremony_failed, who, plan.digest, {"problem": problem})
                raise
            repository.note_ceremony(Action.ceremony_ended, who, plan.digest, {"plan": plan.digest})
    finally:
        engine.dispose()


def _ensure_store(url: str, state: Path) -> None:
    """Make the store where there is none: the first ceremony may come before the first start."""
    path = url.removeprefix("sqlite:///")
    if path != url and not (state / path).exists():
        upgrade(url, state)


__all__ = ["Manner", "Scratch", "ceremony_options", "hold", "manner_of"]

"""`scepd recover --clock`: a person says that the time is right, against a jump or against acts of the future (S-111)."""

from datetime import timedelta

import click

from scepd.app.clock import UtcClock, present
from scepd.app.clock_watch import TOLERANCE
from scepd.app.service import is_running
from scepd.cli.offline import this_user
from scepd.cli.output import show_json
from scepd.config.settings import Appliance
from scepd.records import Belief, ClockDoubts
from scepd.store.clocks import latest_of
from scepd.store.repository import Repository


def recover_clock(repository: Repository, appliance: Appliance, *, only_plan: bool, yes: bool, as_json: bool) -> None:
    """Say what speaks against the clock, ask, and believe it. Raises `ReadOnly` for a store that must be recovered first."""
    now = present(UtcClock())
    doubts = _doubts(repository, appliance, now)
    if as_json:
        show_json(_as_json(doubts))
    else:
        _show(doubts)
    if only_plan:
        return
    if not yes:
        click.confirm(f"Is it {doubts.now:%Y-%m-%d %H:%M:%S} UTC now?", abort=True, err=True)
        # A person may have taken long, or set the time meanwhile: what was shown was another.
        now = present(UtcClock())
        doubts = _doubts(repository, appliance, now)
    repository.accept_clock(appliance.node, now, doubts, who=this_user())
    click.echo("accepted: the service goes on within a second. Next: scepd status", err=as_json)


def _doubts(repository: Repository, appliance: Appliance, now: Belief) -> ClockDoubts:
    return repository.clock_doubts(appliance.node, now, TOLERANCE, runs=is_running(appliance.runtime))


def _show(doubts: ClockDoubts) -> None:
    click.echo(f"The clock of this machine says {doubts.now:%Y-%m-%d %H:%M:%S} UTC")
    if not doubts:
        click.echo("  nothing on record speaks against it; a process of the service may have seen it later than now")
    if doubts.ahead:
        right = f"{doubts.now - doubts.ahead:%Y-%m-%d %H:%M:%S}"
        way = "ahead" if doubts.ahead > timedelta() else "back"
        click.echo(f"  jumped       {_span(doubts)} {way} since the service believed it: by the time that has passed it is {right}")
    latest = latest_of(doubts)
    if latest is not None:
        click.echo(
            f"  on record    acts of {len(doubts.acts)} audit chains that are later, the last of {latest:%Y-%m-%d %H:%M:%S}"
        )
        for owner, (sequence, at) in doubts.acts.items():
            click.echo(f"               {owner} row {sequence} of {at:%Y-%m-%d %H:%M:%S}")
    if doubts.not_yet_valid:
        click.echo(
            f"  stay         {doubts.not_yet_valid} certificates that are not valid yet: look at them, scepd cert list"
        )
    click.echo(
        "Once accepted, certificates, CRLs and OCSP answers are signed by this time; those acts stay as they are."
    )


def _span(doubts: ClockDoubts) -> str:
    return str(abs(doubts.ahead)).partition(".")[0]


def _as_json(doubts: ClockDoubts) -> dict[str, object]:
    return {
        "in_doubt": bool(doubts),
        "now": doubts.now.isoformat(timespec="seconds"),
        "ahead_seconds": int(doubts.ahead.total_seconds()),
        "later_acts": [
            {"chain": owner, "row": sequence, "at": at.isoformat(timespec="seconds")}
            for owner, (sequence, at) in doubts.acts.items()
        ],
        "not_yet_valid": doubts.not_yet_valid,
    }

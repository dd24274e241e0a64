"""`scepd recover --clock`: a person says that the time is right, against a jump or against acts of the future (S-111)."""

import click

from scepd.app.clock import UtcClock, present
from scepd.app.clock_watch import TOLERANCE
from scepd.cli.offline import this_user
from scepd.cli.output import show_json
from scepd.records import ClockDoubts
from scepd.store.clocks import latest_of
from scepd.store.repository import Repository


def recover_clock(repository: Repository, node: str, *, only_plan: bool, yes: bool, as_json: bool) -> None:
    """Say what speaks against the clock, ask, and believe it. Raises `ReadOnly` for a store that must be recovered first."""
    now = present(UtcClock())
    doubts = repository.clock_doubts(node, now, TOLERANCE)
    if as_json:
        show_json(_as_json(doubts))
    else:
        _show(doubts)
    if not doubts or only_plan:
        return
    if not yes:
        click.confirm(f"Is it {doubts.now:%Y-%m-%d %H:%M:%S} UTC now?", abort=True, err=True)
        # A person may have taken long, or set the time meanwhile: what was shown was another.
        now = present(UtcClock())
        doubts = repository.clock_doubts(node, now, TOLERANCE)
    repository.accept_clock(node, now, doubts, who=this_user())
    click.echo("accepted: the service goes on within a second. Next: scepd status", err=as_json)


def _show(doubts: ClockDoubts) -> None:
    click.echo(f"The clock of this machine says {doubts.now:%Y-%m-%d %H:%M:%S} UTC")
    if not doubts:
        click.echo("nothing speaks against it: there is nothing to accept")
        return
    if doubts.ahead:
        words = f"since the service last believed it: by the time that has passed it is {doubts.now - doubts.ahead:%Y-%m-%d %H:%M:%S}"
        click.echo(f"  jumped       {_span(doubts)} ahead {words}")
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
    return str(doubts.ahead).partition(".")[0]


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

"""`python -m scepd.app.migration`: bring the store to this program's schema and compare it with its marks, in a process of its own."""

from contextlib import closing

from scepd.app.clock import UtcClock, present
from scepd.app.clock_watch import TOLERANCE
from scepd.app.mark_file import mark_file
from scepd.app.parcel import Parcel
from scepd.app.run_once import run_to_end
from scepd.config.settings import Settings
from scepd.store.clocks import begin_clock
from scepd.store.engines import StoreConnection, open_engine
from scepd.store.migrate import upgrade
from scepd.store.standing import settle


def _migrate(settings: Settings, parcel: Parcel) -> int:
    # A store that is missing is a volume that is not mounted or a backup to restore, never a reason to begin anew.
    state = settings.appliance.state
    upgrade(settings.store.url, state, create=False)
    # Before anything is written, so that an older store cannot overtake its marks (threats S-105).
    with closing(StoreConnection(open_engine(settings.store.url, state))) as connection:
        settle(connection, mark_file(settings), settings.appliance.node, UtcClock().now())
        if parcel.recover:  # a start, not a reload: only while the service runs is a jump told from a long sleep
            begin_clock(connection, settings.appliance.node, present(UtcClock()), TOLERANCE)
    return 0


if __name__ == "__main__":
    run_to_end(_migrate)

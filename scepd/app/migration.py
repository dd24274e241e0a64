"""`python -m scepd.app.migration`: bring the store to this program's schema, in a process of its own."""

from scepd.app.parcel import Parcel
from scepd.app.run_once import run_to_end
from scepd.config.settings import Settings
from scepd.store.migrate import upgrade


def _migrate(settings: Settings, _parcel: Parcel) -> int:
    # A store that is missing is a volume that is not mounted or a backup to restore, never a reason to begin anew.
    upgrade(settings.store.url, settings.appliance.state, create=False)
    return 0


if __name__ == "__main__":
    run_to_end(_migrate)

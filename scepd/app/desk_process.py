"""`python -m scepd.app.desk_process`: the desk as a child of the supervisor."""

from collections.abc import Callable
from typing import Any

from scepd.app.desk import Desk
from scepd.app.parcel import Parcel
from scepd.app.process import run_process
from scepd.config.settings import Settings


def _build(reactor: Any, settings: Settings, parcel: Parcel, _fail: Callable[[], None]) -> Desk:
    return Desk(reactor, settings, parcel.sockets[0])


if __name__ == "__main__":
    run_process(_build)

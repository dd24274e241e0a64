"""How the supervisor runs what the configuration says: programs, waiting times, where the log goes."""

from pathlib import Path

import attrs

from scepd.app.logbook import Lines, StandardError


@attrs.frozen
class Modules:
    """The programs of the children (`python -m`); tests put smaller ones in their place."""

    migration: str = "scepd.app.migration"
    selftest: str = "scepd.app.selftest"
    worker: str = "scepd.app.worker_process"
    desk: str = "scepd.app.desk_process"


@attrs.frozen
class Patience:
    """How long the supervisor waits for what, in seconds."""

    migration: float = 600.0
    selftest: float = 120.0  # a network HSM may be slow to open
    ready: float = 60.0  # from spawn to READY
    silence: float = 15.0  # without a heartbeat
    back_off: float = 30.0  # the longest delay before another try after one that never became READY
    attempts: int = 3  # deaths of one slot before its first READY, after which a start has failed
    stop: float = 10.0  # for requests in flight when the service stops
    reload: float = 30.0  # for requests in flight in the workers that a reload replaced


@attrs.frozen
class Options:
    """What the command line and the tests decide."""

    modules: Modules = attrs.field(factory=Modules)
    patience: Patience = attrs.field(factory=Patience)
    checkpoints: Path | None = None  # crash tests only
    log_file: Path | None = None  # None = standard error
    lines: Lines = attrs.field(factory=StandardError)  # the same place, as this process has it open

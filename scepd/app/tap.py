"""What `twistd scepd` runs: reads and compiles the configuration before twistd daemonises; nothing else happens here."""

import getpass
import os
import sys
from pathlib import Path
from typing import Any

from twisted.application.service import MultiService
from twisted.logger import ILogObserver
from twisted.python import usage
from twisted.python.components import Componentized

from scepd.app.child import StartFailure
from scepd.app.logbook import Lines, make_observer, open_lines
from scepd.app.options import Options as SupervisorOptions
from scepd.app.parcel import EXIT_CONFIGURATION
from scepd.app.steady import steady
from scepd.app.supervisor import Sources, Supervisor
from scepd.config.load import load
from scepd.config.pin import ask_pin, read_pin
from scepd.config.settings import Settings
from scepd.observe.notify import Notifier
from scepd.problems import ConfigurationError
from scepd.records import Secret
from scepd.refusal import OperatorError


class Options(usage.Options):
    """The options of `twistd scepd`."""

    optParameters = (
        ("config", "c", "/etc/scepd/scepd.toml", "The configuration file."),
        ("test-checkpoints", None, None, "Crash tests only: the file that names the point at which a worker dies."),
    )


class Appliance(MultiService):
    """The service as twistd sees it: the supervisor, and the observer that writes our log lines."""

    def __init__(self, settings: Settings, lines: Lines | None) -> None:
        """Keep where lines go; None leaves the log to twistd."""
        super().__init__()  # type: ignore[no-untyped-call]
        self._settings = settings
        self._lines = lines

    def setServiceParent(self, parent: Any) -> None:  # noqa: N802 - Twisted's name
        """Take part in the application, whose log observer twistd starts before it daemonises."""
        if self._lines is not None and isinstance(parent, Componentized):
            observer = make_observer(self._settings.log, self._lines)
            parent.setComponent(ILogObserver, observer)  # type: ignore[no-untyped-call]
        super().setServiceParent(parent)  # type: ignore[no-untyped-call]


def makeService(options: usage.Options) -> MultiService:  # noqa: N802 - Twisted's name
    """Compile the configuration and return the service; exit status 78 with every problem on stderr if it is wrong."""
    from twisted.internet import reactor  # noqa: PLC0415 - importing it installs one; twistd has chosen by now

    config = Path(options["config"]).absolute()
    try:
        settings = load(config)
    except ConfigurationError as error:
        raise _leave(error.render()) from None
    asked = _ask_pin(settings)
    points = options["test-checkpoints"]
    log_file = _log_file(getattr(options, "parent", None) or {})
    try:
        lines = open_lines(log_file)
    except OSError as fault:
        raise _leave(f"cannot write the log {log_file}: {fault.strerror} · twistd --logfile") from None
    appliance = Appliance(settings, lines)
    supervisor = Supervisor(
        steady(reactor),
        settings,
        Sources(lambda: _load(config), lambda new: _read_pin(new, asked)),
        notifier=Notifier.from_environment(os.environ, os.getpid()),
        options=SupervisorOptions(
            checkpoints=None if points is None else Path(points).absolute(), log_file=log_file, lines=lines
        ),
    )
    supervisor.setServiceParent(appliance)  # type: ignore[no-untyped-call]
    return appliance


def _leave(words: str) -> SystemExit:
    sys.stderr.write(f"{words}\n")
    return SystemExit(EXIT_CONFIGURATION)


def _log_file(twistd: Any) -> Path | None:
    """Return the file that twistd's own options ask for: `twistd.log` for a daemon that was told nothing."""
    named = twistd.get("logfile")
    if named == "-" or (not named and twistd.get("nodaemon", True)):
        return None
    return Path(named or "twistd.log").absolute()


def _ask_pin(settings: Settings) -> tuple[Secret, ...]:
    if not settings.hsm.pin.prompts:
        return ()
    if not sys.stdin.isatty():
        raise _leave("the PIN is to be typed, and this is no terminal · hsm.pin · name a file or a credential")
    title = f"PIN of token {settings.hsm.token}"
    return ask_pin(settings.hsm.pin, lambda part: getpass.getpass(f"{title}, {part}: " if part else f"{title}: "))


def _load(config: Path) -> Settings:
    try:
        return load(config)
    except ConfigurationError as error:
        problems = [OperatorError(f"{problem.reason} · {problem.path}", problem.hint) for problem in error.problems]
        raise StartFailure(problems, EXIT_CONFIGURATION) from error


def _read_pin(settings: Settings, asked: tuple[Secret, ...]) -> Secret:
    try:
        return read_pin(settings.hsm.pin, asked)
    except OperatorError as problem:
        raise StartFailure([problem], EXIT_CONFIGURATION) from problem

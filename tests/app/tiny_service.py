"""`python -m tests.app.tiny_service DIRECTORY`: the real supervisor over tiny children."""

import os
import sys
from pathlib import Path

import attrs
from twisted.application.service import Application, IService
from twisted.internet import reactor

from scepd.app.child import StartFailure
from scepd.app.logbook import begin_log
from scepd.app.options import Modules, Options, Patience
from scepd.app.supervisor import Sources, Supervisor
from scepd.config.settings import LogSettings
from scepd.observe.notify import Notifier
from scepd.records import Secret
from scepd.refusal import OperatorError
from tests.app import tiny_settings


def load(directory):
    try:
        return tiny_settings.make(directory)
    except ValueError as fault:
        raise StartFailure([OperatorError(str(fault), "mend it"), OperatorError("and this", "too")], 78) from fault


def main(directory):
    begin_log(LogSettings(), None)
    settings = load(directory)
    patience = attrs.evolve(Patience(), silence=3.0, ready=tiny_settings.read_wishes(directory)["ready"], back_off=1.0)
    modules = Modules("tests.app.tiny_once", "tests.app.tiny_once", "tests.app.tiny", "tests.app.tiny")
    supervisor = Supervisor(
        reactor,
        settings,
        Sources(lambda: load(directory), lambda _settings: Secret("canary-pin-7421")),
        notifier=Notifier.from_environment(os.environ, os.getpid()),
        options=Options(modules, patience, directory / "checkpoint"),
    )
    application = Application("tiny")
    supervisor.setServiceParent(application)
    IService(application).startService()
    reactor.addSystemEventTrigger("before", "shutdown", IService(application).stopService)
    reactor.run()


if __name__ == "__main__":
    main(Path(sys.argv[1]))

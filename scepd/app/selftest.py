"""`python -m scepd.app.selftest`: the first to load the module and to log in; nothing else starts before it is content."""

import os
import threading
import time
from datetime import timedelta

from scepd.app.gateway import pin_memory, token_settings
from scepd.app.keys import key_checks
from scepd.app.parcel import EXIT_CONFIGURATION, EXIT_FAILED, Parcel, tell_problem
from scepd.app.run_once import run_to_end
from scepd.challenge.digest import load_store_key
from scepd.config.settings import Settings
from scepd.hsm.calls import Calls
from scepd.hsm.probe import Report, self_test
from scepd.refusal import OperatorError

_LOOK = 0.25  # seconds between two looks for a call that does not return


def _test(settings: Settings, parcel: Parcel) -> int:
    if parcel.pin is None:
        raise OperatorError("the self-test was given no PIN", "restart scepd")
    os.environ.update(settings.hsm.variables)
    calls = Calls()
    threading.Thread(target=_watch, args=(calls, settings.hsm.call_limit), name="watch", daemon=True).start()
    report = self_test(
        token_settings(settings.hsm),
        parcel.pin,
        key_checks(settings.issuers, settings.audit),
        memory=pin_memory(settings.appliance.state, load_store_key(settings.store.key_file)),
        lanes=settings.hsm.lanes,
        calls=calls,
    )
    for trouble in report.problems:
        tell_problem(OperatorError(trouble.problem, trouble.hint))
    return exit_status(report)


def _watch(calls: Calls, limit: timedelta) -> None:
    """End this process when a call into the module does not return: nothing else can end that call."""
    while (function := calls.stuck(limit.total_seconds())) is None:
        time.sleep(_LOOK)
    problem = f"the token failed: {function} has not returned for {limit.total_seconds():g} s"
    tell_problem(OperatorError(problem, "see whether the token answers: scepd hsm list --tokens"))
    os._exit(EXIT_FAILED)


def exit_status(report: Report) -> int:
    """Return 0, 1 for what a restart may heal, 78 for what the operator must mend."""
    if report.ok:
        return 0
    return EXIT_FAILED if report.may_heal else EXIT_CONFIGURATION


if __name__ == "__main__":
    run_to_end(_test)

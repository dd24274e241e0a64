"""`python -m scepd.app.selftest`: the first to load the module and to log in; nothing else starts before it is content."""

import os

from scepd.app.gateway import pin_memory, token_settings
from scepd.app.keys import key_checks
from scepd.app.parcel import EXIT_CONFIGURATION, EXIT_FAILED, Parcel, tell_problem
from scepd.app.run_once import run_to_end
from scepd.challenge.digest import load_store_key
from scepd.config.settings import Settings
from scepd.hsm.probe import Report, self_test
from scepd.refusal import OperatorError


def _test(settings: Settings, parcel: Parcel) -> int:
    if parcel.pin is None:
        raise OperatorError("the self-test was given no PIN", "restart scepd")
    os.environ.update(settings.hsm.variables)
    report = self_test(
        token_settings(settings.hsm),
        parcel.pin,
        key_checks(settings.issuers, settings.audit),
        memory=pin_memory(settings.appliance.state, load_store_key(settings.store.key_file)),
        lanes=settings.hsm.lanes,
    )
    for trouble in report.problems:
        tell_problem(OperatorError(trouble.problem, trouble.hint))
    return exit_status(report)


def exit_status(report: Report) -> int:
    """Return 0, 1 for what a restart may heal, 78 for what the operator must mend."""
    if report.ok:
        return 0
    return EXIT_FAILED if report.may_heal else EXIT_CONFIGURATION


if __name__ == "__main__":
    run_to_end(_test)

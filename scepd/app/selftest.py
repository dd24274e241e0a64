"""`python -m scepd.app.selftest`: the first to load the module and to log in; nothing else starts before it is content."""

import os

from scepd.app.gateway import pin_memory, token_settings
from scepd.app.parcel import EXIT_CONFIGURATION, EXIT_FAILED, Parcel, tell_problem
from scepd.app.run_once import run_to_end
from scepd.challenge.digest import load_store_key
from scepd.config.settings import IssuerSettings, Settings
from scepd.hsm.probe import KeyCheck, self_test
from scepd.refusal import OperatorError

_FAULT = "the token failed"  # how `hsm.probe` begins what a restart may heal


def key_checks(issuers: tuple[IssuerSettings, ...]) -> list[KeyCheck]:
    """Return every key of the configuration with its role, each once."""
    checks = [
        check
        for issuer in issuers
        for check in (
            KeyCheck(issuer.key, "sign", issuer.certificate_der),
            KeyCheck(issuer.ra_sign.key, "sign", issuer.ra_sign.certificate_der),
            *(KeyCheck(ra.key, "decrypt", ra.certificate_der) for ra in issuer.recipients),
        )
    ]
    return list(dict.fromkeys(checks))


def _test(settings: Settings, parcel: Parcel) -> None:
    if parcel.pin is None:
        raise OperatorError("the self-test was given no PIN", "restart scepd")
    if settings.hsm.softhsm2_conf is not None:
        os.environ["SOFTHSM2_CONF"] = str(settings.hsm.softhsm2_conf)
    report = self_test(
        token_settings(settings),
        parcel.pin,
        key_checks(settings.issuers),
        memory=pin_memory(settings, load_store_key(settings.store.key_file)),
        lanes=settings.hsm.lanes,
    )
    problems = [OperatorError(found["problem"], found["hint"]) for found in report.problems]
    for problem in problems[:-1]:
        tell_problem(problem)
    if problems:
        raise problems[-1]


def _status(problem: OperatorError) -> int:
    """Tell what a restart may heal (1) from what it cannot (78)."""
    return EXIT_FAILED if problem.problem.startswith(_FAULT) else EXIT_CONFIGURATION


if __name__ == "__main__":
    run_to_end(_test, status=_status)

"""The life of a child process without a reactor: parcel in, problems out, an exit status."""

import os
import sys
import traceback
from collections.abc import Callable

from scepd.app.harden import harden
from scepd.app.parcel import EXIT_CONFIGURATION, EXIT_FAILED, Parcel, receive, tell_problem
from scepd.config.settings import Settings, restore
from scepd.refusal import OperatorError, Unavailable


def run_to_end(act: Callable[[Settings, Parcel], None], *, status: Callable[[OperatorError], int]) -> None:
    """Do one thing and exit: 0, or what `status` says of the operator's mistake, or 1."""
    harden()
    parcel = receive()
    code = 0
    try:
        act(restore(parcel.settings), parcel)
    except OperatorError as problem:
        tell_problem(problem)
        code = status(problem)
    except Unavailable as trouble:
        tell_problem(OperatorError(trouble.cause, "mend that and start again"))
        code = EXIT_FAILED
    except Exception:  # noqa: BLE001 - the end of this process: the log gets the stack, the supervisor the status
        traceback.print_exc()
        code = EXIT_FAILED
    sys.stderr.flush()
    os._exit(code)  # a vendor's library may hang in its own farewell


def as_configuration(_problem: OperatorError) -> int:
    """Treat every mistake as one of configuration: a restart alone does not help."""
    return EXIT_CONFIGURATION

"""The life of a child process without a reactor: parcel in, problems out, an exit status."""

import os
import sys
import traceback
from collections.abc import Callable

from scepd.app.harden import harden
from scepd.app.parcel import EXIT_CONFIGURATION, EXIT_FAILED, Parcel, receive, tell_problem
from scepd.config.settings import Settings, restore
from scepd.refusal import OperatorError, Unavailable


def run_to_end(act: Callable[[Settings, Parcel], int]) -> None:
    """Do one thing and exit with the status it returns; 78 for a mistake of the operator's, 1 for anything else."""
    harden()
    parcel = receive()
    try:
        code = act(restore(parcel.settings), parcel)
    except OperatorError as problem:
        tell_problem(problem)
        code = EXIT_CONFIGURATION  # a restart alone does not help
    except Unavailable as trouble:
        tell_problem(OperatorError(trouble.cause, "mend that and start again"))
        code = EXIT_FAILED
    except Exception:  # noqa: BLE001 - the end of this process: the log gets the stack, the supervisor the status
        traceback.print_exc()
        code = EXIT_FAILED
    sys.stderr.flush()
    os._exit(code)  # a vendor's library may hang in its own farewell

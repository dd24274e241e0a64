"""What the supervisor says of the service: to the log, to systemd, to the control socket."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from twisted.logger import Logger
from twisted.python.failure import Failure

import scepd
from scepd.app.child import StartFailure
from scepd.app.expiry import count_days
from scepd.app.generation import Generation
from scepd.app.parcel import EXIT_FAILED
from scepd.app.sockets import Sockets
from scepd.observe.notify import Notifier
from scepd.records import to_json


class Report:
    """The state of the service and its last reload, and the words for them."""

    log = Logger()

    def __init__(self, sockets: Sockets, notifier: Notifier) -> None:
        """Begin as starting."""
        self._sockets = sockets
        self._notifier = notifier
        self._last_reload: dict[str, Any] | None = None
        self.state = "starting"
        self.started = datetime.now(UTC)

    def serving(self, generation: Generation) -> None:
        """Say where that generation serves."""
        self.state = "running"
        for listener, host, port in self._sockets.addresses(generation.places):
            self.log.info(event="listening", listener=listener, host=host, port=port)
        for warning in generation.settings.warnings:
            self.log.warn(event="doubtful", doubt=warning.reason, where=warning.path)  # noqa: G010 - the name in twisted.logger
        for switch in generation.settings.insecure:
            self.log.warn(event="insecure", switch=switch)  # noqa: G010 - the name in twisted.logger
        count = generation.settings.workers
        self.log.info(event="ready", generation=generation.number, workers=count)
        self._notifier.ready(f"generation {generation.number}, workers: {count}")

    def start_failed(self, failure: Failure) -> int:
        """Log why the service does not start; return the exit status."""
        self.state = "failed"
        problem = failure.value
        if not isinstance(problem, StartFailure):
            self.log.failure("the start failed", failure, event="start_failed")
            return EXIT_FAILED
        self._log_problems("start_failed", problem)
        self._notifier.status(f"cannot start: {problem}")
        return problem.status

    def reloading(self) -> None:
        """Say that a reload began."""
        self.state = "reloading"
        self.log.info(event="reload_began")
        self._notifier.reloading()

    def reload_failed(self, failure: StartFailure) -> None:
        """Say why the old generation stays."""
        self._note_reload(failure.report)
        self._log_problems("reload_failed", failure)

    def reloaded(self) -> None:
        """Say that the new generation serves."""
        self._note_reload([])

    def stopping(self) -> None:
        """Say that the service goes down."""
        self.state = "stopping"
        self.log.info(event="stopping")
        self._notifier.stopping()

    def status(self, serving: Generation | None, leaving: Sequence[Generation]) -> dict[str, Any]:
        """Return everything as JSON-able fields; `ready` comes from the processes themselves, never from configuration."""
        common = {
            "state": self.state,
            "version": scepd.__version__,
            "started": self.started.isoformat(timespec="seconds"),
            "last_reload": self._last_reload,
        }
        if serving is None:
            return {
                **common,
                "ready": False,
                "hsm": "unknown",
                "read_only": "",
                "read_only_hint": "",
                "generation": 0,
                "workers": [],
                "desk": [],
                "listeners": [],
            }
        tls = {listener.name for listener in serving.settings.listeners if listener.tls is not None}
        addresses = self._sockets.addresses(serving.places)
        cause, hint = serving.read_only
        return {
            **common,
            "ready": self._is_ready(serving),
            "hsm": serving.hsm,
            "read_only": cause,
            "read_only_hint": hint,
            "certificates": count_days(serving.settings, datetime.now(UTC), serving.responders),
            "generation": serving.number,
            "workers": [slot.describe() for slot in serving.workers.slots],
            "leaving": [slot.describe() for old in leaving for slot in old.workers.slots if slot.child is not None],
            "desk": [slot.describe() for slot in serving.desk.slots],
            "listeners": [
                {"listener": name, "host": host, "port": port, "tls": name in tls} for name, host, port in addresses
            ],
        }

    def _is_ready(self, serving: Generation) -> bool:
        answers = self.state in ("running", "reloading") and serving.is_ready and serving.hsm == "up"
        return answers and not serving.read_only[0]

    def dump(self, serving: Generation | None) -> None:
        """Write the status to the log (SIGUSR2)."""
        self.log.info(event="status", status=to_json(self.status(serving, ())))

    def _note_reload(self, problems: list[dict[str, str]]) -> None:
        at = datetime.now(UTC).isoformat(timespec="seconds")
        self._last_reload = {"at": at, "ok": not problems, "problems": problems}

    def _log_problems(self, event: str, failure: StartFailure) -> None:
        for problem in failure.problems:
            self.log.error(event=event, problem=problem.problem, hint=problem.hint)

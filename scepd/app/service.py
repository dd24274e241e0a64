"""How other processes (the CLI) speak to a running service: its control socket and the desk's."""

import http.client
import json
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

from scepd.refusal import OperatorError

CONTROL_SOCKET = "control.sock"
DESK_SOCKET = "desk.sock"


class NotRunning(OperatorError):  # noqa: N818 - a state, not a fault
    """No service answers in that runtime directory."""


def status(runtime: Path, *, timeout: float = 5.0) -> dict[str, Any]:
    """Return what the supervisor says of itself and its children; raises `NotRunning`.

    `ready` is true when every process serves and the token answers; `state` is starting, running, reloading or
    stopping.
    """
    return _command(runtime, "status", timeout)


def is_running(runtime: Path) -> bool:
    """Return whether a service is there, also one that does not answer."""
    try:
        status(runtime)
    except NotRunning:
        return False
    except (OSError, ValueError):
        return True
    return True


def reload(runtime: Path, *, timeout: float = 300.0) -> dict[str, Any]:
    """Replace configuration and workers, and wait for the result: {"ok": bool, "problems": [{problem, hint}, ...]}."""
    return _command(runtime, "reload", timeout)


def ask_for_reload(runtime: Path, *, timeout: float = 5.0) -> None:
    """Ask for a reload and do not wait: it replaces who asks. Its result is in the log. Raises `NotRunning`."""
    with _connect(runtime / CONTROL_SOCKET, timeout) as connection:
        connection.sendall(json.dumps({"command": "reload"}).encode() + b"\n")


def stop(runtime: Path, *, timeout: float = 5.0) -> dict[str, Any]:
    """Ask for an orderly stop; the answer comes before it is over."""
    return _command(runtime, "stop", timeout)


def _command(runtime: Path, word: str, timeout: float) -> dict[str, Any]:
    with _connect(runtime / CONTROL_SOCKET, timeout) as connection, connection.makefile("rb") as answers:
        connection.sendall(json.dumps({"command": word}).encode() + b"\n")
        line = answers.readline()
    if not line:
        raise NotRunning(f"the service at {runtime} closed the connection", "run as the service's user or as root")
    reply: dict[str, Any] = json.loads(line)
    return reply


def ask_desk(runtime: Path, method: str, path: str, body: dict[str, Any], *, timeout: float = 30.0) -> tuple[int, Any]:
    """Send one request to the admin API on the desk's socket; return the HTTP status and the JSON value."""
    connection = _UnixConnection(runtime / DESK_SOCKET, timeout)
    try:
        with suppress(BrokenPipeError):  # a desk that reads no more has said why
            connection.request(method, path, json.dumps(body), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    except http.client.HTTPException as fault:
        raise NotRunning(f"the desk at {runtime} did not answer", "scepd status") from fault
    finally:
        connection.close()


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path
        self._patience = timeout

    def connect(self) -> None:
        self.sock = _connect(self._path, self._patience)


def _connect(path: Path, timeout: float) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(timeout)
    try:
        connection.connect(str(path))
    except (FileNotFoundError, ConnectionRefusedError) as fault:
        connection.close()
        raise NotRunning(f"no scepd runs at {path.parent}", "scepd run, or systemctl start scepd") from fault
    except PermissionError as fault:
        connection.close()
        raise OperatorError(f"{path} is not for you", "run as the service's user or as root") from fault
    return connection

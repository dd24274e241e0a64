"""The desk: the admin API over HTTP and JSON on a Unix socket, for the user of this service and root."""

import json
import os
import pwd
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from scepd.admin.actions import Actions
from scepd.admin.api import handle
from scepd.app.clock import UtcClock
from scepd.app.control import is_own
from scepd.app.desk_site import DeskSite
from scepd.app.listeners import adopt
from scepd.app.parcel import Inherited
from scepd.challenge.digest import load_store_key
from scepd.config.settings import Settings
from scepd.store.engines import open_engine
from scepd.store.repository import Repository

_OWNER, _EVERYBODY, _PASSING = 0o600, 0o666, 0o011  # modes of the socket; of its directory


class Desk:
    """Serves `admin.api`; its one lane is a thread with a store connection of its own."""

    def __init__(self, reactor: Any, settings: Settings, socket: Inherited) -> None:
        """Take what there is; nothing is opened before `start`."""
        self._reactor = reactor
        self._settings = settings
        self._socket = socket
        self._lane = ThreadPool(1, 1, "desk")
        self._tenants = administered(settings)
        self._port: Any = None
        self._site: Any = None
        self._actions: Actions | None = None

    async def start(self) -> None:
        """Open the store and take calls."""
        self._lane.start()
        self._actions = await self._in_lane(self._open)
        self._site = DeskSite(DeskResource(self), self.admits, self._reactor)
        if self._tenants:
            open_to_others(self._settings.appliance.runtime)
        self._port = adopt(self._reactor, self._socket, self._site, mode=_EVERYBODY if self._tenants else _OWNER)

    async def drain(self, grace: float) -> None:
        """Take no more calls; a call in progress ends, since it is one store transaction long."""
        del grace
        if self._port is not None:
            await self._port.stopListening()
        self._lane.stop()

    def recover(self, slot: int) -> None:
        """Do nothing: the desk leaves nothing unfinished."""

    def describe(self) -> dict[str, Any]:
        """Say nothing of a token, which the desk does not have."""
        return {}

    def admits(self, user: int) -> bool:
        """Return whether a user of this machine may call: the service's own, root, or who administers a tenant."""
        return is_own(user) or _name(user) in self._tenants

    def answer(self, user: int, method: str, path: str, body: dict[str, Any]) -> Deferred[tuple[int, Any]]:
        """Answer one call of a user who is admitted, in the lane."""
        who = _name(user)
        profiles = None if is_own(user) else self._tenants[who]
        return self._in_lane(lambda: handle(self._ready_actions(), method, path, body, who=who, profiles=profiles))

    def _ready_actions(self) -> Actions:
        assert self._actions is not None
        return self._actions

    def _in_lane(self, function: Any) -> Deferred[Any]:
        return deferToThreadPool(self._reactor, self._lane, function)

    def _open(self) -> Actions:
        settings = self._settings
        clock = UtcClock()
        engine = open_engine(settings.store.url, settings.appliance.state)
        return Actions(
            repository=Repository(engine, owner=f"{settings.appliance.node}/desk", clock=clock),
            profiles={profile.name: profile for profile in settings.profiles},
            store_key=load_store_key(settings.store.key_file),
            clock=clock,
            random=os.urandom,
        )


class DeskResource(Resource):
    """Every path of the desk's socket."""

    isLeaf = True
    log = Logger()

    def __init__(self, desk: Desk) -> None:
        """Keep the desk."""
        super().__init__()  # type: ignore[no-untyped-call]
        self._desk = desk

    def render(self, request: Request) -> int:
        """Answer a call; its connection was let in already."""
        channel: Any = request.channel
        try:
            body = _read_body(request)
        except (ValueError, RecursionError) as error:  # the latter of lists within lists
            _reply(request, 400, {"problem": f"the body is no JSON object: {error}", "hint": "{}"})
            return NOT_DONE_YET
        gone: list[Failure] = []
        request.notifyFinish().addErrback(gone.append)
        called = self._desk.answer(channel.user, request.method.decode(), request.uri.decode(), body)
        called.addErrback(self._excuse)
        called.addCallback(lambda reply: None if gone else _reply(request, *reply))
        return NOT_DONE_YET

    def _excuse(self, failure: Failure) -> tuple[int, Any]:
        self.log.failure("a call of the desk failed", failure, event="desk_fault")
        return 503, {"problem": "the desk failed; the log says why", "hint": "scepd status"}


def _read_body(request: Any) -> dict[str, Any]:
    octets = request.content.read()
    body = json.loads(octets) if octets else {}
    if not isinstance(body, dict):
        raise ValueError("not an object")  # noqa: TRY004 - json.loads raises it too
    return body


def _reply(request: Any, status: int, value: Any) -> None:
    octets = json.dumps(value).encode()
    request.setResponseCode(status)
    request.setHeader(b"content-type", b"application/json")
    request.setHeader(b"content-length", b"%d" % len(octets))
    request.write(octets)
    request.finish()


def administered(settings: Settings) -> Mapping[str, frozenset[str]]:
    """Return which profiles are those of each administrator of a tenant, by the name that `answer` knows a user by."""
    found: dict[str, frozenset[str]] = {}
    for tenant in settings.tenants:
        for name in tenant.administrators:
            found[f"user {name}"] = found.get(f"user {name}", frozenset()) | set(tenant.profiles)
    return found


def open_to_others(runtime: Path) -> None:
    """Let other users reach the sockets in a directory by their names; whom each lets in, it decides by its peer."""
    mode = stat.S_IMODE(runtime.stat().st_mode)
    if mode & _PASSING != _PASSING:
        runtime.chmod(mode | _PASSING)


def _name(user: int) -> str:
    try:
        return f"user {pwd.getpwuid(user).pw_name}"
    except KeyError:
        return f"uid {user}"

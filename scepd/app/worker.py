"""A worker: where the rooms are put together, from settings to listening sites."""

import os
from collections.abc import Callable
from typing import Any

from twisted.internet import defer
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from scepd.app.background import Background
from scepd.app.belongings import Outfitter, Shared
from scepd.app.checkpoint import Checkpoints
from scepd.app.clock import UtcClock
from scepd.app.clock_watch import ClockWatch
from scepd.app.cores import keep_to_core
from scepd.app.endpoints import default_key, make_endpoints
from scepd.app.gates import anchors_of
from scepd.app.gateway import Gateway, TokenOpener
from scepd.app.generator import Generator
from scepd.app.halt import Halt
from scepd.app.limits import failure_limits, http_limits, rate_limit, standings_of
from scepd.app.listeners import adopt, approach_of, check_listener, make_factory
from scepd.app.outside import Outside
from scepd.app.parcel import Parcel
from scepd.app.recovery import Estates
from scepd.challenge.digest import load_store_key
from scepd.config.listener_settings import ListenerSettings
from scepd.config.settings import Settings
from scepd.enroll.answer import Answerer
from scepd.observe.stall import Stall, StallDetector
from scepd.refusal import Unavailable
from scepd.web.limits import Occupancy
from scepd.web.scep import ScepResource
from scepd.web.site import ScepSite
from scepd.web.tree import Tree

_TICK = 1.0  # seconds between two batches of refusals
_HEAD_START = 3.0  # seconds for the token to open before anybody is told that it is away
_LANES_GRACE = 2.0  # seconds for the lanes to end
_STALL_FRAMES = 3  # of the stack, innermost first, in the log line


class Worker:
    """Serves every listener of the configuration from one reactor, with its own module, login, lanes and store."""

    log = Logger()

    def __init__(self, reactor: Any, settings: Settings, parcel: Parcel, fail: Callable[[], None]) -> None:
        """Take settings and sockets; `fail` is called when only a new process can help."""
        self._reactor = reactor
        self._settings = settings
        self._parcel = parcel
        self._fail = fail
        self._occupancy = Occupancy(
            connections=settings.limits.connections,
            per_network=settings.limits.connections_per_address,
            octets=settings.limits.in_flight_bytes,
        )
        self._failures = failure_limits(settings.limits, parcel.slots)
        self._halt = Halt(tells=parcel.slot == 0, watch=ClockWatch(UtcClock()))
        self._patience: Any = None
        self._ports: list[Any] = []
        self._sites: list[ScepSite] = []
        self._gateway: Gateway | None = None
        self._background: Background | None = None
        self._generator: Generator | None = None
        self._tick = LoopingCall(self._do_duties)
        self._tick.clock = reactor
        self._stalls = StallDetector(reactor, self._tell_stall)

    async def start(self) -> None:
        """Serve: token and lanes, then the listeners; they come first where the token lets them wait."""
        settings, parcel = self._settings, self._parcel
        keep_to_core(settings, parcel.slot)  # before there are threads: they inherit it
        for listener in settings.listeners:
            check_listener(listener)
        os.environ.update(settings.hsm.variables)
        store_key = load_store_key(settings.store.key_file)
        clock = UtcClock()
        shared = Shared.make(settings, store_key, clock, self._failures, self._halt)
        outfitter = Outfitter(settings, parcel.slot, store_key, Checkpoints(parcel.checkpoints), shared)
        self._gateway = Gateway(
            self._reactor,
            settings,
            outfitter,
            open_token=TokenOpener(settings, parcel.pin, store_key),
            fail=self._fail,
            on_return=lambda: self.recover(parcel.slot),
        )
        outside = Outside.of_profiles(settings.profiles, self._reactor, clock)
        self._answerer = Answerer(self._gateway, self._reactor, remotes=outside.remotes, admit=self._halt.require_off)
        self._background = Background.make(
            self._reactor, settings, parcel.slot, self._gateway, shared=shared, notifiers=outside.notifiers
        )
        self._background.start()
        self._generator = Generator.where_served(self._reactor, settings, parcel, store_key)
        self._estates = Estates(settings, self._gateway)
        if parcel.recover:
            self._estates.take(parcel.slot)
            if parcel.slot == 0:
                self._estates.take_strays()
        if parcel.slot == 0:
            self._estates.watch_adopted()
        # Requests queued while this worker's predecessor was dead: they had better not hear 503 for these moments.
        self._patience = self._reactor.callLater(_HEAD_START, self._listen)
        await self._gateway.open()
        await self._background.news.heard()
        if self._patience.active():
            self._patience.cancel()
            self._listen()
        await self._settle_estates()
        self._background.take_duties()
        self._tick.start(_TICK, now=False)
        self._stalls.start()  # not before: starting blocks, and nobody minds

    async def drain(self, grace: float) -> None:
        """Stop accepting, finish requests in flight within `grace` seconds, write what was kept, end the lanes."""
        self._stalls.stop()
        if self._patience is not None and self._patience.active():
            self._patience.cancel()
        if self._tick.running:
            self._tick.stop()
        await DeferredList([port.stopListening() for port in self._ports], consumeErrors=True)
        await _within(grace, DeferredList([site.drain() for site in self._sites]), self._reactor)
        if self._background is not None:
            await _within(_LANES_GRACE, Deferred.fromCoroutine(self._background.stop()), self._reactor)
        if self._generator is not None:
            await _within(_LANES_GRACE, self._generator.stop(), self._reactor)
        if self._gateway is not None:
            await _within(_LANES_GRACE, Deferred.fromCoroutine(self._flush()), self._reactor)
            await _within(_LANES_GRACE, Deferred.fromCoroutine(self._gateway.close()), self._reactor)

    def recover(self, slot: int) -> None:
        """Finish, at the next tick, what the former worker of that slot left unfinished."""
        self._estates.take(slot)

    def describe(self) -> dict[str, Any]:
        """Say whether the token answers, why the store is read-only, when the OCSP keys' certificates end."""
        return {
            "hsm": "away" if self._gateway is None else self._gateway.state,
            "read_only": self._halt.cause,
            "read_only_hint": self._halt.hint,
            "responders": {} if self._background is None else dict(self._background.ends.told),
        }

    def _listen(self) -> None:
        assert self._gateway is not None  # made before anything listens
        endpoints = make_endpoints(self._settings, self._answerer, self._gateway)
        resource = ScepResource(
            endpoints,
            default=default_key(self._settings),
            rate=rate_limit(self._settings.limits, self._parcel.slots),
            failures=self._failures,
            standings=standings_of(self._settings.limits, self._parcel.slots),
        )
        hints = anchors_of(endpoint.gate for endpoint in endpoints.values() if endpoint.gate is not None)
        listeners = {listener.name: listener for listener in self._settings.listeners}
        sites = {name: self._make_site(listener, resource) for name, listener in listeners.items()}
        factories = {name: make_factory(listener, sites[name], hints) for name, listener in listeners.items()}
        self._sites = list(sites.values())
        self._ports = [
            adopt(self._reactor, inherited, factories[inherited.listener]) for inherited in self._parcel.sockets
        ]

    def _tree(self, listener: ListenerSettings, scep: ScepResource) -> Tree:
        assert self._background is not None  # made before anything listens
        publication = self._background.publication if "publication" in listener.serves else None
        challenges = self._generator.resource if self._generator and "challenges" in listener.serves else None
        ocsp = self._background.ocsp if "publication" in listener.serves else None
        return Tree(scep if "scep" in listener.serves else None, publication, challenges, ocsp=ocsp)

    def _make_site(self, listener: ListenerSettings, scep: ScepResource) -> ScepSite:
        tree: Any = self._tree(listener, scep)
        return ScepSite(
            tree,
            self._reactor,
            random=os.urandom,
            occupancy=self._occupancy,
            limits=http_limits(self._settings.limits),
            approach=approach_of(listener, UtcClock()),
        )

    async def _do_duties(self) -> None:
        await self._flush()
        await self._settle_estates()
        assert self._background is not None  # made before the first tick
        await self._background.count_wrong_codes()

    async def _settle_estates(self) -> None:
        if not self._halt.is_on:
            await self._estates.settle()

    async def _flush(self) -> None:
        try:
            await self._answerer.flush()
        except Unavailable as trouble:
            self.log.warn(event="refusals_lost", cause=trouble.cause)  # noqa: G010 - the name in twisted.logger

    def _tell_stall(self, stall: Stall) -> None:
        stack = " < ".join(stall.stack[:_STALL_FRAMES])
        milliseconds, cpu = round(stall.seconds * 1000), round(stall.cpu * 1000)
        self.log.warn(event="reactor_stall", ms=milliseconds, cpu_ms=cpu, stack=stack)  # noqa: G010 - the name in twisted.logger


def _within(seconds: float, work: Deferred[Any], reactor: Any) -> Deferred[Any]:
    """Wait for the work, but no longer than that."""
    return work.addTimeout(max(seconds, 0.01), reactor).addErrback(_give_up)


def _give_up(failure: Failure) -> None:
    failure.trap(defer.TimeoutError)  # type: ignore[no-untyped-call]

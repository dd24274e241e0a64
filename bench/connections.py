"""Requests over keep-alive connections, timed: the driving part of the load generator."""

import asyncio
import os
import statistics
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import attrs

from bench.report import Broken
from bench.request import Prepared
from bench.target import Target

_TIMEOUT = 30.0  # seconds without any reply


@attrs.define
class Run:
    """One measured run: seconds per reply, wall seconds, and what came back."""

    latencies: list[float] = attrs.field(factory=list)
    replies: list[tuple[Prepared, int, bytes]] = attrs.field(factory=list)
    wall: float = 0.0
    own_cpu: float = 0.0  # CPU seconds of this process
    cpu: float | None = None  # CPU seconds of the watched processes

    def figures(self) -> dict[str, float]:
        """Return the figures of the table."""
        count = len(self.latencies)
        quantile = statistics.quantiles(self.latencies * (2 if count == 1 else 1), n=100, method="inclusive")
        figures = {
            "per_second": round(count / self.wall, 1),
            "p50_ms": round(quantile[49] * 1000, 2),
            "p95_ms": round(quantile[94] * 1000, 2),
            "p99_ms": round(quantile[98] * 1000, 2),
            "client_cpu_ms": round(self.own_cpu * 1000 / count, 3),
        }
        if self.cpu is not None:
            figures["cpu_ms"] = round(self.cpu * 1000 / count, 3)
        return figures


def cpu_seconds(pids: Sequence[int]) -> float:
    """Return user plus system time of the processes with all their threads (proc(5), fields 14 and 15)."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


@attrs.define(eq=False)
class Drive:
    """What the connections of a run share: the requests that wait, the figures, the end."""

    target: Target
    work: deque[Prepared]
    run: Run
    ended: "asyncio.Future[None]"
    head: bytes
    expected: int

    async def connect(self) -> None:
        """Open one connection, which then goes on by itself."""
        parts = urlsplit(self.target.url)
        secure = parts.scheme == "https"
        try:
            await asyncio.get_running_loop().create_connection(
                lambda: Client(self),
                parts.hostname or "",
                parts.port or (443 if secure else 80),
                ssl=self.target.tls if secure else None,
            )
        except OSError as error:
            self.fail(Broken(f"{self.target.url}: {error}"))

    def fail(self, error: Exception) -> None:
        """End the run."""
        if not self.ended.done():
            self.ended.set_exception(error)

    def reconnect(self) -> None:
        """Open a connection in place of one that the server closed after its answer."""
        if self.work and not self.ended.done():
            self._task = asyncio.ensure_future(self.connect())

    def keep(self, reply: tuple[Prepared, int, bytes], seconds: float) -> None:
        """Count one reply."""
        self.run.latencies.append(seconds)
        self.run.replies.append(reply)
        if len(self.run.replies) == self.expected and not self.ended.done():
            self.ended.set_result(None)

    _task: "asyncio.Future[None] | None" = None


class Client(asyncio.Protocol):
    """One connection that posts the next request as soon as the last was answered."""

    def __init__(self, drive: Drive) -> None:
        """Share the work with the other connections."""
        self._drive = drive
        self._buffer = bytearray()
        self._current: Prepared | None = None
        self._begun = 0.0
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._next()

    def data_received(self, data: bytes) -> None:
        """Collect one whole reply."""
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = bytes(self._buffer[:end]).lower()
        body = _body(head, self._buffer, end + 4)
        if body is not None:
            self._finish(head, body)

    def connection_lost(self, exc: Exception | None) -> None:
        """Go on over another connection; a reply without a length ends here."""
        head, separator, body = bytes(self._buffer).partition(b"\r\n\r\n")
        if self._current is None:
            self._drive.reconnect()
        elif separator and not _announces(head.lower()):
            self._finish(head.lower() + b"\r\nconnection: close", body)
            self._drive.reconnect()
        else:
            self._drive.fail(Broken(f"the server closed a connection instead of answering: {exc or 'no reason'}"))

    def _finish(self, head: bytes, body: bytes) -> None:
        assert self._current is not None
        current, self._current = self._current, None
        self._drive.keep((current, int(head[9:12]), body), time.perf_counter() - self._begun)
        self._buffer.clear()
        if b"\r\nconnection: close" in head:
            self._transport.close()
        else:
            self._next()

    def _next(self) -> None:
        if not self._drive.work:
            self._transport.close()
            return
        self._current = self._drive.work.popleft()
        body = self._current.body
        self._begun = time.perf_counter()
        self._transport.write(self._drive.head % len(body) + body)


def _announces(head: bytes) -> bool:
    return b"\r\ncontent-length:" in head or b"\r\ntransfer-encoding:" in head


def body_length(head: bytes) -> int | None:
    """Return what a head in lower case announces of its body; None where it does not."""
    at = head.find(b"\r\ncontent-length:")
    return int(head[at + 17 :].split(b"\r\n", 1)[0]) if at >= 0 else None


def head_of(target: Target) -> bytes:
    """Return the head of a PKIOperation, with %d where the length of its body goes."""
    parts = urlsplit(target.url)
    return (
        f"POST {parts.path or '/'}?operation=PKIOperation HTTP/1.1\r\nHost: {parts.netloc}\r\n"
        "Content-Type: application/x-pki-message\r\nContent-Length: %d\r\n\r\n"
    ).encode()


def _body(head: bytes, buffer: bytearray, start: int) -> bytes | None:
    """Return the body of a reply whose head is in lower case; None while it is not complete.

    A body of known length is copied once, when all of it is there: a CRL comes in hundreds of pieces.
    """
    length = body_length(head)
    if length is not None:
        return bytes(buffer[start : start + length]) if len(buffer) - start >= length else None
    data = bytes(buffer[start:])
    if b"\r\ntransfer-encoding: chunked" not in head or not data.endswith(b"0\r\n\r\n"):
        return None
    body = b""
    while data:
        size, _, data = data.partition(b"\r\n")
        length = int(size.split(b";")[0], 16)
        body, data = body + data[:length], data[length + 2 :]
    return body


async def drive(
    target: Target, prepared: Sequence[Prepared], clients: int, pids: Sequence[int] = (), *, head: bytes | None = None
) -> Run:
    """Send every request over `clients` connections and return what was measured; raises `Broken`.

    `head` is that of another operation than PKIOperation, with %d where the length of a body goes.
    """
    head = head or head_of(target)
    ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    run = Run()
    shared = Drive(target, deque(prepared), run, ended, head, len(prepared))
    cpu, own_cpu, begun = cpu_seconds(pids), time.process_time(), time.perf_counter()
    await asyncio.gather(*(shared.connect() for _ in range(clients)))
    seen = -1
    while not ended.done():
        await asyncio.wait((ended,), timeout=_TIMEOUT)
        if seen == len(run.replies) and not ended.done():
            raise Broken(f"no reply for {_TIMEOUT:.0f} seconds")
        seen = len(run.replies)
    ended.result()
    run.wall, run.own_cpu = time.perf_counter() - begun, time.process_time() - own_cpu
    run.cpu = cpu_seconds(pids) - cpu if pids else None
    return run

"""Connections that stay open from run to run, so that no run pays for a handshake."""

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from typing import Self
from urllib.parse import urlsplit

import attrs

from bench.connections import Run, body_length, cpu_seconds, head_of
from bench.report import Broken
from bench.request import Prepared
from bench.target import Target

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@attrs.frozen
class Kept:
    """Open connections to one target, and the processes whose CPU time its enrolments cost."""

    target: Target
    connections: Sequence[Connection]
    pids: Sequence[int]

    @classmethod
    async def open(cls, target: Target, clients: int, pids: Sequence[int]) -> Self:
        """Open that many connections; raises `Broken`."""
        parts = urlsplit(target.url)
        secure = parts.scheme == "https"
        port, tls = parts.port or (443 if secure else 80), target.tls if secure else None
        try:
            opened = [await asyncio.open_connection(parts.hostname, port, ssl=tls) for _ in range(clients)]
        except OSError as error:
            raise Broken(f"{target.url}: {error}") from error
        return cls(target, opened, pids)

    async def run(self, prepared: Sequence[Prepared]) -> Run:
        """Send every request and return what was measured; raises `Broken` where a connection ends."""
        run, work = Run(), deque(prepared)
        cpu, own_cpu, begun = cpu_seconds(self.pids), time.process_time(), time.perf_counter()
        await asyncio.gather(*(self._send(connection, work, run) for connection in self.connections))
        run.wall, run.own_cpu = time.perf_counter() - begun, time.process_time() - own_cpu
        run.cpu = cpu_seconds(self.pids) - cpu
        return run

    async def _send(self, connection: Connection, work: deque[Prepared], run: Run) -> None:
        (reader, writer), head = connection, head_of(self.target)
        while work:
            request = work.popleft()
            begun = time.perf_counter()
            writer.write(head % len(request.body) + request.body)
            try:
                answer = await reader.readuntil(b"\r\n\r\n")
                body = await reader.readexactly(body_length(answer.lower()) or 0)
            except (OSError, asyncio.IncompleteReadError) as error:
                raise Broken(f"{self.target.url}: {error}") from error
            run.latencies.append(time.perf_counter() - begun)
            run.replies.append((request, int(answer[9:12]), body))

    def close(self) -> None:
        """Close them all."""
        for _reader, writer in self.connections:
            writer.close()

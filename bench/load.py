"""A load generator for any SCEP server: `python -m bench.load URL --challenge SECRET`.

It fetches GetCACert, builds distinct PKCSReqs before its clock starts (a pool of keys, distinct transactionIDs and
names), keeps `--clients` connections busy with POSTs, and verifies every reply after the clock has stopped.
"""

import argparse
import asyncio
import json
import os
import secrets
import statistics
import sys
import time
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import attrs
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from bench.request import Prepared, prepare, verify
from scepd.message.certrep import read_certs_only

POOL = 256


@attrs.frozen
class Run:
    """One measured run: seconds per reply, wall seconds, and what came back."""

    latencies: list[float]
    wall: float
    replies: list[tuple[Prepared, int, bytes]]
    cpu: float | None  # CPU seconds of the watched processes

    def figures(self) -> dict[str, float]:
        """Return the figures of the table."""
        ordered = sorted(self.latencies)
        quantile = statistics.quantiles(ordered, n=100, method="inclusive") if len(ordered) > 1 else ordered * 99
        figures = {
            "per_second": round(len(ordered) / self.wall, 1),
            "p50_ms": round(quantile[49] * 1000, 2),
            "p95_ms": round(quantile[94] * 1000, 2),
            "p99_ms": round(quantile[98] * 1000, 2),
        }
        if self.cpu is not None:
            figures["cpu_ms"] = round(self.cpu * 1000 / len(ordered), 3)
        return figures


def key_pool(path: Path | None, size: int = POOL) -> list[rsa.RSAPrivateKey]:
    """Return `size` RSA-2048 keys, kept in a file between runs since making them takes longer than the run."""
    if path is not None and path.exists():
        blocks = path.read_text().split("-----END PRIVATE KEY-----\n")
        keys = [
            serialization.load_pem_private_key((block + "-----END PRIVATE KEY-----\n").encode(), None)
            for block in blocks
            if block.strip()
        ]
        if len(keys) >= size:
            return keys[:size]  # type: ignore[return-value]
    made = [rsa.generate_private_key(65537, 2048) for _ in range(size)]
    if path is not None:
        pem = b"".join(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            for key in made
        )
        path.write_bytes(pem)
    return made


def fetch_ca(url: str) -> list[bytes]:
    """Return the certificates of GetCACert."""
    with urllib.request.urlopen(f"{url}?operation=GetCACert", timeout=10) as reply:  # noqa: S310 - the caller's URL
        body = reply.read()
        if reply.headers["Content-Type"] == "application/x-x509-ca-cert":
            return [body]
    return read_certs_only(body)


def cpu_seconds(pids: list[int]) -> float:
    """Return user plus system time of the processes (proc(5), fields 14 and 15)."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


class Client(asyncio.Protocol):
    """One keep-alive connection that posts the next prepared request as soon as the last was answered."""

    def __init__(self, head: bytes, work: list[Prepared], run: Run, done: "asyncio.Future[None]") -> None:
        """Share the list of work with the other clients."""
        self._head, self._work, self._run, self._done = head, work, run, done
        self._buffer = bytearray()
        self._begun = 0.0
        self._current: Prepared | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = transport
        self._next()

    def data_received(self, data: bytes) -> None:
        """Collect one whole reply: headers, Content-Length, body."""
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = bytes(self._buffer[:end]).lower()
        at = head.find(b"content-length:")
        length = int(head[at + 15 :].split(b"\r\n", 1)[0])
        if len(self._buffer) < end + 4 + length:
            return
        assert self._current is not None
        self._run.latencies.append(time.perf_counter() - self._begun)
        self._run.replies.append((self._current, int(head[9:12]), bytes(self._buffer[end + 4 : end + 4 + length])))
        self._buffer.clear()
        self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        """Report a connection that ended early."""
        if not self._done.done():
            self._done.set_exception(exc or ConnectionError("the server closed the connection"))

    def _next(self) -> None:
        if not self._work:
            if not self._done.done():
                self._done.set_result(None)
            self._transport.close()
            return
        self._current = self._work.pop()
        self._begun = time.perf_counter()
        body = self._current.body
        self._transport.write(  # type: ignore[attr-defined]
            self._head + str(len(body)).encode() + b"\r\n\r\n" + body,
        )


async def drive(url: str, prepared: list[Prepared], clients: int, pids: list[int]) -> Run:
    """Send every prepared request over `clients` connections and return what was measured."""
    parts = urlsplit(url)
    path = parts.path or "/scep"
    head = (
        f"POST {path}?operation=PKIOperation HTTP/1.1\r\nHost: {parts.netloc}\r\n"
        "Content-Type: application/x-pki-message\r\nContent-Length: "
    ).encode()
    loop = asyncio.get_running_loop()
    work = list(reversed(prepared))
    run = Run([], 0.0, [], None)
    ends: list[asyncio.Future[None]] = []
    cpu_before = cpu_seconds(pids)
    begun = time.perf_counter()
    for _ in range(clients):
        done: asyncio.Future[None] = loop.create_future()
        ends.append(done)
        await loop.create_connection(
            lambda done=done: Client(head, work, run, done),  # type: ignore[misc]
            parts.hostname,
            parts.port or 80,
            ssl=parts.scheme == "https" or None,
        )
    await asyncio.gather(*ends)
    wall = time.perf_counter() - begun
    return attrs.evolve(run, wall=wall, cpu=cpu_seconds(pids) - cpu_before if pids else None)


def measure(
    url: str,
    challenge: str,
    *,
    clients: int,
    count: int,
    keys: list[rsa.RSAPrivateKey],
    pids: list[int] | None = None,
) -> Run:
    """Prepare, drive and verify one run; raises SystemExit when a reply is no certificate for its key."""
    ca = fetch_ca(url)
    now = datetime.now(UTC)
    mark = secrets.token_hex(4)
    prepared = [
        prepare(key=keys[n % len(keys)], name=f"bench-{mark}-{n}", challenge=challenge, ca=ca, now=now)
        for n in range(count)
    ]
    run = asyncio.run(drive(url, prepared, clients, pids or []))
    bad = [problem for request, status, body in run.replies if (problem := verify(request, status, body, ca))]
    if bad or len(run.replies) != count:
        raise SystemExit(f"{len(bad)} of {len(run.replies)} replies are wrong, first: {bad[:1]}")
    return run


def main() -> None:
    """Run once at each number of clients and print a table."""
    parser = argparse.ArgumentParser(prog="bench.load", description=__doc__.splitlines()[0])
    parser.add_argument("url")
    parser.add_argument("--challenge", required=True, help="a challenge that may be used many times")
    parser.add_argument("--clients", default="1,4,16,64")
    parser.add_argument("--count", type=int, default=1000, help="enrolments a row")
    parser.add_argument("--keys", type=Path, help="file that keeps the pool of RSA keys")
    parser.add_argument("--pids", default="", help="server processes whose CPU time is counted")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    keys = key_pool(options.keys)
    pids = [int(pid) for pid in options.pids.split(",") if pid]
    rows = []
    for clients in (int(text) for text in options.clients.split(",")):
        run = measure(
            options.url,
            options.challenge,
            clients=clients,
            count=options.count,
            keys=keys,
            pids=pids,
        )
        rows.append({"clients": clients, **run.figures()})
        if not options.json:
            print(rows[-1], flush=True)
    if options.json:
        json.dump(rows, sys.stdout, indent=2)


if __name__ == "__main__":
    main()

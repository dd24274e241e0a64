"""What a CRL with 100,000 entries costs: `python -m bench.crl --directory DIRECTORY`.

A server with two workers is given that many revoked certificates and told that something was revoked. While it
publishes, one client asks for GetCACaps (which the reactor answers) and another enrols (which takes a lane, the token
and the store's lock), each as fast as it is answered; the workers' memory is watched. The same is measured for a few
seconds before, so that what the machine itself does to the slowest answer can be seen beside it. Then devices fetch
that CRL by GetCRL, each reply enveloped to its own device.
"""

import argparse
import http.client
import json
import re
import secrets
import sqlite3
import threading
import time
import urllib.request
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from bench.http import OK, serving
from bench.installation import CHALLENGE, install, pids, resident_kib, url, worker_pids, workplace
from bench.keys import key_pool
from bench.renewal import Load, crl_lookups, drive_judged, enrolled
from bench.report import Broken, say
from bench.request import ANYTHING, Prepared
from bench.target import Target
from scepd.cli.client_http import CRL_LIMITS
from scepd.message.certrep import read_certrep, read_crls_only
from scepd.message.enveloped import decrypt
from scepd.store.rows import serial_text, time_text
from tests.live.server import Server

ENTRIES = 100_000
_BASELINE = 3.0  # seconds
_DEADLINE = 60.0  # seconds
_WATCH = 0.02  # seconds between two looks at memory
_ENROLMENTS = 4_000  # more than can be done meanwhile
_WORKERS = 2
_CLIENTS = (1, 4)  # that ask for the large CRL
_LOOKUPS = 20  # by each number of them
_PHASES = ("before", "meanwhile")
_HEADERS = {"Content-Type": "application/x-pki-message"}

Probe = Callable[[http.client.HTTPConnection], None]


@attrs.define
class Client:
    """One client on its own thread that notes how long each answer took, by the phase it was asked in."""

    port: int
    ask: Probe
    waits: dict[str, list[float]] = attrs.field(factory=dict)
    fault: str = ""

    def run(self, phase: list[str]) -> None:
        """Ask until the phase is "over"."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            while phase[0] != "over" and not self.fault:
                name, begun = phase[0], time.perf_counter()
                self.ask(connection)
                self.waits.setdefault(name, []).append((time.perf_counter() - begun) * 1000)
        except (OSError, Broken) as error:
            self.fault = repr(error)
        finally:
            connection.close()

    def figures(self, phase: str) -> dict[str, float]:
        """Return the waits of a phase in milliseconds."""
        waits = sorted(self.waits.get(phase, [0.0]))
        return {
            "p50": round(waits[len(waits) // 2], 1),
            "p99": round(waits[len(waits) * 99 // 100], 1),
            "most": round(waits[-1], 1),
        }


def measure(template: Server, place: Path, keys: Sequence[rsa.RSAPrivateKey], entries: int = ENTRIES) -> dict[str, Any]:
    """Return seconds, octets, memory and the slowest answers of one generation; raises `Broken`."""
    with serving(template, place, _WORKERS) as server:
        target = Target.find(url(server), CHALLENGE)
        requests = target.requests(keys, min(_ENROLMENTS, max(1500, entries // 25)))
        wait_for(server, 1)
        revoke_many(server, entries)
        workers = worker_pids(server)
        before = [resident_kib(pid) for pid in workers]
        phase, most = [_PHASES[0]], list(before)
        clients = [Client(server.http, capabilities), Client(server.http, enrolling(requests))]
        threads = [threading.Thread(target=client.run, args=(phase,)) for client in clients]
        threads.append(threading.Thread(target=_watch, args=(workers, most, phase)))
        for thread in threads:
            thread.start()
        try:
            time.sleep(_BASELINE)
            phase[0] = _PHASES[1]
            announce(server)
            taken = wait_for(server, 2)
        finally:
            phase[0] = "over"
            for thread in threads:
                thread.join()
        found = _figures(server, taken, [grown - base for grown, base in zip(most, before, strict=True)], clients)
        _check(server, entries)
        load = Load(target, keys, _LOOKUPS, pids(server))
        found["get_crl"] = [_lookup_row(load, entries, number) for number in _CLIENTS]
    return found


def _figures(server: Server, taken: float, growth: list[int], clients: list[Client]) -> dict[str, Any]:
    if faults := [client.fault for client in clients if client.fault]:
        raise Broken(faults[0])
    (line,) = [line for line in server.log_lines("crl_published") if "number=2 " in line]
    stalls = [int(ms) for line in server.log_lines("reactor_stall") for ms in re.findall(r"ms=(\d+)", line)]
    reactor, lane = clients
    return {
        "seconds": int(line.rpartition("ms=")[2].split()[0]) / 1000,
        "seconds_until_served": round(taken, 2),
        "memory_growth_mib": round(max(growth) / 1024, 1),
        "reactor_ms": {phase: reactor.figures(phase) for phase in _PHASES},
        "lane_ms": {phase: lane.figures(phase) for phase in _PHASES},
        "reactor_stalls_ms": stalls,
    }


def _check(server: Server, entries: int) -> None:
    """Read what was published with a reader of its own, signature and all."""
    der = _fetch(server)
    crl = x509.load_der_x509_crl(der)
    ca = x509.load_pem_x509_certificate(server.ca.read_bytes())
    key: Any = ca.public_key()
    if len(crl) != entries or not crl.is_signature_valid(key):
        raise Broken(f"the CRL lists {len(crl)} of {entries} certificates or does not verify")


def _lookup_row(load: Load, entries: int, clients: int) -> dict[str, Any]:
    """Return the row of GetCRL where the CRL has that many entries: judged by status, and one reply by its CRL."""
    asked = crl_lookups(load.target, enrolled(load.target, load.keys, 1) * load.count)
    run = drive_judged(load.target, asked, clients, _came, pids=load.pids)
    request, _status, body = run.replies[-1]
    content = read_certrep(body, trusted=load.target.ca, policy=ANYTHING, limits=CRL_LIMITS).content
    inner = decrypt(content, request.certificate_der, request.key, ANYTHING, limits=CRL_LIMITS)
    found = [len(x509.load_der_x509_crl(der)) for der in read_crls_only(inner, CRL_LIMITS)]
    if found != [entries]:
        raise Broken(f"GetCRL brought CRLs of {found} entries, not {entries}")
    return {"kind": f"get_crl_{entries}", "clients": clients, **run.figures()}


def _came(_request: Prepared, status: int, _body: bytes, _ca: Sequence[bytes]) -> str | None:
    """Return what is wrong with a reply that is too large to read each."""
    return None if status == OK else f"HTTP {status}"


def capabilities(connection: http.client.HTTPConnection) -> None:
    """Ask what the reactor answers from memory."""
    connection.request("GET", "/scep/static?operation=GetCACaps")
    reply = connection.getresponse()
    reply.read()
    if reply.status != OK:
        raise Broken(f"GetCACaps: HTTP {reply.status}")
    time.sleep(0.002)


def enrolling(requests: Sequence[Prepared]) -> Probe:
    """Return what enrols with the next of those requests."""
    left = iter(requests)

    def ask(connection: http.client.HTTPConnection) -> None:
        request = next(left, None)
        if request is None:
            raise Broken("there were not enough requests")
        connection.request("POST", "/scep/static?operation=PKIOperation", request.body, _HEADERS)
        reply = connection.getresponse()
        reply.read()
        if reply.status != OK:
            raise Broken(f"PKIOperation: HTTP {reply.status}")

    return ask


def revoke_many(server: Server, entries: int) -> None:
    """Write that many revoked certificates into the store behind the server's back; nobody is told."""
    now = datetime.now(UTC)
    columns = (
        "issuer, serial, state, profile, subject, names, public_key, not_before, not_after, created, revoked,"
        " revocation_reason"
    )
    times = [time_text(moment) for moment in (now - timedelta(days=1), now + timedelta(days=365), now, now)]
    rows = (
        ("devices", serial_text(int.from_bytes(b"\x5c" + secrets.token_bytes(17), "big")), "revoked", "static",
         f"CN=device-{number}", "[]", secrets.token_bytes(32), *times, 4)
        for number in range(entries)
    )  # fmt: skip
    with sqlite3.connect(_store(server), timeout=30) as connection:
        connection.executemany(f"INSERT INTO certificate ({columns}) VALUES ({', '.join('?' * 12)})", rows)  # noqa: S608 - our own words
    connection.close()


def announce(server: Server) -> None:
    """Tell the processes that something was revoked."""
    with sqlite3.connect(_store(server), timeout=30) as connection:
        connection.execute("UPDATE meta SET value = CAST(value AS INTEGER) + 1 WHERE name = 'generation'")
    connection.close()


def wait_for(server: Server, number: int) -> float:
    """Return after how many seconds that CRL is served; raises `Broken`."""
    begun = time.perf_counter()
    while time.perf_counter() - begun < _DEADLINE:
        if any(f" number={number} " in line for line in server.log_lines("crl_published")):
            return time.perf_counter() - begun
        time.sleep(_WATCH)
    raise Broken(f"no CRL {number} within {_DEADLINE} s; {server.log}")


def _watch(pids: Sequence[int], most: list[int], phase: list[str]) -> None:
    while phase[0] != "over":
        most[:] = [max(pair) for pair in zip(most, map(resident_kib, pids), strict=True)]
        time.sleep(_WATCH)


def _fetch(server: Server) -> bytes:
    time.sleep(0.5)  # each worker hears the news within a quarter of a second
    with urllib.request.urlopen(f"http://127.0.0.1:{server.http}/crl/devices.crl", timeout=20) as reply:
        body: bytes = reply.read()
    return body


def _store(server: Server) -> Path:
    (found,) = server.directory.glob("state/*.sqlite")
    return found


def main() -> None:
    """Measure once and print the figures as JSON."""
    parser = argparse.ArgumentParser(prog="bench.crl", description=str(__doc__).split("\n", 1)[0])
    parser.add_argument("--directory", type=Path, required=True, help="where the installation goes")
    parser.add_argument("--entries", type=int, default=ENTRIES, help="revoked certificates")
    options = parser.parse_args()
    with workplace(options.directory.absolute(), "bench.crl") as work:
        say("scepd init")
        template = install(work / "template", "rsa-2048")
        found = measure(template, work / "crl", key_pool(options.directory / "bench-keys.pem"), options.entries)
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()

"""What OCSP costs: `python -m bench.ocsp --directory DIRECTORY`.

Prepared answers are fetched by GET from a server with one worker, and the same octets from a bare Twisted site with a
static resource, by turns and by the same client, so that what slows the machine slows both. Then certificates are
revoked while a client enrols as fast as it is answered, and it is measured how long it takes until each of two workers
says so.
"""

import argparse
import base64
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from bench.crl import Client, enrolling
from bench.http import serving
from bench.installation import CHALLENGE, install, url, workplace
from bench.keys import key_pool
from bench.load import enrol
from bench.report import Broken, say
from bench.target import Target
from scepd.ca.responder import Authorities
from scepd.message import tlv
from scepd.records import Revocation, RevocationReason
from scepd.x509.issuer import IssuerCertificate
from tests.live.opened import opened
from tests.live.server import Server

_ROUNDS = 8  # by turns
_SECONDS = 0.8  # of each turn
_CLIENTS = 4
_REVOCATIONS = 24
_CONNECTIONS = 8  # which reach both workers, but for one chance in a hundred
_DEADLINE = 10.0  # seconds
_ENROLMENTS = 2_000  # more than can be done meanwhile
_ANSWER_TYPE = "application/ocsp-response"


class Asker:
    """One keep-alive connection that sends the same request again and again."""

    def __init__(self, port: int, path: bytes) -> None:
        """Connect, and learn how long the answer is."""
        self._request = b"GET %b HTTP/1.1\r\nHost: localhost\r\n\r\n" % path
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self) -> None:
        """Ask."""
        self._socket.sendall(self._request)

    def receive(self) -> bytes:
        """Return the body of one answer; raises `Broken`."""
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._more()
        head, _, body = data.partition(b"\r\n\r\n")
        length = next(
            int(line.partition(b":")[2]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")
        )
        while len(body) < length:
            body += self._more()
        if not head.startswith(b"HTTP/1.1 200 "):
            raise Broken(f"OCSP: {head[:40]!r}")
        return body

    def _more(self) -> bytes:
        data = self._socket.recv(65_536)
        if not data:
            raise Broken("OCSP: the connection was closed")
        return data

    def close(self) -> None:
        """Hang up."""
        self._socket.close()


def answering(server: Server) -> None:
    """Give an installation an OCSP key."""
    server.scepd("ca", "responder", "devices", "--write", "--yes")


def path_about(server: Server, serial: int) -> bytes:
    """Return the path that asks about a certificate, by SHA-1 and without a nonce."""
    ca = x509.load_pem_x509_certificate(server.ca.read_bytes()).public_bytes(Encoding.DER)
    asked = Authorities({"devices": IssuerCertificate.load(ca)}).asked_as("devices", serial)[0]
    der = tlv.sequence(tlv.sequence(tlv.sequence(tlv.sequence(asked.der))))
    return b"/ocsp/" + quote(base64.b64encode(der).decode(), safe="").encode()


def measure(template: Server, place: Path, keys: Sequence[rsa.RSAPrivateKey]) -> dict[str, Any]:
    """Return the rates of OCSP and echo, and the waits until a revocation is said everywhere; raises `Broken`."""
    return {**_rates(template, place, keys), **_delays(template, place.with_name(place.name + "-2"), keys)}


def _rates(template: Server, place: Path, keys: Sequence[rsa.RSAPrivateKey]) -> dict[str, Any]:
    with serving(template, place, 1, change=answering) as server:
        (serial,) = _certificates(server, keys, 1)
        path = path_about(server, serial)
        (body,) = {_ask(server.http, path) for _ in range(2)}  # the second one is from memory
        with _echo(body, place) as port:
            rates: dict[int, list[float]] = {server.http: [], port: []}
            for _round in range(_ROUNDS):
                for one, found in rates.items():
                    found.append(_rate(one, path, body))
    ours, echo = (sorted(found)[len(found) // 2] for found in rates.values())
    say(f"  OCSP {ours:.0f} a second, echo {echo:.0f}")
    return {"per_second": round(ours), "echo_per_second": round(echo), "over_echo": round(ours / echo, 2)}


def _made_anew(answer: bytes) -> bytes:
    """Return an answer that is another than before, as after news of the store; raises `Broken` where it says anything else."""
    response = ocsp.load_der_ocsp_response(answer)
    if (
        response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL
        or response.certificate_status is not ocsp.OCSPCertStatus.GOOD
    ):
        raise Broken(f"OCSP: another answer, {response.response_status}")
    return answer


def _rate(port: int, path: bytes, body: bytes) -> float:
    """Return how many a second are answered, one request at a time on each of a few connections."""
    askers = [Asker(port, path) for _ in range(_CLIENTS)]
    count, begun = 0, time.perf_counter()
    for asker in askers:
        asker.send()
    while time.perf_counter() - begun < _SECONDS:
        for asker in askers:
            answer = asker.receive()
            if answer != body:
                body = _made_anew(answer)
            asker.send()
            count += 1
    taken = time.perf_counter() - begun
    for asker in askers:
        asker.close()
    return count / taken


def _delays(template: Server, place: Path, keys: Sequence[rsa.RSAPrivateKey]) -> dict[str, Any]:
    with serving(template, place, 2, change=answering) as server:
        serials = _certificates(server, keys, _REVOCATIONS)
        requests = Target.find(url(server), CHALLENGE).requests(keys, _ENROLMENTS)
        phase, client = ["meanwhile"], Client(server.http, enrolling(requests))
        thread = threading.Thread(target=client.run, args=(phase,))
        thread.start()
        try:
            with opened(server) as (repository, _issuers):
                waits = [_revoke(server, repository, serial) for serial in serials]
        finally:
            phase[0] = "over"
            thread.join()
        if client.fault:
            raise Broken(client.fault)
    waits.sort()
    return {
        "visible_p50_s": round(waits[len(waits) // 2], 3),
        "visible_p99_s": round(waits[len(waits) * 99 // 100], 3),
        "revocations": len(waits),
        "enrolments_meanwhile": len(client.waits["meanwhile"]),
    }


def _revoke(server: Server, repository: Any, serial: int) -> float:
    """Return how many seconds after the revocation is on record every connection is told of it."""
    path = path_about(server, serial)
    askers = [Asker(server.http, path) for _ in range(_CONNECTIONS)]
    try:
        if {_state(asker) for asker in askers} != {"GOOD"}:
            raise Broken("OCSP: a fresh certificate is not good")
        repository.revoke("devices", serial, Revocation(datetime.now(UTC), RevocationReason.superseded), who="bench")
        begun = time.perf_counter()
        while any(_state(asker) != "REVOKED" for asker in askers):
            if time.perf_counter() - begun > _DEADLINE:
                raise Broken("OCSP: a revocation is not said")
            time.sleep(0.005)
        return time.perf_counter() - begun
    finally:
        for asker in askers:
            asker.close()


def _state(asker: Asker) -> str:
    asker.send()
    return ocsp.load_der_ocsp_response(asker.receive()).certificate_status.name


def _ask(port: int, path: bytes) -> bytes:
    asker = Asker(port, path)
    asker.send()
    body = asker.receive()
    asker.close()
    return body


def _certificates(server: Server, keys: Sequence[rsa.RSAPrivateKey], count: int) -> list[int]:
    """Return the serial numbers of fresh certificates."""
    target = Target.find(url(server), CHALLENGE)
    enrol(target, target.requests(keys, count), 4)
    with opened(server) as (repository, _issuers):
        return [row.serial for row in repository.certificates(limit=count)]


@contextmanager
def _echo(body: bytes, place: Path) -> Iterator[int]:
    (place / "answer").write_bytes(body)
    command = [sys.executable, "-m", "bench.echo", str(place / "answer"), _ANSWER_TYPE]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - our own module
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline())
        finally:
            process.terminate()


def main() -> None:
    """Measure once and print the figures as JSON."""
    parser = argparse.ArgumentParser(prog="bench.ocsp", description=str(__doc__).split("\n", 1)[0])
    parser.add_argument("--directory", type=Path, required=True, help="where the installations go")
    options = parser.parse_args()
    with workplace(options.directory.absolute(), "bench.ocsp") as work:
        say("scepd init")
        template = install(work / "template", "ec-p256")
        found = measure(template, work / "ocsp", key_pool(options.directory / "bench-keys.pem"))
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()

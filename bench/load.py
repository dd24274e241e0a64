"""A load generator for any SCEP server: `python -m bench.load URL --challenge SECRET`.

It fetches GetCACert, builds distinct PKCSReqs before its clock starts (a pool of keys, distinct transactionIDs and
names), keeps each number of `--clients` busy with POSTs over keep-alive connections, and verifies every reply after
the clock has stopped: a row of the table counts certificates, nothing else.
"""

import argparse
import asyncio
import json
import ssl
import sys
from collections.abc import Sequence
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa

from bench.connections import Run, drive
from bench.keys import key_pool
from bench.report import Broken, say
from bench.request import Prepared, verify
from bench.target import Target


def enrol(target: Target, prepared: Sequence[Prepared], clients: int, pids: Sequence[int] = ()) -> Run:
    """Drive and verify one run; raises `Broken` when any reply is no certificate for its request's key and name."""
    run = asyncio.run(drive(target, prepared, clients, pids))
    wrong = [fault for request, status, body in run.replies if (fault := verify(request, status, body, target.ca))]
    if wrong:
        raise Broken(f"{len(wrong)} of {len(run.replies)} enrolments failed; the first: {wrong[0]}")
    return run


def measure(
    target: Target,
    keys: Sequence[rsa.RSAPrivateKey],
    *,
    clients: int,
    count: int,
    pids: Sequence[int] = (),
) -> Run:
    """Prepare, drive and verify one run; raises `Broken`."""
    return enrol(target, target.requests(keys, count), clients, pids)


def client_tls(ca_file: Path | None, *, verify_server: bool) -> ssl.SSLContext:
    """Return how https is spoken: against a CA file, the system's CAs, or anybody at all."""
    context = ssl.create_default_context(cafile=ca_file)
    if not verify_server:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what every load generator can be told."""
    parser.add_argument("--keys", type=Path, help="file that keeps the pool of client keys")
    parser.add_argument("--pids", default="", help="server processes whose CPU time is counted")
    parser.add_argument("--ca-file", type=Path, help="https: the CA certificates that the server must chain to, PEM")
    parser.add_argument("--insecurely-skip-verification", action="store_true", help="https: take any certificate")
    parser.add_argument("--json", action="store_true", help="print the rows as JSON")


def tls_of(options: argparse.Namespace) -> ssl.SSLContext | None:
    """Return how TLS servers are judged; None for a plain URL."""
    if not options.url.startswith("https:"):
        return None
    return client_tls(options.ca_file, verify_server=not options.insecurely_skip_verification)


def pids_of(options: argparse.Namespace) -> list[int]:
    """Return the processes whose CPU time is counted."""
    return [int(pid) for pid in options.pids.split(",") if pid]


def main() -> None:
    """Run once at each number of clients and print a table."""
    parser = argparse.ArgumentParser(prog="bench.load", description=str(__doc__).split("\n", 1)[0])
    parser.add_argument("url", help="for example http://127.0.0.1:8080/scep")
    parser.add_argument("--challenge", required=True, help="a challenge that may be used many times")
    parser.add_argument("--clients", default="1,4,16,64", help="numbers of concurrent clients, one row each")
    parser.add_argument("--count", type=int, default=1000, help="enrolments a row")
    parser.add_argument("--ber", action="store_true", help="send BER: indefinite lengths, strings in pieces")
    add_options(parser)
    options = parser.parse_args()
    try:
        rows = _rows(options)
    except Broken as broken:
        sys.exit(f"bench.load: {broken}")
    if options.json:
        print(json.dumps(rows, indent=2))


def _rows(options: argparse.Namespace) -> list[dict[str, float]]:
    target = Target.find(options.url, options.challenge, tls_of(options))
    keys, pids = key_pool(options.keys), pids_of(options)
    enrol(target, target.requests(keys, 1, ber=options.ber), 1)  # a refusal is found before there are a thousand
    rows = []
    for clients in (int(text) for text in options.clients.split(",")):
        say(f"{clients} clients: preparing {options.count} requests")
        run = enrol(target, target.requests(keys, options.count, ber=options.ber), clients, pids)
        rows.append({"clients": clients, **run.figures()})
        if not options.json:
            print("  ".join(f"{name}={value}" for name, value in rows[-1].items()), flush=True)
    return rows


if __name__ == "__main__":
    main()

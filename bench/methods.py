"""What each challenge method and the limits add to an enrolment: `python -m bench.methods --directory DIRECTORY`.

Two servers of one worker each, one of them with every limit on. All variants enrol in small portions by turns, in another
order each round, over connections that stay open, so that what slows the machine slows all of them. The server's CPU
time is what is compared.
"""

import argparse
import asyncio
import json
import random
import secrets
import shutil
import ssl
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from bench.connections import Run
from bench.http import serving
from bench.installation import CHALLENGE, ISSUING_KEYS, install, pids, url
from bench.kept import Kept
from bench.keys import key_pool
from bench.report import Broken, say
from bench.request import Prepared, prepare, recipient, verify
from bench.target import Target
from scepd.app.service import ask_desk
from tests.live.server import Server
from tests.ports import free_port
from tests.x509.factory import Holder, make, root

ROUNDS = 20
_CLIENTS = 4
_WARM_UP = 20  # enrolments of each variant before the clock starts
_AUDIENCE = "https://scep.example.net"
_DATES = {"begin": datetime.now(UTC) - timedelta(days=1), "end": datetime.now(UTC) + timedelta(days=30)}
_STATIC = "static"
_AT_ONCE = 500  # challenges and entities

_LIMITS = (
    "requests_per_network", "failures_per_network", "failures_per_profile", "failures_per_key", "requests_after_failure"
)  # fmt: skip
_NEVER = 1_000_000  # a minute: every limit is asked and none is reached
_PROFILES = """
[listener.mtls]
address = "127.0.0.1:{mtls}"
tls = {{ certificate = "tls.pem", key = {{ file = "tls.key" }} }}
client_certificates = "optional"

[profile.once]
issuer = "devices"
validity = "90d"
challenge = [{{ method = "one-time" }}]
names = {{ dns = ["*"] }}

[profile.register]
issuer = "devices"
validity = "90d"
challenge = [{{ method = "entity" }}]
names = {{ dns = ["*"] }}

[profile.signed]
issuer = "devices"
validity = "90d"
challenge = [{{ method = "signed", trust = "signer.pem", audience = "{audience}" }}]
names = {{ dns = ["*"] }}

[profile.line]
issuer = "devices"
validity = "90d"
client_certificate = {{ trust = "factory.pem", subject = "any" }}
challenge = [{{ method = "client-certificate" }}]
names = {{ dns = ["*"] }}
"""

# What a variant's devices say for a challenge, by their names.
Challenges = Callable[[Sequence[str]], Sequence[str | None]]


@attrs.frozen
class Variant:
    """One way to enrol: where, and with what challenges."""

    name: str
    target: Target
    pids: Sequence[int]
    challenges: Challenges

    def requests(self, keys: Sequence[rsa.RSAPrivateKey], count: int) -> list[Prepared]:
        """Return that many distinct requests."""
        mark, now, to = secrets.token_hex(4), datetime.now(UTC), recipient(self.target.ca)
        names = [f"{self.name}-{mark}-{number}" for number in range(count)]
        return [
            prepare(key=keys[number % len(keys)], name=name, challenge=challenge, recipient_der=to, now=now)
            for number, (name, challenge) in enumerate(zip(names, self.challenges(names), strict=True))
        ]


@attrs.frozen
class Installed:
    """A copy of an installation with a profile for each method, and who vouches for its devices."""

    mtls: int = attrs.field(factory=free_port)
    factory: Holder = attrs.field(factory=lambda: root("Factory", **_DATES))
    signer: Holder = attrs.field(factory=lambda: make("MDM", extensions=(), **_DATES))

    def add_profiles(self, server: Server) -> None:
        """Write the profiles and what they trust."""
        (server.directory / "factory.pem").write_bytes(self.factory.pem)
        (server.directory / "signer.pem").write_bytes(self.signer.pem)
        limit(server, 0)
        with server.config.open("a") as config:
            config.write(_PROFILES.format(mtls=self.mtls, audience=_AUDIENCE))

    def variants(self, server: Server) -> Iterator[Variant]:
        """Yield the variants that this server serves."""
        watched, plain = pids(server), self._tls(server)
        static = Target.find(url(server), CHALLENGE)
        secure = f"https://127.0.0.1:{server.https}/scep/static"
        gated = f"https://127.0.0.1:{self.mtls}/scep-mtls/line"
        device = self.factory.issue("line-7", **_DATES)
        yield Variant(_STATIC, static, watched, _shared)
        yield Variant("static_tls", attrs.evolve(static, url=secure, tls=plain), watched, _shared)
        for name, profile, challenges in (
            ("one_time", "once", lambda names: _one_time(server, names)),
            ("entity", "register", lambda names: _codes(server, names)),
            ("signed", "signed", self._tokens),
        ):
            yield Variant(name, attrs.evolve(static, url=f"{server.url}/{profile}"), watched, challenges)
        trusting = self._tls(server, device)
        yield Variant("mtls", attrs.evolve(static, url=gated, tls=trusting), watched, lambda names: [None for _ in names])

    def _tokens(self, names: Sequence[str]) -> list[str | None]:
        now, key = int(time.time()), self.signer.key
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        return [
            jwt.encode(
                {
                    "iss": "bench", "sub": name, "aud": _AUDIENCE, "iat": now, "nbf": now, "exp": now + 3000,
                    "jti": secrets.token_hex(16), "csr": {"subject": f"CN={name}", "names": []},
                },
                key,
                algorithm="ES256",
            )
            for name in names
        ]  # fmt: skip

    @staticmethod
    def _tls(server: Server, device: Holder | None = None) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if device is not None:
            file = server.directory / "device.pem"
            file.touch(mode=0o600)
            file.write_bytes(device.pem + device.key_pem)
            context.load_cert_chain(file)
        return context


def limit(server: Server, rate: int = _NEVER) -> None:
    """Set every limit; 0 switches it off."""
    server.edit("^requests_per_network = 0$", "\n".join(f"{word} = {rate}" for word in _LIMITS))


def _shared(names: Sequence[str]) -> list[str | None]:
    return [CHALLENGE for _ in names]


def _one_time(server: Server, names: Sequence[str]) -> list[str | None]:
    return [row["challenge"] for batch in _batches(names) for row in _ask(server, "challenges", "once", count=len(batch))]


def _codes(server: Server, names: Sequence[str]) -> list[str | None]:
    entered = (
        _ask(server, "entities", "register", entities=[{"cn": name, "names": [], "attributes": {}} for name in batch])
        for batch in _batches(names)
    )
    return [row["code"] for rows in entered for row in rows]


def _batches(names: Sequence[str]) -> Iterator[Sequence[str]]:
    return (names[at : at + _AT_ONCE] for at in range(0, len(names), _AT_ONCE))


def _ask(server: Server, noun: str, profile: str, **body: Any) -> Any:
    status, made = ask_desk(server.directory / "run", "POST", f"/api/v1/{noun}", {"profile": profile, **body})
    if status != 200:
        raise Broken(f"{noun}: {made}")
    return made


@attrs.frozen
class Tally:
    """The portions of one variant."""

    runs: list[Run] = attrs.field(factory=list)

    @property
    def cpu_ms(self) -> float:
        """The server's CPU milliseconds of an enrolment."""
        return sum(run.cpu or 0 for run in self.runs) * 1000 / sum(len(run.latencies) for run in self.runs)

    def row(self, static: "Tally") -> dict[str, float]:
        """Return the figures; `over_static` compares CPU time, `wall_over_static` time that passes, portion by portion."""
        walls = [mine.wall / theirs.wall for mine, theirs in zip(self.runs, static.runs, strict=True)]
        times = [seconds for run in self.runs for seconds in run.latencies]
        return {
            "per_second": round(len(times) / sum(run.wall for run in self.runs), 1),
            "p50_ms": round(statistics.median(times) * 1000, 2),
            "cpu_ms": round(self.cpu_ms, 3),
            "over_static": round(self.cpu_ms / static.cpu_ms, 3),
            "wall_over_static": round(statistics.median(walls), 3),
        }


async def _by_turns(
    variants: Sequence[Variant], keys: Sequence[rsa.RSAPrivateKey], count: int
) -> Mapping[str, Tally]:
    portion = max(count // ROUNDS, _CLIENTS)
    work = {variant.name: variant.requests(keys, portion * ROUNDS + _WARM_UP) for variant in variants}
    kept = {one.name: await Kept.open(one.target, _CLIENTS, one.pids) for one in variants}
    tallies = {variant.name: Tally() for variant in variants}
    for name, connections in kept.items():
        _judge(connections.target, await connections.run(work[name][:_WARM_UP]))
    for number in range(ROUNDS):
        begin = _WARM_UP + number * portion
        for name in random.sample(list(kept), len(kept)):
            run = await kept[name].run(work[name][begin : begin + portion])
            tallies[name].runs.append(run)
            _judge(kept[name].target, run)
    for connections in kept.values():
        connections.close()
    return tallies


def _judge(target: Target, run: Run) -> None:
    wrong = [fault for request, status, body in run.replies if (fault := verify(request, status, body, target.ca))]
    if wrong:
        raise Broken(f"{target.url}: {len(wrong)} of {len(run.replies)} enrolments failed; the first: {wrong[0]}")


def measure(template: Server, place: Path, keys: Sequence[rsa.RSAPrivateKey], count: int) -> list[dict[str, Any]]:
    """Return a row for each variant; raises `Broken`."""
    installed = Installed()
    with ExitStack() as stack:
        unlimited = stack.enter_context(serving(template, place, 1, installed.add_profiles))
        limited = stack.enter_context(serving(template, place.with_name(place.name + "-limited"), 1, limit))
        beside = Variant("limits", Target.find(url(limited), CHALLENGE), pids(limited), _shared)
        tallies = asyncio.run(_by_turns([*installed.variants(unlimited), beside], keys, count))
    rows = [{"method": name, **tally.row(tallies[_STATIC])} for name, tally in tallies.items()]
    for row in rows:
        say("  " + "  ".join(f"{name}={value}" for name, value in row.items()))
    return rows


def main() -> None:
    """Measure in an installation of its own and print the rows."""
    parser = argparse.ArgumentParser(prog="bench.methods", description=str(__doc__).split("\n", 1)[0])
    parser.add_argument("--directory", type=Path, required=True, help="where the installations go")
    parser.add_argument("--count", type=int, default=500, help="enrolments a row")
    options = parser.parse_args()
    directory = options.directory.absolute()
    directory.mkdir(parents=True, exist_ok=True)
    keys, work = key_pool(directory / "bench-keys.pem"), directory / "methods"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    try:
        rows = measure(install(work / "template", ISSUING_KEYS[0]), work / "server", keys, options.count)
    except Broken as broken:
        sys.exit(f"bench.methods: {broken}")
    finally:
        shutil.rmtree(work, ignore_errors=True)
    print(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()

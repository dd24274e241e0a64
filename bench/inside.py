"""What an enrolment costs inside one process: `python -m bench.inside CONFIG`, a process of its own for each token.

All that is compared is measured by turns, a few calls each, so that a machine that is slower for a while is slower
for everything. Every figure is the median of its calls in milliseconds of CPU time of this thread, which a busy
neighbour does not lengthen; since SoftHSM computes in the calling thread, it is also the time that passes on an idle
machine. The durable path, which waits for the disk, is measured in both, and fsync is the difference that passes.
"""

import argparse
import cProfile
import gc
import itertools
import json
import os
import pstats
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from sqlalchemy import Engine, event

from bench.keys import key_pool
from bench.report import Broken, say
from bench.request import Prepared, prepare, verify
from bench.stand_ins import InstantStore, Memory, StillClock, recorded, repeatable
from scepd.app.belongings import Belongings, Outfitter
from scepd.app.checkpoint import Checkpoints
from scepd.app.clock import UtcClock
from scepd.app.gateway import opener
from scepd.challenge.digest import load_store_key
from scepd.config.load import load
from scepd.config.secret import read_pin
from scepd.enroll.context import Context
from scepd.enroll.respond import respond
from scepd.message.algorithms import PKCS1V15
from scepd.message.csr import parse_csr
from scepd.message.enveloped import choose_recipient, decrypt_content, parse_envelope
from scepd.message.request import parse_message
from scepd.profile.model import Profile
from scepd.records import Origin
from scepd.store.engines import open_engine
from scepd.store.migrate import upgrade
from scepd.store.repository import Repository
from scepd.x509.draft import split

ORIGIN = Origin("192.0.2.7", "0123456789abcdef")
_URL = "sqlite:///bench.sqlite"
_BLOCK = 10  # calls of one operation before it is the next one's turn
_CONTENT_KEY = bytes(16)
_SHA256 = hashes.SHA256()
_V15 = padding.PKCS1v15()

Operation = Callable[[int], object]


@attrs.frozen
class Inside:
    """An installation opened in this process: its keys, one profile with its challenge, requests for it."""

    belongings: Belongings
    profile: Profile
    keys: Sequence[rsa.RSAPrivateKey]
    challenge: str
    directory: Path  # for stores of our own

    def requests(self, count: int, *, ber: bool = False) -> list[Prepared]:
        """Return distinct requests."""
        return [
            prepare(
                key=self.keys[number % len(self.keys)],
                name=f"bench-{number}",
                challenge=self.challenge,
                recipient_der=self.certificates[1],
                now=datetime.now(UTC),
                ber=ber,
            )
            for number in range(count)
        ]

    @property
    def certificates(self) -> tuple[bytes, bytes, bytes]:
        """RA signing, RA decryption, CA, as GetCACert serves them."""
        issuer = self.belongings.issuers[self.profile.issuer]
        signer = self.belongings.registrations[self.profile.issuer].signer
        decryption_der = next(
            der for der in self.own if der not in (signer.certificate_der, issuer.certificate.der)
        )
        return signer.certificate_der, decryption_der, issuer.certificate.der

    own: tuple[bytes, ...] = ()

    def with_store(self, name: str, *, durable: bool) -> Context:
        """Return the context over an empty store of its own, with or without fsync."""
        directory = self.directory / name
        directory.mkdir()
        upgrade(_URL, directory)
        engine = open_engine(_URL, directory)
        if not durable:
            _spare_fsync(engine)
        store = Repository(engine, owner=self.belongings.owner, clock=UtcClock())
        return _context(self.belongings, store=store)


def _spare_fsync(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def set_pragma(connection: Any, _record: object) -> None:
        connection.execute("PRAGMA synchronous=OFF")


def _context(belongings: Belongings, **changes: Any) -> Context:
    fields = {field.name: getattr(belongings, field.name) for field in attrs.fields(Context)}
    return Context(**{**fields, "owes": False, **changes})  # an empty store owes nobody anything


def open_inside(config: Path, keys: Path | None, challenge: str, directory: Path) -> Inside:
    """Open an installation as a worker's lane does."""
    settings = load(config)
    if settings.hsm.softhsm2_conf is not None:
        os.environ["SOFTHSM2_CONF"] = str(settings.hsm.softhsm2_conf)
    store_key = load_store_key(settings.store.key_file)
    open_token = opener(settings, read_pin(settings.hsm.pin), store_key)
    outfitter = Outfitter(settings, 0, store_key, Checkpoints())
    profile = next(profile for profile in settings.profiles if profile.segment == "static")
    issuer = settings.issuer[profile.issuer]
    own = (issuer.ra_sign.certificate_der, issuer.ra_decrypt.certificate_der, issuer.certificate_der)
    return Inside(outfitter.outfit(open_token()), profile, key_pool(keys), challenge, directory, own)


@attrs.frozen
class Times:
    """Medians in milliseconds: `cpu` of the thread, `wall` as it passed."""

    cpu: float
    wall: float


def by_turns(operations: Mapping[str, Operation], count: int) -> dict[str, Times]:
    """Return the medians of each operation, called `count` times with 0, 1, 2, ..."""
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in operations}
    cpu, wall = time.thread_time, time.perf_counter
    for start in range(0, count, _BLOCK):
        for name, operation in operations.items():
            for number in range(start, min(start + _BLOCK, count)):
                wall_begun, cpu_begun = wall(), cpu()
                operation(number)
                cpu_ended, wall_ended = cpu(), wall()
                taken[name].append((cpu_ended - cpu_begun, wall_ended - wall_begun))
    return {
        name: Times(*(statistics.median(column) * 1000 for column in zip(*pairs, strict=True)))
        for name, pairs in taken.items()
    }


def raw_operations() -> dict[str, Operation]:
    """Return (a): OpenSSL's private-key operations on keys in memory, through cryptography."""
    small, large = (rsa.generate_private_key(65537, bits) for bits in (2048, 3072))
    elliptic = ec.generate_private_key(ec.SECP256R1())
    sealed = small.public_key().encrypt(_CONTENT_KEY, _V15)
    return {
        "rsa-2048 decrypt": lambda _n: small.decrypt(sealed, _V15),
        "rsa-2048 sign": lambda n: small.sign(b"%d" % n, _V15, _SHA256),
        "rsa-3072 sign": lambda n: large.sign(b"%d" % n, _V15, _SHA256),
        "ec-p256 sign": lambda n: elliptic.sign(b"%d" % n, ec.ECDSA(_SHA256)),
    }


def token_operations(inside: Inside, draft_der: bytes) -> dict[str, Operation]:
    """Return (b): the three private-key operations of an enrolment through the token."""
    issuer = inside.belongings.issuers[inside.profile.issuer]
    registration = inside.belongings.registrations[inside.profile.issuer]
    decryption: Any = registration.decryption[0]
    sealed = [decryption.public_key.encrypt(_CONTENT_KEY, _V15) for _ in range(_BLOCK)]
    reply_key: Any = registration.signer.key
    return {
        "RA decrypt": lambda n: decryption.unwrap(sealed[n % _BLOCK], PKCS1V15, len(_CONTENT_KEY)),
        "CA sign": lambda _n: _sign(issuer.key, split(draft_der)[0]),
        "RA sign": lambda n: reply_key.sign(b"%d" % n, _V15, _SHA256),
    }


def _sign(key: Any, data: bytes) -> bytes:
    arguments = (_V15, _SHA256) if isinstance(key, rsa.RSAPrivateKey) else (ec.ECDSA(_SHA256),)
    signature: bytes = key.sign(data, *arguments)
    return signature


def public_operations(inside: Inside, request: Prepared, certificate_der: bytes) -> dict[str, Operation]:
    """Return the public-key operations of an enrolment, with keys that are loaded already."""
    message = parse_message(request.body)
    info = message.proof.signer_info
    assert info.attributes is not None
    attributes = b"\x31" + info.attributes.der[1:]
    csr = parse_csr(_open(inside, request))
    key = request.key.public_key()
    issuer: Any = inside.belongings.issuers[inside.profile.issuer].certificate.public_key
    tbs, _, signature = split(certificate_der)
    scheme = (_V15, _SHA256) if isinstance(issuer, rsa.RSAPublicKey) else (ec.ECDSA(_SHA256),)
    return {
        "signer verify": lambda _n: key.verify(info.signature, attributes, _V15, _SHA256),
        "CSR verify": lambda _n: key.verify(csr.signature, csr.info_der, _V15, _SHA256),
        "certificate verify": lambda _n: issuer.verify(signature, tbs, *scheme),
        "RSA encrypt": lambda _n: key.encrypt(_CONTENT_KEY, _V15),
    }


def _open(inside: Inside, request: Prepared) -> bytes:
    """Return the PKCS#10 in a request."""
    registration = inside.belongings.registrations[inside.profile.issuer]
    envelope = parse_envelope(parse_message(request.body).content, inside.profile.crypto)
    _, entry = choose_recipient(envelope, registration.recipients, inside.profile.crypto)
    key = registration.decryption[0].unwrap(entry.encrypted_key, PKCS1V15, envelope.cipher.key_size)
    return decrypt_content(envelope, key)


def enrolment(inside: Inside, context: Context, requests: Sequence[Prepared]) -> Operation:
    """Return (c): the enrolment path, from the PKIMessage's octets to the CertRep's; `Broken` for a refusal."""

    def path(number: int) -> None:
        answer = respond(context, inside.profile, requests[number].body, ORIGIN).answer
        if answer.outcome != "issued":
            raise Broken(f"{answer.outcome} {answer.reason} {answer.detail}")

    return path


@attrs.frozen
class Stubbed:
    """The enrolment path with the private keys' answers recorded, over a store or a stand-in for one.

    Public-key operations stay inside, as do AES, the drafting of the certificate and its lint.
    """

    inside: Inside
    context: Context
    requests: Sequence[Prepared]
    memory: Memory

    @classmethod
    def of(cls, inside: Inside, requests: Sequence[Prepared], memory: Memory, store: Any = None) -> "Stubbed":
        """Return it over that store, or one that answers at once."""
        clock = StillClock()
        stand_in = store or InstantStore(inside.belongings.owner, clock)
        changes = recorded(inside.belongings, memory, sign_replies=False)
        context = _context(inside.belongings, store=stand_in, clock=clock, **changes)
        return cls(inside, context, requests, memory)

    def record(self) -> None:
        """Enrol each request once with the token, keep its answers, and verify the replies."""
        context = attrs.evolve(self.context, **recorded(self.inside.belongings, self.memory, sign_replies=True))
        for number, request in enumerate(self.requests):
            with repeatable(context, number):
                answer = respond(context, self.inside.profile, request.body, ORIGIN).answer
            fault = verify(request, answer.status, answer.body, self.inside.certificates)
            if fault is not None:
                raise Broken(fault)

    def timed(self, number: int) -> float:
        """Return the CPU milliseconds of one enrolment."""
        number %= len(self.requests)
        body, profile, context = self.requests[number].body, self.inside.profile, self.context
        with repeatable(context, number):
            begun = time.thread_time()
            answer = respond(context, profile, body, ORIGIN).answer
            taken = time.thread_time() - begun
        if answer.outcome != "issued":
            raise Broken(f"{answer.outcome} {answer.reason} {answer.detail}")
        return taken * 1000


def stubbed_figures(inside: Inside, count: int) -> dict[str, Any]:
    """Return what remains of the path without the token: in DER, in BER, and with a store that spares fsync."""
    memory = Memory()
    requests, ber = inside.requests(count), inside.requests(count, ber=True)
    plain = Stubbed.of(inside, requests, memory)
    other = Stubbed.of(inside, ber, memory)
    stored = Stubbed(
        inside,
        attrs.evolve(plain.context, store=inside.with_store("stubbed", durable=False).store),
        requests,
        memory,
    )
    stepped = attrs.evolve(plain, context=attrs.evolve(plain.context, monotonic=time.thread_time))
    for stubbed in (plain, other):
        stubbed.record()
    times: dict[str, list[float]] = {"der": [], "ber": [], "stored": []}
    steps: dict[str, list[float]] = {}
    for start in range(0, count, _BLOCK):
        numbers = range(start, min(start + _BLOCK, count))
        # The store takes each transaction once; the others go round three times, for a steadier median.
        for number in itertools.chain(numbers, numbers, numbers):
            times["der"].append(plain.timed(number))
        for number in itertools.chain(numbers, numbers, numbers):
            times["ber"].append(other.timed(number))
        for number in numbers:
            times["stored"].append(stored.timed(number))
            _note_steps(steps, stepped.context.store, stepped.timed(number))
    found: dict[str, Any] = {name: statistics.median(taken) for name, taken in times.items()}
    return {
        "python_ms_der": found["der"],
        "python_ms_ber": found["ber"],
        "store_ms": found["stored"] - found["der"],
        "steps": {name: statistics.median(taken) for name, taken in steps.items()},
    }


def _note_steps(steps: dict[str, list[float]], store: Any, whole: float) -> None:
    before = 0.0
    for step in (*store.trail,):
        steps.setdefault(step.name, []).append(step.at - before)
        before = step.at
    steps.setdefault("reply", []).append(whole - before)


def measure(inside: Inside, count: int) -> dict[str, Any]:
    """Return all figures of this token."""
    say("  preparing requests")
    requests = inside.requests(count)
    durable, spared = inside.with_store("fsync", durable=True), inside.with_store("no-fsync", durable=False)
    first = inside.with_store("first", durable=True)
    certificate_der = _first_certificate(inside, first, requests[0])
    groups = {
        "raw": raw_operations(),
        "token": token_operations(inside, certificate_der),
        "public": public_operations(inside, requests[0], certificate_der),
        "path": {
            "with fsync": enrolment(inside, durable, requests),
            "without fsync": enrolment(inside, spared, requests),
        },
    }
    gc.collect()
    gc.freeze()  # as a worker does when it is ready
    say("  raw keys, token, path")
    operations = {(group, name): operation for group, named in groups.items() for name, operation in named.items()}
    times = by_turns({f"{group}|{name}": operation for (group, name), operation in operations.items()}, count)
    figures: dict[str, Any] = {
        group: {name: times[f"{group}|{name}"].cpu for name in named} for group, named in groups.items()
    }
    say("  the path with token and store stubbed")
    figures["python"] = stubbed_figures(inside, max(count // 2, 1))
    figures["path_wall"] = {name: times[f"path|{name}"].wall for name in groups["path"]}
    figures["fsync_ms"] = figures["path_wall"]["with fsync"] - figures["path_wall"]["without fsync"]
    floor = [times[f"{group}|{name}"] for group in ("token", "public") for name in groups[group]]
    spared_times = times["path|without fsync"]
    figures["path_over_token"] = spared_times.cpu / sum(one.cpu for one in floor)
    figures["path_over_token_wall"] = spared_times.wall / sum(one.wall for one in floor)
    return figures


def _first_certificate(inside: Inside, context: Context, request: Prepared) -> bytes:
    enrolment(inside, context, [request])(0)
    store: Any = context.store
    found = store.certificates()[0].der
    assert x509.load_der_x509_certificate(found)
    return bytes(found)


def profile_path(inside: Inside, count: int, order: str) -> None:
    """Print where the path spends its time, with token and store stubbed (cProfile: calls cost more than they do)."""
    stubbed = Stubbed.of(inside, inside.requests(min(count, 100)), Memory())
    stubbed.record()
    profiler = cProfile.Profile()
    for number in range(count):
        with repeatable(stubbed.context, number % len(stubbed.requests)):
            body = stubbed.requests[number % len(stubbed.requests)].body
            profiler.enable()
            respond(stubbed.context, inside.profile, body, ORIGIN)
            profiler.disable()
    pstats.Stats(profiler, stream=sys.stdout).sort_stats(order).print_stats(70)


def main() -> None:
    """Measure one installation and print the figures as JSON."""
    parser = argparse.ArgumentParser(prog="bench.inside", description=str(__doc__).split("\n", 1)[0])
    parser.add_argument("config", type=Path, help="the scepd.toml of an installation with a profile static")
    parser.add_argument("--challenge", required=True, help="what the profile static takes")
    parser.add_argument("--keys", type=Path, help="file that keeps the pool of client keys")
    parser.add_argument("--count", type=int, default=300, help="enrolments of each kind")
    parser.add_argument("--directory", type=Path, help="where the stores go: on the disk that is meant")
    parser.add_argument("--profile", metavar="ORDER", help="profile the path instead: tottime or cumtime")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="stores-", dir=options.directory) as directory:
        try:
            inside = open_inside(options.config, options.keys, options.challenge, Path(directory))
            if options.profile:
                profile_path(inside, options.count, options.profile)
            else:
                print(json.dumps(measure(inside, options.count)))
        except Broken as broken:
            sys.exit(f"bench.inside: {broken}")


if __name__ == "__main__":
    main()

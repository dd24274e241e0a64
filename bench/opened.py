"""An installation opened in this process, as a worker's lane has it, over stores of our own."""

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
from cryptography.hazmat.primitives.asymmetric import rsa
from sqlalchemy import Engine, event

from bench.keys import key_pool
from bench.report import Broken
from bench.request import Prepared, prepare
from scepd.app.belongings import Belongings, Outfitter
from scepd.app.checkpoint import Checkpoints
from scepd.app.clock import UtcClock
from scepd.app.gateway import TokenOpener
from scepd.challenge.digest import load_store_key
from scepd.config.load import load
from scepd.config.pin import read_pin
from scepd.enroll.context import Context
from scepd.enroll.reply import Answer
from scepd.enroll.respond import respond
from scepd.enroll.suspended import Suspended
from scepd.profile.model import Profile
from scepd.records import Origin
from scepd.store.engines import open_engine
from scepd.store.migrate import upgrade
from scepd.store.repository import Repository

ORIGIN = Origin("192.0.2.7", "0123456789abcdef")
_URL = "sqlite:///bench.sqlite"


@attrs.frozen
class Inside:
    """An installation opened in this process: its keys, one profile with its challenge, requests for it."""

    belongings: Belongings
    profile: Profile
    keys: Sequence[rsa.RSAPrivateKey]
    challenge: str
    directory: Path  # for stores of our own
    certificates: tuple[bytes, bytes, bytes]  # RA signing, RA decryption, CA, as GetCACert serves them

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

    def with_store(self, name: str, *, durable: bool) -> Context:
        """Return the context over an empty store of its own, with or without fsync."""
        directory = self.directory / name
        directory.mkdir()
        upgrade(_URL, directory)
        engine = open_engine(_URL, directory)
        if not durable:
            _spare_fsync(engine)
        store = Repository(engine, owner=self.belongings.owner, clock=UtcClock())
        return copy_context(self.belongings, store=store)


def _spare_fsync(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def set_pragma(connection: Any, _record: object) -> None:
        connection.execute("PRAGMA synchronous=OFF")


def copy_context(belongings: Belongings, **changes: Any) -> Context:
    """Return a lane's context with some of its fields changed."""
    fields = {field.name: getattr(belongings, field.name) for field in attrs.fields(Context) if field.init}
    return Context(**{**fields, "owes": False, **changes})  # an empty store owes nobody anything


def answer_of(context: Context, profile: Profile, body: bytes) -> Answer:
    """Return the answer of the enrolment path to a PKIMessage; raises `Broken` where something else is asked first."""
    response = respond(context, profile, body, ORIGIN)
    if isinstance(response, Suspended):
        raise Broken("a static challenge asks nobody")
    return response.answer


def open_inside(config: Path, keys: Path | None, challenge: str, directory: Path) -> Inside:
    """Open an installation as a worker's lane does."""
    settings = load(config)
    os.environ.update(settings.hsm.variables)
    store_key = load_store_key(settings.store.key_file)
    open_token = TokenOpener(settings, read_pin(settings.hsm.pin), store_key)
    outfitter = Outfitter(settings, 0, store_key, Checkpoints())
    profile = next(profile for profile in settings.profiles if profile.segment == "static")
    issuer = settings.issuer[profile.issuer]
    assert issuer.ra_decrypt is not None  # as `scepd init` makes it
    certificates = (issuer.ra_sign.certificate_der, issuer.ra_decrypt.certificate_der, issuer.certificate_der)
    return Inside(outfitter.outfit(open_token()), profile, key_pool(keys), challenge, directory, certificates)

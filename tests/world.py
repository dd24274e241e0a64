"""A whole enrolment path in one process: software keys, a real SQLite store, a clock that stands still."""

import functools
import secrets
import shutil
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import attrs
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from scepd.ca.local import LocalIssuer
from scepd.ca.shelf import CrlShelf
from scepd.challenge.client_certificate import ClientCertificateChallenge
from scepd.challenge.digest import keyed_digest
from scepd.challenge.none import NoChallenge
from scepd.challenge.one_time import OneTimeChallenge
from scepd.challenge.order import RemotePlace
from scepd.challenge.passwords import ProfilePasswords
from scepd.challenge.static import StaticChallenge
from scepd.enroll.context import Context, Registration
from scepd.enroll.respond import respond
from scepd.hsm.software import software_decryption_key
from scepd.message.certrep import ReplySigner
from scepd.message.enveloped import Recipient
from scepd.profile.access import ClientCertificateRule, NoChallengeRule, OneTimeRule, StaticRule
from scepd.profile.model import Profile
from scepd.records import Attribute, Origin, Secret
from scepd.store.engines import open_engine
from scepd.store.migrate import upgrade
from scepd.store.repository import Repository
from scepd.x509.certificate import IssuerCertificate, draft_ca_certificate, draft_ra_certificate, new_serial
from scepd.x509.draft import seal
from scepd.x509.keys import spki_digest

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
STORE_KEY = bytes(range(32))
STATIC = "a-static-challenge-for-many-uses"
ORIGIN = Origin("192.0.2.7", "request-1")
URL = "sqlite:///scepd.sqlite"


@attrs.define
class FakeClock:
    """A clock that a test moves."""

    time: datetime = NOW

    def now(self):
        return self.time


@attrs.define
class Counted:
    """A monotonic clock that moves a millisecond a look, so that trails are equal in every run."""

    seconds: float = 0.0

    def __call__(self):
        self.seconds += 0.001
        return self.seconds


def common_name(text):
    return ((Attribute("2.5.4.3", text),),)


def spki_of(certificate_der):
    from scepd.message.certificate import load_certificate

    return load_certificate(certificate_der).spki_der


@attrs.frozen
class Keys:
    """A CA with its RA pair, made once a session since RSA keys take a while."""

    ca: object
    sign: rsa.RSAPrivateKey
    decrypt: rsa.RSAPrivateKey
    ca_der: bytes
    sign_der: bytes
    decrypt_der: bytes

    @property
    def certificates(self):
        return [self.sign_der, self.decrypt_der, self.ca_der]


def make_keys(*, elliptic=False, name="Test CA"):
    """Return fresh CA and RA keys with their certificates."""
    ca = ec.generate_private_key(ec.SECP256R1()) if elliptic else rsa.generate_private_key(65537, 2048)
    sign, decrypt = (rsa.generate_private_key(65537, 2048) for _ in range(2))
    began = NOW - timedelta(days=1)
    draft = draft_ca_certificate(
        common_name(name),
        ca.public_key(),
        serial=new_serial(secrets.token_bytes),
        not_before=began,
        not_after=began + timedelta(days=3650),
    )
    ca_der = seal(draft.der, ca, ca.public_key())
    issuer = IssuerCertificate.load(ca_der)
    certificates = []
    for role, key in (("sign", sign), ("decrypt", decrypt)):
        draft = draft_ra_certificate(
            common_name(f"Test RA {role}"),
            key.public_key(),
            role=role,
            issuer=issuer,
            serial=new_serial(secrets.token_bytes),
            now=NOW - timedelta(hours=1),
            validity=timedelta(days=730),
        )
        certificates.append(seal(draft.der, ca, ca.public_key()))
    return Keys(ca, sign, decrypt, ca_der, *certificates)


@attrs.define
class World:
    """The context of one lane and the profiles it serves."""

    keys: Keys
    context: Context
    clock: FakeClock
    profiles: dict[str, Profile]
    directory: object

    @property
    def store(self):
        return self.context.store

    def respond(self, body, *, profile="default"):
        """Return the response of the enrolment path to one PKIOperation."""
        return respond(self.context, self.profiles[profile], body, ORIGIN)

    def one_time(self, text, *, profile="default", cn=None, names=(), valid=timedelta(hours=1), uses=1):
        """Put a one-time challenge into the store."""
        return self.store.add_challenge(
            profile,
            keyed_digest(STORE_KEY, text),
            common_name=cn,
            names=tuple(names),
            expires=self.clock.now() + valid,
            uses=uses,
            created_by="test",
        )

    def issued(self):
        """The certificates in the store that were issued."""
        return [row for row in self.store.certificates() if row.der is not None]


def default_profile(**changes):
    """The profile of most tests: both local challenge methods."""
    values = {
        "name": "default",
        "issuer": "devices",
        "challenge": (OneTimeRule(), StaticRule(Secret(STATIC))),
        "default": True,
        **changes,
    }
    return Profile(**values)


@functools.cache
def _empty_store():
    """A migrated store without rows, made once: the migrations have tests of their own."""
    kept = tempfile.TemporaryDirectory()
    upgrade(URL, Path(kept.name))
    return kept  # it goes with the process


def _provide_store(directory):
    if not (directory / "scepd.sqlite").exists():
        shutil.copy(Path(_empty_store().name) / "scepd.sqlite", directory)


def make_registration(issuer, keys):
    """The RA before an issuer, with the keys in memory."""
    decryption = software_decryption_key(keys.decrypt, b"fallback secret of this process!")
    return Registration(
        issuer, ReplySigner(keys.sign_der, keys.sign), (Recipient.from_certificate(keys.decrypt_der),), (decryption,)
    )


def make_world(
    keys,
    directory,
    *,
    profiles=None,
    owner="node/0.0",
    checkpoint=lambda _name: None,
    random=None,
    others=None,
    successions=None,
    clock=None,
):
    """Return a world over a store in `directory` (made there when missing).

    `others` are the keys of further issuers by name, `successions` what follows what.
    """
    profiles = profiles or [default_profile()]
    _provide_store(directory)
    clock = clock or FakeClock()
    store = Repository(open_engine(URL, directory), owner=owner, clock=clock, checkpoint=checkpoint)
    everything = {"devices": keys, **(others or {})}
    context = Context(
        store=store,
        owner=owner,
        issuers={
            name: LocalIssuer(name, IssuerCertificate.load(held.ca_der), held.ca) for name, held in everything.items()
        },
        registrations={name: make_registration(name, held) for name, held in everything.items()},
        challenges={profile.name: challenge_methods(profile) for profile in profiles},
        clock=clock,
        random=random or secrets.token_bytes,
        monotonic=Counted(),
        crls=CrlShelf(),
        forbidden_keys=frozenset(
            spki_digest(spki_of(der)) for held in everything.values() for der in held.certificates
        ),
        successions=successions or {},
        passwords={
            profile.name: ProfilePasswords(
                profile.name,
                STORE_KEY,
                tuple(rule.secret for rule in profile.challenge if isinstance(rule, StaticRule)),
            )
            for profile in profiles
            if profile.password_encryption
        },
        checkpoint=checkpoint,
    )
    return World(keys, context, clock, {profile.name: profile for profile in profiles}, directory)


def challenge_methods(profile):
    """The methods of a profile, as a worker makes them."""
    return tuple(_method(rule, profile) for rule in profile.challenge)


def _method(rule, profile):
    if isinstance(rule, OneTimeRule):
        return OneTimeChallenge(profile.name, STORE_KEY)
    if isinstance(rule, StaticRule):
        return StaticChallenge.from_secret(rule.secret, STORE_KEY)
    if isinstance(rule, ClientCertificateRule):
        return ClientCertificateChallenge(
            "same" if profile.client_certificate is None else profile.client_certificate.subject
        )
    return NoChallenge() if isinstance(rule, NoChallengeRule) else RemotePlace("webhook")

"""What each lane of a worker owns: a PKCS#11 session, the keys opened in it, a store connection."""

import itertools
import os
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack

import attrs

from scepd.app.checkpoint import Checkpoints
from scepd.app.clock import UtcClock
from scepd.app.halt import Halt
from scepd.app.keys import ca_rules, key_checks, ra_rules
from scepd.app.methods import Doorkeepers
from scepd.app.successions import successions_of
from scepd.ca.local import LocalIssuer
from scepd.ca.prepared import PreparedAnswers
from scepd.ca.responder import Authorities, Responder, Responders
from scepd.ca.shards import OpenShards
from scepd.ca.shelf import CrlShelf
from scepd.challenge.enclosure import Enclosures
from scepd.challenge.passwords import ProfilePasswords
from scepd.config.issuer_settings import IssuerSettings, OcspSettings
from scepd.config.own_keys import own_keys
from scepd.config.settings import Settings
from scepd.enroll.context import Context, Guesses, Registration
from scepd.hsm.faults import TokenFault
from scepd.hsm.keys import Opening, open_decryption_key, open_signing_key, parse_uri
from scepd.hsm.probe import KeyCheck, check_keys, probe_decryption_key, probe_signing_key
from scepd.hsm.token import Session, Token
from scepd.message.certrep import ReplySigner
from scepd.message.enveloped import Recipient
from scepd.ports import SigningKey
from scepd.profile.model import Profile, StaticRule
from scepd.refusal import OperatorError
from scepd.store.engines import open_engine
from scepd.store.published import newest_published
from scepd.store.repository import Repository
from scepd.x509.issuer import IssuerCertificate
from scepd.x509.ocsp import ResponderCertificate

_PROBE_OCTETS = 16
_DAY = 86_400.0  # seconds


@attrs.define(kw_only=True)
class Belongings(Context):
    """A lane's context, with what must be closed when the lane lets go of it."""

    session: Session
    repository: Repository
    keys: tuple[KeyCheck, ...]
    keys_read: float  # monotonic seconds, when their attributes were

    def close(self) -> None:
        """Close the store connection and the session."""
        self.repository.close()
        self.session.close()

    def probe(self) -> None:
        """Sign and decrypt with the RA's keys, and once a day prove every key anew; raises `TokenFault`."""
        for registration in self.registrations.values():
            probe_signing_key(registration.signer.key, self.random(_PROBE_OCTETS))
            for key in registration.decryption:
                probe_decryption_key(key, self.random(_PROBE_OCTETS))
        if self.monotonic() - self.keys_read >= _DAY:
            self._read_keys_again()

    def _read_keys_again(self) -> None:
        try:
            check_keys(self.session, self.keys)
        except OperatorError as error:
            # A key that may do what it must not is a token that cannot be used, until somebody mends it (threats S-119).
            raise TokenFault("device", error.problem) from error
        self.keys_read = self.monotonic()


@attrs.frozen
class Shared:
    """What all lanes of a worker have in common with its other threads."""

    doorkeepers: Doorkeepers
    enclosures: Enclosures
    authorities: Authorities  # for which OCSP answers
    crls: CrlShelf = attrs.field(factory=CrlShelf)
    prepared: PreparedAnswers = attrs.field(factory=PreparedAnswers)
    shards: OpenShards = attrs.field(factory=OpenShards)
    guesses: Guesses | None = None
    halt: Halt = attrs.field(factory=Halt)

    @classmethod
    def make(
        cls,
        settings: Settings,
        store_key: bytes,
        clock: UtcClock,
        guesses: Guesses | None = None,
        halt: Halt | None = None,
    ) -> "Shared":
        """Make them; raises `OperatorError`."""
        published = newest_published(settings.appliance.marks, [issuer.name for issuer in settings.issuers])
        answering = [issuer for issuer in settings.issuers if issuer.ocsp is not None]
        return cls(
            Doorkeepers.make(settings, store_key, clock),
            Enclosures(store_key, os.urandom),
            Authorities({issuer.name: IssuerCertificate.load(issuer.certificate_der) for issuer in answering}),
            crls=CrlShelf(published),
            guesses=guesses,
            halt=halt or Halt(),
        )


class Outfitter:
    """Makes the belongings of the lanes of one worker, each in its lane's own thread."""

    def __init__(
        self, settings: Settings, slot: int, store_key: bytes, checkpoints: Checkpoints, shared: Shared | None = None
    ) -> None:
        """Open what lanes share: the store's engine, the challenge methods. Raises `OperatorError`."""
        self._settings = settings
        self._slot = slot
        self._checkpoints = checkpoints
        self._clock = UtcClock()
        self._engine = open_engine(settings.store.url, settings.appliance.state)
        # Of this process only: what a bad key transport is answered with must not repeat elsewhere.
        self._fallback_secret = os.urandom(32)
        self._shared = Shared.make(settings, store_key, self._clock) if shared is None else shared
        self._passwords = {
            profile.name: _passwords(profile, store_key) for profile in settings.profiles if profile.password_encryption
        }
        self._forbidden = own_keys(settings)
        self._keys = key_checks(settings.issuers, settings.audit)
        self._successions = successions_of(settings.issuers)
        self._numbers = itertools.count()
        self._lane = threading.local()

    def begin(self) -> None:
        """Count lanes from 0 again: new threads follow."""
        self._numbers = itertools.count()
        self._lane = threading.local()

    def outfit(self, token: Token) -> Belongings:
        """Make the belongings of the calling thread's lane. Raises `TokenFault`, `OperatorError`, `Unavailable`."""
        owner = owner_name(self._settings, self._slot, self._lane_number())
        with ExitStack() as undo:
            session = token.session()
            undo.callback(session.close)
            repository = Repository(self._engine, owner=owner, clock=self._clock, checkpoint=self._checkpoints)
            undo.callback(repository.close)
            belongings = Belongings(
                store=repository,
                owner=owner,
                issuers={issuer.name: _open_issuer(session, issuer) for issuer in self._settings.issuers},
                registrations=self._open_registrations(session),
                responders=self._open_responders(session),
                prepared=self._shared.prepared,
                shards=self._shared.shards,
                successions=self._successions,
                challenges=self._shared.doorkeepers.methods,
                passwords=self._passwords,
                crls=self._shared.crls,
                switches=self._shared.doorkeepers.switches,
                guesses=self._shared.guesses,
                enclosures=self._shared.enclosures,
                clock=self._clock,
                random=os.urandom,
                monotonic=time.monotonic,
                forbidden_keys=self._forbidden,
                blocked_keys=self._settings.blocked_keys,
                audit_key=self._open_audit_key(session),
                checkpoint=self._checkpoints,
                owes=True,  # a lost session may have interrupted this lane: it looks before it serves
                session=session,
                repository=repository,
                keys=self._keys,
                keys_read=time.monotonic(),
            )
            undo.pop_all()
        return belongings

    def _lane_number(self) -> int:
        # A lane whose session was lost is outfitted again in the same thread: same number, same owner.
        if not hasattr(self._lane, "number"):
            self._lane.number = next(self._numbers)
        number: int = self._lane.number
        return number

    def _open_audit_key(self, session: Session) -> SigningKey | None:
        audit = self._settings.audit
        return None if audit is None else open_signing_key(session, parse_uri(audit.key), audit.public_key_der)

    def _open_responders(self, session: Session) -> Responders:
        opened = [
            _open_responder(session, issuer.name, issuer.ocsp)
            for issuer in self._settings.issuers
            if issuer.ocsp is not None
        ]
        return Responders.of(self._shared.authorities, opened)

    def _open_registrations(self, session: Session) -> Mapping[str, Registration]:
        return {issuer.name: self._open_registration(session, issuer) for issuer in self._settings.issuers}

    def _open_registration(self, session: Session, issuer: IssuerSettings) -> Registration:
        sign, opening = issuer.ra_sign, Opening(rules=ra_rules(issuer))
        signing_key = open_signing_key(session, parse_uri(sign.key), sign.certificate_der, opening)
        former = {
            one: ReplySigner(
                one.certificate_der, open_signing_key(session, parse_uri(one.key), one.certificate_der, opening)
            )
            for one in issuer.former_signers
        }
        decryption = [
            open_decryption_key(session, parse_uri(ra.key), ra.certificate_der, self._fallback_secret, opening)
            for ra in issuer.recipients
        ]
        return Registration(
            issuer=issuer.name,
            signer=ReplySigner(sign.certificate_der, signing_key),
            recipients=tuple(Recipient.from_certificate(ra.certificate_der) for ra in issuer.recipients),
            decryption=tuple(decryption),
            former={index: former[ra.sign] for index, ra in enumerate(issuer.recipients) if ra.sign is not None},
        )


def owner_name(settings: Settings, slot: int, lane: int) -> str:
    """Return how the store knows a lane: "node/slot.lane"."""
    return f"{settings.appliance.node}/{slot}.{lane}"


def _open_issuer(session: Session, issuer: IssuerSettings) -> LocalIssuer:
    opening = Opening(rules=ca_rules(issuer))
    key = open_signing_key(session, parse_uri(issuer.key), issuer.certificate_der, opening)
    return LocalIssuer(
        issuer.name,
        IssuerCertificate.load(issuer.certificate_der),
        key,
        issuer.chain,
        issuer.locations,
    )


def _open_responder(session: Session, issuer: str, ocsp: OcspSettings) -> Responder:
    key = open_signing_key(session, parse_uri(ocsp.key), ocsp.certificate_der)
    return Responder(issuer, key, ResponderCertificate.load(ocsp.certificate_der), ocsp.valid, ocsp.cache)


def _passwords(profile: Profile, store_key: bytes) -> ProfilePasswords:
    statics = tuple(rule.secret for rule in profile.challenge if isinstance(rule, StaticRule))
    return ProfilePasswords(profile.name, store_key, statics)

"""A software issuer, devices, intents and stores for the tests of store and challenge."""

import functools
import hashlib
import os
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import attrs
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from scepd.records import Crl, Identity, Intent, Lineage, Name, Petition, Step, TransactionKey
from scepd.store.engines import open_engine
from scepd.store.migrate import upgrade
from scepd.store.repository import Repository
from scepd.x509.names import from_text, to_text, to_x509

URL = "sqlite:///scepd.sqlite"
BEGIN = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
TRAIL = (Step("open", 1.5), Step("claim", 3.25, "serial drawn"))


class Clock:
    """A clock that a test sets."""

    def __init__(self, moment=BEGIN):
        self.moment = moment

    def now(self):
        return self.moment


@attrs.frozen
class Issuer:
    """A CA in software."""

    key: ec.EllipticCurvePrivateKey
    der: bytes

    @classmethod
    def make(cls, text="CN=Test CA"):
        key = ec.generate_private_key(ec.SECP256R1())
        name = to_x509(from_text(text))
        builder = _builder(name, name, key.public_key(), 1, BEGIN - timedelta(days=1), BEGIN + timedelta(days=3650))
        certificate = (
            builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage("key_cert_sign", "crl_sign"), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )
        return cls(key, certificate.sign(key, hashes.SHA256()).public_bytes(Encoding.DER))


def _builder(subject, issuer, public_key, serial, not_before, not_after):
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(serial)
        .not_valid_before(not_before)
        .not_valid_after(not_after)
    )


def _usage(*words):
    names = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
    names += ("key_cert_sign", "crl_sign", "encipher_only", "decipher_only")
    return x509.KeyUsage(**{name: name in words for name in names})


@attrs.frozen
class Device:
    """One device: its name and key; ECDSA makes two signings of one draft differ, as a token's would."""

    subject: Name
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def make(cls, subject="CN=r1.example.net,O=Example"):
        return cls(from_text(subject), ec.generate_private_key(ec.SECP256R1()))

    @property
    def spki_der(self):
        return self.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    @property
    def key_digest(self):
        return hashlib.sha256(self.spki_der).digest()


NAMES = ("dns:r1.example.net",)


def sign(issuer: Issuer, device: Device, serial: int, names=NAMES) -> bytes:
    """Return a certificate over always the same TBS for the same arguments."""
    issuer_name = x509.load_der_x509_certificate(issuer.der).subject
    builder = _builder(
        to_x509(device.subject),
        issuer_name,
        device.key.public_key(),
        serial,
        BEGIN - timedelta(minutes=5),
        BEGIN + timedelta(days=365),
    )
    authority = x509.load_der_x509_certificate(issuer.der).extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    extensions = (
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (_usage("digital_signature"), True),
        (x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.CLIENT_AUTH]), False),
        (x509.SubjectKeyIdentifier.from_public_key(device.key.public_key()), False),
        (x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(authority.value), False),
        *([(_alternative_names(names), False)] if names else []),
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(issuer.key, hashes.SHA256()).public_bytes(Encoding.DER)


def _alternative_names(names):
    return x509.SubjectAlternativeName([x509.DNSName(name.removeprefix("dns:")) for name in names])


def make_intent(issuer: Issuer, device: Device, **changes) -> Intent:
    """Return what a device's request would become; `changes` bends single fields."""
    serial = changes.pop("serial", None) or int.from_bytes(os.urandom(18), "big")
    profile = changes.pop("profile", "routers")
    transaction_id = changes.pop("transaction_id", device.key_digest.hex())
    requester = changes.pop("requester", device.key_digest)
    challenge = changes.pop("challenge", None)
    names = changes.pop("names", NAMES)
    csr_der = changes.pop("csr_der", b"csr of ") + device.spki_der
    intent = Intent(
        key=TransactionKey(profile, transaction_id, requester),
        message_type=19,
        issuer="main",
        serial=serial,
        draft_der=sign(issuer, device, serial, names),
        csr_der=csr_der,
        csr_fingerprint=hashlib.sha256(csr_der).hexdigest(),
        wishes=hashlib.sha256(b"wishes" + csr_der).digest(),
        subject=to_text(device.subject),
        names=names,
        public_key=device.key_digest,
        not_before=BEGIN - timedelta(minutes=5),
        not_after=BEGIN + timedelta(days=365),
        identity=Identity("one-time" if challenge else "static", "r1.example.net", challenge),
        address="192.0.2.7",
        trail=(Step("open", 1.5),),
    )
    return attrs.evolve(intent, **changes)


def certificate_of(issuer: Issuer, device: Device, intent: Intent) -> bytes:
    """Return the certificate that the token would make of an intent's draft."""
    return sign(issuer, device, intent.serial, intent.names)


def make_petition(issuer: Issuer, device: Device, **changes) -> Petition:
    """Return what a device's request would become where a person decides."""
    bent = {name: changes.pop(name) for name in ("valid", "most") if name in changes}
    intent = make_intent(issuer, device, **changes)
    same = [field.name for field in attrs.fields(Petition) if hasattr(intent, field.name)]
    return Petition(
        **{name: getattr(intent, name) for name in same},
        **{"valid": timedelta(days=7), "most": 1000, **bent},
    )


def enrol(repository: Repository, issuer: Issuer, device: Device, **changes):
    """Claim and record; return the transaction."""
    intent = make_intent(issuer, device, **changes)
    transaction, created = repository.claim(intent)
    assert created
    return finish(repository, issuer, device, transaction)


def finish(repository: Repository, issuer: Issuer, device: Device, transaction):
    """Sign and record what was claimed; return the transaction."""
    return repository.record(transaction, sign(issuer, device, transaction.serial, transaction.names), TRAIL)


def certificate_row(repository: Repository, transaction):
    """Return the certificate of a transaction."""
    return repository.certificate(transaction.issuer, transaction.serial)


def after(certificate) -> Lineage:
    """Return the lineage of what renews a certificate."""
    before = certificate.lineage
    if before is None:
        return Lineage(certificate.id, 1, certificate.not_before)
    return Lineage(certificate.id, before.renewals + 1, before.first_issued)


def make_crl(issuer: Issuer, number: int, moment=BEGIN, serials=(), name="main") -> Crl:
    """Return a published CRL of those serials."""
    end = moment + timedelta(days=7)
    issuer_name = x509.load_der_x509_certificate(issuer.der).subject
    builder = x509.CertificateRevocationListBuilder(issuer_name).last_update(moment).next_update(end)
    builder = builder.add_extension(x509.CRLNumber(number), critical=False)
    for serial in serials:
        entry = x509.RevokedCertificateBuilder(serial, moment)
        builder = builder.add_revoked_certificate(entry.build())
    der = builder.sign(issuer.key, hashes.SHA256()).public_bytes(Encoding.DER)
    return Crl(name, number, moment, end, der, len(serials))


@functools.cache
def _empty_store() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        upgrade(URL, Path(folder))
        return Path(folder, "scepd.sqlite").read_bytes()


def prepare(directory: Path) -> None:
    """Make an empty store: a copy of one that was migrated, since migrating each would take most of the tests' time."""
    path = directory / "scepd.sqlite"
    path.touch(0o600)
    path.write_bytes(_empty_store())


def open_repository(directory: Path, clock=None, **options) -> Repository:
    """Open a store that was prepared."""
    options.setdefault("owner", "alpha/0")
    return Repository(open_engine(URL, directory), clock=clock or Clock(), **options)


def add_challenge(repository: Repository, **options):
    """Add a challenge with a fresh digest, valid for a day."""
    options.setdefault("expires", BEGIN + timedelta(days=1))
    options.setdefault("created_by", "ann")
    profile = options.pop("profile", "routers")
    digest = options.pop("digest", None) or os.urandom(32)
    return repository.add_challenge(profile, digest, **options)

"""A store whose audit trail is sealed with a key in software, and what verifies it."""

import attrs
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from scepd.observe.seal import sign_seal
from scepd.observe.seal_file import SealFile
from scepd.observe.signature import audit_keys
from scepd.observe.trail import Trail, verify

from .building import add_challenge, open_repository, prepare

CHAINS = ("alpha/0", "alpha/1")


@attrs.frozen
class Sealer:
    """Seals a store as the duty does, and verifies it as `scepd audit verify` does."""

    file: SealFile
    key: ec.EllipticCurvePrivateKey = attrs.field(factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    @classmethod
    def within(cls, directory):
        return cls(SealFile(directory / "audit-seals.jsonl"))

    @property
    def spki(self):
        return self.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    def seal(self, repository):
        seal = sign_seal(repository.draft_seal(), self.key)
        assert repository.add_seal(seal)
        self.file.append([seal])
        return seal

    def problems(self, repository, *, with_file=True):
        trail = Trail(audit_keys([self.spki]), self.file.lines() if with_file else None)
        with repository.snapshot():
            return [str(damage) for damage in verify(repository.audit_trail(), repository.audit_heads(), trail)]


def make_sealed(directory):
    """Make a store with two chains: each two rows at a time under three seals, then one row that none has signed yet."""
    prepare(directory)
    sealer = Sealer.within(directory)
    writers = [open_repository(directory, owner=owner) for owner in CHAINS]
    for _ in range(3):
        for writer in writers * 2:
            add_challenge(writer)
        sealer.seal(writers[0])
    for writer in writers:
        add_challenge(writer)
    assert sealer.problems(writers[0]) == []
    for writer in writers:
        writer.close()
    return sealer

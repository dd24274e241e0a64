"""What an attacker on the decryption oracle sees, and the key that counts its operations."""

import attrs

from scepd.hsm.software import software_decryption_key
from tests import make


class Recorded:
    """Counts the private-key operations of the RA decryption key."""

    def __init__(self, world):
        self.calls = []
        (registration,) = world.context.registrations.values()
        key = software_decryption_key(world.keys.decrypt, b"fallback secret", lambda *call: self.calls.append(call))
        world.context.registrations = {"devices": attrs.evolve(registration, decryption=(key,))}


class Oracle:
    """Sends envelopes with a changed encrypted key or ciphertext and sees all that an attacker sees."""

    def __init__(self, device, recorded, attacker):
        self.device, self.recorded, self.attacker = device, recorded, attacker
        self.number = 0

    def ask(self, envelope):
        """Return what is visible: status, pkiStatus, failInfo, text, and the token calls that were made."""
        self.number += 1
        self.recorded.calls.clear()
        body = make.message(envelope.der(), signer=self.attacker, transaction_id=f"o{self.number}")
        response = self.device.send(body)
        reply = self.device.read(response)
        return (
            response.answer.status, reply.status, reply.fail_info, reply.fail_info_text, reply.content,
            len(response.answer.body) - len(f"o{self.number}"), tuple(self.recorded.calls),
        )  # fmt: skip

"""Long attacks on the whole path in one process: a padding oracle, every bit flip."""

import os

import attrs

from scepd.hsm.software import software_decryption_key
from scepd.message.enveloped import parse_envelope
from scepd.message.request import parse_message
from tests import make
from tests.enroll.conftest import ANYTHING
from tests.world import STATIC


def test_S04_every_single_bit_flip_is_refused_unless_nothing_signed_was_touched(device, world, keys):
    """A mutant may be issued only where signature and digest still verify: then it says what the original said."""
    original = device.request()
    said = parse_message(original)
    # 13 meets every position within an octet and every region of the message.
    step = 1 if os.environ.get("SCALE", "1") != "1" else 13
    for bit in range(0, len(original) * 8, step):
        mutant = bytearray(original)
        mutant[bit // 8] ^= 1 << bit % 8
        response = device.send(bytes(mutant))
        if response.answer.outcome == "issued":
            now = parse_message(bytes(mutant))
            assert (now.content, now.transaction_id, now.message_type) == (
                said.content, said.transaction_id, said.message_type,
            ), bit  # fmt: skip
            assert now.signer.spki_der == said.signer.spki_der
    assert len(world.issued()) <= 1


def vaudenay(ask, block, previous, *, positions):
    """Recover the last octets of a CBC block through a padding oracle; None for those that it does not betray."""
    known = []
    for pad in range(1, positions + 1):
        found = None
        for guess in range(256):
            forged = bytearray(b"\xa5" * len(previous))
            for index, octet in enumerate(known):
                forged[-1 - index] = previous[-1 - index] ^ octet ^ pad
            forged[-pad] = previous[-pad] ^ guess ^ pad
            if ask(bytes(forged), block):
                # A longer padding by chance: change the octet before it and ask again.
                forged[-pad - 1] ^= 0x80
                if ask(bytes(forged), block):
                    found = guess
                    break
        if found is None:
            return bytes(reversed(known))
        known.append(found)
    return bytes(reversed(known))


def attack(oracle, envelope, plaintext, *, positions):
    """Run the script against one block; any visible difference from a random ciphertext is the oracle's word."""
    blocks = [envelope.ciphertext[i : i + 16] for i in range(0, len(envelope.ciphertext), 16)]
    usual = oracle.ask(attrs.evolve(envelope, ciphertext=b"\x5c" * 32))

    def ask(forged, block):
        return oracle.ask(attrs.evolve(envelope, ciphertext=forged + block)) != usual

    target = 3
    recovered = vaudenay(ask, blocks[target], blocks[target - 1], positions=positions)
    secret = plaintext[target * 16 : target * 16 + 16]
    return recovered, secret[len(secret) - len(recovered) :]


def test_S12_a_vaudenay_script_recovers_nothing(device, world, oracle, monkeypatch):
    """In process: the decryption key is a table look-up, so that thousands of queries cost seconds."""
    csr = make.csr(challenge=STATIC)
    envelope = make.bent_envelope(csr, recipient=device.ra)
    fix_content_key(world, envelope, oracle.recorded)
    queries = 0
    wanted = 10_000 if os.environ.get("SCALE", "1") == "1" else 100_000
    while queries < wanted:
        before = oracle.number
        recovered, _ = attack(oracle, envelope, csr, positions=2)
        queries += oracle.number - before
        assert recovered == b""


def test_S12_the_same_script_succeeds_against_a_broken_build(device, world, oracle, monkeypatch):
    csr = make.csr(challenge=STATIC)
    envelope = make.bent_envelope(csr, recipient=device.ra)
    fix_content_key(world, envelope, oracle.recorded)
    from scepd.refusal import WIRE, FailInfo, Reason

    broken = {**WIRE, Reason.decryption_failed: (FailInfo.badMessageCheck, "padding")}
    monkeypatch.setattr("scepd.refusal.WIRE", broken)
    recovered, secret = attack(oracle, envelope, csr, positions=2)
    assert len(recovered) == 2
    assert recovered == secret


def fix_content_key(world, envelope, recorded):
    """Let the RA key be one that knows this envelope's content key, at no cost."""
    key = software_decryption_key(world.keys.decrypt, b"fallback secret")
    transport = parse_envelope(envelope.der(), ANYTHING).recipients[0].transport
    content_key = key.unwrap(envelope.entry.encrypted_key, transport, 16)

    class Known:
        def supports(self, _transport):
            return True

        def unwrap(self, encrypted_key, _transport, length):
            recorded.calls.append(len(encrypted_key))
            return content_key[:length]

    (registration,) = world.context.registrations.values()
    world.context.registrations = {"devices": attrs.evolve(registration, decryption=(Known(),))}

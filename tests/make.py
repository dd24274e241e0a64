"""Builders for tests, under one name: a well-behaved client, and a hostile one that can bend every field of a message.

`pkcs_req(challenge="x")` is the whole message. `take_apart(message)` gives its parts, `attrs.evolve` bends one,
`.der()` puts them together again, `resign` makes the signature fit. Keys are generated once per run. What single
clients were seen to send is in `tests/wire/clients.py`.
"""

import attrs
from cryptography.hazmat.primitives.serialization import Encoding

from scepd.message import names, tlv
from scepd.message.algorithms import Digest
from scepd.message.csr import Extension, write_name
from scepd.message.signature import sign
from tests.bend import (
    Entry,
    Enveloped,
    Message,
    Signer,
    attribute,
    bad_paddings,
    bent_envelope,
    bent_req,
    encrypt_raw,
    key_identifier_sid,
    open_up,
    rewrap,
    splice,
    take_apart,
)
from tests.ber import ber_envelope, ber_message, ber_req, bombs, fragments, indefinite, nested
from tests.parties import (
    CURVES,
    NONCE,
    NOW,
    TRANSACTION,
    Party,
    PrivateKey,
    certificate,
    device,
    key,
    name,
    party,
    ra,
    spki,
)
from tests.requesting import csr, dns_names, envelope, issuer_and_serial, issuer_and_subject, message, pkcs_req

__all__ = [
    "CURVES",
    "NONCE",
    "NOW",
    "TRANSACTION",
    "Digest",
    "Encoding",
    "Entry",
    "Enveloped",
    "Extension",
    "Message",
    "Party",
    "PrivateKey",
    "Signer",
    "attribute",
    "attrs",
    "bad_paddings",
    "bent_envelope",
    "bent_req",
    "ber_envelope",
    "ber_message",
    "ber_req",
    "bombs",
    "certificate",
    "csr",
    "device",
    "dns_names",
    "encrypt_raw",
    "envelope",
    "fragments",
    "indefinite",
    "issuer_and_serial",
    "issuer_and_subject",
    "key",
    "key_identifier_sid",
    "message",
    "name",
    "names",
    "nested",
    "open_up",
    "party",
    "pkcs_req",
    "ra",
    "rewrap",
    "sign",
    "spki",
    "splice",
    "take_apart",
    "tlv",
    "write_name",
]

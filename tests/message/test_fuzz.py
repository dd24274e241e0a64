"""Nothing but MessageError and Reject ever comes out; what verifies says what was signed."""

from contextlib import suppress

from asn1crypto import parser
from hypothesis import given, settings
from hypothesis import strategies as st

from scepd.message import tlv
from scepd.message.algorithms import Cipher, CryptoPolicy, Digest
from scepd.message.certrep import read_certrep
from scepd.message.csr import parse_csr
from scepd.message.enveloped import decrypt
from scepd.message.errors import MessageError
from scepd.message.request import parse_message, verify_message
from scepd.refusal import Reject
from tests import make

POLICY = CryptoPolicy(digests=frozenset(Digest), ciphers=frozenset(Cipher))
ORIGINAL = make.pkcs_req()
BER = make.ber_req(fragment=300)
READ = parse_message(ORIGINAL)


def whole_path(body):
    """Take a body through everything the codec does with a request."""
    message = parse_message(body)
    verify_message(message, POLICY)
    csr = parse_csr(decrypt(message.content, make.ra().certificate_der, make.ra().key, POLICY))
    csr.check()
    return message


def attempt(body):
    """Return the message of a body that passes all, None for one that is refused."""
    try:
        return whole_path(body)
    except (MessageError, Reject):
        return None


def test_S04_every_single_bit_flip_is_refused_or_changes_nothing_that_is_signed():
    accepted = 0
    for position in range(0, len(ORIGINAL), 7):
        flipped = bytearray(ORIGINAL)
        flipped[position] ^= 1 << position % 8
        message = attempt(bytes(flipped))
        if message is not None:
            accepted += 1
            assert message.content == READ.content
            assert (message.transaction_id, message.sender_nonce) == (READ.transaction_id, READ.sender_nonce)
            assert message.signer.spki_der == READ.signer.spki_der
    assert accepted < 100  # versions, and what is neither signed nor needed, such as the certificate's own signature


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_S132_mutations_are_refused_or_read_and_nothing_else_is_raised(data):
    body = bytearray(data.draw(st.sampled_from([ORIGINAL, BER])))
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(body) - 1))
        length = data.draw(st.integers(0, 8))
        body[start : start + length] = data.draw(st.binary(max_size=8))
        if not body:
            break
    attempt(bytes(body))
    with suppress(MessageError, Reject):
        read_certrep(bytes(body), trusted=[make.device().certificate_der])


@given(st.binary(max_size=400))
@settings(max_examples=200)
def test_S132_any_octets_are_refused_and_nothing_else_is_raised(body):
    assert attempt(body) is None


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_S21_what_the_reader_sees_asn1crypto_sees_as_well(data):
    body = bytearray(ORIGINAL)
    body[data.draw(st.integers(0, len(body) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        waiting = [tlv.read(bytes(body), tlv.Limits(ber_depth=0))]
    except MessageError:
        return
    while waiting:
        element = waiting.pop()
        class_, method, number, _, content, _ = parser.parse(element.der, strict=True)
        assert class_ << 6 | method << 5 == element.tag & 0xE0
        assert number == (element.tag >> 8 or element.tag & 0x1F)
        assert content == element.content
        waiting.extend(element.children if method else ())

"""The bounds of BER/DER input: one iterative pass that refuses bombs before anything is decoded."""

import attrs

from scepd.message.errors import LimitExceeded, MessageError

_CONSTRUCTED = 0x20
_HIGH_TAG = 0x1F
_MINIMUM_HIGH_TAG = 31
_LONG = 0x80
_UNIVERSAL = 0x3F  # the greatest identifier octet of the universal class
_OID = 0x06
_CAPPED = frozenset({0x02, _OID})
_COLLECTIONS = frozenset({0x30, 0x31})
_FRAGMENTED = -1  # stands where the first octet of an indefinite-length element would
TWO_OCTETS = 0x82  # first octet of a length of two more
INDEFINITE = -1  # length of an element that ends with end-of-contents octets

# What an identifier octet announces; the kind of a high tag is the kind without _HIGH.
_PLAIN, _BOUNDED, _END, _COLLECTION, _STRING, _HIGH = range(6)


def _kind(tag: int) -> int:
    if tag & _HIGH_TAG == _HIGH_TAG:
        return _HIGH + (_COLLECTION if tag & _CONSTRUCTED else _PLAIN)
    if tag & _CONSTRUCTED:
        return _COLLECTION if tag in _COLLECTIONS or tag > _UNIVERSAL else _STRING
    return _END if tag == 0 else _BOUNDED if tag in _CAPPED else _PLAIN


_KINDS = bytes(_kind(tag) for tag in range(256))


@attrs.frozen
class Limits:
    """How large, deep and crowded an input may be; `ber_depth` 0 means definite lengths and primitive strings only."""

    size: int = 262_144  # octets
    elements: int = 4_096
    depth: int = 32
    ber_depth: int = 10  # indefinite lengths and constructed strings inside each other
    fragments: int = 1_024  # of one constructed string
    tag_number: int = 16_384
    oid: int = 64  # octets
    integer: int = 2_100  # octets


LIMITS = Limits()


def scan(data: bytes, limits: Limits) -> tuple[dict[int, int], bool]:  # noqa: C901, PLR0912 - one loop: a call per element would double its cost
    """Check the whole input, which must be exactly one element, in linear time.

    Returns the ends of contents of indefinite-length elements by their first octet, and whether the input is BER.
    Raises `LimitExceeded` for bombs, `MessageError` for malformed input, IndexError where it is cut off.
    """
    kinds = _KINDS
    ends: dict[int, int] = {}
    opened: list[int] = []  # ends of what is around
    special: list[tuple[int, int]] = []  # depth and first octet of open indefinite lengths, -1 for constructed strings
    ber = False
    size = end = len(data)
    start = 0
    depth = limits.depth
    if size > limits.size:
        raise LimitExceeded("input too large")
    for _ in range(limits.elements):
        kind = kinds[data[start]]
        length = data[start + 1]
        head = start + 2
        if length >= _LONG or kind >= _HIGH:
            if length == TWO_OCTETS and kind < _HIGH and data[start + 2]:  # as `header`, which costs a call
                head, length = start + 4, data[start + 2] << 8 | data[start + 3]
            else:
                head, length = header(data, start, limits)
                kind = kind if kind < _HIGH else kind - _HIGH
        tail = head + length
        if tail > end:
            raise MessageError("element longer than what holds it")
        if kind == _PLAIN or (not length and kind == _COLLECTION and len(opened) < depth):  # nothing inside to look at
            start = tail
        elif kind >= _COLLECTION:
            opened.append(end)
            if kind == _STRING or length < 0:
                special.append((len(opened), start if length < 0 else _FRAGMENTED))
                ber = True
            if len(opened) > depth or (special and len(special) > limits.ber_depth):
                raise LimitExceeded("nested too deeply")
            start, end = head, (tail if length >= 0 else end)
        elif kind == _END:
            ends[_close_indefinite(opened, special, length)] = start
            start = tail
        else:
            if length > (limits.oid if data[start] == _OID else limits.integer):
                raise LimitExceeded("OBJECT IDENTIFIER or INTEGER too long")
            start = tail
        if start != end and opened:
            continue
        while start == end and opened:
            if special and special[-1][0] == len(opened) and special.pop()[1] != _FRAGMENTED:
                raise MessageError("end-of-contents missing")
            end = opened.pop()
        if not opened:
            if start != size:
                raise MessageError("trailing octets")
            return ends, ber
    raise LimitExceeded("too many elements")


def _close_indefinite(opened: list[int], special: list[tuple[int, int]], length: int) -> int:
    """Return the first octet of the indefinite-length element that end-of-contents octets close."""
    if length or not special or special[-1][0] != len(opened) or special[-1][1] == _FRAGMENTED:
        raise MessageError("end-of-contents out of place")
    opened.pop()
    return special.pop()[1]


def header(data: bytes, start: int, limits: Limits) -> tuple[int, int]:
    """Return where the contents begin, and their length or `INDEFINITE`; lengths take four octets at most."""
    position = start + 1
    if data[start] & _HIGH_TAG == _HIGH_TAG:
        position = tag_number(data, start, limits)[1]
    length = data[position]
    position += 1
    if length < _LONG:
        return position, length
    if length == _LONG:
        if not data[start] & _CONSTRUCTED:
            raise MessageError("primitive element of indefinite length")
        return position, INDEFINITE
    octets = length & 0x7F
    if octets > 4:
        raise LimitExceeded("length of more than four octets")
    length = int.from_bytes(data[position : position + octets], "big")
    if length < _LONG or not data[position]:
        raise MessageError("length not in its shortest form")
    return position + octets, length


def tag_number(data: bytes, start: int, limits: Limits) -> tuple[int, int]:
    """Return a high tag number (X.690 section 8.1.2.4) and the position after it."""
    number = 0
    for position in range(start + 1, start + 4):
        octet = data[position]
        number = number << 7 | octet & 0x7F
        if not octet & _LONG:
            break
        if not number:
            raise MessageError("tag number not in its shortest form")
    else:
        raise LimitExceeded("tag number too large")
    if number > limits.tag_number:
        raise LimitExceeded("tag number too large")
    if number < _MINIMUM_HIGH_TAG:
        raise MessageError("tag number not in its shortest form")
    return number, position + 1

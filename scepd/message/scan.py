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
_DEFINITE = -1  # stack mark of a definite-length SEQUENCE, SET or tagged element
_FRAGMENTED = -2  # stack mark of a definite-length constructed string
INDEFINITE = -1  # length of an element that ends with end-of-contents octets

# What an identifier octet announces.
_PLAIN, _BOUNDED, _COLLECTION, _STRING, _END, _HIGH, _HIGH_COLLECTION = range(7)


def _kind(tag: int) -> int:
    if tag & _HIGH_TAG == _HIGH_TAG:
        return _HIGH_COLLECTION if tag & _CONSTRUCTED else _HIGH
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


@attrs.frozen
class Extent:
    """What the pass found: ends of contents of indefinite-length elements by their first octet, and whether it is BER."""

    ends: dict[int, int]
    ber: bool


def scan(data: bytes, limits: Limits) -> Extent:  # noqa: C901, PLR0912 - one loop: a call per element would double its cost
    """Check the whole input, which must be exactly one element, in linear time.

    Raises `LimitExceeded` for bombs, `MessageError` for malformed input, IndexError where it is cut off.
    """
    ends: dict[int, int] = {}
    opened: list[tuple[int, int]] = []  # enclosing end; first octet of an indefinite-length element, or a mark
    size = end = len(data)
    position = nested = deepest = 0
    if size > limits.size:
        raise LimitExceeded("input too large")
    for _ in range(limits.elements):
        start, kind, length = position, _KINDS[data[position]], data[position + 1]
        head = start + 2
        if length >= _LONG or kind >= _HIGH:
            head, length = header(data, start, limits)
            kind = kind if kind < _HIGH else (_PLAIN if kind == _HIGH else _COLLECTION)
        position = head + length
        if position > end:
            raise MessageError("element longer than what holds it")
        if kind == _END:
            ends[_close_indefinite(opened, length)] = start
            nested -= 1
        elif kind >= _COLLECTION:
            mark = start if length < 0 else _DEFINITE if kind == _COLLECTION else _FRAGMENTED
            opened.append((end, mark))
            end, position = (end if length < 0 else position), head
            if mark != _DEFINITE:
                nested += 1
                deepest = max(deepest, nested)
            if len(opened) > limits.depth or nested > limits.ber_depth:
                raise LimitExceeded("nested too deeply")
        elif kind and length > (limits.oid if data[start] == _OID else limits.integer):
            raise LimitExceeded("OBJECT IDENTIFIER or INTEGER too long")
        while position == end and opened:
            end, mark = opened.pop()
            nested -= mark != _DEFINITE
            if mark >= 0:
                raise MessageError("end-of-contents missing")
        if not opened:
            if position != size:
                raise MessageError("trailing octets")
            return Extent(ends, deepest > 0)
    raise LimitExceeded("too many elements")


def _close_indefinite(opened: list[tuple[int, int]], length: int) -> int:
    """Return the first octet of the indefinite-length element that end-of-contents octets close."""
    if length or not opened or opened[-1][1] < 0:
        raise MessageError("end-of-contents out of place")
    return opened.pop()[1]


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

"""BER/DER elements that keep the octets they came in."""

from collections.abc import Sequence
from datetime import datetime
from typing import Self

from scepd.message.errors import LimitExceeded, MessageError
from scepd.message.scan import LIMITS, TWO_OCTETS, Limits, header, scan, tag_number
from scepd.message.universal import (
    BIT_STRING,
    BOOLEAN,
    ENCODINGS,
    GENERALIZED_TIME,
    INTEGER,
    OCTET_STRING,
    OID,
    SEQUENCE,
    SET,
    UTC_TIME,
    decode_oid,
    decode_time,
    write,
)

_CONSTRUCTED = 0x20
_HIGH_TAG = 0x1F
_LONG = 0x80
_UNIVERSAL = 0x3F
_COLLECTIONS = frozenset({SEQUENCE, SET})


class Source:
    """Input that `scan` has passed."""

    __slots__ = ("ber", "data", "ends", "limits")

    ber: bool
    data: bytes
    ends: dict[int, int]
    limits: Limits

    def __init__(self, data: bytes, limits: Limits) -> None:
        """Scan the input; raises as `scan` does."""
        self.ends, self.ber = scan(data, limits)
        self.data, self.limits = data, limits

    @classmethod
    def of_der(cls, data: bytes) -> Self:
        """Return input that is DER within the bounds, as whoever calls has seen for himself."""
        source = cls.__new__(cls)
        source.data, source.limits, source.ends, source.ber = data, LIMITS, {}, False
        return source

    def element(self, start: int, head: int, end: int) -> "Element":
        """Return the element of a low tag number that begins there, with contents of that span."""
        element = Element.__new__(Element)
        element.tag, element._source, element._children = self.data[start], self, None  # noqa: SLF001
        element._start, element._head, element._tail, element._end = start, head, end, end  # noqa: SLF001
        return element

    def elements(self, position: int, end: int) -> "tuple[Element, ...]":
        """Return the elements that lie one behind the other between two positions."""
        data = self.data
        new, found = Element.__new__, []
        while position < end:
            start = position
            tag = data[start]
            length = data[start + 1]
            head = start + 2
            if length >= _LONG or tag & _HIGH_TAG == _HIGH_TAG:
                if length == TWO_OCTETS and tag & _HIGH_TAG != _HIGH_TAG:  # as `header`, which costs a call
                    head, length = start + 4, data[start + 2] << 8 | data[start + 3]
                else:
                    head, length = header(data, start, self.limits)
                if tag & _HIGH_TAG == _HIGH_TAG:
                    tag |= tag_number(data, start, self.limits)[0] << 8
            if length >= 0:
                tail = position = head + length
            else:
                tail = self.ends[start]
                position = tail + 2
            element = new(Element)  # filled here, since a call of `__init__` costs more than all the rest
            element.tag, element._source, element._children = tag, self, None  # noqa: SLF001
            element._start, element._head, element._tail, element._end = start, head, tail, position  # noqa: SLF001
            found.append(element)
        return tuple(found)


class Element:
    """One element as received: `tag` is its identifier octet, or `number << 8 | octet` beyond tag number 30."""

    __slots__ = ("_children", "_end", "_head", "_source", "_start", "_tail", "tag")

    tag: int
    _source: Source
    _start: int  # first octet
    _head: int  # beginning of the contents
    _tail: int  # end of the contents
    _end: int  # end of all
    _children: "tuple[Element, ...] | None"

    @property
    def content(self) -> bytes:
        """The content octets as received."""
        return self._source.data[self._head : self._tail]

    @property
    def der(self) -> bytes:
        """The whole element as received; `normalise` it where it must be DER."""
        return self._source.data[self._start : self._end]

    @property
    def children(self) -> tuple["Element", ...]:
        """The elements inside; raises `MessageError` when this one is primitive."""
        children = self._children
        if children is None:
            if not self.tag & _CONSTRUCTED:
                raise MessageError("primitive element where a constructed one is due")
            children = self._children = self._source.elements(self._head, self._tail)
        return children

    def parts(self, tag: int = SEQUENCE) -> "tuple[Element, ...]":
        """Return the elements inside a SEQUENCE (or another tag, always a constructed one); raises `MessageError`."""
        if self.tag != tag:
            raise self._unexpected(tag)
        if self._children is None:
            self._children = self._source.elements(self._head, self._tail)
        return self._children

    def expect(self, tag: int) -> "Element":
        """Return this element if it has the tag; raises `MessageError` otherwise."""
        if self.tag != tag:
            raise self._unexpected(tag)
        return self

    def _unexpected(self, tag: int) -> MessageError:
        return MessageError(f"tag {self.tag:#x} where {tag:#x} is due")

    def inner(self) -> "Element":
        """Return the one element inside, as of EXPLICIT tags and sets of one value."""
        children = self.children
        if len(children) != 1:
            raise MessageError(f"{len(children)} elements where one is due")
        return children[0]

    def fields(self, tag: int = SEQUENCE) -> "Fields":
        """Return a cursor over the elements inside a SEQUENCE (or another tag)."""
        return Fields(self.parts(tag))

    def pair(self) -> "tuple[Element, Element]":
        """Return the elements inside a SEQUENCE of two; raises `MessageError`."""
        parts = self.parts()
        if len(parts) != 2:
            raise MessageError(f"{len(parts)} elements where two are due")
        return parts[0], parts[1]

    def oid(self) -> str:
        """Return the dotted OBJECT IDENTIFIER."""
        if self.tag != OID:
            raise self._unexpected(OID)
        return decode_oid(self._source.data[self._head : self._tail])

    def integer(self) -> int:
        """Return the INTEGER."""
        content = self.expect(INTEGER).content
        if not content:
            raise MessageError("INTEGER without octets")
        return int.from_bytes(content, "big", signed=True)

    def boolean(self) -> bool:
        """Return the BOOLEAN; any octet but zero is true, as BER has it."""
        content = self.expect(BOOLEAN).content
        if len(content) != 1:
            raise MessageError("BOOLEAN not of one octet")
        return content != b"\0"

    def octets(self) -> bytes:
        """Return the OCTET STRING, primitive or constructed."""
        if self.tag & ~_CONSTRUCTED != OCTET_STRING:
            raise MessageError(f"tag {self.tag:#x} where an OCTET STRING is due")
        return self.joined()

    def joined(self) -> bytes:
        """Return the octets of a string of any tag; a constructed one's fragments are OCTET STRINGs (X.690 section 8.23)."""
        if not self.tag & _CONSTRUCTED:
            return self.content
        parts: list[bytes] = []
        waiting = list(reversed(self.children))
        while waiting:
            piece = waiting.pop()
            if piece.tag == OCTET_STRING | _CONSTRUCTED:
                waiting.extend(reversed(piece.children))
            else:
                parts.append(piece.expect(OCTET_STRING).content)
            if len(parts) + len(waiting) > self._source.limits.fragments:
                raise LimitExceeded("string in too many fragments")
        return b"".join(parts)

    def bits(self) -> bytes:
        """Return the octets of a BIT STRING that has no unused bits."""
        content = self.expect(BIT_STRING).content
        if content[:1] != b"\0":
            raise MessageError("BIT STRING with unused bits")
        return content[1:]

    def text(self) -> str:
        """Return a string of any of the `ENCODINGS`, decoded strictly."""
        encoding = ENCODINGS.get(self.tag & ~_CONSTRUCTED)
        if encoding is None:
            raise MessageError(f"tag {self.tag:#x} where text is due")
        try:
            return self.joined().decode(encoding)
        except UnicodeDecodeError:
            raise MessageError(f"text that is no {encoding}") from None

    def time(self) -> datetime:
        """Return a UTCTime or GeneralizedTime; seconds, fractions and the zone may be missing or odd."""
        if self.tag not in {UTC_TIME, GENERALIZED_TIME}:
            raise MessageError(f"tag {self.tag:#x} where a time is due")
        return decode_time(self.content, short=self.tag == UTC_TIME)

    def normalise(self) -> bytes:
        """Return this element with definite lengths and primitive strings; the order of sets stays."""
        if not self._source.ber:
            return self.der
        parts: list[bytes] = []
        waiting: list[tuple[Element, int]] = [(self, -1)]  # and where its contents began, once they are written
        while waiting:
            element, began = waiting.pop()
            tag = element.tag
            if began >= 0:
                parts[began:] = [write(tag, *parts[began:])]
            elif not tag & _CONSTRUCTED or tag & _HIGH_TAG == _HIGH_TAG:
                parts.append(element.der)
            elif tag <= _UNIVERSAL and tag not in _COLLECTIONS:
                parts.append(write(tag & ~_CONSTRUCTED, element.joined()))
            else:
                waiting.append((element, len(parts)))
                waiting.extend((child, -1) for child in reversed(element.children))
        return b"".join(parts)


class Fields:
    """A cursor over the elements of a SEQUENCE."""

    __slots__ = ("_elements", "_index")

    def __init__(self, elements: Sequence[Element]) -> None:
        """Start before the first."""
        self._elements = elements
        self._index = 0

    def take(self, tag: int | None = None) -> Element:
        """Return the next element, of that tag if one is given; raises `MessageError` when there is none."""
        index = self._index
        if index == len(self._elements):
            raise MessageError("element missing")
        element = self._elements[index]
        self._index = index + 1
        return element if tag is None or element.tag == tag else element.expect(tag)

    def optional(self, *tags: int) -> Element | None:
        """Return the next element if it has one of the tags (any, when none is given), else None."""
        if self._index == len(self._elements) or (tags and self._elements[self._index].tag not in tags):
            return None
        return self.take()

    def finish(self) -> None:
        """Raise `MessageError` when elements are left over."""
        if self._index != len(self._elements):
            raise MessageError("element too many")


def read(data: bytes, limits: Limits = LIMITS) -> Element:
    """Return the one element that is the whole input; raises `MessageError` or its kind `LimitExceeded`, nothing else."""
    try:
        return Source(data, limits).elements(0, len(data))[0]
    except IndexError:
        raise MessageError("cut off") from None

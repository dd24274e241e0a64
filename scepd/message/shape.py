"""The short way through DER of a known shape: what looks otherwise in any respect is left to the general reader."""

from functools import lru_cache

from scepd.message import tlv
from scepd.message.scan import TWO_OCTETS
from scepd.message.signature import Algorithm, read_algorithm

VERSION = b"\x02\x01"  # an INTEGER of one octet, whichever
LONG = 0x80  # a length that is not in one octet has this bit
_ONE_OCTET = 0x81
_SHORT = 20  # octets: an algorithm without parameters of its own
_DER = tlv.Limits(ber_depth=0)


class OtherShape(Exception):  # noqa: N818 - no error: the general reader goes on
    """The octets have another shape."""


def expect(fact: bool) -> None:
    """Raise `OtherShape` unless it is so."""
    if not fact:
        raise OtherShape


def enter(data: bytes, start: int, tag: int) -> tuple[int, int]:
    """Return where the contents of an element with that tag begin and end; its length takes two octets at most."""
    if data[start] != tag:
        raise OtherShape
    length = data[start + 1]
    if length < LONG:
        return start + 2, start + 2 + length
    if length == TWO_OCTETS and data[start + 2]:
        return start + 4, start + 4 + (data[start + 2] << 8 | data[start + 3])
    if length == _ONE_OCTET and data[start + 2] >= LONG:
        return start + 3, start + 3 + data[start + 2]
    raise OtherShape


def last(data: bytes, start: int, tag: int, end: int) -> int:
    """Return where the contents of an element begin that must end where what holds it does."""
    head, tail = enter(data, start, tag)
    if tail != end:
        raise OtherShape
    return head


def algorithm(der: bytes) -> Algorithm:
    """Return an AlgorithmIdentifier without parameters of its own; raises as `read_algorithm`, and `OtherShape`."""
    if len(der) > _SHORT:
        raise OtherShape
    return _algorithm(der)


@lru_cache(maxsize=64)
def _algorithm(der: bytes) -> Algorithm:
    return read_algorithm(tlv.read(der, _DER))

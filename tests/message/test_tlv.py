"""The bounded reader and the DER writer."""

import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime

import pytest
from asn1crypto import core
from hypothesis import given, settings
from hypothesis import strategies as st

from scepd.message import scan, tlv
from scepd.message.algorithms import CryptoPolicy
from scepd.message.csr import parse_csr
from scepd.message.enveloped import parse_envelope
from scepd.message.errors import LimitExceeded, MessageError
from scepd.message.request import parse_message
from tests import make

BOMBS = make.bombs()


def seconds(act: Callable[[], object]) -> float:
    """Return the best time of five runs, whatever comes of them."""
    times = []
    for _ in range(5):
        begun = time.process_time()
        with suppress(MessageError):
            act()
        times.append(time.process_time() - begun)
    return min(times)


def parse_time(der: bytes) -> float:
    """Return the time of a parse, accepted or not."""
    return seconds(lambda: parse_message(der))


class CountingBytes(bytes):
    """Octets that count how many elements a scan looks at: it reads each identifier octet by index."""

    reads = 0

    def __getitem__(self, index):
        if isinstance(index, int):
            type(self).reads += 1
        return super().__getitem__(index)


# Round trips


@given(st.integers(-(2**2000), 2**2000))
def test_integers_round_trip(value):
    der = tlv.integer(value)
    assert tlv.read(der).integer() == value
    assert core.Integer(value).dump() == der


@given(st.lists(st.integers(0, 2**35 - 1), max_size=8), st.integers(0, 1), st.integers(0, 39))
def test_object_identifiers_round_trip(arcs, first, second):
    dotted = ".".join(map(str, [first, second, *arcs]))
    assert tlv.read(tlv.oid(dotted)).oid() == dotted
    assert core.ObjectIdentifier(dotted).dump() == tlv.oid(dotted)


@given(st.integers(0, 2**128 - 1))
def test_S24_object_identifiers_of_uuids_round_trip(uuid):
    assert tlv.read(tlv.oid(f"2.25.{uuid}")).oid() == f"2.25.{uuid}"


@given(st.text(alphabet=st.characters(exclude_categories=("Cs",)), max_size=50), st.sampled_from(sorted(tlv.ENCODINGS)))
def test_texts_round_trip(value, tag):
    try:
        der = tlv.text(tag, value)
    except UnicodeEncodeError:
        assert not value.isascii()
        return
    assert tlv.read(der).text() == value


@given(st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59)))  # noqa: DTZ001 - hypothesis wants them naive
def test_times_round_trip(value):
    moment = value.replace(microsecond=0, tzinfo=UTC)
    der = tlv.time(moment)
    assert tlv.read(der).time() == moment
    assert (der[0] == tlv.UTC_TIME) == (1950 <= moment.year < 2050)


TREES = st.recursive(
    st.one_of(
        st.binary(max_size=300).map(tlv.octet_string),
        st.integers().map(tlv.integer),
        st.booleans().map(tlv.boolean),
        st.just(tlv.null()),
        st.binary(max_size=20).map(tlv.bit_string),
    ),
    lambda inner: st.lists(inner, max_size=4).flatmap(
        lambda parts: st.sampled_from(
            [
                tlv.sequence(*parts),
                tlv.set_of(parts),
                tlv.explicit(3, b"".join(parts)),
                make.indefinite(tlv.SEQUENCE, *parts),
                make.indefinite(0xA1, *parts),
                make.fragments(b"".join(parts), 7),
                make.fragments(b"".join(parts), 7, definite=True),
            ]
        )
    ),
    max_leaves=25,
)


@given(TREES)
def test_S22_any_tree_is_normalised_to_what_it_says(der):
    element = tlv.read(der, tlv.Limits(ber_depth=32))
    normal = element.normalise()
    # Normal means: no indefinite length and no constructed string, so that DER-only limits take it.
    again = tlv.read(normal, tlv.Limits(ber_depth=0))
    assert again.normalise() == normal
    assert leaves(again) == leaves(element)
    assert element.der == der


def leaves(element):
    """Return the primitive values in their order, strings joined."""
    if element.tag in {0x04, 0x24}:
        return [(0x04, element.octets())]
    if not element.tag & 0x20:
        return [(element.tag, element.content)]
    return [(element.tag, len(element.children)), *(leaf for child in element.children for leaf in leaves(child))]


@given(st.binary(max_size=200))
def test_S21_any_octets_give_an_element_or_a_message_error(data):
    try:
        element = tlv.read(data)
    except MessageError:
        return
    element.normalise()
    assert element.der == data


@given(TREES, st.data())
@settings(max_examples=200)
def test_S21_any_cut_or_flip_gives_an_element_or_a_message_error(der, data):
    position = data.draw(st.integers(0, len(der) - 1))
    flipped = bytearray(der)
    flipped[position] ^= 1 << data.draw(st.integers(0, 7))
    for bent in (der[:position], der + b"\0", bytes(flipped)):
        try:
            walk(tlv.read(bent))
        except MessageError:
            continue


def walk(element):
    """Visit all and decode what can be decoded."""
    for getter in (
        element.oid,
        element.integer,
        element.octets,
        element.text,
        element.time,
        element.bits,
        element.boolean,
    ):
        try:
            getter()
        except MessageError:
            continue
    if element.tag & 0x20:
        for child in element.children:
            walk(child)


# S-20 to S-25: bounds


def test_S20_input_beyond_the_size_limit_is_refused_unread():
    assert tlv.read(tlv.octet_string(bytes(262_139))).octets() == bytes(262_139)
    with pytest.raises(LimitExceeded, match="too large"):
        tlv.read(tlv.octet_string(bytes(262_140)))


@pytest.mark.parametrize(
    ("der", "detail"),
    [
        ("3084ffffffff", "longer"),
        ("30850000000001", "four octets"),
        ("30fe" + "01" * 126, "four octets"),
        ("30ff", "four octets"),
        ("3003", "longer"),
        ("308103020100", "shortest"),
        ("30820003020100", "shortest"),
        ("3082008002" + "00" * 127, "shortest"),
        ("30840000000101", "shortest"),
        ("30030201", "longer"),
        ("3003020200", "longer"),
        ("300302010000", "trailing"),
        ("0500ff", "trailing"),
        ("30800000" + "00", "trailing"),
        ("30800000" + "0500", "trailing"),
        ("30", "cut off"),
        ("", "cut off"),
        ("3082", "shortest|cut off"),
        ("308201", "shortest|cut off"),
        ("3f", "cut off"),
        ("0480", "indefinite"),
    ],
)
def test_S21_lengths_that_lie(der, detail):
    with pytest.raises(MessageError, match=detail):
        tlv.read(bytes.fromhex(der))


@pytest.mark.parametrize(
    ("der", "detail"),
    [
        ("3080", "cut off|missing"),
        ("30800500", "cut off|missing"),
        ("30043080" + "0500", "missing|longer"),
        ("300230800000", "trailing|missing|longer"),
        ("0000", "out of place"),
        ("30020000", "out of place"),
        ("3080000100" + "0000", "out of place"),
        ("308024040401610000", "longer|out of place|missing"),
        ("24020000", "out of place"),
        ("30803080" + "0000", "cut off|missing"),
        ("3080300400000000", "out of place|longer"),
    ],
)
def test_S22_end_of_contents_missing_or_out_of_place(der, detail):
    with pytest.raises(MessageError, match=detail):
        tlv.read(bytes.fromhex(der))


def test_S22_ber_depth_is_bounded():
    for levels, fine in ((10, True), (11, False)):
        der = b"\x30\x80" * levels + b"\0\0" * levels
        if fine:
            tlv.read(der)
        else:
            with pytest.raises(LimitExceeded, match="deeply"):
                tlv.read(der)
    with pytest.raises(LimitExceeded, match="deeply"):
        tlv.read(make.nested(11, 0x24, b"\x04\0"))
    with pytest.raises(LimitExceeded, match="deeply"):
        tlv.read(b"\x30\x80\0\0", tlv.Limits(ber_depth=0))


def test_S22_fragments_of_a_string_are_bounded():
    limits = tlv.Limits(elements=5000)
    for count, fine in ((1024, True), (1025, False)):
        element = tlv.read(make.fragments(b"a" * count, 1), limits)
        if fine:
            assert element.octets() == b"a" * count
        else:
            with pytest.raises(LimitExceeded, match="fragments"):
                element.octets()


def test_S22_strings_in_strings_are_joined_in_order():
    der = bytes.fromhex("2480 0401 61 2406 0401 62 0401 63 2480 0401 64 0000 0401 65 0000".replace(" ", ""))
    assert tlv.read(der).octets() == b"abcde"
    assert tlv.read(bytes.fromhex("3309040161040162040163")).text() == "abc"  # constructed PrintableString
    with pytest.raises(MessageError):
        tlv.read(bytes.fromhex("2403 0c0161".replace(" ", ""))).octets()


@pytest.mark.parametrize("label", ["fragments", "nulls", "empty sequences"])
def test_S22_scan_work_is_linear(label):
    limits = tlv.Limits(elements=1_000_000, size=10_000_000)

    def work(size):
        der = make.bombs(size)[label]
        times = []
        for _ in range(5):
            begun = time.process_time()
            scan.scan(der, limits)
            times.append(time.process_time() - begun)
        CountingBytes.reads = 0
        scan.scan(CountingBytes(der), limits)
        return min(times), CountingBytes.reads

    (time_once, reads_once), (time_eightfold, reads_eightfold) = work(32_768), work(262_144)
    assert reads_eightfold <= 8.8 * reads_once
    # A shared machine's clock is rough: 16 times is still far from the 64 times of quadratic work.
    assert time_eightfold <= 16 * time_once


POSITIONS = {
    "signed attribute value": lambda der: make.bent_req().with_attribute("1.2.3", der).resign().der(),
    "unsigned attribute": lambda der: make.bent_req().bend(unsigned=(make.attribute("1.2.3", der),)).der(),
    "digest parameters": lambda der: make.bent_req().bend(digest_algorithm=tlv.sequence(tlv.oid("1.2.3"), der)).der(),
    "signature parameters": lambda der: (
        make.bent_req().bend(signature_algorithm=tlv.sequence(tlv.oid("1.2.3"), der)).der()
    ),
    "certificate": lambda der: make.attrs.evolve(make.bent_req(), certificates=(der,)).der(),
    "sid": lambda der: make.bent_req().bend(sid=der).der(),
    "content": lambda der: make.attrs.evolve(make.bent_req(), content_der=der).der(),
    "crl": lambda der: make.attrs.evolve(make.bent_req(), crls=(der,)).der(),
    "digest algorithms": lambda der: make.attrs.evolve(make.bent_req(), digest_algorithms=(der,)).der(),
}


@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("tag", [tlv.SEQUENCE, tlv.SET, 0xA3])
def test_S23_nesting_is_refused_wherever_it_is(position, tag):
    make_message = POSITIONS[position]
    with pytest.raises(LimitExceeded, match="deeply"):
        parse_message(make_message(make.nested(33, tag)))
    with pytest.raises(LimitExceeded, match="deeply"):
        parse_message(make_message(make.nested(10_000, tag)))
    try:
        parse_message(make_message(make.nested(20, tag)))
    except LimitExceeded:
        pytest.fail("a depth below 32 is within bounds")
    except MessageError:
        pass


def test_S23_depth_32_is_read_and_33_is_not():
    tlv.read(make.nested(32))
    with pytest.raises(LimitExceeded):
        tlv.read(make.nested(33))


@pytest.mark.parametrize(("der", "number"), [("1f1f00", 31), ("1f810000", 128), ("1f81800000", 16_384)])
def test_high_tag_numbers_within_bounds_are_read(der, number):
    assert tlv.read(bytes.fromhex(der)).tag == number << 8 | 0x1F


@pytest.mark.parametrize(
    "der", ["1f0500", "1f1e00", "1f800100", "1fff8001" + "00", "1fffff7f00", "1f81800100", "1f8180808000"]
)
def test_S24_tag_numbers_are_bounded_and_short(der):
    with pytest.raises(MessageError, match="tag number"):
        tlv.read(bytes.fromhex(der))


@pytest.mark.parametrize(
    ("content", "detail"),
    [
        ("", "cut off"),
        ("80", "cut off"),
        ("2a80", "cut off"),
        ("8001", "shortest"),
        ("2a8001", "shortest"),
        ("2a" + "ff" * 5 + "01", "too large"),
        ("69" + "ff" * 20 + "01", "too large"),
    ],
)
def test_S24_object_identifiers_are_strict(content, detail):
    with pytest.raises(MessageError, match=detail):
        tlv.read(tlv.write(tlv.OID, bytes.fromhex(content))).oid()


def test_S24_object_identifiers_and_integers_are_bounded_in_octets():
    tlv.read(tlv.write(tlv.OID, b"\x2a" * 64))
    tlv.read(tlv.write(tlv.INTEGER, b"\x2a" * 2100))
    for der in (tlv.write(tlv.OID, b"\x2a" * 65), tlv.write(tlv.INTEGER, b"\x2a" * 2101)):
        with pytest.raises(LimitExceeded, match="too long"):
            tlv.read(der)


def test_S25_elements_are_bounded():
    tlv.read(tlv.sequence(tlv.null() * 4095))
    with pytest.raises(LimitExceeded, match="elements"):
        tlv.read(tlv.sequence(tlv.null() * 4096))


@pytest.mark.parametrize("label", BOMBS)
def test_S20_S21_S22_S23_S24_S25_a_bomb_of_256_kib_costs_less_than_20_normal_messages(label):
    assert 262_000 < len(BOMBS[label]) <= 262_144
    # All that is parsed of a normal one: the message, its envelope, the request inside.
    content, csr = parse_message(make.pkcs_req()).content, make.csr()
    normal = parse_time(make.pkcs_req()) + seconds(lambda: parse_envelope(content, CryptoPolicy()))
    normal += seconds(lambda: parse_csr(csr))
    with pytest.raises(MessageError):
        parse_message(BOMBS[label])
    assert parse_time(BOMBS[label]) < 20 * normal


@pytest.mark.parametrize("label", BOMBS)
def test_S25_a_bomb_is_refused_within_4096_elements(label):
    CountingBytes.reads = 0
    with pytest.raises((MessageError, IndexError)):
        scan.scan(CountingBytes(BOMBS[label]), tlv.LIMITS)
    # At most three index reads an element: identifier, first length octet, and the kind of a bounded one.
    assert CountingBytes.reads <= 3 * 4096


# Getters


@pytest.mark.parametrize(
    ("der", "getter"),
    [
        ("0201 05", "oid"),
        ("0500", "integer"),
        ("0200", "integer"),
        ("0500", "boolean"),
        ("0100", "boolean"),
        ("0102ffff", "boolean"),
        ("0500", "octets"),
        ("0303070180", "bits"),
        ("0300", "bits"),
        ("0500", "bits"),
        ("0500", "text"),
        ("1301ff", "text"),
        ("0c02c080", "text"),
        ("1e0141", "text"),
        ("0500", "time"),
        ("1700", "time"),
        ("170d3236303130313030303030305a".replace("30305a", "30585a"), "time"),
        ("170d3236313330313030303030305a", "time"),
        ("180f30303030303130313030303030305a", "time"),
        ("170f32303236303130313030303030305a", "time"),
        ("1811303030313031303130303030" + "2b32333539", "time"),
    ],
)
def test_a_getter_refuses_what_is_not_its_type(der, getter):
    with pytest.raises(MessageError):
        getattr(tlv.read(bytes.fromhex(der.replace(" ", ""))), getter)()


@pytest.mark.parametrize(
    ("tag", "content", "expected"),
    [
        (tlv.UTC_TIME, b"260301120000Z", make.NOW),
        (tlv.UTC_TIME, b"2603011200Z", make.NOW),
        (tlv.UTC_TIME, b"260301140000+0200", make.NOW),
        (tlv.UTC_TIME, b"260301103000-0130", make.NOW),
        (tlv.UTC_TIME, b"500101000000Z", datetime(1950, 1, 1, tzinfo=UTC)),
        (tlv.UTC_TIME, b"491231235959Z", datetime(2049, 12, 31, 23, 59, 59, tzinfo=UTC)),
        (tlv.GENERALIZED_TIME, b"20260301120000Z", make.NOW),
        (tlv.GENERALIZED_TIME, b"20260301120000.123", make.NOW),
    ],
)
def test_odd_times_are_read(tag, content, expected):
    assert tlv.read(tlv.write(tag, content)).time() == expected


def test_booleans_are_true_for_any_octet_but_zero():
    assert tlv.read(tlv.boolean(True)).boolean()
    assert tlv.read(b"\x01\x01\x01").boolean()
    assert not tlv.read(tlv.boolean(False)).boolean()


def test_fields_are_taken_in_order():
    fields = tlv.read(tlv.sequence(tlv.integer(1), tlv.null())).fields()
    assert fields.optional(tlv.OID) is None
    assert fields.take(tlv.INTEGER).integer() == 1
    with pytest.raises(MessageError, match="too many"):
        fields.finish()
    assert fields.optional() is not None
    assert fields.optional() is None
    fields.finish()
    with pytest.raises(MessageError, match="missing"):
        fields.take()
    with pytest.raises(MessageError, match="tag"):
        tlv.read(tlv.sequence(tlv.null())).fields().take(tlv.INTEGER)
    with pytest.raises(MessageError, match="2 elements"):
        tlv.read(tlv.sequence(tlv.null(), tlv.null())).inner()
    with pytest.raises(MessageError, match="primitive"):
        _ = tlv.read(tlv.null()).children


def test_sets_are_written_in_der_order_unless_told_otherwise():
    parts = [tlv.integer(3), tlv.integer(1), tlv.null()]
    assert [c.der for c in tlv.read(tlv.set_of(parts)).children] == sorted(parts)
    assert [c.der for c in tlv.read(tlv.set_of(parts, sort=False)).children] == parts


def test_S22_normalising_joins_strings_and_writes_definite_lengths():
    element = tlv.read(make.indefinite(tlv.SEQUENCE, make.fragments(b"abc", 2), make.indefinite(0xA0, tlv.null())))
    assert element.normalise() == tlv.sequence(tlv.octet_string(b"abc"), tlv.explicit(0, tlv.null()))


def test_normalising_keeps_elements_of_high_tags_as_they_are():
    inner = bytes.fromhex("bf2180") + tlv.null() + b"\0\0"
    element = tlv.read(make.indefinite(tlv.SEQUENCE, inner))
    assert element.normalise() == tlv.sequence(inner)
    assert element.children[0].tag == 33 << 8 | 0xBF
